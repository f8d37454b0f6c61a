"""How numbers are written on every page: rounding, units, and a dash for what was not measured."""

from __future__ import annotations

import math

NOT_MEASURED = "–"
THIN_SPACE = "\u202f"
"""Narrow and not broken at the end of a line: between thousands, and between a number and its unit."""


def shown(value: float | None) -> str:
    """Three digits or so: 1043, 50.2, 4.81, 0.57, 0.0031. Something that is not zero never reads as zero."""
    if value is None:
        return NOT_MEASURED
    size = abs(value)
    if size >= 1000:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}".removesuffix(".0")
    if size >= 0.1 or size == 0:
        return f"{value:.2f}".removesuffix(".00")
    return f"{value:.{min(9, 1 - math.floor(math.log10(size)))}f}"


def percent(rate: float | None) -> str:
    """0.0017 -> 0.17 %, with two digits, and more where that would read as none or as all."""
    if rate is None:
        return NOT_MEASURED
    if 0 < rate < 0.0001:
        return f"{shown(100 * rate)}{THIN_SPACE}%"
    digits = 0 if rate in (0, 1) else 2 if rate < 0.9999 else 4
    return f"{100 * rate:.{digits}f}{THIN_SPACE}%"


def rounded(value: float | None, digits: int) -> str:
    """At most so many digits after the point, without zeros at their end."""
    if value is None:
        return NOT_MEASURED
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"


def share(part: float | None) -> str:
    """0.978 -> 97.8 %: one digit at most, for parts of a few hundred things."""
    return NOT_MEASURED if part is None else f"{100 * part:.1f}".removesuffix(".0") + f"{THIN_SPACE}%"


def whole(value: int | None) -> str:
    """Thousands apart from 10 000 on."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,}".replace(",", THIN_SPACE) if abs(value) >= 10_000 else str(value)


def byte_size(count: int) -> str:
    """In KiB, MiB or GiB once there are enough of them."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{shown(count / size)}{THIN_SPACE}{unit}"
    return f"{whole(count)}{THIN_SPACE}B"


def plural(count: int, word: str) -> str:
    return f"{whole(count)} {word}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{shown(seconds)}{THIN_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{THIN_SPACE}min {rest}{THIN_SPACE}s"


def reach(horizon_ticks: int | None, tick_hz: float | None) -> str:
    """How far back a part of a world's state reaches; None: without bound."""
    if horizon_ticks is None:
        return "without bound"
    if horizon_ticks == 0:
        return "this tick only"
    return plural(horizon_ticks, "tick") + (f", {shown(horizon_ticks / tick_hz)} s" if tick_hz else "")
