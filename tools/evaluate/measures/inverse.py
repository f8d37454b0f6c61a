"""The inverse-dynamics network: from pictures around a tick to what the player did in it. A judge, if it is good.

It is trained on real pairs and examined on real ones that it has not seen. After VPT (Baker et al. 2022) and MineWorld
(2025), who measure action following so; abstaining where it is not sure is ours: a car that stands still shows nothing
of its wheel, and no reader can be asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....runtime.core import Action
from ....worlds.evaluation.players import Key
from .eye import Clip

Numbers: TypeAlias = NDArray[np.float64]

NEEDED_ACCURACY = 0.95
"""Below this on real held-out pairs, with both answers weighing the same, it may not judge a key."""
NEEDED_CORRELATION = 0.95
SURE = 0.9
NEEDED_COVERAGE = 0.25
"""A judge that is hardly ever sure says nothing about the rest."""
FEWEST = 12
"""Of each answer, among those it is sure of."""
DOWN, UP = 0.6, 0.2
"""A key is down from 0.6 of its way on, and up below 0.2; what lies between is neither and not asked."""


@dataclass(frozen=True)
class Labels:
    """`keys`: `(clips, keys)`, 1 down, 0 up, NaN neither. `axes`: `(clips, axes)` in -1..1."""

    keys: Numbers
    axes: Numbers


def labels_of(actions: Sequence[Action], keys: Sequence[Key], axes: Sequence[str]) -> Labels:
    held = np.array([[key.held(action) for key in keys] for action in actions]).reshape(len(actions), len(keys))
    down = np.where(held >= DOWN, 1.0, np.where(held <= UP, 0.0, np.nan))
    return Labels(down, np.array([[a.axis(axis) for axis in axes] for a in actions]).reshape(len(actions), len(axes)))


@dataclass(frozen=True)
class Readings:
    """What the network says: `down (clips, keys)` probabilities; `level`, `spread (clips, axes)`: mean and its own
    estimate of its error."""

    down: Numbers
    level: Numbers
    spread: Numbers


class InverseDynamics(nn.Module):
    """A few convolutions on the stacked pictures and on how they differ."""

    def __init__(self, keys: int, axes: int, width: int = 32) -> None:
        super().__init__()
        self.keys, self.axes = keys, axes
        self.features = nn.Sequential(
            nn.Conv2d(18, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(8), nn.Flatten(),
            nn.Linear(2 * width * 64, 128), nn.ReLU(), nn.Dropout(0.2),
        )  # fmt: skip
        self.heads = nn.Linear(128, keys + 2 * axes)

    def forward(self, clips: Tensor) -> Tensor:
        """`(n, 12, side, side)` uint8 to `(n, keys + 2 axes)`: logits, means, log variances."""
        x = clips.float().div(127.5).sub(1)
        a, b, c, d = x.chunk(4, 1)
        stacked = torch.cat([b, c, d, 4 * (c - b), 4 * (d - c), 4 * ((c - b) - (b - a))], 1)
        return self.heads(self.features(stacked))


def train(clips: Clip, labels: Labels, *, epochs: int, width: int = 32, seed: int = 0) -> InverseDynamics:
    """A network fitted to real pairs. Deterministic for one number of threads."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = InverseDynamics(labels.keys.shape[1], labels.axes.shape[1], width)
        data = torch.from_numpy(clips)
        keys, axes = (torch.from_numpy(part).float() for part in (labels.keys, labels.axes))
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
        batch = min(64, max(16, len(data) // 20), len(data))
        total = epochs * max(1, len(data) // batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=total)
        weight = _balance(keys)
        for _ in range(epochs):
            order = torch.randperm(len(data))
            for at in order[: len(data) // batch * batch].split(batch):
                loss = _loss(net, data[at], keys[at], axes[at], weight)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        return net.eval()


def _balance(keys: Tensor) -> Tensor:
    """The weight of a key that is down against one that is up, so that rare keys count: at most 10."""
    down = keys.nanmean(0).clamp(0.01, 0.99)
    return ((1 - down) / down).clamp(0.1, 10.0)


def _loss(net: InverseDynamics, clips: Tensor, keys: Tensor, axes: Tensor, weight: Tensor) -> Tensor:
    said = net(clips)
    logits, mean, log_variance = said.split([net.keys, net.axes, net.axes], 1)
    asked = ~keys.isnan()
    entropy = F.binary_cross_entropy_with_logits(logits, keys.nan_to_num(), pos_weight=weight, reduction="none")
    loss = (entropy * asked).sum() / asked.sum().clamp(min=1)
    if net.axes:
        log_variance = log_variance.clamp(-6, 2)
        loss = loss + 0.5 * (log_variance + (mean - axes).square() / log_variance.exp()).mean()
    return loss


@torch.inference_mode()
def read(net: InverseDynamics, clips: Clip) -> Readings:
    parts = [net(part) for part in torch.from_numpy(clips).split(256)]
    logits, mean, log_variance = torch.cat(parts).double().split([net.keys, net.axes, net.axes], 1)
    spread = (0.5 * log_variance.clamp(-6, 2)).exp()
    return Readings(logits.sigmoid().numpy(), mean.numpy(), spread.numpy())


# --- how well it reads --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeyScore:
    """Of one key, over the clips where the reader was sure. `coverage`: how many of the asked ones these are.

    `accuracy` is balanced: the mean of how many downs and how many ups were read right. None where there are too few.
    """

    accuracy: float | None
    f1: float | None
    coverage: float
    clips: int

    @property
    def may_judge(self) -> bool:
        return self.accuracy is not None and self.accuracy >= NEEDED_ACCURACY and self.coverage >= NEEDED_COVERAGE


def key_score(down: Numbers, truth: Numbers) -> KeyScore:
    """`down`: probabilities. `truth`: 1, 0, or NaN where it is not asked. Both `(clips,)`."""
    asked = ~np.isnan(truth)
    sure = asked & ((down >= SURE) | (down <= 1 - SURE))
    said, true = down[sure] > 0.5, truth[sure] > 0.5
    coverage = float(sure.sum() / max(asked.sum(), 1))
    if min(true.sum(), (~true).sum()) < FEWEST:
        return KeyScore(None, None, coverage, int(sure.sum()))
    right = (said & true).sum()
    accuracy = float(right / true.sum() + (~said & ~true).sum() / (~true).sum()) / 2
    f1 = float(2 * right / max(said.sum() + true.sum(), 1))
    return KeyScore(accuracy, f1, coverage, int(sure.sum()))


@dataclass(frozen=True)
class AxisScore:
    """Of one axis: read = gain * commanded + bias, over the clips where the reader expects a small error."""

    gain: float | None
    correlation: float | None
    coverage: float
    clips: int

    @property
    def may_judge(self) -> bool:
        good = self.correlation is not None and self.correlation >= NEEDED_CORRELATION
        return good and self.coverage >= NEEDED_COVERAGE


SURE_SPREAD = 0.3


def axis_score(level: Numbers, spread: Numbers, truth: Numbers) -> AxisScore:
    sure = spread <= SURE_SPREAD
    read_level, true = level[sure], truth[sure]
    coverage = float(sure.mean()) if len(sure) else 0.0
    if sure.sum() < 2 * FEWEST or true.std() < 1e-6:
        return AxisScore(None, None, coverage, int(sure.sum()))
    gain = float(np.cov(true, read_level, bias=True)[0, 1] / true.var())
    correlation = float(np.corrcoef(true, read_level)[0, 1]) if read_level.std() > 1e-9 else 0.0
    return AxisScore(gain, correlation, coverage, int(sure.sum()))
