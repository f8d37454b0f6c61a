"""Reads a recording from wherever it was cut, and the snapshots inside it.

Nothing after damage is trusted and no
gap is guessed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from ..core import PlayedTick, ReplayError, Snapshot
from .format import (
    FORMAT_MAJOR,
    MalformedError,
    Replay,
    ReplayHeader,
    StoredSnapshot,
    header_from_plain,
    tick_from_plain,
)
from .records import (
    FIRST_OPTIONAL_TYPE,
    FOOTER,
    HEADER,
    MAGIC,
    PREAMBLE,
    SNAPSHOT,
    START,
    STOPPED,
    TICKS,
    DamageError,
    Record,
    last_footer,
    read_record,
    records,
    unpacked,
)
from .snapshots import SnapshotCollector, part_from_payload, snapshot_from_parts
from .writer import MAX_BATCH_TICKS


def read_replay(path: Path | str, *, recover: bool = False) -> Replay:
    """Read a recording into memory; of its snapshots only the places, see `load_snapshot`.

    Raises `ReplayError` if nothing can be read, if a newer major version wrote it, or, unless `recover` is set, if it
    is damaged. With `recover` the good ticks before the damage come back, `complete` false and `message` saying what
    is lost. A recording that was merely never closed is not damaged: it comes back in both cases, `complete` false.
    """
    with _opened(path) as (file, size_bytes):
        replay = _read(file, size_bytes, str(path))
    if replay.lost_bytes and not recover:
        raise ReplayError(f"{path}: {replay.message}; use --recover to play what is there")
    return replay


def load_snapshot(path: Path | str, stored: StoredSnapshot) -> Snapshot:
    """The state before `stored.tick`, for `World.restore`. Raises `ReplayError` when it is not there or not sane."""
    parts = []
    with _opened(path) as (file, size_bytes):
        try:
            for offset_bytes in stored.parts:
                file.seek(offset_bytes)
                record = read_record(file, size_bytes)
                if record is None or record.kind not in (SNAPSHOT, START):
                    raise DamageError(f"there is no snapshot at byte {offset_bytes}")
                parts.append(part_from_payload(record.payload))
            return snapshot_from_parts(parts)
        except (DamageError, MalformedError) as error:
            raise ReplayError(
                f"{path}: the snapshot before tick {stored.tick} cannot be used: {error}; start from an earlier tick"
            ) from error


@contextmanager
def _opened(path: Path | str) -> Iterator[tuple[BinaryIO, int]]:
    try:
        with open(path, "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    except OSError as error:
        raise ReplayError(f"{path}: expected a readable recording: {error.strerror or error}") from error


@dataclass
class _Reading:
    """What has been read so far, record by record."""

    minor: int
    header: ReplayHeader | None = None
    ticks: list[PlayedTick] = field(default_factory=list)
    start: SnapshotCollector = field(default_factory=SnapshotCollector)
    snapshots: SnapshotCollector = field(default_factory=SnapshotCollector)
    batches: dict[int, int] = field(default_factory=dict)
    complete: bool = False
    stopped: str = ""

    @property
    def unfinished(self) -> int | None:
        """The type of the record that must come next, since a snapshot is in pieces; None when any may."""
        return START if self.start.in_the_middle else SNAPSHOT if self.snapshots.in_the_middle else None

    def take(self, record: Record) -> None:
        """Raises `DamageError` or `MalformedError`."""
        if self.header is None:
            self.header = _read_header(record, self.minor)
        elif self.complete or self.stopped:
            raise DamageError("there is data after the end")
        elif self.unfinished not in (None, record.kind):
            raise DamageError("the parts of a snapshot do not follow each other")
        elif record.kind in self._by_kind:
            self._by_kind[record.kind](self, record)
        elif record.kind < FIRST_OPTIONAL_TYPE:
            raise DamageError(f"record type {record.kind} is unknown (written by a newer version?)")

    def _take_ticks(self, record: Record) -> None:
        assert self.header is not None
        if self.header.starts_from_snapshot and not self.start.found:
            raise DamageError("the state that the recording starts from is missing")
        self.batches[len(self.ticks)] = record.offset_bytes
        self.ticks += _read_batch(record.payload, len(self.ticks), self.header)

    def _take_snapshot(self, record: Record) -> None:
        self.snapshots.add(record.payload, record.offset_bytes, len(self.ticks))

    def _take_start(self, record: Record) -> None:
        assert self.header is not None
        if not self.header.starts_from_snapshot or self.ticks or self.start.found or self.snapshots.found:
            raise DamageError("a state to start from stands in the wrong place")
        self.start.add(record.payload, record.offset_bytes, 0)

    def _take_footer(self, record: Record) -> None:
        _check_footer(record.payload, len(self.ticks))
        snapshots = {stored.tick: stored.parts[0] for stored in self.snapshots.found}
        _check_index(record.payload, {"ticks_at": self.batches, "snapshots_at": snapshots})
        self.complete = True

    def _take_stopped(self, record: Record) -> None:
        fields = unpacked(record.payload)
        reason = fields.get("reason") if isinstance(fields, dict) else None
        self.stopped = str(reason)[:200] if reason else "the recording was stopped"

    _by_kind = {  # noqa: RUF012 - a table of methods, never written to
        TICKS: _take_ticks,
        SNAPSHOT: _take_snapshot,
        START: _take_start,
        FOOTER: _take_footer,
        STOPPED: _take_stopped,
    }


def _read(file: BinaryIO, size_bytes: int, source: str) -> Replay:
    reading = _Reading(_read_preamble(file, source))
    good_until, damage = file.tell(), ""
    try:
        for record in records(file, size_bytes):
            reading.take(record)
            good_until = file.tell()
    except (DamageError, MalformedError) as error:
        damage = str(error)
    if reading.header is None:
        raise ReplayError(
            f"{source}: the recording has no readable header, nothing can be recovered ({damage or 'cut'})"
        )
    if reading.start.in_the_middle:
        raise ReplayError(
            f"{source}: the recording was cut inside the state it starts from, nothing can be recovered"
            f" ({damage or 'cut'})"
        )
    lost_bytes = size_bytes - good_until if damage else 0
    lost_ticks = _lost_ticks(file, size_bytes, len(reading.ticks)) if damage else 0 if reading.complete else None
    return Replay(
        header=reading.header,
        ticks=tuple(reading.ticks),
        complete=reading.complete and not damage,
        lost_bytes=lost_bytes,
        message=_message(reading, damage, good_until, lost_bytes, lost_ticks),
        lost_ticks=lost_ticks,
        snapshots=(*reading.start.found, *reading.snapshots.found),
    )


def _message(reading: _Reading, damage: str, good_until: int, lost_bytes: int, lost_ticks: int | None) -> str:
    if reading.complete and not damage:
        return ""
    assert reading.header is not None
    count = len(reading.ticks)
    readable = f"{count} ticks ({float(count / reading.header.tick_hz):.1f} s) are readable"
    if damage:
        lost = f"{lost_bytes} bytes" if lost_ticks is None else f"{lost_ticks} ticks ({lost_bytes} bytes)"
        return f"damaged at byte {good_until}: {damage}; {readable}, {lost} after them are lost"
    if reading.stopped:
        return f"{reading.stopped}; {readable}, the session went on after them"
    return f"the recording was never closed; {readable}, up to a second after them may be missing"


def _lost_ticks(file: BinaryIO, size_bytes: int, ticks: int) -> int | None:
    """From the footer, if the damage has left it; it is believed only as far as it makes sense."""
    payload = last_footer(file, size_bytes)
    try:
        footer: Any = None if payload is None else unpacked(payload)
    except DamageError:
        return None
    total = footer.get("ticks") if isinstance(footer, dict) else None
    return total - ticks if type(total) is int and ticks <= total <= ticks + size_bytes else None


def _read_preamble(file: BinaryIO, source: str) -> int:
    """Check what kind of file this is; returns the minor version."""
    data = file.read(PREAMBLE.size)
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ReplayError(f"{source}: expected a nextframe recording (.nfr), got another kind of file")
    if len(data) < PREAMBLE.size:
        raise ReplayError(f"{source}: the recording was cut before its header, nothing can be recovered")
    _, major, minor = PREAMBLE.unpack(data)
    if major != FORMAT_MAJOR:
        raise ReplayError(
            f"{source}: expected format {FORMAT_MAJOR}.x, got {major}.{minor}; "
            + ("a newer nextframe reads it" if major > FORMAT_MAJOR else "it is damaged or was never released")
        )
    return int(minor)


def _read_header(record: Record, minor: int) -> ReplayHeader:
    if record.kind != HEADER:
        raise DamageError("the first record is not a header")
    header = header_from_plain(unpacked(record.payload))
    if header.format_version != (FORMAT_MAJOR, minor):
        raise DamageError("the format version at the start differs from the one in the header")
    return header


def _read_batch(payload: bytes, expected_first: int, header: ReplayHeader) -> list[PlayedTick]:
    batch = unpacked(payload)
    if not isinstance(batch, list) or len(batch) < 2 or not isinstance(batch[1], list):
        raise DamageError("a batch of ticks has the wrong shape")
    if batch[0] != expected_first:
        raise DamageError(f"expected tick {expected_first} next, got {batch[0]!r}: part of the file is missing")
    if len(batch[1]) > MAX_BATCH_TICKS:
        raise DamageError(f"a batch holds {len(batch[1])} ticks, more than {MAX_BATCH_TICKS}")
    return [tick_from_plain(plain, header.actions) for plain in batch[1]]


def _check_footer(payload: bytes, ticks: int) -> None:
    footer = unpacked(payload)
    if not isinstance(footer, dict) or footer.get("ticks") != ticks:
        raise DamageError(f"the footer does not agree with the {ticks} ticks before it")


def _check_index(payload: bytes, places: Mapping[str, Mapping[int, int]]) -> None:
    """Each [tick, offset] of the footer leads to what stands there; a footer may leave some, or all, out."""
    footer = unpacked(payload)
    for name, found in places.items():
        entries = footer.get(name, [])
        if not isinstance(entries, list) or not all(_is_in(entry, found) for entry in entries):
            raise DamageError(f"the footer's index ({name}) does not agree with the records before it")


def _is_in(entry: object, found: Mapping[int, int]) -> bool:
    return isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is int and found.get(entry[0]) == entry[1]
