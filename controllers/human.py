"""The player: keyboard, mouse and gamepad, as the input latch saw them, turned into one action a tick.

Rules: a tap counts for the tick that follows it, however short it was. Opposite keys cancel. Of keys, sticks, wheels
and mouse on one axis the largest magnitude wins, so a pad lying on the table weakens neither the keyboard nor another
pad. A button is held as long as any device holds it. Axes are quantised here, once.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

from ..runtime.core import Action, ActionSpace, quantise_axis
from ..runtime.tick.latch import InputLatch, InputState
from .bindings import MOUSE_AXES, STICK_PARTNERS, Binding, Bindings, DeadZone

ANALOG_BUTTON_THRESHOLD = 0.5
MAX_PROMPT_CHARS = 400


def radial_dead_zone(x: float, y: float, zone: DeadZone) -> tuple[float, float]:
    """Map the distance from the centre from low..high to 0..1 and keep the direction."""
    magnitude = math.hypot(x, y)
    if magnitude <= zone.low:
        return 0.0, 0.0
    length = min(1.0, (magnitude - zone.low) / (zone.high - zone.low))
    return x / magnitude * length, y / magnitude * length


class HumanController:
    """Polls the latch. `last_input_ns`: the earliest input event in the last action, None if there was none."""

    def __init__(self, latch: InputLatch, bindings: Bindings, actions: ActionSpace) -> None:
        self._latch, self._actions = latch, actions
        self._prompts = bindings.prompts
        self._by_action: dict[str, list[Binding]] = {name: [] for name in actions.names()}
        for binding in bindings.bindings:
            self._by_action[binding.action].append(binding)
        self._toggle_controls = {binding.control for binding in bindings.bindings if binding.toggle}
        self._toggled: set[str] = set()
        self._lock = threading.Lock()
        self._typed_prompt: str | None = None
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        state = self._latch.look()
        self.last_input_ns = state.oldest_event_ns
        with self._lock:
            self._toggled ^= state.pressed & self._toggle_controls
            toggled = frozenset(self._toggled)
            typed, self._typed_prompt = self._typed_prompt, None
        return self._action(state, toggled, typed)

    def peek(self) -> Action:
        """What `poll` would return now; nothing is used up, so that it may be asked at any time before."""
        state = self._latch.peek()
        with self._lock:
            toggled, typed = frozenset(self._toggled ^ (state.pressed & self._toggle_controls)), self._typed_prompt
        return self._action(state, toggled, typed)

    def _action(self, state: InputState, toggled: frozenset[str], typed: str | None) -> Action:
        buttons = frozenset(name for name in self._actions.buttons if self._is_on(name, state, toggled))
        levels = {name: quantise_axis(self._axis(name, state, toggled)) for name in self._actions.axes}
        axes = {name: level for name, level in levels.items() if level}
        return Action(buttons, axes, typed or self._prompt_keys(state))

    def set_prompt(self, text: str) -> None:
        """Give the next action a typed prompt, from any thread; surplus blanks go, an empty text changes nothing."""
        cleaned = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_PROMPT_CHARS]
        with self._lock:
            self._typed_prompt = cleaned or self._typed_prompt

    def release_all(self) -> None:
        """Let go of everything, toggles included; for a lost focus or a pause."""
        self._latch.release_all()
        with self._lock:
            self._toggled.clear()

    def close(self) -> None:
        pass

    def _is_on(self, action: str, state: InputState, toggled: frozenset[str]) -> bool:
        for binding in self._by_action[action]:
            if binding.analog:
                if _analog(binding, state) > ANALOG_BUTTON_THRESHOLD:
                    return True
            elif _is_down(binding, state, toggled):
                return True
        return False

    def _axis(self, action: str, state: InputState, toggled: frozenset[str]) -> float:
        keys = [b.scale for b in self._by_action[action] if not b.analog and _is_down(b, state, toggled)]
        # The strongest each way, not the sum: two keys for "left" held together are no match for one more "right".
        values = [max([0.0, *keys]) + min([0.0, *keys])]
        values += [_analog(binding, state) for binding in self._by_action[action] if binding.analog]
        return max(values, key=abs)

    def _prompt_keys(self, state: InputState) -> str | None:
        """Prompts whose keys went down since the last tick; several in one tick are one text."""
        return " ".join(text for control, text in self._prompts.items() if control in state.pressed) or None


def _is_down(binding: Binding, state: InputState, toggled: frozenset[str]) -> bool:
    if binding.toggle:
        return binding.control in toggled
    return binding.control in state.held or binding.control in state.pressed


def _analog(binding: Binding, state: InputState) -> float:
    """The scaled value of a stick, a trigger, a wheel or the mouse: of the device that moves it most. The mouse has no
    dead zone, its rest is exactly 0."""
    values = [_of_device(binding, axes) for axes in state.devices if binding.control in axes]
    return max(values, key=abs, default=0.0) * binding.scale


def _of_device(binding: Binding, axes: Mapping[str, float]) -> float:
    value = axes[binding.control]
    if binding.control in MOUSE_AXES:
        return value
    value = max(-1.0, min(1.0, (value - binding.rest) / (binding.full - binding.rest)))
    partner = axes.get(STICK_PARTNERS.get(binding.control, ""), 0.0)
    return radial_dead_zone(value, partner, binding.dead_zone)[0]
