"""Finds layouts and recommends one.

Every layout that could be meant is looked at in closed form, which takes microseconds; the few that are shown are
simulated (`predict`). Printing is `words`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .formula import demand_ms
from .hardware import Device
from .layout import Layout, Mode, balanced, cycle_of
from .predict import MAX_SESSIONS, SLACK, Goal, Plan, Request, estimated, fitting, predicted, short_bytes
from .profile import PlanError, Profile

STAGE_COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 20, 24, 30, 32, 40, 48, 64)
SHOWN = 8
MOST_TRIES = 24


@dataclass(frozen=True)
class Answer:
    """`met`: the recommended plan keeps every limit asked for. `alone`: one session on the first device, or why not."""

    request: Request
    plans: tuple[Plan, ...]
    recommended: Plan
    met: bool
    alone: Plan | None
    alone_short_bytes: int


def answer(request: Request) -> Answer:
    """Raises `PlanError` where nothing fits, saying by how much."""
    if not 1 <= request.sessions <= MAX_SESSIONS:
        raise PlanError(f"--sessions: expected 1 to {MAX_SESSIONS}, got {request.sessions}")
    if request.goal is Goal.SESSIONS and request.frame_hz is None:
        raise PlanError("--goal sessions: counts the sessions that keep a rate; say which with --fps")
    if request.lossy and request.profile.history != "same_level":
        raise PlanError(
            f"--lossy: stream-batch needs a generator trained with history of the same noise level; "
            f"{request.profile.name} has {request.profile.history} history"
        )
    found = [plan for plan, short in candidates(request) if short <= 0]
    if not found:
        raise PlanError(_too_big(request))
    ranked = sorted(found, key=_order(request))
    shown = [predicted(request, plan.layouts) for plan in _varied(ranked)]
    if request.goal is Goal.SESSIONS:
        shown = [_as_many_as_keep_the_rate(request, plan) for plan in shown]
        shown = [plan for plan in shown if plan.sessions_at_rate] or shown[:1]
    shown = sorted({_kind_of(plan): plan for plan in reversed(shown)}.values(), key=_order(request))
    alone, short = _alone(request)
    return Answer(request, tuple(shown), shown[0], meets(request, shown[0]), alone, short)


def _kind_of(plan: Plan) -> tuple[object, ...]:
    """Plans alike in this are one line of the table."""
    shape = plan.shape
    return shape.mode, shape.intervals, shape.own_decoder, plan.replicas, shape.rows, plan.sessions


def meets(request: Request, plan: Plan) -> bool:
    return _missing(request, plan) <= SLACK and plan.sessions >= request.sessions


def _as_many_as_keep_the_rate(request: Request, plan: Plan) -> Plan:
    """The plan with the most sessions that it serves at the rate asked for; as it was if it can serve none. What the
    closed form promises is an upper bound, so it is tried and lowered until the simulation agrees."""
    assert request.frame_hz is not None, "checked with the request"
    many = min(request.sessions, _bound_at_rate(request, plan.layouts))
    for _ in range(MOST_TRIES):
        if many < 1:
            break
        tried = predicted(replace(request, sessions=many), _spread(replace(request, sessions=many), plan.layouts))
        if tried.fps_session >= request.frame_hz * (1 - SLACK):
            return replace(tried, sessions_at_rate=tried.sessions)
        many = min(many - 1, int(many * tried.fps_session / request.frame_hz))
    return replace(plan, sessions_at_rate=0)


def _bound_at_rate(request: Request, layouts: Sequence[Layout]) -> int:
    return estimated(request, tuple(layouts)).sessions_at_rate or 0


def _missing(request: Request, plan: Plan) -> float:
    """By what factor limits are missed, summed; 0 when all are kept."""
    missing = 0.0
    if request.frame_hz is not None:
        missing += max(0.0, request.frame_hz / plan.fps_session - 1)
    if request.max_latency_ms is not None:
        missing += max(0.0, plan.latency_max_ms / request.max_latency_ms - 1)
    return missing


def _order(request: Request) -> Callable[[Plan], tuple[float, ...]]:
    """Limits first, then the goal; where figures agree to three digits, what is fresher and simpler."""

    def near(value: float) -> float:
        return float(f"{value:.3g}")

    def key(plan: Plan) -> tuple[float, ...]:
        simple = (plan.lag_latents, plan.devices, plan.shape.stages)
        if request.goal is Goal.LATENCY:
            wanted: tuple[float, ...] = (near(plan.latency_ms), -near(plan.fps_session))
        elif request.goal is Goal.THROUGHPUT:
            wanted = (-near(plan.fps_total), near(plan.latency_ms))
        else:
            late = request.max_latency_ms is not None and plan.latency_max_ms > request.max_latency_ms
            return (late, -near(plan.sessions_at_rate or 0), near(plan.latency_ms), *simple)
        missing = _missing(request, plan)
        return (near(missing) if missing > SLACK else 0.0, *wanted, *simple)

    return key


def _varied(ranked: Sequence[Plan]) -> list[Plan]:
    """The best, then the best of each other kind, so that the table shows the choices and not one choice eight times;
    always with the best that leaves fewest devices used."""
    kinds: dict[tuple[Mode, int, bool], Plan] = {}
    for plan in ranked:
        kinds.setdefault((plan.shape.mode, plan.shape.stages, plan.shape.own_decoder), plan)
    chosen = list(ranked[:3])
    for plan in sorted(kinds.values(), key=ranked.index):
        if len(chosen) < SHOWN and plan not in chosen:
            chosen.append(plan)
    return chosen


def candidates(request: Request) -> Iterator[tuple[Plan, int]]:
    """Every plan, in closed form, with the bytes by which its fullest device is short (0 or less: it fits)."""
    for mode, size, own_decoder in _shapes(request):
        groups = [request.devices[at : at + size] for at in range(0, len(request.devices) - size + 1, size)]
        for replicas in sorted({len(groups), min(len(groups), request.sessions)}):
            for rows in _row_counts(request, -(-request.sessions // replicas)):
                split = {g: balanced(request.profile, mode, g, own_decoder, rows) for g in dict.fromkeys(groups)}
                layouts = _spread(request, [split[group] for group in groups[:replicas]])
                if mode == "pipeline" and all(layout.groups == 1 for layout in layouts):
                    continue  # with a single group there is no other group to fill the stages with
                if mode == "stream-batch" and all(_is_a_pipeline(request.profile, layout) for layout in layouts):
                    continue
                if request.goal is Goal.SESSIONS:
                    layouts = tuple(_that_fit(request.profile, layout) for layout in layouts)
                yield estimated(request, layouts), short_bytes(request.profile, layouts)


def _is_a_pipeline(profile: Profile, layout: Layout) -> bool:
    """One denoise step and a group for every stage: no two frames of a session are under way at once."""
    return profile.denoise_steps == 1 and layout.groups >= layout.stages


def _shapes(request: Request) -> Iterator[tuple[Mode, int, bool]]:
    """Mode, devices of a replica, and whether the last of them only decodes."""
    for stages in STAGE_COUNTS:
        if stages > min(len(request.devices), request.profile.layers):
            return
        yield "serial", stages, False
        if stages > 1 and request.sessions > 1:
            yield "pipeline", stages, False
        if request.lossy and (stages > 1 or request.profile.denoise_steps > 1):
            yield "stream-batch", stages, False
        if stages < len(request.devices):
            yield "overlapped", stages + 1, True
            if stages > 1 and request.sessions > 1:
                yield "pipeline", stages + 1, True
            if request.lossy:
                yield "stream-batch", stages + 1, True


def _row_counts(request: Request, sessions: int) -> list[int]:
    """1, 2, 4 and so on, up to all sessions at once; never more than costs are known for."""
    most = min(sessions, request.profile.max_rows)
    return [*(1 << power for power in range(most.bit_length()) if 1 << power < most), most]


def _spread(request: Request, layouts: Sequence[Layout]) -> tuple[Layout, ...]:
    """Sessions over replicas in proportion to what each can do; the remainder to those with most to give."""
    rates: dict[tuple[Device, ...], float] = {}
    for layout in layouts:
        if layout.devices not in rates:
            rates[layout.devices] = 1 / max(demand_ms(cycle_of(request.profile, layout, request.link)).values())
    total = sum(rates[layout.devices] for layout in layouts)
    exact = [request.sessions * rates[layout.devices] / total for layout in layouts]
    counts = [int(share) for share in exact]
    for at in sorted(range(len(layouts)), key=lambda at: counts[at] - exact[at])[: request.sessions - sum(counts)]:
        counts[at] += 1
    return tuple(
        replace(layout, sessions=count, rows=min(layout.rows, count))
        for layout, count in zip(layouts, counts, strict=True)
        if count
    )


def _that_fit(profile: Profile, layout: Layout) -> Layout:
    most = max(1, min(layout.sessions, fitting(profile, layout)))
    return replace(layout, sessions=most, rows=min(layout.rows, most))


def _alone(request: Request) -> tuple[Plan | None, int]:
    """One session on the first device, serially: what everything else is compared with."""
    layouts = (balanced(request.profile, "serial", request.devices[:1], False, 1),)
    short = short_bytes(request.profile, layouts)
    return (predicted(replace(request, sessions=1), layouts), 0) if short <= 0 else (None, short)


def _too_big(request: Request) -> str:
    short, plan = min(((short, plan) for plan, short in candidates(request)), key=lambda pair: pair[0])
    layout = plan.shape
    return (
        f"{request.profile.name} does not fit with --sessions {request.sessions}: the best of all layouts "
        f"(stages: {layout.stages}, replicas: {plan.replicas}) is {short / 1e9:.2f} GB short on its fullest device, "
        f"which needs {plan.memory_bytes / 1e9:.2f} GB; take more devices, fewer sessions or larger memories"
    )
