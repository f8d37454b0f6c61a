"""The lines of the list of missed ticks: what each was like, why, and what came before it."""

from __future__ import annotations

from dataclasses import dataclass

from ..pages import words
from ..pages.words import THIN_SPACE, shown
from .document import MissedTick, Report
from .figures import stages_of
from .words import CAUSES


@dataclass(frozen=True)
class TickLine:
    """A line of the small table under a missed tick; the last one is the missed tick itself."""

    tick: str
    response: str
    steps: str
    late_start: str
    stages: tuple[str, ...]
    missed: bool


@dataclass(frozen=True)
class MissedRow:
    tick: int
    late: str
    at: str
    cause: str
    evidence: str
    numbers: tuple[tuple[str, str], ...]
    stage_names: tuple[str, ...]
    lines: tuple[TickLine, ...]


def missed_ticks(report: Report) -> list[MissedRow]:
    return [_missed_row(tick, report.deadline_ms) for tick in report.missed_ticks or []]


def _missed_row(missed: MissedTick, deadline_ms: float) -> MissedRow:
    names = tuple(stages_of(list({**missed.stage_ms, **{n: 0 for tick in missed.before for n in tick.stage_ms}})))
    lines = [
        TickLine(str(tick.tick), shown(tick.response_ms), words.whole(tick.steps_applied), shown(tick.late_start_ms),
                 tuple(shown(tick.stage_ms.get(name)) for name in names), missed=False)
        for tick in missed.before
    ]  # fmt: skip
    asked, applied = missed.steps_asked, missed.steps_applied
    steps = words.whole(applied) if asked in (None, applied) else f"{words.whole(applied)} of {asked}"
    late_start = missed.numbers.get("late_start_ms")
    lines.append(
        TickLine(str(missed.tick), shown(deadline_ms + missed.late_ms), steps, shown(late_start),
                 tuple(shown(missed.stage_ms.get(name)) for name in names), missed=True)
    )  # fmt: skip
    at = words.NOT_MEASURED if missed.release_ms is None else words.duration(missed.release_ms / 1e3)
    return MissedRow(
        tick=missed.tick,
        late=shown(missed.late_ms),
        at=at,
        cause=missed.cause.replace("_", " "),
        evidence=missed.evidence or CAUSES.get(missed.cause, ""),
        numbers=tuple(_number(name, value) for name, value in missed.numbers.items()),
        stage_names=names,
        lines=tuple(lines),
    )


def _number(name: str, value: float | None) -> tuple[str, str]:
    """`run_delay_ms`, 12.25 -> `run delay`, `12.3 ms`."""
    unit = f"{THIN_SPACE}ms" if name.endswith("_ms") and value is not None else ""
    return name.removesuffix("_ms").replace("_", " "), shown(value) + unit
