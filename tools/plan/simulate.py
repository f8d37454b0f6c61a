"""A stage pipeline as discrete events: what a layout does, tick by tick.

A tick is a `Cycle` of visits to numbered resources (a device or a link), each of which serves one visit at a time in
the order of arrival. Times are ms.

`formula` says the same in closed form where that can be done; a property test holds the two together.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass

import numpy as np

READY, DONE, SHOWN = -1, -2, -3
EVENTS = 150_000
WARM_TICKS, MOST_TICKS, FEWEST_TICKS = 4, 200, 4


@dataclass(frozen=True)
class Visit:
    """`after_ms`: on the way to the next visit, occupying nothing. `finishes`: the latent is done with it. `shows`:
    the picture is there with it."""

    resource: int
    service_ms: float
    after_ms: float = 0.0
    finishes: bool = False
    shows: bool = False


@dataclass(frozen=True)
class Branch:
    """Work beside the main line, begun when main visit number `after` ends."""

    after: int
    visits: tuple[Visit, ...]


@dataclass(frozen=True)
class Cycle:
    """One tick. The next one of the same session may begin when `main` is done; branches may still be under way."""

    main: tuple[Visit, ...]
    branches: tuple[Branch, ...] = ()

    @property
    def chains(self) -> tuple[tuple[Visit, ...], ...]:
        return (self.main, *(branch.visits for branch in self.branches))


@dataclass(frozen=True)
class Traffic:
    """`groups`: of sessions that tick together in one forward. `in_flight`: cycles whose main line is begun and not
    done, at most. `unshown`: cycles begun whose picture is not there, at most; without this back-pressure a slow
    decoder would be fed faster than it empties, and latency would grow without end.

    Stream-batch: a latent takes `passes` cycles, and `payloads` of the same group are under way at once; else both
    are 1. `period_ms`: a group starts no more often than this; 0 is as fast as it goes.
    """

    groups: int
    in_flight: int
    unshown: int
    passes: int = 1
    payloads: int = 1
    period_ms: float = 0.0


@dataclass(frozen=True)
class Simulated:
    """`latents_per_s`: of all groups together. `latency_ms`: from input read to picture there. `lag_latents`: pictures
    made meanwhile from older input, at most."""

    latents_per_s: float
    latency_mean_ms: float
    latency_p50_ms: float
    latency_max_ms: float
    lag_latents: int


def simulate(cycle: Cycle, traffic: Traffic, ticks: int | None = None) -> Simulated:
    """Run until every payload has shown `ticks` pictures after warming up; as many as are quick when not given."""
    jobs = traffic.groups * traffic.payloads
    if ticks is None:
        per_tick = jobs * (sum(len(chain) for chain in cycle.chains) + 3)
        ticks = max(FEWEST_TICKS, min(MOST_TICKS, EVENTS // per_tick))
    run = _Run(cycle, traffic, ticks + WARM_TICKS + traffic.passes)
    run.until_all_have_shown()
    return run.result()


class _Run:
    def __init__(self, cycle: Cycle, traffic: Traffic, target: int) -> None:
        jobs = traffic.groups * traffic.payloads
        self._cycle, self._traffic, self._target = cycle, traffic, target
        self._warm = WARM_TICKS + traffic.passes
        self._chains = cycle.chains
        self._free: dict[int, float] = {visit.resource: 0.0 for chain in self._chains for visit in chain}
        self._events: list[tuple[float, int, int, int, int]] = []
        self._pushed = 0
        self._waiting: deque[int] = deque()
        self._flying = 0
        self._begun = [0] * jobs
        self._unshown = 0
        self._sampled_ms: list[list[float]] = [[] for _ in range(jobs)]
        self._finishes = [0] * jobs
        self._shown_ms: list[list[float]] = [[] for _ in range(jobs)]
        self._finished_ms: list[list[float]] = [[] for _ in range(traffic.groups)]
        self._spans: list[tuple[int, float, float]] = []
        self._latencies_ms: list[float] = []
        self._complete = 0
        for job in range(jobs):
            self._push(self._release_ms(job), job, READY, 0)

    def until_all_have_shown(self) -> None:
        jobs = len(self._begun)
        while self._complete < jobs:
            time_ms, _, job, chain, index = heapq.heappop(self._events)
            if chain >= 0:
                self._visit(time_ms, job, chain, index)
            elif chain == READY:
                self._waiting.append(job)
                self._admit(time_ms)
            elif chain == DONE:
                self._flying -= 1
                self._push(max(time_ms, self._release_ms(job)), job, READY, 0)
                self._admit(time_ms)
            else:
                self._show(time_ms, job)

    def _push(self, time_ms: float, job: int, chain: int, index: int) -> None:
        self._pushed += 1  # equal times are served in the order they were made
        heapq.heappush(self._events, (time_ms, self._pushed, job, chain, index))

    def _release_ms(self, job: int) -> float:
        """Groups are spread evenly over the period, payloads of a group follow one another."""
        traffic = self._traffic
        group, payload = job % traffic.groups, job // traffic.groups
        turn = self._begun[job] * traffic.payloads + payload
        return (turn + group / traffic.groups) * traffic.period_ms

    def _admit(self, time_ms: float) -> None:
        traffic = self._traffic
        while self._waiting and self._flying < traffic.in_flight and self._unshown < traffic.unshown:
            job = self._waiting.popleft()
            self._flying += 1
            self._begun[job] += 1
            self._unshown += 1
            self._push(time_ms, job, 0, 0)

    def _visit(self, time_ms: float, job: int, chain: int, index: int) -> None:
        visit = self._chains[chain][index]
        start_ms = max(time_ms, self._free[visit.resource])
        end_ms = self._free[visit.resource] = start_ms + visit.service_ms
        if chain == 0 and index == 0:
            self._sampled_ms[job].append(start_ms)  # input is read as late as possible: when the work begins
        if visit.finishes:
            self._finished_ms[job % self._traffic.groups].append(end_ms)
            self._note_span(job, end_ms)
        if visit.shows:
            self._push(end_ms, job, SHOWN, 0)
        after_ms = end_ms + visit.after_ms
        if chain == 0:
            for number, branch in enumerate(self._cycle.branches, 1):
                if branch.after == index:
                    self._push(after_ms, job, number, 0)
        if index + 1 < len(self._chains[chain]):
            self._push(after_ms, job, chain, index + 1)
        elif chain == 0:
            self._push(after_ms, job, DONE, 0)

    def _note_span(self, job: int, end_ms: float) -> None:
        self._finishes[job] += 1
        if self._finishes[job] > self._warm:
            sampled_ms = self._sampled_ms[job][self._finishes[job] - self._traffic.passes]
            self._spans.append((job % self._traffic.groups, sampled_ms, end_ms))

    def _show(self, time_ms: float, job: int) -> None:
        """The picture of a cycle carries the input read `passes - 1` cycles before it."""
        shown = self._shown_ms[job]
        shown.append(time_ms)
        if len(shown) > self._warm:
            self._latencies_ms.append(time_ms - self._sampled_ms[job][len(shown) - self._traffic.passes])
        self._complete += len(shown) == self._target
        self._unshown -= 1
        self._admit(time_ms)

    def result(self) -> Simulated:
        warm = self._warm
        rate = sum((len(shown) - warm) / (shown[-1] - shown[warm - 1]) for shown in self._shown_ms)
        p50, most = np.percentile(self._latencies_ms, (50, 100))
        return Simulated(rate * 1e3, float(np.mean(self._latencies_ms)), float(p50), float(most), self._lag())

    def _lag(self) -> int:
        finished = [np.asarray(times) for times in self._finished_ms]
        lags = [
            int(np.searchsorted(finished[group], end_ms, "left") - np.searchsorted(finished[group], start_ms, "right"))
            for group, start_ms, end_ms in self._spans
        ]
        return max(lags, default=0)
