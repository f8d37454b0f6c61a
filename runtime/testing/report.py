"""What a deadline test asks of a session, and the table it prints when the answer is no.

The targets, how many ticks each needs before it can be decided, and the wording.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..core import ConfigError, NextframeError
from ..observe.report import LEAST_TICKS, late_rate

TICKS_FOR_A_HUNDREDTH = 100
"""With fewer, a 99th percentile is hardly more than the slowest tick, and 100 ticks in a row were never seen."""
WORST_TICKS_SHOWN = 5


class CannotMeasure(NextframeError):  # noqa: N818 - not an error of the code, but neither a pass nor a miss
    """The session cannot answer the question: too short, or on a clock on which nothing took time."""


class Target(NamedTuple):
    """One line of the table. `measured` is None where the report has no such number."""

    name: str
    limit: float
    measured: float | None
    least_ticks: int
    is_floor: bool = False

    @property
    def sign(self) -> str:
        return ">=" if self.is_floor else "<="

    @property
    def met(self) -> bool:
        if self.measured is None:
            return False
        return self.measured >= self.limit if self.is_floor else self.measured <= self.limit


@dataclass(frozen=True)
class DeadlineReport:
    """A finished session. `data`: the report, schema `nextframe.report/1`; `report["fps"]` is `report.data["fps"]`.

    `path`: where the report was written. `trace`: the ticks around the first burst of misses, for a trace viewer;
    None when nothing was missed.
    """

    data: Mapping[str, Any] = field(repr=False)
    path: Path
    trace: Path | None = None

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    @property
    def miss_rate(self) -> float | None:
        """Missed ticks over measured ticks, 0 to 1; None when no tick was measured."""
        return self.data["miss_rate"]

    @property
    def p99_ms(self) -> float | None:
        """99th percentile of the time from release to picture."""
        return self.data["response_ms"]["p99"]

    @property
    def steps_mean(self) -> float | None:
        """Mean denoise steps of a tick: the quality that the deadline left room for."""
        return self.data["steps_mean"]

    def assert_on_time(
        self,
        *,
        max_miss_rate: float = 0.01,
        longest_run: int | None = None,
        most_misses_in_100: int | None = None,
        min_steps_mean: float | None = None,
        p99_ms: float | None = None,
        ignore_clock_gaps: bool = False,
    ) -> None:
        """Passes when every target is met; all limits are inclusive, and a limit of None is not asked.

        `max_miss_rate`: 0 to 1. `longest_run`: missed ticks one after the other. `most_misses_in_100`: in any 100
        ticks in a row. `min_steps_mean`: mean denoise steps at least. `p99_ms`: release to picture.
        `ignore_clock_gaps`: times over 250 ms in which the process did not run count as no miss.
        AssertionError with a table when a target is missed. `CannotMeasure` when the session is too short to decide:
        below 20 ticks, below 1/max_miss_rate ticks (a single miss would already be too many), below 100 ticks where
        `most_misses_in_100` or `p99_ms` is asked. ConfigError for a limit that no number could meet.
        """
        __tracebackhide__ = True  # the line that asks is of interest, not this one
        _check_limits(
            max_miss_rate=max_miss_rate,
            longest_run=longest_run,
            most_misses_in_100=most_misses_in_100,
            min_steps_mean=min_steps_mean,
            p99_ms=p99_ms,
        )
        asked = [
            Target("miss rate", max_miss_rate, self._late_rate(ignore_clock_gaps), ticks_to_decide(max_miss_rate)),
            *_target("longest run of misses", longest_run, self.data.get("worst_miss_run"), LEAST_TICKS),
            *_target(
                "most misses in 100 ticks",
                most_misses_in_100,
                self.data.get("most_misses_in_100"),
                TICKS_FOR_A_HUNDREDTH,
            ),
            *_target("p99 response in ms", p99_ms, self.p99_ms, TICKS_FOR_A_HUNDREDTH),
            *_target("mean denoise steps", min_steps_mean, self.steps_mean, LEAST_TICKS, is_floor=True),
        ]
        shortage = _shortage(self.data["ticks"], asked)
        if shortage is not None:
            raise CannotMeasure(f"{self.data['world']}: {shortage} (report: {self.path})")
        if not all(target.met for target in asked):
            raise AssertionError(self.explain(asked))

    def _late_rate(self, ignore_clock_gaps: bool) -> float | None:
        return late_rate(self.data, ignore_clock_gaps=ignore_clock_gaps) if self.data["ticks"] else None

    def explain(self, asked: Sequence[Target]) -> str:
        """The targets against what was measured, the worst ticks with their causes, and where to read on."""
        data = self.data
        missed = sum(not target.met for target in asked)
        lines = [
            f"{data['world']} is not on time: {missed} of {len(asked)} targets missed in {data['ticks']} ticks"
            f" ({data['deadline_ms']:g} ms deadline, {data['clock']} clock)",
            "",
            *_table([("target", "asked", "measured", ""), *(_row(target) for target in asked)]),
        ]
        causes = ", ".join(f"{cause} {count}" for cause, count in data.get("miss_causes", {}).items() if count)
        if causes:
            lines += ["", f"misses by cause: {causes}"]
        worst = sorted(data.get("missed_ticks", ()), key=lambda tick: -tick["late_ms"])[:WORST_TICKS_SHOWN]
        if worst:
            heads = ("worst ticks", "late, ms", "steps", "cause", "evidence")
            lines += ["", *_table([heads, *(_worst_row(tick) for tick in worst)])]
        lines += ["", f"report: {self.path}", *([f"trace:  {self.trace}"] if self.trace is not None else [])]
        return "\n".join(lines)


def ticks_to_decide(max_miss_rate: float) -> int:
    """The fewest ticks in which one miss is not already more than the rate; 20 for a rate of 0, which allows none."""
    # The small number keeps a rate such as 1/49 at 49 where division of floats says a little more.
    return LEAST_TICKS if max_miss_rate == 0 else max(LEAST_TICKS, math.ceil(1 / max_miss_rate - 1e-9))


def _target(
    name: str, limit: float | None, measured: float | None, least_ticks: int, *, is_floor: bool = False
) -> list[Target]:
    return [] if limit is None else [Target(name, limit, measured, least_ticks, is_floor)]


def _check_limits(**limits: float | None) -> None:
    """A limit below 0 would fail, or pass, whatever was measured."""
    for name, limit in limits.items():
        most = 1.0 if name == "max_miss_rate" else math.inf
        if limit is not None and not (0 <= limit <= most and math.isfinite(limit)):
            expected = "a share from 0 to 1" if most == 1 else "a number from 0 up"
            raise ConfigError(f"assert_on_time: {name}: expected {expected}, got {limit}")


def _shortage(ticks: int, asked: Sequence[Target]) -> str | None:
    """Why this session cannot decide, in one sentence; None if it can."""
    short = max(asked, key=lambda target: target.least_ticks)
    if ticks < short.least_ticks:
        return (
            f"{ticks} measured ticks are too few to decide {short.name} {short.sign} {short.limit:g}; "
            f"expected at least {short.least_ticks}, give more ticks"
        )
    absent = [target.name for target in asked if target.measured is None]
    return f"nothing was measured for: {', '.join(absent)}" if absent else None


def _row(target: Target) -> tuple[str, ...]:
    measured = "-" if target.measured is None else f"{target.measured:.4g}"
    return target.name, f"{target.sign} {target.limit:g}", measured, "" if target.met else "MISSED"


def _worst_row(tick: Mapping[str, Any]) -> tuple[str, ...]:
    steps = f"{tick['steps_applied']} of {tick['steps_asked']}"
    return f"tick {tick['tick']}", f"{tick['late_ms']:.1f}", steps, str(tick["cause"]), str(tick["evidence"])


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their longest entry, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
