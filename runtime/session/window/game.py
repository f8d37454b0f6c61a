"""One windowed session from the first tick to the last: events in, pictures out, and what the keys do.

The world ticks on a thread of its own; this one pumps events and presents. Part of the composition root.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ....controllers.human import HumanController
from ...core import MonotonicClock, ReplayError, Snapshot
from ...display.stills import write_png
from ...display.surface import Surface
from ...governor.adaptive import AdaptiveGovernor
from ...load.world import parse_load
from ...loop import Loop, period_ns
from ...recording.parted import PartedRecording
from ...tick.controls import SessionControls
from ...tick.heap import settled_heap
from ...tick.latch import InputLatch
from ...tick.threaded import FrameMailbox, GeneratorThread
from ...timeline.machine import TimeMachine, TimeSettings
from ...timeline.saves import default_folder, load_slot
from ..choices import PlayOptions, deadline_of, make_recorder
from ..instruments import InstrumentOptions, Instruments
from ..outcome import print_outcome, write_report
from ..parts.ahead import AheadPart, PlayerPeek
from ..parts.drift import DriftPart
from ..parts.guards import GuardPart
from ..parts.stages import stages_report
from ..startup import OpenWorld, StartUp
from ..terminal import Signals
from .latency import WindowLatency
from .panel import Panel
from .switched import SwitchedRecorder

IDLE_SLEEP_S = 0.002
"""Between looks at events and mailbox while there is nothing to show: a keypress waits no longer than this."""


class WarmingLoop(Loop):
    """A loop that warms its world on the thread it runs on, then ticks: `on_warm` is called in between."""

    on_warm: Callable[[], None] = staticmethod(lambda: None)

    def run(self, ticks: int | None = None) -> None:
        self._world.warm_up()
        self.on_warm()
        with settled_heap():
            super().run(ticks)


class Game:
    """One windowed session from the first tick to the last."""

    def __init__(
        self,
        options: PlayOptions,
        opened: OpenWorld,
        *,
        latch: InputLatch,
        surface: Surface,
        panel: Panel,
        commands: Sequence[str],
        startup: StartUp,
    ) -> None:
        info, clock = opened.info, MonotonicClock()
        self._options, self._opened, self._startup = options, opened, startup
        self._surface, self._panel, self._given = surface, panel, list(commands)
        self._controls = SessionControls()
        self._deadline_ns = deadline_of(opened.found, None)
        self._mailbox = FrameMailbox(clock, self._controls)
        self._controller = HumanController(latch, panel.bindings, info.actions)
        tick_period_ns = period_ns(info.tick_hz)
        self._instruments = Instruments(
            InstrumentOptions(trace=options.trace, bursts=options.out, metrics_port=options.metrics_port),
            info.name,
            self._controls,
            tick_period_ns=tick_period_ns,
            deadline_ns=self._deadline_ns,
        )
        self._latency = WindowLatency()
        self._recorder = SwitchedRecorder(self._panel.note_action)
        self._recordings: list[PartedRecording] = []
        if options.record is not None:
            self._recorder.start(self._recording_to(options.record, overwrite=options.overwrite))
        if options.steps is not None:
            self._controls.lock_quality(options.steps)
        self._panel.prepare_prompts()
        if options.prompt is not None:
            self._controller.set_prompt(self._panel.read(options.prompt).said)
        shape = None if options.load is None else parse_load(options.load)
        self._ahead = AheadPart(
            opened.world,
            clock,
            wanted=options.ahead,
            shape=shape,
            ceiling=lambda: self._controls.locked_quality or info.ladder[-1],
            peek=PlayerPeek(self._controller.peek),
        )
        self._drift = DriftPart(
            opened.world, opened.monitor, opened.drift, lambda text: self._panel.say(text, seconds=5)
        )
        self._guard = GuardPart(self._controls, lambda text: self._panel.say(text, seconds=5))
        governor = AdaptiveGovernor(
            info.ladder,
            clock,
            tick_deadline_ns=self._deadline_ns,
            tick_period_ns=int(tick_period_ns),
            controls=self._controls,
        )
        self._time = TimeMachine(
            opened.world,
            self._recorder,
            TimeSettings(options.saves or default_folder(), options.seed),
            say=self._panel.say,
            broken=self._go_on_recording,
            shown=self._latency.skip,
            governor=governor,
        )
        self._loop = WarmingLoop(
            self._ahead.world,
            self._controller,
            self._mailbox,
            governor,
            clock,
            tick_period_ns=tick_period_ns,
            deadline_ns=self._deadline_ns,
            observer=self._instruments.observer(self._ahead.loaded, self._latency, self._ahead.counts, self._guard),
            recorder=self._time,
            interlude=self._time,
            controls=self._controls,
            seed=options.seed,
            probe=self._instruments.probe,
            ahead=self._ahead.seam,
            aftercare=self._drift.care,
        )
        if options.load_slot is not None:
            self._time.load(load_slot(options.saves or default_folder(), options.load_slot, info))
        self._panel.connect(opened, self._instruments.telemetry, self._latency, self._controls, self._recorder)
        self._commands: dict[str, Callable[[], None]] = {
            "pause": self._pause,
            "single_tick": self._single_tick,
            "reset": self._reset,
            "quality_up": lambda: self._lock_quality(1),
            "quality_down": lambda: self._lock_quality(-1),
            "quality_unlock": self._unlock_quality,
            "screenshot": self._screenshot,
            "record": self._record,
            "rewind": lambda: self._time.hold_rewind(True),
            "release:rewind": lambda: self._time.hold_rewind(False),
            "quick_save": self._time.request_save,
            "quick_load": self._time.request_load,
            "split": self._time.request_split,
            "help": self._panel.toggle_help,
            "hud": self._panel.toggle_stats,
            "quit": self._controls.request_stop,
        }

    def play(self, signals: Signals) -> int:
        """Until the player quits, the ticks are up, or Ctrl-C; then the recording and the report are written."""
        if any(binding.control in ("mouse:dx", "mouse:dy") for binding in self._panel.bindings.bindings):
            self._surface.capture_mouse(True)
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
            lost = self._end_recording()
        code = self._finish()
        self._guard.check()
        if lost is not None:
            raise lost
        return code

    def close(self) -> None:
        self._time.close()
        self._instruments.close()

    def _turn(self) -> None:
        """Events in, one picture out if there is something new."""
        commands = [*self._given, *self._surface.pump()]
        self._given = []
        for command in commands:
            self._obey(command)
        taken = self._mailbox.take(self._controls.generation)
        if taken is not None:
            frame, frame_id = taken
            self._panel.refresh(self._surface, before_a_frame=True)
            self._latency.shown(frame_id, self._surface.show(frame))
            self._startup.first_frame()
            return
        self._panel.refresh(self._surface, now=bool(commands))
        time.sleep(IDLE_SLEEP_S)

    def _obey(self, command: str) -> None:
        if command.startswith("prompt:"):
            text = command.removeprefix("prompt:")
            self._controller.set_prompt(self._panel.read(text).said)
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
        live = self._instruments.telemetry.live()
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
        write_png(path, self._surface.screenshot())
        self._panel.say(f"saved {path}")

    def _record(self) -> None:
        if self._recorder.active:
            self._stop_recording()
            return
        path = self._options.out / f"recording-{_now()}.nfr"
        world, loop = self._opened.world, self._loop
        self._recorder.start_after_this_tick(
            lambda: self._recording_to(path, state=world.snapshot(), tick=loop.tick + 1)
        )
        self._panel.say(f"recording from here: {path}", seconds=5)

    def _recording_to(
        self, path: Path, *, overwrite: bool = False, state: Snapshot | None = None, tick: int = 0
    ) -> PartedRecording:
        """A recording of this session, in as many files as it takes."""
        opened, seed = self._opened, self._options.seed
        recording = PartedRecording(
            path,
            opened.world,
            lambda part: make_recorder(
                part.path,
                replace(opened, environment={**opened.environment, **part.notes}),
                seed,
                overwrite=part.overwrite,
                initial_snapshot=part.state,
            ),
            say=lambda text: self._panel.say(text, seconds=5),
            overwrite=overwrite,
            state=state,
            tick=tick,
        )
        self._recordings.append(recording)
        return recording

    def _go_on_recording(self, tick: int) -> None:
        """A recording is one unbroken line of ticks: after a jump it goes on in a next file."""
        if self._recorder.active and self._recordings:
            self._recordings[-1].go_on_from(tick)

    def _stop_recording(self) -> None:
        lost = self._end_recording()
        paths = ", ".join(str(path) for recording in self._recordings[-1:] for path in recording.paths)
        self._panel.say(f"recording saved: {paths}" if lost is None else str(lost), seconds=8)

    def _end_recording(self) -> ReplayError | None:
        """Why ticks are missing at its end, if they are: told once everything else is safe."""
        try:
            self._recorder.close()
        except ReplayError as error:
            return error
        return None

    def _finish(self) -> int:
        report = self._instruments.report(
            self._opened, self._startup, clock="real", governor_name="adaptive", load=self._options.load
        )
        if (waits := self._latency.percentiles_ms()) is not None:
            report["input_to_present_ms"] = waits  # in a window: to the end of the flip, not to the mailbox
        report |= (
            self._ahead.as_report()
            | self._drift.as_report()
            | self._guard.as_report()
            | stages_report(self._opened.world)
        )
        written = self._instruments.close()
        written["report"] = write_report(self._options.out / "report.json", report)
        paths = [path for recording in self._recordings for path in recording.paths]
        written |= {f"recording_{at}" if at > 1 else "recording": path for at, path in enumerate(paths, start=1)}
        print_outcome(report, written)
        sys.stdout.flush()
        return 0


def _now() -> str:
    """For file names: local time to the hundredth of a second, so that two shots do not share a name."""
    now = time.time()
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now)) + f"-{int(now % 1 * 100):02d}"
