"""Plain data, as snapshots are: what counts as such, what it weighs, and its two halves, a tree and named arrays.

Owns the rule of `nextframe.runtime.core.Snapshot` (mappings with string keys, lists, numpy arrays, numbers, strings,
booleans, None) and the form in which plain data leaves memory: a small msgpack tree, and arrays by name beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from ..core import NextframeError

ARRAY_EXTENSION = 1
"""In the tree an array is a msgpack extension of this type that holds its name."""
MAX_TREE_BYTES = 512 << 10
"""Small lists unpack to many times their bytes, arrays do not: numbers in bulk belong into arrays."""
MAX_DEPTH = 64
MAX_ARRAYS = 65_536
MAX_DIMENSIONS = 16
MAX_KEY_CHARS = 256
ARRAY_OBJECT_BYTES = 112
DTYPES = frozenset(
    ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")
)


class PlainDataError(NextframeError):
    """Something is no plain data, or the bytes are not the tree of any."""


def held_bytes(value: object) -> int:
    """About how much memory plain data holds, containers included. Shared small objects count each time."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes) + ARRAY_OBJECT_BYTES
    total = sys.getsizeof(value)
    if isinstance(value, Mapping):
        return total + sum(map(held_bytes, value.values()))
    return total + sum(map(held_bytes, value)) if isinstance(value, list) else total


def take_apart(value: object, name: str) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """The tree as msgpack, and its arrays by path below `name`, contiguous and little-endian.

    Raises `PlainDataError` that names the part which is no plain data.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        tree: bytes = msgpack.packb(_to_tree(value, name, arrays, 0), use_bin_type=True, strict_types=True)
    except (ValueError, OverflowError) as error:  # text that is no Unicode, integers beyond 64 bits
        raise PlainDataError(f"{name}: expected text and 64-bit numbers, got something else: {error}") from error
    if len(tree) > MAX_TREE_BYTES or len(arrays) > MAX_ARRAYS:
        raise PlainDataError(
            f"{name}: expected at most {MAX_TREE_BYTES} bytes beside the arrays and {MAX_ARRAYS} arrays, "
            f"got {len(tree)} and {len(arrays)}; put numbers into fewer, larger arrays"
        )
    return tree, arrays


def put_together(tree: bytes, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The data that `take_apart` took. The arrays are not copied, and each must have its one place.

    Raises `PlainDataError` for anything else, before it takes more memory than a tree of the largest size unpacks to.
    """
    if len(tree) > MAX_TREE_BYTES:
        raise PlainDataError(f"expected a tree of at most {MAX_TREE_BYTES} bytes, got {len(tree)}")
    left = dict(arrays)

    def array(kind: int, name: bytes) -> NDArray[Any]:
        found = left.pop(name.decode("utf-8"), None) if kind == ARRAY_EXTENSION else None
        if found is None:
            raise PlainDataError(f"expected the name of an array not used before, got {name[:80]!r} of type {kind}")
        return found

    try:
        value = msgpack.unpackb(tree, ext_hook=array, raw=False, strict_map_key=True)
    except (msgpack.UnpackException, ValueError) as error:
        raise PlainDataError(f"expected a tree of plain data: {error}") from error
    if left:
        raise PlainDataError(f"{len(left)} arrays have no place in the tree, among them {next(iter(left))!r}")
    check_plain(value)
    return value


def check_plain(value: object, name: str = "state") -> None:
    """Raises `PlainDataError` that names the part which is no plain data."""
    _to_tree(value, name, {}, 0)


def _to_tree(value: Any, path: str, arrays: dict[str, NDArray[Any]], depth: int) -> object:
    """The same in dicts and lists, with each array replaced by its name."""
    if depth > MAX_DEPTH:
        raise PlainDataError(f"{path[:80]}...: expected at most {MAX_DEPTH} levels, got more")
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str or len(key) > MAX_KEY_CHARS:
                raise PlainDataError(f"{path}: expected keys of up to {MAX_KEY_CHARS} characters, got {key!r:.80}")
        return {key: _to_tree(part, f"{path}/{key}", arrays, depth + 1) for key, part in value.items()}
    if isinstance(value, list):
        return [_to_tree(part, f"{path}/{index}", arrays, depth + 1) for index, part in enumerate(value)]
    if isinstance(value, np.ndarray):
        return _named(value, path, arrays)
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise PlainDataError(f"{path}: expected plain data (see runtime.core.Snapshot), got {type(value).__name__}")


def _named(array: NDArray[Any], path: str, arrays: dict[str, NDArray[Any]]) -> msgpack.ExtType:
    if array.dtype.name not in DTYPES or array.ndim > MAX_DIMENSIONS:
        raise PlainDataError(f"{path}: expected an array of numbers, got {array.dtype} {array.shape}")
    while path in arrays:  # a key that holds a `/` may look like two
        path += "~"
    little = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
    # `ascontiguousarray` would make one dimension out of none.
    arrays[path] = np.asarray(array, dtype=little, order="C")
    return msgpack.ExtType(ARRAY_EXTENSION, path.encode("utf-8"))
