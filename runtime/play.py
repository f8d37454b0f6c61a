"""A windowed session: the loop on its own thread, the window, the HUD and the player's commands on this one.

Owns the composition of a window with a world, what each command does, and what happens where there is no display.
Knows nothing of how frames are made or keys are read. Part of the composition root.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from controllers.bindings import Bindings, load_bindings
from controllers.human import HumanController
from runtime import report as reports
from runtime.controls import SessionControls
from runtime.core import ConfigError, DisplayError, Frame, MonotonicClock
from runtime.governor import AdaptiveGovernor
from runtime.input import InputLatch
from runtime.loop import Loop, period_ns
from runtime.panel import Panel, SwitchedRecorder, WindowLatency, help_lines
from runtime.registry import WorldFolder
from runtime.session import (
    Observers,
    SessionOptions,
    Signals,
    check_recording_path,
    deadline_of,
    make_recorder,
    make_report,
    run_session,
    write_report,
)
from runtime.startup import (
    OpenWorld,
    StartUp,
    check_folder,
    checked_prompt,
    open_world,
    prefer_x11_without_a_session,
    rung_of,
)
from runtime.telemetry import Telemetry
from runtime.threaded import FrameMailbox, GeneratorThread
from runtime.video import write_png

if TYPE_CHECKING:  # the modules themselves are imported once a window is wanted
    from runtime.display import GLDisplay
    from runtime.window import Window

HEADLESS_S = 30
IDLE_SLEEP_S = 0.002
"""Between looks at events and mailbox while there is nothing to show: a keypress waits no longer than this."""
REDRAW_NS = 100_000_000
"""The HUD's numbers change this often; drawing text costs more than showing a frame."""


@dataclass(frozen=True)
class PlayOptions:
    """What `nextframe play` was asked for."""

    world: str
    side_by_side: bool = False
    seed: int = 0
    steps: int | None = None
    smooth: bool = False
    bindings: Path | None = None
    record: Path | None = None
    overwrite: bool = False
    prompt: str | None = None
    ticks: int | None = None
    out: Path = Path("out")


def play_world(options: PlayOptions, startup: StartUp) -> int:
    """Play in a window until the player quits; headless for half a minute where there is no display."""
    found = check_folder(options.world, side_by_side=options.side_by_side)
    bindings = load_bindings(found.spec.action_space(), options.bindings)
    check_recording_path(options.record, overwrite=options.overwrite)
    if options.prompt is not None:
        checked_prompt(options.prompt, found)
    if options.steps is not None and options.steps not in found.spec.ladder:
        raise ConfigError(f"--steps: expected one of {', '.join(map(str, found.spec.ladder))}, got {options.steps}")
    prefer_x11_without_a_session()
    try:
        return _play_in_window(options, found, bindings, startup)
    except DisplayError as error:
        print(f"No window here: {str(error).rpartition('; ')[0] or error}.")
    return _play_headless(options, found, startup)


def _play_headless(options: PlayOptions, found: WorldFolder, startup: StartUp) -> int:
    from runtime.cli import print_outcome

    ticks = options.ticks or round(HEADLESS_S * found.spec.tick_hz)
    tour = (found.path / "scripts" / "tour.yaml").is_file()
    who = "its tour" if tour else "a bot that wanders"
    print(
        f"Playing {found.name} headless instead, {ticks} ticks of {who}, into {options.out}/session.mp4 …", flush=True
    )
    session = SessionOptions(
        world=options.world,
        ticks=ticks,
        script="tour" if tour else None,
        bot=None if tour else "wander",
        steps=options.steps,
        seed=options.seed,
        prompt=options.prompt,
        side_by_side=options.side_by_side,
        record=options.record,
        overwrite=options.overwrite,
        out=options.out,
    )
    outcome = run_session(session, startup)
    print_outcome(outcome.report, outcome.written)
    return reports.exit_code(outcome.report)


def _play_in_window(options: PlayOptions, found: WorldFolder, bindings: Bindings, startup: StartUp) -> int:
    from runtime.display import GLDisplay
    from runtime.window import Window

    clock, latch = MonotonicClock(), InputLatch()
    frame_size_px = (found.spec.width_px * (2 if options.side_by_side else 1), found.spec.height_px)
    title = f"nextframe: {found.spec.title or found.name}"
    with ExitStack() as stack:
        signals = stack.enter_context(Signals())
        window = stack.enter_context(
            Window(title, frame_size_px, latch=latch, commands=bindings.commands, clock=clock)
        )  # fmt: skip
        display = GLDisplay(window, clock, frame_size_px, filter="smooth" if options.smooth else "crisp")
        stack.callback(display.close)
        panel = Panel(found, bindings, help_lines(found, bindings))
        screen = Screen(window, display, panel, np.zeros((frame_size_px[1], frame_size_px[0], 3), np.uint8))
        opened = _load_behind(screen, options, found, startup, signals)
        if opened is None:
            return 0
        stack.callback(opened.world.close)
        return Game(options, opened, latch=latch, screen=screen, startup=startup).play(signals)


def _load_behind(
    screen: Screen, options: PlayOptions, found: WorldFolder, startup: StartUp, signals: Signals
) -> OpenWorld | None:
    """Load on another thread, so that the window answers meanwhile; None if the player has had enough already."""
    clock = MonotonicClock()

    def load() -> OpenWorld:
        return open_world(found, startup, clock=clock, seed=options.seed, side_by_side=options.side_by_side, warm=False)

    screen.panel.say(f"loading {found.name} …", seconds=60)
    with ThreadPoolExecutor(max_workers=1) as pool:
        loading: Future[OpenWorld] = pool.submit(load)
        while not loading.done():
            screen.commands += screen.window.pump()
            screen.refresh()
            time.sleep(0.02)
        opened = loading.result()
    screen.panel.say("F1 or H shows the controls" if "help" in screen.panel.bindings.commands.values() else "")
    if "quit" in screen.commands or signals.received:
        opened.world.close()
        return None
    return opened


class Screen:
    """What is on the window: the newest frame under the newest HUD, drawn again only when one of them changed."""

    def __init__(self, window: Window, display: GLDisplay, panel: Panel, frame: Frame) -> None:
        self.window, self.display, self.panel = window, display, panel
        self.commands: list[str] = []  # given while loading, to be obeyed once there is a session
        self._frame = frame
        self._overlay: NDArray[np.uint8] | None = None
        self._drawn_ns = 0
        self._size_px = (0, 0)

    def show(self, frame: Frame) -> int:
        """A new frame, now; returns when the window took it, in ns."""
        self._frame = frame
        return self._draw()

    def refresh(self, now: bool = False) -> None:
        """Redraw when the HUD is due or the window has changed its size."""
        if now or time.monotonic_ns() - self._drawn_ns >= REDRAW_NS or self.window.size_px != self._size_px:
            self._draw(overlay_due=True)

    def _draw(self, overlay_due: bool = False) -> int:
        now_ns, size_px = time.monotonic_ns(), self.window.size_px
        if overlay_due or now_ns - self._drawn_ns >= REDRAW_NS or size_px != self._size_px:
            self._overlay = self.panel.overlay(size_px, self.window.text_being_typed)
            self._drawn_ns, self._size_px = now_ns, size_px
        return self.display.present_with_overlay(self._frame, self._overlay)


class WarmingLoop(Loop):
    """A loop that warms its world on the thread it runs on, then ticks: `on_warm` is called in between."""

    on_warm: Callable[[], None] = staticmethod(lambda: None)

    def run(self, ticks: int | None = None) -> None:
        self._world.warm_up()
        self.on_warm()
        super().run(ticks)


class Game:
    """One windowed session from the first tick to the last."""

    def __init__(
        self, options: PlayOptions, opened: OpenWorld, *, latch: InputLatch, screen: Screen, startup: StartUp
    ) -> None:
        info, clock = opened.info, MonotonicClock()
        self._options, self._opened, self._screen, self._startup = options, opened, screen, startup
        self._panel = screen.panel
        self._controls = SessionControls()
        self._deadline_ns = deadline_of(opened.found, None)
        self._mailbox = FrameMailbox(clock, self._controls)
        self._controller = HumanController(latch, screen.panel.bindings, info.actions)
        self._telemetry, self._latency = Telemetry(), WindowLatency()
        self._recorder = SwitchedRecorder(self._panel.note_action)
        self._recording = options.record
        if options.record is not None:
            self._recorder.start(
                make_recorder(options.record, opened, options.seed, overwrite=options.overwrite), at_once=True
            )
        if options.steps is not None:
            self._controls.lock_quality(rung_of(options.steps, info))
        if options.prompt is not None:
            self._controller.set_prompt(options.prompt)
        self._loop = WarmingLoop(
            opened.world,
            self._controller,
            self._mailbox,
            AdaptiveGovernor(
                info.ladder,
                clock,
                tick_deadline_ns=self._deadline_ns,
                tick_period_ns=int(period_ns(info.tick_hz)),
                controls=self._controls,
            ),
            clock,
            tick_period_ns=period_ns(info.tick_hz),
            deadline_ns=self._deadline_ns,
            observer=Observers(self._telemetry, self._latency),
            recorder=self._recorder,
            controls=self._controls,
            seed=options.seed,
        )
        self._panel.connect(opened, self._telemetry, self._latency, self._controls, self._recorder)
        self._commands: dict[str, Callable[[], None]] = {
            "pause": self._pause,
            "single_tick": self._single_tick,
            "reset": self._reset,
            "quality_up": lambda: self._lock_quality(1),
            "quality_down": lambda: self._lock_quality(-1),
            "quality_unlock": self._unlock_quality,
            "screenshot": self._screenshot,
            "record": self._record,
            "help": self._panel.toggle_help,
            "hud": self._panel.toggle_stats,
            "quit": self._controls.request_stop,
        }

    def play(self, signals: Signals) -> int:
        """Until the player quits, the ticks are up, or Ctrl-C; then the recording and the report are written."""
        if any(binding.control in ("mouse:dx", "mouse:dy") for binding in self._panel.bindings.bindings):
            self._screen.window.capture_mouse(True)
        self._startup.restart_phase()
        self._loop.on_warm = lambda: self._startup.mark("warmup")
        thread = GeneratorThread(self._loop)
        thread.start(self._options.ticks)
        try:
            with thread:
                while thread.running and not self._controls.stopping:
                    self._turn()
                    if signals.received:
                        self._controls.request_stop()
        finally:
            self._recorder.close()
        return self._finish()

    def _turn(self) -> None:
        """Events in, one picture out if there is something new."""
        commands = [*self._screen.commands, *self._screen.window.pump()]
        self._screen.commands = []
        for command in commands:
            self._obey(command)
        taken = self._mailbox.take(self._controls.generation)
        if taken is not None:
            frame, frame_id = taken
            self._latency.shown(frame_id, self._screen.show(frame))
            self._startup.first_frame()
            return
        self._screen.refresh(now=bool(commands) or self._panel.typing_changed(self._screen.window.text_being_typed))
        time.sleep(IDLE_SLEEP_S)

    def _obey(self, command: str) -> None:
        if command.startswith("prompt:"):
            text = command.removeprefix("prompt:")
            self._controller.set_prompt(text)
            self._panel.say(self._panel.understood(text))
        elif command in self._commands:
            self._commands[command]()

    # --- commands -----------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        self._controls.toggle_pause()

    def _single_tick(self) -> None:
        self._controls.request_single_tick()
        self._panel.say("one tick")

    def _reset(self) -> None:
        self._controls.request_reset()
        self._panel.say("the world starts anew")

    def _lock_quality(self, direction: int) -> None:
        ladder = self._opened.info.ladder
        live = self._telemetry.live()
        now = self._controls.locked_quality or (live.rung if live is not None else ladder[-1])
        index = ladder.index(now) + direction if now in ladder else len(ladder) - 1
        steps = ladder[max(0, min(len(ladder) - 1, index))]
        self._controls.lock_quality(steps)
        self._panel.say(f"quality locked at {steps} denoise step{'' if steps == 1 else 's'}")

    def _unlock_quality(self) -> None:
        self._controls.lock_quality(None)
        self._panel.say("quality follows the deadline again")

    def _screenshot(self) -> None:
        path = self._options.out / f"screenshot-{_now()}.png"
        write_png(path, self._screen.display.screenshot(with_overlay=False))
        self._panel.say(f"saved {path}")

    def _record(self) -> None:
        if self._recorder.active:
            self._recorder.close()
            self._panel.say(f"recording saved: {self._recording}")
            return
        self._recording = self._options.out / f"recording-{_now()}.nfr"
        self._recorder.start(make_recorder(self._recording, self._opened, self._options.seed))
        self._controls.request_reset(self._options.seed)
        self._panel.say(f"recording from a reset, which every recording starts with: {self._recording}", seconds=5)

    def _finish(self) -> int:
        from runtime.cli import print_outcome

        report = make_report(self._telemetry, self._opened, self._startup, clock="real", deadline_ns=self._deadline_ns)
        if (waits := self._latency.percentiles_ms()) is not None:
            report["input_to_present_ms"] = waits  # in a window: to the end of the flip, not to the mailbox
        written = {"report": write_report(self._options.out / "report.json", report)}
        if self._recording is not None:
            written["recording"] = self._recording
        print_outcome(report, written)
        sys.stdout.flush()
        return 0


def _now() -> str:
    """For file names: local time to the hundredth of a second, so that two shots do not share a name."""
    now = time.time()
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now)) + f"-{int(now % 1 * 100):02d}"
