"""What plots share: a plot's box with values up its left side and along its bottom, bars, and curves with gaps.

Lengths are px of the drawing. Classes name strokes of page.css.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .svg import Drawing, Scale, px, round_ticks

NUMBER_GAP_PX, HALF_A_DIGIT_PX = 8, 4
TICK_PX = 5
NEAR_THE_END_PX = 16
"""A number nearer to the right end than this ends there, so that it is not cut off."""


@dataclass(frozen=True)
class Box:
    """Where a plot's lines go; numbers and labels stand outside. `line_px`: from one line of text to the next."""

    left_px: float
    right_px: float
    top_px: float
    bottom_px: float
    line_px: float = 17.0

    def up(self, low: float, high: float) -> Scale:
        return Scale(low, high, self.bottom_px, self.top_px)

    def across(self, low: float, high: float) -> Scale:
        return Scale(low, high, self.left_px, self.right_px)


def values_up(drawing: Drawing, box: Box, up: Scale, about: int, *, whole: bool = False) -> None:
    """Gridlines at round values, with their numbers left of the box."""
    for value in round_ticks(up.low, up.high, about, whole=whole):
        drawing.level(up(value), box.left_px, box.right_px, "grid")
        drawing.words(box.left_px - NUMBER_GAP_PX, up(value) + HALF_A_DIGIT_PX, f"{value:g}", "end")


def values_across(
    drawing: Drawing, box: Box, across: Scale, values: Iterable[float], *, label: str, line: bool = True
) -> None:
    """Short strokes and numbers under the box, and what they count under them, at the right end. `line`: the axis."""
    for value in values:
        x_px = across(value)
        if line:
            drawing.upright(min(x_px, box.right_px - 1), box.bottom_px, box.bottom_px + TICK_PX, "axis")
        class_ = "end" if x_px > box.right_px - NEAR_THE_END_PX else "middle"
        drawing.words(x_px, box.bottom_px + box.line_px + 4, f"{value:,.10g}", class_)
    if line:
        drawing.level(box.bottom_px, box.left_px, box.right_px, "axis")
    drawing.words(box.right_px, box.bottom_px + 2 * box.line_px + 5, label, "end label")


def column(left_px: float, right_px: float, bottom_px: float, height_px: float) -> str:
    """The path of a bar that stands on `bottom_px`."""
    return f"M{px(left_px)} {px(bottom_px)}v{px(-height_px)}H{px(right_px)}v{px(height_px)}z"


def row(left_px: float, width_px: float, top_px: float, height_px: float) -> str:
    """The path of a bar that lies from `left_px` on."""
    return f"M{px(left_px)} {px(top_px)}h{px(width_px)}v{px(height_px)}h{px(-width_px)}z"


def unbroken(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The points in runs of at least two that have a value: None leaves a gap in a curve."""
    runs: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((at, value))
    return [run for run in runs if len(run) > 1]
