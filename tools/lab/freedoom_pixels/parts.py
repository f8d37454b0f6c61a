"""What the recipe and its callers agree on: sizes by name, the exit code, when the data are there.

Needs nothing but the standard library, because a bare machine reads it before it knows what it lacks.
"""

from __future__ import annotations

from pathlib import Path

from .room import ROOM

WORK = ".train"
"""As `nextframe.tools.train.base.budget.WORK`."""
SIZES = {"small": ("32x24", ROOM), "large": ("128x96", "my_way_home")}
"""By name: the frame and the place. The small one is for a CPU: one room; the large one has nine, and wants a GPU."""
MORE = 3
"""Exit code of a part that is over before the world is whole."""


def has_data(out: Path) -> bool:
    """Whether the data are all there: then the game itself is not needed any more."""
    return (out / WORK / "data.done").is_file() and any((out / WORK / "data").glob("shard-*.npz"))
