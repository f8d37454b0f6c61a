"""A golden save: one short toy session, saved in the middle and kept in `tests/golden`.

Run once when the format's version rises, never to make a test pass: a golden that no longer loads says that old saves
no longer load. The session is that of the golden recordings.

    python -m nextframe.tools.lab.timeline.golden [FOLDER]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ....runtime.core import FixedClock, TickPlan, World
from ....runtime.timeline.save_format import FORMAT_MAJOR, FORMAT_MINOR, SavedState, state_to_bytes
from ....runtime.timeline.saves import saved_state
from ....worlds.toy.world import ToyWorld
from ..recording.golden import FOLDER, SEED, golden_action, golden_steps

TICKS = 30
"""Ticks played before the save, all before the session's reset."""
GOVERNOR = {"rung": 2, "costs": [1.5, -0.0, 2**63], "level": None, "warm": True}


def play(world: World, first_tick: int, ticks: int) -> list[int]:
    """Play so many ticks of the golden session; the checksum after each."""
    checksums = []
    for tick in range(first_tick, first_tick + ticks):
        world.advance(golden_action(tick), TickPlan(golden_steps(tick), 2**62)).commit()
        checksums.append(world.checksum())
    return checksums


def golden_state() -> SavedState:
    """What the golden save holds: the toy world after `TICKS` ticks, the governor's data, a preview, a fixed time."""
    world = ToyWorld(FixedClock())
    frame = world.reset(SEED)
    play(world, 0, TICKS)
    state = saved_state(world, tick=TICKS, seed=SEED, governor=GOVERNOR, frame=frame)
    return replace(state, created_unix_s=1_700_000_000.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    path = parser.parse_args().folder / f"toy-{FORMAT_MAJOR}.{FORMAT_MINOR}.nfs"
    path.write_bytes(state_to_bytes(golden_state()))


if __name__ == "__main__":
    main()
