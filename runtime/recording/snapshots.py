"""Snapshots inside recordings: a world's state as plain data, packed, compressed, cut into parts, and back.

Owns the form of a snapshot in a file and the caps that bound reading one.

    snapshot = tree length u32 | tree (msgpack) | array bytes, one array after the other       compressed by zlib
    part     = msgpack [tick, part, parts, raw bytes, compressed 0 or 1, bytes]

An array in the tree is an extension of [dtype, shape]; its bytes come in the tree's order, little-endian, row-major.
The tree is capped by itself: a small list takes many times its bytes in memory, an array does not.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import ReplayError, Snapshot
from .format import MalformedError, StoredSnapshot, a_kind, int_in
from .records import DamageError, packed, unpacked

TREE_LENGTH = struct.Struct("<I")
MAX_TREE_BYTES = 128 << 10
MAX_SNAPSHOT_BYTES = 256 << 20
PART_BYTES = 1 << 20
MAX_PARTS = 1 + MAX_SNAPSHOT_BYTES // PART_BYTES
MAX_DIMENSIONS = 16
DEFLATE_LIMIT = 1040
"""No deflate stream grows by more than about 1,032 to 1 (RFC 1951: 258 bytes from 2 bits); more is a lie."""
COMPRESSION_LEVEL = 1
"""The fastest. A neural state is close to noise: higher levels take ten times as long for a few per cent."""
WORTHWHILE = 0.95

FLOATS = ("float16", "float32", "float64")
DTYPES = tuple(
    np.dtype(name).newbyteorder("<") if np.dtype(name).itemsize > 1 else np.dtype(name)
    for name in ("bool", *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")), *FLOATS)
)
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
    arrays: list[bytes] = []

    def array(value: Any) -> tuple[str, list[int]]:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{value!r} has no room in 64 bits")
        dtype = value.dtype.newbyteorder("<") if value.dtype.itemsize > 1 else value.dtype
        arrays.append(np.ascontiguousarray(value, dtype).tobytes())
        return dtype.str, list(value.shape)

    _check_plain(snapshot, "snapshot")
    tree = packed(_with_plain_maps(snapshot), array)
    total = TREE_LENGTH.size + len(tree) + sum(map(len, arrays))
    if len(tree) > MAX_TREE_BYTES or total > MAX_SNAPSHOT_BYTES:
        raise ReplayError(
            f"recording: a snapshot of {total} bytes ({len(tree)} without its arrays) is too large: expected at most "
            f"{MAX_SNAPSHOT_BYTES} ({MAX_TREE_BYTES}); put numbers into arrays, or record without snapshots"
        )
    return b"".join([TREE_LENGTH.pack(len(tree)), tree, *arrays])


def snapshot_from_bytes(raw: bytes) -> Snapshot:
    """Arrays are copies and may be written to. Raises `DamageError` or `MalformedError`."""
    if len(raw) < TREE_LENGTH.size:
        raise MalformedError("snapshot: too short")
    (tree_bytes,) = TREE_LENGTH.unpack_from(raw)
    if tree_bytes > MAX_TREE_BYTES or TREE_LENGTH.size + tree_bytes > len(raw):
        raise MalformedError("snapshot: its tree is longer than it may be")
    at = TREE_LENGTH.size + tree_bytes

    def array(parts: object) -> NDArray[Any]:
        nonlocal at
        dtype, shape = _dtype_and_shape(parts)
        size = dtype.itemsize * math.prod(shape)
        if size > len(raw) - at:
            raise MalformedError("snapshot: an array is larger than what is left of it")
        found = np.frombuffer(raw, dtype, math.prod(shape), at).reshape(shape).copy()
        at += size
        return found

    tree = unpacked(raw[TREE_LENGTH.size : at], array)
    if at != len(raw):
        raise MalformedError("snapshot: there are bytes that belong to no array")
    return a_kind(dict, tree, "snapshot")


def _dtype_and_shape(parts: object) -> tuple[np.dtype[Any], tuple[int, ...]]:
    entries = a_kind(list, parts, "array")
    if len(entries) != 2 or not isinstance(entries[0], str) or entries[0] not in BY_NAME:
        raise MalformedError("array: expected a known dtype and a shape")
    sides = a_kind(list, entries[1], "shape")
    if len(sides) > MAX_DIMENSIONS:
        raise MalformedError(f"array: expected at most {MAX_DIMENSIONS} dimensions")
    return BY_NAME[entries[0]], tuple(int_in(side, 0, MAX_SNAPSHOT_BYTES, "shape") for side in sides)


def _check_plain(value: object, path: str) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not isinstance(key, str):
                raise ReplayError(f"recording: {path}: expected string keys, got {key!r}")
            _check_plain(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _check_plain(part, f"{path}[{index}]")
    elif isinstance(value, np.ndarray):
        if value.dtype.newbyteorder("<").str not in BY_NAME or value.ndim > MAX_DIMENSIONS:
            raise ReplayError(f"recording: {path}: expected an array of numbers, got {value.dtype} {value.shape}")
    elif not (value is None or type(value) in (bool, int, float, str)):
        raise ReplayError(f"recording: {path}: expected plain data, got {type(value).__name__}")


def _with_plain_maps(value: Any) -> Any:
    """The same with every mapping a dict, the only kind that msgpack packs strictly."""
    if isinstance(value, Mapping):
        return {key: _with_plain_maps(part) for key, part in value.items()}
    return [_with_plain_maps(part) for part in value] if isinstance(value, list) else value


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


# --- comparing -----------------------------------------------------------------------------------------------------


def state_differences(one: object, other: object, path: str = "") -> Iterator[str]:
    """Dotted names of the parts in which two snapshots differ, in order; bit by bit, so a NaN equals itself."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys([*one, *other]):
            name = f"{path}.{key}" if path else str(key)
            if key in one and key in other:
                yield from state_differences(one[key], other[key], name)
            else:
                yield name
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from state_differences(left, right, f"{path}[{index}]")
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        same_kind = (one.dtype, one.shape) == (other.dtype, other.shape)
        if not same_kind or one.tobytes() != other.tobytes():
            yield path
    elif type(one) is not type(other) or repr(one) != repr(other):
        yield path
