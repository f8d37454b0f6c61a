"""Recordings for tests: a small world's header, ticks that use every field, and files made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from crc32c import crc32c
from hypothesis import strategies as st

from nextframe.controllers.scripted import Entry, Script, ScriptedController
from nextframe.runtime.core import (
    AXIS_LEVELS,
    Action,
    ActionSpace,
    ClockGap,
    Controller,
    FixedClock,
    PlayedTick,
    Reset,
    Snapshot,
    WorldInfo,
)
from nextframe.runtime.display.null import NullDisplay
from nextframe.runtime.governor.adaptive import TraceGovernor
from nextframe.runtime.loop import Governor, Loop, Recorder
from nextframe.runtime.recording.format import Replay, header_for, header_to_plain
from nextframe.runtime.recording.playback import Playback, ReplayVerifier
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.recording.records import CRC, FRAME, HEADER, MAGIC, PREAMBLE
from nextframe.runtime.recording.writer import ReplayWriter
from nextframe.worlds.toy.world import ToyWorld

ACTIONS = ActionSpace(("handbrake", "fire"), ("steer", "throttle"), {"weather": ("clear", "rain")})
INFO = WorldInfo(
    name="pond",
    width_px=64,
    height_px=48,
    tick_hz=Fraction(4),
    ladder=(1, 2, 4),
    actions=ACTIONS,
    config_sha256="c" * 64,
    weights_sha256="a" * 64,
    config_text="name: pond\n",
)
HEAD = header_for(INFO, seed=7, environment={"python": "3.11", "threads": 2}, created_utc="2025-01-01T00:00:00Z")

actions = st.builds(
    Action,
    buttons=st.frozensets(st.sampled_from(ACTIONS.buttons)),
    axes=st.dictionaries(st.sampled_from(ACTIONS.axes), st.integers(-AXIS_LEVELS, AXIS_LEVELS).filter(bool)),
    prompt=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    reset=st.booleans(),
)
recorded_ticks = st.builds(
    PlayedTick,
    action=actions,
    steps_applied=st.sampled_from([1, 2, 4]),
    checksum=st.none() | st.integers(0, 2**32 - 1),
    events=st.sampled_from([(), (Reset(7),), (ClockGap(),)]),
)


def some_ticks(count: int) -> list[PlayedTick]:
    return [
        PlayedTick(
            Action(frozenset({"fire"} if n % 3 == 0 else ()), {"steer": n % 100 + 1}, "rain" if n == 5 else None),
            (1, 2, 4)[n % 3],
            n * 1000 if n % 4 == 0 else None,
            (ClockGap(),) if n == 6 else (),
        )
        for n in range(count)
    ]


def a_state(tick: int) -> dict[str, Any]:
    """A snapshot with every kind of plain data, small enough to cut at every byte."""
    return {
        "tick": tick,
        "words": ["rain", None, True, 0.1 + tick],
        "memory": {"keys": np.arange(6, dtype=np.float32).reshape(2, 3) + tick, "empty": np.zeros((0, 4), np.int64)},
    }


def write(
    path: Path,
    ticks: Sequence[PlayedTick],
    *,
    info: WorldInfo = INFO,
    snapshot_every_ticks: int = 0,
    initial_snapshot: Snapshot | None = None,
) -> bytes:
    """Record these ticks on a clock that stands still; returns the file's bytes."""
    header = header_for(info, seed=7, environment={"python": "3.11"})
    with ReplayWriter(
        path, header, overwrite=True, live=False, now_ns=lambda: 0, initial_snapshot=initial_snapshot,
        snapshot_every_ticks=snapshot_every_ticks, take_snapshot=lambda: a_state(writer.ticks),
    ) as writer:  # fmt: skip
        record(writer, ticks)
    return path.read_bytes()


def record(writer: ReplayWriter, ticks: Sequence[PlayedTick], first_tick: int = 0) -> None:
    for n, tick in enumerate(ticks, first_tick):
        writer.record_tick(n, tick)


def framed(kind: int, content: Any) -> bytes:
    payload = content if isinstance(content, bytes) else msgpack.packb(content)
    data = FRAME.pack(kind, len(payload)) + payload
    return data + CRC.pack(crc32c(data))


def handmade(
    path: Path, *records: bytes, major: int = 1, minor: int = 0, header: Mapping[str, Any] | None = None
) -> Path:
    """A file of these records, with a valid header and valid CRCs before them."""
    plain = {**header_to_plain(HEAD), "format": [major, minor], **(header or {})}
    path.write_bytes(PREAMBLE.pack(MAGIC, major, minor) + framed(HEADER, plain) + b"".join(records))
    return path


# --- toy sessions ------------------------------------------------------------------------------------------------


def play(
    world: ToyWorld,
    controller: Controller,
    governor: Governor,
    recorder: Recorder,
    *,
    ticks: int = 60,
) -> None:
    """Run a world that the caller has reset, and close the recorder."""
    clock, period_ns = FixedClock(), 50_000_000
    loop = Loop(
        world, controller, NullDisplay(clock), governor, clock, tick_period_ns=period_ns, deadline_ns=period_ns,
        recorder=recorder, seed=7, checksum_every=5,
    )  # fmt: skip
    loop.run(ticks)
    recorder.close()


def record_a_session(path: Path, *, snapshot_every_ticks: int = 0, steps: Sequence[int] = (4, 1, 2) * 20) -> Replay:
    """60 ticks of the toy world with every control, a prompt and a reset."""
    world = ToyWorld()
    world.reset(7)
    header = header_for(world.info, seed=7, environment={})
    script = Script("zigzag", (Entry(0, 9, axes={"steer": 0.7, "throttle": 1.0}), Entry(13, 4, hold=("brake",)),
                    Entry(20, prompt="night"), Entry(30, reset=True)), 35, repeat=True)  # fmt: skip
    controller = ScriptedController(script, world.info.actions)
    writer = ReplayWriter(
        path, header, overwrite=True, live=False,
        take_snapshot=world.snapshot, snapshot_every_ticks=snapshot_every_ticks,
    )  # fmt: skip
    play(world, controller, TraceGovernor(steps), writer)
    return read_replay(path)


def play_back(
    replay: Replay, *, steps: Sequence[int] | None = None, actions_of: Replay | None = None
) -> ReplayVerifier:
    """A playback from the beginning; with other steps or with the actions of another recording if told."""
    ticks = (actions_of or replay).ticks
    if steps is not None:
        ticks = tuple(replace(tick, steps_applied=taken) for tick, taken in zip(ticks, steps, strict=True))
    world, verifier = ToyWorld(), ReplayVerifier(replay)
    world.reset(7)
    Playback(replace(replay, ticks=ticks), world, verifier).run(len(ticks))
    return verifier
