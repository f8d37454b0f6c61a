"""What the HUD of a windowed session says, made from telemetry, controls, recorder and bindings; and when it is due."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ....controllers.bindings import Bindings
from ....worlds.prompts.sentences import Reading, SentenceReader, explain
from ....worlds.prompts.words import Prompt, parse_prompt
from ...core import IDLE, Action
from ...display.hud import Hud, HudModel, hud_of, key_label
from ...display.surface import Surface
from ...observe.telemetry import Telemetry
from ...tick.controls import SessionControls
from ..registry import WorldFolder
from ..startup import OpenWorld
from .latency import WindowLatency
from .switched import SwitchedRecorder

MESSAGE_S = 3.0
REDRAW_NS = 100_000_000
"""The HUD's numbers change this often; drawing text costs more than showing a frame."""
NOTICE_S = 10.0
"""For what is longer and was not asked for, such as a device without a layout."""

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


@dataclass(frozen=True)
class _Sources:
    opened: OpenWorld
    telemetry: Telemetry
    latency: WindowLatency
    controls: SessionControls
    recorder: SwitchedRecorder


class Panel:
    """Makes the HUD. Lives on the surface's thread; only `note_action` is called from another.

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
        self._sources: _Sources | None = None
        self._action = IDLE
        self._message, self._message_until_s = "", 0.0
        self._waiting: deque[str] = deque()
        self._show_help, self._show_stats = False, True
        self._typed: str | None = None
        self._shown_ns, self._size_px = 0, (0, 0)
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

    # --- the HUD ------------------------------------------------------------------------------------------------

    def refresh(self, surface: Surface, *, now: bool = False, before_a_frame: bool = False) -> None:
        """Give the surface a new HUD where one is due: after `REDRAW_NS`, another size, a key typed, or `now`.

        `before_a_frame`: the next frame brings it to the screen, so it is not drawn over the last one first.
        """
        self._waiting.extend(surface.take_notices())
        now_ns, size_px, typed = time.monotonic_ns(), surface.size_px, surface.text_being_typed
        changed = size_px != self._size_px or typed != self._typed
        if now or changed or now_ns - self._shown_ns >= REDRAW_NS:
            self._shown_ns, self._size_px, self._typed = now_ns, size_px, typed
            surface.show_hud(self.hud(typed), now=not before_a_frame)

    def hud(self, typed: str | None) -> Hud:
        """What is to be seen now. `typed`: what stands in the prompt line."""
        return hud_of(self._model(typed), show_stats=self._show_stats and self._sources is not None)

    def _model(self, typed: str | None) -> HudModel:
        if self._waiting and time.monotonic() >= self._message_until_s:
            self.say(self._waiting.popleft(), seconds=NOTICE_S)
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
            prompt=sources.opened.world.prompt or " ".join(self._prompt.values()),
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
