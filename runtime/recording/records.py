"""The bytes of a recording: magic, framed records with CRCs, msgpack, and the caps that bound a reader.

    file    = magic (8 bytes) | major u16 | minor u16 | record*           all integers little-endian
    record  = type u8 | length u32 | payload | crc32c u32                  the CRC covers type, length and payload

A reader that does not know a record's type skips it from 128 on and stops below: what a playback needs is below.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgpack
from crc32c import crc32c

from ..core import ReplayError

MAGIC = b"\x89NFR\r\n\x1a\n"
"""As PNG's: a transfer that mangles line ends or the eighth bit shows at once."""
PREAMBLE = struct.Struct("<8sHH")
FRAME = struct.Struct("<BI")
CRC = struct.Struct("<I")

HEADER, TICKS, FOOTER, START = 1, 2, 3, 4
SNAPSHOT, STOPPED = 128, 129
FIRST_OPTIONAL_TYPE = 128
MAX_RECORD_BYTES = 4 << 20
MAX_BATCH_RECORD_BYTES = 256 << 10
"""Only the header, which holds the world's text, and parts of a snapshot may be larger: small lists unpack to many
times their bytes."""


class DamageError(Exception):
    """The record cannot be used, and nothing after it can be trusted."""


@dataclass(frozen=True)
class Record:
    """One record as read. `offset_bytes`: of its first byte in the file."""

    kind: int
    payload: bytes
    offset_bytes: int


def framed(kind: int, payload: bytes) -> bytes:
    """Raises `ReplayError` for a payload that no reader would take."""
    cap = cap_bytes(kind)
    if len(payload) > cap:
        raise ReplayError(f"recording: a record of type {kind} needs {len(payload)} bytes, more than {cap}")
    head = FRAME.pack(kind, len(payload))
    return head + payload + CRC.pack(crc32c(payload, crc32c(head)))


def cap_bytes(kind: int) -> int:
    """The largest payload of a record of this type."""
    return MAX_BATCH_RECORD_BYTES if kind in (TICKS, FOOTER, STOPPED) else MAX_RECORD_BYTES


def read_record(file: BinaryIO, size_bytes: int) -> Record | None:
    """The record at the file's position, None at its end.

    A length is checked against the cap and against what the file holds before anything is allocated. Raises
    `DamageError`.
    """
    offset_bytes = file.tell()
    head = file.read(FRAME.size)
    if not head:
        return None
    if len(head) < FRAME.size:
        raise DamageError("a record is cut short")
    kind, length = FRAME.unpack(head)
    if length > cap_bytes(kind):
        raise DamageError(f"a record claims {length} bytes, more than {cap_bytes(kind)}")
    if length + CRC.size > size_bytes - offset_bytes - FRAME.size:
        raise DamageError("a record is cut short")
    payload = file.read(length)
    tail = file.read(CRC.size)
    if len(payload) < length or len(tail) < CRC.size:
        raise DamageError("the file became shorter while it was read")
    if CRC.unpack(tail)[0] != crc32c(payload, crc32c(head)):
        raise DamageError("a record has the wrong CRC")
    return Record(kind, payload, offset_bytes)


def records(file: BinaryIO, size_bytes: int) -> Iterator[Record]:
    """All records from the file's position to its end. Raises `DamageError` at the first that is not whole."""
    while (record := read_record(file, size_bytes)) is not None:
        yield record


def last_footer(file: BinaryIO, size_bytes: int) -> bytes | None:
    """The payload of a footer that ends where the file ends, found from behind: it survives damage before it."""
    reach = min(size_bytes, MAX_BATCH_RECORD_BYTES + FRAME.size + CRC.size)
    file.seek(size_bytes - reach)
    tail = file.read(reach)
    start = tail.rfind(bytes([FOOTER]))
    while start >= 0:
        head = tail[start : start + FRAME.size]
        if len(head) == FRAME.size and FRAME.unpack(head)[1] == len(tail) - start - FRAME.size - CRC.size:
            payload = tail[start + FRAME.size : -CRC.size]
            if CRC.unpack(tail[-CRC.size :])[0] == crc32c(payload, crc32c(head)):
                return payload
        start = tail.rfind(bytes([FOOTER]), 0, start)
    return None


# --- msgpack -------------------------------------------------------------------------------------------------------


def packed(value: object) -> bytes:
    """As msgpack. Raises `ReplayError` for what msgpack has no kind for."""
    try:
        return bytes(msgpack.packb(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise ReplayError(f"recording: something cannot be stored: {error}") from error


def packed_batch(first_tick: int, ticks: Sequence[bytes]) -> bytes:
    """The payload of a batch, from ticks that are packed already."""
    packer = msgpack.Packer()
    return b"".join(
        [packer.pack_array_header(2), packer.pack(first_tick), packer.pack_array_header(len(ticks)), *ticks]
    )


def unpacked(payload: bytes) -> Any:
    """Raises `DamageError`."""
    try:
        return msgpack.unpackb(payload, ext_hook=_no_extension)
    except (ValueError, TypeError, msgpack.UnpackException) as error:  # bad UTF-8, extra data, deep nesting, bad keys
        raise DamageError(f"a record is not valid msgpack ({error})") from error


def _no_extension(kind: int, content: bytes) -> object:
    raise ValueError(f"extension {kind} is unknown here")
