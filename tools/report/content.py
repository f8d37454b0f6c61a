"""What the page says, as values: the verdict, the cards, the rows of its tables.

Every number carries the key of the report it was taken from, so that a test can hold the page against the JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..pages import words
from ..pages.words import THIN_SPACE, shown
from .document import Report
from .figures import stage_class, stages_of
from .words import CAUSES, PHASES, STAGES


@dataclass(frozen=True)
class Fact:
    """One number with its name; `key` is its path in the report."""

    label: str
    key: str
    text: str


@dataclass(frozen=True)
class Card:
    """A key figure. `definition`: the entry of the definitions that says how it is measured. `share`: for a bar."""

    label: str
    definition: str
    main: Fact
    unit: str
    facts: tuple[Fact, ...]
    share: float | None = None
    tone: str = ""


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart; `share` of the longest bar, or of the whole, in [0, 1]."""

    label: str
    text: str
    share: float
    words: str = ""
    class_: str = ""
    key: str = ""


def measures_time(report: Report) -> bool:
    """On a fixed clock every duration is 0, and 0 ms on a page would read as a result."""
    return report.clock == "real"


def verdict(report: Report) -> str:
    """The session in one sentence."""
    deadline, ticks = f"{report.deadline_ms:g} ms deadline", report.ticks
    if ticks == 0:
        return f"Nothing was measured: no tick of {report.world} ran after the warm-up."
    steps = "" if report.steps_mean is None else f" at {shown(report.steps_mean)} denoise steps on average"
    if not measures_time(report):
        ran = f"{report.world} ran {words.plural(ticks, 'tick')} on the {report.clock} clock{steps}"
        return f"{ran}: no time was measured."
    if report.misses == 0:
        every = "its only tick" if ticks == 1 else f"all {words.whole(ticks)} ticks"
        return f"{report.world} held its {deadline} in {every}{steps}."
    if report.misses == ticks:
        every = "its only tick" if ticks == 1 else f"every one of {words.whole(ticks)} ticks"
        return f"{report.world} missed its {deadline} in {every}{steps}."
    held, rate = words.whole(ticks - report.misses), words.percent(report.miss_rate)
    return f"{report.world} held its {deadline} in {held} of {words.whole(ticks)} ticks ({rate} missed){steps}."


def summary(report: Report) -> str:
    """How the session was run, in one line under the verdict."""
    parts = [f"{words.plural(report.ticks, 'tick')} at {report.tick_hz:g} a second, about "
             f"{words.duration(report.ticks / report.tick_hz)} of play"]  # fmt: skip
    if report.warmup_ticks:
        parts.append(f"after {words.plural(report.warmup_ticks, 'warm-up tick')} that no number contains")
    device = report.env.get("cpu") if report.env.get("device") in (None, "cpu") else report.env.get("device")
    if device:
        parts.append(f"on {device}")
    if report.governor is not None and report.governor.name:
        parts.append(f"quality: {report.governor.name}")
    return ", ".join(parts) + "."


def notices(report: Report, absent: Mapping[str, str]) -> list[str]:
    """What a reader must know before trusting the page."""
    said = []
    if report.ticks == 0:
        said.append("No tick was measured, so there is nothing to judge. Run more ticks than the warm-up takes.")
    elif not measures_time(report):
        said.append(
            f"On the {report.clock} clock work takes no time, so responses, rates and misses say nothing and are left "
            "out. Run with the real clock to measure them."
        )
    if absent:
        lacks = "; ".join(f"{key} ({shows})" for key, shows in absent.items())
        said.append(f"This report is of an older nextframe and lacks: {lacks}. Run the session again for them.")
    if report.series is not None and report.series.ticks_per_point > 1:
        each = report.series.ticks_per_point
        said.append(
            f"Long session: one point of a plot is {each} ticks, the slowest response and the fewest steps of them. "
            "Figures, percentiles and counts are of all ticks."
        )
    return said


def cards(report: Report) -> list[Card]:
    """The key figures, most important first; without a clock that runs, only those that need none."""
    if not measures_time(report):
        return [_steps(report), _first_frame(report)]
    return [
        _misses(report), _response(report), _rate(report), _steps(report),
        _input(report), _first_frame(report), _smoothness(report), _overhead(report),
    ]  # fmt: skip


def _facts(key: str, values: Mapping[str, float | None]) -> tuple[Fact, ...]:
    """`p50 18.3`, ...; percentiles that were not measured are left out."""
    names = {"p999": "p99.9", "warmup": "warm-up", "first_frame": "first tick"}
    measured = {name: value for name, value in values.items() if value is not None}
    return tuple(Fact(names.get(name, name), f"{key}.{name}", shown(value)) for name, value in measured.items())


def _misses(report: Report) -> Card:
    facts = [Fact("missed", "misses", words.whole(report.misses)), Fact("of", "ticks", words.whole(report.ticks)),
             Fact("longest run", "worst_miss_run", words.whole(report.worst_miss_run))]  # fmt: skip
    if report.most_misses_in_100 is not None:
        facts.append(Fact("most in any 100", "most_misses_in_100", words.whole(report.most_misses_in_100)))
    main = Fact("", "miss_rate", words.percent(report.miss_rate).removesuffix(f"{THIN_SPACE}%"))
    tone = "" if report.miss_rate is None else "bad" if report.misses else "good"
    return Card("Deadline misses", "misses", main, "%", tuple(facts), tone=tone)


def _response(report: Report) -> Card:
    response = report.response_ms
    share = None if response.p99 is None else response.p99 / report.deadline_ms
    rest = {"p50": response.p50, "p95": response.p95, "p999": response.p999, "max": response.max}
    facts = _facts("response_ms", rest)
    return Card(
        "Response, 99th percentile", "response_ms", Fact("", "response_ms.p99", shown(response.p99)), "ms",
        (*facts, Fact("deadline", "deadline_ms", shown(report.deadline_ms))), share,
    )  # fmt: skip


def _rate(report: Report) -> Card:
    facts = (
        Fact("1 % low, by p99", "low1_p99_fps", shown(report.low1_p99_fps)),
        Fact("1 % low, by mean", "low1_avg_fps", shown(report.low1_avg_fps)),
    )
    return Card("Frame rate", "fps", Fact("", "fps", shown(report.fps)), "fps", facts)


def _steps(report: Report) -> Card:
    rungs = " · ".join(str(rung) for rung in sorted(report.steps_histogram))
    facts = (
        Fact("changes per 100 ticks", "level_switches_per_100", shown(report.level_switches_per_100)),
        Fact("ladder", "steps_histogram", rungs),
    )
    main = Fact("", "steps_mean", shown(report.steps_mean))
    return Card("Denoise steps, mean", "level_switches_per_100", main, "per tick", facts)


def _input(report: Report) -> Card:
    waits = report.input_to_present_ms
    main = Fact("", "input_to_present_ms.p50", shown(waits.p50))
    return Card("Input to picture, median", "input_to_present_ms", main, "ms",
                _facts("input_to_present_ms", {"p95": waits.p95, "p99": waits.p99}))  # fmt: skip


def _first_frame(report: Report) -> Card:
    facts = _facts("ttff_ms", {name: report.ttff_ms.get(name) for name in PHASES})
    main = Fact("", "ttff_ms.total", shown(report.ttff_ms.get("total")))
    return Card("Time to first frame", "ttff_ms", main, "ms", facts)


def _smoothness(report: Report) -> Card:
    facts = [Fact("held frames", "held_frames", words.whole(report.held_frames)),
             Fact("lost slots", "lost_slots", words.whole(report.lost_slots)),
             Fact("clock gaps", "clock_gaps", words.whole(report.clock_gaps))]  # fmt: skip
    if report.animation_error_ms is not None and report.animation_error_ms.p99 is not None:
        error = shown(report.animation_error_ms.p99)
        facts.insert(0, Fact("animation error p99, ms", "animation_error_ms.p99", error))
    if report.jitter_ms is not None:
        facts.insert(0, Fact("jitter, ms", "jitter_ms", shown(report.jitter_ms)))
    main = Fact("", "hitch_ms_per_s", shown(report.hitch_ms_per_s))
    return Card("Hitches", "hitch_ms_per_s", main, "ms per s", tuple(facts))


def _overhead(report: Report) -> Card:
    main = Fact("", "overhead_ms.p50", shown(report.overhead_ms.p50))
    facts = _facts("overhead_ms", {"p99": report.overhead_ms.p99})
    return Card("Engine overhead, median", "overhead_ms", main, "ms", facts)


def cause_bars(report: Report) -> list[Bar]:
    """Misses by cause, most frequent first."""
    counts = sorted(((count, cause) for cause, count in report.miss_causes.items() if count), reverse=True)
    longest = max((count for count, _ in counts), default=1)
    return [
        Bar(cause.replace("_", " "), words.whole(count), count / longest, CAUSES.get(cause, ""), "late",
            f"miss_causes.{cause}")
        for count, cause in counts
    ]  # fmt: skip


def rung_bars(report: Report) -> list[Bar]:
    """Ticks at each rung of the ladder, the highest quality first."""
    longest = max(report.steps_histogram.values(), default=0) or 1
    return [
        Bar(words.plural(rung, "step"), words.plural(count, "tick"), count / longest, class_="steps",
            key=f"steps_histogram.{rung}")
        for rung, count in sorted(report.steps_histogram.items(), reverse=True)
    ]  # fmt: skip


def phase_bars(report: Report) -> list[Bar]:
    """Start-up by phase, as shares of their sum; phases that were not measured are left out."""
    phases = {name: value for name, value in report.ttff_ms.items() if name != "total" and value is not None}
    total = sum(phases.values()) or 1.0
    return [
        Bar(name.replace("_", " "), f"{shown(value)}{THIN_SPACE}ms", value / total, PHASES.get(name, ""),
            f"phase-{index % 5}", f"ttff_ms.{name}")
        for index, (name, value) in enumerate(phases.items())
    ]  # fmt: skip


@dataclass(frozen=True)
class StageRow:
    name: str
    words: str
    class_: str
    p50: str
    p99: str


def stage_rows(report: Report) -> list[StageRow]:
    rows = []
    for stage in stages_of(list(report.stage_ms)):
        values = report.stage_ms[stage]
        p50, p99 = shown(values.get("p50")), shown(values.get("p99"))
        rows.append(StageRow(stage, STAGES.get(stage, ""), stage_class(stage), p50, p99))
    return rows


@dataclass(frozen=True)
class StateRow:
    name: str
    bytes: int
    reach: str


def inventory(report: Report) -> list[StateRow]:
    """What the world keeps from tick to tick."""
    return [StateRow(part.name, part.bytes, words.reach(part.horizon_ticks, report.tick_hz)) for part in report.state]


def environment(report: Report) -> list[tuple[str, str]]:
    """Names and values, in the report's order; the hashes that say what exactly was played come last."""
    rows = [("clock", report.clock), ("tick rate", f"{report.tick_hz:g} Hz")]
    rows += [(name.replace("_", " "), _plain(value)) for name, value in report.env.items() if value is not None]
    return [*rows, ("world's config, SHA-256", report.config_sha256), ("weights, SHA-256", report.weights_sha256)]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(part)}" for name, part in value.items())
    return ", ".join(_plain(part) for part in value) if isinstance(value, list | tuple) else str(value)


def cursor_data(report: Report) -> dict[str, Any]:
    """The columns that the page's cursor reads out, rounded: they are most of the page's size."""
    series = report.series
    assert series is not None

    def rounded(column: list[float] | list[float | None]) -> list[float | None]:
        return [None if value is None else round(value, 2) for value in column]

    return {
        "per": series.ticks_per_point,
        "hz": report.tick_hz,
        "tick": series.tick,
        "response": rounded(series.response_ms),
        "frame": rounded(series.frame_ms),
        "steps": series.steps,
        "missed": series.missed,
        "input": rounded(series.input_to_present_ms),
        "stages": {stage: rounded(series.stage_ms[stage]) for stage in stages_of(list(series.stage_ms))},
    }
