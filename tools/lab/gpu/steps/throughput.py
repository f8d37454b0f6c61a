"""Step `throughput`: many sessions on one device. Rows of one forward here; the project's own benches where they are.

Rows are sessions on the same tick, captured once for each count: what the device could serve if all arrived together.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from .....model.generator.ticks import RollingGenerator
from .. import sessions
from ..queue import ROOT
from ..step import Context, SkippedError
from ..timing import seconds_of

STEPS = 2
HELP_S = 60.0
BENCHES = {
    "sessions": ("nextframe.tools.lab.sessions.bench",),
    "stages": ("nextframe.tools.lab.stages.bench", "--sessions", "1,4"),
    "plan": ("nextframe.tools.lab.plan.validate", "--measure", "{scratch}/measured.json"),
}
"""Programs of this project and their arguments; `--device` is added where a program has it."""
SAID_LINES = 40


def run(context: Context) -> None:
    counts = (1, 2) if context.rehearse else (1, 4, 16, 64, 256)
    for rows in counts:
        context.attempt(f"{rows} rows", partial(of_rows, rows, context))
    for at, (name, program) in enumerate(BENCHES.items()):
        context.attempt(name, partial(bench, program, context, len(BENCHES) - at))


def of_rows(rows: int, context: Context) -> dict[str, Any]:
    """Ticks of `rows` sessions at once, with decode, by captured launches: frames a second and a session."""
    one = sessions.generator(context.device, "graphs", rows=rows)
    sessions.prefill(one)
    condition = sessions.conditions(1, rows)[0].to(context.device)
    budget_s = 0.05 if context.rehearse else 1.5
    tick_s = seconds_of(lambda: _tick(one, condition), context.device, budget_s)
    return {
        "tick_ms": round(tick_s * 1e3, 4), "frames_per_s": round(rows / tick_s, 1),
        "sessions_at_20_hz": int(rows / tick_s / 20) if tick_s <= 0.05 else 0,
    }  # fmt: skip


@torch.inference_mode()
def _tick(one: RollingGenerator, condition: torch.Tensor) -> None:
    one.decode(sessions.tick(one, condition, STEPS))


def bench(program: Sequence[str], context: Context, left: int) -> dict[str, Any]:
    """The JSON document in the program's last line, or else the end of what it says. A rehearsal only starts it."""
    module, *arguments = program
    parent = module.rpartition(".")[0]
    if (parent and find_spec(parent) is None) or find_spec(module) is None:
        raise SkippedError(f"{module} is not part of this checkout")
    offered = _output([sys.executable, "-m", module, "--help"], min(HELP_S, context.left_s))
    if context.rehearse:
        return {"status": "starts"}
    device = ["--device", context.device.type] if "--device" in offered else []
    seconds = max(20.0, context.left_s / left)
    with tempfile.TemporaryDirectory(prefix="nextframe-bench-") as scratch:
        arguments = [argument.format(scratch=scratch) for argument in arguments]
        lines = _output([sys.executable, "-m", module, *arguments, *device], seconds).strip().splitlines()
    try:
        return {"on_device": bool(device), "document": json.loads(lines[-1] if lines else "{}")}
    except json.JSONDecodeError:
        return {"on_device": bool(device), "said": lines[-SAID_LINES:]}


def _output(command: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        raise SkippedError(f"{' '.join(command[2:])}: took more than {seconds:.0f} s") from late
    if "ModuleNotFoundError" in done.stderr:
        raise SkippedError(done.stderr.strip().splitlines()[-1])
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command[2:])}: code {done.returncode}: {done.stderr[-800:]}")
    return done.stdout
