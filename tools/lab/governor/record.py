"""Record what a real world costs, tick by tick, at top quality, as a cost trace.

python -m nextframe.tools.lab.governor.record circuit --ticks 1200 --out tools/lab/governor/traces/circuit.json
python -m nextframe.tools.lab.governor.record circuit --antagonist 2 --out tools/lab/governor/traces/circuit-busy.json

`--antagonist` keeps that many processes busy beside it (one, if no number is given). Run it on a machine that does
nothing else.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ....controllers.bots import make_bot
from ....runtime.core import MonotonicClock, NextframeError
from ....runtime.display.null import NullDisplay
from ....runtime.governor.adaptive import FixedGovernor
from ....runtime.governor.cost import sample_of
from ....runtime.session.builder import Session
from ....runtime.session.parts.part import Setting
from ....runtime.session.startup import StartUp, check_folder, open_world
from ....runtime.tick.record import TickRecord
from ..kept import Kept
from .traces import CostTrace, save_trace

BURN = "while True: pass"


@contextmanager
def antagonists(count: int) -> Iterator[None]:
    """That many processes that each keep a core busy, until the end of the block."""
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def trace_of(records: Sequence[TickRecord], *, world: str, machine: str, ladder: tuple[int, ...]) -> CostTrace:
    """The costs of ticks that ran at the top of the ladder; ValueError if one did not."""
    if any(len(record.step_ns) != ladder[-1] for record in records):
        raise ValueError(f"cost trace: expected {ladder[-1]} timed denoise steps in every tick")
    samples = [sample_of(record) for record in records]
    denoise_ns = [sum(record.step_ns) for record in records]
    return CostTrace(
        family=world,
        world=world,
        machine=machine,
        ladder=ladder,
        deadline_ms=(records[0].deadline_ns - records[0].release_ns) / 1e6,
        fixed_ms=tuple((r.present_ns - r.start_ns - ns) / 1e6 for r, ns in zip(records, denoise_ns, strict=True)),
        step_ms=tuple(tuple(ns / 1e6 for ns in record.step_ns) for record in records),
        tail_ms=tuple(sample.tail_ns / 1e6 for sample in samples),
        commit_ms=tuple(sample.commit_ns / 1e6 for sample in samples),
    )


def record_trace(name: str, *, ticks: int, warmup_ticks: int, bot: str, busy_processes: int) -> CostTrace:
    """Play the world headless at top quality, a bot at the controls."""
    found, clock, seen = check_folder(name), MonotonicClock(), Kept()
    opened = open_world(found, StartUp(), clock=clock)
    info = opened.world.info
    controller = make_bot(bot, info.actions)
    try:
        loop = Session(opened.world, Setting.at(info.tick_hz, clock)).loop(
            controller,
            NullDisplay(clock),
            FixedGovernor(info.ladder[-1]),
            observers=(seen,),
            checksum_every=0,
        )
        with antagonists(busy_processes):
            loop.run(ticks + warmup_ticks)
    finally:
        controller.close()
        opened.world.close()
    cpu = opened.environment.get("cpu", platform.machine())
    machine = f"{cpu}, busy processes beside it: {busy_processes}" if busy_processes else f"{cpu}"
    measured = [record for record in seen.records[warmup_ticks:] if not record.clock_gap]
    if not measured:
        raise NextframeError(f"{name}: no tick could be measured; expected {ticks}; give more --ticks")
    return trace_of(measured, world=info.name, machine=machine, ladder=info.ladder)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.governor.record", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("world")
    parser.add_argument("--ticks", type=int, default=1200)
    parser.add_argument("--warmup-ticks", type=int, default=40, help="played first, and left out")
    parser.add_argument("--bot", default="wander", help="who steers")
    parser.add_argument("--antagonist", type=int, nargs="?", const=1, default=0, help="busy processes beside it")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    if options.ticks < 1 or options.warmup_ticks < 0 or options.antagonist < 0:
        parser.error("expected --ticks of at least 1, and --warmup-ticks and --antagonist of at least 0")
    try:
        trace = record_trace(
            options.world,
            ticks=options.ticks,
            warmup_ticks=options.warmup_ticks,
            bot=options.bot,
            busy_processes=options.antagonist,
        )
        options.out.parent.mkdir(parents=True, exist_ok=True)
        save_trace(options.out, trace)
    except (NextframeError, OSError) as error:
        print(f"record: {error}", file=sys.stderr)
        return 2
    print(f"{options.out}: {trace.ticks} ticks of {trace.world}, {options.out.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
