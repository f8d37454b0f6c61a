"""The evidence for the cause of a miss, as one short sentence. How causes are found is in `attribution`."""

from __future__ import annotations

from ..tick.record import TickRecord
from .attribution import Parts, Verdict


def _ms(value_ns: float) -> str:
    return f"{value_ns / 1e6:.1f} ms"


def evidence_of(
    verdict: Verdict, parts: Parts, usual: Parts | None, record: TickRecord, last: TickRecord | None
) -> str:
    """Why `verdict.cause` is the cause. `usual`: None while no tick has been in time. `last`: the tick before."""
    words = {
        "queue": lambda: _queue(parts, last),
        "gc": lambda: f"Python's garbage collector ran for {_ms(parts.gc)} inside the tick",
        "allocation": lambda: _allocation(verdict, parts, usual),
        "clock_gap": lambda: _clock_gap(record, last),
        "external": lambda: _external(parts, verdict),
        "unknown": lambda: _unknown(verdict, record),
    }
    if verdict.overload:
        return _overload(verdict, record)
    return words.get(verdict.cause, lambda: _stage(verdict.cause, parts, usual, record))()


def _steps(record: TickRecord) -> str:
    return f"{record.steps_applied} denoise step{'' if record.steps_applied == 1 else 's'}"


def _overload(verdict: Verdict, record: TickRecord) -> str:
    deadline = _ms(record.deadline_ns - record.release_ns)
    return (
        f"a tick of {_steps(record)} usually takes {_ms(verdict.usual_ns)} of the {deadline} there are, "
        f"most of it in {verdict.cause}"
    )


def _queue(parts: Parts, last: TickRecord | None) -> str:
    before = "" if last is None else f"; its commit took {_ms(last.stage_ns.get('commit', 0))}"
    return f"started {_ms(parts.queue)} after release, when the tick before was done{before}"


def _allocation(verdict: Verdict, parts: Parts, usual: Parts | None) -> str:
    often = "" if usual is None else f" (usually {usual.minor_faults:,.0f})"
    disk = f", {parts.major_faults:.0f} of them from disk," if parts.major_faults else ""
    faults = parts.minor_faults + parts.major_faults
    return f"{faults:,.0f} page faults{often}{disk} cost about {_ms(verdict.excess_ns['allocation'])}"


def _clock_gap(record: TickRecord, last: TickRecord | None) -> str:
    if record.clock_gap or last is None:
        return "the clock stood still or jumped in this tick (suspend, debugger)"
    return f"the clock stood still or jumped in tick {last.tick} before it (suspend, debugger)"


def _external(parts: Parts, verdict: Verdict) -> str:
    waited_ns = max(0.0, verdict.excess_ns["external"] - parts.wake)
    woke = f"woke {_ms(parts.wake)} after release though free to start"
    waited = f"was ready to run for {_ms(waited_ns)} while something else had the core"
    if parts.wake >= 4 * waited_ns:
        return woke
    return waited if waited_ns >= 4 * parts.wake else f"{woke}, then {waited}"


def _unknown(verdict: Verdict, record: TickRecord) -> str:
    late = _ms(record.present_ns - record.deadline_ns)
    named = {name: value for name, value in verdict.excess_ns.items() if name != "unknown"}
    between_ns = verdict.excess_ns.get("unknown", 0.0)
    if between_ns > max(named.values(), default=0.0):
        return f"late by {late}; {_ms(between_ns)} more than usual passed in none of the stages"
    if not named:
        return f"late by {late}; nothing took longer than usual"
    largest = max(named, key=lambda name: named[name])
    return f"late by {late}; the largest excess is {_ms(named[largest])} in {largest}"


def _stage(stage: str, parts: Parts, usual: Parts | None, record: TickRecord) -> str:
    took_ns = getattr(parts, stage)
    what = f"denoise took {_ms(took_ns)} for {_steps(record)}" if stage == "denoise" else f"{stage} took {_ms(took_ns)}"
    if usual is None:
        return f"{what}, the most of all parts; no tick has been in time yet"
    usual_ns = usual.denoise_per_step * record.steps_applied if stage == "denoise" else getattr(usual, stage)
    return f"{what}, usually {_ms(usual_ns)}"
