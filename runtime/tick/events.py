"""The events of a tick as text: the one codec of recordings and of what people read.

Parts stand in order, joined by commas: `reset:7,clock_gap,discarded,window:12,drift:renoise`. What cannot be read is
kept as an `OtherEvent`, so that every text is written again as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from ..core import NO_MISHAPS, ClockGap, DriftAction, Mishaps, OtherEvent, Reset, TickEvent

RESET = "reset:"
CLOCK_GAP = "clock_gap"
DISCARDED = "discarded"
OUT_OF_MEMORY = "out_of_memory"
WINDOW = "window:"
COMMIT_WINDOW = "commit_window:"
DRIFT = "drift:"
WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,19}")


def events_to_text(events: Sequence[TickEvent]) -> str | None:
    """None for no events."""
    return ",".join(part for event in events for part in _parts_of(event)) if events else None


def gathered(*events: TickEvent | None) -> tuple[TickEvent, ...]:
    """Of those that may have happened, the ones that did, in order."""
    return tuple(event for event in events if event is not None and event != NO_MISHAPS)


def events_from_text(text: str | None) -> tuple[TickEvent, ...]:
    """Reads any text; see `OtherEvent` for what is not an event of this version."""
    if text is None:
        return ()
    found: list[TickEvent] = []
    for is_mishap, parts in groupby(text.split(","), key=_is_mishap):
        found += (_mishaps_from if is_mishap else _each_from)(list(parts))
    return tuple(found)


def _parts_of(event: TickEvent) -> Iterator[str]:
    match event:
        case Reset(seed):
            yield f"{RESET}{seed}"
        case ClockGap():
            yield CLOCK_GAP
        case Mishaps(discarded, out_of_memory, window, commit_window):
            yield from [DISCARDED] * discarded + [OUT_OF_MEMORY] * out_of_memory
            yield from [] if window is None else [f"{WINDOW}{window}"]
            yield from [] if commit_window is None else [f"{COMMIT_WINDOW}{commit_window}"]
        case DriftAction(name):
            yield f"{DRIFT}{name}"
        case OtherEvent(text):
            yield text


def _each_from(parts: list[str]) -> list[TickEvent]:
    return [_event_from(part) for part in parts]


def _event_from(part: str) -> TickEvent:
    if part == CLOCK_GAP:
        return ClockGap()
    if part.startswith(DRIFT):
        return DriftAction(part.removeprefix(DRIFT))
    if part.startswith(RESET):
        seed = _number(part.removeprefix(RESET))
        return OtherEvent(part, "expected a seed") if seed is None else Reset(seed)
    return OtherEvent(part)


# --- mishaps: one event of several parts ---------------------------------------------------------------------------


def _is_mishap(part: str) -> bool:
    return part in (DISCARDED, OUT_OF_MEMORY) or part.startswith((WINDOW, COMMIT_WINDOW))


def _mishaps_from(parts: list[str]) -> list[TickEvent]:
    """One event where the parts are what it is written as; else each part as it stands."""
    window = commit_window = None
    for part in parts:
        if part.startswith((WINDOW, COMMIT_WINDOW)):
            text = part.partition(":")[2]
            ticks = _number(text)
            if ticks is None or not 0 < ticks < 1 << 31:
                return _damaged(parts, part, f"expected a memory window of at least 1 tick, got {text!r}")
            window, commit_window = (ticks, commit_window) if part.startswith(WINDOW) else (window, ticks)
    event = Mishaps(DISCARDED in parts, OUT_OF_MEMORY in parts, window, commit_window)
    if list(_parts_of(event)) != parts:
        return _damaged(parts, parts[0], f"expected {events_to_text([event])!r}, got {','.join(parts)!r}")
    return [event]


def _damaged(parts: list[str], where: str, problem: str) -> list[TickEvent]:
    return [OtherEvent(part, problem if part == where else "") for part in parts]


def _number(text: str) -> int | None:
    """A whole number in its one form, so that it is written again as it was."""
    return int(text) if WHOLE_NUMBER.fullmatch(text) else None
