"""The input latch: where window events and the tick meet, without losing a tap and without queueing.

Owns which controls are held, which went down since the last look, and relative motion. Knows nothing of pygame,
bindings or worlds. Control names are physical: `key:w`, `mouse:left`, `pad:a`; axes `pad:left_x`, `mouse:dx`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

RELATIVE_AXES = frozenset({"mouse:dx", "mouse:dy", "mouse:wheel"})
"""Axes that accumulate between looks and start from zero after each; all others keep their last value."""


@dataclass(frozen=True)
class InputState:
    """What a controller sees at the moment it polls.

    `held`: down right now. `pressed`: went down since the last look (a tap is in `pressed` though no longer `held`).
    `axes`: sticks and triggers in [-1, 1] with no dead zone applied; relative motion in pixels since the last look.
    `oldest_event_ns`: time of the earliest event since the last look, for input-to-present latency; None if none.
    """

    held: frozenset[str] = frozenset()
    pressed: frozenset[str] = frozenset()
    axes: Mapping[str, float] = field(default_factory=dict)
    oldest_event_ns: int | None = None


class InputLatch:
    """Collects events on the window thread; `look` takes them on the generator thread. One lock, held briefly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: set[str] = set()
        self._pressed: set[str] = set()
        self._axes: dict[str, float] = {}
        self._oldest_event_ns: int | None = None

    def press(self, control: str, time_ns: int) -> None:
        with self._lock:
            self._held.add(control)
            self._pressed.add(control)
            self._touch(time_ns)

    def release(self, control: str, time_ns: int) -> None:
        with self._lock:
            self._held.discard(control)
            self._touch(time_ns)

    def move(self, axis: str, value: float, time_ns: int) -> None:
        """Set an absolute axis, or add to a relative one."""
        with self._lock:
            self._axes[axis] = value + (self._axes.get(axis, 0.0) if axis in RELATIVE_AXES else 0.0)
            self._touch(time_ns)

    def release_all(self, prefix: str = "") -> None:
        """Let go of everything whose name starts with `prefix`: all on focus loss, `pad:` when a pad is unplugged."""
        with self._lock:
            self._held = {c for c in self._held if not c.startswith(prefix)}
            self._pressed = {c for c in self._pressed if not c.startswith(prefix)}
            self._axes = {a: v for a, v in self._axes.items() if not a.startswith(prefix)}

    def peek(self) -> InputState:
        """What `look` would return now; nothing is used up."""
        with self._lock:
            return self._state()

    def look(self) -> InputState:
        """The state now; taps, relative motion and the event time start anew after it."""
        with self._lock:
            state = self._state()
            self._pressed.clear()
            for axis in RELATIVE_AXES & self._axes.keys():
                del self._axes[axis]
            self._oldest_event_ns = None
            return state

    def _state(self) -> InputState:
        return InputState(frozenset(self._held), frozenset(self._pressed), dict(self._axes), self._oldest_event_ns)

    def _touch(self, time_ns: int) -> None:
        if self._oldest_event_ns is None:
            self._oldest_event_ns = time_ns
