"""Times on whatever device computes: CUDA events where there are some, the host's clock elsewhere.

An event is put among the launches and read once the work is done, so nothing is waited for while it is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

MIN_RUNS = 3


def wait(device: torch.device) -> None:
    """Until the device has done everything it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Marks:
    """Named moments of one tick on the current stream. `between` may be asked once the device has been waited for."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []
        self._beside: list[Marks] = []

    def mark(self, name: str) -> None:
        """What came since the mark before was `name`."""
        if not self._on_gpu:
            self._marks.append((name, time.perf_counter_ns()))
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append((name, event))

    def join(self, other: Marks) -> None:
        """Moments of another stream: their spans are listed among these."""
        self._beside.append(other)

    def spans_ms(self) -> dict[str, float]:
        """By name, between consecutive marks; the first mark only begins."""
        spans: dict[str, float] = {}
        for (_, earlier), (name, later) in zip(self._marks, self._marks[1:], strict=False):
            spans[name] = spans.get(name, 0.0) + self._ms(earlier, later)
        for other in self._beside:
            spans |= other.spans_ms()
        return spans

    def total_ms(self, last: str) -> float:
        """From the first mark to the mark called `last`."""
        end = next(moment for name, moment in self._marks if name == last)
        return self._ms(self._marks[0][1], end)

    def _ms(self, earlier: Any, later: Any) -> float:
        return float(earlier.elapsed_time(later)) if self._on_gpu else (later - earlier) / 1e6


def summary(numbers: Iterable[float]) -> dict[str, float]:
    """Median and 95th percentile (linear), for milliseconds."""
    values = np.array(list(numbers), np.float64)
    return {"p50": round(float(np.percentile(values, 50)), 4), "p95": round(float(np.percentile(values, 95)), 4)}


def by_name(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Of the same spans over many ticks."""
    return {
        name: summary(row[name] for row in rows if name in row) for name in dict.fromkeys(k for r in rows for k in r)
    }


def seconds_of(work: Callable[[], Any], device: torch.device, budget_s: float) -> float:
    """Mean time of one run, back to back for about `budget_s`; the first, which may allocate, is left out."""
    work()
    wait(device)
    runs, began = 1, time.perf_counter()
    work()
    wait(device)
    once = time.perf_counter() - began
    runs = max(MIN_RUNS, int(budget_s / max(once, 1e-6)))
    began = time.perf_counter()
    for _ in range(runs):
        work()
    wait(device)
    return (time.perf_counter() - began) / runs
