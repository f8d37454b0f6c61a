"""What a layout on all its replicas would do: rates, latency, memory, sessions.

In closed form (`estimated`) and by simulation (`predicted`). Chooses nothing (`planner`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from .formula import Bounds, bounds
from .hardware import Device
from .layout import Layout, cycle_of, memory_bytes, traffic_of
from .profile import Link, Profile
from .simulate import Cycle, Simulated, Traffic, simulate

MAX_SESSIONS = 1_000_000
SLACK = 1e-6


class Goal(StrEnum):
    LATENCY = "latency"
    THROUGHPUT = "throughput"
    SESSIONS = "sessions"


@dataclass(frozen=True)
class Request:
    """`frame_hz`: pictures a second that each session needs. `lossy`: stream-batch may be chosen too."""

    profile: Profile
    devices: tuple[Device, ...]
    link: Link
    sessions: int = 1
    goal: Goal = Goal.LATENCY
    frame_hz: float | None = None
    max_latency_ms: float | None = None
    lossy: bool = False


@dataclass(frozen=True)
class Plan:
    """A layout on all replicas. Rates are pictures a second; `fps_session` is the slowest session's.

    `latency_ms`: input read to picture there, the worst replica's median; `latency_max_ms`: its longest.
    `fresh_ms`: what an input that just missed its tick waits at most: one tick more. `memory_bytes`: of the fullest
    device, and `memory_share` of what it has. `sessions_at_rate`: how many sessions keep the rate asked for.
    """

    layouts: tuple[Layout, ...]
    fps_session: float
    fps_total: float
    latency_ms: float
    latency_max_ms: float
    fresh_ms: float
    lag_latents: int
    memory_bytes: int
    memory_share: float
    sessions_at_rate: int | None
    simulated: bool

    @property
    def replicas(self) -> int:
        return len(self.layouts)

    @property
    def devices(self) -> int:
        return sum(len(layout.devices) for layout in self.layouts)

    @property
    def shape(self) -> Layout:
        return self.layouts[0]

    @property
    def sessions(self) -> int:
        return sum(layout.sessions for layout in self.layouts)


def short_bytes(profile: Profile, layouts: Sequence[Layout]) -> int:
    shortest = -inf
    for layout in dict.fromkeys(layouts):
        need = memory_bytes(profile, layout)
        shortest = max(shortest, *(n - device.memory_bytes for n, device in zip(need, layout.devices, strict=True)))
    return int(shortest)


def _work(request: Request, layout: Layout) -> tuple[Cycle, Traffic, Bounds]:
    cycle = cycle_of(request.profile, layout, request.link)
    traffic = traffic_of(request.profile, layout, cycle)
    return cycle, traffic, bounds(cycle, traffic)


def estimated(request: Request, layouts: tuple[Layout, ...]) -> Plan:
    """In closed form; lag and waiting are those of a pipeline in step."""
    outcomes = {}
    for layout in dict.fromkeys(layouts):
        _, traffic, bound = _work(request, layout)
        lag = traffic.passes * traffic.payloads - 1
        waited_ms = bound.latency_ms
        if traffic.passes == 1 and layout.mode == "pipeline":
            waited_ms = max(waited_ms, min(traffic.in_flight, layout.groups) / bound.latents_per_s * 1e3)
        outcomes[layout] = Simulated(bound.latents_per_s, waited_ms, waited_ms, waited_ms, lag)
    return _plan(request, layouts, outcomes, simulated=False)


def predicted(request: Request, layouts: tuple[Layout, ...]) -> Plan:
    """By simulation."""
    outcomes = {}
    for layout in dict.fromkeys(layouts):
        cycle, traffic, _ = _work(request, layout)
        outcomes[layout] = _simulated(cycle, traffic)
    return _plan(request, layouts, outcomes, simulated=True)


def _simulated(cycle: Cycle, traffic: Traffic) -> Simulated:
    """Groups that wait outside for their turn change nothing inside: a few of them stand for all, and the rate is the
    same. `tests/tools/plan/test_planner.py` holds that against all of them."""
    if traffic.payloads > 1 or traffic.passes > 1:
        return simulate(cycle, traffic)
    return simulate(cycle, replace(traffic, groups=min(traffic.groups, 4 * traffic.in_flight + 8)))


def _plan(
    request: Request, layouts: tuple[Layout, ...], outcomes: Mapping[Layout, Simulated], *, simulated: bool
) -> Plan:
    profile = request.profile
    per_group = {layout: outcomes[layout].latents_per_s / layout.groups for layout in outcomes}
    slowest = min(per_group.values())
    fps_total = sum(profile.frames_per_latent * per_group[layout] * layout.sessions for layout in layouts)
    need = [
        (size, size / device.memory_bytes)
        for layout in outcomes
        for size, device in zip(memory_bytes(profile, layout), layout.devices, strict=True)
    ]
    worst = max(outcomes.values(), key=lambda outcome: outcome.latency_p50_ms)
    longest_ms = max(outcome.latency_max_ms for outcome in outcomes.values())
    frame_hz = request.frame_hz or profile.frame_hz
    at_rate = (
        None if frame_hz is None else sum(_keeps(request, layout, outcomes[layout], frame_hz) for layout in layouts)
    )
    return Plan(
        layouts=layouts,
        fps_session=profile.frames_per_latent * slowest,
        fps_total=fps_total,
        latency_ms=worst.latency_p50_ms,
        latency_max_ms=longest_ms,
        fresh_ms=longest_ms + 1e3 / slowest,
        lag_latents=max(outcome.lag_latents for outcome in outcomes.values()),
        memory_bytes=max(size for size, _ in need),
        memory_share=max(share for _, share in need),
        sessions_at_rate=at_rate,
        simulated=simulated,
    )


def _keeps(request: Request, layout: Layout, outcome: Simulated, frame_hz: float) -> int:
    """How many sessions this replica serves at `frame_hz`, in forwards as wide as these, within its memory."""
    ticks_per_s = frame_hz / request.profile.frames_per_latent
    _, _, alone = _work(request, replace(layout, sessions=layout.rows))
    if alone.latents_per_s < ticks_per_s * (1 - SLACK):
        return 0  # not even with the replica to themselves: filling stages with others makes none faster
    by_time = int(outcome.latents_per_s / ticks_per_s + SLACK) * layout.rows
    return max(0, min(by_time, fitting(request.profile, layout)))


def fitting(profile: Profile, layout: Layout) -> int:
    """How many sessions' memory this replica can hold."""
    none = memory_bytes(profile, replace(layout, sessions=0))
    one = memory_bytes(profile, replace(layout, sessions=1))
    rooms = [
        (device.memory_bytes - empty) // (full - empty)
        for empty, full, device in zip(none, one, layout.devices, strict=True)
        if full > empty
    ]
    return min(rooms, default=MAX_SESSIONS)
