"""How a load is written: `burst:ms=30,every=2,for=0.2`, several joined with `+`, or the file of a recorded one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from ..config import did_you_mean
from ..core import ConfigError
from .shapes import STAGES, Burst, Curve, LoadShape, Noisy, Part, Pause, Ramp, Scale, Steady, Trace

TRACE_SCHEMA = "nextframe.load/1"
MAX_TRACE_BYTES = 16 * 1024 * 1024
MAX_MS = 10_000.0
"""Of load in one tick: a session only looks for a wish to stop between ticks, and must be endable."""
MAX_FACTOR = 1_000.0
MAX_TRACE_STEP_S = 86_400.0


class _Values:
    """The keys of one part as numbers, checked as they are taken."""

    def __init__(self, text: str, values: Mapping[str, str]) -> None:
        self._text, self._values = text, values

    def error(self, problem: str) -> ConfigError:
        return ConfigError(f"load {self._text!r}: {problem}")

    def number(self, key: str, default: float | None = None, *, least: float = 0.0, above: bool = False) -> float:
        """At least `least` (`above`: more than that); `default` where the key is absent, and required without one."""
        if key not in self._values:
            if default is None:
                raise self.error(f"{key}= is missing")
            return default
        bound = f"more than {least:g}" if above else f"at least {least:g}"
        try:
            value = float(self._values[key])
        except ValueError:
            raise self.error(f"{key}: expected a number, {bound}, got {self._values[key]!r}") from None
        if not math.isfinite(value) or value < least or (above and value == least):
            raise self.error(f"{key}: expected a number, {bound}, got {self._values[key]}")
        return value

    def ms(self) -> float:
        value = self.number("ms")
        if value > MAX_MS:
            raise self.error(f"ms: expected at most {MAX_MS:g} ms a tick, got {self._values['ms']}")
        return value

    def seed(self) -> int:
        value = self.number("seed", 0)
        if value != int(value) or value >= 1 << 53:
            raise self.error(f"seed: expected a whole number from 0 to 2**53 - 1, got {self._values['seed']}")
        return int(value)

    def stages(self, default: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
        stage = self._values.get("on")
        if stage is None:
            return default
        if stage not in allowed:
            raise self.error(f"on: unknown stage {stage!r}; {did_you_mean(stage, allowed)}")
        return (stage,)

    def has(self, key: str) -> bool:
        return key in self._values


def _burst(values: _Values) -> Burst:
    burst = Burst(values.ms(), values.number("every", above=True), values.number("for", above=True))
    if burst.for_s > burst.every_s:
        raise values.error(f"for: expected at most every={burst.every_s:g} s, got {burst.for_s:g}")
    return burst


def _ramp(values: _Values) -> Ramp:
    return Ramp(values.ms(), values.number("to", above=True) - values.number("from", 0.0))


def _step(values: _Values) -> Steady:
    values.number("from")  # a step that begins with the session is `steady`
    return Steady(values.ms())


def _scale(values: _Values) -> Scale:
    factor = values.number("x", least=1.0)
    if factor > MAX_FACTOR:
        raise values.error(f"x: expected at most {MAX_FACTOR:g} times the cost, got {factor:g}")
    return Scale(factor, values.number("base") if values.has("base") else None)


class _Kind(NamedTuple):
    keys: tuple[str, ...]
    make: Callable[[_Values], Curve]
    stages: tuple[str, ...] = ("denoise",)
    allowed: tuple[str, ...] = STAGES


COMMON_KEYS = ("on", "from", "to")
_KINDS = {
    "steady": _Kind(("ms",), lambda values: Steady(values.ms())),
    "step": _Kind(("ms",), _step),
    "ramp": _Kind(("ms",), _ramp),
    "burst": _Kind(("ms", "every", "for"), _burst),
    "noisy": _Kind(
        ("ms", "seed", "every"),
        lambda values: Noisy(values.ms(), values.seed(), values.number("every", 2.0, above=True)),
    ),
    "gc": _Kind(
        ("ms", "every"),
        lambda values: Pause(values.ms(), values.number("every", above=True)),
        stages=("condition",),
        allowed=("condition", "decode", "commit"),
    ),
    "scale": _Kind(("x", "base"), _scale),
}
KINDS = (*_KINDS, "trace")


def parse_load(text: str) -> LoadShape:
    """`KIND:key=value,key=value`, several joined with `+`; `trace:FILE.json,key=value` for a recorded one.

    ConfigError names the part, what was expected, and the nearest kind or key. Reads the files of traces.
    """
    parts = [_parse_part(part) for part in re.split(r"\+(?=[a-z]+:)", text.strip())]
    return LoadShape(text.strip(), tuple(parts))


def _parse_part(text: str) -> Part:
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        raise ConfigError(
            f"load {text!r}: expected KIND:key=value,...; unknown kind {kind!r}, {did_you_mean(kind, KINDS)}"
            if kind not in KINDS
            else f"load {text!r}: expected {kind}: and its keys, such as {_example(kind)}"
        )
    items = [item for item in rest.split(",") if item]
    if kind == "trace":
        file = items.pop(0) if items else ""
        values = _values(text, items, COMMON_KEYS)
        return _part(values, read_trace(file), ("denoise",), STAGES)
    values = _values(text, items, (*_KINDS[kind].keys, *COMMON_KEYS))
    stages = _KINDS[kind].stages
    if kind == "scale" and not values.has("base"):
        stages = STAGES  # a slow machine is slow in everything
    part = _part(values, _KINDS[kind].make(values), stages, _KINDS[kind].allowed)
    return Part(part.curve, part.stages, part.from_s, math.inf) if kind == "ramp" else part


def _example(kind: str) -> str:
    return "trace:FILE.json" if kind == "trace" else f"{kind}:{_KINDS[kind].keys[0]}=5"


def _values(text: str, items: list[str], keys: tuple[str, ...]) -> _Values:
    values: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"load {text!r}: expected key=value, got {item!r} (keys: {', '.join(keys)})")
        if key not in keys:
            raise ConfigError(f"load {text!r}: unknown key {key!r}; {did_you_mean(key, keys)}")
        if key in values:
            raise ConfigError(f"load {text!r}: {key}= is given twice")
        values[key] = value
    return _Values(text, values)


def _part(values: _Values, curve: Curve, stages: tuple[str, ...], allowed: tuple[str, ...]) -> Part:
    from_s = values.number("from", 0.0)
    to_s = values.number("to", math.inf)
    if to_s <= from_s:
        raise values.error(f"to: expected more than from={from_s:g} s, got {to_s:g}")
    return Part(curve, values.stages(stages, allowed), from_s, to_s)


def read_trace(file: str) -> Trace:
    """A file `{"schema": "nextframe.load/1", "every_s": 0.05, "load_ms": [...]}`. ConfigError if it is none."""
    expected = f'a JSON file {{"schema": "{TRACE_SCHEMA}", "every_s": 0.05, "load_ms": [1.5, ...]}}'
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(MAX_TRACE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"load trace {file!r}: cannot be read ({error.strerror}); expected {expected}") from None
    if len(content) > MAX_TRACE_BYTES:
        raise ConfigError(f"load trace {file}: expected at most {MAX_TRACE_BYTES} bytes")
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"load trace {file}: no JSON ({error}); expected {expected}") from None
    if not isinstance(document, dict) or document.get("schema") != TRACE_SCHEMA:
        raise ConfigError(f"load trace {file}: expected {expected}")
    every_s, values_ms = document.get("every_s"), document.get("load_ms")
    if not _is_number(every_s, MAX_TRACE_STEP_S) or every_s == 0:
        raise ConfigError(f"load trace {file}: every_s: expected seconds, more than 0, got {every_s!r}")
    if not isinstance(values_ms, list) or not values_ms:
        raise ConfigError(f"load trace {file}: load_ms: expected a list of milliseconds, got {str(values_ms)[:40]}")
    for index, value in enumerate(values_ms):
        if not _is_number(value, MAX_MS):
            raise ConfigError(
                f"load trace {file}: load_ms[{index}]: expected a number from 0 to {MAX_MS:g}, got {value!r}"
            )
    return Trace(float(every_s), tuple(map(float, values_ms)))


def _is_number(value: object, most: float) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
