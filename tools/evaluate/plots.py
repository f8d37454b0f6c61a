"""Line charts of the evaluation page: several curves over ticks, and a band between two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..pages.charts import Box, unbroken, values_across, values_up
from ..pages.svg import Drawing, line_path, round_ticks

WIDTH_PX, HEIGHT_PX = 520.0, 250.0
BOX = Box(left_px=46.0, right_px=512.0, top_px=26.0, bottom_px=206.0)


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
    up = BOX.up(low if axes.low is not None else low - margin, high if axes.high is not None else high + margin)
    over = BOX.across(ticks[0], max(ticks[-1], ticks[0] + 1))
    drawing = Drawing(WIDTH_PX, HEIGHT_PX, axes.title, ", ".join(curves))
    values_up(drawing, BOX, up, 5)
    values_across(drawing, BOX, over, round_ticks(over.low, over.high, 6, whole=True), label=axes.across)
    drawing.words(0, 12, axes.label, "label")
    if band is not None:
        there = [(over(t), up(v)) for t, v in zip(ticks, band[1], strict=True)]
        back = [(over(t), up(v)) for t, v in zip(ticks, band[0], strict=True)]
        drawing.add("path", class_="band", d=line_path([*there, *reversed(back)]) + "z")
    for at, curve in enumerate(curves.values()):
        for points in unbroken([(t, v) for t, v in zip(ticks, curve, strict=True)]):
            drawing.add("path", class_=f"series series-{at}", d=line_path((over(t), up(v)) for t, v in points))
    return drawing.markup("chart half")
