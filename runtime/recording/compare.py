"""Comparing plain data, such as two snapshots of a world, bit by bit and part by part.

Equal means the same bits: 0.0 and -0.0 differ, and a NaN is equal to itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core import NextframeError


@dataclass(frozen=True)
class Difference:
    """One leaf that is not the same twice.

    `path`: its keys joined by `/`. `what`: how it differs, in words, first side first. `differing` of `values` are not
    equal, the first of them at `first_index` (empty for a single value). `by`: the size of that one, if it is a number.
    """

    path: str
    what: str
    values: int = 1
    differing: int = 1
    first_index: tuple[int, ...] = ()
    by: float | None = None

    def __str__(self) -> str:
        return f"{self.path}, {self.what}"


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf with its path, in order. A leaf is an array, a single value, a list of single values, or empty."""
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from leaves(part, _join(path, str(key)))
    elif isinstance(value, list) and any(isinstance(part, Mapping | list | np.ndarray) for part in value):
        for index, part in enumerate(value):
            yield from leaves(part, _join(path, str(index)))
    else:
        yield path, value


def belongs_to(path: str, part: str) -> bool:
    """Whether the leaf at `path` lies in the part of that name: the name is the path, or leads up to a `/` of it."""
    return path == part or path.startswith(part + "/")


def differences(first: object, second: object) -> list[Difference]:
    """Every leaf that differs, in the order of `first`, then what only `second` has."""
    ours, theirs = dict(leaves(first)), dict(leaves(second))
    found = []
    for path in [*ours, *(path for path in theirs if path not in ours)]:
        if path not in theirs:
            found.append(Difference(path, "is missing the second time"))
        elif path not in ours:
            found.append(Difference(path, "is there only the second time"))
        elif not same(ours[path], theirs[path]):
            found.append(_difference(path, ours[path], theirs[path]))
    return found


def same(first: object, second: object) -> bool:
    """Whether two leaves have the same type, shape and bits. Raises `NextframeError` for arrays of objects."""
    if type(first) is not type(second):
        return False
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        if first.dtype.hasobject or second.dtype.hasobject:
            raise NextframeError("plain data: expected an array of numbers, got one of Python objects; store its parts")
        if first.dtype != second.dtype or first.shape != second.shape:
            return False
        return not _unequal_bytes(first, second).any()
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return struct.pack("<d", first) == struct.pack("<d", second)
    return first == second


def _join(path: str, key: str) -> str:
    return f"{path}/{key}" if path else key


def _unequal_bytes(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.bool_]:
    """`(values, bytes of a value)`: where the bits of two arrays of one dtype and shape differ."""
    raw = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in (first, second)]
    unequal: NDArray[np.bool_] = np.not_equal(*raw)
    return unequal.reshape(-1, first.dtype.itemsize)


def _difference(path: str, first: object, second: object) -> Difference:
    if type(first) is not type(second):
        return Difference(path, f"{type(first).__name__} and {type(second).__name__} instead of one type")
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        if first.dtype != second.dtype or first.shape != second.shape:
            return Difference(path, f"{_kind(first)} and {_kind(second)} instead of one kind of array")
        where = np.flatnonzero(_unequal_bytes(first, second).any(axis=1))
        at = tuple(int(i) for i in np.unravel_index(where[0], first.shape))
        return _counted(path, first.size, len(where), at, (first[at].item(), second[at].item()))
    if isinstance(first, list) and isinstance(second, list):
        return _list_difference(path, first, second)
    by = _distance(first, second)
    return Difference(path, _pair(first, second, by), by=by)


def _list_difference(path: str, first: Sequence[object], second: Sequence[object]) -> Difference:
    if len(first) != len(second):
        return Difference(path, f"{len(first)} and {len(second)} values instead of one length")
    where = [at for at, (ours, theirs) in enumerate(zip(first, second, strict=True)) if not same(ours, theirs)]
    return _counted(path, len(first), len(where), (where[0],), (first[where[0]], second[where[0]]))


def _counted(
    path: str, values: int, differing: int, first_index: tuple[int, ...], pair: tuple[object, object]
) -> Difference:
    by = _distance(*pair)
    noun = "value differs" if differing == 1 else "values differ"
    what = f"{differing} of {values} {noun}, first at {list(first_index)}, {_pair(*pair, by)}"
    return Difference(path, what, values, differing, first_index, by)


def _distance(first: object, second: object) -> float | None:
    numbers = (int, float)
    if isinstance(first, bool) or not isinstance(first, numbers) or not isinstance(second, numbers):
        return None
    return float(abs(second - first))


def _pair(first: object, second: object, by: float | None) -> str:
    return f"{first!r} and {second!r}" if by is None else f"by {by:.3g} ({first!r} and {second!r})"


def _kind(array: NDArray[np.generic]) -> str:
    return f"{array.dtype} {array.shape}"
