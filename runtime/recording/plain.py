"""Plain data, as snapshots are: what counts as such, what it weighs, and its two halves, a tree and named arrays.

Plain data is what `nextframe.runtime.core.Snapshot` says: mappings with string keys, lists, numpy arrays, numbers,
strings, booleans, None. It leaves memory as a small msgpack tree and, beside it, arrays by path, little-endian and
row-major. Recordings (`snapshots.py`) and saves (`nextframe.runtime.timeline.save_format`) are two containers of these
halves: they differ in what the tree holds in an array's place and in how the bytes lie in the file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from ..core import NextframeError

ARRAY_EXTENSION = 1
"""In the tree an array is a msgpack extension of this type; its container chooses the content."""
MAX_TREE_BYTES = 512 << 10
"""Small lists unpack to many times their bytes, arrays do not: numbers in bulk belong into arrays."""
MAX_DEPTH = 64
MAX_ARRAYS = 65_536
MAX_DIMENSIONS = 16
MAX_KEY_CHARS = 256
ARRAY_OBJECT_BYTES = 112
FLOATS = ("float16", "float32", "float64")
DTYPES = tuple(
    np.dtype(name).newbyteorder("<") if np.dtype(name).itemsize > 1 else np.dtype(name)
    for name in ("bool", *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")), *FLOATS)
)
"""Of arrays, as they are stored."""
DTYPE_OF = {dtype.name: dtype for dtype in DTYPES}

Placeholder = Callable[[str, NDArray[Any]], bytes]
"""What the tree holds in the place of an array, given its path and the array as it is stored."""


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


def by_path(path: str, array: NDArray[Any]) -> bytes:
    """The placeholder of a container that keeps arrays under their paths."""
    return path.encode("utf-8")


def take_apart(
    value: object, name: str, placeholder: Placeholder = by_path, *, max_tree_bytes: int = MAX_TREE_BYTES
) -> tuple[bytes, dict[str, NDArray[Any]]]:
    """The tree as msgpack, and its arrays by path below `name`, in the tree's order, contiguous and little-endian.

    Raises `PlainDataError` that names the part which is no plain data.
    """
    taking = _Taking(placeholder)
    plain = taking.tree_of(value, name, 0)
    try:
        tree: bytes = msgpack.packb(plain, use_bin_type=True, strict_types=True)
    except (ValueError, OverflowError) as error:  # text that is no Unicode, integers beyond 64 bits
        raise PlainDataError(
            f"{name}: something cannot be stored: expected Unicode text and 64-bit numbers: {error}"
        ) from error
    if len(tree) > max_tree_bytes or len(taking.arrays) > MAX_ARRAYS:
        raise PlainDataError(
            f"{name}: expected at most {max_tree_bytes} bytes beside the arrays and {MAX_ARRAYS} arrays, "
            f"got {len(tree)} and {len(taking.arrays)}; put numbers into arrays, few and large"
        )
    return tree, taking.arrays


def put_together(tree: bytes, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The data that `take_apart` took with paths as placeholders. The arrays are not copied.

    Raises `PlainDataError`, also for an array that has no place in the tree or more than one.
    """
    left = dict(arrays)

    def array(path: bytes) -> NDArray[Any]:
        found = left.pop(path.decode("utf-8"), None)
        if found is None:
            raise PlainDataError(f"expected the path of an array not used before, got {path[:80]!r}")
        return found

    value = from_tree(tree, array)
    if left:
        raise PlainDataError(f"{len(left)} arrays have no place in the tree, among them {next(iter(left))!r}")
    return value


def from_tree(tree: bytes, array: Callable[[bytes], NDArray[Any]], *, max_tree_bytes: int = MAX_TREE_BYTES) -> Any:
    """The data of a tree; `array` is given each placeholder, in the tree's order.

    Raises `PlainDataError` for anything else, before it takes more memory than a tree of the largest size unpacks to;
    errors of `array` that are a ValueError become one.
    """
    if len(tree) > max_tree_bytes:
        raise PlainDataError(f"expected a tree of at most {max_tree_bytes} bytes, got {len(tree)}")

    def extension(kind: int, content: bytes) -> NDArray[Any]:
        if kind != ARRAY_EXTENSION:
            raise PlainDataError(f"expected arrays as extensions of type {ARRAY_EXTENSION}, got type {kind}")
        return array(content)

    try:
        value = msgpack.unpackb(tree, ext_hook=extension, raw=False, strict_map_key=True)
    except (msgpack.UnpackException, TypeError, ValueError) as error:
        raise PlainDataError(f"expected a tree of plain data: {error}") from error
    check_plain(value)
    return value


def check_plain(value: object, name: str = "state") -> None:
    """Raises `PlainDataError` that names the part which is no plain data."""
    _Taking(by_path).tree_of(value, name, 0)


class _Taking:
    """One walk through plain data, checking it; `arrays`: those met so far."""

    def __init__(self, placeholder: Placeholder) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}
        self._placeholder = placeholder

    def tree_of(self, value: Any, path: str, depth: int) -> object:
        """The same in dicts and lists, with each array replaced by its placeholder."""
        if depth > MAX_DEPTH:
            raise PlainDataError(f"{path[:80]}...: expected at most {MAX_DEPTH} levels, got more")
        if isinstance(value, Mapping):
            for key in value:
                if type(key) is not str:
                    raise PlainDataError(f"{path}: expected string keys, got {key!r:.80}")
                if len(key) > MAX_KEY_CHARS:
                    raise PlainDataError(f"{path}: expected keys of up to {MAX_KEY_CHARS} characters, got {key!r:.80}")
            return {key: self.tree_of(part, f"{path}/{key}", depth + 1) for key, part in value.items()}
        if isinstance(value, list):
            return [self.tree_of(part, f"{path}/{index}", depth + 1) for index, part in enumerate(value)]
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise PlainDataError(f"{path}: expected plain data, got {type(value).__name__}; see runtime.core.Snapshot")

    def _array(self, array: NDArray[Any], path: str) -> msgpack.ExtType:
        if array.dtype.name not in DTYPE_OF or array.ndim > MAX_DIMENSIONS:
            raise PlainDataError(f"{path}: expected an array of numbers, got {array.dtype} {array.shape}")
        while path in self.arrays:  # a key that holds a `/` may look like two
            path += "~"
        # `ascontiguousarray` would make one dimension out of none.
        stored = self.arrays[path] = np.asarray(array, dtype=DTYPE_OF[array.dtype.name], order="C")
        return msgpack.ExtType(ARRAY_EXTENSION, self._placeholder(path, stored))
