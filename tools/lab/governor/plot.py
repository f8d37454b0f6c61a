"""Draws the comparison as one SVG: a row for each load, a dot for each policy; misses on the left, steps on the right.

Owns the picture. Knows nothing of how the scores came about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol
from xml.sax.saxutils import escape

COLOURS = {
    "fixed top": "#9aa0a6",
    "Unity HDRP": "#b07aa1",
    "Valve": "#e08a1e",
    "no mid-tick gate": "#76b7b2",
    "nextframe": "#1a5fb4",
}
WIDTH_PX, ROW_PX, TOP_PX, LABEL_PX, PANEL_PX, GAP_PX = 900, 34, 78, 150, 330, 50
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


def miss_x(percent: float) -> float:
    """Logarithmic; what is rarer than the axis's start sits on it."""
    share = math.log(max(percent, LOWEST_PERCENT) / LOWEST_PERCENT) / math.log(HIGHEST_PERCENT / LOWEST_PERCENT)
    return LABEL_PX + share * PANEL_PX


def share_x(percent: float) -> float:
    share = (min(max(percent, SHARES[0]), SHARES[-1]) - SHARES[0]) / (SHARES[-1] - SHARES[0])
    return LABEL_PX + PANEL_PX + GAP_PX + share * PANEL_PX


def _text(x: float, y: float, text: str, *, anchor: str = "middle", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'


def _grid(x: float, bottom: float, label: str, *, goal: bool = False) -> list[str]:
    style = 'stroke="#c01c28" stroke-dasharray="4 3"' if goal else 'stroke="#e4e4e4"'
    line = f'<line x1="{x:.1f}" y1="{TOP_PX}" x2="{x:.1f}" y2="{bottom:.1f}" {style}/>'
    return [line, _text(x, bottom + 16, label, extra='fill="#666"')]


def _legend() -> list[str]:
    parts, x = [], float(LABEL_PX)
    for policy, colour in COLOURS.items():
        parts.append(f'<circle cx="{x:.1f}" cy="20" r="5.5" fill="{colour}"/>')
        parts.append(_text(x + 10, 24, policy, anchor="start"))
        x += 36 + 7.2 * len(policy)
    return parts


def draw(scores: Sequence[Scored]) -> str:
    """The whole SVG document. Policies without a colour, the oracle, are not drawn: it is the 100 % line."""
    families = list(dict.fromkeys(score.family for score in scores))
    bottom = TOP_PX + ROW_PX * len(families)
    parts = _legend()
    parts.append(_text(LABEL_PX + PANEL_PX / 2, 58, "ticks missed, % (left is better)", extra='font-weight="bold"'))
    heading = "denoise steps, % of the oracle's (more only by missing)"
    parts.append(_text(share_x(90), 58, heading, extra='font-weight="bold"'))
    for percent in (LOWEST_PERCENT, 0.5, 1, 10, 100):
        label = f"≤{percent:g}" if percent == LOWEST_PERCENT else f"{percent:g}"
        parts += _grid(miss_x(percent), bottom, label, goal=percent == GOAL_PERCENT)
    for percent in SHARES:
        parts += _grid(share_x(percent), bottom, f"{percent}", goal=percent == 90)
    for row, family in enumerate(families):
        y = TOP_PX + (row + 0.5) * ROW_PX
        parts.append(_text(LABEL_PX - 14, y + 4, family, anchor="end"))
        for score in scores:
            colour = COLOURS.get(score.policy)
            if score.family != family or colour is None:
                continue
            radius = 6.5 if score.policy == "nextframe" else 5
            for x in (miss_x(score.miss_percent), share_x(score.oracle_share_percent)):
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}" fill-opacity="0.85"/>')
    height = bottom + 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{height}" '
        f'viewBox="0 0 {WIDTH_PX} {height}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH_PX}" height="{height}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
