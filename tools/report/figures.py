"""The plots over time: response with the rungs beneath, and stages.

Every plot over time is drawn twice, wide and narrow, and the style sheet shows one: text that shrinks with its picture
cannot be read on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..pages.charts import Box, values_across, values_up
from ..pages.svg import Drawing, Scale, dots_path, line_path, px, round_ticks, stairs_path
from ..pages.words import shown
from .document import Report, Series

STAGE_ORDER = ("condition", "denoise", "decode", "present", "commit")
"""In the order they run, so that a stack reads from release upward."""

FEW_POINTS = 60
"""Up to so many points each gets a dot: a line through three ticks says less than three dots."""

OFF_SCALE_DEADLINES = 2.0
"""One hiccup of 50 deadlines must not press all other ticks flat: the axis ends here, and says what is above."""


@dataclass(frozen=True)
class Format:
    """Lengths in px of the drawing. `stack_columns`: more could not be told apart."""

    name: str
    width_px: float
    left_px: float
    plot_px: float
    lane_px: float
    line_px: float
    time_ticks: int
    stack_columns: int


WIDE = Format("wide", 1072, 46, 250, 56, 16, 10, 268)
NARROW = Format("narrow", 480, 46, 210, 52, 19, 5, 108)
RIGHT_PX = 8
LANE_GAP_PX = 22.0
"""Above a lane: its label stands in the middle, clear of the numbers over and under it."""


def both(draw_name: str, report: Report) -> Markup:
    """The plot in both formats, one after the other."""
    draw = {"response": response_plot, "stages": stage_plot}[draw_name]
    return Markup("").join(draw(report, form) for form in (WIDE, NARROW))


def top_ms(highest_ms: float, usual_ms: float, deadline_ms: float) -> float:
    """End of an axis of ms: everything if that stays readable, else twice the deadline and the usual."""
    bound_ms = max(OFF_SCALE_DEADLINES * deadline_ms, 1.3 * usual_ms)
    return 1.08 * max(highest_ms, deadline_ms) if highest_ms <= 1.5 * bound_ms else bound_ms


def columns_of(x_px: Sequence[float]) -> Iterator[slice]:
    """Runs of points that fall into the same px."""
    edges = np.flatnonzero(np.diff(np.floor(x_px))) + 1
    bounds = [0, *edges.tolist(), len(x_px)]
    yield from (slice(low, high) for low, high in pairwise(bounds))


def envelope(x_px: Sequence[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """Lowest and highest value in each px, in the order they came: looks like the whole line, never hides a peak."""
    points: list[tuple[float, float]] = []
    for column in columns_of(x_px):
        part = values[column]
        picks = sorted({int(np.argmin(part)), int(np.argmax(part))})
        points += [(x_px[column.start + pick], part[pick]) for pick in picks]
    return points


class TimePlot:
    """The frame that plots over time share: ticks across, ms up, and data for the page's cursor."""

    def __init__(self, form: Format, series: Series, *, title: str, description: str, lanes: int) -> None:
        self.form, self.series = form, series
        self.top_px = form.line_px + 8.0
        self.bottom_px = self.top_px + form.plot_px
        self._lane_pitch_px = form.lane_px + form.line_px + LANE_GAP_PX
        lanes_px = lanes * self._lane_pitch_px
        self.floor_px = self.bottom_px + lanes_px
        self.left_px, self.right_px = form.left_px, form.width_px - RIGHT_PX
        self._box = Box(self.left_px, self.right_px, self.top_px, self.bottom_px, form.line_px)
        self.drawing = Drawing(form.width_px, self.floor_px + 2 * form.line_px + 10, title, description)
        per = series.ticks_per_point
        self.time = Scale(series.tick[0], series.tick[-1] + per, self.left_px, self.right_px)
        self.x_px = [self.time(tick + per / 2) for tick in series.tick]
        self._lanes = 0

    def ms_axis(self, top: float, label: str) -> Scale:
        """Gridlines and numbers up the left side."""
        scale = self._box.up(0.0, top)
        values_up(self.drawing, self._box, scale, 5)
        self.drawing.words(0, self.form.line_px - 4, label, "label")
        return scale

    def deadline(self, scale: Scale, deadline_ms: float) -> None:
        if not scale.covers(deadline_ms):
            return
        y_px = scale(deadline_ms)
        self.drawing.level(y_px, self.left_px, self.right_px, "deadline")
        self.drawing.words(self.right_px - 4, y_px - 6, f"deadline {deadline_ms:g} ms", "end halo strong")

    def lane(self, label: str) -> tuple[float, float]:
        """Room for one more strip under the plot: its top and bottom px."""
        top = self.bottom_px + self._lanes * self._lane_pitch_px + self.form.line_px + LANE_GAP_PX
        self._lanes += 1
        self.drawing.words(0, top - LANE_GAP_PX / 2, label, "label")
        return top, top + self.form.lane_px

    def edges_px(self) -> list[float]:
        """Where each point's ticks begin, and where the last one's end."""
        return [self.time(tick) for tick in self.series.tick] + [self.right_px]

    def finish(self, tick_hz: float) -> Markup:
        low, high = int(self.time.low), int(self.time.high)
        values = round_ticks(low, high, self.form.time_ticks, whole=True)
        label = f"tick ({tick_hz:g} ticks are one second)"
        values_across(self.drawing, replace(self._box, bottom_px=self.floor_px), self.time, values, label=label)
        self.drawing.add("path", class_="cursor", d=f"M0 {px(self.top_px)}V{px(self.floor_px)}", visibility="hidden")
        return self.drawing.markup(
            f"chart time {self.form.name}", left=self.left_px, right=self.right_px, first=low, last=high
        )


def response_plot(report: Report, form: Format) -> Markup:
    """Response of every tick against the deadline, missed ones marked; rung and injected load beneath."""
    series = report.series
    assert series is not None
    load = series.load_ms if series.load_ms and any(value and value > 0 for value in series.load_ms) else None
    plot = TimePlot(
        form,
        series,
        title="Response time of each tick",
        description=f"{report.misses} of {report.ticks} ticks came after the deadline of {report.deadline_ms:g} ms.",
        lanes=1 if load is None else 2,
    )
    response = series.response_ms
    scale = plot.ms_axis(top_ms(max(response), float(np.percentile(response, 99)), report.deadline_ms), "response, ms")
    line = [(x, scale(value)) for x, value in envelope(plot.x_px, response)]
    plot.drawing.add("path", class_="response", d=line_path(line))
    if len(line) <= FEW_POINTS:
        plot.drawing.add("path", class_="response dots", d=dots_path(line))
    _mark_misses(plot, scale)
    plot.deadline(scale, report.deadline_ms)
    _rungs(plot, report)
    if load is not None:
        _load(plot, [value or 0.0 for value in load])
    return plot.finish(report.tick_hz)


def _mark_misses(plot: TimePlot, scale: Scale) -> None:
    """A dot for each missed point, or a triangle at the top edge where it is off the scale."""
    rows = zip(plot.x_px, plot.series.response_ms, plot.series.missed, strict=True)
    missed = [(round(x), value) for x, value, count in rows if count]
    dots = dict.fromkeys((x, round(scale(value))) for x, value in missed if scale.covers(value))
    above = dict.fromkeys(x for x, value in missed if not scale.covers(value))
    if dots:
        plot.drawing.add("path", class_="missed dots", d=dots_path(dots))
    if above:
        y = px(plot.top_px - 6)
        plot.drawing.add("path", class_="missed above", d="".join(f"M{x - 4} {y}l4-7l4 7z" for x in above))
    off_scale = [value for value in plot.series.response_ms if not scale.covers(value)]
    if off_scale:
        text = f"▲ {len(off_scale)} above the scale, up to {shown(max(off_scale))} ms"
        plot.drawing.words(plot.right_px, plot.form.line_px - 6, text, "end label")


def _rungs(plot: TimePlot, report: Report) -> None:
    """The denoise steps taken, as stairs on the rungs of the ladder at equal distances."""
    rungs = sorted({*report.steps_histogram, *plot.series.steps})
    top, bottom = plot.lane("denoise steps taken")
    spacing = (bottom - top) / len(rungs)
    height = {rung: bottom - spacing * (index + 1) for index, rung in enumerate(rungs)}
    for rung in rungs:
        plot.drawing.level(height[rung], plot.left_px, plot.right_px, "grid")
        if len(rungs) <= 4 or rung in (rungs[0], rungs[-1]):
            plot.drawing.words(plot.left_px - 8, height[rung] + 5, str(rung), "end")
    # Of several points in one px the lowest rung is drawn: a drop of a single tick must be seen.
    columns = list(columns_of(plot.x_px))
    edges = plot.edges_px()
    starts = [edges[column.start] for column in columns] + [plot.right_px]
    stairs = stairs_path(starts, [height[min(plot.series.steps[column])] for column in columns])
    plot.drawing.add("path", class_="steps area", d=f"{stairs}V{px(bottom)}H{px(plot.left_px)}z")
    plot.drawing.add("path", class_="steps", d=stairs)


def _load(plot: TimePlot, load_ms: list[float]) -> None:
    highest = max(load_ms)
    usual = 1.3 * float(np.percentile([value for value in load_ms if value > 0], 95))
    above = f" (up to {shown(highest)})" if highest > 1.5 * usual else ""
    top, bottom = plot.lane(f"injected load, ms{above}")
    scale = Scale(0.0, usual if above else highest, bottom, top)
    plot.drawing.level(bottom, plot.left_px, plot.right_px, "grid")
    plot.drawing.words(plot.left_px - 8, top + 5, shown(scale.high), "end")
    columns = list(columns_of(plot.x_px))
    edges = plot.edges_px()
    starts = [edges[column.start] for column in columns] + [plot.right_px]
    stairs = stairs_path(starts, [scale(max(load_ms[column])) for column in columns])
    plot.drawing.add("path", class_="load area", d=f"{stairs}V{px(bottom)}H{px(plot.left_px)}z")
    plot.drawing.add("path", class_="load", d=stairs)


def stages_of(names: Sequence[str]) -> list[str]:
    """In the order they run; stages this page does not know come last."""
    known = [stage for stage in STAGE_ORDER if stage in names]
    return known + [stage for stage in names if stage not in STAGE_ORDER]


def stage_class(stage: str) -> str:
    """A class from our own list: names come from a file and never become part of a style."""
    return f"stage-{STAGE_ORDER.index(stage)}" if stage in STAGE_ORDER else "stage-other"


def stage_plot(report: Report, form: Format) -> Markup:
    """Mean time in each stage, stacked, in as many columns as can be told apart."""
    series = report.series
    assert series is not None
    plot = TimePlot(
        form,
        series,
        title="Time in each stage",
        description="Mean milliseconds in each stage of the ticks of a column, stacked in the order the stages run.",
        lanes=0,
    )
    starts = np.unique(np.linspace(0, len(series.tick), min(form.stack_columns, len(series.tick)) + 1).astype(int))[:-1]
    stages = stages_of(list(series.stage_ms))
    means = np.array([_means(series.stage_ms[stage], starts) for stage in stages])  # (stages, columns)
    stack = np.vstack([np.zeros(len(starts)), np.cumsum(means, axis=0)])
    highest = float(stack[-1].max())
    usual = float(np.percentile(stack[-1], 99))
    far_below = highest < 0.6 * report.deadline_ms
    top = max(1.1 * highest, 0.001) if far_below else top_ms(highest, usual, report.deadline_ms)
    scale = plot.ms_axis(top, "mean time in stage, ms")
    all_edges = plot.edges_px()
    edges = [all_edges[start] for start in starts] + [plot.right_px]
    for index, stage in enumerate(stages):
        upper = stairs_path(edges, [scale(value) for value in stack[index + 1]])
        lower = stairs_path(edges[::-1], [scale(value) for value in stack[index][::-1]])
        plot.drawing.add("path", class_=f"stage {stage_class(stage)}", d=f"{upper}L{lower[1:]}z")
    plot.deadline(scale, report.deadline_ms)
    return plot.finish(report.tick_hz)


def _means(values: Sequence[float], starts: NDArray[np.int_]) -> NDArray[np.float64]:
    """Mean from each start to the next."""
    counts = np.diff(np.append(starts, len(values)))
    return np.asarray(np.add.reduceat(np.asarray(values, dtype=np.float64), starts) / counts)
