"""What the HUD of a windowed session says: collected from telemetry, controls, recorder and bindings.

Owns the HUD's content, its messages and help, the recorder that can be switched on while playing, and the latency to
the end of a flip. Draws nothing itself (see `nextframe.runtime.display.hud`), opens no window. Part of the composition
root.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...controllers.bindings import Bindings
from ...worlds.prompts.sentences import Reading, SentenceReader, explain
from ...worlds.prompts.words import Prompt, parse_prompt
from ..core import IDLE, Action
from ..loop import NullRecorder, Recorder, TickRecord
from ..observe import metrics
from ..observe.telemetry import LIVE_TICKS, Telemetry
from ..session.registry import WorldFolder
from ..session.startup import OpenWorld
from ..tick.controls import SessionControls
from .hud import Hud, HudModel, key_label

MESSAGE_S = 3.0
MAX_ID_PAIRS = 4_096

ARROW_KEYS = ("key:left", "key:right", "key:up", "key:down")

COMMAND_HELP = {
    "pause": "pause, play on",
    "single_tick": "one tick",
    "reset": "start anew",
    "rewind": "rewind while held",
    "quick_save": "save",
    "quick_load": "back to the save",
    "split": "both ways side by side",
    "quality_down": "fewer denoise steps",
    "quality_up": "more denoise steps",
    "quality_unlock": "quality by deadline",
    "screenshot": "screenshot",
    "record": "record on, off",
    "prompt": "type a prompt",
    "hud": "numbers on, off",
    "help": "this help",
    "quit": "quit",
}


def help_lines(found: WorldFolder, bindings: Bindings) -> tuple[str, ...]:
    """The controls of a world as `Hud` shows them: control, a tab, meaning."""
    lines = []
    actions = found.spec.action_space()
    for name in actions.names():
        own = [b for b in bindings.bindings if b.action == name and b.control.startswith(("key:", "char:", "mouse:"))]
        both_ways = len({b.scale < 0 for b in own if not b.analog}) == 2
        ways = [[b for b in own if not b.analog and (b.scale < 0) == negative] for negative in (True, False)]
        for one in (way[0] for way in (*ways, [b for b in own if b.analog]) if way):
            plain = not both_ways or one.analog or one.control in ARROW_KEYS  # an arrow says which way
            sign = "" if plain else " −" if one.scale < 0 else " +"
            lines.append(f"{one.control}\t{one.label or name.replace('_', ' ') + sign}")
    lines += [f"{control}\t{prompt}" for control, prompt in bindings.prompts.items()]
    for command, meaning in COMMAND_HELP.items():
        if command == "prompt" and not actions.prompts:
            continue
        control = next((c for c, bound in bindings.commands.items() if bound == command), None)
        if control is not None:
            lines.append(f"{control}\t{meaning}")
    return tuple(lines)


class SwitchedRecorder:
    """A recorder that begins and stops when told, in the middle of a session too: then from a snapshot.

    `on_action` hears of every tick's action, recorded or not. Files are written under one lock: the window's thread
    starts and closes, the loop's thread records, and takes the snapshot between two ticks.
    """

    def __init__(self, on_action: Callable[[Action], None]) -> None:
        self._on_action = on_action
        self._lock = threading.Lock()
        self._recorder: Recorder = NullRecorder()
        self._make: Callable[[], Recorder] | None = None
        self.active = False

    @property
    def problem(self) -> str:
        """Why the recording has stopped by itself; empty while all is well."""
        return str(getattr(self._recorder, "problem", ""))

    def start(self, recorder: Recorder) -> None:
        """Record from the first tick on: the session has just been reset."""
        with self._lock:
            self._recorder, self.active = recorder, True

    def start_after_this_tick(self, make: Callable[[], Recorder]) -> None:
        """`make` is called by the loop's thread after a tick, when the state is whole."""
        with self._lock:
            self._make, self.active = make, True

    def record_tick(
        self, tick: int, action: Action, steps_applied: int, checksum: int | None, event: str | None
    ) -> None:
        self._on_action(action)
        with self._lock:
            self._recorder.record_tick(tick, action, steps_applied, checksum, event)
            if self._make is not None:
                self._recorder, self._make = self._make(), None

    def close(self) -> None:
        """Finish the file, if there is one."""
        with self._lock:
            recorder, self._recorder = self._recorder, NullRecorder()
            self.active, self._make = False, None
            recorder.close()


class WindowLatency:
    """From an input event to the end of the flip that shows its frame. An observer on one side, `shown` on the other.

    The loop says which frame was the first to know of an input, the window which frame it showed when; a frame that
    was replaced before anybody saw it counts at the next one shown.
    """

    def __init__(self) -> None:
        self._next_frame_id = 0
        self._inputs: deque[tuple[int, int]] = deque(maxlen=MAX_ID_PAIRS)
        self._shown: deque[tuple[int, int]] = deque(maxlen=MAX_ID_PAIRS)
        self._waits_ns = array("q")
        self._response_ms: deque[float] = deque(maxlen=LIVE_TICKS)

    def observe(self, record: TickRecord) -> None:
        self._response_ms.append(record.response_ns / 1e6)
        if record.input_event_ns is not None:
            self._inputs.append((self._next_frame_id, record.input_event_ns))
        self._next_frame_id += record.frames

    def shown(self, frame_id: int, presented_ns: int) -> None:
        """Called by the window's thread, as is everything below."""
        self._shown.append((frame_id, presented_ns))

    def responses_ms(self) -> tuple[float, ...]:
        """The last ticks from release to picture, oldest first: what the deadline is a limit of."""
        return tuple(self._response_ms.copy())

    def recent_ms(self, count: int = 60) -> float | None:
        """The median of the last waits, None before the first."""
        self._match()
        return metrics.percentile([wait / 1e6 for wait in self._waits_ns[-count:]], 50)

    def skip(self, frames: int) -> None:
        """Frames that no tick made: a rewind shows them, and no input is in them."""
        self._next_frame_id += frames

    def percentiles_ms(self) -> dict[str, float | None] | None:
        """p50 and p95 of the whole session; None if there was no input."""
        self._match()
        return metrics.percentiles(np.array(self._waits_ns) / 1e6, 50, 95) if self._waits_ns else None

    def _match(self) -> None:
        while self._inputs and self._shown:
            frame_id, input_ns = self._inputs[0]
            if self._shown[0][0] < frame_id:
                self._shown.popleft()
                continue
            self._waits_ns.append(self._shown[0][1] - input_ns)
            self._inputs.popleft()


@dataclass(frozen=True)
class _Sources:
    opened: OpenWorld
    telemetry: Telemetry
    latency: WindowLatency
    controls: SessionControls
    recorder: SwitchedRecorder


class Panel:
    """Builds the HUD's picture. Lives on the window's thread; only `note_action` is called from another.

    `printed`: the name of a control as the player's keyboard has it on its key (`Window.printed`).
    """

    def __init__(
        self,
        found: WorldFolder,
        bindings: Bindings,
        help_text: tuple[str, ...],
        printed: Callable[[str], str] = str,
    ) -> None:
        self.bindings = bindings
        self._printed = printed
        self._found = found
        self._help_lines = help_text
        self._hud = Hud()
        self._sources: _Sources | None = None
        self._action = IDLE
        self._message, self._message_until_s = "", 0.0
        self._show_help, self._show_stats = False, True
        self._typed: str | None = None
        self._groups = found.spec.action_space().prompts
        self._reader = SentenceReader(self._groups, found.synonyms)
        self._prompt: dict[str, str] = dict(self._parsed(found.spec.default_prompt).chosen)

    def connect(
        self,
        opened: OpenWorld,
        telemetry: Telemetry,
        latency: WindowLatency,
        controls: SessionControls,
        recorder: SwitchedRecorder,
    ) -> None:
        """The session is there: from now on its numbers are shown."""
        self._sources = _Sources(opened, telemetry, latency, controls, recorder)

    # --- what changes -------------------------------------------------------------------------------------------

    def say(self, message: str, *, seconds: float = MESSAGE_S) -> None:
        self._message, self._message_until_s = message, time.monotonic() + seconds

    def toggle_help(self) -> None:
        self._show_help = not self._show_help

    def toggle_stats(self) -> None:
        self._show_stats = not self._show_stats

    def note_action(self, action: Action) -> None:
        """What the last tick was played with."""
        self._action = action
        if action.prompt is not None:
            self._prompt = {**self._prompt, **self._parsed(action.prompt).chosen}

    def typing_changed(self, text: str | None) -> bool:
        changed, self._typed = text != self._typed, text
        return changed

    def read(self, text: str) -> Reading:
        """A typed prompt in words of the vocabulary."""
        return self._reader.read(text)

    def prepare_prompts(self) -> None:
        """Load what reads free text, where it is installed: before the first tick, for it would cost one."""
        self._reader.prepare()

    def understood(self, text: str) -> str:
        """What a typed prompt means here, and which of its words mean nothing."""
        return explain(self.read(text), self._groups, self._reader.lack)

    def _parsed(self, text: str) -> Prompt:
        return parse_prompt(text, self._groups, self._found.synonyms)

    def help_hint(self) -> str:
        """Which keys show the controls, as they are marked; empty if none is bound."""
        keys = [key_label(self._printed(control)) for control in self.bindings.controls_of("help")]
        return f"{' or '.join(keys)} shows the controls" if keys else ""

    def _lines(self) -> tuple[str, ...]:
        """The help with each key under the name that is printed on it."""
        parts = (line.partition("\t") for line in self._help_lines)
        return tuple(f"{self._printed(control)}{tab}{meaning}" if tab else control for control, tab, meaning in parts)

    # --- the picture --------------------------------------------------------------------------------------------

    def overlay(self, size_px: tuple[int, int], typed: str | None) -> NDArray[np.uint8]:
        """The HUD for a window of that size (width, height), RGBA."""
        self._hud.show_stats = self._show_stats and not self._show_help and self._sources is not None
        return self._hud.render(self._model(typed), size_px)

    def _model(self, typed: str | None) -> HudModel:
        message = self._message if time.monotonic() < self._message_until_s else ""
        common: dict[str, Any] = {
            "message": message, "world": self._found.name, "text_being_typed": typed, "show_help": self._show_help,
            "help_lines": self._lines(), "ladder": self._found.spec.ladder,
        }  # fmt: skip
        sources = self._sources
        live = sources.telemetry.live() if sources is not None else None
        if sources is None or live is None:
            return HudModel(**common)
        return HudModel(
            fps=live.fps,
            response_p50_ms=live.p50_response_ms,
            response_p99_ms=live.p99_response_ms,
            deadline_ms=live.deadline_ms,
            rung=live.rung,
            reason=live.reason,
            misses=live.misses,
            held_frames=live.held_frames,
            input_to_present_ms=sources.latency.recent_ms(),
            frame_ms=sources.latency.responses_ms(),  # frame times waver around the deadline without a miss
            pressed=tuple(map(self._printed, pressed_controls(self._action, self.bindings))),
            prompt=str(getattr(sources.opened.world, "prompt", "") or " ".join(self._prompt.values())),
            paused=sources.controls.paused,
            recording=sources.recorder.active,
            tick=live.tick,
            **common,
        )


def pressed_controls(action: Action, bindings: Bindings) -> tuple[str, ...]:
    """The keys that stand for an action: what is shown as pressed, whichever device was used."""
    shown = [_key_of(name, 1, bindings) for name in sorted(action.buttons)]
    shown += [_key_of(name, level, bindings) for name, level in action.axes.items() if level]
    return tuple(dict.fromkeys(shown))


def _key_of(name: str, level: int, bindings: Bindings) -> str:
    keys = (b for b in bindings.bindings if b.action == name and b.control.startswith(("key:", "char:")))
    return next((b.control for b in keys if (b.scale < 0) == (level < 0)), name)
