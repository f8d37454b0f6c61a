"""Line charts of the evaluation page: several curves over ticks, and a band between two of them.

Owns their geometry. Knows nothing of what the curves mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..pages.svg import Drawing, Scale, line_path, px, round_ticks

WIDTH_PX, HEIGHT_PX = 520.0, 250.0
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 46.0, 512.0, 26.0, 206.0


@dataclass(frozen=True)
class Axes:
    """`label` stands over the plot, `across` under it. `low`, `high`: None to take them from the curves."""

    title: str
    label: str
    across: str
    low: float | None = None
    high: float | None = None


def chart(
    axes: Axes,
    ticks: Sequence[float],
    curves: Mapping[str, Sequence[float | None]],
    *,
    band: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Markup:
    """One curve for each name, in the order of the legend; None leaves a gap."""
    values = [value for curve in curves.values() for value in curve if value is not None]
    values += [value for side in band or () for value in side]
    low = min(values) if axes.low is None else axes.low
    high = max(values) if axes.high is None else axes.high
    margin = 0.06 * (high - low) or 1.0
    up = Scale(low if axes.low is not None else low - margin, high if axes.high is not None else high + margin,
               BOTTOM_PX, TOP_PX)  # fmt: skip
    over = Scale(ticks[0], max(ticks[-1], ticks[0] + 1), LEFT_PX, RIGHT_PX)
    drawing = Drawing(WIDTH_PX, HEIGHT_PX, axes.title, ", ".join(curves))
    _frame(drawing, axes, up, over)
    if band is not None:
        there = [(over(t), up(v)) for t, v in zip(ticks, band[1], strict=True)]
        back = [(over(t), up(v)) for t, v in zip(ticks, band[0], strict=True)]
        drawing.add("path", class_="band", d=line_path([*there, *reversed(back)]) + "z")
    for at, curve in enumerate(curves.values()):
        for points in _runs([(t, v) for t, v in zip(ticks, curve, strict=True)]):
            drawing.add("path", class_=f"series series-{at}", d=line_path((over(t), up(v)) for t, v in points))
    return drawing.markup("chart half")


def _frame(drawing: Drawing, axes: Axes, up: Scale, over: Scale) -> None:
    for value in round_ticks(up.low, up.high, 5):
        drawing.level(up(value), LEFT_PX, RIGHT_PX, "grid")
        drawing.words(LEFT_PX - 8, up(value) + 4, f"{value:g}", "end")
    for value in round_ticks(over.low, over.high, 6, whole=True):
        x_px = over(value)
        drawing.add("path", class_="axis", d=f"M{px(x_px)} {px(BOTTOM_PX)}v5")
        drawing.words(x_px, BOTTOM_PX + 20, f"{value:,.0f}", "end" if x_px > RIGHT_PX - 16 else "middle")
    drawing.level(BOTTOM_PX, LEFT_PX, RIGHT_PX, "axis")
    drawing.words(0, 12, axes.label, "label")
    drawing.words(RIGHT_PX, BOTTOM_PX + 38, axes.across, "end label")


def _runs(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The points in unbroken runs of at least two."""
    runs: list[list[tuple[float, float]]] = [[]]
    for tick, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((tick, value))
    return [run for run in runs if len(run) > 1]
