"""The input latch: where window events and the tick meet, without losing a tap and without queueing.

Which controls are held, which went down since the last look, and relative motion, for each device on its own: of two
pads, what one lets go of the other may still hold. Control names are physical: `key:w`, `mouse:left`, `pad:a`,
`joy:button_3`; axes `pad:left_x`, `mouse:dx`, `joy:axis_0`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

RELATIVE_AXES = frozenset({"mouse:dx", "mouse:dy", "mouse:wheel"})
"""Axes that accumulate between looks and start from zero after each; all others keep their last value."""
DESK = ""
"""The device of events that name none: keyboard and mouse, of which the system makes one each."""


@dataclass(frozen=True)
class InputState:
    """What a controller sees at the moment it polls.

    `held`: down right now, on any device. `pressed`: went down since the last look (a tap is in `pressed` though no
    longer `held`). `axes`: sticks and triggers in [-1, 1] with no dead zone applied, of each axis the device that moves
    it most; relative motion in pixels since the last look. `oldest_event_ns`: time of the earliest event since the last
    look, for input-to-present latency; None if none. `devices`: the axes of each device alone, for what must be read of
    one stick together.
    """

    held: frozenset[str] = frozenset()
    pressed: frozenset[str] = frozenset()
    axes: Mapping[str, float] = field(default_factory=dict)
    oldest_event_ns: int | None = None
    devices: tuple[Mapping[str, float], ...] = ()


class InputLatch:
    """Collects events on the window thread; `look` takes them on the generator thread. One lock, held briefly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, set[str]] = {}  # by device
        self._pressed: dict[str, set[str]] = {}
        self._axes: dict[str, dict[str, float]] = {}
        self._oldest_event_ns: int | None = None

    def press(self, control: str, time_ns: int, *, device: str = DESK) -> None:
        with self._lock:
            self._held.setdefault(device, set()).add(control)
            self._pressed.setdefault(device, set()).add(control)
            self._touch(time_ns)

    def release(self, control: str, time_ns: int, *, device: str = DESK) -> None:
        with self._lock:
            self._held.get(device, set()).discard(control)
            self._touch(time_ns)

    def move(self, axis: str, value: float, time_ns: int, *, device: str = DESK) -> None:
        """Set an absolute axis, or add to a relative one."""
        with self._lock:
            axes = self._axes.setdefault(device, {})
            axes[axis] = value + (axes.get(axis, 0.0) if axis in RELATIVE_AXES else 0.0)
            self._touch(time_ns)

    def release_all(self, prefix: str = "", *, device: str | None = None) -> None:
        """Let go of everything whose name starts with `prefix`, on every device or on one: all on focus loss, those of
        one pad when it is unplugged."""
        with self._lock:
            for held in (self._held, self._pressed):
                for controls in _of(held, device):
                    controls -= {control for control in controls if control.startswith(prefix)}
            for axes in _of(self._axes, device):
                for axis in [axis for axis in axes if axis.startswith(prefix)]:
                    del axes[axis]

    def peek(self) -> InputState:
        """What `look` would return now; nothing is used up."""
        with self._lock:
            return self._state()

    def look(self) -> InputState:
        """The state now; taps, relative motion and the event time start anew after it."""
        with self._lock:
            state = self._state()
            self._pressed.clear()
            for axes in self._axes.values():
                for axis in RELATIVE_AXES & axes.keys():
                    del axes[axis]
            self._oldest_event_ns = None
            return state

    def _state(self) -> InputState:
        devices = tuple(dict(axes) for axes in self._axes.values() if axes)
        strongest: dict[str, float] = {}
        for axes in devices:
            for axis, value in axes.items():
                strongest[axis] = max(strongest.get(axis, 0.0), value, key=abs)
        return InputState(
            frozenset().union(*self._held.values()), frozenset().union(*self._pressed.values()), strongest,
            self._oldest_event_ns, devices,
        )  # fmt: skip

    def _touch(self, time_ns: int) -> None:
        if self._oldest_event_ns is None:
            self._oldest_event_ns = time_ns


def _of(by_device: Mapping[str, T], device: str | None) -> list[T]:
    return [value for name, value in by_device.items() if device in {None, name}]
