"""What recording costs: time and bytes per tick, and per snapshot, on this machine.

    python -m nextframe.tools.lab.recording.cost [WORLD] [--ticks N]

Times are of the thread that ticks unless said otherwise; the last line is one JSON document.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ....controllers.bots import WanderBot
from ....runtime.core import FixedClock, PlayedTick, TickPlan, World
from ....runtime.recording.format import header_for
from ....runtime.recording.reader import load_snapshot, read_replay
from ....runtime.recording.snapshots import snapshot_payloads
from ....runtime.recording.writer import ReplayWriter
from ....runtime.session.registry import find_world
from ....runtime.session.startup import StartUp, open_world

T = TypeVar("T")
SNAPSHOTS = 20


def timed(work: Callable[[], T], durations_ns: list[int]) -> T:
    before_ns = time.perf_counter_ns()
    result = work()
    durations_ns.append(time.perf_counter_ns() - before_ns)
    return result


def milliseconds(durations_ns: list[int]) -> dict[str, float]:
    values = np.array(durations_ns) / 1e6
    p50, p99 = np.percentile(values, [50, 99])
    return {name: round(float(v), 4) for name, v in (("mean", values.mean()), ("p50", p50), ("p99", p99))}


def tick_cost(world: World, folder: Path, ticks: int) -> dict[str, Any]:
    """Keys and sticks that never rest, a checksum every 20 ticks, written at the world's own rate of batches."""
    header = header_for(world.info, seed=0, environment={})
    bot, durations_ns = WanderBot(world.info.actions, 1), list[int]()
    actions = [bot.poll(tick) for tick in range(ticks)]
    ReplayWriter(folder / "empty.nfr", header).close()
    writer = ReplayWriter(folder / "ticks.nfr", header)
    for tick, action in enumerate(actions):
        checksum = tick * 99_991 % 2**32 if tick % 20 == 0 else None
        timed(lambda a=action, t=tick, c=checksum: writer.record_tick(t, PlayedTick(a, 4, c)), durations_ns)  # type: ignore[misc]
    writer.close()
    size_bytes = (folder / "ticks.nfr").stat().st_size - (folder / "empty.nfr").stat().st_size
    before_ns = time.perf_counter_ns()
    read_replay(folder / "ticks.nfr")
    return {
        "ticks": ticks,
        "record_ms": milliseconds(durations_ns),
        "bytes_per_tick": round(size_bytes / ticks, 2),
        "read_ms_per_1000_ticks": round((time.perf_counter_ns() - before_ns) / 1e3 / ticks, 2),
    }


def snapshot_cost(world: World, folder: Path) -> dict[str, Any]:
    """`take_ms` is what a tick pays; `pack_ms` (to bytes and compressed) is the writer's thread's."""
    take_ns, pack_ns, load_ns, restore_ns = list[int](), list[int](), list[int](), list[int]()
    bot = WanderBot(world.info.actions, 1)
    header = header_for(world.info, seed=0, environment={})
    writer = ReplayWriter(
        folder / "snapshots.nfr", header, take_snapshot=world.snapshot, snapshot_every_ticks=1, live=False
    )
    for tick in range(SNAPSHOTS):
        action = bot.poll(tick)
        world.advance(action, TickPlan(world.info.ladder[-1], 2**62)).commit()
        state = timed(world.snapshot, take_ns)
        timed(lambda s=state: snapshot_payloads(0, s), pack_ns)  # type: ignore[misc]
        writer.record_tick(tick, PlayedTick(action, world.info.ladder[-1]))
    writer.close()
    found = read_replay(folder / "snapshots.nfr").snapshots
    for stored in found:
        state = timed(lambda s=stored: load_snapshot(folder / "snapshots.nfr", s), load_ns)  # type: ignore[misc]
        timed(lambda s=state: world.restore(s), restore_ns)  # type: ignore[misc]
    return {
        "snapshots": SNAPSHOTS,
        "raw_bytes": round(float(np.mean([stored.raw_bytes for stored in found]))),
        "stored_bytes": round(float(np.mean([stored.stored_bytes for stored in found]))),
        "take_ms": milliseconds(take_ns),
        "pack_ms": milliseconds(pack_ns),
        "load_ms": milliseconds(load_ns),
        "restore_ms": milliseconds(restore_ns),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="What recording costs on this machine.")
    parser.add_argument("world", nargs="?", default="circuit")
    parser.add_argument("--ticks", type=int, default=5_000)
    arguments = parser.parse_args()
    opened = open_world(find_world(arguments.world), StartUp(), clock=FixedClock())
    with tempfile.TemporaryDirectory() as folder:
        report = {
            "schema": "nextframe.replay_cost/1",
            "world": opened.info.name,
            "tick": tick_cost(opened.world, Path(folder), arguments.ticks),
            "snapshot": snapshot_cost(opened.world, Path(folder)),
        }
    opened.world.close()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
