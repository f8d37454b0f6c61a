"""A headless session for a deadline test: a world, its input, a clock and a load, run to the end and reported.

The fixture in `plugin` hands in where names are looked for and where the report goes.

On the manual clock nothing sleeps and only stated costs take time, so a run gives the same numbers on every machine:
it tests the governor, the deadline and the script. On the real clock work takes what it takes: it tests the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from ...controllers.bots import IdleController, make_bot
from ...controllers.scripted import ScriptedController, load_script, parse_script
from ..config import did_you_mean
from ..core import (
    ActionSpace,
    Clock,
    ConfigError,
    Controller,
    ManualClock,
    MonotonicClock,
    NextframeError,
    World,
)
from ..display.album import Pictures
from ..display.null import NullDisplay
from ..governor.choice import QualityChoice, governor_choice
from ..load.world import parse_load
from ..session.builder import Session
from ..session.instruments import InstrumentOptions, Instruments
from ..session.outcome import write_report
from ..session.parts.load import LoadPart
from ..session.parts.part import Setting
from ..session.python_world import missing_parts, spec_of
from ..session.registry import WorldFolder, world_names
from ..session.startup import OpenWorld, StartUp, check_folder, open_world
from ..tick.heap import settled_heap
from .evidence import FirstBurst
from .report import CannotMeasure, DeadlineReport

STAGES = ("condition", "denoise", "decode", "commit")

WorldSource: TypeAlias = str | Path | World | Callable[[Clock], World]
"""A shipped world's name, a folder with a `world.yaml`, a world, or what makes one from the session's clock."""
ScriptSource: TypeAlias = str | Path | Mapping[str, Any]
"""A file, one of the world's own scripts by name, a script's text (more than one line), or its content."""


@dataclass(frozen=True)
class DeadlineOptions:
    """What a test asked for; `DeadlineSession` says what the fields mean."""

    world: WorldSource
    ticks: int
    script: ScriptSource | None = None
    bot: str | None = None
    deadline_ms: float | None = None
    clock: Literal["real", "manual"] = "real"
    quality: int | str = "adaptive"
    costs: Mapping[str, float] | None = None
    load: str | None = None
    seed: int = 0
    warmup_ticks: int = 0

    def __post_init__(self) -> None:
        """Everything that can be wrong and be seen without a world."""
        self._check_numbers()
        if self.script is not None and self.bot is not None:
            raise ConfigError("deadline_session: expected script=, bot= or neither (nothing is touched), got both")
        if self.clock not in ("real", "manual"):
            raise ConfigError(f"deadline_session: clock: expected 'real' or 'manual', got {self.clock!r}")
        if self.costs is not None and self.clock == "real":
            raise ConfigError(
                "deadline_session: costs= are simulated and need clock='manual'; real load is load='steady:ms=...'"
            )
        for stage, cost_ms in (self.costs or {}).items():
            if stage not in STAGES:
                raise ConfigError(f"deadline_session: costs: unknown stage {stage!r}; {did_you_mean(stage, STAGES)}")
            if not 0 <= cost_ms < math.inf:
                raise ConfigError(f"deadline_session: costs[{stage!r}]: expected ms from 0 up, got {cost_ms}")

    def _check_numbers(self) -> None:
        if self.ticks < 1:
            raise ConfigError(f"deadline_session: ticks: expected at least 1, got {self.ticks}")
        if not 0 <= self.warmup_ticks < self.ticks:
            raise ConfigError(
                f"deadline_session: warmup_ticks are the first of the ticks and in no number: "
                f"expected 0 to {self.ticks - 1}, got {self.warmup_ticks}"
            )
        if self.deadline_ms is not None and not 0.001 <= self.deadline_ms <= 60_000:
            raise ConfigError(f"deadline_session: deadline_ms: expected 0.001 to 60000, got {self.deadline_ms}")


@dataclass(frozen=True)
class DeadlineSession:
    """What the fixture `deadline_session` gives: call it to run a session and get its report.

    `folders`: where relative names are looked for, in order. `report_path`: a new name for each report.
    """

    folders: Sequence[Path]
    report_path: Callable[[], Path] = field(repr=False)

    def __call__(
        self,
        world: WorldSource,
        *,
        ticks: int,
        script: ScriptSource | None = None,
        bot: str | None = None,
        deadline_ms: float | None = None,
        clock: Literal["real", "manual"] = "real",
        quality: int | str = "adaptive",
        costs: Mapping[str, float] | None = None,
        load: str | None = None,
        seed: int = 0,
        warmup_ticks: int = 0,
    ) -> DeadlineReport:
        """Run `ticks` ticks, of which the first `warmup_ticks` are in no number.

        `world`: see `WorldSource`; a world handed in is neither timed on the manual clock nor closed, so there give
        the class or a function that takes the clock. `script`: see `ScriptSource`; without it and without `bot`
        nothing is touched. `deadline_ms`: release to picture; a tick period if not given. `quality`: "adaptive",
        denoise steps, or "trace:FILE". `costs`: simulated ms by stage (`denoise`: per step), manual clock only.
        `load`: a load shape such as "step:ms=10,from=5,to=15" (seconds), real work on the real clock.
        Raises a NextframeError of one line for input that does not fit; `CannotMeasure` when no tick took time.
        """
        __tracebackhide__ = True  # of bad input the caller's line is of interest
        try:
            options = DeadlineOptions(
                world, ticks, script, bot, deadline_ms, clock, quality, costs, load, seed, warmup_ticks
            )
            return run_deadline_session(options, self.folders, self.report_path)
        except NextframeError as error:
            raise error.with_traceback(None) from None


def run_deadline_session(
    options: DeadlineOptions, folders: Sequence[Path], report_path: Callable[[], Path]
) -> DeadlineReport:
    """Run the session and write its report (and a trace beside it if ticks were missed)."""
    live = options.clock == "real"
    clock: Clock = MonotonicClock() if live else ManualClock()
    quality, startup = _quality(options.quality), StartUp()
    with ExitStack() as stack:
        opened, controller = _open(options, folders, clock, startup, stack)
        info = opened.info
        setting = Setting.at(info.tick_hz, clock, deadline_ms=options.deadline_ms, seed=options.seed)
        tick_period_ns = int(setting.tick_period_ns)
        governor = quality.governor(
            info.ladder, clock, tick_deadline_ns=setting.deadline_ns, tick_period_ns=tick_period_ns
        )
        watching = InstrumentOptions(live=live, warmup_ticks=options.warmup_ticks)
        instruments = stack.enter_context(Instruments(watching, info.name, setting))
        session = Session(opened.world, setting, parts=_loads(options, clock), instruments=instruments)
        burst = FirstBurst(setting.controls)
        startup.restart_phase()
        loop = session.loop(
            controller,
            Pictures(NullDisplay(clock), [lambda frame: startup.first_frame()]),
            governor,
            observers=(burst,),
        )
        with settled_heap():
            loop.run(options.ticks)
        report = session.report(opened, startup, clock=options.clock, governor_name=quality.text, load=options.load)
    return _finished(report, report_path, burst, tick_period_ns)


def _finished(
    report: Mapping[str, Any], report_path: Callable[[], Path], burst: FirstBurst, tick_period_ns: int
) -> DeadlineReport:
    if report["clock"] == "manual" and not report["response_ms"]["max"]:
        raise CannotMeasure(
            f"{report['world']}: no tick took any time on the manual clock, so none could miss; "
            "say what work costs: costs={'denoise': 4.0, ...} in ms, or load='steady:ms=4'"
        )
    path = write_report(report_path(), dict(report))
    return DeadlineReport(report, path, burst.write(path.with_suffix(".trace.json"), tick_period_ns, report))


def _quality(quality: int | str) -> QualityChoice:
    return governor_choice(quality if isinstance(quality, str) else f"fixed:{quality}")


# --- the world and its input -------------------------------------------------------------------------------------


def _open(
    options: DeadlineOptions, folders: Sequence[Path], clock: Clock, startup: StartUp, stack: ExitStack
) -> tuple[OpenWorld, Controller]:
    """A world that is reset and warm, and its controller. Cheap mistakes first."""
    if not isinstance(options.world, str | Path):
        startup.mark("import")
        world = _own_world(options.world, options.clock, clock, stack)
        controller = _controller(options, world.info.actions, folders)
        stack.callback(controller.close)
        world.reset(options.seed)
        startup.mark("load")
        world.warm_up()
        startup.mark("warmup")
        return OpenWorld(_folder_of(world), world), controller
    found = check_folder(_world_name(options.world, folders))
    controller = _controller(options, found.spec.action_space(), folders, found)
    stack.callback(controller.close)
    opened = open_world(found, startup, clock=clock, seed=options.seed)
    stack.callback(opened.world.close)
    return opened, controller


def _folder_of(world: World) -> WorldFolder:
    """A world made in code, as if it had a file."""
    return WorldFolder(world.info.name, Path(), spec_of(world.info))


def _own_world(source: World | Callable[[Clock], World], clock_name: str, clock: Clock, stack: ExitStack) -> World:
    missing = missing_parts(source)
    if not missing and not isinstance(source, type):
        if clock_name == "manual":
            raise ConfigError(
                "deadline_session: this world measures its stages on a clock of its own; for clock='manual' give its "
                "class, or a function that makes it from the session's clock: lambda clock: MyWorld(clock)"
            )
        return source  # type: ignore[return-value]  # it has all the parts
    if not callable(source):
        raise ConfigError(
            "deadline_session: world: expected a world's name, its folder, a World or a function that makes one from "
            f"a clock; got {type(source).__name__}, which lacks {', '.join(missing)}"
        )
    world = source(clock)
    missing = missing_parts(world)
    if missing:
        raise ConfigError(
            f"deadline_session: world: expected {getattr(source, '__name__', 'the function')} to make a World; "
            f"got {type(world).__name__}, which lacks {', '.join(missing)}"
        )
    stack.callback(world.close)
    return world


def _world_name(world: str | Path, folders: Sequence[Path]) -> str:
    """A shipped name as it is, a folder by its full path; what is neither is complained about by the registry."""
    if str(world) in world_names():
        return str(world)
    return next((str(folder / world) for folder in folders if (folder / world / "world.yaml").is_file()), str(world))


def _controller(
    options: DeadlineOptions, actions: ActionSpace, folders: Sequence[Path], found: WorldFolder | None = None
) -> Controller:
    if options.bot is not None:
        return make_bot(options.bot, actions, options.seed)
    script = options.script
    if script is None:
        return IdleController()
    if isinstance(script, Mapping):
        text = yaml.safe_dump(dict(script), sort_keys=False)
        return ScriptedController(parse_script(text, "script of this test", actions), actions)
    if isinstance(script, str) and "\n" in script:
        return ScriptedController(parse_script(script, "script of this test", actions), actions)
    places = [folder / script for folder in folders]
    if found is not None:
        places.append(found.path / "scripts" / f"{script}.yaml")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ConfigError(f"script {str(script)!r}: no such file; looked for {', '.join(map(str, places))}")
    return ScriptedController(load_script(path, actions), actions)


def _loads(options: DeadlineOptions, clock: Clock) -> list[LoadPart]:
    """Stated costs are the world's own; a load comes on top of them and may be a multiple of them."""
    costs = [f"steady:ms={float(cost_ms)!r},on={stage}" for stage, cost_ms in (options.costs or {}).items()]
    return [LoadPart(parse_load(text), clock) for text in ["+".join(costs), options.load] if text]
