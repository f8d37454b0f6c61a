"""The JSON document of an audit, schema `nextframe.audit/1` (keys: docs/audit.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ....runtime.core import NextframeError
from ..questions.evidence import ControlResponse, Evidence, NextFrame, Percentiles, ScriptRun
from .findings import Estimate, Findings, exactly
from .verdict import Category, Verdict

SCHEMA = "nextframe.audit/1"
LATE_CONTROLS_SHARE = 0.5
"""Late trials in more controls than this are a delay of the target, in fewer a weak effect of those controls."""


def findings_of(evidence: Evidence) -> Findings:
    """The numbers of an audit with their ranges. What was not measured is None, with the reason in `missing`."""
    next_frame, sustained, memory, source = evidence.next_frame, evidence.sustained, evidence.memory, evidence.source
    answered = next_frame.changes is True
    return Findings(
        target=evidence.target,
        tick_hz=evidence.tick_hz,
        responds=next_frame.changes,
        horizon_frames=next_frame.horizon_frames,
        response_frames=_response(next_frame, next_frame.response_frames, _control_frames) if answered else None,
        response_ms=_response(next_frame, next_frame.response_ms, _control_ms) if answered else None,
        overlay_only=next_frame.overlay_share > 0,
        fps_interacting=_rate(sustained.fps_interacting, sustained.scripts, idle=False),
        fps_idle=_rate(sustained.fps_idle, sustained.scripts, idle=True),
        unique_share=_exactly(sustained.unique_share, "the worst script"),
        miss_rate=_exactly(sustained.miss_rate, "the worst script"),
        jitter_ms=_exactly(sustained.jitter_ms, "the worst script"),
        ttff_ms=exactly(evidence.ttff.total_ms, how="one start"),
        memory_ticks=_memory(memory.effective_memory_ticks, memory.at_least),
        survives_prompt_change=memory.survives_prompt_change,
        breadth=source.breadth,
        missing=_missing(evidence),
    )


def _response(
    next_frame: NextFrame, over_all: Percentiles | None, of_control: Callable[[ControlResponse], float | None]
) -> Estimate | None:
    """The usual response, and as `high` the slow end: the 95th percentile of all trials.

    Where only a few controls have trials that were later than their usual one, those trials are not counted: a delay
    of the target hits all controls alike, but a brake that hardly acts shows only once its effect has grown. The slow
    end is then the slowest control, as it usually is.
    """
    if over_all is None:
        return None
    answered = [control for control in next_frame.per_action if control.changes and control.worst_frame is not None]
    late = [control for control in answered if (control.worst_frame or 0) > (control.first_changed_frame or 0)]
    high, how = over_all.p95, "median to 95th percentile of all trials"
    if answered and len(late) <= LATE_CONTROLS_SHARE * len(answered):
        usual = [value for control in answered if (value := of_control(control)) is not None]
        high, how = min(high, max([over_all.p50, *usual])), "median to the slowest control"
    return Estimate(over_all.p50, over_all.p50, max(high, over_all.p50), next_frame.repeats, how)


def _control_frames(control: ControlResponse) -> float | None:
    return control.first_changed_frame


def _control_ms(control: ControlResponse) -> float | None:
    return None if control.response_ms is None else control.response_ms.p50


def _rate(fps: float | None, scripts: Sequence[ScriptRun], *, idle: bool) -> Estimate | None:
    """A count over a time is known to one frame; of the scripts with input the one that `fps` comes from counts."""
    if fps is None:
        return None
    runs = [run for run in scripts if (run.script == "idle") == idle]
    if not runs:
        return exactly(fps)
    run = min(runs, key=lambda run: abs(run.fps - fps))
    spread = 1 / run.duration_s if run.duration_s > 0 else 0.0
    return Estimate(fps, max(0.0, fps - spread), fps + spread, run.unique_frames, "counted to one frame")


def _exactly(value: float | None, how: str) -> Estimate | None:
    return None if value is None else exactly(value, how=how)


def _memory(ticks: int | None, at_least: bool) -> Estimate | None:
    if ticks is None:
        return None
    return Estimate(ticks, ticks, math.inf, how="the probe ended first") if at_least else exactly(ticks)


def _missing(evidence: Evidence) -> dict[str, str]:
    """Why, for every finding that may be None. A finding that was made keeps no entry."""
    next_frame, sustained, memory = evidence.next_frame, evidence.sustained, evidence.memory
    no_answer = "no control changed the picture" if next_frame.changes is False else next_frame.reason
    no_rate = sustained.reason or "the target names no rate, so no frame can be late"
    reasons = {
        "responds": (next_frame.changes, next_frame.reason),
        "response_frames": (next_frame.response_frames, no_answer),
        "response_ms": (next_frame.response_ms, no_answer),
        "fps_interacting": (sustained.fps_interacting, sustained.reason),
        "fps_idle": (sustained.fps_idle, sustained.reason),
        "unique_share": (sustained.unique_share, sustained.reason or "the picture stood still by itself"),
        "miss_rate": (sustained.miss_rate, no_rate),
        "jitter_ms": (sustained.jitter_ms, sustained.reason),
        "memory_ticks": (memory.effective_memory_ticks, memory.reason),
        "memory_s": (memory.effective_memory_ticks if evidence.tick_hz else None, memory.reason or no_rate),
        "survives_prompt_change": (memory.survives_prompt_change, memory.prompt_reason or memory.reason),
        "breadth": (evidence.source.breadth, evidence.source.reason),
    }
    return {name: why or "this audit did not reach it" for name, (value, why) in reasons.items() if value is None}


# --- the document ------------------------------------------------------------------------------------------------


def build_document(
    evidence: Evidence,
    findings: Findings,
    category: Category,
    verdicts: Sequence[Verdict],
    *,
    env: Mapping[str, object] | None = None,
    max_response_frames: int | None = None,
    exit_code: int | None = None,
) -> dict[str, Any]:
    """Everything but the pictures, as plain JSON data: what is without bound or not measured is null."""
    document = {
        "schema": SCHEMA,
        **category.as_json(),
        **evidence.as_json(),
        "findings": {field.name: _plain(getattr(findings, field.name)) for field in fields(findings)
                     if field.name not in ("target", "tick_hz", "missing")},
        "missing": dict(findings.missing),
        "claims": [verdict.as_json() for verdict in verdicts],
        "max_response_frames": max_response_frames,
        "exit_code": exit_code,
        "env": dict(env or {}),
    }  # fmt: skip
    return _finite(document)


def _plain(value: object) -> object:
    return asdict(value) if isinstance(value, Estimate) else value


def _finite(value: Any) -> Any:
    """Infinity is no JSON; what has no bound is null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_document(document: Mapping[str, Any], path: Path) -> Path:
    """NextframeError: the file cannot be written."""
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NextframeError(f"{path}: expected a place to write the audit: {error.strerror}") from error
    return path


def read_document(path: Path) -> dict[str, Any]:
    """NextframeError: no such file, no JSON, or another schema."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NextframeError(f"{path}: expected an audit that can be read: {error.strerror}") from error
    except ValueError as error:
        raise NextframeError(f"{path}: expected JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise NextframeError(f"{path}: expected a document of schema {SCHEMA}; write one with `nextframe audit TARGET`")
    return document
