"""Game devices through SDL: gamepads with a layout as `pad:`, and any wheel, stick or pad by its own numbers as `joy:`.

Every device has a name of its own in the latch, so that several at once do not undo each other. A device whose layout
SDL does not know is told (`Pads.notices`) unless a binding listens to it. `SDL_GAMECONTROLLERCONFIG` adds layouts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # the banner would spoil output meant for other programs

import pygame  # after the line above

PAD_BUTTONS = (
    "a", "b", "x", "y", "back", "guide", "start", "left_stick", "right_stick", "left_shoulder", "right_shoulder",
    "dpad_up", "dpad_down", "dpad_left", "dpad_right",
)  # fmt: skip
PAD_AXES = ("left_x", "left_y", "right_x", "right_y", "left_trigger", "right_trigger")
PAD_AXIS_MAX = 32767
RAW = "joy:"
HAT_WAYS = (("left", "right"), ("down", "up"))
"""Of a hat's x and y: the directions for -1 and 1."""


@dataclass
class Device:
    """An opened device. `by_name`: the beginnings of raw control names that stand for it."""

    key: str
    name: str
    handle: Any
    by_name: tuple[str, ...]
    hats: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Listed:
    """A device that is plugged in. `known`: SDL knows its layout, so it is a `pad:`."""

    name: str
    known: bool
    axes: int
    buttons: int
    hats: int

    def how(self) -> str:
        """One line: what it is, and how it is bound."""
        if self.known:
            return f"{self.name} (gamepad)"
        return (
            f"{self.name} (no layout: {self.axes} axes, {self.buttons} buttons, {self.hats} hats; bind "
            f"{RAW}{slug(self.name)}/axis_0, button_0 or hat_0_up in a file for --bindings)"
        )


def slug(name: str) -> str:
    """A device's name as it stands in a control: `Logitech G29` is `logitech_g29`."""
    return re.sub(r"[\W_]+", "_", name.lower()).strip("_") or "device"


class Pads:
    """The devices that are plugged in. Where SDL's gamepad layer is missing every device is a raw one.

    `bound`: all controls with a meaning; `joy:NAME/axis_0` stands for each device whose name contains NAME.
    """

    def __init__(self, bound: Collection[str] = ()) -> None:
        raw = [control.removeprefix(RAW) for control in bound if control.startswith(RAW)]
        self._names = sorted({control.partition("/")[0] for control in raw if "/" in control})
        self._any_raw = any("/" not in control for control in raw)
        self._opened: dict[int, Device] = {}
        self._layer = _controller_layer()
        self.notices: list[str] = []
        """What the player should be told, oldest first; the window takes them away."""

    def add_gamepad(self, device_index: int) -> None:
        """A device with a layout. One that is gone again before we looked is no error."""
        if self._layer is None:
            return
        try:
            pad = self._layer.Controller(device_index)
            joystick = pad.as_joystick()
            self._open(joystick.get_instance_id(), joystick.get_name(), pad, known=True)
        except pygame.error:
            return

    def add_any(self, device_index: int) -> None:
        """A device of any kind; one with a layout is left to `add_gamepad`."""
        try:
            if self._layer is not None and self._layer.is_controller(device_index):
                return
            joystick = pygame.joystick.Joystick(device_index)
            identity, name = joystick.get_instance_id(), joystick.get_name()
            controls = joystick.get_numaxes() + joystick.get_numbuttons() + joystick.get_numhats()
        except pygame.error:
            return
        device = self._open(identity, name, joystick, known=False)
        if controls and device.by_name == (RAW,) and not self._any_raw:
            self.notices.append(f"{name[:40]}: no layout known. Bind {RAW}axis_0 … with --bindings (nextframe doctor)")

    def _open(self, identity: int, name: str, handle: Any, *, known: bool) -> Device:
        by_name = [f"{RAW}{wanted}/" for wanted in self._names if wanted in slug(name)]
        device = Device(device_key(identity), name, handle, tuple(by_name if known else [*by_name, RAW]))
        self._opened[identity] = device
        return device

    def remove(self, identity: int) -> None:
        self._opened.pop(identity, None)

    def raw_controls(self, identity: int, part: str) -> tuple[str, ...]:
        """The control names of one part (`axis_0`, `button_3`) of a device; none for a device that was never opened."""
        device = self._opened.get(identity)
        return tuple(f"{beginning}{part}" for beginning in device.by_name) if device is not None else ()

    def hat_turns(self, identity: int, number: int, now: tuple[int, int]) -> list[tuple[str, bool]]:
        """What a hat's new position lets go and takes: a part such as `hat_0_up`, and whether it is down."""
        device = self._opened.get(identity)
        if device is None:
            return []
        before = device.hats.get(number, (0, 0))
        device.hats[number] = now
        parts = [
            (f"hat_{number}_{way}", direction, old, new)
            for ways, old, new in zip(HAT_WAYS, before, now, strict=True)
            for way, direction in zip(ways, (-1, 1), strict=True)
        ]
        gone = [(part, False) for part, direction, old, new in parts if old == direction != new]
        return gone + [(part, True) for part, direction, old, new in parts if new == direction != old]

    def close(self) -> None:
        self._opened.clear()
        if self._layer is not None:
            self._layer.quit()
            self._layer = None
        if pygame.joystick.get_init():
            pygame.joystick.quit()


def device_key(identity: int) -> str:
    """The name of a device in the latch."""
    return f"device {identity}"


def listed() -> list[Listed]:
    """What is plugged in now. Raises pygame.error where devices cannot be read at all."""
    pygame.joystick.init()
    layer = _controller_layer()
    devices = []
    for index in range(pygame.joystick.get_count()):
        joystick = pygame.joystick.Joystick(index)
        known = layer is not None and bool(layer.is_controller(index))
        counts = (joystick.get_numaxes(), joystick.get_numbuttons(), joystick.get_numhats())
        devices.append(Listed(joystick.get_name(), known, *counts))
    if layer is not None:
        layer.quit()
    pygame.joystick.quit()
    return devices


def _controller_layer() -> Any:
    """SDL's gamepads by layout, or None: an underscore module, it may be absent in another build of pygame."""
    try:
        pygame.joystick.init()
        from pygame._sdl2 import controller

        controller.init()
    except (ImportError, pygame.error):
        return None
    return controller
