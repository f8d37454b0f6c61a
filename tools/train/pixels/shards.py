"""Episodes in shards on disk, read while more of them are being written.

A shard is an `.npz` that is not compressed, with `frames (N, height, width, 3)` uint8, `actions (N, A)` float32 (held
from this frame to the next) and `episodes (N,)`; what else it holds is for measuring and is not read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import NextframeError


class Sequences(NamedTuple):
    """`frames (batch, ticks, height, width, 3)` uint8 and `actions (batch, ticks, A)` float32. `remembered`: frames of
    before, `(batch, slots, height, width, 3)`; `ages (batch, slots)`: how many ticks before the first frame that is not
    given, 0 where there is none."""

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    remembered: NDArray[np.uint8]
    ages: NDArray[np.int64]


@dataclass(frozen=True)
class Memory:
    """Which frames a rolling memory would hold: every `stride`-th, the last `window` of those, and the episode's first,
    held at the window's edge."""

    window: int
    stride: int
    sink: int
    past: int

    def ages(self, before: int, phase: int) -> NDArray[np.int64]:
        """Ages at the first frame that is not given, with `before` frames of the episode before it; 0 for none."""
        ring = 1 + phase + self.stride * np.arange(self.window)
        return np.concatenate([np.full(self.sink, before), np.where(ring <= before, ring, 0)])

    @property
    def reach(self) -> int:
        return self.window * self.stride


@dataclass(frozen=True)
class Shard:
    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    episodes: NDArray[np.int32]

    def begins(self, at: int) -> int:
        """The first frame of the episode that frame `at` is of."""
        return int(np.searchsorted(self.episodes, self.episodes[at]))

    def starts(self, ticks: int) -> NDArray[np.int64]:
        """Where `ticks` frames in a row are of one episode."""
        same = self.episodes[: len(self.episodes) - ticks + 1] == self.episodes[ticks - 1 :]
        return np.flatnonzero(same)


class Sizes(NamedTuple):
    """Of a folder's frames, in pixels, and the numbers of one action."""

    height: int
    width: int
    condition_dim: int


def sizes_of(folder: Path, split: str) -> Sizes:
    """As the first shard has them. NextframeError where there is none."""
    for path in sorted(folder.glob(f"{split}-*.npz")):
        if not path.name.endswith(".part.npz"):
            with np.load(path) as held:
                _, height, width, _ = held["frames"].shape
                return Sizes(height, width, held["actions"].shape[1])
    raise NextframeError(f"{folder}: expected shards named {split}-*.npz, found none; make data first")


class Shards:
    """All shards `<split>-*.npz` of a folder. `refresh` reads those that are new."""

    def __init__(self, folder: Path, split: str, *, ticks: int, memory: Memory) -> None:
        self._folder, self._split, self.ticks, self._memory = folder, split, ticks, memory
        self._read: dict[str, Shard] = {}
        self.refresh()
        if not self._read:
            raise NextframeError(f"{folder}: expected shards named {split}-*.npz, found none; make data first")

    @property
    def frames(self) -> int:
        return sum(len(shard.frames) for shard in self._read.values())

    def refresh(self) -> None:
        for path in sorted(self._folder.glob(f"{self._split}-*.npz")):
            if path.name not in self._read and not path.name.endswith(".part.npz"):
                with np.load(path) as held:
                    self._read[path.name] = Shard(held["frames"], held["actions"], held["episodes"])
        self._places = [(shard, start) for shard in self._read.values() for start in shard.starts(self.ticks).tolist()]

    def draw(self, batch: int, rng: np.random.Generator) -> Sequences:
        places = rng.integers(len(self._places), size=batch).tolist()
        return self.at(places, rng.integers(self._memory.stride, size=batch).tolist())

    def spread(self, batch: int) -> Sequences:
        """The same moments each time, evenly over all there is."""
        return self.at(np.linspace(0, len(self._places) - 1, batch).astype(int).tolist(), [0] * batch)

    def at(self, places: list[int], phases: list[int]) -> Sequences:
        frames, actions, remembered, ages = [], [], [], []
        for (shard, start), phase in zip((self._places[at] for at in places), phases, strict=True):
            cut = slice(start, start + self.ticks)
            coming = start + self._memory.past
            age = self._memory.ages(coming - shard.begins(start), phase)
            frames.append(shard.frames[cut])
            actions.append(shard.actions[cut])
            remembered.append(shard.frames[coming - age] * (age > 0)[:, None, None, None])
            ages.append(np.minimum(age, self._memory.reach))
        return Sequences(np.stack(frames), np.stack(actions), np.stack(remembered), np.stack(ages))
