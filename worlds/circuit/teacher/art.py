"""The still part of the picture: ground, road, water, houses, trees, and what weather and hour do to them.

Owns twelve backgrounds (four weathers by three times of day) and the map of what roofs hide. Painted once at four
times the size and averaged down, in code: no image files. Knows nothing about cars.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .simulator import TIMES, WEATHERS
from .track import HEIGHT_PX, ROAD_HALF_PX, WIDTH_PX, Track, distance_field, load_track

SCALE = 4
Field: TypeAlias = NDArray[Any]
"""A plane of the picture; float32, or float64 between two float32s where a constant widened it."""

BRIDGE_PX = (126.0, 172.0, 146.0, 192.0)
TUNNEL_PX = (6.0, 43.0, 48.0, 126.0)
HOUSES = (  # x, y, width, height, roof colour, floors
    (178, 120, 22, 13, (0.78, 0.33, 0.24), 1), (200, 113, 12, 15, (0.88, 0.66, 0.30), 1),
    (62, 138, 24, 8, (0.36, 0.48, 0.66), 2),
    (106, 56, 13, 15, (0.80, 0.38, 0.28), 1), (55, 66, 12, 14, (0.84, 0.62, 0.34), 1),
    (190, 132, 16, 8, (0.55, 0.60, 0.70), 1), (102, 14, 34, 9, (0.40, 0.46, 0.60), 2),
    (56, 94, 13, 12, (0.76, 0.34, 0.26), 1),
)  # fmt: skip
LAMPS = (
    (88, 149), (196, 148), (213, 84), (184, 47), (118, 38), (152, 70), (112, 127), (66, 102), (98, 34), (62, 48),
    (14, 140), (44, 134), (248, 88), (240, 146), (60, 183), (186, 10),
)  # fmt: skip


@dataclass(frozen=True)
class Art:
    """`backgrounds`: `(4, 3, height, width, 3)` uint8 by weather and time.

    `cover`: `(height, width)` 0..1, what hides a car.
    `glow`: `(4, 3, height, width, 3)` float32 0..1, the ground as full light would show it, for headlights.
    `tint`: `(4, 3, 3)` light on cars; `haze`: `(4, 3, 4)` colour and density of the air.
    """

    backgrounds: NDArray[np.uint8]
    cover: Field
    glow: Field
    tint: Field
    haze: Field


def _grid() -> tuple[Field, Field]:
    x = (np.arange(WIDTH_PX * SCALE, dtype=np.float32) + 0.5) / SCALE
    y = (np.arange(HEIGHT_PX * SCALE, dtype=np.float32) + 0.5) / SCALE
    columns, rows = np.meshgrid(x, y)
    return columns, rows


def _noise(size_px: float, seed: int) -> Field:
    """Smooth value noise in 0..1, bicubic-like between random knots `size_px` apart."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    columns, rows = _grid()
    knots = rng.random((int(HEIGHT_PX / size_px) + 3, int(WIDTH_PX / size_px) + 3)).astype(np.float32)
    u, v = columns / size_px, rows / size_px
    i, j = v.astype(int), u.astype(int)
    fu, fv = u - j, v - i
    fu, fv = fu * fu * (3 - 2 * fu), fv * fv * (3 - 2 * fv)
    top = knots[i, j] * (1 - fu) + knots[i, j + 1] * fu
    low = knots[i + 1, j] * (1 - fu) + knots[i + 1, j + 1] * fu
    return top * (1 - fv) + low * fv


def _soft(distance: Field, width_px: float = 0.5) -> Field:
    """1 inside (negative distance), 0 outside, a soft edge of `width_px`."""
    return np.clip(0.5 - distance / width_px, 0, 1).astype(np.float32)


def _box(x: float, y: float, w: float, h: float, corner: float = 0.8) -> Field:
    columns, rows = _grid()
    dx, dy = np.abs(columns - x) - w / 2 + corner, np.abs(rows - y) - h / 2 + corner
    return np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - corner


def _over(canvas: Field, colour: Field | tuple[float, ...], alpha: Field) -> None:
    canvas += (np.asarray(colour, np.float32) - canvas) * alpha[..., None]


def _down(image: Field) -> Field:
    h, w = HEIGHT_PX, WIDTH_PX
    return image.reshape(h, SCALE, w, SCALE, *image.shape[2:]).mean(axis=(1, 3), dtype=np.float32)


class _Painter:
    """Layers shared by all twelve pictures: what is where, how high it stands, what shines."""

    def __init__(self, track: Track) -> None:
        self.columns, self.rows = _grid()
        # The distance field is smooth: computed at quarter size, then stretched.
        index, _ = distance_field(track.line, _down(self.columns), _down(self.rows))
        self.index = np.kron(index, np.ones((SCALE, SCALE), np.int32))
        nearest = track.line[self.index]
        self.from_road = np.hypot(self.columns - nearest[..., 0], self.rows - nearest[..., 1]).astype(np.float32)
        angle = track.tangent[self.index]
        offset_x, offset_y = self.columns - nearest[..., 0], self.rows - nearest[..., 1]
        self.side = (-np.sin(angle) * offset_x + np.cos(angle) * offset_y).astype(np.float32)
        self.lap_px = (self.index * track.length_px / len(track.line)).astype(np.float32)
        smooth = np.convolve(
            np.abs(np.concatenate([track.curvature[-30:], track.curvature, track.curvature[:30]])),
            np.ones(61) / 61,
            "valid",
        )
        self.bend = smooth[self.index].astype(np.float32)
        self.lake = np.hypot((self.columns - 186) / 27, (self.rows - 84) / 21) + 0.16 * (_noise(13, 5) - 0.5) * 2 - 1
        self.height = np.zeros_like(self.columns)
        self.trees = self._tree_list(track)

    def _tree_list(self, track: Track) -> list[tuple[float, float, float, int]]:
        """x, y, radius, kind; where neither road nor water nor house is."""
        rng = np.random.Generator(np.random.Philox(key=77))
        small = _down(self.from_road)
        lake = _down(self.lake.astype(np.float32))
        found: list[tuple[float, float, float, int]] = []
        for _ in range(1400):
            x, y, r = rng.uniform(3, 253), rng.uniform(3, 189), rng.uniform(3.2, 5.6)
            row, column = int(y), int(x)
            clear = small[row, column] > 19.5 + r and lake[row, column] > 0.22
            clear &= all(abs(x - hx) > hw / 2 + r + 2 or abs(y - hy) > hh / 2 + r + 2 for hx, hy, hw, hh, *_ in HOUSES)
            clear &= all(np.hypot(x - tx, y - ty) > 0.72 * (r + tr) for tx, ty, tr, _ in found)
            clear &= not (BRIDGE_PX[0] - 4 < x < BRIDGE_PX[1] + 4 and y > 130)
            if clear:
                found.append((float(x), float(y), float(r), int(rng.integers(3))))
        return found


def _ground(p: _Painter, weather: str) -> Field:
    """Albedo of everything lying flat."""
    snow, rain = weather == "snow", weather == "rain"
    grass = {
        "clear": (0.36, 0.63, 0.24),
        "rain": (0.27, 0.47, 0.24),
        "snow": (0.89, 0.92, 0.96),
        "fog": (0.37, 0.56, 0.31),
    }[weather]
    canvas = np.empty((*p.columns.shape, 3), np.float32)
    canvas[:] = grass
    patch = 0.6 * _noise(23, 1) + 0.4 * _noise(8, 2)
    canvas *= (0.90 + 0.20 * patch * (0.45 if snow else 1))[..., None]
    stripes = _soft(np.abs(((p.columns + p.rows) / 16) % 2 - 1) - 0.5, 0.3)
    canvas *= (1 + (0.010 if snow else 0.035) * (stripes - 0.5))[..., None]
    meadow = _soft(0.62 - _noise(31, 9), 0.12)
    _over(canvas, (0.93, 0.94, 0.97) if snow else (0.58, 0.66, 0.28) if not rain else (0.38, 0.46, 0.25), meadow * 0.35)
    sand = _soft(p.lake.astype(np.float32) - 0.13, 0.10)
    _over(canvas, (0.86, 0.86, 0.88) if snow else (0.86, 0.78, 0.55), sand)
    depth = np.clip(-p.lake, 0, 1).astype(np.float32)[..., None]
    water = (1 - depth) * np.array((0.62, 0.80, 0.90) if snow else (0.35, 0.70, 0.86), np.float32) + depth * np.array(
        (0.45, 0.66, 0.84) if snow else (0.13, 0.43, 0.74), np.float32
    )
    water = water * (0.97 + 0.06 * _noise(9, 21))[..., None]
    _over(canvas, water, _soft(p.lake.astype(np.float32), 0.05))
    verge = _soft(p.from_road - 17.8, 1.2)
    _over(canvas, (0.80, 0.82, 0.86) if snow else (0.69, 0.62, 0.42) if not rain else (0.47, 0.43, 0.32), verge * 0.55)
    barrier = _soft(np.abs(p.from_road - 18.4) - 0.9, 0.5)
    _over(canvas, (0.86, 0.88, 0.92), barrier)
    block = (np.floor(p.lap_px / 9) % 2).astype(np.float32)
    _over(canvas, (0.30, 0.45, 0.78), barrier * block * 0.9)
    return canvas


def _road(p: _Painter, canvas: Field, weather: str) -> None:
    snow, rain = weather == "snow", weather == "rain"
    kerb = _soft(np.abs(p.from_road - 12.6) - 1.7, 0.5) * np.clip((p.bend - 0.008) / 0.006, 0, 1)
    red = (np.floor(p.lap_px / 6) % 2).astype(np.float32)[..., None]
    stripes = red * np.array((0.86, 0.16, 0.15), np.float32) + (1 - red) * np.array((0.95, 0.95, 0.93), np.float32)
    asphalt = np.array((0.68, 0.70, 0.76) if snow else (0.27, 0.29, 0.35) if rain else (0.42, 0.43, 0.47), np.float32)
    road = asphalt * (0.96 + 0.08 * _noise(6, 3))[..., None]
    groove = np.exp(-(((np.abs(p.side) - 4.2) / 2.4) ** 2)).astype(np.float32)
    road *= (1 - (0.16 if snow else 0.07) * groove)[..., None]
    if rain:  # standing water mirrors the sky
        pool = _soft(0.56 - _noise(17, 12), 0.5) * 0.42
        road += pool[..., None] * (np.array((0.50, 0.56, 0.66), np.float32) - road)
    _over(canvas, road, _soft(p.from_road - ROAD_HALF_PX, 0.6))
    _over(canvas, (0.93, 0.93, 0.91), _soft(np.abs(p.from_road - 10.6) - 0.45, 0.5) * 0.9)
    _over(canvas, stripes, kerb)
    start = (np.abs(p.lap_px - 30) < 3.2) & (p.from_road < 10.4)
    check = (np.floor(p.lap_px / 1.6) + np.floor(p.side / 1.6)) % 2
    _over(canvas, np.where(check[..., None] > 0, 0.95, 0.12).astype(np.float32), start.astype(np.float32))


def _cast(p: _Painter, alpha: Field, height_px: float, sun: tuple[float, float]) -> Field:
    """The shadow of a flat shape `height_px` tall: smeared along the sun's direction."""
    shadow = np.zeros_like(alpha)
    for step in range(1, 9):
        dx, dy = (round(sun[k] * height_px * SCALE * step / 8) for k in range(2))
        shadow = np.maximum(shadow, np.roll(alpha, (dy, dx), axis=(0, 1)))
    return shadow


def _tree_layers(p: _Painter) -> tuple[Field, Field, Field]:
    """Crown mask, light on the crown (0..1), and the kind (0 broad, 1 conifer, 2 light broad)."""
    mask, light, kind = (np.zeros_like(p.columns) for _ in range(3))
    for x, y, r, k in p.trees:
        dx, dy = p.columns - x, p.rows - y
        angle, distance = np.arctan2(dy, dx), np.hypot(dx, dy)
        edge = r * (1 + (0.10 * np.cos(7 * angle + x) if k != 1 else 0.16 * np.cos(8 * angle)))
        crown = _soft(distance - edge, 0.6)
        lit = np.clip(0.62 - 0.34 * (dx + dy) / r - 0.25 * (distance / r) ** 2, 0, 1)
        if k == 1:
            lit = np.clip(0.75 - 0.5 * distance / r + 0.22 * np.cos(8 * angle), 0, 1)
        light = light * (1 - crown) + lit * crown
        kind = kind * (1 - crown) + k * crown
        mask = np.maximum(mask, crown)
    return mask.astype(np.float32), light.astype(np.float32), kind.astype(np.float32)


def _structures(p: _Painter, canvas: Field, weather: str, shade: Field) -> Field:
    """Houses, bridge and hill on top of the ground; returns window light for the night."""
    snow = weather == "snow"
    windows = np.zeros_like(p.columns)
    for i, (x, y, w, h, colour, floors) in enumerate(HOUSES):
        body = _soft(_box(x, y, w, h), 0.5)
        roof = np.array((0.93, 0.95, 0.98) if snow else colour, np.float32)
        ridge = (p.rows < y) if w >= h else (p.columns < x)
        slope: Field = np.where(ridge, 1.10, 0.84).astype(np.float32)
        if floors == 2:  # flat roofs
            slope = 1 - 0.10 * _soft(2.0 - np.abs(_box(x, y, w - 3, h - 3)), 0.5)
        _over(canvas, roof * slope[..., None], body)
        _over(canvas, np.array((0.25, 0.22, 0.24), np.float32), _soft(np.abs(_box(x, y, w, h)) - 0.35, 0.5) * 0.6)
        lamp = _soft(_box(x - w / 4 + (i % 2) * w / 2, y, 3.0, 2.6, 0.3), 0.5)
        _over(canvas, (0.55, 0.70, 0.82), lamp * 0.9)
        windows = np.maximum(windows, lamp)
        shade *= 1 - body
    return windows


def _bridge_and_hill(p: _Painter, canvas: Field, weather: str, shade: Field) -> Field:
    """Paints both roofs; returns what they hide, 0..1 at the large size."""
    snow = weather == "snow"
    x0, x1, y0, y1 = BRIDGE_PX
    deck = _soft(_box((x0 + x1) / 2, (y0 + y1) / 2 + 3, x1 - x0, y1 - y0 + 6, 0.3), 0.5)
    _over(canvas, (0.83, 0.85, 0.88) if snow else (0.66, 0.63, 0.58) if weather != "rain" else (0.50, 0.49, 0.48), deck)
    planks = _soft(np.abs((p.columns - x0) % 5.75 - 2.875) - 0.22, 0.4) * deck
    _over(canvas, (0.45, 0.42, 0.40), planks * 0.35)
    for x in (x0 + 1.3, x1 - 1.3):
        rail = _soft(np.abs(p.columns - x) - 1.1, 0.4) * deck
        _over(canvas, (0.90, 0.90, 0.90), rail)
        post = _soft(np.abs(p.columns - x) - 1.1, 0.4) * _soft(np.abs(p.rows % 6 - 3) - 0.8, 0.4) * deck
        _over(canvas, (0.75, 0.24, 0.20), post)
    for y in (y0 + 0.8, 191.0):
        _over(canvas, (0.38, 0.35, 0.34), _soft(np.abs(p.rows - y) - 0.8, 0.4) * deck)
    tx0, tx1, ty0, ty1 = TUNNEL_PX
    hill = _soft(_box((tx0 + tx1) / 2 - 2, (ty0 + ty1) / 2, tx1 - tx0 + 4, ty1 - ty0, 6.0), 0.6)
    dome_x = np.clip(np.abs(p.columns - 24) / 21, 0, 1)
    light = 1.08 - 0.26 * dome_x**2 - 0.16 * np.clip((p.columns - 24) / 21, -1, 1)
    contour = _soft(np.abs((dome_x * 5 + _noise(12, 6)) % 1 - 0.5) - 0.06, 0.06)
    turf = np.array(
        (0.90, 0.93, 0.97) if snow else (0.47, 0.60, 0.30) if weather != "rain" else (0.34, 0.46, 0.27), np.float32
    )
    hill_colour = turf * (light * (0.92 + 0.16 * _noise(10, 7)) * (1 - 0.10 * contour))[..., None]
    _over(canvas, hill_colour, hill)
    for y, way in ((ty0, 1), (ty1, -1)):
        wall = _soft(_box(24, y + way * 2.0, 31, 4.4, 0.6), 0.5)
        _over(canvas, (0.72, 0.70, 0.68), wall)
        joints = _soft(np.abs(p.columns % 5 - 2.5) - 0.3, 0.4) * wall
        _over(canvas, (0.45, 0.43, 0.42), joints * 0.7)
        mouth = _soft(_box(24, y - way * 0.6, 20, 2.4, 0.6), 0.5)
        _over(canvas, (0.07, 0.07, 0.09), mouth)
    shade *= (1 - deck) * (1 - hill)
    return np.maximum(deck, hill)


def _light(weather: str, time: str) -> tuple[Field, Field, float]:
    """Ambient colour, sunlight colour, strength of shadows."""
    ambient = {"day": (0.66, 0.70, 0.78), "dusk": (0.54, 0.42, 0.52), "night": (0.21, 0.25, 0.43)}[time]
    sun = {"day": (0.42, 0.38, 0.28), "dusk": (0.50, 0.24, 0.08), "night": (0.03, 0.04, 0.08)}[time]
    grey = {"clear": 1.0, "rain": 0.22, "snow": 0.55, "fog": 0.25}[weather]
    dim = {"clear": 1.0, "rain": 0.86, "snow": 0.94, "fog": 0.97}[weather]
    return np.array(ambient, np.float32) * dim, np.array(sun, np.float32) * grey, grey


def _haze(weather: str, time: str) -> tuple[Field, float]:
    colour = {"day": (0.80, 0.84, 0.88), "dusk": (0.72, 0.50, 0.52), "night": (0.15, 0.17, 0.27)}[time]
    if weather == "rain":
        colour = (0.72 * colour[0], 0.72 * colour[1], 0.72 * colour[2])
    density = {"clear": 0.0, "rain": 0.13, "snow": 0.10, "fog": 0.50}[weather]
    return np.array(colour, np.float32), density


def _paint(p: _Painter, weather: str, trees: tuple[Field, Field, Field]) -> dict[str, Field]:
    """All layers of one weather: albedo, shade per time, lamps, cover."""
    canvas = _ground(p, weather)
    _road(p, canvas, weather)
    tall = np.zeros_like(p.columns)
    for x, y, w, h, *_ in HOUSES:
        tall = np.maximum(tall, _soft(_box(x, y, w, h), 0.5))
    bridge = _soft(_box(149, 172, 46, 52, 0.3), 0.5)
    hill = _soft(_box(22.5, 87, 41, 78, 6.0), 0.6)
    shades = {}
    crown, light, kind = trees
    for time, sun in {"day": (0.75, 0.75), "dusk": (1.7, 0.75), "night": (0.0, 0.0)}.items():
        shade = np.maximum(_cast(p, tall, 5, sun), _cast(p, crown, 4, sun))
        shade = np.maximum(shade, np.maximum(_cast(p, bridge, 3, sun), _cast(p, hill, 4, sun)))
        shades[time] = shade
    free = np.ones_like(p.columns)
    windows = _structures(p, canvas, weather, free)
    cover = _bridge_and_hill(p, canvas, weather, free)
    leaf = np.array([(0.20, 0.47, 0.20), (0.13, 0.38, 0.24), (0.36, 0.55, 0.20)], np.float32)
    if weather == "snow":
        leaf = 0.35 * leaf + 0.65 * np.array((0.88, 0.93, 0.95), np.float32)
    if weather == "rain":
        leaf = leaf * 0.82
    colour = leaf[np.rint(kind).astype(int)] * (0.62 + 0.85 * light)[..., None]
    _over(canvas, colour, crown)
    shades = {time: shade * free * (1 - crown) for time, shade in shades.items()}
    return {
        "albedo": canvas,
        "cover": cover,
        "windows": windows * (1 - crown),
        **{f"shade_{t}": s for t, s in shades.items()},
    }


def _lamp_light(p: _Painter, time: str) -> Field:
    if time == "day":
        return np.zeros_like(p.columns)
    light = np.zeros_like(p.columns)
    for x, y in LAMPS:
        light += np.exp(-(((p.columns - x) ** 2 + (p.rows - y) ** 2) / (2 * 13.0**2)))
    return np.minimum(light, 1.2) * (0.55 if time == "dusk" else 1.0)


@lru_cache(maxsize=1)
def load_art() -> Art:
    """Paint everything: a few seconds once, then kept."""
    p = _Painter(load_track())
    trees = _tree_layers(p)
    mist = 0.75 + 0.5 * _noise(45, 31)
    shape = (len(WEATHERS), len(TIMES), HEIGHT_PX, WIDTH_PX, 3)
    backgrounds, glow = np.empty(shape, np.uint8), np.empty(shape, np.float32)
    tint, haze = np.empty((*shape[:2], 3), np.float32), np.empty((*shape[:2], 4), np.float32)
    bulbs = np.zeros_like(p.columns)
    for x, y in LAMPS:
        bulbs = np.maximum(bulbs, _soft(np.hypot(p.columns - x, p.rows - y) - 1.5, 0.6))
    for i, weather in enumerate(WEATHERS):
        layers = _paint(p, weather, trees)
        albedo = layers["albedo"]
        for j, time in enumerate(TIMES):
            ambient, sun, _ = _light(weather, time)
            lit = albedo * (ambient + sun * (1 - layers[f"shade_{time}"])[..., None])
            lamp = _lamp_light(p, time)[..., None] * np.array((1.0, 0.80, 0.46), np.float32)
            lit = lit + albedo * lamp * (0.75 if time == "night" else 0.30)
            _over(lit, (1.0, 0.93, 0.70) if time != "day" else (0.75, 0.76, 0.78), bulbs)
            if time != "day":
                _over(lit, (1.0, 0.82, 0.42), layers["windows"] * (0.9 if time == "night" else 0.6))
            colour, density = _haze(weather, time)
            _over(lit, colour, np.clip(density * mist, 0, 0.9))
            backgrounds[i, j] = np.rint(np.clip(_down(lit), 0, 1) * 255)
            glow[i, j] = _down(albedo * (1 - 0.8 * density))
            tint[i, j] = ambient + sun
            haze[i, j] = (*colour, density)
    return Art(backgrounds, _down(layers["cover"]), glow, tint, haze)
