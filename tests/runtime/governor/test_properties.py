"""Laws of the governor under any load, driven through the real loop. Each law is a function that names its breach,
and each has a broken policy that must be caught by the same function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.runtime.core import ManualClock, TickPlan
from nextframe.runtime.governor.adaptive import MISS_WINDOW_TICKS, RAISE_AFTER_TICKS, AdaptiveGovernor, FixedGovernor
from nextframe.runtime.loop import Governor
from nextframe.runtime.tick.record import TickRecord
from nextframe.tools.lab.governor.policies import ours
from nextframe.tools.lab.governor.simulate import MakeGovernor, simulate
from nextframe.tools.lab.governor.traces import CostTrace
from tests.support.doubles import PERIOD_NS

LADDER = (1, 2, 4)
DEADLINE_MS = PERIOD_NS / 1e6
Cost = tuple[float, float, float, float]
"""Of one tick, in ms: head, each denoise step, tail, commit."""


def trace_of(costs: Sequence[Cost]) -> CostTrace:
    heads, steps, tails, commits = zip(*costs, strict=True)
    return CostTrace(
        family="any",
        world="any",
        machine="any",
        ladder=LADDER,
        deadline_ms=DEADLINE_MS,
        fixed_ms=tuple(head + tail for head, tail in zip(heads, tails, strict=True)),
        step_ms=tuple((step,) * LADDER[-1] for step in steps),
        tail_ms=tails,
        commit_ms=commits,
    )


def run(costs: Sequence[Cost], make: MakeGovernor = ours) -> list[TickRecord]:
    return simulate(trace_of(costs), make)


def levels(records: Sequence[TickRecord]) -> list[int]:
    return [record.plan.denoise_steps for record in records]


class Scripted:
    """A broken policy: asks for what it is told, whatever that is."""

    def __init__(self, steps: Callable[[int], int]) -> None:
        self._steps = steps

    def plan(self, tick: int, release_ns: int, deadline_ns: int) -> TickPlan:
        return TickPlan(self._steps(tick), deadline_ns, "scripted")

    def observe(self, record: TickRecord) -> None:
        pass


def scripted(steps: Callable[[int], int]) -> MakeGovernor:
    return lambda trace, clock: Scripted(steps)


ms = st.floats(0, 60, allow_nan=False)
any_cost = st.tuples(ms, st.floats(0, 40), ms, st.floats(0, 30))
stretches = st.lists(st.tuples(any_cost, st.integers(1, 60)), min_size=1, max_size=8)
any_costs = stretches.map(lambda parts: [cost for cost, ticks in parts for _ in range(ticks)])
few = settings(max_examples=40, deadline=None, derandomize=True)


# --- the level stays in range --------------------------------------------------------------------------------


def out_of_range(records: Sequence[TickRecord], rungs: Sequence[int] = LADDER) -> list[int]:
    """Ticks whose plan or outcome is no rung, or whose plan gives no reason."""
    return [
        record.tick
        for record in records
        if record.plan.denoise_steps not in rungs or record.steps_applied not in rungs or not record.plan.reason
    ]


@few
@given(any_costs)
def test_the_level_is_always_on_the_ladder_and_has_a_reason(costs: list[Cost]) -> None:
    assert not out_of_range(run(costs))


@few
@given(any_costs, st.sampled_from([(1, 2), (2, 4), (2, 2), (4, 4), (3, 9)]))
def test_the_level_stays_within_floor_and_ceiling(costs: list[Cost], limits: tuple[int, int]) -> None:
    def make(trace: CostTrace, clock: ManualClock) -> Governor:
        return AdaptiveGovernor(
            trace.ladder, clock, tick_deadline_ns=PERIOD_NS, floor_steps=limits[0], ceiling_steps=limits[1]
        )

    assert not out_of_range(run(costs, make), [rung for rung in LADDER if limits[0] <= rung <= limits[1]])


def test_a_policy_off_the_ladder_is_caught() -> None:
    assert out_of_range(run([(4, 1, 4, 0)] * 3, scripted(lambda tick: 3))) == [0, 1, 2]


# --- no rise within the dwell --------------------------------------------------------------------------------


def rises_within(records: Sequence[TickRecord], dwell_ticks: int) -> list[int]:
    """Ticks that rise sooner than this many ticks after another change."""
    asked = levels(records)
    changes = [tick for tick in range(1, len(asked)) if asked[tick] != asked[tick - 1]]
    return [b for a, b in pairwise(changes) if b - a < dwell_ticks and asked[b] > asked[b - 1]]


@few
@given(any_costs)
def test_the_level_never_rises_within_the_dwell(costs: list[Cost]) -> None:
    assert not rises_within(run(costs), RAISE_AFTER_TICKS)


def test_a_policy_that_flaps_is_caught() -> None:
    flapping = scripted(lambda tick: 4 if tick % 5 else 1)
    assert rises_within(run([(4, 1, 4, 0)] * 8, flapping), RAISE_AFTER_TICKS) == [6]


# --- a step overload is left within two ticks ----------------------------------------------------------------


def misses_of_overload(make: MakeGovernor, calm_ticks: int, overload: Cost) -> list[int]:
    """Ticks missed, counted from where the load jumps to one that the lowest rung fits, and stays there."""
    records = run([(4.0, 1.0, 4.0, 1.0)] * calm_ticks + [overload] * 60, make)
    return [record.tick - calm_ticks for record in records if record.missed]


@st.composite
def bearable(draw: st.DrawFn) -> Cost:
    """Any cost that the lowest rung fits with its commit, with what a plan leaves free."""
    room_ms = 0.94 * DEADLINE_MS
    shares = [draw(st.floats(0, 1)) for _ in range(4)]
    scale = room_ms * draw(st.floats(0.1, 1)) / max(sum(shares), 1e-6)
    head, step, tail, commit = (share * scale for share in shares)
    return head, step, tail, commit


@few
@given(st.integers(0, 100), bearable())
def test_a_step_overload_is_left_within_two_ticks(calm_ticks: int, overload: Cost) -> None:
    missed = misses_of_overload(ours, calm_ticks, overload)
    assert len(missed) <= 2
    assert all(tick < 3 for tick in missed), "and not later either"


def test_a_fixed_quality_does_not_leave_the_overload() -> None:
    fixed = misses_of_overload(lambda trace, clock: FixedGovernor(4), 10, (4, 20, 4, 0))
    assert len(fixed) == 60


# --- a constant load settles ---------------------------------------------------------------------------------


def switches_after(records: Sequence[TickRecord], tick: int) -> int:
    return sum(a != b for a, b in pairwise(levels(records)[tick:]))


@few
@given(any_cost)
def test_a_constant_load_settles_to_zero_switches_after_100_ticks(cost: Cost) -> None:
    assert switches_after(run([cost] * 300), 100) == 0


def test_a_policy_that_never_settles_is_caught() -> None:
    assert switches_after(run([(4, 1, 4, 0)] * 300, scripted(lambda tick: 4 if tick % 50 else 2)), 100) > 0


# --- more load never gives a higher level --------------------------------------------------------------------


def rises_with_load(make: MakeGovernor, light: Sequence[Cost], heavy: Sequence[Cost]) -> bool:
    """Whether the heavier of two loads, tick by tick, ever sees a higher level than the lighter once both settled."""
    settled = 3 * MISS_WINDOW_TICKS
    repeats = (settled + 100) // len(light) + 1
    low, high = (levels(run(list(costs) * repeats, make))[settled:] for costs in (light, heavy))
    return max(high) > max(low)


pattern = st.lists(st.tuples(any_cost, any_cost), min_size=1, max_size=3)


@few
@given(pattern)
def test_more_load_never_settles_on_a_higher_level(pairs: list[tuple[Cost, Cost]]) -> None:
    light = [cost for cost, _ in pairs]
    heavy = [(a + d, b + e, c + f, g + h) for (a, b, c, g), (d, e, f, h) in pairs]
    assert not rises_with_load(ours, light, heavy)


def test_a_policy_that_rises_with_the_load_is_caught() -> None:
    def make(trace: CostTrace, clock: ManualClock) -> Governor:
        return FixedGovernor(4 if trace.fixed_ms[0] > 10 else 1)

    assert rises_with_load(make, [(4, 1, 4, 0)], [(8, 1, 8, 0)])
