"""Kills and stops stage processes of the shipped world and measures how soon it is noticed and how long nothing moves.

    python -m nextframe.tools.lab.stages.faults                       # 20 rounds, with 3 to 25 ticks between them
    python -m nextframe.tools.lab.stages.faults --rounds 50 --at-once # none between: the next one as soon as the world
    stands again

Every second round stops a process instead of killing it. Prints a line for each signal; the last line is one JSON
document. `noticed_ms`: from the signal to the notice. `held_ms`: from the call that failed to a world that stands where
it stood, with up to a snapshot's distance of ticks made again. Frames and checksums are compared by the tests, not
here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import time
from typing import Any

from ....runtime.core import Action, MonotonicClock, NextframeError, TickPlan
from ....runtime.session.parts.stages import StageChoice, load_staged
from ....runtime.session.registry import find_world
from ....runtime.session.startup import prepare_torch
from ....runtime.session.supervisor import SupervisedWorld, SupervisorLimits

SCHEMA = "nextframe.stage-faults/1"
STEPS = 4
LAYOUT = "denoise:0-2@cpu:0, denoise:2-4@cpu:1, denoise:4-6@cpu:2"


def measure(
    rounds: int, layout: str, *, at_once: bool, seed: int = 0, world_name: str = "circuit"
) -> list[dict[str, Any]]:
    """One row for each round. `at_once`: one death right after the other, without a tick between them."""
    limits = SupervisorLimits(deaths=rounds + 1)
    world = load_staged(find_world(world_name), StageChoice(layout), MonotonicClock(), supervision=limits)
    draw, found = random.Random(seed), []
    try:
        world.reset(0)
        for number in range(rounds):
            for _ in range(0 if at_once and number else draw.randint(3, 25)):
                world.advance(Action(), TickPlan(STEPS, deadline_ns=0)).commit()
            found.append(strike(world, signal.SIGSTOP if number % 2 else signal.SIGKILL, draw))
    finally:
        world.close()
    return found


def strike(world: SupervisedWorld, number: signal.Signals, draw: random.Random) -> dict[str, Any]:
    """A signal to a stage process, then a tick, which brings the world back."""
    inner: Any = world.inner
    pids = inner.stages.processes.pids
    stage = draw.randint(1, len(pids))
    struck_ns = time.monotonic_ns()
    os.kill(pids[stage - 1], number)
    world.advance(Action(), TickPlan(STEPS, deadline_ns=0)).commit()
    fault = world.faults[-1]
    return {
        "signal": number.name, "stage": stage,
        "noticed_ms": round((inner.stages.ring.last_fault_ns - struck_ns) / 1e6, 1),
        "held_ms": round(fault.restored_ms, 1), "ticks_again": fault.ticks_again,
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Median and worst of each signal."""
    found = {}
    for name in sorted({row["signal"] for row in rows}):
        mine = [row for row in rows if row["signal"] == name]
        found[name] = {
            f"{what}_{word}": of([row[what] for row in mine])
            for what in ("noticed_ms", "held_ms")
            for word, of in (("p50", statistics.median), ("max", max))
        } | {"rounds": len(mine)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.stages.faults", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=20, help="kills and stops in turns (default 20)")
    parser.add_argument("--stages", default=LAYOUT, help=f"the layout (default {LAYOUT!r})")
    parser.add_argument("--at-once", action="store_true", help="no ticks between the rounds")
    options = parser.parse_args()
    environment = prepare_torch(1)
    try:
        rows = measure(options.rounds, options.stages, at_once=options.at_once)
    except NextframeError as error:
        parser.exit(error.exit_code, f"{error}\n")
    found = summary(rows)
    for name, row in found.items():
        print(f"{name}: " + ", ".join(f"{what} {value:g}" for what, value in row.items()))
    print(json.dumps({"schema": SCHEMA, "environment": environment, "summary": found, "rounds": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
