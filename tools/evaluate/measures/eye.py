"""What the inverse-dynamics network is shown: four pictures around a tick, from one place.

The window is a patch around the player and turned with it where the subject says where that is, else the whole picture
made small. The place is that of the tick before, for all four pictures, so what moves or turns stays visible.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....worlds.evaluation.subjects import Frames, Poses, Subject

Clip: TypeAlias = NDArray[np.uint8]
"""`(rows, 12, side, side)`: the pictures two ticks before, before, at and after a tick, channels first."""
PICTURES = 4
PATCH_PX = 32
WHOLE_PX = 48


class Eye:
    """Follows a subject tick by tick; from the fourth picture on `look` gives a clip about the tick before this one."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._frames: deque[Frames] = deque(maxlen=PICTURES)
        self._poses: deque[Poses | None] = deque(maxlen=PICTURES)

    def look(self) -> Clip | None:
        """Take in what is shown now; None until there are four pictures."""
        self._frames.append(self._subject.frames())
        self._poses.append(self._subject.poses())
        if len(self._frames) < PICTURES:
            return None
        pose = self._poses[1]
        parts = [patches(frame, pose) if pose is not None else small(frame) for frame in self._frames]
        return np.concatenate(parts, 1)


def patches(frames: Frames, poses: Poses) -> NDArray[np.uint8]:
    """`(rows, 3, 32, 32)`: a pixel a pixel around each pose, its angle to the right; black beyond the edge."""
    height, width = frames.shape[1:3]
    at = np.arange(PATCH_PX) - (PATCH_PX - 1) / 2
    along, across = np.meshgrid(at, at)
    x, y, angle = (poses[:, k, None, None] for k in range(3))
    columns = x + along * np.cos(angle) - across * np.sin(angle)
    lines = y + along * np.sin(angle) + across * np.cos(angle)
    grid = np.stack([2 * columns / (width - 1) - 1, 2 * lines / (height - 1) - 1], -1).astype(np.float32)
    images = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float()
    return _bytes(F.grid_sample(images, torch.from_numpy(grid), align_corners=True))


def small(frames: Frames) -> NDArray[np.uint8]:
    """`(rows, 3, 48, 48)`: the whole picture, by area."""
    images = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float()
    if images.shape[-2:] != (WHOLE_PX, WHOLE_PX):
        images = F.interpolate(images, size=(WHOLE_PX, WHOLE_PX), mode="area")
    return _bytes(images)


def _bytes(images: torch.Tensor) -> NDArray[np.uint8]:
    return np.asarray(images.round().clamp(0, 255).byte().numpy())
