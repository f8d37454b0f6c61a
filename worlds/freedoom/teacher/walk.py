"""How the game moves a player: thrust, friction, and walls that one slides along, for many walkers at once.

Owns a numpy twin of the engine's movement on a plan of square cells, which answers for any place and speed, as the
engine itself cannot be asked. How near it is to the engine is measured (`python -m
nextframe.worlds.freedoom.evaluation.twin`). Two of the engine's tics make a tick.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .plan import CELL_UNITS, LAMPS, Grid, load_grid

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
STOP_SHORT = 1 / 32
"""Of a move is not made before a wall."""
TRIES = 2
"""To go along a wall in a tic."""
NODE_UNITS = 2
"""Between the places at which the way out of a wall is known; everything on a plan lies on even units."""
DEEPEST_UNITS = 40
"""Inside a wall, from which the way out is known."""
EJECT_UNITS = 12.0
"""A walker in a wall is moved out by so much a tick."""

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
        """A walker's square moved by its speed; who is stopped goes up to the wall, and what is left goes along it."""
        stopped = self.blocked(x + vx, y + vy)
        after = [np.where(stopped, now, now + by) for now, by in ((x, vx), (y, vy))]
        after = [*after, vx.copy(), vy.copy()]
        if stopped.any():
            for part, value in zip(after, self._along(x[stopped], y[stopped], vx[stopped], vy[stopped]), strict=True):
                part[stopped] = value
        return after[0], after[1], after[2], after[3]

    def _along(self, x: Floats, y: Floats, by_x: Floats, by_y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Walkers of whom each is stopped. The engine looks from three corners for what is hit first, stops a little
        before it, and keeps of the speed along the wall only the share of the tic that was left."""
        x, y, vx, vy = x.copy(), y.copy(), by_x.copy(), by_y.copy()
        moving, astray = np.ones(len(x), bool), np.zeros(len(x), bool)
        for _ in range(TRIES):
            part, of_x = self._hit(x, y, by_x, by_y)
            astray |= moving & ~np.isfinite(part)
            moving &= ~astray
            near = np.where(moving, np.maximum(part - STOP_SHORT, 0.0), 0.0)
            fits = ~self.blocked(x + by_x * near, y + by_y * near)
            astray |= moving & ~fits
            moving &= fits
            x, y = x + np.where(moving, by_x * near, 0.0), y + np.where(moving, by_y * near, 0.0)
            left = np.clip(1.0 - np.where(moving, np.maximum(part, 0.0), 0.0), 0.0, 1.0)
            moving &= left > 0
            by_x, by_y = (np.where(moving, by * left, by) for by in (by_x, by_y))
            to_x, to_y = np.where(of_x, 0.0, by_x), np.where(of_x, by_y, 0.0)
            vx, vy = np.where(moving, to_x, vx), np.where(moving, to_y, vy)
            fits = moving & ~self.blocked(x + to_x, y + to_y)
            x, y = x + np.where(fits, to_x, 0.0), y + np.where(fits, to_y, 0.0)
            moving &= ~fits
        # A nook, or nothing that a corner meets: one axis alone, if any.
        astray |= moving
        north = astray & ~self.blocked(x, y + by_y)
        east = astray & ~north & ~self.blocked(x + by_x, y)
        return x + np.where(east, by_x, 0.0), y + np.where(north, by_y, 0.0), vx, vy

    def _hit(self, x: Floats, y: Floats, by_x: Floats, by_y: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """The share of a move until one of the three leading corners meets a wall, infinite if none does, and whether
        that wall runs north."""
        lead_x, lead_y = np.where(by_x > 0, 1.0, -1.0), np.where(by_y > 0, 1.0, -1.0)
        parts = []
        for side_x, side_y in ((lead_x, lead_y), (-lead_x, lead_y), (lead_x, -lead_y)):
            from_x, from_y = x + side_x * RADIUS_UNITS, y + side_y * RADIUS_UNITS
            parts.append((self._crossed(from_x, from_y, by_x, by_y), self._crossed(from_y, from_x, by_y, by_x, True)))
        east, north = (np.min([both[k] for both in parts], 0) for k in (0, 1))
        return np.minimum(east, north), east < north

    def _crossed(self, a: Floats, b: Floats, by_a: Floats, by_b: Floats, swapped: bool = False) -> Floats:
        """The share of a move until a point crosses into a wall over an edge across its first axis."""
        sign = np.where(by_a > 0, 1.0, -1.0)
        edge = np.where(by_a > 0, np.ceil(a / CELL_UNITS), np.floor(a / CELL_UNITS)) * CELL_UNITS
        part = np.divide(edge - a, by_a, out=np.full_like(a, np.inf), where=by_a != 0)
        at = b + np.where(np.isfinite(part), part, 0.0) * by_b
        there, here = edge + sign * 1e-3, edge - sign * 1e-3
        walls = [self.wall_at(at, c) if swapped else self.wall_at(c, at) for c in (there, here)]
        return np.where((part <= 1.0) & walls[0] & ~walls[1], part, np.inf)

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
