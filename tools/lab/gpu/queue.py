"""The queue: every step in a process of its own, with a share of the time, and one JSON document of all of them.

The document is written anew after each step. Nothing a step does stops the next.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .step import STEPS

SCHEMA = "nextframe.gpu/1"
ROOT = Path(__file__).resolve().parents[3]
TAIL_CHARS = 4000
GRACE_S = 10.0
"""A step that does not end when its budget does gets so long to write down what it has."""

SHARES = {
    "machine": 0.03, "checks": 0.07, "agreement": 0.05, "circuit": 0.12, "large": 0.28, "throughput": 0.08,
    "training": 0.15, "freedoom": 0.22,
}  # fmt: skip
"""Of the total time; what a step does not need is left to the steps after it."""


@dataclass(frozen=True)
class QueueOptions:
    """`minutes`: for everything. `steps`: which, in the queue's order. `out`: the document."""

    minutes: float
    steps: Sequence[str]
    device: str
    rehearse: bool
    out: Path


def run_queue(options: QueueOptions) -> dict[str, Any]:
    """All steps; returns the document, which is also at `options.out`."""
    began = time.monotonic()
    names = [name for name in STEPS if name in options.steps]
    document: dict[str, Any] = {
        "schema": SCHEMA, "rehearsal": options.rehearse, "minutes": options.minutes,
        "steps": {name: {"status": "not reached"} for name in names},
    }  # fmt: skip
    _write(options.out, document)
    for at, name in enumerate(names):
        left_s = options.minutes * 60 - (time.monotonic() - began)
        if left_s < 5:
            break
        share = SHARES[name] / sum(SHARES[other] for other in names[at:])
        print(f"--- {name}: up to {left_s * share:.0f} s", flush=True)
        document["steps"][name] = run_step(name, left_s * share, options)
        document["seconds"] = round(time.monotonic() - began, 1)
        _write(options.out, document)
        print(f"--- {name}: {document['steps'][name]['status']}", flush=True)
    document["statuses"] = {name: step["status"] for name, step in document["steps"].items()}
    _write(options.out, document)
    return document


def run_step(name: str, seconds: float, options: QueueOptions) -> dict[str, Any]:
    """The step's own document; what it had written by then if it was ended, with the end of its output."""
    part = options.out.with_name(f"{options.out.stem}.{name}.json")
    log = part.with_suffix(".log")
    with log.open("w") as stream:
        process = subprocess.Popen(
            command_of(name, part, seconds, options),
            cwd=ROOT,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(),
        )
        try:
            code: int | None = process.wait(seconds + GRACE_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    found = _read(part)
    if code is None:
        found["status"] = "out of time"
    elif found.get("status") in (None, "running"):
        found |= {"status": "failed", "error": f"ended with code {code} before it was done"}
    if found["status"] not in ("ok", "skipped"):
        found["output"] = log.read_text(errors="replace")[-TAIL_CHARS:]
    part.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    return found


def command_of(name: str, part: Path, seconds: float, options: QueueOptions) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "nextframe.tools.lab.gpu.step",
        name,
        "--out",
        str(part),
        "--seconds",
        f"{seconds:.0f}",
    ]
    return [*command, "--device", options.device, *(["--rehearse"] if options.rehearse else [])]


def _end(process: subprocess.Popen[bytes]) -> None:
    """The step and whatever it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> Mapping[str, str]:
    kept = {
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": f"{ROOT / 'build' / 'src'}{os.pathsep}{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    return {**os.environ, **kept}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, document: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1) + "\n")
    part.replace(path)
