"""The one form that data takes, wherever it came from: frames, the action that led into each, and where episodes end.

Owns the shards on disk (written whole or not at all, so a killed run loses at most one), the split into training and
held-out episodes, and the refusals for data from which nothing can be learned.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import ActionSpace, NextframeError
from .controls import Controls

SHARD = "shard-*.npz"
MIN_FRAMES = 400
MIN_CHANGED_SHARE = 0.02
STILL_LEVELS = 0.02
"""Mean change of a whole frame, in grey levels of 255, below which nothing happened."""


@dataclass(frozen=True)
class Clips:
    """`frames`: `(n, height, width, 3)` uint8. `conditions`: `(n, condition_dim)`, of the action that led *into* a
    frame; zeros for the first of an episode. `starts`: the first frame of each episode, ascending, the first is 0.
    """

    frames: NDArray[np.uint8]
    conditions: NDArray[np.float32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.frames)

    def episodes(self) -> list[tuple[int, int]]:
        """First frame of each, and the first after it."""
        ends = [*self.starts[1:].tolist(), len(self.frames)]
        return list(zip(self.starts.tolist(), ends, strict=True))

    def windows(self, ticks: int) -> NDArray[np.int64]:
        """Where a run of so many frames may begin without leaving its episode."""
        parts = [np.arange(a, b - ticks + 1) for a, b in self.episodes() if b - a >= ticks]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def picked(self, episodes: Sequence[tuple[int, int]]) -> Clips:
        index = np.concatenate([np.arange(a, b) for a, b in episodes])
        lengths = [b - a for a, b in episodes]
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        return Clips(self.frames[index], self.conditions[index], starts)


@dataclass(frozen=True)
class Source:
    """What a data set is, beside the clips. `origin`: for the model card, a sentence."""

    controls: Controls
    tick_hz: Fraction
    origin: str
    licence: str


# --- disk ---------------------------------------------------------------------------------------------------------


def save_shard(path: Path, clips: Clips) -> None:
    """Whole or not at all."""
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        np.savez(file, frames=clips.frames, conditions=clips.conditions, starts=clips.starts)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load_shard(path: Path) -> Clips:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            return Clips(stored["frames"], stored["conditions"], stored["starts"])
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise NextframeError(f"{path}: expected a shard of training data: {error}; delete it and go on") from error


def load_clips(folder: Path) -> Clips:
    """All shards of a folder as one, in the order of their names."""
    return joined([load_shard(path) for path in sorted(folder.glob(SHARD))])


def joined(parts: Sequence[Clips]) -> Clips:
    if not parts:
        raise NextframeError("expected some training data, got none: no episode was finished; give a larger --budget")
    offsets = np.cumsum([0, *(len(part) for part in parts)])
    return Clips(
        np.concatenate([part.frames for part in parts]),
        np.concatenate([part.conditions for part in parts]),
        np.concatenate([part.starts + at for part, at in zip(parts, offsets, strict=False)]),
    )


def save_source(folder: Path, source: Source) -> None:
    controls = asdict(source.controls)
    controls["space"]["prompts"] = {k: list(v) for k, v in source.controls.space.prompts.items()}
    document = {**asdict(source), "controls": controls, "tick_hz": str(source.tick_hz)}
    part = folder / "source.json.part"
    part.write_text(json.dumps(document, indent=1), encoding="utf-8")
    os.replace(part, folder / "source.json")


def load_source(folder: Path) -> Source:
    document: dict[str, Any] = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    stored, space = document["controls"], document["controls"]["space"]
    prompts = {k: tuple(v) for k, v in space["prompts"].items()}
    plain: dict[str, Any] = {
        name: _tuples(value) for name, value in stored.items() if name not in {"space", "descriptions"}
    }
    controls = Controls(
        **plain, space=ActionSpace(tuple(space["buttons"]), tuple(space["axes"]), prompts),
        descriptions=stored["descriptions"],
    )  # fmt: skip
    return Source(controls, Fraction(document["tick_hz"]), document["origin"], document["licence"])


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


# --- split --------------------------------------------------------------------------------------------------------


def split(clips: Clips, *, share: float = 0.06, piece: int = 240) -> tuple[Clips, Clips]:
    """Training and held-out episodes, drawn once and for all; long episodes are cut first where there are few.

    Held out are `share` of the frames, or 600 of them if that is more, but never a fifth.
    """
    episodes = clips.episodes()
    if len(episodes) < 16:
        piece = max(40, min(piece, len(clips) // 16))
        episodes = [(at, min(at + piece, b)) for a, b in episodes for at in range(a, b, piece)]
    wanted, held_frames = min(max(share * len(clips), 600), 0.2 * len(clips)), 0
    held: set[tuple[int, int]] = set()
    for at in np.random.default_rng(3).permutation(len(episodes)):
        if held_frames >= wanted or len(held) + 1 == len(episodes):
            break
        held.add(episodes[at])
        held_frames += episodes[at][1] - episodes[at][0]
    return clips.picked([e for e in episodes if e not in held]), clips.picked([e for e in episodes if e in held])


# --- refusals -----------------------------------------------------------------------------------------------------


def check_clips(clips: Clips, names: Sequence[str], *, context: int) -> None:
    """Raise `NextframeError` with the reason where nothing can be learned. `context`: frames that a lesson needs."""
    usable = len(clips.windows(context))
    if len(clips) < MIN_FRAMES or usable < MIN_FRAMES // 2:
        raise NextframeError(
            f"too little data: expected at least {MIN_FRAMES} frames and {MIN_FRAMES // 2} runs of {context} in one "
            f"episode, got {len(clips)} and {usable}; give a larger --budget, or longer episodes"
        )
    inner = np.ones(len(clips), bool)
    inner[clips.starts] = False
    varied = (np.ptp(clips.conditions[inner], axis=0) > 0) if inner.any() else np.zeros(len(names), bool)
    if not varied.any():
        raise NextframeError(
            f"the actions never change: {', '.join(names) or 'no control'} had one value in all {len(clips)} frames; "
            "a world learned from that would ignore its player; record play in which every control is used"
        )
    changed = np.array(list(frame_changes(clips.frames, np.flatnonzero(inner))))
    if (changed > STILL_LEVELS).mean() < MIN_CHANGED_SHARE:
        raise NextframeError(
            f"the picture is constant: {100 * (changed > STILL_LEVELS).mean():.1f} % of frames differ from the one "
            "before; check that the environment renders what happens, and the size of its frames"
        )


def frame_changes(frames: NDArray[np.uint8], index: NDArray[np.int64], most: int = 4000) -> Iterator[float]:
    """Mean absolute change since the frame before, in grey levels, for some of the frames."""
    for at in index[:: max(1, len(index) // most)]:
        yield float(np.abs(frames[at].astype(np.int16) - frames[at - 1]).mean())


def unused(clips: Clips, names: Sequence[str]) -> list[str]:
    """Controls that never moved: a player will find them dead."""
    return [name for name, column in zip(names, clips.conditions.T, strict=True) if np.ptp(column) == 0]


def condition_names(space: ActionSpace) -> list[str]:
    """A name for each number of a condition, in its order."""
    return [*space.axes, *space.buttons, *(word for words in space.prompts.values() for word in words)]


# --- frames -------------------------------------------------------------------------------------------------------


class Resizer:
    """Frames of any size to `(height_px, width_px)` by averaging areas (repeating where it must enlarge)."""

    def __init__(self, height_px: int, width_px: int) -> None:
        self._size = (height_px, width_px)
        self._weights: dict[tuple[int, int], NDArray[np.float32]] = {}

    def __call__(self, frame: NDArray[Any]) -> NDArray[np.uint8]:
        image = np.asarray(frame)
        image = image[..., None].repeat(3, -1) if image.ndim == 2 else image
        image = image.repeat(3, -1) if image.shape[-1] == 1 else image[..., :3]
        if image.shape[:2] == self._size:
            return np.ascontiguousarray(image, dtype=np.uint8)
        rows, columns = (self._axis(a, b) for a, b in zip(image.shape[:2], self._size, strict=True))
        height, width = image.shape[:2]
        lines = (rows @ image.reshape(height, -1).astype(np.float32)).reshape(self._size[0], width, 3)
        small = np.einsum("xw,hwc->hxc", columns, lines, optimize=True)
        return np.ascontiguousarray(np.rint(small).clip(0, 255).astype(np.uint8))

    def _axis(self, have: int, want: int) -> NDArray[np.float32]:
        """How much each of `have` pixels is worth in each of `want`, `(want, have)`."""
        if (have, want) not in self._weights:
            edges = np.linspace(0, have, want + 1)
            pixels = np.arange(have)
            overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
            weight = overlap.clip(min=0)
            self._weights[have, want] = (weight / weight.sum(1, keepdims=True)).astype(np.float32)
        return self._weights[have, want]


def as_clips(episodes: Iterable[Mapping[str, Any]]) -> Clips:
    """From episodes of `frames` and `conditions` lists."""
    return joined([
        Clips(np.stack(e["frames"]), np.stack(e["conditions"]).astype(np.float32), np.zeros(1, np.int64))
        for e in episodes
        if len(e["frames"])
    ])  # fmt: skip
