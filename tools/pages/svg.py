"""A few strokes of SVG: scales with round ticks, and a drawing that escapes whatever it is given.

Lengths are px of the drawing's own view box. In a page the strokes are styled by its style sheet; a drawing that is a
file of its own carries its styles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
HALF_A_STROKE_PX = 0.5


@dataclass(frozen=True)
class Scale:
    """A straight line from values to px. Values outside are drawn at the border; ask `covers` first."""

    low: float
    high: float
    start_px: float
    end_px: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"scale: expected low below high, got {self.low} and {self.high}")

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start_px + share * (self.end_px - self.start_px)

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high


def round_step(span: float, about: int, *, whole: bool = False) -> float:
    """A step of 1, 2, 2.5 or 5 times a power of ten that cuts `span` into at most `about` parts."""
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * power for nice in ROUND_STEPS if nice * power >= raw * (1 - 1e-9))
    return max(1.0, float(math.ceil(step))) if whole else step


def round_ticks(low: float, high: float, about: int, *, whole: bool = False) -> list[float]:
    """Round values from `low` to `high`, at most about + 1; only whole numbers if asked."""
    step = round_step(high - low, about, whole=whole)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def px(value: float) -> str:
    """One decimal is a tenth of a pixel, and half the size of the page."""
    return f"{value:.1f}".removesuffix(".0")


def line_path(points: Iterable[tuple[float, float]]) -> str:
    """`M x y L x y ...`"""
    return "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points)


def dots_path(points: Iterable[tuple[float, float]]) -> str:
    """Strokes without length: with round caps each is a dot, and thousands of dots are one element."""
    return "".join(f"M{px(x)} {px(y)}h0" for x, y in points)


def stairs_path(edges_px: Sequence[float], tops_px: Sequence[float]) -> str:
    """A line of treads: `tops_px[i]` from `edges_px[i]` to `edges_px[i + 1]`; treads of equal height are joined."""
    parts = [f"M{px(edges_px[0])} {px(tops_px[0])}"]
    for index in range(1, len(tops_px)):
        if px(tops_px[index]) != px(tops_px[index - 1]):
            parts.append(f"H{px(edges_px[index])}V{px(tops_px[index])}")
    return "".join(parts) + f"H{px(edges_px[len(tops_px)])}"


class Drawing:
    """Collects elements. `title` and `description` are for screen readers."""

    def __init__(self, width_px: float, height_px: float, title: str, description: str) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._head = Markup("<title>{}</title><desc>{}</desc>").format(title, description)
        self._parts: list[Markup] = []

    def add(self, element: str, text: str | None = None, **attributes: object) -> None:
        """One element; `class_` is written class, other underscores become hyphens; floats are px."""
        pairs = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
        written = "".join(f' {name}="{escape(px(v) if isinstance(v, float) else v)}"' for name, v in pairs)
        body = "/>" if text is None else f">{escape(text)}</{element}>"
        self._parts.append(Markup(f"<{element}{written}{body}"))

    def level(self, y_px: float, left_px: float, right_px: float, class_: str) -> None:
        """A horizontal line, set on whole pixels so that it is sharp."""
        y_px = math.floor(y_px) + HALF_A_STROKE_PX
        self.add("path", class_=class_, d=f"M{px(left_px)} {px(y_px)}H{px(right_px)}")

    def upright(self, x_px: float, top_px: float, bottom_px: float, class_: str) -> None:
        x_px = math.floor(x_px) + HALF_A_STROKE_PX
        self.add("path", class_=class_, d=f"M{px(x_px)} {px(top_px)}V{px(bottom_px)}")

    def words(self, x_px: float, y_px: float, text: str, class_: str = "") -> None:
        self.add("text", text, x=float(x_px), y=float(y_px), **({"class_": class_} if class_ else {}))

    def document(self, style: str, *, font_px: float = 12) -> str:
        """The drawing as a file of its own, on white; `style` is CSS."""
        width, height = px(self.width_px), px(self.height_px)
        head = Markup('<svg xmlns="{}" viewBox="0 0 {} {}" font-family="sans-serif" font-size="{}" role="img">').format(
            "http://www.w3.org/2000/svg", width, height, px(font_px)
        )
        paper = Markup('<rect width="{}" height="{}" fill="#ffffff"/>').format(width, height)
        styles = Markup("<style>{}</style>").format(style)
        return "\n".join([head, self._head, styles, paper, *self._parts, "</svg>"]) + "\n"

    def markup(self, class_: str, **data: object) -> Markup:
        """The whole `<svg>`; `data` become data- attributes for the page's script."""
        attributes = Markup("").join(
            Markup(' data-{}="{}"').format(name.replace("_", "-"), px(value) if isinstance(value, float) else value)
            for name, value in data.items()
        )
        size = f"0 0 {px(self.width_px)} {px(self.height_px)}"
        head = Markup('<svg class="{}" viewBox="{}" role="img"{}>').format(class_, size, attributes)
        return head + self._head + Markup("").join(self._parts) + Markup("</svg>")
