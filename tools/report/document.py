"""A report as typed values: what the page may rely on, and clear words for a file that is not one.

The keys of `nextframe.report/1` are in docs/metrics.md. Keys that older reports lack are optional here; `absent_parts`
names them, so that the page can say what it cannot show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...runtime.core import NextframeError
from ...runtime.observe.report import SCHEMA

SHOWN_PROBLEMS = 6
"""A file that is wrong throughout is not made clearer by a hundred lines."""

PERCENTILES_BY_STAGE = dict[str, dict[str, float | None]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Percentiles(_Part):
    """In ms. A report leaves out what it does not measure."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    max: float | None = None


class TickBefore(_Part):
    """One of the ticks that led up to a missed one."""

    tick: int
    response_ms: float | None = None
    steps_applied: int | None = None
    late_start_ms: float | None = None
    stage_ms: dict[str, float | None] = Field(default_factory=dict)


class MissedTick(_Part):
    """A tick presented `late_ms` after its deadline. `release_ms` is counted from the first release."""

    tick: int
    late_ms: float
    release_ms: float | None = None
    steps_asked: int | None = None
    steps_applied: int | None = None
    cause: str = "unknown"
    evidence: str = ""
    numbers: dict[str, float | int | None] = Field(default_factory=dict)
    stage_ms: dict[str, float | None] = Field(default_factory=dict)
    before: list[TickBefore] = Field(default_factory=list)


class Decision(_Part):
    tick: int
    from_steps: int | None = None
    to_steps: int
    reason: str = ""


class GovernorPart(_Part):
    """`name` is null where no governor was named: a replay, or a caller that gave none."""

    name: str | None = None
    decisions: list[Decision] = Field(default_factory=list)


class StatePart(_Part):
    name: str
    bytes: int
    horizon_ticks: int | None = None


class Series(_Part):
    """Columns over time, one entry a point of `ticks_per_point` ticks; `tick` is the first tick of the point."""

    ticks_per_point: int = Field(ge=1)
    tick: list[int]
    response_ms: list[float]
    frame_ms: list[float | None]
    steps: list[int]
    missed: list[int]
    stage_ms: dict[str, list[float]]
    input_to_present_ms: list[float | None]
    load_ms: list[float | None] | None = None

    @model_validator(mode="after")
    def columns_are_equally_long(self) -> Series:
        columns: dict[str, list[Any]] = {
            "response_ms": self.response_ms,
            "frame_ms": self.frame_ms,
            "steps": self.steps,
            "missed": self.missed,
            "input_to_present_ms": self.input_to_present_ms,
            **{f"stage_ms.{stage}": column for stage, column in self.stage_ms.items()},
            **({} if self.load_ms is None else {"load_ms": self.load_ms}),
        }
        points = len(self.tick)
        wrong = [f"{name} {len(column)}" for name, column in columns.items() if len(column) != points]
        if wrong:
            raise ValueError(f"expected {points} points in every column, as in tick, got {', '.join(wrong)}")
        if any(later <= earlier for earlier, later in pairwise(self.tick)):
            raise ValueError("expected ticks in ascending order")
        return self


class Report(_Part):
    """One session. Everything from `most_misses_in_100` on is newer than the schema's first writers."""

    world: str
    tick_hz: float = Field(gt=0)
    clock: str
    ticks: int = Field(ge=0)
    warmup_ticks: int
    deadline_ms: float = Field(gt=0)
    misses: int
    miss_rate: float | None
    worst_miss_run: int
    lost_slots: int
    held_frames: int
    clock_gaps: int
    response_ms: Percentiles
    fps: float | None
    low1_p99_fps: float | None
    low1_avg_fps: float | None
    hitch_ms_per_s: float | None
    ttff_ms: dict[str, float | None]
    steps_histogram: dict[int, int]
    steps_mean: float | None
    level_switches_per_100: float | None
    stage_ms: PERCENTILES_BY_STAGE
    overhead_ms: Percentiles
    input_to_present_ms: Percentiles
    miss_causes: dict[str, int]
    state: list[StatePart]
    env: dict[str, Any]
    config_sha256: str
    weights_sha256: str

    most_misses_in_100: int | None = None
    animation_error_ms: Percentiles | None = None
    jitter_ms: float | None = None
    missed_ticks: list[MissedTick] | None = None
    definitions: dict[str, str] | None = None
    governor: GovernorPart | None = None
    series: Series | None = None


NEWER_PARTS = {
    "series": "plots over time and the histogram",
    "missed_ticks": "evidence for each missed tick",
    "governor": "the governor's decisions",
}


def absent_parts(report: Report) -> dict[str, str]:
    """Keys that an older report lacks, and what the page cannot show without each."""
    return {key: shows for key, shows in NEWER_PARTS.items() if getattr(report, key) is None}


def read_report(path: Path) -> dict[str, Any]:
    """The JSON of a session report, checked.

    NextframeError: no such file, not JSON (with the line), another schema, or keys that are missing or wrong.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NextframeError(
            f"{path}: expected a report that can be read: {error.strerror}; "
            "write one with `nextframe run WORLD --ticks N --idle --report F.json`"
        ) from error
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}"
        raise NextframeError(f"{place}: expected JSON, got: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise NextframeError(f"{path}: expected JSON in UTF-8, got: {error}") from error
    check_report(document, str(path))
    assert isinstance(document, dict)
    return document


def check_report(document: object, where: str) -> Report:
    """The document as typed values. NextframeError, with `where` in front, says what is missing or wrong."""
    if not isinstance(document, Mapping):
        raise NextframeError(f"{where}: expected a JSON object, got a {type(document).__name__}")
    if document.get("schema") != SCHEMA:
        raise NextframeError(
            f"{where}: expected the schema {SCHEMA}, got {document.get('schema')!r}; "
            "this page is for what `nextframe run --report` and `nextframe play` write"
        )
    try:
        return Report.model_validate(dict(document))
    except ValidationError as error:
        raise NextframeError(f"{where}: {_problems(error)}") from error


def _problems(error: ValidationError) -> str:
    missing, wrong = [], []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "missing":
            missing.append(key)
        else:
            wrong.append(f"{key}: {problem['msg']}")
    said = [f"expected the keys of {SCHEMA}, missing: {', '.join(missing)}"] if missing else []
    said += wrong[:SHOWN_PROBLEMS]
    if len(wrong) > SHOWN_PROBLEMS:
        said.append(f"and {len(wrong) - SHOWN_PROBLEMS} more")
    return "; ".join(said)
