"""What tracing costs a tick: `python -m nextframe.tools.lab.traces.cost [--world circuit] [--ticks 100] [--pairs 10]`.

One session on the real clock runs blocks of ticks by turns with and without a trace, so that a machine that warms up,
slows down or is busy treats both alike; pairs of blocks swap their order by turns. A tick's time is from poll to the
end of observing it. The goal: at most 1 % of the p50. Exit codes: 0 met, 1 missed, 2 bad input. The last line is one
JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ....controllers.bots import make_bot
from ....runtime.core import Clock, MonotonicClock, NextframeError
from ....runtime.display.null import NullDisplay
from ....runtime.governor.adaptive import FixedGovernor
from ....runtime.loop import Loop, NullObserver, Observer
from ....runtime.observe.trace import FLUSH_S, TraceRing, TraceWriter
from ....runtime.session.builder import Session
from ....runtime.session.parts.part import Setting
from ....runtime.session.startup import StartUp, check_folder, open_world
from ....runtime.tick.record import TickRecord

GOAL_RATIO = 1.01
WARMUP_TICKS = 20


@dataclass
class Stopwatch:
    """An observer that times another: ns from poll to here, and ns in the other's `observe`."""

    clock: Clock
    observer: Observer = field(default_factory=NullObserver)
    tick_ns: list[int] = field(default_factory=list)
    observe_ns: list[int] = field(default_factory=list)

    def observe(self, record: TickRecord) -> None:
        before_ns = self.clock.now_ns()
        self.observer.observe(record)
        after_ns = self.clock.now_ns()
        self.tick_ns.append(after_ns - record.poll_ns)
        self.observe_ns.append(after_ns - before_ns)

    def take(self) -> Block:
        taken = Block(self.tick_ns, self.observe_ns)
        self.tick_ns, self.observe_ns = [], []
        return taken


class Both:
    """A trace of the whole session and the ring of the last seconds: all the tracing that there is."""

    def __init__(self, writer: TraceWriter, ring: TraceRing) -> None:
        self._writer, self._ring = writer, ring

    def observe(self, record: TickRecord) -> None:
        self._writer.observe(record)
        self._ring.observe(record)


class Block(NamedTuple):
    """What one block of ticks took, tick by tick."""

    tick_ns: list[int]
    observe_ns: list[int]


class Pair(NamedTuple):
    """A block without and one with the trace, run one after the other."""

    off: Block
    on: Block


def measure(world_name: str, ticks: int, pairs: int, hz: float | None) -> dict[str, Any]:
    """Run pairs of blocks of `ticks` ticks each, and compare."""
    clock = MonotonicClock()
    opened = open_world(check_folder(world_name), StartUp(), clock=clock)
    info = opened.info
    setting = Setting.at(info.tick_hz if hz is None else Fraction(hz), clock)
    tick_period_ns = setting.tick_period_ns
    stopwatch = Stopwatch(clock)
    loop = Session(opened.world, setting).loop(
        make_bot("wander", info.actions),
        NullDisplay(clock),
        FixedGovernor(info.ladder[-1]),  # the same work in every tick
        observers=(stopwatch,),
    )
    with tempfile.TemporaryDirectory() as folder:
        writer = TraceWriter(Path(folder) / "cost.trace.json", int(tick_period_ns), info.name, controls=loop.controls)
        ring = TraceRing(folder, int(tick_period_ns), info.name, controls=loop.controls)
        both = Both(writer, ring)
        loop.run(WARMUP_TICKS)
        stopwatch.take()
        measured = [_pair(loop, stopwatch, both, ticks, on_first=pair % 2 == 1) for pair in range(pairs)]
        summary = writer.close()
        ring.close()
        bytes_a_tick = summary.path.stat().st_size / max(1, summary.ticks)
    opened.world.close()
    return {
        "world": info.name,
        "tick_hz": float(1e9 / tick_period_ns),
        **compare(measured),
        "bytes_a_tick": bytes_a_tick,
    }


def _pair(loop: Loop, stopwatch: Stopwatch, tracing: Observer, ticks: int, *, on_first: bool) -> Pair:
    def block(observer: Observer) -> Block:
        stopwatch.observer = observer
        loop.run(ticks)
        time.sleep(2 * FLUSH_S)  # what a block left to write is not written in the next one's time
        return stopwatch.take()

    if on_first:
        on = block(tracing)
        return Pair(block(NullObserver()), on)
    return Pair(block(NullObserver()), block(tracing))


def compare(pairs: list[Pair]) -> dict[str, Any]:
    """Tick times on against off: over all ticks, and how the pairs scatter."""
    off_ns = [ns for pair in pairs for ns in pair.off.tick_ns]
    on_ns = [ns for pair in pairs for ns in pair.on.tick_ns]
    observe_us, nothing_us = (
        np.array([ns for block in blocks for ns in block.observe_ns]) / 1e3
        for blocks in ([pair.on for pair in pairs], [pair.off for pair in pairs])
    )
    net_us = float(np.median(observe_us) - np.median(nothing_us))  # less reading the clock and calling nothing
    ratios = [float(np.median(pair.on.tick_ns) / np.median(pair.off.tick_ns)) for pair in pairs]
    ratio = float(np.median(on_ns) / np.median(off_ns))
    return {
        "ticks_each": len(on_ns),
        "tick_ms": {
            name: {"p50": float(np.median(ns)) / 1e6, "p99": float(np.percentile(ns, 99)) / 1e6}
            for name, ns in (("off", off_ns), ("on", on_ns))
        },
        "p50_ratio": ratio,
        "p50_ratio_of_pairs": {f"p{percent}": float(np.percentile(ratios, percent)) for percent in (25, 50, 75)},
        "observe_us": {"p50": net_us, "p99": float(np.percentile(observe_us, 99) - np.median(nothing_us))},
        "observe_share_of_p50": net_us * 1e3 / float(np.median(off_ns)),
        "met": ratio <= GOAL_RATIO,
    }


def _print(result: dict[str, Any]) -> None:
    tick_ms, scatter, observe_us = result["tick_ms"], result["p50_ratio_of_pairs"], result["observe_us"]
    print(
        f"{result['world']}: p50 tick {tick_ms['off']['p50']:.3f} ms off, {tick_ms['on']['p50']:.3f} ms on: "
        f"ratio {result['p50_ratio']:.4f} (middle half of the pairs {scatter['p25']:.4f} to {scatter['p75']:.4f})"
    )
    print(
        f"{result['world']}: observe {observe_us['p50']:.2f} us p50, {observe_us['p99']:.2f} us p99, "
        f"{100 * result['observe_share_of_p50']:.3f} % of a tick; {result['bytes_a_tick']:.0f} bytes a tick"
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.traces.cost", description="What tracing costs a tick."
    )
    parser.add_argument("--world", action="append", help="may be given more than once; toy and circuit by default")
    parser.add_argument("--ticks", type=int, default=100, help="ticks in a block")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of blocks")
    parser.add_argument("--hz", type=float, help="tick rate; the world's own by default")
    options = parser.parse_args(arguments)
    if options.ticks < 1 or options.pairs < 1 or (options.hz is not None and options.hz <= 0):
        print("--ticks and --pairs: expected at least 1; --hz: expected more than 0", file=sys.stderr)
        return 2
    results = []
    for name in options.world or ["toy", "circuit"]:
        try:
            result = measure(name, options.ticks, options.pairs, options.hz)
        except NextframeError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        _print(result)
        results.append(result)
    print(json.dumps({"goal_ratio": GOAL_RATIO, "worlds": results}))
    return int(not all(result["met"] for result in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
