"""When what the player drives or walks stands still: while nothing that would move it is pressed."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

UNTOUCHED = 0.05
"""A pedal pressed less than this is not pressed."""


class RestRule(NamedTuple):
    """A `nextframe.model.dynamics.slots.PoseRule`. Slot 0 keeps its pose exactly while the condition's numbers from
    `first` to before `last`, the pedals, are untouched, and it would move by less than `place` units; or by less than
    `parked`, where it hardly moved in the tick before either.

    `turning`: numbers of the condition that turn it on the spot; its heading is kept only while they are untouched too.
    """

    first: int
    last: int
    place: float
    parked: float = 0.0
    turning: tuple[int, int] = (0, 0)

    def holds_below(self, place: Tensor, before: Tensor, condition: Tensor) -> Tensor:
        """0 while a pedal is touched."""
        untouched = (condition[..., self.first : self.last].abs() < UNTOUCHED).all(-1, keepdim=True)
        parked = (place - before).norm(dim=-1, keepdim=True) < self.place
        return untouched * (self.place + max(self.parked - self.place, 0.0) * parked)

    def turns(self, condition: Tensor) -> Tensor:
        first, last = self.turning
        return (condition[..., first:last].abs() > 0).any(-1, keepdim=True)
