"""What `--quality` means: adaptive, one fixed rung, or quality by tick from a file.

The rules themselves are in `adaptive`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core import Clock, ConfigError
from ..loop import Governor
from ..tick.controls import SessionControls
from .adaptive import AdaptiveGovernor, FixedGovernor, TraceGovernor
from .cost import CostSample

EXPECTED = "expected adaptive, fixed:STEPS or trace:FILE"
LARGEST_FILE_BYTES = 16 * 2**20
MOST_TICKS = 10_000_000


@dataclass(frozen=True)
class QualityChoice:
    """A way to choose quality, read but not yet held against a world's ladder.

    `levels`: empty for adaptive, one number for fixed, denoise steps by tick for a trace. `text`: as it was asked for.
    """

    text: str
    kind: str
    levels: tuple[int, ...] = ()

    def check(self, ladder: Sequence[int]) -> None:
        """Raises `ConfigError` at the first level that is no rung of the ladder."""
        for tick, steps in enumerate(self.levels):
            if steps not in ladder:
                where = f" at tick {tick}" if self.kind == "trace" else ""
                rungs = ", ".join(str(rung) for rung in ladder)
                raise ConfigError(
                    f"--quality {self.text}: expected denoise steps of this world's ladder ({rungs}), "
                    f"got {steps}{where}; choose one of them"
                )

    def governor(
        self,
        ladder: Sequence[int],
        clock: Clock,
        *,
        tick_deadline_ns: int,
        tick_period_ns: int | None = None,
        controls: SessionControls | None = None,
        floor_steps: int | None = None,
        ceiling_steps: int | None = None,
        warm_start: CostSample | None = None,
    ) -> Governor:
        """The governor asked for. Limits and warm start are for adaptive quality only. Raises `ConfigError`."""
        self.check(ladder)
        if self.kind == "fixed":
            return FixedGovernor(self.levels[0])
        if self.kind == "trace":
            return TraceGovernor(self.levels)
        try:
            return AdaptiveGovernor(
                ladder,
                clock,
                tick_deadline_ns=tick_deadline_ns,
                tick_period_ns=tick_period_ns,
                controls=controls,
                floor_steps=floor_steps,
                ceiling_steps=ceiling_steps,
                warm_start=warm_start,
            )
        except ValueError as error:
            raise ConfigError(f"--quality {self.text}: {error}") from error


ADAPTIVE = QualityChoice("adaptive", "adaptive")


def governor_choice(text: str) -> QualityChoice:
    """Read `adaptive`, `fixed:STEPS` or `trace:FILE`. Raises `ConfigError` for anything else, and for a bad file.

    The file of a trace: denoise steps by tick as a JSON list, or plain numbers with spaces, commas or new lines
    between them and `#` before a remark, or an earlier report, whose `series` is followed.
    """
    kind, separator, value = text.strip().partition(":")
    if kind == "adaptive" and not separator:
        return ADAPTIVE
    if kind == "fixed" and separator:
        return QualityChoice(text, kind, (_steps(value, f"--quality {text}"),))
    if kind == "trace" and value:
        return QualityChoice(text, kind, read_levels(Path(value)))
    raise ConfigError(f"--quality {text}: {EXPECTED}, got {text!r}")


def read_levels(path: Path) -> tuple[int, ...]:
    """Denoise steps by tick from a file, see `governor_choice`. Raises `ConfigError`."""
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise ConfigError(f"{path}: expected at most {LARGEST_FILE_BYTES >> 20} MiB of quality levels")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read the quality trace: {error}") from error
    levels = _from_json(path, text) if text.lstrip()[:1] in ("{", "[") else _from_words(path, text)
    if not levels:
        raise ConfigError(f"{path}: expected denoise steps by tick, got none")
    return levels


def _from_words(path: Path, text: str) -> tuple[int, ...]:
    levels = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = re.split(r"[\s,]+", line.partition("#")[0].strip())
        levels += [_steps(word, f"{path}:{number}") for word in words if word]
    return tuple(levels)


def _from_json(path: Path, text: str) -> tuple[int, ...]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: expected a JSON list of denoise steps or a report, got bad JSON: {error}"
        ) from error
    if isinstance(document, list):
        return tuple(_steps(value, f"{path}: tick {tick}") for tick, value in enumerate(document))
    series = document.get("series")
    if not isinstance(series, Mapping):
        raise ConfigError(f"{path}: expected a list of denoise steps, or a report with a `series`, got neither")
    return _from_series(path, series)


def _from_series(path: Path, series: Mapping[str, object]) -> tuple[int, ...]:
    """Every tick of a point has the point's steps; the first point's also hold for the warm-up before it."""
    ticks, steps, width = series.get("tick"), series.get("steps"), series.get("ticks_per_point", 1)
    where = f"{path}: series"
    if not isinstance(ticks, list) or not isinstance(steps, list) or len(ticks) != len(steps) or not ticks:
        raise ConfigError(f"{where}: expected `tick` and `steps` as lists of one length, at least 1")
    if type(width) is not int or not all(type(tick) is int for tick in ticks):
        raise ConfigError(f"{where}: expected `tick` and `ticks_per_point` to be whole numbers")
    ends = [*ticks[1:], ticks[-1] + width]
    if ticks[0] < 0 or ends[-1] > MOST_TICKS or any(start >= end for start, end in zip(ticks, ends, strict=True)):
        raise ConfigError(f"{where}: expected ticks that rise, from 0 up to at most {MOST_TICKS}")
    levels = [_steps(steps[0], where)] * ticks[0]
    for start, end, value in zip(ticks, ends, steps, strict=True):
        levels += [_steps(value, where)] * (end - start)
    return tuple(levels)


def _steps(value: object, where: str) -> int:
    digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 7
    steps = int(value) if digits and isinstance(value, str) else value
    if type(steps) is not int or steps < 1:
        raise ConfigError(f"{where}: expected a number of denoise steps, at least 1, got {value!r}; {EXPECTED}")
    return steps
