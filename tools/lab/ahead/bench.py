"""`python -m nextframe.tools.lab.ahead.bench`: what guessed input gains and costs, side by side in one run. Tables, one
JSON line.

What is measured is in `accuracy`, `sessions` (real clock) and `pipeline` (simulated time, real rollbacks). Run it on a
machine that does nothing else. Exit code 0, or 2 where nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ....runtime.core import Action, MonotonicClock, NextframeError, TickPlan
from ....runtime.loop import period_ns
from ....runtime.observe.report import environment
from ....runtime.session.registry import find_world
from ....runtime.session.startup import StartUp, open_world
from ....runtime.tick.heap import settled_heap
from ....worlds.neural.world import NeuralWorld
from ....worlds.toy.world import ToyWorld
from . import accuracy
from .inputs import KEYBOARD, PAD, driven, recordings
from .pipeline import WAYS, Drive, Pipeline, drive
from .sessions import SKIPPED_TICKS, SessionRow, in_turns, overlap, tight_deadline_ns

SCHEMA = "nextframe.ahead/1"
PARTS = ("accuracy", "sessions", "overlap", "pipeline", "rollback")
MS = 1_000_000
LAYOUTS = (
    Pipeline("4 denoise stages of 10 ms", (10 * MS,) * 4, open_after=0, rollback_ns=MS // 5),
    Pipeline("denoise 30 ms, decode 10 ms", (30 * MS, 10 * MS), open_after=0, rollback_ns=MS // 5),
)
"""The first needs a generator whose history is of the same noise level (docs/memory.md); the second is any generator
with its decoder on another device. `rollback_ns`: about what restoring the shipped world's memory takes."""


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m nextframe.tools.lab.ahead.bench", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    arguments.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)} (default: all)")
    arguments.add_argument("--overlap", action="store_true", help="short for --parts overlap")
    arguments.add_argument("--blocks", type=int, help="of each kind, in turns (default 3, quick 1)")
    arguments.add_argument("--block-ticks", type=int, help="of each block (default 220, quick 60)")
    arguments.add_argument("--out", type=Path, help="write the JSON document here, too")
    return arguments


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every part asked for; NextframeError for one there is none of, or a block too short to measure."""
    wanted = ["overlap"] if options.overlap else [part for part in options.parts.split(",") if part]
    if not wanted or set(wanted) - set(PARTS):
        raise NextframeError(f"--parts: expected some of {', '.join(PARTS)}, got {options.parts!r}")
    blocks = options.blocks or (1 if options.quick else 3)
    ticks = options.block_ticks or (60 if options.quick else 220)
    if blocks < 1 or ticks <= 2 * SKIPPED_TICKS:
        raise NextframeError(f"expected at least 1 block of more than {2 * SKIPPED_TICKS} ticks, got {blocks}, {ticks}")
    found: dict[str, Any] = {}
    if "accuracy" in wanted:
        found["accuracy"] = [asdict(row) for row in accuracy.measure(600 if options.quick else accuracy.TICKS)]
    if {"sessions", "overlap", "rollback"} & set(wanted):
        found |= _on_the_circuit(wanted, ticks, blocks)
    if "pipeline" in wanted:
        found["pipeline"] = [asdict(row) for row in simulated(300 if options.quick else 2000)]
    return found


def _on_the_circuit(wanted: Sequence[str], ticks: int, blocks: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    clock = MonotonicClock()
    opened = open_world(find_world("circuit"), StartUp(), clock=clock)
    world = opened.world
    if not isinstance(world, NeuralWorld):
        raise NextframeError(f"the bench needs the circuit as one network, got {type(world).__name__}")
    with settled_heap():
        if "sessions" in wanted:
            found["sessions"] = [asdict(row) for row in _sessions(world, clock, ticks, blocks)]
        keyboard = driven(ticks, keyboard=True, sessions=1)
        if "overlap" in wanted:
            rows, same = overlap(world, clock, keyboard, blocks=blocks)
            found["overlap"] = {"rows": [asdict(row) for row in rows], "same_states": same}
        if "rollback" in wanted:
            found["rollback_ms"] = _rollback(world, keyboard)
    world.close()
    return found


def _sessions(world: NeuralWorld, clock: MonotonicClock, ticks: int, blocks: int) -> list[SessionRow]:
    rows: list[SessionRow] = []
    inputs = {KEYBOARD: driven(ticks, keyboard=True, sessions=1), PAD: driven(ticks, keyboard=False, sessions=1)}
    whole_ns = int(period_ns(world.info.tick_hz))
    for name, actions in inputs.items():
        for case, deadline_ns in (("a period", whole_ns), ("tight", tight_deadline_ns(world, clock, actions))):
            _say(f"{name}, deadline {case}: {deadline_ns / 1e6:.1f} ms")
            rows += in_turns(
                world, clock, actions, case=case, name=name, deadline_ns=deadline_ns, blocks=blocks
            )  # fmt: skip
    return rows


def _rollback(world: NeuralWorld, actions: Sequence[Action]) -> dict[str, float]:
    """What a tick ahead costs beside itself, and what undoing it costs: medians, in ms."""
    plan = TickPlan(world.info.ladder[0], 0)
    world.reset(0)
    saved_ns: list[int] = []
    restored_ns: list[int] = []
    for action in actions:
        snapshot = _timed(world.snapshot, saved_ns)
        world.advance(action, plan).commit()
        _timed(lambda state=snapshot: world.restore(state), restored_ns)  # type: ignore[misc]
        world.advance(action, plan).commit()
    return {
        name: sorted(values)[len(values) // 2] / 1e6
        for name, values in (("snapshot", saved_ns), ("restore", restored_ns))
    }


def _timed(work: Callable[[], Any], into: list[int]) -> Any:
    began_ns = time.perf_counter_ns()
    made = work()
    into.append(time.perf_counter_ns() - began_ns)
    return made


def simulated(ticks: int) -> list[Drive]:
    """Both layouts, three ways, on every kind of input. NextframeError if running ahead changed a single state."""
    rows: list[Drive] = []
    toy = ToyWorld().info.actions
    for name, actions in recordings(find_world("circuit"), ticks).items():
        known = [Action(action.buttons & set(toy.buttons), action.axes) for action in actions]
        for layout in LAYOUTS:
            drives = {way: drive(layout, way, known, ToyWorld, name) for way in WAYS}
            if drives["ahead"][1] != drives["serial"][1]:
                raise NextframeError(f"{layout.name}, {name}: running ahead changed the states")
            rows += [drives[way][0] for way in WAYS]
    return rows


# --- tables -------------------------------------------------------------------------------------------------------


def tables(found: dict[str, Any]) -> list[Table]:
    made: list[Table] = []
    heads: tuple[str, ...]
    if "accuracy" in found:
        rows = [
            (row["name"], row["ticks"], f"{100 * row['right']:.1f}", f"{row['held_ticks']:.1f}",
             *(f"{100 * share:.1f}" for share in row["ahead_right"].values()))
            for row in found["accuracy"]
        ]  # fmt: skip
        heads = ("input", "ticks", "right %", "held for ticks", "2 ahead %", "3 ahead %", "7 ahead %")
        made.append(table("the guess that everything stays held", heads, rows))
    if "sessions" in found:
        heads = (
            "deadline", "input", "kind", "ticks", "missed %", "steps", "switches", "response p50", "p95",
            "input to picture p50", "p95", "right %", "cpu ms", "wasted ms",
        )  # fmt: skip
        made.append(table("circuit, real clock (ms)", heads, [_session_cells(row) for row in found["sessions"]]))
    if "overlap" in found:
        heads = ("commit", "ticks", "whole p50", "p95", "response p50", "p95", "decode", "commit", "cpu ms")
        cells = [[_shown(value, 2) for value in row.values()] for row in found["overlap"]["rows"]]
        made.append(table(f"commit beside decode (ms); same states: {found['overlap']['same_states']}", heads, cells))
    if "pipeline" in found:
        heads = ("layout", "way", "input", "fps", "response p50", "p95", "mean", "stale frames", "right %", "dropped")
        cells = [
            [row["pipeline"], row["way"], row["input"], *(_shown(row[name]) for name in (
                "fps", "response_p50_ms", "response_p95_ms", "response_mean_ms")),
             row["stale_frames"], _shown(100 * row["hit_rate"]), row["dropped"]]
            for row in found["pipeline"]
        ]  # fmt: skip
        made.append(table("pipelines in simulated time (ms)", heads, cells))
    if "rollback_ms" in found:
        cells = [[name, _shown(value, 3)] for name, value in found["rollback_ms"].items()]
        made.append(table("the circuit's memory (ms, median)", ("what", "ms"), cells))
    return made


def _session_cells(row: dict[str, Any]) -> list[Any]:
    return [
        f"{row['case']} {row['deadline_ms']:.1f}", row["input"], row["kind"], row["ticks"],
        _shown(100 * row["miss_rate"], 2), _shown(row["steps_mean"], 2), _shown(row["switches_per_100"]),
        *(_shown(row[name]) for name in (
            "response_p50_ms", "response_p95_ms", "input_to_present_p50_ms", "input_to_present_p95_ms")),
        _shown(None if row["hit_rate"] is None else 100 * row["hit_rate"]),
        _shown(row["cpu_ms"]), _shown(row["wasted_ms"], 2),
    ]  # fmt: skip


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    made = Table(title=title)
    for head in heads:
        made.add_column(head, justify="left" if head in ("input", "kind", "layout", "way", "deadline") else "right")
    for row in rows:
        made.add_row(*(str(cell) for cell in row))
    return made


def _shown(value: Any, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def _say(message: str) -> None:
    print(f"ahead bench: {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        found = measure(options)
    except NextframeError as error:
        print(f"ahead bench: {error}", file=sys.stderr)
        return 2
    console = Console(width=170)
    for one in tables(found):
        console.print(one)
    document = {"schema": SCHEMA, "quick": options.quick, **found, "env": environment()}
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
