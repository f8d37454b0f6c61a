"""Two recordings side by side: the same session or not, and if not, the first tick and field that differ.

When and on what a recording was made is noted and does not count as a difference: the same session recorded on two
machines is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from ..core import Action, PlayedTick
from ..tick.events import events_to_text
from .compare import differences
from .environment import differing_names
from .format import Replay, ReplayHeader
from .playback import same_action
from .reader import load_snapshot, read_replay

TEXT_CHARS = 60


@dataclass(frozen=True)
class RecordingDifference:
    """One field that differs. `tick` is None for the header; both values as text."""

    field: str
    first: str
    second: str
    tick: int | None = None

    def __str__(self) -> str:
        where = "header" if self.tick is None else f"tick {self.tick}"
        return f"{where}: {self.field}: first {self.first}, second {self.second}"


@dataclass(frozen=True)
class RecordingComparison:
    """`header`: each field that differs. `first`: the earliest tick and field that differ. `notes` do not count."""

    header: tuple[RecordingDifference, ...]
    first: RecordingDifference | None
    ticks_compared: int
    checksums_compared: int
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return not self.header and self.first is None


def diff_files(first: Path, second: Path, *, recover: bool = False) -> RecordingComparison:
    """Compare two files; also the snapshots that both hold at one tick. Raises `ReplayError`."""
    one, other = read_replay(first, recover=recover), read_replay(second, recover=recover)
    found = diff_recordings(one, other)
    state = next(_state_differences((first, one), (second, other)), None)
    if state is None or (found.first is not None and found.first.tick <= state.tick):  # type: ignore[operator]
        return found
    return RecordingComparison(found.header, state, found.ticks_compared, found.checksums_compared, found.notes)


def diff_recordings(one: Replay, other: Replay) -> RecordingComparison:
    """Compare header, actions, steps, events and checksums, in that order within a tick: cause before effect.

    A checksum that only one of them took says nothing.
    """
    first, compared, checksums = None, 0, 0
    for tick, (left, right) in enumerate(zip_longest(one.ticks, other.ticks)):
        first = _first_of(tick, left, right)
        if first is not None:
            break
        compared += 1
        checksums += left.checksum is not None and right.checksum is not None
    return RecordingComparison(
        tuple(_header_differences(one.header, other.header)), first, compared, checksums, tuple(_notes(one, other))
    )


def _first_of(tick: int, one: PlayedTick | None, other: PlayedTick | None) -> RecordingDifference | None:
    if one is None or other is None:
        ended, goes_on = f"ends after {tick} ticks", "goes on"
        return RecordingDifference("length", *((ended, goes_on) if one is None else (goes_on, ended)), tick)
    if not same_action(one.action, other.action):
        return RecordingDifference(*_action_field(one.action, other.action), tick)
    if one.steps_applied != other.steps_applied:
        return RecordingDifference("denoise steps", str(one.steps_applied), str(other.steps_applied), tick)
    if one.events != other.events:
        events = events_to_text(one.events) or "none", events_to_text(other.events) or "none"
        return RecordingDifference("event", *events, tick)
    if None not in (one.checksum, other.checksum) and one.checksum != other.checksum:
        return RecordingDifference("checksum", f"{one.checksum:#010x}", f"{other.checksum:#010x}", tick)
    return None


def _action_field(one: Action, other: Action) -> tuple[str, str, str]:
    """The first part of the action that differs, with both values."""
    if one.buttons != other.buttons:
        return "action: buttons", _listed(one.buttons), _listed(other.buttons)
    for name in sorted(one.axes.keys() | other.axes.keys()):
        if one.axes.get(name, 0) != other.axes.get(name, 0):
            return f"action: axis {name}", str(one.axes.get(name, 0)), str(other.axes.get(name, 0))
    if one.prompt != other.prompt:
        return "action: prompt", _shortened(one.prompt), _shortened(other.prompt)
    return "action: reset", str(one.reset), str(other.reset)


def _header_differences(one: ReplayHeader, other: ReplayHeader) -> Iterator[RecordingDifference]:
    names = "world config_sha256 weights_sha256 seed tick_hz actions ladder starts_from_snapshot"
    for name in names.split():
        if getattr(one, name) != getattr(other, name):
            yield RecordingDifference(name, _shortened(getattr(one, name)), _shortened(getattr(other, name)))


def _notes(one: Replay, other: Replay) -> Iterator[str]:
    for name in ("format_version", "created_utc", "promise"):
        if getattr(one.header, name) != getattr(other.header, name):
            yield f"{name}: first {getattr(one.header, name)}, second {getattr(other.header, name)}"
    for name in differing_names(one.header.environment, other.header.environment):
        left, right = one.header.environment.get(name), other.header.environment.get(name)
        yield f"environment: {name}: first {left}, second {right}"
    for which, replay in (("first", one), ("second", other)):
        if replay.message:
            yield f"{which}: {replay.message}"


def _state_differences(one: tuple[Path, Replay], other: tuple[Path, Replay]) -> Iterator[RecordingDifference]:
    """The parts of the state that differ, at every tick before which both recordings hold a snapshot."""
    (first, left), (second, right) = one, other
    in_second = {stored.tick: stored for stored in right.snapshots}
    for stored in left.snapshots:
        if stored.tick in in_second:
            states = load_snapshot(first, stored), load_snapshot(second, in_second[stored.tick])
            for part in differences(*states):
                yield RecordingDifference(f"state before it: {part.path}", "one value", "another", stored.tick)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _shortened(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= TEXT_CHARS else text[: TEXT_CHARS - 3] + "..."


def print_diff(first: Path, second: Path, *, recover: bool = False) -> int:
    """What `nextframe replay --diff` says; 0 for the same session, 1 for another. Raises `ReplayError`."""
    found = diff_files(first, second, recover=recover)
    for note in found.notes:
        print(f"note: {note}")
    for difference in (*found.header, *([found.first] if found.first else [])):
        print(f"differs in {difference}")
    if found.same:
        print(f"the same session: {found.ticks_compared} ticks, {found.checksums_compared} checksums agree")
    return 0 if found.same else 1
