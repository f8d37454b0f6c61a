"""Which device to compute on when nobody says."""

from __future__ import annotations

import torch


def best_device() -> str:
    """cuda, else mps, else cpu: the fastest that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
