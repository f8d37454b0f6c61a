"""How far devices reach: the recommended plan for 1 to 64 devices and 1 to 10,000 sessions, as one table.

    python -m nextframe.tools.lab.plan.sweep wan-1.3b [--profile F.json] [--goal throughput] [--link nvlink]

A cell says: pictures a second for each session, latency, and what was chosen; or by how much memory is short.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ....runtime.core import NextframeError
from ...plan.command import PlanOptions, profile_of, request_of
from ...plan.planner import answer
from ...plan.predict import Goal, Request
from ...plan.profile import PlanError
from ...plan.words import short

DEVICE_COUNTS = (1, 4, 16, 64)
SESSION_COUNTS = (1, 10, 100, 1_000, 10_000)


def cell(request: Request) -> str:
    try:
        best = answer(request).recommended
    except PlanError as error:
        return str(error).partition("is ")[2].partition(" on its")[0] or "-"
    rows = f", {best.shape.rows} rows" if best.shape.rows > 1 else ""
    late = f", late {best.lag_latents}" if best.lag_latents else ""
    return f"{best.fps_session:.3g} FPS, {best.latency_ms:.0f} ms ({best.shape.mode} {short(best)}{rows}{late})"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.plan.sweep", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("world")
    parser.add_argument("--profile", type=Path, metavar="F.json")
    parser.add_argument("--goal", choices=[Goal.LATENCY.value, Goal.THROUGHPUT.value], default="throughput")
    parser.add_argument("--link")
    parser.add_argument("--lossy", action="store_true")
    asked = parser.parse_args(arguments)
    options = PlanOptions(asked.world, goal=asked.goal, link=asked.link, lossy=asked.lossy, profile=asked.profile)
    try:
        first = request_of(options, profile_of(options))
    except NextframeError as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    print("| Sessions | " + " | ".join(f"{count} devices" for count in DEVICE_COUNTS) + " |")
    print("|---" * (1 + len(DEVICE_COUNTS)) + "|")
    for sessions in SESSION_COUNTS:
        requests = [replace(first, devices=first.devices * count, sessions=sessions) for count in DEVICE_COUNTS]
        print(f"| {sessions} | " + " | ".join(cell(request) for request in requests) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
