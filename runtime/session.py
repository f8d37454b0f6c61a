"""A headless session: world, controller, governor, recorder and loop put together, and what it leaves on disk.

Owns the composition and the artefacts (video, contact sheet, report, recording), and that Ctrl-C ends a session with
all of them written. Knows nothing of windows. Part of the composition root.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from controllers.bots import IdleController, make_bot
from controllers.scripted import ScriptedController, load_script
from runtime import report as reports
from runtime.controls import SessionControls
from runtime.core import (
    Action,
    Clock,
    ConfigError,
    Controller,
    Display,
    FixedClock,
    Frame,
    MonotonicClock,
    NextframeError,
    ReplayError,
)
from runtime.display import NullDisplay
from runtime.governor import AdaptiveGovernor, FixedGovernor
from runtime.loop import Governor, Loop, NullRecorder, Observer, Recorder, TickRecord, period_ns
from runtime.registry import WorldFolder
from runtime.startup import OpenWorld, StartUp, check_folder, checked_prompt, open_world, patience, rung_of
from runtime.telemetry import Telemetry
from runtime.video import ContactSheet, VideoWriter

INTERRUPTED = 130
"""The shell's code for a session ended by Ctrl-C: what was asked for was not measured to its end."""
PROGRESS_FROM_S = 2


@dataclass(frozen=True)
class SessionOptions:
    """What `nextframe run` was asked for. Exactly one of `script`, `bot` and `idle` is set."""

    world: str
    ticks: int
    script: str | None = None
    bot: str | None = None
    idle: bool = False
    clock: Literal["real", "fixed"] = "real"
    deadline_ms: float | None = None
    steps: int | None = None
    seed: int = 0
    prompt: str | None = None
    side_by_side: bool = False
    record: Path | None = None
    overwrite: bool = False
    video: Path | None = None
    contact_sheet: Path | None = None
    report: Path | None = None
    out: Path = Path("out")
    pictures: bool = True
    warmup_ticks: int = 0


@dataclass(frozen=True)
class Outcome:
    """The report, where the artefacts are, and whether the session was stopped before its end."""

    report: dict[str, Any]
    written: dict[str, Path]
    interrupted: bool


class Pictures:
    """A display in front of another: every frame also goes to `sinks`, after it was presented and timed."""

    def __init__(self, display: Display, sinks: Sequence[Callable[[Frame], None]]) -> None:
        self._display, self._sinks = display, tuple(sinks)

    def present(self, frame: Frame) -> int:
        presented_ns = self._display.present(frame)
        for sink in self._sinks:
            sink(frame)
        return presented_ns

    def close(self) -> None:
        self._display.close()


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def observe(self, record: TickRecord) -> None:
        for observer in self._observers:
            observer.observe(record)


class OnEveryTick:
    """An observer made of a function."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function

    def observe(self, record: TickRecord) -> None:
        self._function()


class FirstPrompt:
    """Another controller, with a prompt said on the first tick."""

    def __init__(self, controller: Controller, prompt: str) -> None:
        self._controller, self._prompt = controller, prompt
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        action = self._controller.poll(tick)
        return replace(action, prompt=self._prompt) if tick == 0 and action.prompt is None else action

    def close(self) -> None:
        self._controller.close()


class Signals:
    """Ctrl-C and SIGTERM as a wish to stop; the second one stops at once. Only a flag is set in the handler: taking
    a lock there could wait for the very code it interrupted."""

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True


# --- parts -------------------------------------------------------------------------------------------------------


def make_controller(options: SessionOptions, found: WorldFolder) -> Controller:
    """The source of actions asked for, checked before anything is loaded."""
    actions = found.spec.action_space()
    if (options.script is not None) + (options.bot is not None) + options.idle != 1:
        raise ConfigError("expected exactly one of --script FILE, --bot NAME and --idle")
    controller: Controller = IdleController()
    if options.script is not None:
        controller = ScriptedController(load_script(script_path(options.script, found), actions), actions)
    elif options.bot is not None:
        controller = make_bot(options.bot, actions, options.seed)
    if options.prompt is None:
        return controller
    return FirstPrompt(controller, checked_prompt(options.prompt, found))


def script_path(name: str, found: WorldFolder) -> Path:
    """A file, or the name of one of the world's own scripts."""
    own = found.path / "scripts" / f"{name}.yaml"
    return own if own.is_file() and not Path(name).is_file() else Path(name)


def make_governor(options: SessionOptions, opened: OpenWorld, clock: Clock, deadline_ns: int) -> Governor:
    ladder = opened.info.ladder
    if options.steps is not None:
        return FixedGovernor(rung_of(options.steps, opened.info))
    if options.clock == "fixed":  # without time there is nothing to adapt to
        return FixedGovernor(ladder[-1])
    tick_period_ns = int(period_ns(opened.info.tick_hz))
    return AdaptiveGovernor(ladder, clock, tick_deadline_ns=deadline_ns, tick_period_ns=tick_period_ns)


def make_recorder(path: Path | None, opened: OpenWorld, seed: int, *, overwrite: bool = False) -> Recorder:
    """A recording whose first tick follows a reset with `seed`; a null recorder without a path."""
    if path is None:
        return NullRecorder()
    from runtime.replay import ReplayWriter, header_for

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = header_for(opened.info, seed=seed, environment=opened.environment, created_utc=now)
    return ReplayWriter(path, header, overwrite=overwrite)


def check_recording_path(path: Path | None, *, overwrite: bool) -> None:
    """Before the weights load: an earlier recording is not lost by accident."""
    if path is not None and path.exists() and not overwrite:
        raise ReplayError(f"{path}: a file is there already; choose another name, or add --overwrite")


def deadline_of(found: WorldFolder, deadline_ms: float | None) -> int:
    """In ns from release; a whole tick period unless given."""
    return int(period_ns(found.spec.tick_hz)) if deadline_ms is None else round(deadline_ms * 1e6)


def write_report(path: Path, report: dict[str, Any]) -> Path:
    """One JSON document, whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise NextframeError(f"{path}: cannot write the report: {error.strerror or error}") from error
    return path


@contextmanager
def progress_bar(title: str, ticks: int, seconds: float) -> Iterator[Callable[[], None]]:
    """A bar on the terminal; call what it yields once a tick. Silent where stderr is no terminal, or it is short."""
    if seconds < PROGRESS_FROM_S or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, refresh_per_second=4) as progress:
        task = progress.add_task(title, total=ticks)
        yield lambda: progress.advance(task)


# --- the session -------------------------------------------------------------------------------------------------


def run_session(options: SessionOptions, startup: StartUp) -> Outcome:
    """Run a headless session to its end, or until Ctrl-C, and write what it leaves."""
    found = check_folder(options.world, side_by_side=options.side_by_side)
    controller = make_controller(options, found)
    check_recording_path(options.record, overwrite=options.overwrite)
    clock: Clock = FixedClock() if options.clock == "fixed" else MonotonicClock()
    with patience(f"loading {found.name}"):
        opened = open_world(found, startup, clock=clock, seed=options.seed, side_by_side=options.side_by_side)
    with ExitStack() as stack:
        stack.callback(opened.world.close)
        return _play_through(options, opened, controller, clock, startup=startup, stack=stack)


def _play_through(
    options: SessionOptions,
    opened: OpenWorld,
    controller: Controller,
    clock: Clock,
    *,
    startup: StartUp,
    stack: ExitStack,
) -> Outcome:
    deadline_ns = deadline_of(opened.found, options.deadline_ms)
    governor = make_governor(options, opened, clock, deadline_ns)
    recorder = make_recorder(options.record, opened, options.seed, overwrite=options.overwrite)
    stack.callback(recorder.close)
    album = Album(options, opened, stack)
    telemetry, controls = Telemetry(), SessionControls()
    sinks = [lambda frame: startup.first_frame(), *album.sinks]
    signals = stack.enter_context(Signals())
    seconds = options.ticks / float(opened.info.tick_hz)
    advance = stack.enter_context(progress_bar(f"playing {opened.info.name}", options.ticks, seconds))
    stop = OnEveryTick(lambda: controls.request_stop() if signals.received else None)
    loop = Loop(
        opened.world,
        controller,
        Pictures(NullDisplay(clock), sinks),
        governor,
        clock,
        tick_period_ns=period_ns(opened.info.tick_hz),
        deadline_ns=deadline_ns,
        observer=Observers(telemetry, stop, OnEveryTick(advance)),
        recorder=recorder,
        controls=controls,
        seed=options.seed,
    )
    startup.restart_phase()
    loop.run(options.ticks)
    report = make_report(
        telemetry,
        opened,
        startup,
        clock=options.clock,
        deadline_ns=deadline_ns,
        warmup_ticks=options.warmup_ticks,
    )
    recorder.close()
    written = album.close()
    written["report"] = write_report(options.report or options.out / "report.json", report)
    if options.record is not None:
        written["recording"] = options.record
    return Outcome(report, written, signals.received and loop.tick < options.ticks)


def make_report(
    telemetry: Telemetry, opened: OpenWorld, startup: StartUp, *, clock: str, deadline_ns: int, warmup_ticks: int = 0
) -> dict[str, Any]:
    return reports.build_report(
        telemetry,
        opened.info,
        clock=clock,
        deadline_ns=deadline_ns,
        warmup_ticks=warmup_ticks,
        ttff_ms=startup.ttff_ms,
        state=opened.world.state_inventory(),
        env=opened.environment,
    )


class Album:
    """The session's pictures: a video and a contact sheet, encoded off the tick's path."""

    def __init__(self, options: SessionOptions, opened: OpenWorld, stack: ExitStack) -> None:
        self._video: VideoWriter | None = None
        self._sheet: ContactSheet | None = None
        self._frames = 0
        self._sheet_path = options.contact_sheet or options.out / "contact_sheet.png"
        info = opened.info
        if options.pictures or options.video is not None:
            path = options.video or options.out / "session.mp4"
            size_px = (info.width_px, info.height_px)
            scale = max(1, round(768 / max(size_px)))
            self._video = VideoWriter(path, info.tick_hz, size_px, scale=scale, live=options.clock == "real")
            stack.callback(self._video.close)
        if options.pictures or options.contact_sheet is not None:
            self._sheet = ContactSheet()

    @property
    def sinks(self) -> list[Callable[[Frame], None]]:
        return [self._count, *(part.add for part in (self._video, self._sheet) if part is not None)]

    def _count(self, frame: Frame) -> None:
        self._frames += 1

    def close(self) -> dict[str, Path]:
        """Finish the files; what was written, by kind. A session without a frame leaves none."""
        written: dict[str, Path] = {}
        if self._video is not None and self._video.close() is not None:
            written["video"] = self._video.path
        if self._sheet is not None and self._frames:
            written["contact_sheet"] = self._sheet.write(self._sheet_path)
        return written
