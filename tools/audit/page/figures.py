"""The plots of the audit's page: effect per frame, frame rates, the memory curve. Lengths are px of the drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ...pages.charts import Box, column, row, values_across, values_up
from ...pages.svg import Drawing, Scale, dots_path, line_path, round_ticks
from ...pages.words import shown

WIDTH_PX, HEIGHT_PX = 520.0, 258.0
BOX = Box(left_px=50.0, right_px=512.0, top_px=30.0, bottom_px=214.0)
LABEL_PX, ROW_PX, BAR_PX = 120.0, 34.0, 22.0
HEADROOM = 1.12


@dataclass(frozen=True)
class Point:
    """Of the memory curve: history `ticks_back` ticks ago was changed, the picture then differed by `effect`."""

    ticks_back: float
    effect: float
    floor: float


def effect_plot(effect: Sequence[float], floor: float, first_changed: int | None) -> Markup:
    """A bar for each frame after the input; the dashed line is what differs without any input."""
    top = max([*effect, floor, 1e-9]) * HEADROOM
    drawing = Drawing(WIDTH_PX, HEIGHT_PX, "Effect of an input on the frames after it",
                      f"First changed frame: {first_changed if first_changed is not None else 'none'}.")  # fmt: skip
    up = _axis_up(drawing, top, "difference of the pictures, grey levels")
    across = BOX.across(0.5, len(effect) + 0.5)
    half_px = 0.4 * (across(2) - across(1)) if len(effect) > 1 else 30.0
    for frame, value in enumerate(effect, start=1):
        below = first_changed is None or frame < first_changed
        high = max(BOX.bottom_px - up(value), 1.0)
        bar = column(across(frame) - half_px, across(frame) + half_px, BOX.bottom_px, high)
        drawing.add("path", class_="effect below" if below else "effect", d=bar)
    drawing.level(up(floor), BOX.left_px, BOX.right_px, "floor")
    shown_frames = range(1, len(effect) + 1, max(1, len(effect) // 8))
    values_across(drawing, BOX, across, shown_frames, label="frames after the input", line=False)
    return drawing.markup("chart half")


def rate_plot(rates: Sequence[tuple[str, float, bool]]) -> Markup:
    """New pictures a second under each script: (script, FPS, whether nothing was pressed)."""
    height = BOX.top_px + len(rates) * ROW_PX
    drawing = Drawing(WIDTH_PX, height + 8, "New pictures a second", "; ".join(f"{n}: {v:.1f}" for n, v, _ in rates))
    across = Scale(0.0, max([value for _, value, _ in rates] + [1e-9]) * HEADROOM, LABEL_PX, WIDTH_PX - 62)
    drawing.words(0, 14, "new pictures a second (FPS)", "label")
    for index, (name, value, idle) in enumerate(rates):
        y = BOX.top_px + index * ROW_PX
        wide = max(across(value) - LABEL_PX, 1.0)
        drawing.words(LABEL_PX - 10, y + 17, name, "end")
        drawing.add("path", class_="rate idle" if idle else "rate", d=row(LABEL_PX, wide, y + 2, BAR_PX))
        drawing.words(LABEL_PX + wide + 8, y + 17, shown(value), "strong")
    return drawing.markup("chart half")


def memory_plot(points: Sequence[Point]) -> Markup:
    """How much the picture differs by how long ago the history was changed; dashed: by chance."""
    top = max([point.effect for point in points] + [point.floor for point in points] + [1e-9]) * HEADROOM
    drawing = Drawing(WIDTH_PX, HEIGHT_PX, "What the past still changes",
                      f"{len(points)} distances into the past.")  # fmt: skip
    up = _axis_up(drawing, top, "difference of the pictures, grey levels")
    furthest = max(point.ticks_back for point in points)
    across = BOX.across(0.0, max(furthest, 1.0) * 1.04)
    ordered = sorted(points, key=lambda point: point.ticks_back)
    for class_, value in (("floor", lambda p: p.floor), ("curve", lambda p: p.effect)):
        drawing.add("path", class_=class_, d=line_path([(across(p.ticks_back), up(value(p))) for p in ordered]))
    dots = dots_path([(across(p.ticks_back), up(p.effect)) for p in ordered])
    drawing.add("path", class_="curve dots", d=dots)
    ticks = round_ticks(0.0, max(furthest, 1.0), 6, whole=True)
    values_across(drawing, BOX, across, ticks, label="ticks into the past", line=False)
    return drawing.markup("chart half")


def _axis_up(drawing: Drawing, top: float, label: str) -> Scale:
    up = BOX.up(0.0, top)
    values_up(drawing, BOX, up, 4)
    drawing.words(0, 12, label, "label")
    return up
