"""What is measured and what it is measured against: sessions in rows, under the same seeds and actions.

Owns the contract of a subject, the pair of a world and its teacher, and the adapter for any `World`. Knows no measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...runtime.core import Action, Frame, TickPlan, World
from .players import Palette, Player, Wanderer

Frames: TypeAlias = NDArray[np.uint8]
"""One frame for each session, `(rows, height, width, 3)` uint8."""
Poses: TypeAlias = NDArray[np.float64]
"""Where to look in each session's frame, `(rows, 3)`: x px, y px, and the angle that is up, radians."""


class Subject(Protocol):
    """Sessions side by side, one for each seed. A world and its teacher are both subjects.

    Equal seeds begin both in the same situation, and equal seeds and actions give equal frames again. A step does not
    draw: `frames` does, so that a long run pays only for the pictures that are looked at.
    """

    def start(self, seeds: Sequence[int]) -> None: ...

    def step(self, actions: Sequence[Action]) -> None:
        """One tick of each session."""
        ...

    def frames(self) -> Frames:
        """What the sessions show now."""
        ...

    def poses(self) -> Poses | None:
        """Where in the picture the player is, if the subject knows; None: look at the whole picture."""
        ...

    def lost(self) -> NDArray[np.bool_]:
        """Sessions in which something is gone that must be there, `(rows,)`. All false where that is unknown."""
        ...


@dataclass(frozen=True)
class Return:
    """A view that came back: what the world shows, what the teacher shows, and other views of the teacher.

    `shown`, `true`: one frame. `others`: `(n, height, width, 3)`. `away_ticks`: for how long it was out of sight.
    `window_ticks`: how far back the world could see. `kind`: the way it was left, for the report.
    """

    kind: str
    shown: Frame
    true: Frame
    others: Frames
    away_ticks: int
    window_ticks: int | None

    @property
    def inside(self) -> bool:
        return self.window_ticks is None or self.away_ticks <= self.window_ticks


class Returns(Protocol):
    """Views that were left and come back; see `nextframe.tools.evaluate.measures.memory_return`."""

    def __call__(self, pair: Pair, quick: bool) -> Iterable[Return]: ...


@dataclass(frozen=True)
class Pair:
    """A world and the teacher that knows the truth.

    `window_ticks`: how far back the world sees; None if unbounded or unknown. `explorer`: a player who goes by what
    the given subject shows, for these seeds; None: there is none. `returns`: own ways to leave a view and come back.
    `notes`: what a reader of the action-following figures must know. `place_decides`: what a picture's
    statistics are says where one stands, not how it is made, so drift is judged by what is lost alone.
    `roll_out_ticks`: after so long without hands nearly everything in the teacher has come to rest. `teacher_joins`:
    puts the teacher where the world is now; for views that go along with a player, of whom the world makes its own way.
    `close`: ends what the pair has started.
    """

    name: str
    world: Subject
    teacher: Subject
    palette: Palette
    window_ticks: int | None = None
    explorer: Callable[[Subject, Sequence[int]], Player] | None = None
    returns: Returns | None = None
    notes: tuple[str, ...] = field(default=())
    place_decides: bool = False
    roll_out_ticks: int = 240
    teacher_joins: Callable[[], None] | None = None
    close: Callable[[], None] = field(default=lambda: None)

    def player(self, subject: Subject, seeds: Sequence[int]) -> Player:
        """The best player there is: the explorer, else a wanderer."""
        return self.explorer(subject, seeds) if self.explorer else Wanderer(self.palette, seeds)


class WorldRows:
    """Any `World` as a subject: one instance, its snapshots taken and put back for each row.

    `frames` costs nothing more here: a world draws every tick.
    """

    def __init__(self, world: World, steps: int | None = None) -> None:
        """`steps`: the rung to play at; the top of the ladder when not given."""
        self._world, self._steps = world, steps or world.info.ladder[-1]
        self._rows: list[Any] = []
        self._frames: list[Frame] = []

    def start(self, seeds: Sequence[int]) -> None:
        self._rows, self._frames = [], []
        for seed in seeds:
            self._frames.append(self._world.reset(seed))
            self._rows.append(self._world.snapshot())

    def step(self, actions: Sequence[Action]) -> None:
        for row, action in enumerate(actions):
            self._world.restore(self._rows[row])
            result = self._world.advance(action, TickPlan(self._steps, deadline_ns=0))
            self._frames[row] = result.frames[-1]
            result.commit()
            self._rows[row] = self._world.snapshot()

    def frames(self) -> Frames:
        return np.stack(self._frames)

    def poses(self) -> Poses | None:
        return None

    def lost(self) -> NDArray[np.bool_]:
        return np.zeros(len(self._rows), bool)


def plain_pair(name: str, world: World, teacher: World, window_ticks: int | None = None) -> Pair:
    """Two worlds behind the contract, whose equal seeds begin in the same situation."""
    return Pair(name, WorldRows(world), WorldRows(teacher), Palette(world.info.actions), window_ticks)


See: TypeAlias = Callable[[int], None]


def play(subject: Subject, seeds: Sequence[int], player: Player, ticks: int, see: See | None = None) -> None:
    """Start the subject and play it for so many ticks; `see(tick)` is called after each, from 1 on, and after the
    start with 0. The player may look at the subject itself."""
    subject.start(seeds)
    if see is not None:
        see(0)
    for tick in range(ticks):
        subject.step(player.actions(tick))
        if see is not None:
            see(tick + 1)
