"""How the game moves somebody: thrust, friction, and walls that one slides along, for many walkers at once.

Owns a numpy twin of the engine's movement on a plan of square cells, which answers for any place and speed, as the
engine itself cannot be asked. How near it is to the engine is measured (`python -m tools.freedoom.twin`). Two of the
engine's tics make a tick.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from worlds.freedoom.plan import CELL_UNITS, LAMPS, Grid, load_grid

TICS_A_TICK = 2
TICS_HZ = 35
LOOK_DEGREES = 4.0
"""A full look turns by so much in a tic."""
WALK = 25.0
"""What a full move means in the engine's own unit: its walking pace."""
THRUST = 2048 / 65536
FRICTION = 0xE800 / 65536
STOP_UNITS = 0x1000 / 65536
"""Slower than this a tic, and untouched, a walker stands."""
RADIUS_UNITS = 16.0
NODE_UNITS = 2
"""Between the places at which the way out of a wall is known; everything on a plan lies on even units."""
DEEPEST_UNITS = 40
"""Inside a wall, from which the way out is known."""
EJECT_UNITS = 12.0
"""Somebody in a wall is moved out by so much a tick."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Walkers:
    """`x`, `y` in units, `angle` in radians from east to north, `vx`, `vy` in units a tic; `(walkers,)` each.

    `lit`: which of `LAMPS` burn in each walker's keep, `(walkers, lamps)` bool; all of them if not given.
    """

    x: Floats
    y: Floats
    angle: Floats
    vx: Floats
    vy: Floats
    lit: NDArray[np.bool_] = field(default_factory=lambda: np.ones((0, len(LAMPS)), bool))

    def __post_init__(self) -> None:
        if not len(self.lit):
            object.__setattr__(self, "lit", np.ones((len(self.x), len(LAMPS)), bool))

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Steps:
    """`look`: right is 1. `aside`: right is 1. `ahead`: `(walkers,)` each, in -1..1. `light`, `dark`: bool, whose room
    is to be lit or darkened; none if not given."""

    look: Floats
    aside: Floats
    ahead: Floats
    light: NDArray[np.bool_] | None = None
    dark: NDArray[np.bool_] | None = None


class Walk:
    """Moves walkers about a plan. `step` makes a tick."""

    def __init__(self, grid: Grid | None = None) -> None:
        grid = grid or load_grid()
        self.walls, self.lamps = grid.walls, grid.lamps

    def step(self, walkers: Walkers, steps: Steps) -> Walkers:
        """A tick. Who is inside a wall, which only a dream can be, comes out of it first, and stands until then."""
        x, y = self.ejected(walkers.x, walkers.y)
        walkers = replace(walkers, x=x, y=y)
        inside = self.blocked(x, y)
        after = walkers
        for _ in range(TICS_A_TICK):
            after = self.tic(after, steps)
        kept = [
            np.where(inside, then, now) for then, now in ((x, after.x), (y, after.y), (0.0, after.vx), (0.0, after.vy))
        ]
        return self.switched(Walkers(kept[0], kept[1], after.angle, kept[2], kept[3], walkers.lit), steps)

    def switched(self, walkers: Walkers, steps: Steps) -> Walkers:
        """The lamp of the room where each walker is now, lit or darkened; `dark` wins."""
        rows, columns = self.lamps.shape
        row = np.clip((walkers.y // CELL_UNITS).astype(int), 0, rows - 1)
        column = np.clip((walkers.x // CELL_UNITS).astype(int), 0, columns - 1)
        here = self.lamps[row, column][:, None] == np.arange(len(LAMPS))
        lit = walkers.lit.copy()
        for pressed, value in ((steps.light, True), (steps.dark, False)):
            if pressed is not None:
                lit[here & pressed[:, None]] = value
        return replace(walkers, lit=lit)

    def ejected(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """The nearest free place, or so far towards it."""
        rows, columns = self._way_out.shape[:2]
        at_x = np.clip(np.round(x / NODE_UNITS).astype(int), 0, columns - 1)
        at_y = np.clip(np.round(y / NODE_UNITS).astype(int), 0, rows - 1)
        out_x, out_y = np.moveaxis(self._way_out[at_y, at_x], -1, 0)
        node_x, node_y = at_x * float(NODE_UNITS), at_y * float(NODE_UNITS)
        inside = self.blocked(x, y)
        # Beside a free node, one of the two may be all that is wrong.
        only_y, only_x = ~self.blocked(x, node_y + out_y), ~self.blocked(node_x + out_x, y)
        shallow = (np.abs(out_x) + np.abs(out_y)) == 0
        to_x = np.where((out_x != 0) | (shallow & ~only_y), node_x + out_x, x)
        to_y = np.where((out_y != 0) | (shallow & (only_y | ~only_x)), node_y + out_y, y)
        by_x, by_y = np.where(inside, to_x - x, 0.0), np.where(inside, to_y - y, 0.0)
        share = np.minimum(1.0, EJECT_UNITS / np.maximum(np.hypot(by_x, by_y), 1e-9))
        return x + by_x * share, y + by_y * share

    @cached_property
    def _way_out(self) -> NDArray[np.float32]:
        """From each node to the nearest free one, `(rows, columns, 2)` units east and north; 0 beyond the deepest."""
        rows, columns = (n * CELL_UNITS // NODE_UNITS + 1 for n in self.walls.shape)
        y, x = np.meshgrid(np.arange(rows) * float(NODE_UNITS), np.arange(columns) * float(NODE_UNITS), indexing="ij")
        free = ~self.blocked(x, y)
        out, left = np.zeros((rows, columns, 2), np.float32), ~free
        reach = DEEPEST_UNITS // NODE_UNITS
        steps = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
        padded = np.pad(free, reach)
        for dy, dx in sorted(steps, key=lambda step: step[0] ** 2 + step[1] ** 2):
            there = padded[reach + dy : reach + dy + rows, reach + dx : reach + dx + columns]
            out[left & there] = (dx * NODE_UNITS, dy * NODE_UNITS)
            left = left & ~there
        return out

    def tic(self, w: Walkers, steps: Steps) -> Walkers:
        angle = wrap(w.angle - np.radians(steps.look * LOOK_DEGREES))
        push = WALK * THRUST
        cos, sin = np.cos(angle), np.sin(angle)
        vx = w.vx + push * (steps.ahead * cos + steps.aside * sin)
        vy = w.vy + push * (steps.ahead * sin - steps.aside * cos)
        x, y, vx, vy = self.slide(w.x, w.y, vx, vy)
        untouched = (steps.ahead == 0) & (steps.aside == 0)
        stands = untouched & (np.abs(vx) < STOP_UNITS) & (np.abs(vy) < STOP_UNITS)
        kept = np.where(stands, 0.0, FRICTION)
        return replace(w, x=x, y=y, angle=angle, vx=vx * kept, vy=vy * kept)

    def slide(self, x: Floats, y: Floats, vx: Floats, vy: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """A walker's square moved along one axis, then the other, each as far as it is free."""
        to_x = self._free(x, vx, lambda part: self.blocked(part, y))
        to_y = self._free(y, vy, lambda part: self.blocked(to_x, part))
        return to_x, to_y, np.where(to_x == x + vx, vx, 0.0), np.where(to_y == y + vy, vy, 0.0)

    def _free(self, at: Floats, by: Floats, blocked) -> Floats:  # type: ignore[no-untyped-def]
        """`at + by`, or where the walker's edge touches the wall before that."""
        ahead = at + by
        edge = ahead + np.sign(by) * RADIUS_UNITS
        wall = np.where(by > 0, np.floor(edge / CELL_UNITS), np.ceil(edge / CELL_UNITS)) * CELL_UNITS
        touching = wall - np.sign(by) * RADIUS_UNITS
        stopped = blocked(ahead) & ~blocked(at)
        # Never backwards: who already touches the wall stays.
        stop = np.where(by > 0, np.maximum(touching, at), np.minimum(touching, at))
        return np.where(stopped, stop, ahead)

    def blocked(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        """Whether a walker's square would be in a wall; touching one is not."""
        inside = RADIUS_UNITS - 1e-3
        found = np.zeros(np.shape(x), bool)
        for dx in (-inside, inside):
            for dy in (-inside, inside):
                found |= self.wall_at(x + dx, y + dy)
        return found

    def wall_at(self, x: Floats, y: Floats) -> NDArray[np.bool_]:
        rows, columns = self.walls.shape
        row = np.clip((y // CELL_UNITS).astype(int), 0, rows - 1)
        column = np.clip((x // CELL_UNITS).astype(int), 0, columns - 1)
        return self.walls[row, column]


def wrap(angle: Floats) -> Floats:
    """Into -pi..pi."""
    return np.mod(angle + np.pi, 2 * np.pi) - np.pi
