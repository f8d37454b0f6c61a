"""Pictures of long sessions as SVG: drift scores by case and remedy, and the vital signs of a soak.

Owns strokes and scales. Knows nothing of how the numbers came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

WIDTH_PX, LEFT_PX, RIGHT_PX, TOP_PX, PANEL_PX, GAP_PX = 900, 70, 20, 70, 74, 34
COLOURS = {"none": "#5f6368", "renoise": "#e08a1e", "reanchor": "#1a5fb4"}
INK, FAINT, ALARM = "#202124", "#dadce0", "#c5221f"
HIGHEST_SCORE = 3.0


class CaseRun(Protocol):
    @property
    def case(self) -> str: ...

    @property
    def remedy(self) -> str: ...

    @property
    def scores(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Panel:
    """A box with a straight scale on each axis, px. Values outside the box are drawn at its edge."""

    top_px: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        share = (value - self.x_low) / max(self.x_high - self.x_low, 1e-12)
        return LEFT_PX + min(max(share, 0.0), 1.0) * (WIDTH_PX - LEFT_PX - RIGHT_PX)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / max(self.y_high - self.y_low, 1e-12)
        return self.top_px + (1 - min(max(share, 0.0), 1.0)) * PANEL_PX

    def frame(self, title: str) -> list[str]:
        """The box, its title and the ends of its vertical scale."""
        right, bottom = WIDTH_PX - RIGHT_PX, self.top_px + PANEL_PX
        return [
            f'<path d="M{LEFT_PX} {self.top_px}V{bottom}H{right}" fill="none" stroke="{FAINT}"/>',
            text(LEFT_PX, self.top_px - 7, title, weight="bold"),
            text(LEFT_PX - 6, self.top_px + 8, f"{self.y_high:.4g}", anchor="end"),
            text(LEFT_PX - 6, bottom, f"{self.y_low:.4g}", anchor="end"),
        ]

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, *, dash: str = "") -> str:
        points = " ".join(f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in zip(xs, ys, strict=True))
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'

    def area(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> str:
        there = [f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in zip(xs, high, strict=True)]
        back = [f"{self.x(a):.1f},{self.y(b):.1f}" for a, b in zip(xs, low, strict=True)]
        return f'<polygon points="{" ".join(there + back[::-1])}" fill="{colour}" fill-opacity="0.14"/>'


def text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal", colour: str = INK) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"


def picture(height_px: float, title: str, strokes: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px:.0f}" '
        f'font-family="sans-serif" font-size="12" role="img" aria-label="{escape(title)}">'
    )
    paper = f'<rect width="{WIDTH_PX}" height="{height_px:.0f}" fill="#ffffff"/>'
    heading = f'<text x="{LEFT_PX}" y="24" font-size="16" fill="{INK}">{escape(title)}</text>'
    return "\n".join([head, paper, heading, *strokes, "</svg>"]) + "\n"


def judged_stretches(scores: NDArray[np.float64]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The stretches of `(sessions, ticks)` in which at least one session has a score, each with its first tick."""
    edges = np.diff(np.isfinite(scores).any(0).astype(int), prepend=0, append=0).nonzero()[0]
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield start, scores[:, start:stop]


def draw_cases(runs: Sequence[CaseRun], alarm_score: float, every_ticks: int = 10) -> str:
    """One panel for each case: the median over seeds with each remedy, and the middle half of the seeds."""
    names = list(dict.fromkeys(run.case for run in runs))
    strokes = []
    for at, remedy in enumerate(COLOURS):
        strokes.append(text(LEFT_PX + at * 110, 44, remedy, weight="bold", colour=COLOURS[remedy]))
    strokes.append(text(LEFT_PX + 3 * 110, 44, "alarm", weight="bold", colour=ALARM))
    for row, name in enumerate(names):
        ticks = len(runs[0].scores)
        panel = Panel(TOP_PX + row * (PANEL_PX + GAP_PX), 0, ticks, 0.0, HIGHEST_SCORE)
        strokes += panel.frame(name)
        strokes.append(panel.line([0, ticks], [alarm_score, alarm_score], ALARM, dash="3 3"))
        for remedy, colour in COLOURS.items():
            scores = np.array([run.scores for run in runs if (run.case, run.remedy) == (name, remedy)])
            for start, part in judged_stretches(scores[:, ::every_ticks]):
                xs = [(start + at) * every_ticks for at in range(part.shape[1])]
                low, middle, high = np.nanquantile(part, [0.25, 0.5, 0.75], axis=0).tolist()
                strokes += [panel.area(xs, low, high, colour), panel.line(xs, middle, colour)]
    height_px = TOP_PX + len(names) * (PANEL_PX + GAP_PX) + 10
    strokes.append(text(WIDTH_PX - RIGHT_PX, height_px - 8, f"{len(runs[0].scores)} ticks", anchor="end"))
    return picture(height_px, "Drift score over time, median and middle half of the seeds", strokes)


@dataclass(frozen=True)
class Curve:
    """One vital sign over minutes. `limits`: lines that a gate holds it to."""

    title: str
    minutes: Sequence[float]
    values: Sequence[float]
    limits: Sequence[float] = ()


def draw_curves(title: str, curves: Sequence[Curve]) -> str:
    """One panel for each curve, all over the same minutes."""
    strokes, end = [], max((curve.minutes[-1] for curve in curves if curve.minutes), default=1.0)
    for row, curve in enumerate(curves):
        seen = [*curve.values, *curve.limits] or [0.0, 1.0]
        low, high = min(seen), max(seen)
        room = 0.08 * (high - low) or 0.5 * abs(high) or 0.5
        floor = 0.0 if 0 <= low < room else low - room
        panel = Panel(TOP_PX + row * (PANEL_PX + GAP_PX), 0.0, end, floor, high + room)
        strokes += panel.frame(curve.title)
        strokes += [panel.line([0, end], [limit, limit], ALARM, dash="3 3") for limit in curve.limits]
        strokes.append(panel.line(curve.minutes, curve.values, COLOURS["reanchor"]))
    height_px = TOP_PX + len(curves) * (PANEL_PX + GAP_PX) + 10
    strokes.append(text(WIDTH_PX - RIGHT_PX, height_px - 8, f"{end:.1f} minutes", anchor="end"))
    return picture(height_px, title, strokes)
