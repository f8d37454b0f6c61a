"""The histogram of response times: how many ticks took how long, and how many of them too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from ..pages.charts import Box, column, values_across, values_up
from ..pages.svg import Drawing, Scale, round_step, round_ticks
from ..pages.words import shown
from .document import Report, Series
from .figures import RIGHT_PX, top_ms

WIDTH_PX, HEIGHT_PX = 520, 297
BOX = Box(left_px=46.0, right_px=WIDTH_PX - RIGHT_PX, top_px=39.0, bottom_px=253.0)
TICKS_ACROSS = 6
BINS_PER_DEADLINE = 40
ROOM_FOR_ABOVE_PX = 60
"""The label of the last bar, which holds all that is beyond the bins."""
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
    drawing = Drawing(WIDTH_PX, HEIGHT_PX, "Histogram of response", "Ticks by response time.")
    across, up = BOX.across(0.0, len(counts) * bins.width_ms), BOX.up(0.0, max(counts) * 1.06)
    values_up(drawing, BOX, up, 4, whole=True)
    drawing.words(0, BOX.line_px - 4, _counted(report.series), "label")
    for late in (False, True):
        bars = _bars(counts, bins.width_ms, across, up, late_from_ms=report.deadline_ms, late=late)
        if bars:
            drawing.add("path", class_="bar late" if late else "bar", d=bars)
    _axis(drawing, bins, across)
    if across.covers(report.deadline_ms) and bins.end_ms >= report.deadline_ms:
        x_px = across(report.deadline_ms)
        drawing.upright(x_px, BOX.top_px - 8, BOX.bottom_px, "deadline")
        class_ = "end strong" if x_px > (BOX.left_px + BOX.right_px) / 2 else "strong"
        drawing.words(x_px, BOX.top_px - 13, f"deadline {report.deadline_ms:g} ms", class_)
    else:
        text = f"deadline {report.deadline_ms:g} ms is far to the right →"
        drawing.words(BOX.right_px, BOX.top_px - 13, text, "end strong")
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
            parts.append(column(left, right, up.start_px, height))
    return "".join(parts)


def _axis(drawing: Drawing, bins: Bins, across: Scale) -> None:
    values = round_ticks(0.0, bins.end_ms, TICKS_ACROSS)
    if bins.above:
        values = [value for value in values if across(value) <= across.end_px - ROOM_FOR_ABOVE_PX]
        drawing.words(across.end_px, BOX.bottom_px + BOX.line_px + 4, f"> {shown(bins.end_ms)}", "end")
    values_across(drawing, BOX, across, values, label="response, ms")
