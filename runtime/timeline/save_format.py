"""A saved state and its bytes: what a session needs to go on, as one safetensors file.

    file = safetensors: the tensor "tree" (msgpack, see `nextframe.runtime.recording.plain`), every array of the state
           under its path, and in the metadata the format with its version, and the SHA-256 of the file

The digest is that of the whole file with 64 zeros in its place, so one flipped bit anywhere shows. It proves that a
file is whole, not who wrote it; reading a hostile file is safe because nothing in it is executed and sizes are capped.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as tensors_to_bytes

from ..core import Frame, NextframeError, Snapshot, WorldInfo
from ..recording.plain import PlainDataError, put_together, take_apart

FORMAT_NAME = "nextframe.save"
FORMAT_MAJOR, FORMAT_MINOR = 1, 0
"""A reader takes any minor version of its major: keys that it does not know, it ignores."""
MAX_SAVE_BYTES = 1 << 30
MAX_HEADER_BYTES = 8 << 20
MAX_SIDE_PX = 1024  # of a preview
TREE = "tree"
NO_DIGEST = "0" * 64
_HEADER_LENGTH = struct.Struct("<Q")
_FORMAT = re.compile(rb'"format":"' + FORMAT_NAME.encode() + rb'/(\d{1,9})\.(\d{1,9})"')
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')

KindT = TypeVar("KindT")


class SaveError(NextframeError):
    """A saved state that cannot be written, read, or continued here."""


@dataclass(frozen=True)
class SavedState:
    """Everything to continue from. `tick`: ticks played, so the next one to play.

    `prompt`: the one in force, for people to read (the snapshot holds what the world needs). `governor`: its own plain
    data, or None to start it anew. `preview`: `(height, at most 96, 3)` uint8. `created_unix_s`: wall time.
    """

    world: str
    config_sha256: str
    weights_sha256: str
    tick: int
    seed: int
    prompt: str
    snapshot: Snapshot
    governor: Mapping[str, object] | None
    preview: Frame | None
    created_unix_s: float


def misfit(state: SavedState, info: WorldInfo) -> str:
    """Why the state cannot go on in this world, in a sentence; empty if it can."""
    if state.world != info.name:
        return f"expected a save of the world {info.name}, got one of {state.world}"
    for what, saved, here in (
        ("weights", state.weights_sha256, info.weights_sha256),
        ("world file", state.config_sha256, info.config_sha256),
    ):
        if saved != here:
            return f"saved with other {what} (SHA-256 {saved}) than are here ({here}); use those it was saved with"
    return ""


def state_to_bytes(state: SavedState) -> bytes:
    """The file of a saved state. Raises `SaveError` for what a reader would not take."""
    try:
        tree, arrays = take_apart({**vars(state)}, "state")
    except PlainDataError as error:
        raise SaveError(f"save: {error}") from error
    size = len(tree) + sum(array.nbytes for array in arrays.values())
    if size > MAX_SAVE_BYTES - MAX_HEADER_BYTES:
        raise SaveError(f"save: expected at most {MAX_SAVE_BYTES - MAX_HEADER_BYTES} bytes of state, got {size}")
    metadata = {"format": f"{FORMAT_NAME}/{FORMAT_MAJOR}.{FORMAT_MINOR}", "sha256": NO_DIGEST}
    data = tensors_to_bytes({TREE: np.frombuffer(tree, np.uint8), **arrays}, metadata)
    start = _digest_start(data, len(data))
    return b"".join([data[:start], _digest(data, start).encode(), data[start + len(NO_DIGEST) :]])


def state_from_bytes(data: bytes, source: str) -> SavedState:
    """Read the bytes of a file; `source` names it in messages. Raises `SaveError`. Arrays are copies."""
    header_end = _header_end(data, source)
    version = _FORMAT.search(data, _HEADER_LENGTH.size, header_end)
    if version is None:
        raise SaveError(f"{source}: expected a save of nextframe, got something else or a damaged one")
    if int(version[1]) != FORMAT_MAJOR:
        raise SaveError(
            f"{source}: expected format {FORMAT_MAJOR}, got {int(version[1])}.{int(version[2])}: "
            "written by another version of nextframe; load it with that one"
        )
    start = _digest_start(data, header_end)
    if start < 0 or _digest(data, start).encode() != data[start : start + len(NO_DIGEST)]:
        raise SaveError(f"{source}: damaged: its checksum does not fit its content; restore it from a copy")
    try:
        arrays = {name: array.copy() for name, array in tensors_from_bytes(data).items()}
        tree = _tree_of(arrays)
        return _state_of(put_together(tree, arrays))
    except (SafetensorError, KeyError, TypeError, ValueError, PlainDataError) as error:  # dtypes numpy does not have
        raise SaveError(f"{source}: not a saved state that can be read: {error}") from error


def _header_end(data: bytes, source: str) -> int:
    if len(data) < _HEADER_LENGTH.size:
        raise SaveError(f"{source}: expected a save of nextframe, got {len(data)} bytes; restore it from a copy")
    (length,) = _HEADER_LENGTH.unpack_from(data)
    if length > min(MAX_HEADER_BYTES, len(data) - _HEADER_LENGTH.size):
        raise SaveError(f"{source}: damaged: its header is cut off or too long; restore it from a copy")
    return _HEADER_LENGTH.size + int(length)


def _digest_start(data: bytes, end: int) -> int:
    found = _DIGEST.search(data, _HEADER_LENGTH.size, end)
    return -1 if found is None else found.start(1)


def _digest(data: bytes, start: int) -> str:
    """SHA-256 of the file as it was before its digest was put in."""
    digest, view = hashlib.sha256(), memoryview(data)
    for part in (view[:start], NO_DIGEST.encode(), view[start + len(NO_DIGEST) :]):
        digest.update(part)
    return digest.hexdigest()


def _tree_of(arrays: dict[str, NDArray[Any]]) -> bytes:
    tree = arrays.pop(TREE, None)
    if tree is None or tree.dtype != np.uint8:
        raise PlainDataError('expected the tensor "tree" of bytes')
    return tree.tobytes()


def _state_of(tree: object) -> SavedState:
    """Raises `PlainDataError`: a file with a right digest may still have been made by hand."""
    fields = _a_kind(dict, tree, "state")
    governor, preview = fields.get("governor"), fields.get("preview")
    return SavedState(
        world=_a_kind(str, fields.get("world"), "world"),
        config_sha256=_a_kind(str, fields.get("config_sha256"), "config_sha256"),
        weights_sha256=_a_kind(str, fields.get("weights_sha256"), "weights_sha256"),
        tick=_a_number(fields.get("tick"), "tick"),
        seed=_a_number(fields.get("seed"), "seed"),
        prompt=_a_kind(str, fields.get("prompt"), "prompt"),
        snapshot=_a_kind(dict, fields.get("snapshot"), "snapshot"),
        governor=None if governor is None else _a_kind(dict, governor, "governor"),
        preview=None if preview is None else _a_picture(preview),
        created_unix_s=_a_time(fields.get("created_unix_s")),
    )


def _a_kind(kind: type[KindT], value: object, name: str) -> KindT:
    if type(value) is not kind:
        raise PlainDataError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _a_number(value: object, name: str) -> int:
    number = _a_kind(int, value, name)
    if number < 0:
        raise PlainDataError(f"{name}: expected at least 0, got {number}")
    return number


def _a_time(value: object) -> float:
    seconds = _a_kind(float, value, "created_unix_s")
    if not math.isfinite(seconds):
        raise PlainDataError(f"created_unix_s: expected seconds, got {seconds}")
    return seconds


def _a_picture(value: object) -> Frame:
    picture = _a_kind(np.ndarray, value, "preview")
    shape = picture.shape
    if picture.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or not 0 < min(shape) <= max(shape) <= MAX_SIDE_PX:
        raise PlainDataError(f"preview: expected (height, width, 3) uint8, got {picture.dtype} {shape}")
    return picture
