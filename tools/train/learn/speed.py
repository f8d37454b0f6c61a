"""How fast training is: frames seen a second, and the share of what a matrix product reaches on this machine.

The yardstick is a large matrix product on the device and in the precision that training uses, measured as in
`nextframe.runtime.observe.roofline`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

MATRIX = 1024
YARDSTICK_S = 0.3


@dataclass
class Speed:
    """`frames_per_step`: of a batch. `flop_per_step`: of matrix products and attention, forward and backward, all
    passes. `matrix_flops`: of the yardstick, operations a second."""

    frames_per_step: int
    flop_per_step: float
    matrix_flops: float
    _steps: int = field(default=0, repr=False)
    _taken_s: float = field(default=0.0, repr=False)

    def add(self, taken_s: float) -> None:
        """One more step took so long."""
        self._steps += 1
        self._taken_s += taken_s

    @property
    def frames_per_s(self) -> float:
        return self._steps * self.frames_per_step / self._taken_s if self._taken_s else 0.0

    @property
    def flop_per_frame(self) -> float:
        return self.flop_per_step / self.frames_per_step

    @property
    def share(self) -> float:
        """Of the yardstick; 0 before the first step."""
        return self._steps * self.flop_per_step / self._taken_s / self.matrix_flops if self._taken_s else 0.0

    def words(self) -> str:
        return f"{self.frames_per_s:.0f} frames/s, {100 * self.share:.0f} % of the matrix rate"


def count_flop(work: Callable[[], object]) -> float:
    """Floating-point operations of matrix products and attention in `work`, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def matrix_flops(device: str, dtype: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of a product of `MATRIX` cubed: the fastest of what fits in a moment, because whatever else
    the machine does only ever makes one slower."""
    a, b = (torch.randn(MATRIX, MATRIX, device=device).to(dtype) for _ in range(2))
    taken: list[float] = []
    _timed(a, b)
    end_s = time.perf_counter() + YARDSTICK_S
    while time.perf_counter() < end_s or len(taken) < 3:
        taken.append(_timed(a, b))
    return 2 * MATRIX**3 / min(taken)


def _timed(a: torch.Tensor, b: torch.Tensor) -> float:
    began_s = time.perf_counter()
    torch.mm(a, b)
    if a.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began_s
