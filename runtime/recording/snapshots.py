"""Snapshots inside recordings: plain data (`plain.py`) as bytes, compressed, cut into parts, and back.

    snapshot = tree length u32 | tree (msgpack) | array bytes, one array after the other       compressed by zlib
    part     = msgpack [tick, part, parts, raw bytes, compressed 0 or 1, bytes]

In the tree an array's placeholder is [dtype, shape] as msgpack; its bytes come in the tree's order.
The tree is capped by itself: a small list takes many times its bytes in memory, an array does not.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import ReplayError, Snapshot
from .format import MalformedError, StoredSnapshot, a_kind, int_in
from .plain import DTYPES, MAX_DIMENSIONS, PlainDataError, from_tree, take_apart
from .records import DamageError, packed, unpacked

TREE_LENGTH = struct.Struct("<I")
MAX_TREE_BYTES = 128 << 10
MAX_SNAPSHOT_BYTES = 256 << 20
PART_BYTES = 1 << 20
MAX_PARTS = 1 + MAX_SNAPSHOT_BYTES // PART_BYTES
DEFLATE_LIMIT = 1040
"""No deflate stream grows by more than about 1,032 to 1 (RFC 1951: 258 bytes from 2 bits); more is a lie."""
COMPRESSION_LEVEL = 1
"""The fastest. A neural state is close to noise: higher levels take ten times as long for a few per cent."""
WORTHWHILE = 0.95

BY_NAME = {dtype.str: dtype for dtype in DTYPES}


@dataclass(frozen=True)
class SnapshotPart:
    """One record's share of a snapshot."""

    tick: int
    part: int
    parts: int
    raw_bytes: int
    compressed: bool
    data: bytes


# --- plain data to bytes -------------------------------------------------------------------------------------------


def snapshot_to_bytes(snapshot: Snapshot) -> bytes:
    """Raises `ReplayError` that names the part which is no plain data, see `nextframe.runtime.core.Snapshot`."""
    try:
        tree, arrays = take_apart(snapshot, "snapshot", _dtype_and_shape_of, max_tree_bytes=MAX_TREE_BYTES)
    except PlainDataError as error:
        raise ReplayError(f"recording: {error}; or record without snapshots") from error
    total = TREE_LENGTH.size + len(tree) + sum(array.nbytes for array in arrays.values())
    if total > MAX_SNAPSHOT_BYTES:
        raise ReplayError(
            f"recording: a snapshot of {total} bytes is too large: expected at most {MAX_SNAPSHOT_BYTES}; "
            "record without snapshots"
        )
    return b"".join([TREE_LENGTH.pack(len(tree)), tree, *(array.tobytes() for array in arrays.values())])


def snapshot_from_bytes(raw: bytes) -> Snapshot:
    """Arrays are copies and may be written to. Raises `DamageError` or `MalformedError`."""
    if len(raw) < TREE_LENGTH.size:
        raise MalformedError("snapshot: too short")
    (tree_bytes,) = TREE_LENGTH.unpack_from(raw)
    if tree_bytes > MAX_TREE_BYTES or TREE_LENGTH.size + tree_bytes > len(raw):
        raise MalformedError("snapshot: its tree is longer than it may be")
    at = TREE_LENGTH.size + tree_bytes

    def array(placeholder: bytes) -> NDArray[Any]:
        nonlocal at
        dtype, shape = _dtype_and_shape(unpacked(placeholder))
        size = dtype.itemsize * math.prod(shape)
        if size > len(raw) - at:
            raise MalformedError("snapshot: an array is larger than what is left of it")
        found = np.frombuffer(raw, dtype, math.prod(shape), at).reshape(shape).copy()
        at += size
        return found

    try:
        tree = from_tree(raw[TREE_LENGTH.size : at], array, max_tree_bytes=MAX_TREE_BYTES)
    except PlainDataError as error:
        raise MalformedError(f"snapshot: {error}") from error
    if at != len(raw):
        raise MalformedError("snapshot: there are bytes that belong to no array")
    return a_kind(dict, tree, "snapshot")


def _dtype_and_shape_of(path: str, array: NDArray[Any]) -> bytes:
    return packed([array.dtype.str, list(array.shape)])


def _dtype_and_shape(parts: object) -> tuple[np.dtype[Any], tuple[int, ...]]:
    entries = a_kind(list, parts, "array")
    if len(entries) != 2 or not isinstance(entries[0], str) or entries[0] not in BY_NAME:
        raise MalformedError("array: expected a known dtype and a shape")
    sides = a_kind(list, entries[1], "shape")
    if len(sides) > MAX_DIMENSIONS:
        raise MalformedError(f"array: expected at most {MAX_DIMENSIONS} dimensions")
    return BY_NAME[entries[0]], tuple(int_in(side, 0, MAX_SNAPSHOT_BYTES, "shape") for side in sides)


# --- bytes to records and back -------------------------------------------------------------------------------------


def snapshot_payloads(tick: int, snapshot: Snapshot) -> list[bytes]:
    """The payloads of the records that hold the state before `tick`, in order. Raises `ReplayError`."""
    raw = snapshot_to_bytes(snapshot)
    pressed = zlib.compress(raw, COMPRESSION_LEVEL)
    worthwhile = len(pressed) < WORTHWHILE * len(raw)
    data = pressed if worthwhile else raw
    cuts = range(0, max(1, len(data)), PART_BYTES)
    return [
        packed([tick, part, len(cuts), len(raw), int(worthwhile), data[start : start + PART_BYTES]])
        for part, start in enumerate(cuts)
    ]


def part_from_payload(payload: bytes) -> SnapshotPart:
    """Raises `DamageError` or `MalformedError`. Entries after the sixth are a newer version's and are ignored."""
    entries = a_kind(list, unpacked(payload), "snapshot part")
    if len(entries) < 6:
        raise MalformedError("snapshot part: expected six entries")
    parts = int_in(entries[2], 1, MAX_PARTS, "parts")
    return SnapshotPart(
        tick=int_in(entries[0], 0, 1 << 62, "tick"),
        part=int_in(entries[1], 0, parts - 1, "part"),
        parts=parts,
        raw_bytes=int_in(entries[3], 0, MAX_SNAPSHOT_BYTES, "raw bytes"),
        compressed=int_in(entries[4], 0, 1, "compressed") == 1,
        data=a_kind(bytes, entries[5], "bytes"),
    )


def snapshot_from_parts(parts: Sequence[SnapshotPart]) -> Snapshot:
    """Raises `DamageError` or `MalformedError`. Never takes more memory than the parts could honestly unfold to."""
    data = b"".join(part.data for part in parts)
    raw_bytes = parts[0].raw_bytes
    if not parts[0].compressed:
        if len(data) != raw_bytes:
            raise MalformedError("snapshot: its size is not the one announced")
        return snapshot_from_bytes(data)
    if raw_bytes > DEFLATE_LIMIT * len(data):
        raise MalformedError(f"snapshot: {len(data)} bytes cannot unfold to {raw_bytes}")
    unfolding = zlib.decompressobj()
    try:
        raw = unfolding.decompress(data, max(1, raw_bytes))
        # The last bytes of a stream are its checksum: zlib reads them only when asked for more.
        more = unfolding.decompress(unfolding.unconsumed_tail, 1) if not unfolding.eof else b""
    except zlib.error as error:
        raise DamageError(f"a snapshot does not unfold ({error})") from error
    if more or len(raw) != raw_bytes or not unfolding.eof or unfolding.unused_data:
        raise MalformedError("snapshot: its size is not the one announced")
    return snapshot_from_bytes(raw)


class SnapshotCollector:
    """Puts the parts of snapshots together as a reader meets them, keeping places, never data."""

    def __init__(self) -> None:
        self._open: list[tuple[SnapshotPart, int]] = []
        self._stored_bytes = 0
        self.found: list[StoredSnapshot] = []

    @property
    def in_the_middle(self) -> bool:
        return bool(self._open)

    def add(self, payload: bytes, offset_bytes: int, ticks: int) -> StoredSnapshot | None:
        """The snapshot that this part completes. Raises `DamageError` or `MalformedError` when it does not follow."""
        part = part_from_payload(payload)
        if part.tick != ticks:
            raise DamageError(f"expected a snapshot before tick {ticks}, got one before tick {part.tick}")
        if part.part != len(self._open) or (self._open and not _belong(part, self._open[0][0])):
            raise DamageError("the parts of a snapshot do not follow each other")
        self._open.append((SnapshotPart(*_without_data(part), b""), offset_bytes))
        self._stored_bytes = len(part.data) + (self._stored_bytes if part.part else 0)
        if part.part + 1 < part.parts:
            return None
        places = tuple(offset for _, offset in self._open)
        self._open = []
        self.found.append(StoredSnapshot(part.tick, part.raw_bytes, self._stored_bytes, places))
        return self.found[-1]


def _without_data(part: SnapshotPart) -> tuple[int, int, int, int, bool]:
    return part.tick, part.part, part.parts, part.raw_bytes, part.compressed


def _belong(one: SnapshotPart, other: SnapshotPart) -> bool:
    return (one.tick, one.parts, one.raw_bytes) == (other.tick, other.parts, other.raw_bytes)
