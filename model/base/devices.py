"""Which device to compute on when nobody says, and small constants that stay there."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def best_device() -> str:
    """cuda, else mps, else cpu: the fastest that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """`values` as float32, made once per device and then kept: nobody may write to it.

    Making it anew would copy from the host each time, which takes a moment and is forbidden while a graph is captured.
    """
    if torch.compiler.is_compiling():  # a compiled program keeps its constants itself
        return torch.tensor(values, device=device)
    return _kept(values, device)


@lru_cache(maxsize=256)
def _kept(values: tuple[float, ...], device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # training may need it, too
        return torch.tensor(values, device=device)
