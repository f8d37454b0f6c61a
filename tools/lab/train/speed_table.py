"""What each improvement of training speed is worth on this machine: `python -m nextframe.tools.lab.train.speed_table`.

The recipe as `nextframe train` runs it, and the recipe with one thing undone, each in a process of its own, asked in
turn, round after round. A neighbour that takes the machine for a while takes it from all of them, so a ratio within a
round stands. The data are noise: speed does not depend on them. The machine's matrix rate is measured in every round in
the precision that training uses; the fastest counts.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....runtime.core import NextframeError

SIDE_PX, CONTROLS = 64, 3
NUMBERS_PER_PATCH = {8: 12, 16: 48}
"""Latent numbers of a token, so that a frame always has the same number of them."""
FRAMES = 2000
WARM_STEPS = 3


@dataclass(frozen=True)
class Variant:
    """The recipe with what is set undone. `attention`: the kind that the other sort of device uses. `batch`: as many
    times the sequences of a step. `patches`: 8 px instead of 16, four times the tokens of a frame."""

    key: str
    title: str
    compiled: bool = True
    bfloat16: bool = True
    malloc: bool = True
    attention: bool = False
    patches: bool = False
    batch: float = 1.0


WHOLE = Variant("whole", "the recipe")
VARIANTS = {
    variant.key: variant
    for variant in (
        WHOLE,
        Variant("compile", "without torch.compile", compiled=False),
        Variant("bfloat16", "float32 instead of bfloat16", bfloat16=False),
        Variant("malloc", "glibc gives memory back after every step", malloc=False),
        Variant("attention", "the other attention (fused on a CPU, plain products on a GPU)", attention=True),
        Variant("patches", "patches of 8 px: 64 tokens a frame instead of 16", patches=True),
        Variant("half", "half the sequences in a step", batch=0.5),
        Variant("double", "twice the sequences in a step", batch=2.0),
        Variant("none", "all five of these undone", False, False, False, True, True),
    )
}


@dataclass(frozen=True)
class Plan:
    """`seconds`: of each variant in each round. `budget_s`: whose network is timed. `eager`: nothing is compiled.
    `own_time`: seconds of each process's own computing, which a neighbour takes less of than of the wall's.
    `within_s`: no round begins after so long, but the first."""

    device: str
    threads: int
    budget_s: float
    rounds: int
    seconds: float
    eager: bool = False
    own_time: bool = False
    within_s: float = math.inf


def variants_for(device: str, keys: Sequence[str]) -> list[Variant]:
    """Those that differ from the recipe on this device, the whole recipe first. A GPU has small patches and no glibc
    settings to begin with."""
    unknown = [key for key in keys if key not in VARIANTS]
    if unknown:
        raise NextframeError(f"--only {','.join(unknown)}: expected some of {', '.join(VARIANTS)}")
    chosen = [WHOLE, *(VARIANTS[key] for key in keys if key != WHOLE.key)]
    if device == "cpu":
        return chosen
    plain = [replace(variant, malloc=True, patches=False) for variant in chosen]
    same = replace(WHOLE, key="", title="")
    return [WHOLE, *(variant for variant in plain if replace(variant, key="", title="") != same)]


# --- one variant, in its process ----------------------------------------------------------------------------------


def prepare(variant: Variant, device: str, budget_s: float) -> tuple[Callable[[int], None], int, float]:
    """One training step as a function of its number, the frames that it sees, and its operations."""
    import torch

    from ....model.dynamics.grid import GridConfig
    from ....model.dynamics.grid_linear import LinearBase
    from ...train.base.budget import Budget, plan_for
    from ...train.learn import motion
    from ...train.learn.speed import count_flop
    from ...train.learn.straight import Straight

    plan = plan_for(Budget(budget_s, device), SIDE_PX, SIDE_PX)
    patch_px = 8 if variant.patches else plan.patch_px
    rows, size = SIDE_PX // patch_px, max(1, round(plan.batch * variant.batch))
    config = GridConfig(
        rows, rows, NUMBERS_PER_PATCH[patch_px], CONTROLS, plan.width, plan.layers, plan.heads, plan.window
    )
    learner = motion.make_learner(config, Straight(LinearBase(config.linear_shape), "ridge", 1.0, 1.0), plan, device)
    learner.dynamics.fused ^= variant.attention
    latents, conditions = torch.randn(FRAMES, config.latent_dim), torch.randn(FRAMES, CONTROLS)
    lessons = motion.Lessons(latents, conditions, torch.arange(FRAMES - plan.ticks), 1.0)
    precision = torch.bfloat16 if variant.bfloat16 else torch.float32
    one = lessons.batch(0, 1, plan.ticks, device)
    flop = size * count_flop(lambda: motion.lesson_loss(learner.dynamics, config, one, 1.0, 0.5).backward())
    network: Any = torch.compile(learner.dynamics) if variant.compiled else learner.dynamics

    def step(number: int) -> None:
        batch = lessons.batch(number, size, plan.ticks, device)
        motion.update(learner, network, (batch, lessons), (motion.MUON_RATE, plan.rate), 0.5, precision=precision)

    return step, size * plan.ticks, flop


def serve(variant: Variant, plan: Plan) -> None:
    """Answers each number of seconds on stdin with a line of JSON: frames a second, operations a frame, matrix rate."""
    from ...train.command import prepare as prepare_torch
    from ...train.learn.speed import matrix_flops

    prepare_torch(plan.device, plan.threads)
    step, frames, flop = prepare(variant, plan.device, plan.budget_s)
    now_s = time.process_time if plan.own_time else time.perf_counter
    for number in range(WARM_STEPS):
        step(number)
    print(json.dumps({"ready": variant.key}), flush=True)
    done = WARM_STEPS
    for line in sys.stdin:
        step(done)  # caches are another's by now
        began_s, first = now_s(), done + 1
        done = first
        while now_s() - began_s < float(line) or done == first:
            step(done)
            done += 1
        frames_per_s = (done - first) * frames / (now_s() - began_s)
        rate = matrix_flops(plan.device) if variant.key == WHOLE.key else 0.0
        told = {"frames_per_s": frames_per_s, "flop_per_frame": flop / frames, "matrix_flops": rate}
        print(json.dumps(told), flush=True)


# --- all of them, side by side ------------------------------------------------------------------------------------


class Worker:
    """A variant's process. Ends when its stdin does."""

    def __init__(self, variant: Variant, plan: Plan) -> None:
        from ...train.command import MALLOC

        kept = {key: value for key, value in os.environ.items() if key not in MALLOC}
        told = MALLOC if variant.malloc and plan.device == "cpu" else {}
        call = [sys.executable, "-m", "nextframe.tools.lab.train.speed_table", "--serve", variant.key, 
                "--device", plan.device, "--threads", str(plan.threads), "--budget", f"{plan.budget_s:g}s",
                *(["--eager"] if plan.eager else []), *(["--own-time"] if plan.own_time else [])]  # fmt: skip
        self.variant = variant
        self._process = subprocess.Popen(
            call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept | dict(told)
        )

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise NextframeError(f"the process of '{self.variant.title}' ended; its error stands above")
        told: dict[str, Any] = json.loads(line)
        return told

    def ask(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self.answer()

    def end(self) -> None:
        self._process.communicate()


def run(plan: Plan, keys: Sequence[str]) -> list[dict[str, Any]]:
    """A row per variant: medians over the rounds; `of_whole`: of its ratios to the recipe in the same round."""
    workers = [Worker(variant, plan) for variant in variants_for(plan.device, keys)]
    try:
        for worker in workers:
            worker.answer()
            print(f"ready: {worker.variant.title}", file=sys.stderr, flush=True)
        began_s = time.monotonic()
        rounds: list[list[dict[str, Any]]] = []
        while len(rounds) < plan.rounds and (not rounds or time.monotonic() - began_s < plan.within_s):
            rounds.append([worker.ask(plan.seconds) for worker in workers])
    finally:
        for worker in workers:
            worker.end()
    matrix = max(row[0]["matrix_flops"] for row in rounds)
    rows = []
    for at, worker in enumerate(workers):
        rate = statistics.median(row[at]["frames_per_s"] for row in rounds)
        ratios = sorted(row[at]["frames_per_s"] / row[0]["frames_per_s"] for row in rounds)
        flop = rounds[0][at]["flop_per_frame"]
        rows.append({
            "key": worker.variant.key, "title": worker.variant.title, "frames_per_s": rate, "flop_per_frame": flop,
            "share": rate * flop / matrix, "of_whole": statistics.median(ratios), "least": ratios[0],
            "most": ratios[-1], "matrix_flops": matrix,
        })  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| one thing undone | frames/s | of the recipe | GFLOP a frame | share of the matrix rate |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        spread = "" if row["key"] == WHOLE.key else f" ({row['least']:.2f} to {row['most']:.2f})"
        lines.append(
            f"| {row['title']} | {row['frames_per_s']:.0f} | {row['of_whole']:.2f}{spread} | "
            f"{row['flop_per_frame'] / 1e9:.2f} | {100 * row['share']:.0f} % |"
        )
    return "\n".join([*lines, f"\nmatrix rate: {rows[0]['matrix_flops'] / 1e9:.0f} GFLOP/s in bfloat16"])


def main() -> int:
    from ...train.base.budget import parse_budget, parse_part

    parser = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.train.speed_table", description=__doc__)
    parser.add_argument("--budget", default="30m", help="whose network is timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each line in each round")
    parser.add_argument("--only", default=",".join(VARIANTS), help="some of the lines, with commas between")
    parser.add_argument("--eager", action="store_true", help="compile nothing, for a quick look")
    parser.add_argument("--within", help="a time such as 3m after which no round begins, once all are ready")
    parser.add_argument("--own-time", action="store_true", help="count a process's computing; one thread on a CPU only")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    budget_s = parse_budget(asked.budget).seconds
    within_s = math.inf if asked.within is None else parse_part(asked.within, option="--within")
    plan = Plan(
        asked.device, asked.threads, budget_s, asked.rounds, asked.seconds, asked.eager, asked.own_time, within_s
    )
    if plan.own_time and (plan.threads != 1 or plan.device != "cpu"):
        raise NextframeError("--own-time: expected --threads 1 and --device cpu, where computing is one process's own")
    if asked.serve:
        chosen = VARIANTS[asked.serve]
        serve(replace(chosen, compiled=chosen.compiled and not plan.eager), plan)
        return 0
    rows = run(plan, asked.only.split(","))
    print(table(rows))
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except NextframeError as error:
        raise SystemExit(f"speed table: {error}") from None
