"""Changing one value of plain data: what a test does to a snapshot to see whether the check notices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


def at_path(data: Any, path: str) -> Any:
    """What is at `path`: keys joined by `/`, indices in lists, as `nextframe.runtime.recording.compare` writes them."""
    for key in path.split("/"):
        data = data[key] if isinstance(data, Mapping) else data[int(key)]
    return data


def with_leaf(data: Any, path: str, leaf: object) -> Any:
    """A copy of the containers of `data` with another leaf at `path`; it need not have been there."""
    key, _, rest = path.partition("/")
    if not path:
        return leaf
    if isinstance(data, Mapping):
        return {**data, key: with_leaf(data.get(key), rest, leaf)}
    return [with_leaf(part, rest, leaf) if index == int(key) else part for index, part in enumerate(data)]


def without(data: Any, path: str) -> Any:
    """A copy of the containers of `data` in which the mapping that holds `path` lacks its last key."""
    key, _, rest = path.partition("/")
    if isinstance(data, Mapping):
        return {name: without(part, rest) if rest and name == key else part
                for name, part in data.items() if rest or name != key}  # fmt: skip
    return [without(part, rest) if index == int(key) else part for index, part in enumerate(data)]


def flipped(leaf: object, vocabulary: Sequence[str] = ()) -> Iterator[object]:
    """The leaf with one value changed: the first, one in the middle, the last. Words change within the vocabulary."""
    if isinstance(leaf, np.ndarray):
        for at in _places(leaf.size):
            changed = leaf.copy()
            changed.flat[at] = flipped_value(leaf.flat[at].item(), vocabulary)
            yield changed
    elif isinstance(leaf, list):
        for at in _places(len(leaf)):
            yield [*leaf[:at], flipped_value(leaf[at], vocabulary), *leaf[at + 1 :]]
    elif leaf is not None:
        yield flipped_value(leaf, vocabulary)


def flipped_value(value: Any, vocabulary: Sequence[str] = ()) -> Any:
    """Something else of the same type. Bytes of a picture stay bytes: 255 becomes 0."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        at = vocabulary.index(value) if value in vocabulary else None
        return f"{value}~" if at is None else vocabulary[(at + 1) % len(vocabulary)]
    if isinstance(value, int):
        return 0 if value == 255 else value + 1
    return value + 1.0


def _places(size: int) -> list[int]:
    return sorted({0, size // 2, size - 1}) if size else []
