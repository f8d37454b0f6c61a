"""What a recording says: header, ticks, and their compact form as plain lists and maps.

The fields of `.nfr` and their checks, since a valid CRC does not make content sane. How they become bytes:
`nextframe.runtime.recording.records`.

A tick is the list [buttons, axes, steps, reset, checksum, prompt, event]; entries at the end that are 0 or None are
left out. `buttons` is a bit mask and `axes` one signed byte each, in the order of the header's action schema. Readers
ignore list entries and map keys that they do not know: a newer minor version may add some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

from ..core import AXIS_LEVELS, Action, ActionSpace, PlayedTick, ReplayError, WorldInfo
from ..tick.events import events_from_text, events_to_text

FORMAT_MAJOR, FORMAT_MINOR = 1, 1
"""1.1: snapshots, a start from a snapshot, the promise in the header, an index in the footer, why it was stopped."""
PROMISES = ("R0", "R1", "R2")
MAX_BUTTONS = 63
MAX_STEPS = 10_000
MAX_TEXT_CHARS = 4_096
"""Of one prompt or event; the world text may be as long as a record."""

T = TypeVar("T")


@dataclass(frozen=True)
class ReplayHeader:
    """What a recording was made with.

    `environment`: python, torch, device, threads, compile, rng, platform and the like;
    `nextframe.runtime.recording.environment` says what a difference in each means. `promise`: R0, R1 or R2, what the
    recorder says a playback will keep.
    """

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
    promise: str = "R0"
    starts_from_snapshot: bool = False


def header_for(
    info: WorldInfo,
    *,
    seed: int,
    environment: Mapping[str, str | int],
    created_utc: str = "",
    promise: str = "R0",
) -> ReplayHeader:
    """The header of a new recording of a world. Raises `ReplayError` for a seed or a control that has no room.

    `promise`: see `nextframe.runtime.recording.environment`; R0 unless the world cannot keep it.
    """
    if promise not in PROMISES:
        raise ReplayError(f"recording of {info.name!r}: expected a promise of {', '.join(PROMISES)}, got {promise!r}")
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
        promise=promise,
    )


@dataclass(frozen=True)
class StoredSnapshot:
    """Where a recording holds the state before `tick`. `parts`: the offset in bytes of each part's record."""

    tick: int
    raw_bytes: int
    stored_bytes: int
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Replay:
    """A recording as read. Tick n of the session is `ticks[n]`.

    `complete`: it was closed properly. `lost_bytes`: what could not be read after the last good record. `lost_ticks`:
    ticks that were recorded and cannot be read; None when the file no longer says how many there were. `message` says
    in a sentence what is missing, and is empty for a complete recording. `snapshots`: places to start from, by tick;
    one before tick 0 only where the header says that the session starts from it, else it begins with a reset.
    """

    header: ReplayHeader
    ticks: tuple[PlayedTick, ...]
    complete: bool
    lost_bytes: int = 0
    message: str = ""
    lost_ticks: int | None = 0
    snapshots: tuple[StoredSnapshot, ...] = ()

    @property
    def reset_seeds(self) -> dict[int, int]:
        """Tick -> seed of the resets that named one."""
        return {n: seed for n, tick in enumerate(self.ticks) if (seed := tick.reset_seed) is not None}

    def start_before(self, tick: int) -> tuple[int, StoredSnapshot | None]:
        """The nearest tick up to `tick` at which a playback may begin, and the snapshot to restore there.

        Without one it begins with a reset: of the session, or one that the player asked for.
        """
        resets = [n for n in self.reset_seeds if n <= tick and self.ticks[n].action.reset]
        start, place = max([0, *resets]), None
        for snapshot in self.snapshots:
            if start <= snapshot.tick <= tick and (snapshot.tick > start or start == 0):
                start, place = snapshot.tick, snapshot
        return start, place


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
        "promise": header.promise,
        "start": "snapshot" if header.starts_from_snapshot else "reset",
    }


def header_from_plain(plain: object) -> ReplayHeader:
    """Raises `MalformedError` when a field is missing or out of range."""
    fields = a_kind(dict, plain, "header")

    def take(name: str, kind: type[T]) -> T:
        return a_kind(kind, fields.get(name), name)

    rate = [int_in(part, 1, 1 << 32, "tick_hz") for part in take("tick_hz", list)]
    version = [int_in(part, 0, 65_535, "format") for part in take("format", list)]
    if len(rate) != 2 or len(version) != 2:
        raise MalformedError("tick_hz and format: expected two numbers each")
    buttons, axes = _texts(take("buttons", list), "buttons"), _texts(take("axes", list), "axes")
    if len(buttons) > MAX_BUTTONS or len({*buttons, *axes}) < len(buttons) + len(axes):
        raise MalformedError("buttons and axes: too many, or a name given twice")
    prompts = {
        a_kind(str, group, "prompts"): _texts(a_kind(list, words, "prompts"), "prompts")
        for group, words in take("prompts", dict).items()
    }
    environment = take("environment", dict)
    return ReplayHeader(
        world=take("world", str),
        config_text=take("config_text", str),
        config_sha256=take("config_sha256", str),
        weights_sha256=take("weights_sha256", str),
        seed=int_in(fields.get("seed"), 0, (1 << 64) - 1, "seed"),
        tick_hz=Fraction(rate[0], rate[1]),
        actions=ActionSpace(buttons, axes, prompts),
        ladder=tuple(int_in(rung, 1, MAX_STEPS, "ladder") for rung in take("ladder", list)),
        environment={str(key): value for key, value in environment.items() if isinstance(value, str | int)},
        created_utc=take("created_utc", str),
        format_version=(version[0], version[1]),
        promise=_promise(fields.get("promise", "R0")),  # 1.0 had no field for it and promised R0
        starts_from_snapshot=_text(fields.get("start", "reset"), "start") == "snapshot",
    )


def _promise(value: object) -> str:
    """A level that a newer version added is read as the weakest that we know."""
    promise = _text(value, "promise")
    return promise if promise in PROMISES else PROMISES[-1]


# --- ticks -------------------------------------------------------------------------------------------------------


def tick_to_plain(tick: PlayedTick, actions: ActionSpace) -> list[Any]:
    """Raises `ReplayError` for a control, a level or a text that the format has no room for."""
    action, event = tick.action, events_to_text(tick.events)
    unknown = sorted((action.buttons - {*actions.buttons}) | (action.axes.keys() - {*actions.axes}))
    if unknown:
        raise ReplayError(f"recording: the action names {unknown[0]!r}, which the world's action space lacks")
    if any(abs(level) > AXIS_LEVELS for level in action.axes.values()):
        raise ReplayError(f"recording: expected axis levels in -{AXIS_LEVELS}..{AXIS_LEVELS}, got {dict(action.axes)}")
    if any(len(text) > MAX_TEXT_CHARS for text in (action.prompt, event) if text):
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
        event,
    ]
    while len(plain) > 3 and (plain[-1] is None or (len(plain) == 4 and plain[-1] == 0)):
        plain.pop()
    return plain


def tick_from_plain(plain: object, actions: ActionSpace) -> PlayedTick:
    """Raises `MalformedError` unless every entry is of its kind and in range. Axes at rest are left out."""
    entries = a_kind(list, plain, "tick")
    if len(entries) < 3:
        raise MalformedError("tick: expected at least buttons, axes and steps")
    mask = int_in(entries[0], 0, (1 << len(actions.buttons)) - 1, "buttons")
    levels = [level - 256 if level > 127 else level for level in a_kind(bytes, entries[1], "axes")]
    if len(levels) != len(actions.axes) or any(abs(level) > AXIS_LEVELS for level in levels):
        raise MalformedError("axes: expected one level for each axis")
    reset, checksum, prompt, event = [*entries[3:7], None, None, None, None][:4]
    action = Action(
        frozenset(name for bit, name in enumerate(actions.buttons) if mask >> bit & 1),
        {name: level for name, level in zip(actions.axes, levels, strict=True) if level},
        None if prompt is None else _text(prompt, "prompt"),
        reset is not None and int_in(reset, 0, 1, "reset") == 1,
    )
    return PlayedTick(
        action,
        int_in(entries[2], 0, MAX_STEPS, "steps"),
        None if checksum is None else int_in(checksum, 0, (1 << 32) - 1, "checksum"),
        events_from_text(None if event is None else _text(event, "event")),
    )


def a_kind(kind: type[T], value: object, name: str) -> T:
    if not isinstance(value, kind):
        raise MalformedError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def int_in(value: object, low: int, high: int, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise MalformedError(f"{name}: expected a whole number in {low}..{high}")
    return value


def _text(value: object, name: str) -> str:
    text = a_kind(str, value, name)
    if len(text) > MAX_TEXT_CHARS:
        raise MalformedError(f"{name}: expected at most {MAX_TEXT_CHARS} characters, got {len(text)}")
    return text


def _texts(values: list[Any], name: str) -> tuple[str, ...]:
    return tuple(_text(value, name) for value in values)
