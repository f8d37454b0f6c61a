"""The keep's plan written as a map that ViZDoom reads (UDMF: the ZDoom wiki's and the UDMF specification's format).

Owns how cells become vertices, lines and sectors. Knows nothing of ViZDoom; where rooms are is
`nextframe.worlds.freedoom.teacher.plan`.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from .plan import CELL_UNITS, DARK, LAMPS, SPACES, STEP_UNITS, Grid, Space, load_grid, wall_texture


def keep_wad(dark: Collection[int] = ()) -> bytes:
    """The file's bytes: an archive of one map, MAP01. `dark`: whose lamps are out, as indices of `LAMPS`."""
    return archive([("MAP01", b""), ("TEXTMAP", keep_text(load_grid(), dark).encode("ascii")), ("ENDMAP", b"")])


def archive(lumps: list[tuple[str, bytes]]) -> bytes:
    """A PWAD: a header of magic, count and offset, the lumps, and a directory of offset, size and name."""
    body, directory = b"", b""
    for name, content in lumps:
        directory += struct.pack("<ii8s", 12 + len(body), len(content), name.encode("ascii"))
        body += content
    return struct.pack("<4sii", b"PWAD", len(lumps), 12 + len(body)) + body + directory


def keep_text(grid: Grid, dark: Collection[int] = ()) -> str:
    """The map: a sector for each letter, a line wherever two cells differ. A player stands in the court."""
    writer = _Writer(grid, dark)
    rows, columns = grid.shape
    for row in range(rows):
        for column in range(columns):
            writer.edge((row, column), (row, column - 1))
            writer.edge((row, column), (row - 1, column))
    return writer.text()


class _Writer:
    def __init__(self, grid: Grid, dark: Collection[int]) -> None:
        self._grid, self._points, self._blocks = grid, {}, []  # type: ignore[var-annotated]
        self._out = {LAMPS[k] for k in dark}
        self._sectors = {letter: n for n, letter in enumerate(SPACES)}
        self._sides = 0

    def edge(self, here: tuple[int, int], there: tuple[int, int]) -> None:
        """The line between a cell and the one west or south of it."""
        letters = self._grid.letters
        a, b = str(letters[here]), str(letters[there])
        open_a, open_b = a in SPACES, b in SPACES
        if min(*here, *there) < 0 or a == b or not (open_a or open_b):
            return
        row, column = here
        west = there[0] == row
        # A line's front is on its right. Going north along a west edge, that is the cell itself; going west along a
        # south edge as well.
        ends = [(column, row), (column, row + 1)] if west else [(column + 1, row), (column, row)]
        if not open_a:
            ends, a, b, open_b = ends[::-1], b, a, False
        at = [self._point(end) for end in ends]
        front = self._side(a, b, ends)
        if not open_b:
            self._blocks.append(("linedef", f"v1 = {at[0]}; v2 = {at[1]}; sidefront = {front}; blocking = true;"))
            return
        back = self._side(b, a, ends[::-1])
        stops = abs(SPACES[a].floor - SPACES[b].floor) > STEP_UNITS
        self._blocks.append((
            "linedef", f"v1 = {at[0]}; v2 = {at[1]}; sidefront = {front}; sideback = {back}; twosided = true; "
            f"dontpegtop = true; dontpegbottom = true; {'blocking = true;' if stops else ''}",
        ))  # fmt: skip

    def _point(self, corner: tuple[int, int]) -> int:
        return int(self._points.setdefault(corner, len(self._points)))

    def _side(self, mine: str, beyond: str, ends: list[tuple[int, int]]) -> int:
        """Textures go on from line to line: each begins where its place along the wall says."""
        (x, y), (to_x, to_y) = ends
        along = (y * (to_y - y) + x * (to_x - x)) * CELL_UNITS
        texture = wall_texture(mine, beyond)
        parts = f'texturemiddle = "{texture}";'
        if beyond in SPACES:
            parts = f'texturebottom = "{texture}"; texturetop = "{SPACES[mine].wall_texture}";'
        self._blocks.append(("sidedef", f"sector = {self._sectors[mine]}; offsetx = {along % 256}; {parts}"))
        self._sides += 1
        return self._sides - 1

    def _light(self, space: Space) -> int:
        return DARK if space.lamp in self._out else space.light

    def text(self) -> str:
        points = [("vertex", f"x = {x * CELL_UNITS}.0; y = {y * CELL_UNITS}.0;") for x, y in self._points]
        sectors = [
            ("sector", f'heightfloor = {s.floor}; heightceiling = {s.ceiling}; texturefloor = "{s.floor_texture}"; '
             f'textureceiling = "{s.ceiling_texture}"; lightlevel = {self._light(s)};')
            for s in SPACES.values()
        ]  # fmt: skip
        y, x = (int(k[0]) for k in (self._grid.letters == "g").nonzero())
        skills = " ".join(f"skill{n} = true;" for n in range(1, 6))
        middle = [(k + 0.5) * CELL_UNITS for k in (x + 2, y + 1)]
        thing = ("thing", f"x = {middle[0]}; y = {middle[1]}; angle = 0; type = 1; single = true; {skills}")
        blocks = [*points, *self._blocks, *sectors, thing]
        return "\n".join(['namespace = "zdoom";', *(f"{kind} {{ {text} }}" for kind, text in blocks)]) + "\n"
