"""The plots of the audit's page: effect per frame, frame rates, the memory curve.

Owns what each plot shows. Knows nothing of HTML around it, of evidence or of verdicts. Lengths are px of the drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ...pages.svg import Drawing, Scale, dots_path, line_path, px, round_ticks
from ...report.words import shown

WIDTH_PX, LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX, LINE_PX = 520.0, 50.0, 8.0, 30.0, 214.0, 17.0
LABEL_PX = 120.0
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
    drawing = Drawing(WIDTH_PX, BOTTOM_PX + 2 * LINE_PX + 8, "Effect of an input on the frames after it",
                      f"First changed frame: {first_changed if first_changed is not None else 'none'}.")  # fmt: skip
    up = _axis_up(drawing, top, "difference of the pictures, grey levels")
    across = Scale(0.5, len(effect) + 0.5, LEFT_PX, WIDTH_PX - RIGHT_PX)
    half_px = 0.4 * (across(2) - across(1)) if len(effect) > 1 else 30.0
    for frame, value in enumerate(effect, start=1):
        below = first_changed is None or frame < first_changed
        high = max(BOTTOM_PX - up(value), 1.0)
        bar = f"M{px(across(frame) - half_px)} {px(BOTTOM_PX)}v{px(-high)}h{px(2 * half_px)}v{px(high)}z"
        drawing.add("path", class_="effect below" if below else "effect", d=bar)
    drawing.level(up(floor), LEFT_PX, WIDTH_PX - RIGHT_PX, "floor")
    step = max(1, len(effect) // 8)
    for frame in range(1, len(effect) + 1, step):
        drawing.words(across(frame), BOTTOM_PX + LINE_PX, str(frame), "middle")
    drawing.words(WIDTH_PX - RIGHT_PX, BOTTOM_PX + 2 * LINE_PX + 2, "frames after the input", "end label")
    return drawing.markup("chart half")


def rate_plot(rates: Sequence[tuple[str, float, bool]]) -> Markup:
    """New pictures a second under each script: (script, FPS, whether nothing was pressed)."""
    height = TOP_PX + len(rates) * 34.0
    drawing = Drawing(WIDTH_PX, height + 8, "New pictures a second", "; ".join(f"{n}: {v:.1f}" for n, v, _ in rates))
    across = Scale(0.0, max([value for _, value, _ in rates] + [1e-9]) * HEADROOM, LABEL_PX, WIDTH_PX - 62)
    drawing.words(0, 14, "new pictures a second (FPS)", "label")
    for index, (name, value, idle) in enumerate(rates):
        y = TOP_PX + index * 34.0
        wide = max(across(value) - LABEL_PX, 1.0)
        drawing.words(LABEL_PX - 10, y + 17, name, "end")
        drawing.add(
            "path", class_="rate idle" if idle else "rate", d=f"M{px(LABEL_PX)} {px(y + 2)}h{px(wide)}v22h{px(-wide)}z"
        )
        drawing.words(LABEL_PX + wide + 8, y + 17, shown(value), "strong")
    return drawing.markup("chart half")


def memory_plot(points: Sequence[Point]) -> Markup:
    """How much the picture differs by how long ago the history was changed; dashed: by chance."""
    top = max([point.effect for point in points] + [point.floor for point in points] + [1e-9]) * HEADROOM
    drawing = Drawing(WIDTH_PX, BOTTOM_PX + 2 * LINE_PX + 8, "What the past still changes",
                      f"{len(points)} distances into the past.")  # fmt: skip
    up = _axis_up(drawing, top, "difference of the pictures, grey levels")
    furthest = max(point.ticks_back for point in points)
    across = Scale(0.0, max(furthest, 1.0) * 1.04, LEFT_PX, WIDTH_PX - RIGHT_PX)
    ordered = sorted(points, key=lambda point: point.ticks_back)
    for class_, value in (("floor", lambda p: p.floor), ("curve", lambda p: p.effect)):
        drawing.add("path", class_=class_, d=line_path([(across(p.ticks_back), up(value(p))) for p in ordered]))
    dots = dots_path([(across(p.ticks_back), up(p.effect)) for p in ordered])
    drawing.add("path", class_="curve dots", d=dots)
    for tick in round_ticks(0.0, max(furthest, 1.0), 6, whole=True):
        drawing.words(across(tick), BOTTOM_PX + LINE_PX, f"{tick:g}", "middle")
    drawing.words(WIDTH_PX - RIGHT_PX, BOTTOM_PX + 2 * LINE_PX + 2, "ticks into the past", "end label")
    return drawing.markup("chart half")


def _axis_up(drawing: Drawing, top: float, label: str) -> Scale:
    up = Scale(0.0, top, BOTTOM_PX, TOP_PX)
    for value in round_ticks(0.0, top, 4):
        drawing.level(up(value), LEFT_PX, WIDTH_PX - RIGHT_PX, "grid")
        drawing.words(LEFT_PX - 8, up(value) + 4, f"{value:g}", "end")
    drawing.words(0, 12, label, "label")
    return up
