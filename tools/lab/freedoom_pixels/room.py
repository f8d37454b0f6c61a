"""A room to learn by heart: the smallest first-person place, as a map that ViZDoom reads, with Freedoom's textures.

Owns its plan and how a map is written (a PWAD with one map in UDMF, the ZDoom wiki's and the UDMF specification's
format). Four walls of four colours, a landmark in the middle of each. An unseen rail keeps players away from the
walls, where a picture says nothing of where it was taken. Knows nothing of ViZDoom.
"""

from __future__ import annotations

from ....worlds.freedoom.teacher.keep import archive

ROOM = "room"
"""Its name among the scenarios."""
HALF_UNITS = 224
"""From the middle to a wall."""
RAIL_UNITS = 64
"""From the middle to the rail, less the player's own 16. The further it is from the walls, the more is seen of them,
and the less a step changes: what is left to learn is nearly a panorama."""
HIGH_UNITS = 128
FLOOR, CEILING, LIGHT = "FLOOR0_1", "CEIL3_5", 255
WALLS = (
    ("REDWALL", "BIGDOOR2", "REDWALL"),
    ("MARBLE1", "MARBFACE", "MARBLE1"),
    ("COMPBLUE", "SHAWN2", "COMPBLUE"),
    ("STARTAN3", "BIGDOOR5", "STARTAN3"),
)
"""Of each wall, the textures of its parts: from the west wall on, clockwise from above."""


def room_wad() -> bytes:
    """The file's bytes: an archive of one map, MAP01."""
    return archive([("MAP01", b""), ("TEXTMAP", room_text().encode("ascii")), ("ENDMAP", b"")])


def room_text() -> str:
    """The map in UDMF: the player begins in the middle, looking east."""
    corners = [(x * HALF_UNITS, y * HALF_UNITS) for x, y in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
    points: list[tuple[float, float]] = []
    sides: list[str] = []
    lines: list[str] = []
    for at, parts in enumerate(WALLS):
        (x0, y0), (x1, y1) = corners[at], corners[(at + 1) % 4]
        for k, texture in enumerate(parts):
            points.append((x0 + (x1 - x0) * k / len(parts), y0 + (y1 - y0) * k / len(parts)))
            sides.append(f'sector = 0; texturemiddle = "{texture}";')
    walls = len(points)
    lines += [f"v1 = {n}; v2 = {(n + 1) % walls}; sidefront = {n}; blocking = true;" for n in range(walls)]
    points += [(x * RAIL_UNITS / HALF_UNITS, y * RAIL_UNITS / HALF_UNITS) for x, y in corners]
    for n in range(4):
        front = len(sides)
        sides += ["sector = 1;", "sector = 0;"]
        lines.append(f"v1 = {walls + n}; v2 = {walls + (n + 1) % 4}; sidefront = {front}; sideback = {front + 1}; "
                     "twosided = true; blocking = true;")  # fmt: skip
    sector = (f'heightfloor = 0; heightceiling = {HIGH_UNITS}; texturefloor = "{FLOOR}"; '
              f'textureceiling = "{CEILING}"; lightlevel = {LIGHT};')  # fmt: skip
    skills = " ".join(f"skill{n} = true;" for n in range(1, 6))
    blocks = [("vertex", f"x = {x:.3f}; y = {y:.3f};") for x, y in points]
    blocks += [("sidedef", side) for side in sides] + [("linedef", line) for line in lines]
    blocks += [("sector", sector)] * 2 + [("thing", f"x = 0.0; y = 0.0; angle = 0; type = 1; single = true; {skills}")]
    return "\n".join(['namespace = "zdoom";', *(f"{kind} {{ {text} }}" for kind, text in blocks)]) + "\n"
