"""Noise by address: the same (seed, tick, denoise step, stream) gives the same numbers, on any device, in any order.

Counter-based (Philox 4x64, Salmon et al. 2011, numpy's implementation); nothing is consumed, so nothing can drift.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

STREAM_SAMPLER = 0


def normal(
    shape: tuple[int, ...], *, seed: int, tick: int, denoise_step: int = 0, stream: int = STREAM_SAMPLER
) -> Tensor:
    """Standard normal float32 noise of `shape` for this address, on the CPU."""
    key = np.array([seed & (2**64 - 1), (stream << 32) | denoise_step], np.uint64)
    counter = np.array([0, 0, tick, 0], np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
    return torch.from_numpy(generator.standard_normal(shape, dtype=np.float32))
