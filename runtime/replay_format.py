"""What a recording says: header, ticks, and their compact form as plain lists and maps.

Owns the meaning of the fields of `.nfr` (DESIGN section 6) and their checks, since a valid CRC does not make content
sane. Knows nothing of files, bytes on disk, msgpack or CRCs: see `runtime.replay`.

A tick is the list [buttons, axes, steps, reset, checksum, prompt, event]; entries at the end that are 0 or None are
left out. `buttons` is a bit mask and `axes` one signed byte each, in the order of the header's action schema. Readers
ignore list entries and map keys that they do not know: a newer minor version may add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from runtime.core import AXIS_LEVELS, Action, ActionSpace, ReplayError, WorldInfo
from runtime.loop import reset_seed

FORMAT_MAJOR, FORMAT_MINOR = 1, 0
MAX_BUTTONS = 63
MAX_STEPS = 10_000
MAX_TEXT_CHARS = 4_096
"""Of one prompt or event; the world text may be as long as a record."""

T = TypeVar("T")


@dataclass(frozen=True)
class ReplayHeader:
    """What a recording was made with. `environment`: python, torch, device, threads, platform and the like."""

    world: str
    config_text: str
    config_sha256: str
    weights_sha256: str
    seed: int
    tick_hz: Fraction
    actions: ActionSpace
    ladder: tuple[int, ...]
    environment: Mapping[str, str | int] = field(default_factory=dict)
    created_utc: str = ""
    format_version: tuple[int, int] = (FORMAT_MAJOR, FORMAT_MINOR)


def header_for(
    info: WorldInfo, *, seed: int, environment: Mapping[str, str | int], created_utc: str = ""
) -> ReplayHeader:
    """The header of a new recording of a world. Raises `ReplayError` for a seed or a control that has no room."""
    if not 0 <= seed < 1 << 64:
        raise ReplayError(f"recording of {info.name!r}: expected a seed in 0..2**64-1, got {seed}")
    if len(info.actions.buttons) > MAX_BUTTONS:
        got = len(info.actions.buttons)
        raise ReplayError(f"recording of {info.name!r}: expected at most {MAX_BUTTONS} buttons, the world has {got}")
    return ReplayHeader(
        world=info.name,
        config_text=info.config_text,
        config_sha256=info.config_sha256,
        weights_sha256=info.weights_sha256,
        seed=seed,
        tick_hz=info.tick_hz,
        actions=info.actions,
        ladder=info.ladder,
        environment=dict(environment),
        created_utc=created_utc,
    )


@dataclass(frozen=True)
class RecordedTick:
    """One tick as it was played. `event` is the loop's own note, such as `reset:7`."""

    action: Action
    steps_applied: int
    checksum: int | None = None
    event: str | None = None


@dataclass(frozen=True)
class Replay:
    """A recording as read. Tick n of the session is `ticks[n]`.

    `complete`: it was closed properly. `lost_bytes`: what could not be read after the last good record. `message`
    says in a sentence what is missing, and is empty for a complete recording.
    """

    header: ReplayHeader
    ticks: tuple[RecordedTick, ...]
    complete: bool
    lost_bytes: int = 0
    message: str = ""

    @property
    def reset_seeds(self) -> dict[int, int]:
        """Tick -> seed of the resets that named one, as `runtime.loop.Loop` wants them."""
        found = {n: reset_seed(tick.event) for n, tick in enumerate(self.ticks) if tick.event}
        return {n: seed for n, seed in found.items() if seed is not None}


class MalformedError(ValueError):
    """A record with a valid CRC whose content makes no sense; the reader treats it as damage."""


# --- header ------------------------------------------------------------------------------------------------------


def header_to_plain(header: ReplayHeader) -> dict[str, Any]:
    return {
        "format": list(header.format_version),
        "world": header.world,
        "config_text": header.config_text,
        "config_sha256": header.config_sha256,
        "weights_sha256": header.weights_sha256,
        "seed": header.seed,
        "tick_hz": [header.tick_hz.numerator, header.tick_hz.denominator],
        "buttons": list(header.actions.buttons),
        "axes": list(header.actions.axes),
        "prompts": {group: list(words) for group, words in header.actions.prompts.items()},
        "ladder": list(header.ladder),
        "environment": dict(header.environment),
        "created_utc": header.created_utc,
    }


def header_from_plain(plain: object) -> ReplayHeader:
    """Raises `MalformedError` when a field is missing or out of range."""
    fields = _a(dict, plain, "header")

    def take(name: str, kind: type[T]) -> T:
        return _a(kind, fields.get(name), name)

    rate = [_int_in(part, 1, 1 << 32, "tick_hz") for part in take("tick_hz", list)]
    version = [_int_in(part, 0, 65_535, "format") for part in take("format", list)]
    if len(rate) != 2 or len(version) != 2:
        raise MalformedError("tick_hz and format: expected two numbers each")
    buttons, axes = _texts(take("buttons", list), "buttons"), _texts(take("axes", list), "axes")
    if len(buttons) > MAX_BUTTONS or len({*buttons, *axes}) < len(buttons) + len(axes):
        raise MalformedError("buttons and axes: too many, or a name given twice")
    prompts = {
        _a(str, group, "prompts"): _texts(_a(list, words, "prompts"), "prompts")
        for group, words in take("prompts", dict).items()
    }
    environment = take("environment", dict)
    return ReplayHeader(
        world=take("world", str),
        config_text=take("config_text", str),
        config_sha256=take("config_sha256", str),
        weights_sha256=take("weights_sha256", str),
        seed=_int_in(fields.get("seed"), 0, (1 << 64) - 1, "seed"),
        tick_hz=Fraction(rate[0], rate[1]),
        actions=ActionSpace(buttons, axes, prompts),
        ladder=tuple(_int_in(rung, 1, MAX_STEPS, "ladder") for rung in take("ladder", list)),
        environment={str(key): value for key, value in environment.items() if isinstance(value, str | int)},
        created_utc=take("created_utc", str),
        format_version=(version[0], version[1]),
    )


# --- ticks -------------------------------------------------------------------------------------------------------


def tick_to_plain(tick: RecordedTick, actions: ActionSpace) -> list[Any]:
    """Raises `ReplayError` for a control, a level or a text that the format has no room for."""
    action = tick.action
    unknown = sorted((action.buttons - {*actions.buttons}) | (action.axes.keys() - {*actions.axes}))
    if unknown:
        raise ReplayError(f"recording: the action names {unknown[0]!r}, which the world's action space lacks")
    if any(abs(level) > AXIS_LEVELS for level in action.axes.values()):
        raise ReplayError(f"recording: expected axis levels in -{AXIS_LEVELS}..{AXIS_LEVELS}, got {dict(action.axes)}")
    if any(len(text) > MAX_TEXT_CHARS for text in (action.prompt, tick.event) if text):
        raise ReplayError(f"recording: expected prompts and events of at most {MAX_TEXT_CHARS} characters")
    if not 0 <= tick.steps_applied <= MAX_STEPS:
        raise ReplayError(f"recording: expected 0..{MAX_STEPS} denoise steps, got {tick.steps_applied}")
    if tick.checksum is not None and not 0 <= tick.checksum < 1 << 32:
        raise ReplayError(f"recording: expected a checksum of 32 bits, got {tick.checksum}")
    plain = [
        sum(1 << bit for bit, name in enumerate(actions.buttons) if name in action.buttons),
        bytes(action.axes.get(name, 0) & 0xFF for name in actions.axes),
        tick.steps_applied,
        1 if action.reset else 0,
        tick.checksum,
        action.prompt,
        tick.event,
    ]
    while len(plain) > 3 and (plain[-1] is None or (len(plain) == 4 and plain[-1] == 0)):
        plain.pop()
    return plain


def tick_from_plain(plain: object, actions: ActionSpace) -> RecordedTick:
    """Raises `MalformedError` unless every entry is of its kind and in range. Axes at rest are left out."""
    entries = _a(list, plain, "tick")
    if len(entries) < 3:
        raise MalformedError("tick: expected at least buttons, axes and steps")
    mask = _int_in(entries[0], 0, (1 << len(actions.buttons)) - 1, "buttons")
    levels = [level - 256 if level > 127 else level for level in _a(bytes, entries[1], "axes")]
    if len(levels) != len(actions.axes) or any(abs(level) > AXIS_LEVELS for level in levels):
        raise MalformedError("axes: expected one level for each axis")
    reset, checksum, prompt, event = [*entries[3:7], None, None, None, None][:4]
    action = Action(
        frozenset(name for bit, name in enumerate(actions.buttons) if mask >> bit & 1),
        {name: level for name, level in zip(actions.axes, levels, strict=True) if level},
        None if prompt is None else _text(prompt, "prompt"),
        reset is not None and _int_in(reset, 0, 1, "reset") == 1,
    )
    return RecordedTick(
        action,
        _int_in(entries[2], 0, MAX_STEPS, "steps"),
        None if checksum is None else _int_in(checksum, 0, (1 << 32) - 1, "checksum"),
        None if event is None else _text(event, "event"),
    )


def _a(kind: type[T], value: object, name: str) -> T:
    if not isinstance(value, kind):
        raise MalformedError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _int_in(value: object, low: int, high: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise MalformedError(f"{name}: expected a whole number in {low}..{high}")
    return value


def _text(value: object, name: str) -> str:
    text = _a(str, value, name)
    if len(text) > MAX_TEXT_CHARS:
        raise MalformedError(f"{name}: expected at most {MAX_TEXT_CHARS} characters, got {len(text)}")
    return text


def _texts(values: list[Any], name: str) -> tuple[str, ...]:
    return tuple(_text(value, name) for value in values)
