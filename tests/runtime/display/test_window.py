"""Claims about the window: what reaches the latch, what becomes a command, and what happens when things go away."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nextframe.runtime.core import DisplayError, ManualClock
from nextframe.runtime.display.devices.keys import key_control
from nextframe.runtime.display.window import Window, integer_scale
from nextframe.runtime.tick.latch import InputLatch
from tests.support.paths import ROOT as REPOSITORY
from tests.support.xvfb import xvfb, xvfb_server  # noqa: F401 - fixtures

import pygame  # isort: skip - after runtime.window, which silences pygame's banner


@pytest.fixture
def latch() -> InputLatch:
    return InputLatch()


@pytest.fixture
def window(xvfb: str, latch: InputLatch) -> Iterator[Window]:  # noqa: F811 - a fixture
    commands = {"key:p": "pause", "key:f5": "reset", "pad:start": "pause"}
    window = Window("test", (128, 96), latch=latch, commands=commands, clock=ManualClock())
    window.pump()
    latch.look()
    yield window
    window.close()


def post(kind: int, **fields: object) -> None:
    assert pygame.event.post(pygame.event.Event(kind, **fields)), "SDL refused the event"


def key_down(key: int) -> None:
    post(pygame.KEYDOWN, key=key)


def key_up(key: int) -> None:
    post(pygame.KEYUP, key=key)


def pump_until(window: Window, done: Callable[[list[str]], bool]) -> list[str]:
    """Pump until the commands so far, or the world around, satisfy `done`: X delivers when it likes."""
    commands: list[str] = []
    for _ in range(200):
        commands += window.pump()
        if done(commands):
            return commands
        pygame.time.wait(5)
    raise AssertionError(f"nothing happened within a second; commands so far: {commands}")


# --- names and sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "control"),
    [
        (pygame.K_w, "key:w"),
        (pygame.K_LEFT, "key:left"),
        (pygame.K_PERIOD, "key:period"),
        (pygame.K_LEFTBRACKET, "key:left_bracket"),
        (pygame.K_LSHIFT, "key:left_shift"),
        (pygame.K_KP1, "key:keypad_1"),
        (pygame.K_KP_PLUS, "key:keypad_plus"),
        (pygame.K_F1, "key:f1"),
        (0xE9, "key:é"),
    ],
)
def test_a_key_has_a_readable_name(window: Window, key: int, control: str) -> None:
    assert key_control(key) == control


def test_the_window_takes_the_whole_scale_that_fits_two_thirds_of_the_desktop() -> None:
    assert integer_scale((1920, 1080), (128, 96)) == 7
    assert integer_scale((640, 480), (128, 96)) == 3
    assert integer_scale((100, 100), (128, 96)) == 1


def test_the_window_opens_at_that_scale_with_a_3_3_core_context(window: Window) -> None:
    import moderngl

    assert window.size_px == (128 * 6, 96 * 6)
    assert moderngl.create_context().version_code >= 330


def test_a_scale_can_be_asked_for(xvfb: str, latch: InputLatch) -> None:  # noqa: F811
    with Window("test", (128, 96), latch=latch, commands={}, scale=2) as window:
        assert window.size_px == (256, 192)


def test_only_what_is_needed_is_started_and_audio_is_not(window: Window) -> None:
    assert pygame.mixer.get_init() is None


# --- events ----------------------------------------------------------------------------------------------------


def test_a_held_key_is_held_until_it_is_released(window: Window, latch: InputLatch) -> None:
    key_down(pygame.K_w)
    assert window.pump() == []
    assert latch.look().held == {"key:w"}
    key_up(pygame.K_w)
    window.pump()
    assert latch.look().held == frozenset()


def test_a_tap_within_one_pump_reaches_the_latch(window: Window, latch: InputLatch) -> None:
    key_down(pygame.K_SPACE)
    key_up(pygame.K_SPACE)
    window.pump()
    state = latch.look()
    assert state.pressed == {"key:space"}
    assert state.held == frozenset()


def test_ten_thousand_taps_are_all_seen_and_none_sticks(window: Window, latch: InputLatch) -> None:
    for _ in range(10_000):
        key_down(pygame.K_a)
        key_up(pygame.K_a)
        window.pump()
        state = latch.look()
        assert "key:a" in state.pressed
        assert not state.held


def test_a_command_key_triggers_its_command_and_never_reaches_the_latch(window: Window, latch: InputLatch) -> None:
    key_down(pygame.K_p)
    key_up(pygame.K_p)
    key_down(pygame.K_F5)
    assert window.pump() == ["pause", "reset"]
    assert latch.look() == InputLatch().look()


def test_closing_the_window_is_the_command_quit(window: Window) -> None:
    post(pygame.QUIT)
    assert window.pump() == ["quit"]


def test_the_mouse_gives_buttons_and_summed_motion(window: Window, latch: InputLatch) -> None:
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(5, 5))
    post(pygame.MOUSEMOTION, rel=(3, -1), pos=(5, 5), buttons=(0, 0, 0))
    post(pygame.MOUSEMOTION, rel=(4, 0), pos=(9, 5), buttons=(0, 0, 0))
    post(pygame.MOUSEWHEEL, x=0, y=-2)
    window.pump()
    state = latch.look()
    assert state.held == {"mouse:left"}
    assert state.axes == {"mouse:dx": 7.0, "mouse:dy": -1.0, "mouse:wheel": -2.0}


def test_old_style_wheel_clicks_are_not_buttons(window: Window, latch: InputLatch) -> None:
    post(pygame.MOUSEBUTTONDOWN, button=4, pos=(5, 5))
    window.pump()
    assert latch.look().held == frozenset()


def test_losing_focus_lets_go_of_everything(window: Window, latch: InputLatch) -> None:
    key_down(pygame.K_w)
    post(pygame.MOUSEBUTTONDOWN, button=1, pos=(5, 5))
    window.pump()
    assert latch.look().held, "negative control: something must be held first"
    post(pygame.WINDOWFOCUSLOST)
    window.pump()
    assert latch.look().held == frozenset()


def test_real_key_presses_arrive(window: Window, latch: InputLatch, xvfb: str) -> None:  # noqa: F811
    pump_until(window, lambda commands: pygame.key.get_focused())
    xdotool("keydown", "w", "keydown", "Left", "key", "p")
    assert pump_until(window, lambda commands: "pause" in commands) == ["pause"]
    assert latch.look().held == {"key:w", "key:left"}
    xdotool("keyup", "w", "keyup", "Left")
    pump_until(window, lambda commands: not latch.look().held)


def xdotool(*arguments: str) -> None:
    if shutil.which("xdotool") is None:
        pytest.skip("xdotool is not installed: it presses real keys (apt-get install xdotool)")
    subprocess.run(["xdotool", *arguments], check=True, timeout=10)


# --- text entry ------------------------------------------------------------------------------------------------


def test_while_a_prompt_is_typed_keys_are_letters_not_controls(window: Window, latch: InputLatch) -> None:
    assert window.text_being_typed is None
    key_down(pygame.K_t)
    assert window.pump() == []
    assert window.text_being_typed == ""
    for letter in "rainyp":
        key_down(ord(letter))
        post(pygame.TEXTINPUT, text=letter)
        key_up(ord(letter))
    assert window.pump() == [], "P is a letter now, not pause"
    assert window.text_being_typed == "rainyp"
    assert latch.look().pressed == frozenset()
    key_down(pygame.K_BACKSPACE)
    key_down(pygame.K_RETURN)
    assert window.pump() == ["prompt:rainy"]
    assert window.text_being_typed is None


def test_escape_cancels_the_prompt(window: Window) -> None:
    window.begin_text("snow")
    key_down(pygame.K_ESCAPE)
    assert window.pump() == []
    assert window.text_being_typed is None


def test_an_empty_prompt_is_no_command(window: Window) -> None:
    window.begin_text("  ")
    key_down(pygame.K_RETURN)
    assert window.pump() == []


def test_a_prompt_has_a_length_limit(window: Window) -> None:
    window.begin_text(max_chars=4)
    post(pygame.TEXTINPUT, text="foggy")
    window.pump()
    assert window.text_being_typed == "fogg"


def test_opening_the_prompt_lets_go_of_held_keys(window: Window, latch: InputLatch) -> None:
    key_down(pygame.K_w)
    key_down(pygame.K_t)
    window.pump()
    assert latch.look().held == frozenset()


def test_a_caller_can_give_key_t_another_meaning(xvfb: str, latch: InputLatch) -> None:  # noqa: F811
    with Window("test", (64, 48), latch=latch, commands={"key:t": "turbo"}, scale=1) as window:
        key_down(pygame.K_t)
        assert "turbo" in window.pump()
        assert window.text_being_typed is None


def test_a_really_typed_prompt_has_no_stray_first_letter(window: Window, xvfb: str) -> None:  # noqa: F811
    pump_until(window, lambda commands: pygame.key.get_focused())
    xdotool("key", "t")
    pump_until(window, lambda commands: window.text_being_typed is not None)
    xdotool("type", "--delay", "1", "foggy night")
    xdotool("key", "Return")
    assert pump_until(window, bool) == ["prompt:foggy night"]


# --- gamepads --------------------------------------------------------------------------------------------------


class VirtualPad:
    """A gamepad made by SDL itself, driven through the same SDL library that pygame loaded."""

    def __init__(self) -> None:
        maps = Path("/proc/self/maps")
        libraries = {line.split()[-1] for line in maps.read_text().splitlines() if "libSDL2-2" in line}
        self._sdl = ctypes.CDLL(libraries.pop())
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        self._index = self._sdl.SDL_JoystickAttachVirtual(1, 6, 15, 0)  # a game controller: 6 axes, 15 buttons
        if self._index < 0:
            pytest.skip("this SDL has no virtual joysticks")
        self._joystick = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(self._index))

    def button(self, number: int, down: bool) -> None:
        self._sdl.SDL_JoystickSetVirtualButton(self._joystick, number, int(down))

    def axis(self, number: int, value: int) -> None:
        self._sdl.SDL_JoystickSetVirtualAxis(self._joystick, number, value)

    def unplug(self) -> None:
        self._sdl.SDL_JoystickDetachVirtual(self._index)
        self._sdl.SDL_JoystickClose(self._joystick)


needs_proc = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="finds pygame's SDL library through /proc")


@needs_proc
def test_a_gamepad_plugged_in_during_play_works_at_once(window: Window, latch: InputLatch) -> None:
    pad = VirtualPad()
    window.pump()
    pad.button(0, True)
    pad.axis(0, -32768)
    pad.axis(5, 32767)
    window.pump()
    state = latch.look()
    assert state.held == {"pad:a"}
    assert state.axes["pad:left_x"] == -1.0
    assert state.axes["pad:right_trigger"] == 1.0
    pad.unplug()


@needs_proc
def test_a_gamepad_button_can_be_a_command(window: Window, latch: InputLatch) -> None:
    pad = VirtualPad()
    window.pump()
    pad.button(6, True)
    assert window.pump() == ["pause"]
    assert latch.look().pressed == frozenset()
    pad.unplug()


@needs_proc
def test_a_hundred_unplugs_with_a_button_held_leave_nothing_stuck(window: Window, latch: InputLatch) -> None:
    key_down(pygame.K_w)
    for _ in range(100):
        pad = VirtualPad()
        window.pump()
        pad.button(0, True)
        pad.axis(0, 20000)
        window.pump()
        assert "pad:a" in latch.look().held
        pad.unplug()
        window.pump()
        state = latch.look()
        assert state.held == {"key:w"}, "the keyboard stays live, the pad is let go"
        assert not any(axis.startswith("pad:") for axis in state.axes)


def test_a_pad_that_vanishes_before_it_is_opened_is_no_error(window: Window) -> None:
    post(pygame.CONTROLLERDEVICEADDED, device_index=7)
    post(pygame.CONTROLLERBUTTONDOWN, instance_id=7, button=20)
    post(pygame.CONTROLLERAXISMOTION, instance_id=7, axis=9, value=1)
    assert window.pump() == []


def test_without_the_gamepad_layer_everything_else_works(
    xvfb: str,  # noqa: F811
    latch: InputLatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pygame._sdl2.controller", None)
    monkeypatch.delattr("pygame._sdl2.controller", raising=False)
    with Window("test", (64, 48), latch=latch, commands={}, scale=1) as window:
        post(pygame.CONTROLLERDEVICEADDED, device_index=0)
        key_down(pygame.K_w)
        window.pump()
        assert latch.look().held == {"key:w"}


# --- no display ------------------------------------------------------------------------------------------------


def test_closing_twice_is_fine_and_lets_go_of_everything(window: Window, latch: InputLatch) -> None:
    key_down(pygame.K_w)
    window.pump()
    window.close()
    window.close()
    assert latch.look().held == frozenset()


@pytest.mark.parametrize("driver", [None, "dummy", "x11"])
def test_no_display_is_one_clear_line(driver: str | None) -> None:
    program = (
        "from nextframe.runtime.core import DisplayError\n"
        "from nextframe.runtime.tick.latch import InputLatch\n"
        "from nextframe.runtime.display.window import Window\n"
        "try:\n    Window('t', (128, 96), latch=InputLatch(), commands={})\n"
        "except DisplayError as error:\n    print(error)\n"
    )
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    if driver:
        environment["SDL_VIDEODRIVER"] = driver
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("cannot open a window: expected a desktop")
    assert "nextframe run" in run.stdout
    assert run.stdout.count("\n") == 1


def test_a_display_error_carries_the_exit_code_for_bad_input() -> None:
    assert DisplayError("x").exit_code == 2
