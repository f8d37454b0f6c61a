"""Claims about keyboards: controls are places on the keyboard, the help names what is printed, text is letters."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from nextframe.controllers.bindings import load_bindings
from nextframe.runtime.core import ActionSpace, ManualClock
from nextframe.runtime.display.devices.keys import Layout, place_control
from nextframe.runtime.display.hud import key_label
from nextframe.runtime.display.painter import HudPainter
from nextframe.runtime.display.window import Window
from nextframe.runtime.session.registry import find_world
from nextframe.runtime.session.window.panel import Panel, help_lines
from nextframe.runtime.tick.latch import InputLatch
from tests.support.xvfb import xvfb, xvfb_server  # noqa: F401 - fixtures

import pygame  # isort: skip - after the window, which silences pygame's banner

PLACES = {"a": 38, "s": 39, "d": 40, "q": 24, "w": 25, "p": 33, "r": 27, "t": 28, "b": 56, "h": 43, "z": 52, "1": 10,
          "left_bracket": 34, "semicolon": 47, "left": 113}  # fmt: skip
"""The X server's numbers of the places that a US keyboard names so."""
LAYOUTS = ("us", "fr", "de", "ru", "gr", "il", "us -variant dvorak", "tr -variant f", "ara", "th", "bg", "jp", "cz")


class Board:
    """The keyboard that the X server believes in."""

    def layout(self, name: str) -> None:
        run("setxkbmap", *name.split())

    def tap(self, place: str) -> None:
        run("xdotool", "key", str(PLACES[place]))

    def down(self, place: str) -> None:
        run("xdotool", "keydown", str(PLACES[place]))

    def up(self, place: str) -> None:
        run("xdotool", "keyup", str(PLACES[place]))


def run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (apt-get install xdotool x11-xkb-utils xkb-data)")
    subprocess.run(command, check=True, timeout=10)


@pytest.fixture
def board(xvfb: str) -> Iterator[Board]:  # noqa: F811 - a fixture
    yield Board()
    run("setxkbmap", "us")


COMMANDS = {"key:p": "pause", "key:r": "reset", "key:b": "split", "key:h": "help", "key:left_bracket": "down"}


@pytest.fixture
def latch() -> InputLatch:
    return InputLatch()


@pytest.fixture
def opened(board: Board, latch: InputLatch) -> Iterator[Callable[..., Window]]:
    made: list[Window] = []

    def make(*bound: str) -> Window:
        window = Window("test", (64, 48), latch=latch, commands=COMMANDS, bound=bound, clock=ManualClock(), scale=2)
        made.append(window)
        until(window, lambda commands: pygame.key.get_focused())
        return window

    yield make
    for window in made:
        window.close()


def until(window: Window, done: Callable[[list[str]], bool]) -> list[str]:
    """Pump until the commands so far, or the world around, satisfy `done`: X delivers when it likes."""
    commands: list[str] = []
    for _ in range(400):
        commands += window.pump()
        if done(commands):
            return commands
        pygame.time.wait(5)
    raise AssertionError(f"nothing happened within two seconds; commands so far: {commands}")


def held(window: Window, latch: InputLatch, board: Board, place: str) -> frozenset[str]:
    """What the latch holds while the key at that place is down; and it lets go of it after."""
    board.down(place)
    until(window, lambda commands: bool(latch.peek().held))
    names = latch.peek().held
    board.up(place)
    until(window, lambda commands: not latch.peek().held)
    return names


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_are_places_whatever_is_printed_on_them(
    layout: str, board: Board, latch: InputLatch, opened: Callable[..., Window]
) -> None:
    board.layout(layout)
    window = opened()
    for place in ("w", "a", "s", "d", "q", "z", "1", "semicolon", "left"):
        assert held(window, latch, board, place) == {f"key:{place}"}, f"{place} under {layout}"
    for place, command in (("p", "pause"), ("r", "reset"), ("b", "split"), ("h", "help"), ("left_bracket", "down")):
        board.tap(place)
        assert until(window, bool) == [command], f"{place} under {layout}"
    board.tap("t")
    until(window, lambda commands: window.text_being_typed is not None)


def test_text_is_by_character(board: Board, opened: Callable[..., Window]) -> None:
    board.layout("fr")
    window = opened()
    window.begin_text()
    for place in ("w", "a", "q", "semicolon"):
        board.tap(place)
    until(window, lambda commands: window.text_being_typed == "zqam")
    board.layout("gr")
    until(window, lambda commands: window.printed("key:w") == "key:ς")
    board.tap("a")
    until(window, lambda commands: window.text_being_typed == "zqamα")


@pytest.mark.parametrize(
    ("layout", "marked"),
    [
        ("us", {"key:w": "W", "key:a": "A", "key:left_bracket": "[", "key:h": "H"}),
        ("fr", {"key:w": "Z", "key:a": "Q", "key:q": "A", "key:semicolon": "M", "key:p": "P"}),
        ("de", {"key:z": "Y", "key:y": "Z", "key:left_bracket": "Ü", "key:minus": "ß"}),
        ("ru", {"key:w": "Ц", "key:h": "Р", "key:left_bracket": "Х", "key:period": "Ю"}),
        ("gr", {"key:p": "Π", "key:a": "Α"}),
        ("il", {"key:w": "'", "key:a": "ש"}),
        ("us -variant dvorak", {"key:w": ",", "key:s": "O", "key:left_bracket": "/"}),
    ],
)
def test_the_help_names_what_is_printed_on_the_key(
    layout: str, marked: dict[str, str], board: Board, opened: Callable[..., Window]
) -> None:
    board.layout(layout)
    window = opened()
    assert {control: key_label(window.printed(control)) for control in marked} == marked
    for unchanged in ("key:left", "key:f1", "key:tab", "key:escape", "pad:a", "mouse:dx", "char:z", "key:é"):
        assert window.printed(unchanged) == unchanged


def test_the_help_and_the_pressed_keys_follow_a_layout_that_changes_while_playing(
    board: Board, opened: Callable[..., Window]
) -> None:
    board.layout("us")
    window = opened()
    found = find_world("circuit")
    bindings = load_bindings(found.spec.action_space())
    panel, painter = Panel(found, bindings, help_lines(found, bindings), window.printed), HudPainter()
    assert panel.help_hint() == "F1 or H shows the controls"
    before = painter.render(panel.hud(None), (640, 480))
    board.layout("ru")
    until(window, lambda commands: window.printed("key:h") == "key:р")
    assert panel.help_hint() == "F1 or Р shows the controls"
    panel.toggle_help()
    assert not np.array_equal(painter.render(panel.hud(None), (640, 480)), before)
    assert "key:р\t" not in "\n".join(help_lines(found, bindings)), "the bindings themselves stay places"


def test_a_key_held_while_the_layout_changes_is_let_go(
    board: Board, latch: InputLatch, opened: Callable[..., Window]
) -> None:
    board.layout("fr")
    window = opened("char:z")
    board.down("w")
    until(window, lambda commands: latch.peek().held == {"char:z"})
    board.layout("us")
    until(window, lambda commands: window.printed("key:w") == "key:w")
    board.up("w")
    until(window, lambda commands: not latch.peek().held)


def test_old_files_that_named_a_character_keep_its_meaning(
    board: Board, latch: InputLatch, opened: Callable[..., Window]
) -> None:
    """`key:é` is no place of a US keyboard: it is the character, and its key is no longer `key:2` for this player."""
    space = ActionSpace(("fire",), (), {})
    board.layout("fr")
    window = opened("key:ù", "key:w")
    run("xdotool", "keydown", "48")  # right of M under AZERTY
    until(window, lambda commands: latch.peek().held == {"key:ù"})
    run("xdotool", "keyup", "48")
    until(window, lambda commands: not latch.peek().held)
    assert held(window, latch, board, "w") == {"key:w"}
    assert load_bindings(space).controls() >= {"key:left_ctrl"}


def test_a_binding_by_character_is_heard_wherever_the_layout_has_it(
    board: Board, latch: InputLatch, opened: Callable[..., Window]
) -> None:
    board.layout("fr")
    window = opened("char:z")
    assert held(window, latch, board, "w") == {"char:z"}
    assert held(window, latch, board, "z") == {"key:z"}, "the place is another key"


def test_a_press_without_a_place_goes_by_its_character(latch: InputLatch, opened: Callable[..., Window]) -> None:
    """Events of programs, and of screen keyboards that know letters alone."""
    window = opened()
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_w))
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_a, scancode=0))
    window.pump()
    assert latch.look().held == {"key:w", "key:a"}


def test_every_place_has_one_name_and_old_names_are_kept(opened: Callable[..., Window]) -> None:
    opened()
    names = {
        pygame.KSCAN_W: "w", pygame.KSCAN_LEFT: "left", pygame.KSCAN_PERIOD: "period",
        pygame.KSCAN_LSHIFT: "left_shift", pygame.KSCAN_KP1: "keypad_1", pygame.KSCAN_KP_PLUS: "keypad_plus",
        pygame.KSCAN_F1: "f1", pygame.KSCAN_TAB: "tab",
        pygame.KSCAN_BACKSPACE: "backspace", pygame.KSCAN_ESCAPE: "escape", pygame.KSCAN_SPACE: "space",
        pygame.KSCAN_BACKSLASH: "backslash", pygame.KSCAN_NONUSHASH: "backslash", pygame.KSCAN_LCTRL: "left_ctrl",
    }  # fmt: skip
    assert {scancode: place_control(scancode) for scancode in names} == {s: f"key:{n}" for s, n in names.items()}
    assert place_control(0) == place_control(-1) == place_control(512) == ""
    assert not Layout().is_place("key:é")
    assert Layout().is_place("key:keypad_plus")
