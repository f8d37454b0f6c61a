"""Pictures of long sessions as SVG: drift scores by case and remedy, and the vital signs of a soak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...pages.charts import Box
from ...pages.svg import Drawing, Scale, line_path

WIDTH_PX, TOP_PX, PANEL_PX, GAP_PX = 900.0, 70.0, 74.0, 34.0
LEFT_PX, RIGHT_PX = 70.0, 880.0
LEGEND_PX = 110.0
REMEDIES = ("none", "renoise", "reanchor")
STYLE = """
text { fill: #202124; } .end { text-anchor: end; } .title { font-size: 16px; } .bold, .legend { font-weight: bold; }
path { fill: none; stroke-width: 1.6; } .box { stroke: #dadce0; stroke-width: 1; }
.none { stroke: #5f6368; } .renoise { stroke: #e08a1e; } .reanchor { stroke: #1a5fb4; }
.alarm { stroke: #c5221f; stroke-dasharray: 3 3; } .area { fill-opacity: .14; }
.area.none, .legend.none { fill: #5f6368; } .area.renoise, .legend.renoise { fill: #e08a1e; }
.area.reanchor, .legend.reanchor { fill: #1a5fb4; } .legend.alarm { fill: #c5221f; } .area, .legend { stroke: none; }
"""
HIGHEST_SCORE = 3.0


class CaseRun(Protocol):
    @property
    def case(self) -> str: ...

    @property
    def remedy(self) -> str: ...

    @property
    def scores(self) -> Sequence[float]: ...


class Panel:
    """One of the boxes under each other, each with scales of its own. Values outside are drawn at its edge."""

    def __init__(self, drawing: Drawing, index: int, title: str, *, x_high: float, y_low: float, y_high: float) -> None:
        top_px = TOP_PX + index * (PANEL_PX + GAP_PX)
        box = Box(LEFT_PX, RIGHT_PX, top_px, top_px + PANEL_PX)
        self._drawing = drawing
        self.x, self.y = box.across(0.0, x_high), box.up(y_low, y_high)
        corner = [(LEFT_PX, top_px), (LEFT_PX, box.bottom_px), (RIGHT_PX, box.bottom_px)]
        drawing.add("path", class_="box", d=line_path(corner))
        drawing.words(LEFT_PX, top_px - 7, title, "bold")
        drawing.words(LEFT_PX - 6, top_px + 8, f"{y_high:.4g}", "end")
        drawing.words(LEFT_PX - 6, box.bottom_px, f"{y_low:.4g}", "end")

    def line(self, xs: Sequence[float], ys: Sequence[float], class_: str) -> None:
        self._drawing.add("path", class_=class_, d=line_path(_points(self.x, self.y, xs, ys)))

    def level(self, y: float) -> None:
        self.line([self.x.low, self.x.high], [y, y], "alarm")

    def area(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], class_: str) -> None:
        there, back = _points(self.x, self.y, xs, high), _points(self.x, self.y, xs, low)
        self._drawing.add("path", class_=f"area {class_}", d=line_path([*there, *reversed(back)]) + "z")


def _points(x: Scale, y: Scale, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    return [(x(a), y(b)) for a, b in zip(xs, ys, strict=True)]


def _drawing(panels: int, title: str, across: str) -> Drawing:
    """With room for so many panels, a title, and under them what the horizontal axis spans."""
    height_px = TOP_PX + panels * (PANEL_PX + GAP_PX) + 10
    drawing = Drawing(WIDTH_PX, height_px, title, across)
    drawing.words(LEFT_PX, 24, title, "title")
    drawing.words(RIGHT_PX, height_px - 8, across, "end")
    return drawing


def judged_stretches(scores: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The stretches of `(sessions, ticks)` in which at least one session has a score, each with its first tick."""
    edges = np.diff(np.isfinite(scores).any(0).astype(int), prepend=0, append=0).nonzero()[0]
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield start, scores[:, start:stop]


def draw_cases(runs: Sequence[CaseRun], alarm_score: float, every_ticks: int = 10) -> str:
    """One panel for each case: the median over seeds with each remedy, and the middle half of the seeds."""
    names, ticks = list(dict.fromkeys(run.case for run in runs)), len(runs[0].scores)
    drawing = _drawing(len(names), "Drift score over time, median and middle half of the seeds", f"{ticks} ticks")
    for at, word in enumerate((*REMEDIES, "alarm")):
        drawing.words(LEFT_PX + at * LEGEND_PX, 44, word, f"legend {word}")
    for row, name in enumerate(names):
        panel = Panel(drawing, row, name, x_high=ticks, y_low=0.0, y_high=HIGHEST_SCORE)
        panel.level(alarm_score)
        for remedy in REMEDIES:
            scores = np.array([run.scores for run in runs if (run.case, run.remedy) == (name, remedy)])
            for start, part in judged_stretches(scores[:, ::every_ticks]):
                xs = [float((start + at) * every_ticks) for at in range(part.shape[1])]
                low, middle, high = np.nanquantile(part, [0.25, 0.5, 0.75], axis=0).tolist()
                panel.area(xs, low, high, remedy)
                panel.line(xs, middle, remedy)
    return drawing.document(STYLE)


@dataclass(frozen=True)
class Curve:
    """One vital sign over minutes. `limits`: lines that a gate holds it to."""

    title: str
    minutes: Sequence[float]
    values: Sequence[float]
    limits: Sequence[float] = ()


def draw_curves(title: str, curves: Sequence[Curve]) -> str:
    """One panel for each curve, all over the same minutes."""
    end = max((curve.minutes[-1] for curve in curves if curve.minutes), default=1.0) or 1.0
    drawing = _drawing(len(curves), title, f"{end:.1f} minutes")
    for row, curve in enumerate(curves):
        seen = [*curve.values, *curve.limits] or [0.0, 1.0]
        low, high = min(seen), max(seen)
        room = 0.08 * (high - low) or 0.5 * abs(high) or 0.5
        floor = 0.0 if 0 <= low < room else low - room
        panel = Panel(drawing, row, curve.title, x_high=end, y_low=floor, y_high=high + room)
        for limit in curve.limits:
            panel.level(limit)
        if curve.values:
            panel.line(curve.minutes, curve.values, "reanchor")
    return drawing.document(STYLE)
