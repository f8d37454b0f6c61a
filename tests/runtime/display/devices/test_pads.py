"""Claims about several game devices at once, and about those whose layout SDL does not know."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nextframe.controllers.bindings import Bindings, load_bindings
from nextframe.controllers.human import HumanController
from nextframe.runtime.core import AXIS_LEVELS, ActionSpace, Frame, ManualClock
from nextframe.runtime.display.devices.pads import Listed, Pads, listed, slug
from nextframe.runtime.display.hud import Hud, HudModel, hud_of
from nextframe.runtime.display.painter import HudPainter
from nextframe.runtime.display.window import Window
from nextframe.runtime.session.registry import find_world
from nextframe.runtime.session.window.panel import Panel
from nextframe.runtime.tick.latch import InputLatch
from nextframe.tools.check import doctor
from tests.support.xvfb import xvfb, xvfb_server  # noqa: F401 - fixtures

import pygame  # isort: skip - after the window, which silences pygame's banner

CAR = ActionSpace(("handbrake",), ("steer", "throttle", "brake"), {})
FULL = AXIS_LEVELS
MAPS = Path("/proc/self/maps")
GAMEPAD, WHEEL, STICK = 1, 2, 4
"""SDL's kinds of joysticks."""
pytestmark = pytest.mark.skipif(not MAPS.exists(), reason="finds pygame's SDL library through /proc")


class _Description(ctypes.Structure):
    """SDL_VirtualJoystickDesc, version 1, of SDL 2.24 and later."""

    _fields_ = (
        ("version", ctypes.c_uint16), ("type", ctypes.c_uint16), ("axes", ctypes.c_uint16),
        ("buttons", ctypes.c_uint16), ("hats", ctypes.c_uint16), ("vendor", ctypes.c_uint16),
        ("product", ctypes.c_uint16), ("padding", ctypes.c_uint16), ("button_mask", ctypes.c_uint32),
        ("axis_mask", ctypes.c_uint32), ("name", ctypes.c_char_p), ("userdata", ctypes.c_void_p),
        *((call, ctypes.c_void_p) for call in ("update", "player", "rumble", "triggers", "led", "effect")),
    )  # fmt: skip


class Plugged:
    """A device made by SDL itself, driven through the same SDL library that pygame loaded."""

    def __init__(self, kind: int = GAMEPAD, name: str = "Test Pad", *, axes: int = 6, buttons: int = 15, hats: int = 0,
                 product: int = 7) -> None:  # fmt: skip
        libraries = {line.split()[-1] for line in MAPS.read_text().splitlines() if "libSDL2-2" in line}
        self.sdl = ctypes.CDLL(libraries.pop())
        self.sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        about = _Description(version=1, type=kind, axes=axes, buttons=buttons, hats=hats, vendor=0x1234,
                             product=product, name=name.encode())  # fmt: skip
        index = self.sdl.SDL_JoystickAttachVirtualEx(ctypes.byref(about))
        if index < 0:
            pytest.skip("this SDL has no virtual joysticks")
        self._joystick = ctypes.c_void_p(self.sdl.SDL_JoystickOpen(index))
        self._identity = self.sdl.SDL_JoystickInstanceID(self._joystick)

    def button(self, number: int, down: bool) -> None:
        self.sdl.SDL_JoystickSetVirtualButton(self._joystick, number, int(down))

    def axis(self, number: int, value: float) -> None:
        self.sdl.SDL_JoystickSetVirtualAxis(self._joystick, number, round(value * 32767))

    def hat(self, value: int) -> None:
        """1 up, 2 right, 4 down, 8 left, summed."""
        self.sdl.SDL_JoystickSetVirtualHat(self._joystick, 0, value)

    def unplug(self) -> None:
        for index in range(self.sdl.SDL_NumJoysticks()):
            if self.sdl.SDL_JoystickGetDeviceInstanceID(index) == self._identity:
                self.sdl.SDL_JoystickDetachVirtual(index)
        self.sdl.SDL_JoystickClose(self._joystick)


class Seat:
    """A window with a player before it, and what is plugged in."""

    def __init__(self, commands: dict[str, str] | None = None, bindings: Bindings | None = None) -> None:
        self.latch = InputLatch()
        self.bindings = bindings or load_bindings(CAR)
        self.commands = commands if commands is not None else dict(self.bindings.commands)
        self.window = Window(
            "test", (64, 48), latch=self.latch, commands=self.commands, bound=self.bindings.controls(),
            clock=ManualClock(), scale=2,
        )  # fmt: skip
        self.window.pump()
        self.player = HumanController(self.latch, self.bindings, CAR)
        self.devices: list[Plugged] = []

    def plug(self, *arguments: int | str, **counts: int) -> Plugged:
        device = Plugged(*arguments, **counts)  # type: ignore[arg-type]
        self.devices.append(device)
        self.window.pump()
        return device

    def axes(self) -> dict[str, int]:
        self.window.pump()
        return dict(self.player.poll(0).axes)

    def held(self) -> frozenset[str]:
        self.window.pump()
        return self.latch.look().held

    def close(self) -> None:
        for device in self.devices:
            device.unplug()
        self.window.close()


@pytest.fixture
def seats(xvfb: str) -> Iterator[Callable[..., Seat]]:  # noqa: F811 - a fixture
    made: list[Seat] = []

    def make(commands: dict[str, str] | None = None, bindings: Bindings | None = None) -> Seat:
        made.append(Seat(commands, bindings))
        return made[-1]

    yield make
    for seat in made:
        seat.close()


def own(tmp_path: Path, text: str) -> Bindings:
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\n" + text, encoding="utf-8")
    return load_bindings(CAR, path)


# --- two at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.03, -0.03, 0.1, 0.0])
def test_noise_of_a_second_pad_does_not_cancel_a_full_lock(seats: Callable[..., Seat], noise: float) -> None:
    seat = seats()
    first, second = seat.plug(), seat.plug()
    for pad, value in ((first, -1.0), (second, noise)):
        pad.axis(0, value)
        assert seat.axes() == {"steer": -FULL}
    assert seat.axes() == {"steer": -FULL}
    second.axis(1, noise / 2)
    first.axis(0, 0.0)
    assert seat.axes() == {}, "the control: nothing is left when the first is let go"


def test_each_stick_is_read_of_one_pad_not_x_of_one_and_y_of_another(seats: Callable[..., Seat]) -> None:
    seat = seats()
    first, second = seat.plug(), seat.plug()
    first.axis(0, 0.1)
    second.axis(1, 0.9)
    assert seat.axes() == {}, "0.1 is inside the first one's dead zone, whatever the second one's stick does"


def test_the_strongest_of_three_pads_wins(seats: Callable[..., Seat]) -> None:
    seat = seats()
    for pad, value in zip([seat.plug() for _ in range(3)], (0.4, -1.0, 0.6), strict=True):
        pad.axis(0, value)
    assert seat.axes() == {"steer": -FULL}


def test_a_tap_on_one_pad_does_not_let_go_of_a_button_held_on_another(seats: Callable[..., Seat]) -> None:
    seat = seats()
    first, second = seat.plug(), seat.plug()
    first.button(0, True)
    assert seat.held() == {"pad:a"}
    second.button(0, True)
    second.button(0, False)
    assert seat.held() == {"pad:a"}
    assert seat.player.poll(0).buttons == {"handbrake"}
    first.button(0, False)
    assert seat.held() == frozenset()


def test_unplugging_one_lets_go_of_its_own_and_of_nothing_else(seats: Callable[..., Seat]) -> None:
    seat = seats()
    first, second = seat.plug(), seat.plug()
    first.button(0, True)
    first.axis(0, -1.0)
    second.button(1, True)
    second.axis(5, 1.0)
    assert seat.held() == {"pad:a", "pad:b"}
    second.unplug()
    seat.devices.remove(second)
    assert seat.held() == {"pad:a"}
    assert seat.axes() == {"steer": -FULL}
    first.unplug()
    seat.devices.remove(first)
    assert seat.held() == frozenset()
    assert seat.axes() == {}


def test_a_command_held_on_two_devices_ends_with_the_last_of_them(seats: Callable[..., Seat]) -> None:
    seat = seats({"pad:left_shoulder": "rewind", "key:backspace": "rewind"})
    first, second = seat.plug(), seat.plug()
    first.button(9, True)
    assert seat.window.pump() == ["rewind"]
    second.button(9, True)
    second.button(9, False)
    assert seat.window.pump() == []
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_BACKSPACE))
    assert seat.window.pump() == []
    first.unplug()
    seat.devices.remove(first)
    assert seat.window.pump() == [], "the key holds it still"
    pygame.event.post(pygame.event.Event(pygame.KEYUP, key=pygame.K_BACKSPACE))
    assert seat.window.pump() == ["release:rewind"]


def test_unplugging_the_only_pad_that_rewinds_ends_the_rewind(seats: Callable[..., Seat]) -> None:
    seat = seats({"pad:left_shoulder": "rewind"})
    pad = seat.plug()
    pad.button(9, True)
    assert seat.window.pump() == ["rewind"]
    pad.unplug()
    seat.devices.remove(pad)
    assert seat.window.pump() == ["release:rewind"]


def test_a_lost_focus_lets_go_of_every_device(seats: Callable[..., Seat]) -> None:
    seat = seats()
    for pad in (seat.plug(), seat.plug()):
        pad.button(0, True)
        pad.axis(0, 1.0)
    assert seat.held()
    pygame.event.post(pygame.event.Event(pygame.WINDOWFOCUSLOST))
    assert seat.held() == frozenset()
    assert seat.axes() == {}


# --- without a layout -------------------------------------------------------------------------------------------


def test_a_device_without_a_layout_is_named_on_screen_with_how_to_bind_it(seats: Callable[..., Seat]) -> None:
    seat = seats()
    wheel = seat.plug(WHEEL, "Racing Wheel", axes=4, buttons=12, hats=1)
    wheel.axis(0, 1.0)
    assert seat.axes() == {}
    (notice,) = seat.window.take_notices()
    assert "Racing Wheel" in notice
    for how in ("joy:axis_0", "--bindings", "doctor"):
        assert how in notice
    assert seat.window.take_notices() == []
    painter = HudPainter()
    painter.render(hud_of(HudModel(), show_stats=True), (768, 576))
    assert painter._fit(notice, 768 - painter._unit * 4) == notice, "it fits a window of ordinary size"


class Notices:
    """A surface on which devices were plugged in; nothing is shown."""

    size_px, text_being_typed = (96, 64), None

    def __init__(self, *notices: str) -> None:
        self._notices = list(notices)

    def take_notices(self) -> list[str]:
        taken, self._notices = self._notices, []
        return taken

    def show_hud(self, hud: Hud, *, now: bool) -> None:
        pass

    def pump(self) -> list[str]:
        return []

    def show(self, frame: Frame) -> int:
        return 0

    def screenshot(self) -> Frame:
        return np.zeros((64, 96, 3), np.uint8)

    def capture_mouse(self, captured: bool) -> None:
        pass


def test_a_notice_waits_until_what_is_said_has_been_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("nextframe.runtime.session.window.panel.time.monotonic", lambda: now[0])
    found = find_world("circuit")
    panel = Panel(found, load_bindings(found.spec.action_space()), ())
    panel.say("saved")
    speaker = Notices("a wheel", "a stick")
    said = []
    for _ in range(4):
        panel.refresh(speaker, now=True)
        said.append(panel._model(None).message)
        now[0] += 11
    assert said == ["saved", "a wheel", "a stick", ""]


def test_a_gamepad_is_not_announced(seats: Callable[..., Seat]) -> None:
    seat = seats()
    seat.plug()
    assert seat.window.take_notices() == []


WHEEL_FILE = (
    "bindings:\n"
    "- {action: steer, control: 'joy:Racing Wheel/axis_0', deadzone: [0, 1]}\n"
    "- {action: throttle, control: 'joy:racing_wheel/axis_2', range: [1, -1], deadzone: [0, 1]}\n"
    "- {action: handbrake, control: 'joy:wheel/button_3'}\n"
    "commands: {rewind: 'joy:wheel/button_5', quick_save: 'joy:wheel/hat_0_up', quick_load: 'joy:wheel/hat_0_left'}\n"
)


def test_raw_axes_buttons_and_hats_are_bound_by_the_devices_name(seats: Callable[..., Seat], tmp_path: Path) -> None:
    seat = seats(bindings=own(tmp_path, WHEEL_FILE))
    wheel = seat.plug(WHEEL, "ACME Racing-Wheel (USB)", axes=4, buttons=12, hats=1)
    other = seat.plug(STICK, "Flight Stick", axes=4, buttons=12, product=9)
    assert [notice.split(":")[0] for notice in seat.window.take_notices()] == ["Flight Stick"]
    wheel.axis(0, -0.5)
    wheel.axis(2, 1.0)
    assert seat.axes() == {"steer": pytest.approx(-FULL / 2, abs=1)}, "the pedal rests at 1"
    wheel.axis(2, -1.0)
    assert seat.axes()["throttle"] == FULL
    other.axis(0, 1.0)
    other.button(3, True)
    assert seat.axes()["steer"] == pytest.approx(-FULL / 2, abs=1), "another device is not meant"
    assert seat.player.poll(0).buttons == frozenset()
    wheel.button(3, True)
    seat.window.pump()
    assert seat.player.poll(0).buttons == {"handbrake"}
    wheel.button(5, True)
    wheel.hat(1)
    assert seat.window.pump() == ["rewind", "quick_save"]
    wheel.hat(8)
    wheel.button(5, False)
    assert sorted(seat.window.pump()) == ["quick_load", "release:rewind"]


def test_a_raw_binding_without_a_name_hears_every_device_without_a_layout(
    seats: Callable[..., Seat], tmp_path: Path
) -> None:
    seat = seats(bindings=own(tmp_path, "bindings: [{action: steer, control: joy:axis_0}]"))
    stick, pad = seat.plug(STICK, "Stick", axes=2, buttons=1, product=9), seat.plug()
    assert seat.window.take_notices() == []
    stick.axis(0, 1.0)
    assert seat.axes() == {"steer": FULL}
    stick.axis(0, 0.0)
    pad.axis(0, 1.0)
    assert "steer" not in seat.axes(), "a gamepad is heard as pad:"


def test_a_gamepad_may_be_bound_raw_by_its_name(seats: Callable[..., Seat], tmp_path: Path) -> None:
    seat = seats(bindings=own(tmp_path, "bindings: [{action: handbrake, control: joy:test_pad/button_14}]"))
    pad = seat.plug()
    pad.button(14, True)
    seat.window.pump()
    assert seat.player.poll(0).buttons == {"handbrake"}


def test_unplugging_a_raw_device_lets_go_of_it(seats: Callable[..., Seat], tmp_path: Path) -> None:
    seat = seats(bindings=own(tmp_path, WHEEL_FILE))
    wheel = seat.plug(WHEEL, "Racing Wheel", axes=4, buttons=12, hats=1)
    wheel.axis(0, 1.0)
    wheel.button(3, True)
    assert seat.axes()
    wheel.unplug()
    seat.devices.remove(wheel)
    assert seat.axes() == {}
    assert seat.held() == frozenset()


def test_a_wheel_that_rests_at_an_end_does_not_drown_a_pad(seats: Callable[..., Seat], tmp_path: Path) -> None:
    """A pedal's raw -1 is rest; the pad's trigger is still the stronger throttle."""
    text = (
        "bindings:\n- {action: throttle, control: joy:axis_1, range: [-1, 1]}\n"
        "- {action: throttle, control: pad:right_trigger}"
    )
    seat = seats(bindings=own(tmp_path, text))
    wheel, pad = seat.plug(WHEEL, "Wheel", axes=2, buttons=1, product=9), seat.plug()
    wheel.axis(1, -1.0)
    pad.axis(5, 0.9)
    assert seat.axes()["throttle"] > 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bindings: [{action: steer, control: joy:wheel}]", "expected joy:axis_N"),
        ("bindings: [{action: steer, control: joy:axis}]", "expected joy:axis_N"),
        ("bindings: [{action: steer, control: joy:hat_0_upp}]", "expected joy:axis_N"),
        ("bindings: [{action: steer, control: key:j, range: [-1, 1]}]", "a range needs an axis"),
        ("bindings: [{action: steer, control: mouse:dx, range: [-1, 1]}]", "a range needs an axis"),
        ("bindings: [{action: steer, control: joy:axis_0, range: [1, 1]}]", "two different numbers"),
        ("bindings: [{action: steer, control: joy:axis_0, mode: toggle}]", "toggle needs a key"),
        ("commands: {hud: joy:axis_0}", "got the axis"),
        (
            "bindings: [{action: steer, control: 'joy:A B/axis_0'}, {action: brake, control: joy:a_b/axis_0}]",
            "is bound to",
        ),
    ],
)
def test_a_mistake_about_a_device_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    from nextframe.runtime.core import ConfigError

    with pytest.raises(ConfigError) as caught:
        own(tmp_path, text)
    assert "mine.yaml:2" in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_doctor_lists_devices_and_how_one_without_a_layout_is_bound(
    seats: Callable[..., Seat], monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = seats()
    seat.plug()
    seat.plug(WHEEL, "Racing Wheel", axes=4, buttons=12, hats=1, product=9)
    monkeypatch.setattr(pygame.joystick, "quit", lambda: None)  # it would end the devices that SDL made
    found = listed()
    assert found == [Listed("Test Pad", True, 6, 15, 0), Listed("Racing Wheel", False, 4, 12, 1)]
    finding = doctor._gamepads()
    assert finding.status == "note"
    assert finding.detail.startswith("Test Pad (gamepad); Racing Wheel (no layout: 4 axes, 12 buttons, 1 hats;")
    assert "joy:racing_wheel/axis_0" in finding.detail


LAYOUT_PROGRAM = """
import pygame
from nextframe.runtime.core import ManualClock
from nextframe.runtime.display.window import Window
from nextframe.runtime.tick.latch import InputLatch
from tests.runtime.display.devices.test_pads import WHEEL, Plugged
latch = InputLatch()
with Window("t", (64, 48), latch=latch, commands={}, scale=1, clock=ManualClock()) as window:
    window.pump()
    wheel = Plugged(WHEEL, "Racing Wheel", axes=4, buttons=12)
    guid = pygame.joystick.Joystick(0).get_guid()
    window.pump()
    wheel.button(3, True)
    wheel.axis(1, 1.0)
    window.pump()
    state = latch.look()
    print(guid, sorted(c for c in state.held if c[:4] == "pad:"), state.axes.get("pad:left_x"), window.take_notices())
    wheel.unplug()
"""


def test_a_layout_from_the_environment_makes_it_a_gamepad(xvfb: str) -> None:  # noqa: F811
    def said(layout: str) -> str:
        environment = {**os.environ, "SDL_GAMECONTROLLERCONFIG": layout}
        run = subprocess.run([sys.executable, "-c", LAYOUT_PROGRAM], env=environment, capture_output=True, text=True,
                             timeout=60, check=True, cwd=Path(__file__).parents[4])  # fmt: skip
        return run.stdout.splitlines()[-1]

    guid, _, rest = said("").partition(" ")
    assert rest.startswith("[] None ['Racing Wheel: ")
    assert said(f"{guid},Racing Wheel,a:b3,leftx:a1,platform:Linux,").partition(" ")[2] == "['pad:a'] 1.0 []"


def test_names_of_devices_become_short_words() -> None:
    assert slug("Logitech G29 Driving Force (USB)") == "logitech_g29_driving_force_usb"
    assert slug("Мой руль №1") == "мой_руль_1"
    assert slug("™®") == "device"


def test_a_device_that_vanishes_before_it_is_opened_is_no_error(seats: Callable[..., Seat]) -> None:
    seat = seats()
    pygame.event.post(pygame.event.Event(pygame.JOYDEVICEADDED, device_index=9, guid=""))
    pygame.event.post(pygame.event.Event(pygame.JOYAXISMOTION, instance_id=9, axis=0, value=1.0))
    pygame.event.post(pygame.event.Event(pygame.JOYHATMOTION, instance_id=9, hat=0, value=(1, 0)))
    pygame.event.post(pygame.event.Event(pygame.JOYDEVICEREMOVED, instance_id=9))
    assert seat.window.pump() == []
    assert Pads().raw_controls(9, "axis_0") == ()
