"""Permutation tests: how likely a difference would be if inputs did nothing. No distribution is assumed.

The tests are Fisher's (The Design of Experiments, 1935); the largest statistic over many frames as one test is Westfall
and Young's (Resampling-Based Multiple Testing, 1993).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from .evidence import Percentiles

Values = NDArray[np.float64]

MOST_EXACT = 20_000
DRAWS = 4_000


def percentiles(values: list[float]) -> Percentiles | None:
    if not values:
        return None
    p50, p95 = np.percentile(values, [50, 95])
    return Percentiles(float(p50), float(p95))


def groupings(first: int, second: int, rng: np.random.Generator) -> tuple[NDArray[np.bool_], bool]:
    """Ways to put `first + second` things into two groups of these sizes, `(ways, things)`; the first way is the one
    given. All of them where they are few (then True), else a random choice."""
    total = first + second
    if comb(total, first) <= MOST_EXACT:
        return _all_groupings(total, first), True
    order = rng.permuted(np.tile(np.arange(total), (DRAWS, 1)), axis=1)
    chosen = order < first
    chosen[0] = np.arange(total) < first
    return chosen, False


@cache
def _all_groupings(total: int, first: int) -> NDArray[np.bool_]:
    chosen = np.zeros((comb(total, first), total), dtype=bool)
    for row, members in enumerate(combinations(range(total), first)):
        chosen[row, list(members)] = True
    return chosen


def largest_difference(treated: Values, control: Values, rng: np.random.Generator) -> tuple[Values, Values, float]:
    """Is `treated` larger than `control` anywhere along the frames?

    Both `(trials, frames)`. Returns the standardised difference by frame, the share of groupings whose largest value
    over all frames reaches it (a p-value by frame, corrected for looking at many), and the smallest of these.
    """
    both = np.concatenate([treated, control])
    chosen, _ = groupings(len(treated), len(control), rng)
    weights = np.where(chosen, 1 / len(treated), -1 / len(control))
    spread = both.std(axis=0) + 1e-9 + 1e-6 * both.max()
    statistic = (weights @ both) / spread
    largest = statistic.max(axis=1)
    slack = 1e-9  # equal groupings must count as equal whatever the order of their sums
    p_by_frame = (largest[:, None] >= statistic[0][None, :] - slack).mean(axis=0)
    return statistic[0], p_by_frame, float(p_by_frame.min())


def randomisation_test(
    statistic_of: Callable[[Values], Values], given: Values, draw: Callable[[], Values], draws: int
) -> tuple[Values, Values, float]:
    """Does an outcome follow an input that was drawn at random? Exact if the input had no effect at all.

    `statistic_of(input) -> (lags,)` at least 0; `draw()` makes another input by the same lottery. Returns the
    statistic, its p-value by lag corrected for looking at many lags, and the smallest of these.
    """
    found = statistic_of(given)
    null = np.array([statistic_of(draw()).max() for _ in range(draws)])
    p_by_lag = (1 + (null[:, None] >= found[None, :] - 1e-12).sum(axis=0)) / (1 + draws)
    return found, p_by_lag, float(p_by_lag.min())
