"""The definitions, written a second time in another way, agree to 1e-9 on a thousand random series.

Nothing here calls numpy's percentile or shares a line with `nextframe.runtime.observe.metrics`: sorting, exact
fractions and plain loops instead. The wrong variants at the end show that the series tell a slip apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from nextframe.runtime.observe import metrics

SERIES = 1_000
PERIOD_NS = 50_000_000
TOLERANCE = 1e-9


def random_times(seed: int) -> list[int]:
    """Frame times in ns: plain, tied, with zeros, with bursts of slow ones, or a single one."""
    rng = np.random.default_rng(seed)
    kind = seed % 5
    length = 1 if kind == 4 else int(rng.integers(2, 400))
    times = rng.lognormal(math.log(2e7), 0.4, length)
    if kind == 1:
        times = np.round(times / 5e6) * 5e6
    if kind == 2:
        times[rng.random(length) < 0.2] = 0
    if kind == 3:
        start = int(rng.integers(0, length))
        times[start : start + 9] *= 20
    return [int(value) for value in times]


ALL_TIMES = [random_times(seed) for seed in range(SERIES)]


def far(value: float | None, reference: float | Fraction | None) -> bool:
    if value is None or reference is None:
        return value is not reference
    return abs(value - float(reference)) > TOLERANCE * max(1e-12, abs(float(reference)))


# --- the second writing ------------------------------------------------------------------------------------------


def percentile(values: Sequence[int], percent: Fraction) -> Fraction | None:
    """Weights on the two neighbours, in exact fractions."""
    if not values:
        return None
    ordered = sorted(values)
    place = percent * (len(ordered) - 1) / 100
    upper = place - math.floor(place)
    return (1 - upper) * ordered[math.floor(place)] + upper * ordered[math.ceil(place)]


def fps(times: Sequence[int]) -> Fraction | None:
    return Fraction(10**9) / Fraction(sum(times), len(times)) if times and sum(times) else None


def low1_p99(times: Sequence[int]) -> Fraction | None:
    slow = percentile(times, Fraction(99))
    return Fraction(10**9) / slow if slow else None


def low1_avg(times: Sequence[int]) -> Fraction | None:
    worst = sorted(times, reverse=True)[: max(len(times) // 100, 1)]
    return Fraction(10**9 * len(worst), sum(worst)) if sum(worst) else None


def hitch(late: Sequence[int], duration: int) -> Fraction | None:
    seconds, late_ms = Fraction(duration, 10**9), Fraction(sum(value for value in late if value > 0), 10**6)
    return late_ms / seconds if seconds > 0 else None


def longest_run(missed: Sequence[bool]) -> int:
    text = "".join("x" if miss else "." for miss in missed)
    return max(len(run) for run in text.split("."))


def most_in(missed: Sequence[bool], window: int) -> int:
    return max((sum(missed[end - window if end > window else 0 : end]) for end in range(len(missed) + 1)), default=0)


def switches(levels: Sequence[int]) -> Fraction | None:
    changed = [before != after for before, after in pairwise(levels)]
    return Fraction(100 * sum(changed), len(levels)) if levels else None


def animation(ticks: Sequence[tuple[int, int, int, bool]], period: int) -> list[Fraction]:
    """`ticks`: (present, paced, frames, continues). Walks frame by frame with two clocks."""
    errors: list[Fraction] = []
    world = shown = Fraction(0)
    for number, (present, paced, frames, continues) in enumerate(ticks):
        for index in range(frames):
            new_world = Fraction(number * period) + Fraction(index * period, frames)
            new_shown = present + (Fraction(index * paced, frames - 1) if index else Fraction(0))
            follows = index > 0 or (number > 0 and continues)
            if follows and new_shown > shown:
                errors.append((new_world - world) - (new_shown - shown))
            world, shown = new_world, new_shown
    return errors


def jitter(intervals: Sequence[int], period: int) -> float | None:
    """The recursion unrolled: each departure weighs 1/16 times (15/16) to the number of those after it."""
    if not intervals:
        return None
    weights = [(15 / 16) ** age / 16 for age in range(len(intervals))]
    return math.fsum(w * abs(value - period) for w, value in zip(weights, reversed(intervals), strict=True))


# --- agreement -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", ["0", "50", "95", "99", "99.9", "100"])
def test_percentiles_agree(percent: str) -> None:
    assert not [t for t in ALL_TIMES if far(metrics.percentile(t, float(percent)), percentile(t, Fraction(percent)))]


@pytest.mark.parametrize(
    ("definition", "reference"),
    [(metrics.fps, fps), (metrics.low1_p99_fps, low1_p99), (metrics.low1_avg_fps, low1_avg)],
)
def test_rates_agree(definition: Callable[..., float | None], reference: Callable[..., Fraction | None]) -> None:
    assert not [times for times in ALL_TIMES if far(definition(times), reference(times))]
    assert far(definition([]), 0.0)


def test_lateness_and_misses_agree() -> None:
    for seed, times in enumerate(ALL_TIMES):
        late = [value - 24_000_000 for value in times]
        missed = [value > 0 for value in late]
        assert not far(metrics.hitch_ms_per_s(late, sum(times)), hitch(late, sum(times)))
        assert metrics.worst_miss_run(missed) == longest_run(missed)
        window = 1 + seed % 120
        assert metrics.most_misses_in(missed, window) == most_in(missed, window)


def test_switches_agree() -> None:
    for times in ALL_TIMES:
        levels = [1 + value % 3 for value in times]
        assert not far(metrics.switches_per_100(levels), switches(levels))


def test_animation_errors_agree() -> None:
    for seed, times in enumerate(ALL_TIMES):
        rng = np.random.default_rng(seed)
        frames = 1 + seed % 3
        presents = np.cumsum(times).tolist()
        paced = [int(rng.integers(0, 2)) * int(rng.integers(1, 10_000_000)) if frames > 1 else 0 for _ in times]
        continues = (rng.random(len(times)) > 0.1).tolist()
        ticks = list(zip(presents, paced, [frames] * len(times), continues, strict=True))
        found = metrics.animation_errors_ns(presents, paced, [frames] * len(times), continues, PERIOD_NS)
        expected = sorted(float(error) for error in animation(ticks, PERIOD_NS))
        # The two clocks are 1e10 ns and a difference may be close to 0, so the tolerance is on the period.
        assert np.allclose(np.sort(found), expected, rtol=TOLERANCE, atol=TOLERANCE * PERIOD_NS), seed


def test_jitter_agrees() -> None:
    assert not [times for times in ALL_TIMES if far(metrics.jitter_ns(times, PERIOD_NS), jitter(times, PERIOD_NS))]


# --- negative controls: slips that the series tell apart ---------------------------------------------------------


def mean_of_rates(times: Sequence[int]) -> float | None:
    return math.fsum(1e9 / value for value in times) / len(times) if all(times) else None


def nearest_rank(times: Sequence[int], percent: float) -> float:
    return float(sorted(times)[max(0, math.ceil(percent / 100 * len(times)) - 1)])


def jitter_of_neighbours(times: Sequence[int]) -> float:
    value = 0.0
    for before, after in pairwise(times):
        value += (abs(after - before) - value) / 16
    return value


def share_told_apart(wrong: Callable[[Sequence[int]], float | None], right: Callable[..., object]) -> float:
    several = [times for times in ALL_TIMES if len(set(times)) > 1]
    return sum(far(wrong(times), right(times)) for times in several) / len(several)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (mean_of_rates, fps),
        (lambda times: nearest_rank(times, 95), lambda times: percentile(times, Fraction(95))),
        (lambda times: nearest_rank(times, 99), lambda times: percentile(times, Fraction(99))),
        (metrics.low1_p99_fps, low1_avg),
        (jitter_of_neighbours, lambda times: jitter(times, PERIOD_NS)),
    ],
)
def test_a_subtly_wrong_definition_is_told_apart(
    wrong: Callable[[Sequence[int]], float | None], right: Callable[..., object]
) -> None:
    assert share_told_apart(wrong, right) > 0.7, "ties hide a slip in some series, not in most"


def test_missing_the_direction_of_an_animation_error_is_told_apart() -> None:
    ticks = [(0, 0, 1, True), (60_000_000, 0, 1, True)]
    (error,) = animation(ticks, PERIOD_NS)
    assert error == -10_000_000
    assert metrics.animation_errors_ns([0, 60_000_000], [0, 0], [1, 1], [1, 1], PERIOD_NS).tolist() == [float(error)]
