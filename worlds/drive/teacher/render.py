"""Pictures of simulator states, `(192, 256, 3)` uint8: sky, land, landmarks, two cars, a small map and a gauge.

Owns how a state looks. Knows nothing about physics.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from . import art
from .camera import (
    CAMERA_BEHIND_M,
    CAMERA_HEIGHT_M,
    FOCAL_PX,
    GAUGE_PX,
    HEIGHT_PX,
    HORIZON_PX,
    MAP_LEFT_PX,
    MAP_SCALE,
    MAP_TOP_PX,
    NEAR_M,
    WIDTH_PX,
    ground_points,
)
from .cars import PAINTS, CarView, draw_car
from .look import Look, hazed, soft_step
from .simulator import TOP_SPEED, Simulator, States
from .track import KERB_M, ROAD_HALF_M, WALL_M, Track

FAR_M = 260.0


class Renderer:
    """`draw(states, k) -> frame`. Holds the course and fixed geometry; everything else comes with the state."""

    def __init__(self, simulator: Simulator | None = None) -> None:
        self.simulator = simulator or Simulator()
        self.track: Track = self.simulator.track
        self._ahead, self._right = ground_points()
        self._textures = {kind: _mips(texture) for kind, texture in art.textures().items()}
        self._places = np.array([(m.x_m, m.y_m) for m in self.track.landmarks])
        self._map = self._paint_map()
        columns = np.arange(WIDTH_PX) + 0.5 - WIDTH_PX / 2
        self._azimuth = np.arctan2(columns, FOCAL_PX)
        self._elevation = (HORIZON_PX - np.arange(HORIZON_PX) - 0.5) / FOCAL_PX

    def draw(self, states: States, k: int = 0) -> NDArray[np.uint8]:
        look = Look.of(states.weather[k], states.time[k])
        x, y, heading = float(states.x[k]), float(states.y[k]), float(states.heading[k])
        camera = (x - CAMERA_BEHIND_M * math.cos(heading), y - CAMERA_BEHIND_M * math.sin(heading), heading)
        image = np.empty((HEIGHT_PX, WIDTH_PX, 3))
        image[:HORIZON_PX] = self._sky(look, heading)
        image[HORIZON_PX:] = self._land(look, camera)
        self._standing(image, look, camera, states, k)
        lean = float(states.lean[k])
        player = CarView(PAINTS["player"], 0.0, CAMERA_BEHIND_M, 0.2 * lean, float(states.braking[k]), lean)
        draw_car(image, look, player)
        self._panel(image, states, k)
        return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)

    # --- sky and land ---------------------------------------------------------------------------------------------

    def _sky(self, look: Look, heading: float) -> NDArray:
        azimuth, height = (self._azimuth + heading)[None], self._elevation[:, None]
        part = np.clip(height / 0.36, 0, 1)[..., None] ** 0.7
        sky = look.skyline * (1 - part) + look.zenith * part
        sky = np.repeat(sky, WIDTH_PX, 1) if sky.shape[1] == 1 else sky
        clear, _, dusk, night = look.weather[0], *look.time
        sun = np.abs(np.angle(np.exp(1j * (azimuth + 0.7))))
        disc = np.hypot(sun, height - 0.07)
        sky = sky + (clear * dusk * (0.9 * soft_step(0.062 - disc, 0.01) + 0.35 * np.exp(-disc / 0.16)))[
            ..., None
        ] * np.array((1.0, 0.72, 0.32))
        moon = np.hypot(np.angle(np.exp(1j * (azimuth - 1.9))), height - 0.24)
        sky = sky + (clear * night * soft_step(0.03 - moon, 0.01))[..., None] * np.array((0.9, 0.92, 0.85))
        cloud = (
            np.sin(3 * azimuth + 1.7) + np.sin(7 * azimuth + 14 * height) + 0.8 * np.sin(13 * azimuth - 9 * height + 2)
        )
        cloud = soft_step(cloud - 1.1 - 2.2 * np.abs(height - 0.22) / 0.12, 0.8) * clear
        sky = sky + (0.75 * cloud * (1 - 0.85 * night))[..., None] * (look.light * np.array((1.0, 1.0, 1.0)) - sky)
        mountains = (
            0.055 + 0.020 * np.sin(5 * azimuth + 1) + 0.014 * np.sin(11 * azimuth) + 0.006 * np.sin(29 * azimuth)
        )
        for ridge, amount, colour in (
            (mountains, 0.55, (0.36, 0.44, 0.58)),
            (0.022 + 0.012 * np.sin(8 * azimuth + 4) + 0.006 * np.sin(23 * azimuth + 1), 0.8, (0.22, 0.38, 0.30)),
        ):
            shown = soft_step(ridge - height, 0.006)[..., None] * amount * (1 - 0.85 * look.weather[3])
            sky = sky + shown * (look.light * np.array(colour) * look.leaves * 0.9 - sky)
        city = np.abs(np.angle(np.exp(1j * (azimuth - 2.6))))
        block = np.floor(azimuth * 26)
        tall = (0.035 + 0.05 * np.abs(np.sin(block * 12.9))) * soft_step(0.55 - city, 0.2)
        shown = soft_step(tall - height, 0.005)[..., None] * 0.85 * (1 - 0.8 * look.weather[3])
        lit = (np.sin(azimuth * 26 * 12.56) > 0.1) & (np.sin(height * 420) > 0.1)
        wall = look.light * np.array((0.40, 0.42, 0.50)) + (lit * look.dark * 0.55)[..., None] * np.array(
            (1.0, 0.85, 0.5)
        )
        return sky + shown * (wall - sky)

    def _land(self, look: Look, camera: tuple[float, float, float]) -> NDArray:
        ahead, right = self._ahead, self._right
        cos, sin = math.cos(camera[2]), math.sin(camera[2])
        x, y = camera[0] + ahead * cos - right * sin, camera[1] + ahead * sin + right * cos
        _, along, side = self.track.locate(x, y)
        away = np.abs(side)
        across_px = ahead / FOCAL_PX  # metres a pixel shows sideways, and, below, lengthways
        along_px = np.minimum(ahead**2 / (FOCAL_PX * CAMERA_HEIGHT_M), 40.0)
        soft = across_px * 1.4 + 0.06
        long = along_px + 0.1

        def stripes(period: float, share: float) -> NDArray:
            phase = along % period / period
            edge = (share / 2 - np.abs(phase - 0.5)) * period
            sharp = soft_step(edge, long)
            fade = np.clip(long / period * 1.5, 0, 1)
            return sharp * (1 - fade) + share * fade

        w = look.weather
        patch = 0.5 + 0.5 * np.sin(x * 0.21 + 1.3 * np.sin(y * 0.13)) * np.sin(y * 0.19)
        grass = (w @ art.GRASS_A) + (0.75 * patch + 0.25 * stripes(16, 0.5))[..., None] * (
            w @ art.GRASS_B - w @ art.GRASS_A
        )
        sandy = (
            soft_step(np.sin(along * 0.024 + 1.0) * 2 - 0.9, 0.5)
            * soft_step(11.0 - away, soft)
            * soft_step(away - 7.2, soft)
        )
        colour = grass + sandy[..., None] * (w @ art.SAND - grass)
        tone = 1 + 0.05 * np.sin(along * 0.35) * np.sin(side * 1.1) * np.exp(-along_px / 3)
        groove = 0.12 * np.exp(-((away - 1.6) ** 2) / 0.5)
        road = (w @ art.ROAD) * (tone - groove * (1 - w[2]))[..., None]
        colour = colour + soft_step(ROAD_HALF_M - away, soft)[..., None] * (road - colour)
        bars = stripes(4.0, 0.5)[..., None]
        kerb = (w @ art.KERB) * bars + (w @ art.PAINT) * (1 - bars)
        on_kerb = soft_step(away - ROAD_HALF_M, soft) * soft_step(ROAD_HALF_M + KERB_M - away, soft)
        colour = colour + on_kerb[..., None] * (kerb - colour)
        paint = w @ art.PAINT
        line = soft_step(0.16 - np.abs(away - 5.4), soft) * np.minimum(1, 0.32 / soft)
        dash = soft_step(0.16 - np.abs(side), soft) * np.minimum(1, 0.32 / soft) * stripes(9.0, 0.42)
        marks = np.clip(line + dash, 0, 1) * (1 - 0.6 * w[2])
        colour = colour + marks[..., None] * (paint - colour)
        start = soft_step(2.0 - np.abs(along - 30.0), long) * soft_step(5.2 - away, soft)
        checker = ((np.floor(side / 1.0) + np.floor(along / 1.0)) % 2)[..., None]
        flat = np.clip(along_px / 1.0, 0, 1)[..., None]
        checker = checker * (1 - flat) + 0.5 * flat
        colour = colour + start[..., None] * (checker * 0.9 + 0.05 - colour)
        fence = soft_step(0.35 - np.abs(away - WALL_M - 1.0), soft) * np.minimum(1, 0.7 / soft)
        colour = colour + fence[..., None] * (w @ art.FENCE - colour)
        lit = colour * look.light
        beam = np.exp(-(((ahead - 18.0) / 11.0) ** 2) - (right / (1.6 + 0.26 * ahead)) ** 2) * look.dark
        lit = lit + beam[..., None] * colour * np.array((0.85, 0.78, 0.62)) * 0.9
        shine = (0.16 * w[1] + 0.06 * w[2]) * soft_step(ROAD_HALF_M - away, soft) * np.clip(ahead / 40, 0, 1)
        lit = lit + shine[..., None] * (look.skyline - lit)
        shadow = 0.45 * np.exp(-(((ahead - CAMERA_BEHIND_M) / 2.3) ** 4) - (right / 1.15) ** 4) * (1 - 0.5 * look.dark)
        lit = lit * (1 - shadow[..., None])
        return hazed(lit, ahead, look)

    # --- what stands ----------------------------------------------------------------------------------------------

    def _standing(self, image: NDArray, look: Look, camera: tuple[float, float, float], states: States, k: int) -> None:
        cos, sin = math.cos(camera[2]), math.sin(camera[2])
        dx, dy = self._places[:, 0] - camera[0], self._places[:, 1] - camera[1]
        ahead, right = dx * cos + dy * sin, dy * cos - dx * sin
        seen = np.flatnonzero((ahead > NEAR_M) & (ahead < FAR_M) & (np.abs(right) < ahead * 0.66 + 18))
        one = states.row(k)
        rival_x, rival_y, rival_heading = (float(v[0]) for v in self.simulator.rival_pose(one))
        rx, ry = rival_x - camera[0], rival_y - camera[1]
        rival_ahead, rival_right = rx * cos + ry * sin, ry * cos - rx * sin
        order: list[tuple[float, int]] = [(float(ahead[i]), int(i)) for i in seen]
        if rival_ahead > NEAR_M:
            order.append((rival_ahead, -1))
        for depth, i in sorted(order, reverse=True):
            if i < 0:
                turned = rival_heading - camera[2]
                view = CarView(PAINTS["rival"], rival_right, depth, turned, float(one.rival_braking[0]), hazy=True)
                draw_car(image, look, view)
                continue
            mark = self.track.landmarks[i]
            scale = FOCAL_PX / depth
            base = HORIZON_PX + CAMERA_HEIGHT_M * scale
            box = (WIDTH_PX / 2 + float(right[i]) * scale, base, mark.width_m * scale, mark.height_m * scale)
            self._billboard(image, look, mark.kind, box, depth)

    def _billboard(
        self, image: NDArray, look: Look, kind: str, box: tuple[float, float, float, float], depth: float
    ) -> None:
        middle, base, wide, high = box
        left, top = max(int(middle - wide / 2), 0), max(int(base - high), 0)
        right, bottom = min(int(middle + wide / 2) + 1, WIDTH_PX), min(int(base) + 1, HEIGHT_PX)
        if left >= right or top >= bottom or wide < 1:
            return
        mips = self._textures[kind]
        texture = mips[min(max(0, int(math.log2(max(art.TEXTURE_PX / max(wide, high, 1), 1)))), len(mips) - 1)]
        size = len(texture)
        u = ((np.arange(left, right) + 0.5 - middle) / wide + 0.5) * size - 0.5
        v = (1 - (base - np.arange(top, bottom) - 0.5) / high) * size - 0.5
        sample = _bilinear(texture, v, u)
        alpha = sample[..., 3:4]
        tint = 1 + sample[..., 5:6] * (look.leaves - 1)
        colour = sample[..., :3] * look.light * tint
        colour = hazed(colour, np.full(alpha.shape[:2], depth), look)
        glow = sample[..., 4:5] * look.dark * (1 - 0.5 * (1 - math.exp(-depth * look.haze_per_m)))
        colour = colour + glow * (sample[..., :3] - colour)
        part = image[top:bottom, left:right]
        part += alpha * (colour - part)

    # --- map and gauge ----------------------------------------------------------------------------------------------

    def _paint_map(self) -> tuple[NDArray, NDArray]:
        """Opacity and brightness of the small map over the whole frame."""
        columns, rows = np.meshgrid(np.arange(WIDTH_PX) + 0.5, np.arange(HEIGHT_PX) + 0.5)
        x, y = (columns - MAP_LEFT_PX) / MAP_SCALE, (rows - MAP_TOP_PX) / MAP_SCALE
        inside = (x > 0) & (x < 320) & (y > 0) & (y < 224)
        distance = np.full(x.shape, np.inf)
        for px, py in self.track.line[::6]:
            distance = np.minimum(distance, np.hypot(x - px, y - py))
        road = soft_step(6.0 - distance, 5.0) * inside
        return 0.35 * inside + 0.55 * road, road

    def _panel(self, image: NDArray, states: States, k: int) -> None:
        alpha, white = self._map
        image += alpha[..., None] * (white[..., None] * 0.95 - image)
        rival_x, rival_y, _ = self.simulator.rival_pose(states.row(k))
        dots = (
            (float(rival_x[0]), float(rival_y[0]), PAINTS["rival"]),
            (float(states.x[k]), float(states.y[k]), PAINTS["player"]),
        )
        for x, y, paint in dots:
            column, row = MAP_LEFT_PX + x * MAP_SCALE, MAP_TOP_PX + y * MAP_SCALE
            left, top = max(int(column) - 4, 0), max(int(row) - 4, 0)
            columns, rows = np.meshgrid(np.arange(left, min(left + 9, WIDTH_PX)) + 0.5, np.arange(top, top + 9) + 0.5)
            part = image[top : top + 9, left : left + 9]
            shown = soft_step(2.3 - np.hypot(columns - column, rows - row), 1.2)
            part += shown[..., None] * (paint - part)
        left, top, wide, high = GAUGE_PX
        full = abs(float(states.speed[k])) / TOP_SPEED * wide
        part = image[top : top + high, left : left + wide]
        part *= 0.45
        filled = np.clip(full - np.arange(wide), 0, 1)[None, :, None]
        hue = np.linspace(0, 1, wide)[None, :, None]
        bar = np.array((0.25, 0.85, 0.45)) * (1 - hue) + np.array((1.0, 0.45, 0.2)) * hue
        part += filled * (bar - part)


def _mips(texture: NDArray) -> list[NDArray]:
    """Halved and halved again, colours weighted with opacity."""
    levels = [texture]
    while len(levels[-1]) > 4:
        t = levels[-1]
        weight = np.concatenate(
            [np.repeat(t[..., 3:4], 3, -1), np.ones_like(t[..., 3:4]), np.repeat(t[..., 3:4], 2, -1)], -1
        )
        n = len(t) // 2
        total = (t * weight).reshape(n, 2, n, 2, 6).sum((1, 3))
        levels.append(total / np.maximum(weight.reshape(n, 2, n, 2, 6).sum((1, 3)), 1e-6))
    return levels


def _bilinear(texture: NDArray, v: NDArray, u: NDArray) -> NDArray:
    """Samples at the grid of rows `v` and columns `u`, transparent beyond the border."""
    size = len(texture)
    rows, columns = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
    fv, fu = (v - rows)[:, None, None], (u - columns)[None, :, None]

    def at(r: NDArray, c: NDArray) -> NDArray:
        inside = ((r >= 0) & (r < size))[:, None] & ((c >= 0) & (c < size))[None]
        value = texture[np.clip(r, 0, size - 1)][:, np.clip(c, 0, size - 1)]
        value = value.copy()
        value[..., 3] *= inside
        return value

    near = at(rows, columns) * (1 - fu) + at(rows, columns + 1) * fu
    after = at(rows + 1, columns) * (1 - fu) + at(rows + 1, columns + 1) * fu
    return near * (1 - fv) + after * fv
