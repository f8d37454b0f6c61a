"""Run a world for an hour, or as long as asked, and hold it to its gates.

    python -m nextframe.tools.lab.soak --world circuit --ticks 72000 [--real] [--steps 4] [--out out/soak]

As fast as it goes unless `--real`. Writes OUT.json and OUT.svg. Exits with 0 when every gate is met, 1 when one is
missed, 2 when one could not be measured or the run was cut short.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ....controllers.bots import make_bot
from ....model.base.checkpoint import CheckpointError
from ....runtime.core import Clock, FixedClock, MonotonicClock, NextframeError
from ....runtime.session.choices import quality_choice
from ....runtime.session.startup import StartUp, check_folder, open_world, patience
from ....runtime.session.terminal import OnEveryTick, progress_bar
from .gates import MB, Gate, exit_code, gates_of
from .measure import BANK, Minute, soak
from .plot import Curve, draw_curves

SCHEMA = "nextframe.soak/1"
HOUR_TICKS = 72_000
LIKELY_TICK_S = 0.0125


def curves_of(minutes: Sequence[Minute]) -> list[Curve]:
    """What was measured, as curves over world time."""
    wanted: list[tuple[str, str, float]] = [
        ("resident memory, MB", "rss_bytes", MB), ("tick, median ms", "tick_p50_ms", 1),
        ("tick, 99th percentile ms", "tick_p99_ms", 1), ("clock drift, ms", "clock_drift_ms", 1),
        ("drift score, median", "drift_score", 1), ("ticks outside the bands, share", "outside_share", 1),
        ("edge energy", "edge_energy", 1), ("cars in sight, mean", "cars", 1),
    ]  # fmt: skip
    curves = []
    for title, name, unit in wanted:
        points = [(m.end_minutes, getattr(m, name) / unit) for m in minutes if getattr(m, name) is not None]
        if points:
            curves.append(Curve(title, *zip(*points, strict=True)))
    return curves


def document(
    options: argparse.Namespace, info: Any, minutes: Sequence[Minute], gates: Sequence[Gate]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "world": info.name,
        "tick_hz": float(info.tick_hz),
        "ticks": sum(minute.ticks for minute in minutes),
        "clock": "real" if options.real else "fixed",
        "denoise_steps": options.steps or info.ladder[-1],
        "weights_sha256": info.weights_sha256,
        "gates": [asdict(gate) for gate in gates],
        "minutes": [asdict(minute) for minute in minutes],
    }


def run(options: argparse.Namespace) -> int:
    found = check_folder(options.world)
    clock: Clock = MonotonicClock() if options.real else FixedClock()
    with patience(f"loading {found.name}"):
        opened = open_world(found, StartUp(), clock=clock, seed=options.seed)
    info = opened.info
    (steps,) = quality_choice(None, options.steps or info.ladder[-1], info.ladder).levels
    seconds = options.ticks * (float(1 / info.tick_hz) if options.real else LIKELY_TICK_S)
    try:
        with progress_bar(f"soaking {info.name}", options.ticks, seconds) as advance:
            minutes = soak(
                opened.world,
                make_bot(options.bot, info.actions, options.seed),
                clock,
                options.ticks,
                steps=steps,
                real=options.real,
                folder=found.path,
                minute_ticks=options.minute_ticks,
                more=OnEveryTick(advance),
            )
    finally:
        opened.world.close()
    gates = gates_of(minutes, real=options.real, latents=(found.path / BANK).is_file())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    result = document(options, info, minutes, gates)
    options.out.with_suffix(".json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    title = f"{info.name}: {result['ticks']} ticks, {result['clock']} clock"
    options.out.with_suffix(".svg").write_text(draw_curves(title, curves_of(minutes)), encoding="utf-8")
    for gate in gates:
        word = {True: "met", False: "MISSED", None: "not measured"}[gate.met]
        measured = "-" if gate.value is None else f"{gate.value:.3f}"
        print(f"{word:>12}  {gate.name}: {measured} ({gate.goal})")
    print(f"written: {options.out.with_suffix('.json')} and {options.out.with_suffix('.svg')}")
    return exit_code(gates)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.soak", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--world", default="circuit")
    parser.add_argument("--ticks", type=int, default=HOUR_TICKS, help="an hour of circuit has 72000")
    parser.add_argument("--real", action="store_true", help="at the world's own rate, not as fast as it goes")
    parser.add_argument("--steps", type=int, help="denoise steps; the top of the ladder when not given")
    parser.add_argument("--bot", default="wander", help="who is at the controls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minute-ticks", type=int, help="ticks in a minute, for short tries")
    parser.add_argument("--out", type=Path, default=Path("out/soak"), help="path without ending")
    options = parser.parse_args(arguments)
    if options.ticks < 1 or (options.minute_ticks is not None and options.minute_ticks < 1):
        parser.error("expected --ticks and --minute-ticks of at least 1")
    try:
        return run(options)
    except (NextframeError, CheckpointError, OSError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
