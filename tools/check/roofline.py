"""How much of this machine's arithmetic a world's denoising uses: the share of a measured matrix product.

A denoise step's floating-point operations are counted by torch as they run (matrix products and attention). The
yardstick is a large matrix product in the same process, precision and number of threads, measured beside it. A small
network far below it is bound by the cost of starting each operation and by reading its weights, not by arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ...runtime.core import Action, TickPlan, World
from ...runtime.observe import metrics

MATRIX = 1024
YARDSTICK_S = 0.4


def roofline(world: World, denoise_ms_by_steps: dict[int, float]) -> dict[str, float]:
    """`denoise_ms_by_steps`: median time of the denoise stage at two rungs at least.

    Returns `step_mflop`, `step_ms` (the slope between lowest and highest rung), `achieved_gflops`, `matmul_gflops`
    and `share`.
    """
    low, high = min(denoise_ms_by_steps), max(denoise_ms_by_steps)
    flop = (_tick_flop(world, high) - _tick_flop(world, low)) / (high - low)
    step_ms = (denoise_ms_by_steps[high] - denoise_ms_by_steps[low]) / (high - low)
    achieved, yardstick = flop / step_ms / 1e6, matmul_gflops()
    return {
        "step_mflop": flop / 1e6,
        "step_ms": step_ms,
        "achieved_gflops": achieved,
        "matmul_gflops": yardstick,
        "share": achieved / yardstick,
    }


def _tick_flop(world: World, steps: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    before = world.snapshot()
    with FlopCounterMode(display=False) as counter:
        world.advance(Action(), TickPlan(steps, deadline_ns=0)).commit()
    world.restore(before)
    return int(counter.get_total_flops())


def matmul_gflops() -> float:
    """float32, `MATRIX` cubed, on the threads that the network has: the median of what fits in a moment."""
    import torch

    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    return 2 * MATRIX**3 / _median_s(lambda: torch.mm(a, b)) / 1e9


def _median_s(work: Callable[[], Any]) -> float:
    taken: list[float] = []
    work()
    end_s = time.perf_counter() + YARDSTICK_S
    while time.perf_counter() < end_s or len(taken) < 3:
        began_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began_s)
    median = metrics.percentile(taken, 50)
    assert median is not None
    return median
