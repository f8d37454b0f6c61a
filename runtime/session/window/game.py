"""One windowed session from the first tick to the last: events in, pictures out, and what the keys do.

The world ticks on a thread of its own; this one pumps events and presents.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ....controllers.human import HumanController
from ...core import MonotonicClock, World
from ...display.stills import write_png
from ...display.surface import Surface
from ...governor.adaptive import AdaptiveGovernor
from ...loop import Loop
from ...tick.heap import settled_heap
from ...tick.latch import InputLatch
from ...tick.threaded import FrameMailbox, GeneratorThread
from ...timeline.machine import TimeMachine, TimeSettings
from ...timeline.saves import default_folder, load_slot
from ..builder import Session
from ..choices import PlayOptions
from ..instruments import InstrumentOptions, Instruments
from ..outcome import print_outcome, write_report
from ..parts.ahead import AheadPart, PlayerPeek
from ..parts.chosen import Chosen
from ..parts.part import Setting
from ..startup import OpenWorld, StartUp
from ..terminal import Signals
from .latency import WindowLatency
from .panel import Panel
from .recordings import Recordings
from .switched import SwitchedRecorder

LONG_S = 5.0
"""For messages that are not the answer to a key: the player does not expect them."""
IDLE_SLEEP_S = 0.002
"""Between looks at events and mailbox while there is nothing to show: a keypress waits no longer than this."""


class WarmingLoop:
    """A loop whose world is warmed on the thread that ticks: a network's helper threads belong to their caller.

    `on_warm` is called between the two.
    """

    def __init__(self, loop: Loop, world: World, on_warm: Callable[[], None]) -> None:
        self._loop, self._world, self._on_warm = loop, world, on_warm
        self.controls = loop.controls

    def run(self, ticks: int | None = None) -> None:
        self._world.warm_up()
        self._on_warm()
        with settled_heap():
            self._loop.run(ticks)


class Game:
    """One windowed session from the first tick to the last."""

    def __init__(
        self,
        options: PlayOptions,
        chosen: Chosen,
        opened: OpenWorld,
        *,
        latch: InputLatch,
        surface: Surface,
        panel: Panel,
        commands: Sequence[str],
        startup: StartUp,
    ) -> None:
        info = opened.info
        self._options, self._opened, self._startup = options, opened, startup
        self._surface, self._panel, self._given = surface, panel, list(commands)
        self._setting = setting = Setting.at(info.tick_hz, MonotonicClock(), seed=options.seed)
        self._controls = setting.controls
        self._mailbox = FrameMailbox(setting.clock, self._controls)
        self._controller = HumanController(latch, panel.bindings, info.actions)
        self._instruments = Instruments(
            InstrumentOptions(trace=options.trace, bursts=options.out, metrics_port=options.metrics_port),
            info.name,
            setting,
        )
        self._latency = WindowLatency()
        self._recorder = SwitchedRecorder(panel.note_action)
        self._recordings = Recordings(opened, options.seed, self._recorder, self._say_long)
        self._begin_as_asked()
        governor = AdaptiveGovernor(
            info.ladder,
            setting.clock,
            tick_deadline_ns=setting.deadline_ns,
            tick_period_ns=int(setting.tick_period_ns),
            controls=self._controls,
        )
        self._time = TimeMachine(
            opened.world,
            self._recorder,
            TimeSettings(self._saves, options.seed),
            say=panel.say,
            broken=self._recordings.go_on_from,
            shown=self._latency.skip,
            governor=governor,
        )
        ahead = AheadPart(
            setting.clock,
            ceiling=lambda: self._controls.locked_quality or info.ladder[-1],
            peek=PlayerPeek(self._controller.peek),
        )
        self._session = Session(
            opened.world,
            setting,
            parts=chosen.parts(opened, setting, self._say_long, say_drift=self._say_long, ahead=ahead),
            instruments=self._instruments,
        )
        self._loop = self._session.loop(
            self._controller,
            self._mailbox,
            governor,
            recorder=self._time,
            interlude=self._time,
            observers=(self._latency,),
        )
        if options.load_slot is not None:
            self._time.load(load_slot(self._saves, options.load_slot, info))
        panel.connect(opened, self._instruments.telemetry, self._latency, self._controls, self._recorder)
        self._commands = self._command_table()

    def _begin_as_asked(self) -> None:
        """Recording, quality and prompt that the session begins with."""
        options = self._options
        if options.record is not None:
            self._recordings.start(options.record, overwrite=options.overwrite)
        if options.steps is not None:
            self._controls.lock_quality(options.steps)
        self._panel.prepare_prompts()
        if options.prompt is not None:
            self._controller.set_prompt(self._panel.read(options.prompt).said)

    def _command_table(self) -> dict[str, Callable[[], None]]:
        return {
            "pause": self._controls.toggle_pause,
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

    @property
    def _saves(self) -> Path:
        return self._options.saves or default_folder()

    def _say_long(self, text: str) -> None:
        self._panel.say(text, seconds=LONG_S)

    def play(self, signals: Signals) -> int:
        """Until the player quits, the ticks are up, or Ctrl-C; then the recording and the report are written."""
        if any(binding.control in ("mouse:dx", "mouse:dy") for binding in self._panel.bindings.bindings):
            self._surface.capture_mouse(True)
        self._startup.restart_phase()
        warming = WarmingLoop(self._loop, self._session.world, lambda: self._startup.mark("warmup"))
        thread = GeneratorThread(warming)
        thread.start(self._options.ticks)
        try:
            with thread:
                while thread.running and not self._controls.stopping:
                    self._turn()
                    if signals.received:
                        self._controls.request_stop()
        finally:
            lost = self._recordings.end()
        code = self._finish()
        self._session.check()
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
            self._recordings.stop()
        else:
            self._recordings.start_here(self._options.out / f"recording-{_now()}.nfr", lambda: self._loop.tick + 1)

    def _finish(self) -> int:
        report = self._session.report(
            self._opened, self._startup, clock="real", governor_name="adaptive", load=self._options.load
        )
        if (waits := self._latency.percentiles_ms()) is not None:
            report["input_to_present_ms"] = waits  # in a window: to the end of the flip, not to the mailbox
        written = self._instruments.close()
        written["report"] = write_report(self._options.out / "report.json", report)
        print_outcome(report, {**written, **self._recordings.written()})
        sys.stdout.flush()
        return 0


def _now() -> str:
    """For file names: local time to the hundredth of a second, so that two shots do not share a name."""
    now = time.time()
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(now)) + f"-{int(now % 1 * 100):02d}"
