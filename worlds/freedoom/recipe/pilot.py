"""A walker who knows the plan and goes where it is told, seeing only where the dream has them.

Owns the way over the corners of the plan's cells, where nothing stands within arm's length: a gap as narrow as a walker
is none. Knows no network.
"""

from __future__ import annotations

from collections import deque
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..teacher.plan import CELL_UNITS, load_grid
from ..teacher.walk import LOOK_DEGREES, TICS_A_TICK, Steps, Walk, Walkers, wrap

Node = tuple[int, int]
"""Row and column of a corner between cells."""
NEXT = ((1, 0), (-1, 0), (0, 1), (0, -1))
THERE_UNITS = 6.0
AHEAD_NODES = 8
"""So far along the way a pilot looks for where to walk straight to."""


def place_of(node: Node) -> tuple[float, float]:
    """Its x and y in units."""
    return float(node[1] * CELL_UNITS), float(node[0] * CELL_UNITS)


@cache
def free_nodes() -> tuple[Node, ...]:
    rows, columns = load_grid().shape
    y, x = np.meshgrid(
        np.arange(rows + 1) * float(CELL_UNITS), np.arange(columns + 1) * float(CELL_UNITS), indexing="ij"
    )
    return tuple((int(row), int(column)) for row, column in np.argwhere(~Walk().blocked(x, y)))


def nodes_under(lamp: int) -> list[Node]:
    """Those with nothing but that lamp's room around them."""
    lamps = load_grid().lamps
    return [(r, c) for r, c in free_nodes() if (lamps[r - 1 : r + 1, c - 1 : c + 1] == lamp).all()]


def node_of(x: float, y: float) -> Node:
    """The nearest."""
    node_x, node_y = _places()
    return free_nodes()[int(np.hypot(node_x - x, node_y - y).argmin())]


@cache
def _places() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of `free_nodes`."""
    x, y = np.array([place_of(node) for node in free_nodes()]).T
    return x, y


def steps_to(goal: Node) -> dict[Node, int]:
    """How many corners it is to the goal from each that there is a way from."""
    free, far, queue = set(free_nodes()), {goal: 0}, deque([goal])
    while queue:
        row, column = queue.popleft()
        for dy, dx in NEXT:
            to = row + dy, column + dx
            if to in free and to not in far:
                far[to] = far[row, column] + 1
                queue.append(to)
    return far


class Pilot:
    """Takes each walker to its goal and turns it to its heading there. `goals`: x, y in units, angle in radians."""

    def __init__(self, goals: list[tuple[float, float, float]]) -> None:
        self._goals, self._walk = goals, Walk()
        self._far = [steps_to(node_of(x, y)) for x, y, _ in goals]

    def steps(self, walkers: Walkers) -> Steps:
        asked = [self._one(k, walkers) for k in range(len(walkers))]
        look, aside, ahead = (np.array(part) for part in zip(*asked, strict=True))
        return Steps(look, aside, ahead)

    def there(self, walkers: Walkers) -> NDArray[np.bool_]:
        away = [np.hypot(x - walkers.x[k], y - walkers.y[k]) for k, (x, y, _) in enumerate(self._goals)]
        turn = [abs(wrap(np.array(a - walkers.angle[k]))) for k, (_, _, a) in enumerate(self._goals)]
        return (np.array(away) < THERE_UNITS) & (np.array(turn) < np.radians(1.5))

    def _next_place(self, k: int, at: tuple[float, float]) -> tuple[float, float]:
        """The farthest of the coming corners, or the goal, to which the way is straight and free."""
        far, goal = self._far[k], self._goals[k][:2]
        node = node_of(*at)
        way = [place_of(node)]
        while len(way) < AHEAD_NODES and far.get(node, 0) > 0:
            node = min(((node[0] + dy, node[1] + dx) for dy, dx in NEXT), key=lambda to: far.get(to, 10_000))
            way.append(place_of(node))
        if far.get(node, 0) == 0:
            way.append(goal)
        return next((place for place in reversed(way) if self._clear(at, place)), way[0])

    def _clear(self, a: tuple[float, float], b: tuple[float, float]) -> bool:
        share = np.linspace(0, 1, 2 + int(np.hypot(b[0] - a[0], b[1] - a[1]) / 6))
        return not self._walk.blocked(a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])).any()

    def _one(self, k: int, w: Walkers) -> tuple[float, float, float]:
        x, y, angle = self._goals[k]
        to_x, to_y = self._next_place(k, (float(w.x[k]), float(w.y[k])))
        away, last = np.hypot(x - w.x[k], y - w.y[k]), (to_x, to_y) == (x, y)
        way = float(np.arctan2(to_y - w.y[k], to_x - w.x[k]))
        wanted = angle if away < 2 * THERE_UNITS else way
        off = float(wrap(np.array(wanted - w.angle[k])))
        look = np.clip(-off / np.radians(LOOK_DEGREES * TICS_A_TICK), -1, 1)
        # Aside as well as ahead, so that no turn needs a stop; slowly where it ends.
        side = float(wrap(np.array(way - w.angle[k])))
        speed = min(1.0, away / 40) if last else 1.0
        speed = 0.0 if away < THERE_UNITS / 2 else speed
        return float(look), float(-np.sin(side) * speed), float(np.cos(side) * speed)
