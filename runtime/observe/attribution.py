"""Which part of a missed tick was too much: from measured times to the name of a cause.

The time from release to picture is cut into parts, and each part is compared with what it usually is; denoise per
step, so a tick with more steps is not called slow for it. What is then too much is explained by what the machine is
known to have done (collector, page faults, waiting for a core) before it is laid on a stage. The part that is most
too much is the cause, if it makes up at least half of the lateness. A tick whose usual cost leaves no room before the
deadline is the fault of the part that costs most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..tick.record import TickRecord

CAUSES = (
    *("condition", "denoise", "decode", "present"),
    *("queue", "gc", "allocation", "clock_gap", "external", "unknown"),
)
STAGE_PARTS = ("condition", "denoise", "decode", "present")
EXPLAINED = 0.5
"""Share of the lateness that a cause must make up."""
ROOM = 0.95
"""A usual cost above this share of the deadline leaves no room: then the cost itself is at fault."""
BURST_FAULTS, BURST_TIMES_USUAL = 64, 4
"""Page faults that count as an allocation: a quarter of a MiB, and far above usual."""


class Parts(NamedTuple):
    """Where a tick's time went, in ns, and what the machine counted meanwhile. `other`: in none of the stages."""

    queue: float = 0
    wake: float = 0
    condition: float = 0
    denoise: float = 0
    denoise_per_step: float = 0
    decode: float = 0
    present: float = 0
    other: float = 0
    gc: float = 0
    run_delay: float = 0
    off_core: float = 0
    system: float = 0
    minor_faults: float = 0
    major_faults: float = 0
    preemptions: float = 0


def parts_of(record: TickRecord) -> Parts:
    """The parts of one tick. A late start is `queue` when the tick before was not done, else `wake`."""
    stage_ns, host = record.stage_ns, record.host
    condition, denoise, decode = (stage_ns.get(stage, 0) for stage in ("condition", "denoise", "decode"))
    late_start = record.poll_ns - record.release_ns
    queued = record.start_ns > record.release_ns
    span = record.present_ns - record.poll_ns
    # Off the core beyond waiting for one: blocked on a device, a lock or a disk. Nothing is known without CPU time.
    off_core = max(0, span - host.cpu_ns - host.run_delay_ns) if host.cpu_ns else 0
    return Parts(
        late_start if queued else 0,
        0 if queued else late_start,
        condition,
        denoise,
        denoise / max(1, record.steps_applied),
        decode,
        record.present_ns - record.emit_ns,
        record.emit_ns - record.poll_ns - (condition + denoise + decode - record.ahead.made_ns),
        host.gc_ns,
        host.run_delay_ns,
        off_core,
        host.system_ns,
        host.minor_faults,
        host.major_faults,
        host.preemptions,
    )


class Verdict(NamedTuple):
    """`excess_ns`: how much too much, by cause. `usual_ns`: response to expect at this tick's denoise steps."""

    cause: str
    overload: bool
    excess_ns: Mapping[str, float]
    usual_ns: float


def attribute(
    parts: Parts, usual: Parts | None, *, steps: int, deadline_ns: float, late_ns: float, fault_ns: float, gap: bool
) -> Verdict:
    """Name the cause of one miss.

    `usual`: medians of ticks in time, None while there are none. `deadline_ns` from release. `gap`: the tick before
    was a clock gap, which disturbs caches, memory and other programs, so that what is too much now is laid on it.
    """
    base = usual or Parts()
    usual_by = {
        "queue": base.queue,
        "external": base.wake,
        **{stage: getattr(base, stage) for stage in STAGE_PARTS},
        "denoise": base.denoise_per_step * steps,
        "unknown": base.other,
    }
    excess = {
        "queue": parts.queue - base.queue,
        "external": parts.wake - base.wake,
        **{stage: getattr(parts, stage) - usual_by[stage] for stage in STAGE_PARTS},
        "unknown": parts.other - base.other,
        **_host_excess(parts, base, fault_ns),
    }
    waited = _waited_for_a_core(parts, base)
    _take_from_largest(excess, excess["gc"] + excess["allocation"] + waited)
    excess["external"] += waited

    usual_ns = sum(usual_by.values())
    heaviest = max(usual_by, key=lambda cause: usual_by[cause])
    overload_ns = usual_ns - ROOM * deadline_ns
    if usual is not None and overload_ns > 0:
        excess[heaviest] += overload_ns
    if gap:
        disturbed = [cause for cause, value in excess.items() if value > 0 and cause != "gc"]
        excess["clock_gap"] = sum(excess.pop(cause) for cause in disturbed)

    cause = max(excess, key=lambda name: excess[name])
    if excess[cause] < EXPLAINED * late_ns:
        cause = "unknown"
    overload = usual is not None and overload_ns > 0 and cause == heaviest != "unknown"
    return Verdict(cause, overload, {name: value for name, value in excess.items() if value > 0}, usual_ns)


def _host_excess(parts: Parts, base: Parts, fault_ns: float) -> dict[str, float]:
    """What the collector and page faults cost more than usual.

    Faults are counted exactly but differ in cost (a huge page is 512 small ones), and the kernel's CPU time is sampled
    and may be spent on anything: so beside a burst of faults the larger of the two estimates counts, up to what the
    tick took too long. A major fault waits for a disk: then the time blocked counts too.
    """
    faults = parts.minor_faults - base.minor_faults
    burst = faults >= BURST_FAULTS and faults >= BURST_TIMES_USUAL * base.minor_faults
    cost = max(faults * fault_ns, parts.system - base.system) if burst else 0.0
    if parts.major_faults > base.major_faults:
        cost += max(0.0, parts.off_core - base.off_core)
    gc = max(0.0, parts.gc - base.gc)
    stages = parts.condition + parts.denoise + parts.decode + parts.present + parts.other
    usual_stages = base.condition + base.denoise + base.decode + base.present + base.other
    return {"gc": gc, "allocation": max(0.0, min(cost, stages - usual_stages - gc))}


def _waited_for_a_core(parts: Parts, base: Parts) -> float:
    """Runnable but not running, more than usual. Without the kernel's word for it: off the core, and preempted."""
    if parts.run_delay or base.run_delay:
        return max(0.0, parts.run_delay - base.run_delay)
    if parts.preemptions > base.preemptions:
        return max(0.0, parts.off_core - base.off_core)
    return 0.0


def _take_from_largest(excess: dict[str, float], explained_ns: float) -> None:
    """What the machine explains is no longer laid on the stages: on the slowest of them it is most likely to lie."""
    for cause in sorted((*STAGE_PARTS, "unknown"), key=lambda name: -excess[name]):
        taken = min(explained_ns, max(0.0, excess[cause]))
        excess[cause] -= taken
        explained_ns -= taken
