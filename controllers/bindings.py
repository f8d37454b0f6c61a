"""Bindings: which physical control means which action, prompt or command.

The bindings file, the merge of a player's own file over the defaults and the search for conflicts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, field_validator

from ..runtime.config import ConfigModel, YamlPath, did_you_mean, load_document
from ..runtime.core import ActionSpace, ConfigError

DEFAULT_BINDINGS = Path(__file__).with_name("default_bindings.yaml")

COMMANDS = (
    "pause", "single_tick", "reset", "quality_up", "quality_down", "quality_unlock", "screenshot", "record", "help",
    "hud", "prompt", "rewind", "quick_save", "quick_load", "split", "quit",
)  # fmt: skip
MOUSE_BUTTONS = ("left", "middle", "right", "x1", "x2")
PAD_BUTTONS = (
    "a", "b", "x", "y", "back", "guide", "start", "left_stick", "right_stick", "left_shoulder", "right_shoulder",
    "dpad_up", "dpad_down", "dpad_left", "dpad_right",
)  # fmt: skip
STICK_PARTNERS = {
    "pad:left_x": "pad:left_y", "pad:left_y": "pad:left_x", "pad:right_x": "pad:right_y", "pad:right_y": "pad:right_x",
}  # fmt: skip
"""A dead zone is radial, so each stick axis needs the other one of its stick."""
RAW_CONTROL = re.compile(r"joy:(?:(?P<device>[^/]+)/)?(?P<part>axis_\d+|button_\d+|hat_\d+_(?:up|down|left|right))")
"""A part of a device by its number, of any device without a layout or of those whose name contains `device`."""
MOUSE_AXES = frozenset({"mouse:dx", "mouse:dy", "mouse:wheel"})
ANALOG_CONTROLS = MOUSE_AXES | STICK_PARTNERS.keys() | {"pad:left_trigger", "pad:right_trigger"}
KNOWN_CONTROLS = ANALOG_CONTROLS | {f"mouse:{name}" for name in MOUSE_BUTTONS} | {f"pad:{name}" for name in PAD_BUTTONS}


@dataclass(frozen=True)
class DeadZone:
    """Magnitudes up to `low` are rest, from `high` on they are full; both in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class Binding:
    """One control that drives one action. `scale` has the sign of `invert` in it. `label`: what a help text calls it,
    the action's name if empty. `rest`, `full`: what an axis reads at rest and at its end, for a pedal -1 and 1."""

    action: str
    control: str
    scale: float
    toggle: bool
    dead_zone: DeadZone
    label: str = ""
    rest: float = 0.0
    full: float = 1.0

    @property
    def analog(self) -> bool:
        return is_analog(self.control)


def is_analog(control: str) -> bool:
    raw = RAW_CONTROL.fullmatch(control)
    return control in ANALOG_CONTROLS or bool(raw and raw["part"].startswith("axis"))


@dataclass(frozen=True)
class Bindings:
    """Merged and free of conflicts. `prompts`: control -> prompt text. `commands`: control -> command name."""

    bindings: tuple[Binding, ...]
    prompts: Mapping[str, str]
    commands: Mapping[str, str]

    def controls(self) -> frozenset[str]:
        """Everything that has a meaning here, commands aside."""
        return frozenset((*(binding.control for binding in self.bindings), *self.prompts))

    def controls_of(self, action_or_command: str) -> tuple[str, ...]:
        """The controls to name in a help text."""
        bound = [binding.control for binding in self.bindings if binding.action == action_or_command]
        return (*bound, *(control for control, command in self.commands.items() if command == action_or_command))


# --- the file ----------------------------------------------------------------------------------------------------


def _control(value: object) -> object:
    """Check the name of a control; the keys of a keyboard are too many to list, so only their form is checked."""
    if isinstance(value, str) and value.startswith("joy:"):
        return _raw_control(value)
    if not isinstance(value, str) or not re.fullmatch(r"(key|char|mouse|pad):[^\sA-Z:]{1,40}", value):
        raise ValueError(f"expected a control such as key:w, mouse:left or pad:a (lower case), got {value!r}")
    if not value.startswith(("key:", "char:")) and value not in KNOWN_CONTROLS:
        raise ValueError(f"unknown control {value!r}; {did_you_mean(value, sorted(KNOWN_CONTROLS))}")
    return value


def _raw_control(value: str) -> str:
    """A device may be named as it calls itself: `joy:Logitech G29/axis_0`."""
    found = RAW_CONTROL.fullmatch(value)
    if found is None:
        raise ValueError(
            f"expected joy:axis_N, joy:button_N or joy:hat_N_up, or with a device, joy:NAME/axis_N, got {value!r}"
        )
    device = re.sub(r"[\W_]+", "_", (found["device"] or "").lower()).strip("_")
    return f"joy:{device}/{found['part']}" if device else f"joy:{found['part']}"


def _button_control(value: object) -> object:
    control = _control(value)
    if is_analog(str(control)):
        raise ValueError(f"expected a key or a button, got the axis {value!r}")
    return control


def _dead_zone(value: object) -> object:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int | float) for part in value):
        low, high = value
        if 0 <= low < high <= 1:
            return low, high
    raise ValueError(f"expected [low, high] with 0 <= low < high <= 1, got {value!r}")


def _axis_range(value: object) -> object:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int | float) for part in value):
        rest, full = value
        if -1 <= rest <= 1 and -1 <= full <= 1 and rest != full:
            return rest, full
    raise ValueError(f"expected [rest, full], two different numbers from -1 to 1, got {value!r}")


def _listed(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Control: TypeAlias = Annotated[str, BeforeValidator(_control)]
ButtonControl: TypeAlias = Annotated[str, BeforeValidator(_button_control)]
DeadZoneRange: TypeAlias = Annotated[tuple[float, float], BeforeValidator(_dead_zone)]


AxisRange: TypeAlias = Annotated[tuple[float, float], BeforeValidator(_axis_range)]


class _BindingModel(ConfigModel):
    action: str
    control: Control
    scale: float = Field(default=1.0, ge=-100.0, le=100.0)
    invert: bool = False
    mode: Literal["hold", "toggle"] = "hold"
    deadzone: DeadZoneRange | None = None
    range: AxisRange | None = None
    label: str = Field(default="", max_length=24, pattern=r"^[^\t\n]*$")

    @field_validator("mode")
    @classmethod
    def _toggles_with_a_button(cls, mode: str, info: Any) -> str:
        if mode == "toggle" and is_analog(info.data.get("control", "")):
            raise ValueError(f"toggle needs a key or a button, got the axis {info.data['control']!r}")
        return mode

    @field_validator("range")
    @classmethod
    def _ranges_of_axes(cls, value: tuple[float, float] | None, info: Any) -> tuple[float, float] | None:
        control = info.data.get("control", "")
        if value is not None and control and (not is_analog(control) or control in MOUSE_AXES):
            raise ValueError(f"a range needs an axis of a stick, a trigger or a wheel, got {control!r}")
        return value


class _PromptModel(ConfigModel):
    control: ButtonControl
    prompt: str = Field(min_length=1, max_length=400)


class _BindingsModel(ConfigModel):
    version: Literal[1]
    deadzone: DeadZoneRange | None = None
    bindings: tuple[_BindingModel, ...] = ()
    prompts: tuple[_PromptModel, ...] = ()
    commands: dict[str, Annotated[tuple[ButtonControl, ...], BeforeValidator(_listed)]] = Field(default_factory=dict)


# --- merge -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Use:
    """One line that gives a control a meaning: the only thing in which bindings, prompts and commands differ."""

    control: str
    meaning: str
    where: str
    value: Binding | str


@dataclass(frozen=True)
class _File:
    bindings: tuple[_Use, ...]
    prompts: tuple[_Use, ...]
    commands: tuple[_Use, ...]
    command_names: frozenset[str]
    dead_zone: DeadZone | None


def load_bindings(actions: ActionSpace, override_path: Path | str | None = None) -> Bindings:
    """The defaults for a world's actions, with the player's own file merged over them. Raises `ConfigError`."""
    default = _only_what_the_world_has(_read(DEFAULT_BINDINGS, None, None), actions)
    if override_path is None:
        return _merged(default, _File((), (), (), frozenset(), None))
    return _merged(default, _read(Path(override_path), actions, default.dead_zone))


def _read(path: Path, actions: ActionSpace | None, dead_zone: DeadZone | None) -> _File:
    """One file. With `actions` its action names are checked against them; `dead_zone` is used if it sets none."""
    document = load_document(path, _BindingsModel)
    model = document.value

    def where(yaml_path: YamlPath) -> str:
        return f"{document.source}:{document.line_of(yaml_path)}"

    if model.deadzone is not None:
        dead_zone = DeadZone(*model.deadzone)
    if dead_zone is None:
        raise document.error((), "missing key 'deadzone'")
    bindings: list[_Use] = []
    for index, entry in enumerate(model.bindings):
        if actions is not None and entry.action not in actions.names():
            message = f"unknown action {entry.action!r}; {did_you_mean(entry.action, actions.names())}"
            raise document.error(("bindings", index), message)
        binding = Binding(
            entry.action,
            entry.control,
            -entry.scale if entry.invert else entry.scale,
            entry.mode == "toggle",
            DeadZone(*entry.deadzone) if entry.deadzone is not None else dead_zone,
            entry.label,
            *(entry.range or (0.0, 1.0)),
        )
        use = _Use(entry.control, f"action {entry.action}", where(("bindings", index)), binding)
        bindings.append(use)
    prompts = [
        _Use(entry.control, f"prompt {entry.prompt!r}", where(("prompts", index)), entry.prompt)
        for index, entry in enumerate(model.prompts)
    ]
    for name in model.commands:
        if name not in COMMANDS:
            raise document.error(("commands", name), f"unknown command {name!r}; {did_you_mean(name, COMMANDS)}")
    commands = [
        _Use(control, f"command {name}", where(("commands", name)), name)
        for name, controls in model.commands.items()
        for control in controls
    ]
    _refuse_repeats([*bindings, *prompts, *commands])
    return _File(tuple(bindings), tuple(prompts), tuple(commands), frozenset(model.commands), dead_zone)


def _only_what_the_world_has(file: _File, actions: ActionSpace) -> _File:
    names = {f"action {name}" for name in actions.names()}
    vocabulary = {word for group in actions.prompts.values() for word in group}
    bindings = tuple(use for use in file.bindings if use.meaning in names)
    prompts = tuple(use for use in file.prompts if set(str(use.value).split()) <= vocabulary)
    return _File(bindings, prompts, file.commands, file.command_names, file.dead_zone)


def _merged(default: _File, own: _File) -> Bindings:
    own_actions = {use.meaning for use in own.bindings}
    own_prompts = {use.meaning for use in own.prompts} | {use.control for use in own.prompts}
    bindings = [use for use in default.bindings if use.meaning not in own_actions]
    bindings += own.bindings
    prompts = [use for use in default.prompts if not {use.meaning, use.control} & own_prompts]
    prompts += own.prompts
    commands = [use for use in default.commands if use.value not in own.command_names]
    commands += own.commands
    _refuse_conflicts([*bindings, *prompts, *commands])
    return Bindings(
        tuple(use.value for use in bindings if isinstance(use.value, Binding)),
        {use.control: str(use.value) for use in prompts},
        {use.control: str(use.value) for use in commands},
    )


def _refuse_repeats(uses: list[_Use]) -> None:
    seen: dict[tuple[str, str], _Use] = {}
    for use in uses:
        first = seen.setdefault((use.control, use.meaning), use)
        if first is not use:
            raise ConfigError(
                f"{use.where}: {use.control} is bound to {use.meaning} already at {first.where}; remove one"
            )


def _refuse_conflicts(uses: list[_Use]) -> None:
    seen: dict[str, _Use] = {}
    for use in sorted(uses, key=lambda use: use.where.startswith(f"{DEFAULT_BINDINGS}:"), reverse=True):
        first = seen.setdefault(use.control, use)
        if first.meaning != use.meaning:
            raise ConfigError(
                f"{use.where}: {use.control} is bound to {use.meaning}, but {first.where} binds it to {first.meaning}; "
                "give one of them another control"
            )
