"""What a loop must know of work done ahead of a tick: when it may be done, and what became of it.

Owns the seam (`Ahead`), the outcome of a guess and how a report counts them. Knows nothing of how ticks are made ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from ..loop import TickRecord

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


class GuessCounts:
    """An observer that adds up guesses for a report. `warmup_ticks`: the first ones count nowhere."""

    def __init__(self, warmup_ticks: int = 0) -> None:
        self._skip = warmup_ticks
        self._ticks: dict[str, int] = {"hit": 0, "miss": 0, "none": 0}
        self._made_ns = self._wasted_ns = self._extra_steps = self._ticks_with_extra = 0

    def observe(self, record: TickRecord) -> None:
        if self._skip > 0:
            self._skip -= 1
            return
        guess = record.ahead
        self._ticks[guess.outcome] += 1
        self._made_ns += guess.made_ns
        self._wasted_ns += guess.wasted_ns
        self._extra_steps += guess.extra_steps
        self._ticks_with_extra += guess.extra_steps > 0

    def as_json(self) -> dict[str, Any]:
        """The report's `ahead`. `hit_rate`: of the ticks for which something was prepared; None if there were none."""
        guessed = self._ticks["hit"] + self._ticks["miss"]
        return {
            **self._ticks,
            "hit_rate": self._ticks["hit"] / guessed if guessed else None,
            "used_ms": round(self._made_ns / 1e6, 3),
            "wasted_ms": round(self._wasted_ns / 1e6, 3),
            "extra_steps": self._extra_steps,
            "ticks_with_extra_steps": self._ticks_with_extra,
        }


def in_words(ahead: Mapping[str, Any]) -> str:
    """The report's `ahead` in one line."""
    rate = ahead["hit_rate"]
    guessed = "nothing guessed" if rate is None else f"{100 * rate:.1f} % of guesses right"
    used_s, wasted_s = ahead["used_ms"] / 1e3, ahead["wasted_ms"] / 1e3
    return (
        f"ahead: {guessed}, {used_s:.2f} s of work used, {wasted_s:.2f} s thrown away, "
        f"{ahead['extra_steps']} denoise steps gained"
    )
