"""The keep's plan: rooms around a court, as letters on a grid. Heights and textures of each, and what stops a walker.

Owns the plan and nothing of how it is drawn, walked or written as a map. One letter is a cell of 32 by 32 of the
game's units (about a metre); rows run north to south as one reads them, so the first row has the greatest y.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

CELL_UNITS = 32
TOP_UNITS = 128
"""The highest ceiling; solid cells reach from 0 up to it."""
SKY = "F_SKY1"

PLAN = """
##########################
#rrrrrr###4444##55#bbbbbb#
#rrrrrr#mmmmmmmmmmmbbbbbb#
1rrrrrr#mmmmmmmmmmmbbPPbb6
1rr##rrdmmm#mmm#mmmbbPPbb6
#rr##rrdmmmmmmmmmmdbbbbbb#
#rrrrrr#mm#mmmm#mmdbbbbbb#
#rrrrrr####ddddd#######dd#
###dd####ggggggggg###aaaa#
##kkkk##gggggggggggg#aaaa#
##kkkk##ggCCgggggggg#aaaa8
2kkkkkddggCCggggTgggddaaa8
2kkkkkddggggggggTgggddaaa#
##kkkk##ggggggggggCg#aaaa#
##kkkk##gggggggggggg#a##a#
###dd####ggggggggg###a##a#
#wwwwwww##ddd####sss#aaaa#
#wwwwwwwdmmmmmmssssssdaaa#
3wwSSwwwdmmmmmmssssssdaaa#
3wwwwwww#mm##mmssQQss#aaa#
#wwSSwww#mmmmmmssssss#aaa#
#wwwwwww##77###sssss######
##########################
""".strip().splitlines()


@dataclass(frozen=True)
class Space:
    """Floor and ceiling in units, their textures, that of the walls seen from there, the light, 0 to 255, and the
    letter of the room whose lamp it is under, if any."""

    floor: int
    ceiling: int
    floor_texture: str
    ceiling_texture: str
    wall_texture: str
    light: int = 208
    lamp: str = ""


SPACES = {
    "r": Space(0, 128, "FLOOR7_1", "CEIL3_5", "REDWALL", 208, "r"),
    "m": Space(0, 112, "FLOOR4_8", "CEIL5_1", "METAL2", 192, "m"),
    "b": Space(0, 128, "FLAT14", "CEIL4_3", "COMPBLUE", 224, "b"),
    "P": Space(40, 128, "FLAT23", "CEIL4_3", "COMPTALL", 255, "b"),
    "d": Space(0, 80, "FLAT20", "FLAT19", "SUPPORT2", 176),
    "g": Space(0, 128, "GRASS1", SKY, "STONE3", 240),
    "C": Space(32, 128, "CRATOP2", SKY, "CRATE1", 240),
    "T": Space(64, 128, "FLAT5_2", SKY, "WOOD1", 240),
    "k": Space(0, 104, "FLAT5_2", "FLAT5_1", "PANBOOK", 192, "k"),
    "a": Space(0, 128, "FLAT1_1", "FLAT1", "BRICK6", 200, "a"),
    "w": Space(0, 112, "FLOOR0_3", "CEIL1_1", "WOOD5", 200, "w"),
    "S": Space(32, 112, "CRATOP1", "CEIL1_1", "CRATE2", 200, "w"),
    "s": Space(0, 128, "DEM1_6", "FLOOR7_2", "MARBLE1", 216, "s"),
    "Q": Space(48, 128, "FLOOR7_2", "FLOOR7_2", "MARBLE3", 255, "s"),
}
PANELS = {
    "1": "BIGDOOR2", "2": "PANCASE2", "3": "WOODMET1", "4": "COMPSTA1", "5": "SPCDOOR3", "6": "SHAWN2", "7": "BIGDOOR5",
    "8": "MURAL1",
}  # fmt: skip
"""Solid cells with a wall texture of their own, from wherever they are seen."""
LAMPS = "rmbkaws"
"""Rooms that can be lit and darkened. The court has the sky, and doorways have a light of their own."""
DARK = 96
"""The light of a room whose lamp is out."""
STEP_UNITS = 24
"""What is higher than this is a wall to a walker."""


@dataclass(frozen=True)
class Grid:
    """The plan as arrays, `(rows, columns)`, row 0 the southernmost: index `[y // 32, x // 32]`.

    `solid`: bool. `floor`, `ceiling`: float32 units; of solid cells both `TOP_UNITS`. `sky`: bool. `letters`: str.
    `lamps`: int64, which of `LAMPS` it is under; -1 for none.
    """

    solid: NDArray[np.bool_]
    floor: NDArray[np.float32]
    ceiling: NDArray[np.float32]
    sky: NDArray[np.bool_]
    letters: NDArray[np.str_]
    lamps: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.solid.shape
        return rows, columns

    @property
    def walls(self) -> NDArray[np.bool_]:
        """Cells that cannot be stepped into."""
        return self.solid | (self.floor > STEP_UNITS)


@cache
def load_grid() -> Grid:
    letters = np.array([list(row) for row in PLAN])[::-1]
    solid = ~np.isin(letters, list(SPACES))
    sky = np.array([[not s and SPACES[c].ceiling_texture == SKY for c, s in zip(*pair, strict=True)]
                    for pair in zip(letters, solid, strict=True)])  # fmt: skip
    floor, ceiling = (
        np.array([[TOP_UNITS if c not in SPACES else getattr(SPACES[c], name) for c in row] for row in letters], "f4")
        for name in ("floor", "ceiling")
    )
    lamps = np.array([[LAMPS.find(SPACES[c].lamp) if c in SPACES and SPACES[c].lamp else -1 for c in row]
                      for row in letters])  # fmt: skip
    return Grid(solid, floor, ceiling, sky, letters, lamps)


def wall_texture(open_letter: str, beyond: str) -> str:
    """What a wall shows from a cell `open_letter` before a cell `beyond`."""
    if beyond in PANELS:
        return PANELS[beyond]
    return SPACES[beyond if beyond in SPACES else open_letter].wall_texture
