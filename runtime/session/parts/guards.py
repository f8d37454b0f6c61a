"""What a session does about ticks in which something went wrong: says so, counts them, ends when it does not stop.

What went wrong was survived inside the tick (`nextframe.runtime.core.Mishaps`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core import NextframeError
from ...tick.controls import SessionControls
from ...tick.record import TickRecord
from .part import SessionPart

MOST_DISCARDED_IN_A_ROW = 20
"""A second at 20 Hz. A bad step is over by then; bad weights or a bad memory never are."""
MOST_KEPT = 1_000
MOST_SAID = 5
"""Of each kind: a fault that comes and goes must not flood the console."""


class TooManyDiscardedError(NextframeError):
    """Nothing but held pictures: the session was ended, with everything written."""


class GuardPart(SessionPart):
    """An observer of a live session. `say`: tells the player, on the loop's thread.

    After `most` discarded ticks in a row it asks the loop to stop; `check` then raises what to tell the user.
    """

    def __init__(
        self,
        controls: SessionControls,
        say: Callable[[str], None] = lambda text: None,
        *,
        most: int = MOST_DISCARDED_IN_A_ROW,
    ) -> None:
        self._controls, self._say, self._most = controls, say, most
        self.observer = self
        self._discarded: list[int] = []
        self._discarded_count = self._in_a_row = 0
        self._lacked_room: list[int] = []
        self._lacked_room_count = 0
        self._windows: list[dict[str, int]] = []
        self._stopped_at: int | None = None
        self._said = {"discarded": 0, "room": 0}

    def observe(self, record: TickRecord) -> None:
        mishaps = record.mishaps
        self._in_a_row = self._in_a_row + 1 if mishaps.discarded else 0
        if mishaps.discarded:
            self._note_discarded(record.tick)
        if mishaps.out_of_memory:
            self._note_lack_of_room(record)

    def as_report(self) -> dict[str, Any]:
        """`guards` of the report. Ticks and windows are the first `MOST_KEPT`; counts are of all."""
        return {
            "guards": {
                "discarded_ticks": self._discarded_count,
                "first_discarded_tick": self._discarded[0] if self._discarded else None,
                "discarded": list(self._discarded),
                "out_of_memory_ticks": self._lacked_room_count,
                "first_out_of_memory_tick": self._lacked_room[0] if self._lacked_room else None,
                "out_of_memory": list(self._lacked_room),
                "memory_windows": list(self._windows),
            }
        }

    def check(self) -> None:
        """Raises TooManyDiscardedError if that is why the session ended."""
        if self._stopped_at is not None:
            raise TooManyDiscardedError(
                f"tick {self._stopped_at}: expected a latent of numbers, got {self._most} ticks in a row without; "
                "the session ends here, what was recorded is whole; a reset or a new session starts from a clean "
                "memory; if that does not help, fetch or make the weights again, and test the device's memory"
            )

    def _note_discarded(self, tick: int) -> None:
        self._discarded_count += 1
        if len(self._discarded) < MOST_KEPT:
            self._discarded.append(tick)
        if self._in_a_row == 1:
            self._tell("discarded", f"tick {tick}: its latent is no number; discarded, the last picture is held")
        if self._in_a_row == self._most:
            self._stopped_at = tick
            self._controls.request_stop()

    def _note_lack_of_room(self, record: TickRecord) -> None:
        self._lacked_room_count += 1
        if len(self._lacked_room) < MOST_KEPT:
            self._lacked_room.append(record.tick)
        mishaps = record.mishaps
        window = mishaps.window if mishaps.commit_window is None else mishaps.commit_window
        if window is None:
            steps = f"{record.steps_applied} denoise step{'s' * (record.steps_applied > 1)}"
            self._tell("room", f"tick {record.tick}: the device had no room; made with {steps}")
            return
        if len(self._windows) < MOST_KEPT:
            self._windows.append({"tick": record.tick, "window_ticks": window})
        self._say(f"tick {record.tick}: the device had no room; {window} ticks of memory are in view from here on")

    def _tell(self, kind: str, text: str) -> None:
        self._said[kind] += 1
        if self._said[kind] <= MOST_SAID:
            self._say(text if self._said[kind] < MOST_SAID else f"{text} (further ones are in the report)")


def summary(guards: dict[str, Any]) -> str | None:
    """The `guards` of a report in one line; None when nothing happened."""
    discarded, lacked = guards["discarded_ticks"], guards["out_of_memory_ticks"]
    parts = []
    if discarded:
        first = guards["first_discarded_tick"]
        parts.append(f"{discarded} discarded tick{'s' * (discarded > 1)}, the first {first}")
    if lacked:
        first = guards["first_out_of_memory_tick"]
        parts.append(f"{lacked} tick{'s' * (lacked > 1)} without room on the device, the first {first}")
    if guards["memory_windows"]:
        parts.append(f"{guards['memory_windows'][-1]['window_ticks']} ticks of memory in view at the last")
    return "guards: " + "; ".join(parts) if parts else None
