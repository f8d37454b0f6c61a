"""What a loop must know of work done ahead of a tick: when it may be done, and what became of it."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

Outcome: TypeAlias = Literal["hit", "miss", "none"]
"""The prepared work was used, was thrown away, or there was none."""


class Guess(NamedTuple):
    """What became of the work on one tick before its input was known, in ns.

    `made_ns`: work of this very tick done before its release; 0 unless it is a hit. `wasted_ns`: work thrown away since
    the tick before. `extra_steps`: denoise steps beyond the plan, for which only a right guess left time.
    """

    outcome: Outcome = "none"
    made_ns: int = 0
    wasted_ns: int = 0
    extra_steps: int = 0


NO_GUESS = Guess()


class Ahead(Protocol):
    """Told by the loop when it would only wait."""

    def prepare(self, until_ns: int) -> None:
        """Begin the next tick on guessed input; be done, as far as one can know, by `until_ns` on the loop's clock."""
        ...

    def guess(self) -> Guess:
        """Of the tick that was advanced last."""
        ...


class NullAhead:
    """Waits, as a loop does."""

    def prepare(self, until_ns: int) -> None:
        pass

    def guess(self) -> Guess:
        return NO_GUESS
