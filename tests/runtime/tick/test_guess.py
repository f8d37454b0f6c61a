"""Claims about a look at the player's input before the poll: it is what the poll will return, and uses nothing up."""

from __future__ import annotations

from dataclasses import replace

from nextframe.controllers.bindings import load_bindings
from nextframe.controllers.human import HumanController
from nextframe.runtime.core import ActionSpace, Clock, ManualClock
from nextframe.runtime.session.registry import find_world
from nextframe.runtime.tick.latch import InputLatch
from nextframe.tools.lab.ahead.inputs import KEYBOARD, TimedPlayer, driven, recordings
from tests.support.doubles import MS

CAR = ActionSpace(
    ("handbrake",), ("steer", "throttle", "brake"), {"weather": ("clear", "rain"), "time": ("day", "night")}
)


def human() -> tuple[InputLatch, HumanController]:
    latch = InputLatch()
    return latch, HumanController(latch, load_bindings(CAR), CAR)


def test_a_peek_is_the_next_poll_for_keys_taps_sticks_and_prompts() -> None:
    latch, controller = human()
    latch.press("key:up", 1)
    latch.press("key:left", 2)
    latch.release("key:left", 3)
    latch.move("pad:left_x", 0.7, 4)
    controller.set_prompt("rainy night")
    peeked = [controller.peek() for _ in range(3)]
    assert peeked == [controller.poll(0)] * 3
    assert peeked[0].axes
    assert peeked[0].prompt == "rainy night"


def test_a_peek_uses_nothing_up() -> None:
    latch, controller = human()
    latch.press("key:up", 1)
    latch.release("key:up", 2)
    controller.peek()
    assert controller.poll(0).axes == {"throttle": 127}, "a tap must not be lost to a look"
    assert controller.last_input_ns == 1
    assert controller.peek() == controller.poll(1)


def test_a_peek_does_not_turn_a_toggle() -> None:
    latch = InputLatch()
    bindings = load_bindings(CAR)
    toggled = tuple(replace(one, toggle=one.action == "handbrake") for one in bindings.bindings)
    controller = HumanController(latch, replace(bindings, bindings=toggled), CAR)
    key = next(one.control for one in toggled if one.toggle and one.control.startswith("key:"))
    latch.press(key, 1)
    for _ in range(3):
        assert controller.peek().buttons == {"handbrake"}
    assert controller.poll(0).buttons == {"handbrake"}
    latch.release(key, 2)
    assert controller.peek().buttons == controller.poll(1).buttons == {"handbrake"}


def test_a_timed_player_gives_every_action_of_the_list_once_and_says_when_it_changed() -> None:
    actions = driven(200, keyboard=True, sessions=1)
    clock = ManualClock()
    player = TimedPlayer(actions, clock, 50 * MS)
    polled, changes = [], 0
    for slot in range(1, 201):
        clock.sleep_until(slot * 50 * MS)
        before = player.action()
        polled.append(player.poll(slot))
        assert before == polled[-1]
        if player.last_input_ns is not None:
            changes += 1
            assert (slot - 1) * 50 * MS <= player.last_input_ns <= slot * 50 * MS
    assert polled == actions
    assert changes > 20


def test_the_recordings_are_the_same_every_time() -> None:
    found = find_world("circuit")
    first, second = recordings(found, 120), recordings(found, 120)
    assert first == second
    assert {KEYBOARD, "bot, wander", "script, tour"} <= set(first)
    assert all(first.values())
    clock: Clock = ManualClock()
    assert TimedPlayer(first[KEYBOARD], clock, 0).poll(0) == first[KEYBOARD][0]
