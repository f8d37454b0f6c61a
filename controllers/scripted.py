"""Scripts: YAML timelines of named actions, for headless sessions and tests that give the same answer twice.

    version: 1
    name: laps
    repeat: true                 # start over after the last entry has ended
    length: 120                  # optional, in ticks: when to start over, or when everything is let go
    timeline:
      - {at: 0,  hold: [accelerate], for: 40}
      - {at: 10, hold: [steer_left], for: 12}
      - {at: 30, axis: {steer: 0.5}, for: 10}
      - {at: 60, prompt: "rainy night"}
      - {at: 90, reset: true}

`at` and `for` count ticks; an entry acts on the ticks from `at` up to, not including, `at + for` (`for` is 1 when left
out). Where entries overlap their buttons add up, and of two values for one axis the later entry in the file wins. A
prompt or a reset happens once, on tick `at`. An axis value is in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from ..runtime.config import ConfigModel, Document, did_you_mean, parse_document, read_text
from ..runtime.core import Action, ActionSpace, ConfigError, quantise_axis

MAX_ENTRIES = 2_000
MAX_TICKS = 100_000_000

Tick: TypeAlias = Annotated[int, Field(ge=0, le=MAX_TICKS)]
TickCount: TypeAlias = Annotated[int, Field(ge=1, le=MAX_TICKS)]
AxisValue: TypeAlias = Annotated[float, Field(ge=-1.0, le=1.0)]


@dataclass(frozen=True)
class Entry:
    """What happens from tick `at` for `ticks` ticks. `line` is where it stands in the file (0: made in code)."""

    at: int
    ticks: int = 1
    hold: tuple[str, ...] = ()
    axes: dict[str, float] = field(default_factory=dict)
    prompt: str | None = None
    reset: bool = False
    line: int = 0

    @property
    def end(self) -> int:
        return self.at + self.ticks


@dataclass(frozen=True)
class Script:
    """A timeline. `length` is in ticks; a script that does not repeat is idle after it."""

    name: str
    entries: tuple[Entry, ...]
    length: int
    repeat: bool = False
    source: str = "script"


class _EntryModel(ConfigModel):
    at: Tick
    ticks: TickCount | None = Field(default=None, alias="for")
    hold: tuple[str, ...] = ()
    axis: dict[str, AxisValue] = Field(default_factory=dict)
    prompt: str | None = Field(default=None, min_length=1, max_length=400)
    reset: bool = False

    @model_validator(mode="after")
    def _does_something(self) -> _EntryModel:
        lasting = bool(self.hold or self.axis)
        if not lasting and self.prompt is None and not self.reset:
            raise ValueError("expected an entry with hold, axis, prompt or reset, got none of them")
        if self.ticks is not None and not lasting:
            raise ValueError("`for` goes with hold or axis; a prompt or a reset happens once")
        return self


class _ScriptModel(ConfigModel):
    version: Literal[1]
    name: str = ""
    repeat: bool = False
    length: TickCount | None = None
    timeline: tuple[_EntryModel, ...] = Field(min_length=1, max_length=MAX_ENTRIES)


def load_script(path: Path | str, actions: ActionSpace) -> Script:
    """Read a script and check it against the controls of a world. Raises `ConfigError` with file and line."""
    return parse_script(read_text(path), str(path), actions)


def parse_script(text: str, source_name: str, actions: ActionSpace) -> Script:
    document = parse_document(text, source_name, _ScriptModel)
    script = _to_script(document)
    check_script(script, actions)
    return script


def check_script(script: Script, actions: ActionSpace) -> None:
    """Raises `ConfigError` when an entry names a control that the world lacks, or one of the other kind."""
    for entry in script.entries:
        for names, own, other, kind in (
            (entry.hold, actions.buttons, actions.axes, "button"),
            (entry.axes, actions.axes, actions.buttons, "axis"),
        ):
            for name in names:
                if name in own:
                    continue
                if name in other:
                    advice = f"is an axis; write axis: {{{name}: 1.0}}" if kind == "button" else "is a button; hold it"
                    raise _error(script, entry, f"{name!r} {advice}")
                raise _error(script, entry, f"unknown action {name!r}; {did_you_mean(name, actions.names())}")


def _error(script: Script, entry: Entry, message: str) -> ConfigError:
    return ConfigError(f"{script.source}:{entry.line}: {message}")


def _to_script(document: Document[_ScriptModel]) -> Script:
    model = document.value
    entries = tuple(
        Entry(
            at=entry.at,
            ticks=entry.ticks or 1,
            hold=entry.hold,
            axes=entry.axis,
            prompt=entry.prompt,
            reset=entry.reset,
            line=document.line_of(("timeline", index)),
        )
        for index, entry in enumerate(model.timeline)
    )
    end = max(entry.end for entry in entries)
    if model.length is not None and model.length < end:
        raise document.error(("length",), f"length: expected at least {end} ticks, where the last entry ends")
    return Script(model.name or document.source, entries, model.length or end, model.repeat, document.source)


class ScriptedController:
    """Plays a script. What it returns depends on the tick alone, so it can be asked in any order."""

    def __init__(self, script: Script, actions: ActionSpace) -> None:
        check_script(script, actions)
        self.script = script
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        script = self.script
        if tick >= script.length:
            if not script.repeat:
                return Action()
            tick %= script.length
        buttons: set[str] = set()
        axes: dict[str, int] = {}
        prompt, reset = None, False
        for entry in script.entries:
            if entry.at <= tick < entry.end:
                buttons.update(entry.hold)
                axes.update({name: quantise_axis(value) for name, value in entry.axes.items()})
            if entry.at == tick:
                prompt = entry.prompt or prompt
                reset = reset or entry.reset
        return Action(frozenset(buttons), {name: level for name, level in axes.items() if level}, prompt, reset)

    def close(self) -> None:
        pass
