"""Worlds that a user's own function makes: `python:MODULE:FACTORY`, wherever a world's name is taken.

The factory is called without arguments, or with the session's clock if it wants one, and returns a `World`. The working
folder is searched for the module too. Nothing else is known of such a world than what it says: no file, no weights
folder; scripts and key bindings are looked for beside the module.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import ActionsSpec, WorldSpec
from ..core import Clock, ConfigError, MonotonicClock, World, WorldInfo

PYTHON = "python:"
WORLD_PARTS = (
    "info", "reset", "advance", "snapshot", "restore", "checksum", "state_inventory", "warm_up", "close", "prompt",
)  # fmt: skip


class PythonWorld:
    """The factory that `name`, such as `python:my_world:make`, stands for, and a world made by it to know what it is.

    `folder`: of its module. Raises ConfigError for a module, a function or a world that is none.
    """

    def __init__(self, name: str) -> None:
        self._name, self._factory = name, python_factory(name)
        self.folder = folder_of(name)
        self._ready: World | None = self._made(MonotonicClock())
        self.spec = spec_of(self._ready.info)

    def make(self, clock: Clock) -> World:
        """A world of its own for each call. The one that was looked at is the first, unless it needs another clock."""
        ready, self._ready = self._ready, None
        if ready is None:
            return self._made(clock)
        if wants_clock(self._factory) and not isinstance(clock, MonotonicClock):
            ready.close()
            return self._made(clock)
        return ready

    def _made(self, clock: Clock) -> World:
        return checked_world(call_factory(self._factory, clock), self._name)


def python_factory(name: str) -> Callable[..., Any]:
    """The callable that `python:MODULE:FACTORY` names. Raises ConfigError in one line."""
    module_name, colon, factory_name = name.removeprefix(PYTHON).partition(":")
    if not (module_name and colon and factory_name):
        raise ConfigError(f"{name}: expected python:MODULE:FACTORY, such as python:my_world:make")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"{name}: expected a module {module_name} that can be imported: {error}") from error
    try:
        factory = getattr(module, factory_name)
    except AttributeError as error:
        raise ConfigError(
            f"{name}: expected a function {factory_name} in {module_name} ({module.__file__}), which has none of that "
            "name"
        ) from error
    if not callable(factory):
        raise ConfigError(
            f"{name}: expected a function {factory_name} in {module_name}, got {factory!r}, which cannot be called"
        )
    found: Callable[..., Any] = factory
    return found


def folder_of(name: str) -> Path:
    """Where the module of `python:MODULE:FACTORY` lies, once it was imported; the working folder if it has no file."""
    file = sys.modules[name.removeprefix(PYTHON).partition(":")[0]].__file__
    return Path(file).parent if file else Path()


def wants_clock(factory: Callable[..., Any]) -> bool:
    """Whether a factory has an argument without a default, or one called `clock`."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # a callable written in C has none
        return False
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(one.kind in plain and (one.default is one.empty or one.name == "clock") for one in parameters)


def call_factory(factory: Callable[..., Any], clock: Clock) -> Any:
    """What it makes, on that clock if it wants one."""
    return factory(clock) if wants_clock(factory) else factory()


def missing_parts(made: object) -> list[str]:
    """The names that a `World` must have and this has not."""
    return [part for part in WORLD_PARTS if not hasattr(made, part)]


def checked_world(made: Any, source: str) -> World:
    """What a factory made, as a World. Raises ConfigError, which names what it lacks."""
    missing = missing_parts(made)
    if missing:
        raise ConfigError(
            f"{source}: expected it to make a World (nextframe.runtime.core); got {type(made).__name__}, which lacks "
            f"{', '.join(missing)}"
        )
    if not isinstance(made.info, WorldInfo):
        raise ConfigError(
            f"{source}: expected the world's info to be a WorldInfo (nextframe.runtime.core), got "
            f"{type(made.info).__name__}"
        )
    world: World = made
    return world


def spec_of(info: WorldInfo) -> WorldSpec:
    """What a world's file would say; a world made in code has none, and is not held to the rules for files."""
    space = info.actions
    return WorldSpec.model_construct(
        name=info.name,
        kind="python",
        title=info.name,
        width_px=info.width_px,
        height_px=info.height_px,
        tick_hz=info.tick_hz,
        ladder=info.ladder,
        actions=ActionsSpec.model_construct(
            buttons=dict.fromkeys(space.buttons, ""),
            axes=dict.fromkeys(space.axes, ""),
            prompts={group: tuple(words) for group, words in space.prompts.items()},
        ),
        default_prompt=info.default_prompt,
    )
