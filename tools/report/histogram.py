"""The histogram of response times: how many ticks took how long, and how many of them too long.

Owns the bins. Knows nothing of the order in which ticks came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ..pages.svg import Drawing, Scale, px, round_step, round_ticks
from .document import Report, Series
from .figures import RIGHT_PX, top_ms
from .words import shown

WIDTH_PX, LEFT_PX, PLOT_PX, LINE_PX = 520, 46, 214, 17
TICKS_ACROSS = 6
BINS_PER_DEADLINE = 40
MIN_BAR_PX = 2.0
"""The bin with one tick in it is the one that matters, so it is never too low to see."""


@dataclass(frozen=True)
class Bins:
    """Ticks by response: `counts[i]` from above i*width_ms to (i+1)*width_ms; `above` lie beyond the last bin."""

    width_ms: float
    counts: tuple[int, ...]
    above: int

    @property
    def end_ms(self) -> float:
        return self.width_ms * len(self.counts)


def response_bins(response_ms: Sequence[float], deadline_ms: float) -> Bins:
    """Bins that end exactly at the deadline, or finer ones where all responses are far below it."""
    highest = max(response_ms)
    if highest < 0.4 * deadline_ms:
        width = round_step(max(highest, 1e-3), BINS_PER_DEADLINE)
        end = highest
    else:
        width = deadline_ms / BINS_PER_DEADLINE
        end = top_ms(highest, float(np.percentile(response_ms, 99)), deadline_ms)
    bins = int(end / width) + 1
    # A bin holds its upper edge and not its lower one: exactly at the deadline is in time.
    indices = np.maximum(np.ceil(np.asarray(response_ms) / width - 1e-9).astype(int) - 1, 0)
    inside = indices[indices < bins]
    counts = np.bincount(inside, minlength=bins)
    return Bins(width, tuple(int(count) for count in counts), int(np.count_nonzero(indices >= bins)))


def histogram(report: Report) -> Markup:
    """How many ticks took how long, with the deadline."""
    assert report.series is not None
    bins = response_bins(report.series.response_ms, report.deadline_ms)
    counts = [*bins.counts, *([0, bins.above] if bins.above else [])]
    left, right = LEFT_PX, WIDTH_PX - RIGHT_PX
    top, bottom = LINE_PX + 22.0, LINE_PX + 22 + PLOT_PX
    drawing = Drawing(WIDTH_PX, bottom + 2 * LINE_PX + 10, "Histogram of response", "Ticks by response time.")
    across = Scale(0.0, len(counts) * bins.width_ms, left, right)
    up = Scale(0.0, max(counts) * 1.06, bottom, top)
    for value in round_ticks(0.0, up.high, 4, whole=True):
        drawing.level(up(value), left, right, "grid")
        drawing.words(left - 8, up(value) + 4, f"{value:g}", "end")
    drawing.words(0, LINE_PX - 4, _counted(report.series), "label")
    for late in (False, True):
        bars = _bars(counts, bins.width_ms, across, up, late_from_ms=report.deadline_ms, late=late)
        if bars:
            drawing.add("path", class_="bar late" if late else "bar", d=bars)
    _histogram_axis(drawing, bins, across, bottom)
    if across.covers(report.deadline_ms) and bins.end_ms >= report.deadline_ms:
        x_px = across(report.deadline_ms)
        drawing.upright(x_px, top - 8, bottom, "deadline")
        class_ = "end strong" if x_px > (left + right) / 2 else "strong"
        drawing.words(x_px, top - 13, f"deadline {report.deadline_ms:g} ms", class_)
    else:
        drawing.words(right, top - 13, f"deadline {report.deadline_ms:g} ms is far to the right →", "end strong")
    return drawing.markup("chart half")


def _counted(series: Series) -> str:
    return "ticks" if series.ticks_per_point == 1 else f"groups of {series.ticks_per_point} ticks, by their slowest"


def _bars(counts: Sequence[int], width_ms: float, across: Scale, up: Scale, *, late_from_ms: float, late: bool) -> str:
    gap_px = min(1.0, 0.2 * (across(width_ms) - across(0)))
    parts = []
    for index, count in enumerate(counts):
        if count and (index * width_ms >= late_from_ms * (1 - 1e-9)) == late:
            left, right = across(index * width_ms), across((index + 1) * width_ms) - gap_px
            height = max(up.start_px - up(count), MIN_BAR_PX)
            parts.append(f"M{px(left)} {px(up.start_px)}v{px(-height)}H{px(right)}v{px(height)}z")
    return "".join(parts)


def _histogram_axis(drawing: Drawing, bins: Bins, across: Scale, bottom_px: float) -> None:
    for value in round_ticks(0.0, bins.end_ms, TICKS_ACROSS):
        x_px = across(value)
        if bins.above and x_px > across.end_px - 60:
            continue  # room for the label of the last bar
        drawing.upright(x_px, bottom_px, bottom_px + 5, "axis")
        class_ = "end" if x_px > across.end_px - 12 else "middle"
        drawing.words(x_px, bottom_px + LINE_PX + 4, f"{value:g}", class_)
    if bins.above:
        text = f"> {shown(bins.end_ms)}"
        drawing.words(across.end_px, bottom_px + LINE_PX + 4, text, "end")
    drawing.level(bottom_px, across.start_px, across.end_px, "axis")
    drawing.words(across.end_px, bottom_px + 2 * LINE_PX + 5, "response, ms", "end label")
