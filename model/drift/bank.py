"""The drift bank: what the latents of real sessions look like, in numbers, and as a file.

The bands, the clips to go back to, and their checks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..base.checkpoint import CheckpointError, load_tensors

Array: TypeAlias = NDArray[np.float32]
Wide: TypeAlias = NDArray[np.float64]

STATISTICS = ("mean", "spread", "change")


@dataclass(frozen=True)
class DriftBank:
    """What real sessions look like.

    `low`, `high`: bands, `(moods, 3, latent_dim)`, in the order of `STATISTICS`. `clips`: real latents,
    `(moods, clips, ticks, latent_dim)`. `groups`: words in each prompt group. `scene_dim`: the first channels, which
    follow the prompt; the others do not. `window_ticks`: time constant of forgetting, and how long a statistic gathers
    before it is judged. `settle_ticks`: how long the scene is left alone after the prompt changed. `alarm_score`: what
    real sessions that the bands never saw stay below.
    """

    low: Array
    high: Array
    clips: Array
    groups: tuple[int, ...]
    scene_dim: int
    window_ticks: int
    settle_ticks: int
    alarm_score: float

    def __post_init__(self) -> None:
        moods, statistics, dim = self.low.shape
        if moods != math.prod(self.groups) or statistics != len(STATISTICS):
            expected = (math.prod(self.groups), len(STATISTICS))
            raise ValueError(f"drift bank: expected bands of (moods, statistics) {expected}, got {self.low.shape[:2]}")
        if self.high.shape != self.low.shape or self.clips.shape[0] != moods or self.clips.shape[-1] != dim:
            got = (self.high.shape, self.clips.shape)
            raise ValueError(f"drift bank: bands and clips do not fit together: {self.low.shape} and {got}")
        if not (self.high > self.low).all():
            raise ValueError("drift bank: expected every band's high above its low")

    @property
    def latent_dim(self) -> int:
        return int(self.low.shape[2])

    def mood_of(self, condition: Array) -> int:
        """The mood a condition asks for, `(condition_dim,)`: its one-hot groups read as digits."""
        at, mood = len(condition) - sum(self.groups), 0
        for words in self.groups:
            mood = mood * words + int(condition[at : at + words].argmax())
            at += words
        return mood


def save_bank(bank: DriftBank) -> dict[str, torch.Tensor]:
    """The bank as tensors for a safetensors file; `load_bank` reads them."""
    numbers = [bank.scene_dim, bank.window_ticks, bank.settle_ticks, *bank.groups]
    arrays = {name: torch.from_numpy(getattr(bank, name)).contiguous() for name in ("low", "high", "clips")}
    return {**arrays, "numbers": torch.tensor(numbers), "alarm_score": torch.tensor([bank.alarm_score])}


def load_bank(path: Path) -> DriftBank:
    """Raises `CheckpointError` for a file that is missing, damaged or no bank."""
    stored = load_tensors(path)
    missing = {"low", "high", "clips", "numbers", "alarm_score"} - stored.keys()
    if missing:
        raise CheckpointError(f"{path}: expected a drift bank, {sorted(missing)} missing; make it again")
    scene_dim, window_ticks, settle_ticks, *groups = stored["numbers"].tolist()
    low, high, clips = (stored[name].numpy() for name in ("low", "high", "clips"))
    try:
        return DriftBank(
            low, high, clips, tuple(groups), scene_dim, window_ticks, settle_ticks, float(stored["alarm_score"][0])
        )
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; make it again") from error


def quantile_bands(samples: Sequence[Wide], floor: Wide) -> tuple[Array, Array]:
    """The band of each statistic over samples `(n, 3, latent_dim)`: 1 % to 99 %, widened to at least `floor` on both
    sides of its middle. `floor`: `(3, latent_dim)`, what the eye would not see."""
    low, high = np.quantile(np.concatenate(list(samples)), [0.01, 0.99], axis=0)
    middle = (low + high) / 2
    low, high = np.minimum(low, middle - floor), np.maximum(high, middle + floor)
    low[1:] = np.maximum(low[1:], 0.0)
    return low.astype(np.float32), high.astype(np.float32)
