"""The same pipeline in closed form: bounds that are exact where nothing waits for anything twice.

A cycle, the resources it visits and the number under way make a closed queueing network; its rate is at most
`in_flight` over the length of an empty cycle, and at most one over the busiest resource (the asymptotic bounds of
Denning and Buzen, 1978). With fixed service times both are reached when every resource is visited once a cycle, because
the network is then a marked graph whose rate is its critical cycle; and when only one cycle is under way. With several
denoise steps the stages are visited again and again, and the order of arrival may cost something: there the formula is
a bound and `simulate` has the number.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .simulate import Cycle, Traffic, Visit


@dataclass(frozen=True)
class Bounds:
    """`latents_per_s`: of all groups, at most. `latency_ms`: without others in the way, at least. `exact`: the rate is
    reached."""

    latents_per_s: float
    latency_ms: float
    exact: bool


def length_ms(visits: tuple[Visit, ...]) -> float:
    return sum(visit.service_ms + visit.after_ms for visit in visits)


def demand_ms(cycle: Cycle) -> dict[int, float]:
    """Busy time of every resource in one cycle."""
    demand: dict[int, float] = {}
    for chain in cycle.chains:
        for visit in chain:
            demand[visit.resource] = demand.get(visit.resource, 0.0) + visit.service_ms
    return demand


def shown_after_ms(cycle: Cycle) -> float:
    """From the beginning of an empty cycle to its picture."""
    starts = [(0.0, cycle.main)]
    starts += [(length_ms(cycle.main[: branch.after + 1]), branch.visits) for branch in cycle.branches]
    for start_ms, chain in starts:
        for index, visit in enumerate(chain):
            if visit.shows:
                return start_ms + length_ms(chain[:index]) + visit.service_ms
    raise AssertionError("a cycle shows no picture")


def bounds(cycle: Cycle, traffic: Traffic) -> Bounds:
    jobs = traffic.groups * traffic.payloads
    under_way = min(traffic.in_flight, jobs)
    empty_ms, busiest_ms = length_ms(cycle.main), max(demand_ms(cycle).values())
    shown_ms = shown_after_ms(cycle)
    rate = min(under_way / empty_ms, 1 / busiest_ms, traffic.unshown / shown_ms)
    if traffic.period_ms > 0:
        rate = min(rate, traffic.groups / traffic.period_ms)
    # From one beginning to the next a payload has done a cycle, and in the steady state all payloads took a turn.
    turn_ms = max(empty_ms, jobs / rate)
    visited = Counter(visit.resource for chain in cycle.chains for visit in chain)
    beside = {visit.resource for branch in cycle.branches for visit in branch.visits}
    alone = under_way == 1 and not beside & {visit.resource for visit in cycle.main}
    return Bounds(
        rate * 1e3,
        shown_ms + (traffic.passes - 1) * turn_ms,
        exact=traffic.period_ms == 0 and (max(visited.values()) == 1 or (alone and _once(cycle, beside))),
    )


def _once(cycle: Cycle, beside: set[int]) -> bool:
    visited = Counter(visit.resource for branch in cycle.branches for visit in branch.visits)
    return all(visited[resource] == 1 for resource in beside)
