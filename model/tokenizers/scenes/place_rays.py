"""Where each pixel of a view lands on a plan of square cells, and which texels of the learned looks lie there.

The geometry of a camera that stands in a place with upright walls, level floors and ceilings, and a sky. Each
column of the picture is one ray over the plan (Amanatides and Woo 1987 walk such grids); the floors and ceilings that
it passes hide what is behind them, so that a running maximum of slopes says for every row which surface it meets.
Nothing here is learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

LEVELS = 5
"""Of detail: texels of 1, 2, 4, 8 and 16 units."""
FAR_UNITS = 4096.0
NEVER = 1e7


Rows: TypeAlias = tuple[tuple[float, ...], ...]
"""Numbers on a grid, row by row."""


@dataclass(frozen=True)
class ViewConfig:
    """The camera and the plan, all of plain numbers, so that it can travel.

    Of each cell, row 0 the southernmost: `floor`, `ceiling`: units; `solid`, `sky`: 1 where it is; `lamps`: the number
    of the lamp it is under, -1 for none. `focal_x`, `focal_y`: px for a slope of one. `eye`: units above the ground.
    `cell`: its units. `top`: units, the highest ceiling. `sky_columns`: of the whole panorama.
    """

    floor: Rows
    ceiling: Rows
    solid: Rows
    sky: Rows
    lamps: tuple[tuple[int, ...], ...]
    height_px: int = 192
    width_px: int = 256
    focal_x: float = 128.0
    focal_y: float = 153.6
    eye: float = 41.0
    cell: int = 32
    top: int = 128
    sky_columns: int = 1024

    @property
    def horizon_px(self) -> int:
        return self.height_px // 2

    @property
    def lamp_count(self) -> int:
        return 1 + max(max(row) for row in self.lamps)

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the plan."""
        return len(self.floor), len(self.floor[0])

    @property
    def plan(self) -> Plan:
        heights = (torch.tensor(rows, dtype=torch.float32) for rows in (self.floor, self.ceiling))
        return Plan(*heights, *(torch.tensor(rows, dtype=torch.bool) for rows in (self.solid, self.sky)))


class Plan(NamedTuple):
    """`floor`, `ceiling`: `(rows, columns)` units; `solid`, `sky`: bool, the same shape. Row 0 is the southernmost."""

    floor: Tensor
    ceiling: Tensor
    solid: Tensor
    sky: Tensor


class Landed(NamedTuple):
    """Four texels of the looks for each pixel, `(pixels, 4)`, what each counts, the same shape, and how far away,
    `(pixels,)` units along the view; the sky is `FAR_UNITS` away. `lamp`: which it is under, the same shape, and the
    number of lamps for none."""

    texels: Tensor
    weights: Tensor
    depth: Tensor
    lamp: Tensor


class Tiles(NamedTuple):
    """First texel of each surface, -1 where there is none: `floor`, `ceiling` `(rows, columns)`, `wall`
    `(rows, columns, 4)` as seen from the west, east, south and north. `total`: of tiles of `cell` by `cell` texels."""

    floor: Tensor
    ceiling: Tensor
    wall: Tensor
    total: int


SIDES = ((0, -1), (0, 1), (-1, 0), (1, 0))
"""Rows and columns from a wall to a viewer west, east, south and north of it."""


def tiles_of(plan: Plan, cell: int, top: int) -> Tiles:
    """Number every surface that can be seen."""
    rows, columns = plan.solid.shape
    floor, ceiling = (torch.full((rows, columns), -1, dtype=torch.int64) for _ in range(2))
    wall = torch.full((rows, columns, len(SIDES)), -1, dtype=torch.int64)
    count = 0
    for row in range(rows):
        for column in range(columns):
            if not plan.solid[row, column]:
                floor[row, column] = count
                count += 1
                if not plan.sky[row, column]:
                    ceiling[row, column] = count
                    count += 1
            for side, (up, along) in enumerate(SIDES):
                if _shows(plan, (row, column), (row + up, column + along)):
                    wall[row, column, side] = count
                    count += top // cell
    floor, ceiling, wall = (torch.where(k >= 0, k * cell * cell, k) for k in (floor, ceiling, wall))
    return Tiles(floor, ceiling, wall, count)


def _shows(plan: Plan, here: tuple[int, int], there: tuple[int, int]) -> bool:
    """Whether a viewer in the cell `there` sees a wall of the cell `here`."""
    rows, columns = plan.solid.shape
    if not (0 <= there[0] < rows and 0 <= there[1] < columns) or plan.solid[there]:
        return False
    if plan.solid[here]:
        return True
    return bool(plan.floor[here] > plan.floor[there] or plan.ceiling[here] < plan.ceiling[there])


class Rays(nn.Module):
    """Looks from poses over a plan. Buffers only: they move with the module, and are not stored."""

    lamps: Tensor
    floor: Tensor
    ceiling: Tensor
    solid: Tensor
    sky: Tensor
    floor_tiles: Tensor
    ceiling_tiles: Tensor
    wall_tiles: Tensor
    slopes: Tensor
    aside: Tensor
    lines_x: Tensor
    lines_y: Tensor

    def __init__(self, config: ViewConfig) -> None:
        super().__init__()
        self.config = c = config
        plan = c.plan
        tiles = tiles_of(plan, c.cell, c.top)
        self.tiles = tiles.total
        # A solid cell is a floor above and a ceiling below everything.
        floor = torch.where(plan.solid, torch.tensor(NEVER), plan.floor)
        ceiling = torch.where(plan.solid, torch.tensor(-NEVER), plan.ceiling)
        lamps = torch.tensor(c.lamps)
        lamps = torch.where(lamps < 0, c.lamp_count, lamps)
        rows = (c.horizon_px - 0.5 - torch.arange(c.height_px)) / c.focal_y
        columns = (torch.arange(c.width_px) + 0.5 - c.width_px / 2) / c.focal_x
        buffers = {
            "lamps": lamps, "floor": floor, "ceiling": ceiling, "solid": plan.solid, "sky": plan.sky,
            "floor_tiles": tiles.floor, "ceiling_tiles": tiles.ceiling, "wall_tiles": tiles.wall,
            "slopes": rows, "aside": columns,
            "lines_x": torch.arange(c.cells[1] + 1) * float(c.cell),
            "lines_y": torch.arange(c.cells[0] + 1) * float(c.cell),
        }  # fmt: skip
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def texels(self) -> int:
        """Of all levels and the sky, after each other."""
        c = self.config
        return self.level_first(LEVELS) + c.sky_columns * c.horizon_px

    def level_first(self, level: int) -> int:
        """Where the texels of a level begin; of `LEVELS`, those of the sky."""
        return sum(self.tiles * (self.config.cell >> k) ** 2 for k in range(level))

    def look(self, x: Tensor, y: Tensor, heading: Tensor, aside: Tensor) -> Landed:
        """All rows of some columns. `x`, `y`: units; `heading`: `(rays, 2)` cosine and sine; `aside`: `(rays,)`, how
        far to the right of the view the column looks at depth one. Pixels come column by column."""
        cos, sin = heading[:, 0], heading[:, 1]
        dx, dy = cos + aside * sin, sin - aside * cos
        dx, dy = (torch.where(d.abs() < 1e-6, torch.full_like(d, 1e-6), d) for d in (dx, dy))
        depth, line, cells = self._walk(x, y, dx, dy)
        which, above = self._met(depth, cells)
        segment, walls = which // 2, which % 2 == 1
        far = depth.gather(1, segment)
        here, beyond = cells.gather(1, segment), cells.gather(1, segment + 1)
        level_z = torch.where(above, self._of(self.ceiling, here), self._of(self.floor, here))
        slopes = self.slopes.expand(len(x), -1)
        t = torch.where(walls, far, ((level_z - self.config.eye) / slopes).clamp(0, FAR_UNITS))
        px, py = x[:, None] + t * dx[:, None], y[:, None] + t * dy[:, None]
        is_x = line.gather(1, segment) < len(self.lines_x)
        side = torch.where(is_x, (dx < 0).long()[:, None], 2 + (dy < 0).long()[:, None])
        wall = self.wall_tiles.flatten(0, 1)[beyond, side]
        flat = torch.where(above, self._of(self.ceiling_tiles, here), self._of(self.floor_tiles, here))
        sky = ~walls & above & self._of(self.sky, here)
        cell = float(self.config.cell)
        u = torch.where(walls & is_x, py, px) % cell
        v = torch.where(walls, (self.config.eye + slopes * t).clamp(0, self.config.top - 1e-3), py % cell)
        across = torch.where(is_x, dx.abs()[:, None], dy.abs()[:, None])
        # Units that a pixel shows, along the surface and up it; of a floor, the mean of its width and its depth.
        wide = t / self.config.focal_x
        high = t / self.config.focal_y
        flat_size = t * (slopes.abs().clamp(min=1e-4) * self.config.focal_x * self.config.focal_y).rsqrt()
        wide, high = torch.where(walls, wide / across, flat_size), torch.where(walls, high, flat_size)
        level = (wide * high).clamp(1, 4.0 ** (LEVELS - 1)).log2().mul(0.5).round().long()
        first = torch.where(walls, wall, flat).clamp(min=0)
        texels, weights = self._between(first, (u, v), (wide, high), level, walls)
        if bool(sky.any()):
            above_texels, above_weights = self._panorama(cos, sin, aside)
            texels = torch.where(sky[..., None], above_texels, texels)
            weights = torch.where(sky[..., None], above_weights, weights)
        t = torch.where(sky, torch.full_like(t, FAR_UNITS), t)
        lamp = self._of(self.lamps, here)
        return Landed(texels.flatten(0, 1), weights.flatten(0, 1), t.flatten(), lamp.flatten())

    def _walk(self, x: Tensor, y: Tensor, dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depths at which each ray crosses the lines of the plan, nearest first, `(rays, lines)`; which line that is;
        and the cells before, between and behind them, `(rays, lines + 1)`."""
        lines = torch.cat([
            (self.lines_x - x[:, None]) / dx[:, None], (self.lines_y - y[:, None]) / dy[:, None]
        ], 1)  # fmt: skip
        depth, line = torch.where(lines > 1e-4, lines, torch.full_like(lines, FAR_UNITS)).clamp(max=FAR_UNITS).sort(1)
        zero = torch.zeros_like(depth[:, :1])
        middle = (torch.cat([zero, depth], 1) + torch.cat([depth, zero + 2 * FAR_UNITS], 1)) / 2
        rows, columns = self.config.cells
        column = ((x[:, None] + middle * dx[:, None]) / self.config.cell).floor().long().clamp(0, columns - 1)
        row = ((y[:, None] + middle * dy[:, None]) / self.config.cell).floor().long().clamp(0, rows - 1)
        return depth, line, row * columns + column

    def _met(self, depth: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        """For each ray and row, `(rays, rows)`: the first surface it meets, twice the number of its segment, and one
        more for the wall behind that; and whether it is above the eye."""
        slopes = self.slopes.expand(len(depth), -1).contiguous()
        found = []
        for heights, sign in ((self.floor, 1.0), (self.ceiling, -1.0)):
            over = (self._of(heights, cells) - self.config.eye) * sign
            events = torch.stack([over[:, :-1] / depth, over[:, 1:] / depth], -1).flatten(1)
            found.append(torch.searchsorted(events.cummax(1).values, slopes * sign))
        low, high = found
        last = 2 * depth.shape[1] - 1
        return torch.minimum(low, high).clamp(max=last), high < low

    @staticmethod
    def _of(table: Tensor, cells: Tensor) -> Tensor:
        return table.flatten()[cells]

    def _between(
        self, first: Tensor, at: tuple[Tensor, Tensor], sizes: tuple[Tensor, Tensor], level: Tensor, tall: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The four texels around a point of a surface and what each counts, `(..., 4)` each.

        Where a pixel shows less than a texel, the step from one texel to the next is as narrow as the pixel: what the
        game shows from near by has hard edges. `sizes`: units that the pixel shows along `at`.
        """
        size = self.config.cell >> level
        shrink = torch.pow(0.5, level)
        high = torch.where(tall, self.config.top // self.config.cell, 1) * size - 1
        begins = torch.tensor([self.level_first(k) for k in range(LEVELS)], device=level.device)[level]
        base = begins + (first >> (2 * level))
        (left, part_u), (low, part_v) = (
            _beside(x * shrink, (units * shrink).clamp(0.05, 1)) for x, units in zip(at, sizes, strict=True)
        )
        right, up = torch.minimum(left + 1, size - 1), torch.minimum(low + 1, high)
        left, low = left.clamp(min=0), low.clamp(min=0)
        rows = base + low * size, base + up * size
        texels = torch.stack([rows[0] + left, rows[0] + right, rows[1] + left, rows[1] + right], -1)
        rest_u, rest_v = 1 - part_u, 1 - part_v
        return texels, torch.stack([rest_u * rest_v, part_u * rest_v, rest_u * part_v, part_u * part_v], -1)

    def _panorama(self, cos: Tensor, sin: Tensor, aside: Tensor) -> tuple[Tensor, Tensor]:
        """The same for the sky, which is as far as one turns and the row of the picture."""
        c = self.config
        azimuth = torch.atan2(sin, cos) - torch.atan(aside)
        at = (azimuth / (2 * torch.pi) % 1.0) * c.sky_columns
        low = at.floor()
        part = (at - low)[:, None, None]
        columns = torch.stack([low.long(), low.long() + 1], -1) % c.sky_columns
        row = torch.arange(c.height_px, device=at.device).clamp(max=c.horizon_px - 1)
        texels = self.level_first(LEVELS) + columns[:, None] * c.horizon_px + row[:, None]
        weights = torch.cat([1 - part, part], -1).expand(-1, c.height_px, -1)
        nothing = torch.zeros_like(weights)
        return torch.cat([texels, texels], -1), torch.cat([weights, nothing], -1)


def _beside(x: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """The texel before `x`, and the share of the one after it. `pixel`: how wide one is, in texels, at most 1."""
    x = x - 0.5
    before = x.floor()
    return before.long(), ((x - before - 0.5) / pixel + 0.5).clamp(0, 1)
