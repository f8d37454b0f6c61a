"""How often the guesses of a session were right, and what they saved: the report's `ahead`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tick.record import TickRecord


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
