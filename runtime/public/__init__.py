"""nextframe from Python: open a world, run a session, the contracts between the parts, the errors. See docs/api.md.

`import nextframe` loads nothing else: a name's module is imported when the name is first used, so that a program pays
for torch, a window or a network only once it asks for one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nextframe.opening import open_world, run_session, world_names
    from nextframe.runtime.core import (
        AXIS_LEVELS,
        IDLE,
        Action,
        ActionSpace,
        Clock,
        ConfigError,
        Controller,
        Display,
        DisplayError,
        FixedClock,
        Frame,
        ManualClock,
        MonotonicClock,
        NextframeError,
        RecoveredWithLoss,
        ReplayError,
        Snapshot,
        StatePart,
        StepGate,
        TickPlan,
        TickResult,
        WeightsError,
        World,
        WorldInfo,
        always_open,
        quantise_axis,
    )
    from nextframe.runtime.session.choices import SessionOptions
    from nextframe.runtime.session.outcome import Outcome

__all__ = [
    "AXIS_LEVELS",
    "IDLE",
    "Action",
    "ActionSpace",
    "Clock",
    "ConfigError",
    "Controller",
    "Display",
    "DisplayError",
    "FixedClock",
    "Frame",
    "ManualClock",
    "MonotonicClock",
    "NextframeError",
    "Outcome",
    "RecoveredWithLoss",
    "ReplayError",
    "SessionOptions",
    "Snapshot",
    "StatePart",
    "StepGate",
    "TickPlan",
    "TickResult",
    "WeightsError",
    "World",
    "WorldInfo",
    "always_open",
    "open_world",
    "quantise_axis",
    "run_session",
    "world_names",
]
_ELSEWHERE = {
    "SessionOptions": "nextframe.runtime.session.choices",
    "Outcome": "nextframe.runtime.session.outcome",
    "open_world": "nextframe.opening",
    "run_session": "nextframe.opening",
    "world_names": "nextframe.opening",
}
"""Where a public name is defined, if not in the contracts."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'nextframe' has no attribute {name!r}; see nextframe.__all__")
    found: object = getattr(import_module(_ELSEWHERE.get(name, "nextframe.runtime.core")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
