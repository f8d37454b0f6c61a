"""Saved games: named slots on disk, `<folder>/<world>/<slot>.nfs`.

A slot is written so that a crash leaves the old file or the new one. What is inside:
`nextframe.runtime.timeline.save_format`.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core import Frame, World, WorldInfo
from .save_format import MAX_SAVE_BYTES, SavedState, SaveError, misfit, state_from_bytes, state_to_bytes

SUFFIX = ".nfs"
PREVIEW_WIDTH_PX = 96
_SLOT = re.compile(r"[A-Za-z0-9_-](?:[A-Za-z0-9._ -]{0,62}[A-Za-z0-9_-])?")
_WORLD = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class SlotInfo:
    """One slot as listed. `problem` says why it cannot be loaded, and is empty if it can; then the rest is known."""

    slot: str
    path: Path
    bytes: int
    created_unix_s: float
    problem: str = ""
    tick: int = 0
    seed: int = 0
    prompt: str = ""
    preview: Frame | None = None


def default_folder(environment: Mapping[str, str] | None = None) -> Path:
    """`nextframe/saves` below the user's data folder (XDG Base Directory Specification; a relative one is ignored).

    A user without a home, such as in a container whose user id is in no passwd, saves below the current folder, where
    a session's other files go.
    """
    data = (os.environ if environment is None else environment).get("XDG_DATA_HOME", "")
    if os.path.isabs(data):
        return Path(data) / "nextframe" / "saves"
    try:
        return Path.home() / ".local" / "share" / "nextframe" / "saves"
    except RuntimeError:
        return Path("out") / "saves"


def saved_state(
    world: World,
    *,
    tick: int,
    seed: int,
    frame: Frame | None = None,
    governor: Mapping[str, object] | None = None,
) -> SavedState:
    """The world as it is now, between two ticks. `frame`: the one on screen, for the preview."""
    info = world.info
    return SavedState(
        world=info.name,
        config_sha256=info.config_sha256,
        weights_sha256=info.weights_sha256,
        tick=tick,
        seed=seed,
        prompt=world.prompt,
        snapshot=world.snapshot(),
        governor=governor,
        preview=None if frame is None else preview_of(frame),
        created_unix_s=time.time(),
    )


def preview_of(frame: Frame) -> Frame:
    """The frame at most 96 px wide: each pixel the mean of a square of whole pixels."""
    side = -(-frame.shape[1] // PREVIEW_WIDTH_PX)
    height, width = (max(1, length // side) for length in frame.shape[:2])
    squares = frame[: height * side, : width * side].reshape(height, -1, width, min(side, frame.shape[1]), 3)
    return squares.mean(axis=(1, 3)).round().astype(np.uint8)


# --- slots ---------------------------------------------------------------------------------------------------------


def save_slot(folder: Path, slot: str, state: SavedState) -> Path:
    """Write the slot, whole or not at all; one of the same name is replaced. Raises `SaveError`."""
    path = slot_path(folder, state.world, slot)
    data = state_to_bytes(state)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(path, data)
    except OSError as error:
        raise SaveError(f"{path}: could not be written: {error.strerror or error}; check space and rights") from error
    return path


def load_slot(folder: Path, slot: str, info: WorldInfo) -> SavedState:
    """Read the slot and check that it belongs to this world, its configuration and its weights. Raises `SaveError`."""
    path = slot_path(folder, info.name, slot)
    if not path.exists():
        names = [found.slot for found in list_slots(folder, info.name)]
        there = ", ".join(names[:12]) or "none"
        raise SaveError(f"{path}: no such save; saves of {info.name} there: {there}")
    state = read_state(path)
    problem = misfit(state, info)
    if problem:
        raise SaveError(f"{path}: {problem}")
    return state


def list_slots(folder: Path, world: str, info: WorldInfo | None = None) -> list[SlotInfo]:
    """The world's slots, newest first. Never raises for what lies there: damage becomes a slot's `problem`.

    With `info`, a slot that was made with other weights or another configuration has that as its problem.
    """
    _checked(_WORLD, world, "world name", "a-z, 0-9 and _, beginning with a letter")
    try:
        names = [name for name in os.listdir(folder / world) if _is_slot(name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SaveError(f"{folder / world}: could not be listed: {error.strerror or error}") from error
    found = [_slot_info(folder / world / name, info) for name in names]
    return sorted(found, key=lambda one: (-one.created_unix_s, one.slot))


def delete_slot(folder: Path, world: str, slot: str) -> None:
    """Raises `SaveError` if there is no such slot, or it cannot be deleted."""
    path = slot_path(folder, world, slot)
    try:
        path.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        raise SaveError(f"{path}: could not be deleted: {error.strerror or error}") from error


def slot_path(folder: Path, world: str, slot: str) -> Path:
    """Where a slot is kept. Raises `SaveError` for a name that could lead anywhere else."""
    _checked(_WORLD, world, "world name", "a-z, 0-9 and _, beginning with a letter")
    _checked(_SLOT, slot, "slot name", "A-Z, a-z, 0-9, '.', '_', '-' and blanks, with no dot or blank at its ends")
    return folder / world / f"{slot}{SUFFIX}"


# --- files ---------------------------------------------------------------------------------------------------------


def read_state(path: Path) -> SavedState:
    """Read one file. Raises `SaveError`; never reads more than 1 GiB, and nothing but a regular file."""
    try:
        # Without O_NONBLOCK, opening a pipe in its place would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_SAVE_BYTES:
                raise SaveError(f"{path}: expected a file of at most {MAX_SAVE_BYTES} bytes, got something else")
            data = file.read(MAX_SAVE_BYTES + 1)
    except OSError as error:
        raise SaveError(f"{path}: could not be read: {error.strerror or error}") from error
    return state_from_bytes(data, str(path))


def _checked(pattern: re.Pattern[str], name: str, what: str, allowed: str) -> None:
    if not pattern.fullmatch(name):
        raise SaveError(f"{what}: expected 1 to 64 characters of {allowed}, got {name[:80]!r}")


def _is_slot(file_name: str) -> bool:
    return file_name.endswith(SUFFIX) and _SLOT.fullmatch(file_name.removesuffix(SUFFIX)) is not None


def _slot_info(path: Path, info: WorldInfo | None) -> SlotInfo:
    slot = path.name.removesuffix(SUFFIX)
    try:
        status = os.stat(path)
    except OSError as error:
        return SlotInfo(slot, path, 0, 0.0, f"could not be read: {error.strerror or error}")
    try:
        state = read_state(path)
    except SaveError as error:
        return SlotInfo(slot, path, status.st_size, status.st_mtime, str(error).removeprefix(f"{path}: "))
    return SlotInfo(
        slot=slot,
        path=path,
        bytes=status.st_size,
        created_unix_s=state.created_unix_s,
        problem="" if info is None else misfit(state, info),
        tick=state.tick,
        seed=state.seed,
        prompt=state.prompt,
        preview=state.preview,
    )


def _write_whole(path: Path, data: bytes) -> None:
    """A power cut leaves the old file or the new one: the content is on the disk before the name leads to it."""
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    replaced = False
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(part, path)
        replaced = True
    finally:
        if not replaced:
            os.unlink(part)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # not where folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
