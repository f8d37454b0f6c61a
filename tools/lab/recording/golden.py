"""Golden replays: one short toy session, recorded once per format version and kept in `tests/golden`.

Run once when the format's version rises, never to make a test pass: a golden that no longer plays back says that old
recordings no longer play back. The session is a formula of the tick, so every version holds the same one.

    python -m nextframe.tools.lab.recording.golden [FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ....runtime.core import Action, ClockGap, FixedClock, PlayedTick, Reset, TickPlan
from ....runtime.recording.format import FORMAT_MAJOR, FORMAT_MINOR, header_for
from ....runtime.recording.writer import ReplayWriter
from ....runtime.tick.events import gathered
from ....worlds.toy.world import ToyWorld

FOLDER = Path(__file__).resolve().parents[3] / "tests" / "golden"
SEED, TICKS = 7, 60
RESET_TICK, RESET_SEED = 33, 11
CHECKSUM_EVERY = 5
SNAPSHOT_EVERY = 24
MIDDLE_TICK = 20


def golden_action(tick: int) -> Action:
    """Both axes, a button, a prompt each way and a reset: every field that a tick can hold."""
    return Action(
        buttons=frozenset({"brake"} if tick % 13 == 9 else ()),
        axes={"steer": (tick * 37) % 255 - 127, "throttle": 127 - tick % 90},
        prompt={10: "night", 21: "day", 40: "night"}.get(tick),
        reset=tick == RESET_TICK,
    )


def golden_steps(tick: int) -> int:
    return (4, 2, 1, 4)[tick % 4]


def first_tick(stem: str) -> int:
    """Where a golden of this name begins: `middle` ones start from a snapshot, in the middle of the session."""
    return MIDDLE_TICK if "middle" in stem else 0


def record_session(path: Path, *, first_tick: int = 0) -> None:
    """Play the session on the toy world and record it from `first_tick` on, with the format this code writes."""
    world = ToyWorld(FixedClock())
    world.reset(SEED)
    header = header_for(world.info, seed=SEED, environment={"python": "any"}, created_utc="2026-01-01T00:00:00+00:00")
    writer: ReplayWriter | None = None
    for tick in range(TICKS):
        if tick == first_tick:
            writer = ReplayWriter(
                path,
                header,
                overwrite=True,
                initial_snapshot=world.snapshot() if first_tick else None,
                take_snapshot=world.snapshot,
                snapshot_every_ticks=SNAPSHOT_EVERY,
                live=False,
                now_ns=lambda: 0,
            )
        action = golden_action(tick)
        if action.reset:
            world.reset(RESET_SEED)
        result = world.advance(action, TickPlan(golden_steps(tick), 2**62))
        result.commit()
        checksum = world.checksum() if tick % CHECKSUM_EVERY == 0 else None
        events = gathered(Reset(RESET_SEED) if action.reset else ClockGap() if tick == 44 else None)
        if writer is not None:
            writer.record_tick(tick, PlayedTick(action, result.steps_applied, checksum, events))
    assert writer is not None, f"expected a first tick below {TICKS}, got {first_tick}"
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    for suffix in ("", "-middle"):
        stem = f"toy-{FORMAT_MAJOR}.{FORMAT_MINOR}{suffix}"
        record_session(folder / f"{stem}.nfr", first_tick=first_tick(stem))


if __name__ == "__main__":
    main()
