"""Recordings: the `.nfr` file, written as the session runs and readable from wherever it was cut.

Owns framing, CRCs, msgpack, the promise that a killed recording loses at most a second, the refusal of recordings that
do not fit a world, and the comparison of a playback with its recording. Knows nothing of worlds, windows or time.

    file    = magic (8 bytes) | major u16 | minor u16 | record*           all integers little-endian
    record  = type u8 | length u32 | payload | crc32c u32                  the CRC covers type, length and payload
    payload = msgpack: header (map), then batches [first tick, [tick, ...]] of at most a second, then a footer (map)

A file without a footer was killed or cut at a record's end; what it holds is intact. Record types from 128 on may be
skipped by readers that do not know them. Promise: bit-exact playback on the same machine and environment (R0).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgpack
from crc32c import crc32c

from runtime.core import Action, ReplayError, WorldInfo
from runtime.replay_format import (
    FORMAT_MAJOR,
    FORMAT_MINOR,
    MalformedError,
    RecordedTick,
    Replay,
    ReplayHeader,
    header_for,
    header_from_plain,
    header_to_plain,
    tick_from_plain,
    tick_to_plain,
)

__all__ = [
    "RecordedTick",
    "Replay",
    "ReplayHeader",
    "ReplayVerifier",
    "ReplayWriter",
    "check_fits",
    "header_for",
    "read_replay",
]

MAGIC = b"\x89NFR\r\n\x1a\n"
"""As PNG's: a transfer that mangles line ends or the eighth bit shows at once."""
PREAMBLE = struct.Struct("<8sHH")
FRAME = struct.Struct("<BI")
CRC = struct.Struct("<I")

HEADER, TICKS, FOOTER = 1, 2, 3
FIRST_OPTIONAL_TYPE = 128
MAX_RECORD_BYTES = 4 << 20
MAX_BATCH_RECORD_BYTES = 256 << 10
"""Only the header, which holds the world's text, may be larger: small lists unpack to many times their bytes."""
MAX_BATCH_TICKS = 1_000
MAX_BATCH_BYTES = 64 << 10
"""A batch this large is written early: a second of long prompts must not outgrow a record."""


# --- writing -----------------------------------------------------------------------------------------------------


class ReplayWriter:
    """A `Recorder` that appends to a file. The first tick it is given becomes tick 0 of the recording.

    To record from the middle of a session, begin with a tick that resets the world: a recording holds no state. Every
    batch goes to the operating system in one write, so a kill loses at most the second that was being gathered.
    """

    def __init__(self, path: Path | str, header: ReplayHeader, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.ticks = 0
        self._actions = header.actions
        self._batch: list[bytes] = []
        self._batch_bytes = 0
        self._batch_ticks = max(1, min(MAX_BATCH_TICKS, int(header.tick_hz)))
        self._first_tick: int | None = None
        start = PREAMBLE.pack(MAGIC, FORMAT_MAJOR, FORMAT_MINOR) + _framed(HEADER, _packed(header_to_plain(header)))
        try:
            self._file: BinaryIO | None = open(self.path, "wb" if overwrite else "xb", buffering=0)  # noqa: SIM115 - closed in close()
        except FileExistsError as error:
            raise ReplayError(f"{path}: a file is there already; choose another name or allow overwriting") from error
        except OSError as error:
            raise ReplayError(f"{path}: expected a place to record to: {error.strerror or error}") from error
        self._write(start)

    def record_tick(
        self, tick: int, action: Action, steps_applied: int, checksum: int | None, event: str | None
    ) -> None:
        """Raises `ReplayError` when the tick does not follow the last one, does not fit, or the disk is full."""
        if self._file is None:
            raise ReplayError(f"{self.path}: this recording is closed")
        if self._first_tick is None:
            self._first_tick = tick
        if tick != self._first_tick + self.ticks:
            raise ReplayError(f"{self.path}: expected tick {self._first_tick + self.ticks}, got {tick}")
        packed = _packed(tick_to_plain(RecordedTick(action, steps_applied, checksum, event), self._actions))
        self._batch.append(packed)
        self._batch_bytes += len(packed)
        self.ticks += 1
        if len(self._batch) >= self._batch_ticks or self._batch_bytes >= MAX_BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left and the footer, and hand both to the disk. May be called twice."""
        if self._file is None:
            return
        try:
            self._flush()
            self._write(_framed(FOOTER, _packed({"ticks": self.ticks})))
            if self._file is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise ReplayError(f"{self.path}: could not be written to disk: {error.strerror or error}") from error
        finally:
            self._abandon()

    def __enter__(self) -> ReplayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _flush(self) -> None:
        if not self._batch:
            return
        packer = msgpack.Packer()
        head = packer.pack_array_header(2) + packer.pack(self.ticks - len(self._batch))
        payload = b"".join([head, packer.pack_array_header(len(self._batch)), *self._batch])
        self._batch, self._batch_bytes = [], 0
        self._write(_framed(TICKS, payload))

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            written = self._file.write(data)
        except OSError as error:
            self._abandon()
            raise ReplayError(f"{self.path}: could not go on recording: {error.strerror or error}") from error
        if written != len(data):
            self._abandon()
            raise ReplayError(f"{self.path}: could not go on recording: the disk is full")

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _packed(value: object) -> bytes:
    try:
        return bytes(msgpack.packb(value))
    except (ValueError, TypeError, OverflowError) as error:  # half a surrogate pair, or an environment value too large
        raise ReplayError(f"recording: a value cannot be stored: {error}") from error


def _framed(kind: int, payload: bytes) -> bytes:
    if len(payload) > MAX_RECORD_BYTES:
        raise ReplayError(f"recording: expected records of at most {MAX_RECORD_BYTES} bytes, got {len(payload)}")
    data = FRAME.pack(kind, len(payload)) + payload
    return data + CRC.pack(crc32c(data))


# --- reading -----------------------------------------------------------------------------------------------------


def read_replay(path: Path | str, *, recover: bool = False) -> Replay:
    """Read a recording. Stops at the first damage and never guesses past it.

    Raises `ReplayError` if nothing can be read, if a newer major version wrote it, or, unless `recover` is set, if it
    is damaged. With `recover` the good ticks before the damage come back, `complete` false and `message` saying what
    is lost. A recording that was merely never closed is not damaged: it comes back in both cases, `complete` false.
    """
    try:
        with open(path, "rb") as file:
            replay = _read(file, os.fstat(file.fileno()).st_size, str(path))
    except OSError as error:
        raise ReplayError(f"{path}: expected a readable recording: {error.strerror or error}") from error
    if replay.lost_bytes and not recover:
        raise ReplayError(f"{path}: {replay.message}; use --recover to play what is there")
    return replay


class _DamageError(Exception):
    """The record cannot be used, and nothing after it can be trusted."""


def _read(file: BinaryIO, size_bytes: int, source: str) -> Replay:
    minor = _read_preamble(file, source)
    records = _records(file, size_bytes)
    good_until = file.tell()
    ticks: list[RecordedTick] = []
    header: ReplayHeader | None = None
    complete, damage = False, ""
    try:
        for kind, payload in records:
            if header is None:
                header = _read_header(kind, payload, minor)
            elif complete:
                raise _DamageError("there is data after the end")
            elif kind == TICKS:
                ticks += _read_batch(payload, len(ticks), header)
            elif kind == FOOTER:
                _check_footer(payload, len(ticks))
                complete = True
            elif kind < FIRST_OPTIONAL_TYPE:
                raise _DamageError(f"record type {kind} is unknown (written by a newer version?)")
            good_until = file.tell()
    except (_DamageError, MalformedError) as error:
        damage = str(error)
    if header is None:
        raise ReplayError(
            f"{source}: the recording has no readable header, nothing can be recovered ({damage or 'cut'})"
        )
    lost_bytes = size_bytes - good_until if damage else 0
    message = "" if complete else "the recording was never closed; {}, up to a second after them may be missing"
    if damage:
        message = f"damaged at byte {good_until}: {damage}; {{}}, {lost_bytes} bytes after them are lost"
    message = message.format(f"{len(ticks)} ticks ({float(len(ticks) / header.tick_hz):.1f} s) are readable")
    return Replay(header, tuple(ticks), complete and not damage, lost_bytes, message)


def _read_preamble(file: BinaryIO, source: str) -> int:
    """Check what kind of file this is; returns the minor version."""
    data = file.read(PREAMBLE.size)
    if data[: len(MAGIC)] != MAGIC[: len(data)] or not data:
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


def _records(file: BinaryIO, size_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Frames with a valid CRC. A length is checked against the cap and the file before anything is allocated."""
    while True:
        head = file.read(FRAME.size)
        if not head:
            return
        if len(head) < FRAME.size:
            raise _DamageError("a record is cut short")
        kind, length = FRAME.unpack(head)
        cap = MAX_BATCH_RECORD_BYTES if kind in (TICKS, FOOTER) else MAX_RECORD_BYTES
        if length > cap:
            raise _DamageError(f"a record claims {length} bytes, more than {cap}")
        if length + CRC.size > size_bytes - file.tell():
            raise _DamageError("a record is cut short")
        payload = file.read(length)
        tail = file.read(CRC.size)
        if len(payload) < length or len(tail) < CRC.size:
            raise _DamageError("the file became shorter while it was read")
        if CRC.unpack(tail)[0] != crc32c(payload, crc32c(head)):
            raise _DamageError("a record has the wrong CRC")
        yield kind, payload


def _unpacked(payload: bytes) -> Any:
    try:
        return msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:  # ValueError covers bad UTF-8, extra data and deep nesting
        raise _DamageError(f"a record is not valid msgpack ({error})") from error


def _read_header(kind: int, payload: bytes, minor: int) -> ReplayHeader:
    if kind != HEADER:
        raise _DamageError("the first record is not a header")
    header = header_from_plain(_unpacked(payload))
    if header.format_version != (FORMAT_MAJOR, minor):
        raise _DamageError("the format version at the start differs from the one in the header")
    return header


def _read_batch(payload: bytes, expected_first: int, header: ReplayHeader) -> list[RecordedTick]:
    batch = _unpacked(payload)
    if not isinstance(batch, list) or len(batch) < 2 or not isinstance(batch[1], list):
        raise _DamageError("a batch of ticks has the wrong shape")
    if batch[0] != expected_first:
        raise _DamageError(f"expected tick {expected_first} next, got {batch[0]!r}: part of the file is missing")
    if len(batch[1]) > MAX_BATCH_TICKS:
        raise _DamageError(f"a batch holds {len(batch[1])} ticks, more than {MAX_BATCH_TICKS}")
    return [tick_from_plain(plain, header.actions) for plain in batch[1]]


def _check_footer(payload: bytes, ticks: int) -> None:
    footer = _unpacked(payload)
    if not isinstance(footer, dict) or footer.get("ticks") != ticks:
        raise _DamageError(f"the footer does not agree with the {ticks} ticks before it")


# --- playing back ------------------------------------------------------------------------------------------------


def check_fits(replay: Replay, info: WorldInfo) -> None:
    """Refuse a world that is not the one recorded. Raises `ReplayError` that shows both values."""
    header = replay.header
    for what, recorded, here in (
        ("world", header.world, info.name),
        ("weights (SHA-256)", header.weights_sha256, info.weights_sha256),
        ("world configuration (SHA-256)", header.config_sha256, info.config_sha256),
        ("tick rate", header.tick_hz, info.tick_hz),
        ("ladder", header.ladder, info.ladder),
        ("buttons", header.actions.buttons, info.actions.buttons),
        ("axes", header.actions.axes, info.actions.axes),
    ):
        if recorded != here:
            raise ReplayError(f"the recording does not fit this world: {what}: recorded {recorded}, here {here}")


@dataclass(frozen=True)
class Difference:
    """The first tick at which a playback left its recording, and in what."""

    tick: int
    what: str
    recorded: object
    played: object

    def __str__(self) -> str:
        return f"tick {self.tick}: {self.what}: recorded {self.recorded}, played {self.played}"


class ReplayVerifier:
    """A `Recorder` that compares a playback with its recording, tick by tick.

    `first_checksum_difference`, `first_steps_difference`, `first_action_difference`: None while they agree.
    `checksums_compared`: with 0 nothing was verified, and `verified` stays false.
    """

    def __init__(self, replay: Replay) -> None:
        self._recorded = replay.ticks
        self.ticks_compared = 0
        self.checksums_compared = 0
        self.first_checksum_difference: Difference | None = None
        self.first_steps_difference: Difference | None = None
        self.first_action_difference: Difference | None = None

    @property
    def first_difference(self) -> Difference | None:
        """The earliest of them; of one tick the action before the steps before the checksum, cause before effect."""
        found = (self.first_action_difference, self.first_steps_difference, self.first_checksum_difference)
        return min((d for d in found if d is not None), key=lambda difference: difference.tick, default=None)

    @property
    def verified(self) -> bool:
        """Every recorded tick was played, checksums were compared, and nothing differs."""
        played_all = self.ticks_compared == len(self._recorded)
        expected = sum(tick.checksum is not None for tick in self._recorded)
        return played_all and 0 < expected == self.checksums_compared and self.first_difference is None

    def record_tick(
        self, tick: int, action: Action, steps_applied: int, checksum: int | None, event: str | None
    ) -> None:
        if not 0 <= tick < len(self._recorded):
            return
        recorded = self._recorded[tick]
        self.ticks_compared += 1
        if self.first_action_difference is None and not _same_action(action, recorded.action):
            self.first_action_difference = Difference(tick, "action", recorded.action, action)
        if self.first_steps_difference is None and steps_applied != recorded.steps_applied:
            self.first_steps_difference = Difference(tick, "denoise steps", recorded.steps_applied, steps_applied)
        if checksum is None or recorded.checksum is None:
            return
        self.checksums_compared += 1
        if self.first_checksum_difference is None and checksum != recorded.checksum:
            shown = f"{recorded.checksum:#010x}", f"{checksum:#010x}"
            self.first_checksum_difference = Difference(tick, "checksum", *shown)

    def close(self) -> None:
        pass


def _same_action(one: Action, other: Action) -> bool:
    """An axis that is left out is at rest."""
    same_axes = all(one.axes.get(name, 0) == other.axes.get(name, 0) for name in one.axes.keys() | other.axes.keys())
    return same_axes and (one.buttons, one.prompt, one.reset) == (other.buttons, other.prompt, other.reset)
