"""How numbers are written on the page, and what the page says about causes, stages and phases.

Owns rounding, units and plain words. Knows nothing of HTML.
"""

from __future__ import annotations

import math

NOT_MEASURED = "–"
THIN_SPACE = "\u202f"
"""Narrow and not broken at the end of a line: between thousands, and between a number and its unit."""

CAUSES = {
    "condition": "Preparing the input for the network took longer than usual.",
    "denoise": "The network's denoise steps took longer than usual.",
    "decode": "Turning the network's result into pixels took longer than usual.",
    "present": "Handing the frame to the screen took longer than usual.",
    "queue": "The tick started late, because the one before was still busy.",
    "late_start": "The tick started late, because the one before was still busy.",
    "gc": "Python's garbage collector ran in the middle of the tick.",
    "allocation": "Memory had to be fetched from the system in the middle of the tick.",
    "clock_gap": "The machine stood still: suspended, or stopped by a debugger.",
    "external": "The tick waited for a processor core that something else used.",
    "unknown": "Nothing that was measured stands out.",
}
STAGES = {
    "condition": "input prepared for the network",
    "denoise": "the network draws the next frame, step by step",
    "decode": "the result becomes pixels",
    "present": "the frame is handed to the screen",
    "commit": "memory is written, after the frame is shown",
}
PHASES = {
    "import": "libraries loaded",
    "load": "world and weights read",
    "warmup": "every quality level run once",
    "first_frame": "first tick",
}


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
