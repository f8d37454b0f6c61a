"""The comparison as one SVG: a row for each load, a dot for each policy; misses on the left, steps on the right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from ...pages.svg import Drawing, Scale, line_path

COLOURS = {
    "fixed top": "#9aa0a6",
    "Unity HDRP": "#b07aa1",
    "Valve": "#e08a1e",
    "no mid-tick gate": "#76b7b2",
    "nextframe": "#1a5fb4",
}
STYLE = """
.end { text-anchor: end; } .middle { text-anchor: middle; } .bold { font-weight: bold; } .faint { fill: #666; }
.grid { stroke: #e4e4e4; } .goal { stroke: #c01c28; stroke-dasharray: 4 3; }
"""
WIDTH_PX, ROW_PX, TOP_PX, LABEL_PX, PANEL_PX, GAP_PX = 900.0, 34.0, 78.0, 150.0, 330.0, 50.0
LOWEST_PERCENT, HIGHEST_PERCENT = 0.05, 100.0
GOAL_PERCENT = 0.5
SHARES = (40, 60, 80, 90, 100, 120, 140)


class Scored(Protocol):
    @property
    def family(self) -> str: ...

    @property
    def policy(self) -> str: ...

    @property
    def miss_percent(self) -> float: ...

    @property
    def oracle_share_percent(self) -> float: ...


MISSES = Scale(math.log(LOWEST_PERCENT), math.log(HIGHEST_PERCENT), LABEL_PX, LABEL_PX + PANEL_PX)
"""Logarithmic; what is rarer than the axis's start sits on it."""
STEPS = Scale(SHARES[0], SHARES[-1], MISSES.end_px + GAP_PX, MISSES.end_px + GAP_PX + PANEL_PX)


def miss_x(percent: float) -> float:
    return MISSES(math.log(max(percent, LOWEST_PERCENT)))


def _gridline(drawing: Drawing, x_px: float, bottom_px: float, label: str, *, goal: bool = False) -> None:
    drawing.add("path", class_="goal" if goal else "grid", d=line_path([(x_px, TOP_PX), (x_px, bottom_px)]))
    drawing.words(x_px, bottom_px + 16, label, "middle faint")


def _legend(drawing: Drawing) -> None:
    x_px = LABEL_PX
    for policy, colour in COLOURS.items():
        drawing.add("circle", cx=x_px, cy=20.0, r=5.5, fill=colour)
        drawing.words(x_px + 10, 24, policy)
        x_px += 36 + 7.2 * len(policy)


def draw(scores: Sequence[Scored]) -> str:
    """The whole SVG document. Policies without a colour, the oracle, are not drawn: it is the 100 % line."""
    families = list(dict.fromkeys(score.family for score in scores))
    bottom_px = TOP_PX + ROW_PX * len(families)
    drawing = Drawing(WIDTH_PX, bottom_px + 34, "Ways to choose quality, compared", ", ".join(families))
    _legend(drawing)
    drawing.words(LABEL_PX + PANEL_PX / 2, 58, "ticks missed, % (left is better)", "middle bold")
    drawing.words(STEPS(90), 58, "denoise steps, % of the oracle's (more only by missing)", "middle bold")
    for percent in (LOWEST_PERCENT, 0.5, 1, 10, 100):
        label = f"≤{percent:g}" if percent == LOWEST_PERCENT else f"{percent:g}"
        _gridline(drawing, miss_x(percent), bottom_px, label, goal=percent == GOAL_PERCENT)
    for percent in SHARES:
        _gridline(drawing, STEPS(percent), bottom_px, f"{percent}", goal=percent == 90)
    for row, family in enumerate(families):
        y_px = TOP_PX + (row + 0.5) * ROW_PX
        drawing.words(LABEL_PX - 14, y_px + 4, family, "end")
        for score in scores:
            colour = COLOURS.get(score.policy)
            if score.family != family or colour is None:
                continue
            radius = 6.5 if score.policy == "nextframe" else 5.0
            for x_px in (miss_x(score.miss_percent), STEPS(score.oracle_share_percent)):
                drawing.add("circle", cx=x_px, cy=y_px, r=radius, fill=colour, fill_opacity="0.85")
    return drawing.document(STYLE)
