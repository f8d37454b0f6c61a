"""Claims about controllers: what the player, a script, a bot or a recording asks is what the action says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.controllers.bindings import (
    ANALOG_CONTROLS,
    COMMANDS,
    DEFAULT_BINDINGS,
    MOUSE_BUTTONS,
    PAD_BUTTONS,
    Bindings,
    DeadZone,
    load_bindings,
)
from nextframe.controllers.bots import PROMPT_TICKS, IdleController, WanderBot, make_bot
from nextframe.controllers.human import HumanController, radial_dead_zone
from nextframe.controllers.replayed import ReplayController
from nextframe.controllers.scripted import Entry, Script, ScriptedController, load_script, parse_script
from nextframe.runtime.core import AXIS_LEVELS, Action, ActionSpace, ConfigError, Controller, PlayedTick, quantise_axis
from nextframe.runtime.tick.latch import InputLatch

CAR = ActionSpace(
    ("handbrake",),
    ("steer", "throttle", "brake"),
    {"weather": ("clear", "rain", "snow", "fog"), "time": ("day", "dusk", "night")},
)
WALKER = ActionSpace(("fire", "use", "jump"), ("move_x", "move_y", "look_x", "look_y"))
FULL = AXIS_LEVELS


class Player:
    """A human controller and the hands on its controls."""

    def __init__(self, actions: ActionSpace = CAR, bindings: Bindings | None = None) -> None:
        self.latch = InputLatch()
        self.controller = HumanController(self.latch, bindings or load_bindings(actions), actions)

    def press(self, *controls: str) -> None:
        for control in controls:
            self.latch.press(control, 5)

    def release(self, *controls: str) -> None:
        for control in controls:
            self.latch.release(control, 6)

    def move(self, **values: float) -> None:
        for name, value in values.items():
            self.latch.move(name.replace("__", ":"), value, 7)

    def poll(self) -> Action:
        return self.controller.poll(0)

    def axes(self) -> Mapping[str, int]:
        return self.poll().axes


def overrides(tmp_path: Path, text: str, actions: ActionSpace = CAR) -> Bindings:
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\n" + text, encoding="utf-8")
    return load_bindings(actions, path)


# --- the player -----------------------------------------------------------------------------------------------


def test_nothing_touched_is_an_idle_action() -> None:
    assert Player().poll() == Action()


@pytest.mark.parametrize(
    ("control", "axes"),
    [
        ("key:left", {"steer": -FULL}),
        ("key:a", {"steer": -FULL}),
        ("key:right", {"steer": FULL}),
        ("key:d", {"steer": FULL}),
        ("key:up", {"throttle": FULL}),
        ("key:w", {"throttle": FULL}),
        ("key:down", {"brake": FULL}),
        ("key:s", {"brake": FULL}),
    ],
)
def test_keys_drive_axes(control: str, axes: dict[str, int]) -> None:
    player = Player()
    player.press(control)
    assert player.axes() == axes
    player.release(control)
    assert player.axes() == {}


@pytest.mark.parametrize("control", ["key:space", "pad:a"])
def test_buttons_are_held_as_long_as_their_control(control: str) -> None:
    player = Player()
    player.press(control)
    assert [player.poll().buttons, player.poll().buttons] == [{"handbrake"}, {"handbrake"}]
    player.release(control)
    assert player.poll().buttons == frozenset()


def test_a_tap_shorter_than_a_tick_counts_for_one_tick() -> None:
    player = Player()
    player.press("key:left", "key:space")
    player.release("key:left", "key:space")
    assert player.poll() == Action(frozenset({"handbrake"}), {"steer": -FULL})
    assert player.poll() == Action()


def test_opposite_keys_cancel_whatever_their_number() -> None:
    player = Player()
    player.press("key:left", "key:right")
    assert player.axes() == {}
    player.press("key:a")
    assert player.axes() == {}
    player.release("key:right")
    assert player.axes() == {"steer": -FULL}


def test_a_stick_is_analog_and_a_resting_one_does_not_drift() -> None:
    player = Player()
    player.move(pad__left_x=0.1, pad__left_y=0.05)
    assert player.axes() == {}
    player.move(pad__left_x=0.525, pad__left_y=0.0)
    assert player.axes() == {"steer": quantise_axis(0.5)}
    player.move(pad__left_x=-0.95)
    assert player.axes() == {"steer": -FULL}


def test_triggers_are_analog() -> None:
    player = Player()
    player.move(pad__right_trigger=0.525, pad__left_trigger=1.0)
    assert player.axes() == {"throttle": quantise_axis(0.5), "brake": FULL}


def test_of_keyboard_and_pad_the_larger_magnitude_wins() -> None:
    player = Player()
    player.move(pad__left_x=0.525)
    player.press("key:left")
    assert player.axes() == {"steer": -FULL}
    player.release("key:left")
    player.poll()
    assert player.axes() == {"steer": quantise_axis(0.5)}


def test_the_dead_zone_is_radial() -> None:
    player = Player(WALKER)
    player.move(pad__left_x=0.1, pad__left_y=-0.9)  # x alone would be inside a dead zone per axis
    axes = player.axes()
    assert axes["move_x"] > 0
    assert axes["move_y"] > 100  # a stick pushed forward is negative in SDL, and forward is 1 here


@settings(deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1))
def test_a_dead_zone_keeps_the_direction_and_bounds_the_length(x: float, y: float) -> None:
    out_x, out_y = radial_dead_zone(x, y, DeadZone(0.125, 0.925))
    length, magnitude = math.hypot(out_x, out_y), math.hypot(x, y)
    assert length <= 1.0 + 1e-12
    assert (length == 0.0) == (magnitude <= 0.125)
    assert out_x * y == pytest.approx(out_y * x)
    assert out_x * x >= 0
    assert out_y * y >= 0


def test_mouse_motion_is_relative_and_gone_after_the_tick() -> None:
    player = Player(WALKER)
    player.move(mouse__dx=5.0)
    player.move(mouse__dx=5.0)
    assert player.axes() == {"look_x": quantise_axis(0.2)}
    assert player.axes() == {}
    player.move(mouse__dx=-5000.0)
    assert player.axes() == {"look_x": -FULL}


def test_an_action_that_is_a_button_in_one_world_and_an_axis_in_another_works_in_both() -> None:
    player = Player(ActionSpace(buttons=("brake",)))
    player.press("key:s")
    assert player.poll().buttons == {"brake"}
    player.release("key:s")
    player.move(pad__left_trigger=0.4)
    assert player.poll().buttons == frozenset()
    player.move(pad__left_trigger=0.8)
    assert player.poll().buttons == {"brake"}


def test_prompt_keys_say_their_prompt_once() -> None:
    player = Player()
    player.press("key:2")
    assert player.poll().prompt == "rain"
    assert player.poll().prompt is None
    player.press("key:4", "key:9")
    assert player.poll().prompt == "fog night"


def test_a_typed_prompt_reaches_the_next_action_and_wins_over_keys() -> None:
    player = Player()
    player.press("key:2")
    player.controller.set_prompt("  rainy \n night\x00 ")
    assert player.poll().prompt == "rainy night"
    assert player.poll().prompt is None
    player.controller.set_prompt("   ")
    assert player.poll().prompt is None


def test_a_typed_prompt_is_bounded() -> None:
    player = Player()
    player.controller.set_prompt("x" * 10_000)
    prompt = player.poll().prompt
    assert prompt is not None
    assert len(prompt) == 400


def test_the_time_of_the_earliest_input_is_known_for_one_tick() -> None:
    player = Player()
    player.press("key:left")
    player.release("key:left")
    player.poll()
    assert player.controller.last_input_ns == 5
    player.poll()
    assert player.controller.last_input_ns is None


def test_letting_go_of_everything_includes_toggles(tmp_path: Path) -> None:
    bindings = overrides(tmp_path, "bindings: [{action: throttle, control: key:w, mode: toggle}]")
    player = Player(bindings=bindings)
    player.press("key:w", "key:left", "key:space")
    player.move(pad__left_x=1.0)
    assert player.poll() != Action()
    player.controller.release_all()
    assert player.poll() == Action()


def test_a_toggle_holds_until_the_next_press(tmp_path: Path) -> None:
    player = Player(bindings=overrides(tmp_path, "bindings: [{action: throttle, control: key:w, mode: toggle}]"))
    seen = []
    for _ in range(3):
        player.press("key:w")
        player.release("key:w")
        seen += [player.axes().get("throttle", 0), player.axes().get("throttle", 0)]
    assert seen == [FULL, FULL, 0, 0, FULL, FULL]


def test_scale_and_invert_apply_to_sticks(tmp_path: Path) -> None:
    text = "bindings: [{action: steer, control: pad:left_x, scale: 0.5, invert: true, deadzone: [0, 1]}]"
    player = Player(bindings=overrides(tmp_path, text))
    player.move(pad__left_x=0.5)
    assert player.axes() == {"steer": quantise_axis(-0.25)}


@settings(deadline=None)
@given(st.lists(st.sampled_from(["key:left", "key:d", "key:w", "key:s", "key:space", "pad:a", "key:1"]), max_size=6))
def test_every_action_is_inside_the_action_space(controls: list[str]) -> None:
    player = Player()
    player.press(*controls)
    player.move(pad__left_x=-3.0, pad__right_trigger=9.0)
    action = player.poll()
    assert action.buttons <= set(CAR.buttons)
    assert action.axes.keys() <= set(CAR.axes)
    assert all(-AXIS_LEVELS <= level <= AXIS_LEVELS for level in action.axes.values())


# --- bindings -------------------------------------------------------------------------------------------------


def test_defaults_skip_what_a_world_lacks() -> None:
    bindings = load_bindings(ActionSpace(axes=("steer",), prompts={"light": ("day",)}))
    assert {binding.action for binding in bindings.bindings} == {"steer"}
    assert bindings.prompts == {"key:7": "day"}


def test_every_command_has_a_default_control() -> None:
    assert set(load_bindings(CAR).commands.values()) == set(COMMANDS)


def test_default_commands_are_the_documented_keys() -> None:
    bindings = load_bindings(CAR)
    assert bindings.controls_of("help") == ("key:f1", "key:h")
    assert bindings.controls_of("pause") == ("key:p",)
    assert bindings.controls_of("handbrake") == ("key:space", "pad:a")
    assert bindings.commands["key:left_bracket"] == "quality_down"
    assert bindings.commands["key:right_bracket"] == "quality_up"


def test_default_bindings_conflict_in_no_known_world() -> None:
    load_bindings(CAR)
    load_bindings(WALKER)
    load_bindings(ActionSpace(("brake",), ("steer", "throttle"), {"light": ("day", "night")}))


def test_the_control_names_are_those_of_the_window() -> None:
    window = pytest.importorskip("nextframe.runtime.display.window")
    keys = pytest.importorskip("nextframe.runtime.display.devices.keys")
    pads = pytest.importorskip("nextframe.runtime.display.devices.pads")
    assert tuple(pads.PAD_BUTTONS) == PAD_BUTTONS
    assert {f"pad:{name}" for name in pads.PAD_AXES} == {c for c in ANALOG_CONTROLS if c.startswith("pad:")}
    assert set(window.MOUSE_BUTTONS.values()) == {f"mouse:{name}" for name in MOUSE_BUTTONS}
    named = [s for s in range(4, keys.PLACE_COUNT) if s < 57 or keys.pygame.key.name(s | keys.SCANCODE_MASK)]
    known = {keys.place_control(scancode) for scancode in named}
    for actions in (CAR, WALKER):
        bindings = load_bindings(actions)
        used = {*bindings.commands, *bindings.prompts, *(binding.control for binding in bindings.bindings)}
        assert {control for control in used if control.startswith("key:")} <= known


def test_a_players_entries_replace_all_defaults_of_that_action_and_no_other(tmp_path: Path) -> None:
    bindings = overrides(tmp_path, "bindings: [{action: steer, control: key:j, scale: -1}]")
    assert bindings.controls_of("steer") == ("key:j",)
    assert bindings.controls_of("throttle") == load_bindings(CAR).controls_of("throttle")


def test_a_players_prompts_and_commands_replace_their_defaults(tmp_path: Path) -> None:
    bindings = overrides(
        tmp_path,
        "prompts: [{control: key:1, prompt: heavy rain}, {control: key:0, prompt: fog}]\n"
        "commands: {pause: [key:p, key:pause], hud: []}\n",
    )
    assert bindings.prompts["key:1"] == "heavy rain"
    assert bindings.prompts["key:0"] == "fog"
    assert "key:4" not in bindings.prompts
    assert bindings.controls_of("pause") == ("key:p", "key:pause")
    assert "hud" not in bindings.commands.values()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("bindings:\n  - {action: stear, control: key:j}", 3, "did you mean 'steer'?"),
        ("bindings:\n  - {action: jump, control: key:j}", 3, "unknown action 'jump'"),
        (
            "bindings:\n- {action: steer, control: key:j}\n- {action: steer, control: key:j}",
            4,
            "action steer already at",
        ),
        ("bindings:\n- {action: steer, control: key:j}\n- {action: brake, control: key:j}", 4, "action steer"),
        ("bindings:\n- {action: steer, control: key:p}", 3, "command pause"),
        ("bindings:\n- {action: steer, control: key:w}", 3, "action throttle"),
        ("bindings:\n- {action: steer, control: key:1}", 3, "prompt 'clear'"),
        ("commands:\n  hud: key:w", 3, "action throttle"),
        ("commands:\n  pause: key:o\n  hud: key:o", 4, "command pause"),
        ("commands:\n  paus: key:o", 3, "did you mean 'pause'?"),
        ("commands:\n  pause: mouse:dx", 3, "got the axis"),
        ("prompts:\n- {control: pad:left_x, prompt: fog}", 3, "got the axis"),
        ("bindings:\n- {action: steer, control: pad:left_xx}", 3, "did you mean 'pad:left_x'?"),
        ("bindings:\n- {action: steer, control: key:A}", 3, "lower case"),
        ("bindings:\n- {action: steer, control: left}", 3, "such as key:w"),
        ("bindings:\n- {action: steer, control: key:j, mode: togle}", 3, "'hold' or 'toggle'"),
        ("bindings:\n- {action: steer, control: pad:left_x, mode: toggle}", 3, "toggle needs a key"),
        ("bindings:\n- {action: steer, control: key:j, scael: 2}", 3, "did you mean 'scale'?"),
        ("bindings:\n- {action: steer, control: key:j, deadzone: [0.9, 0.1]}", 3, "0 <= low < high <= 1"),
        ("deadzone: 0.2", 2, "expected [low, high]"),
    ],
)
def test_a_mistake_in_a_players_file_names_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        overrides(tmp_path, text)
    assert f"mine.yaml:{line}:" in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("version: 2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml:1: version: expected 1"):
        load_bindings(CAR, path)


def test_a_conflict_names_both_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.yaml:2: key:h .* but .*{DEFAULT_BINDINGS.name}:\d+ binds it to"):
        overrides(tmp_path, "bindings: [{action: handbrake, control: key:h}]")


# --- scripts --------------------------------------------------------------------------------------------------

LAPS = """\
version: 1
name: laps
repeat: true
timeline:
  - {at: 0, hold: [handbrake], for: 3}
  - {at: 1, axis: {steer: 0.5, throttle: 1}, for: 4}
  - {at: 2, axis: {steer: -1}}
  - {at: 3, prompt: "rainy night"}
  - {at: 4, reset: true}
"""


def test_a_script_holds_what_it_says_for_as_long_as_it_says() -> None:
    controller = ScriptedController(parse_script(LAPS, "laps.yaml", CAR), CAR)
    both = {"steer": quantise_axis(0.5), "throttle": FULL}
    assert [controller.poll(tick) for tick in range(5)] == [
        Action(frozenset({"handbrake"})),
        Action(frozenset({"handbrake"}), both),
        Action(frozenset({"handbrake"}), {"steer": -FULL, "throttle": FULL}),
        Action(axes=both, prompt="rainy night"),
        Action(axes=both, reset=True),
    ]


def test_a_repeating_script_starts_over_and_any_other_goes_idle() -> None:
    script = parse_script(LAPS, "laps.yaml", CAR)
    repeating = ScriptedController(script, CAR)
    assert script.length == 5
    assert [repeating.poll(tick) for tick in range(5, 10)] == [repeating.poll(tick) for tick in range(5)]
    once = ScriptedController(parse_script(LAPS.replace("true\ntimeline", "false\ntimeline"), "l", CAR), CAR)
    assert once.poll(4) == repeating.poll(4)
    assert once.poll(5) == Action()


def test_a_length_adds_a_pause_at_the_end() -> None:
    script = parse_script(LAPS.replace("repeat: true", "repeat: true\nlength: 8"), "laps.yaml", CAR)
    controller = ScriptedController(script, CAR)
    assert controller.poll(6) == Action()
    assert controller.poll(8) == controller.poll(0) != Action()


def test_a_script_can_be_asked_in_any_order() -> None:
    controller = ScriptedController(parse_script(LAPS, "laps.yaml", CAR), CAR)
    forward = [controller.poll(tick) for tick in range(20)]
    assert [controller.poll(tick) for tick in reversed(range(20))] == forward[::-1]


def test_a_script_made_in_code_is_checked_too() -> None:
    script = Script("mine", (Entry(0, hold=("fly",)),), length=1)
    with pytest.raises(ConfigError, match="unknown action 'fly'"):
        ScriptedController(script, CAR)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{at: 0, hold: [handbreak]}", "unknown action 'handbreak'; did you mean 'handbrake'?"),
        ("{at: 0, axis: {stear: 1}}", "did you mean 'steer'?"),
        ("{at: 0, hold: [steer]}", "'steer' is an axis; write axis: {steer: 1.0}"),
        ("{at: 0, axis: {handbrake: 1}}", "'handbrake' is a button; hold it"),
        ("{at: 0, axis: {steer: 2}}", "less than or equal to 1"),
        ("{at: -1, reset: true}", "greater than or equal to 0"),
        ("{at: 0.5, reset: true}", "integer"),
        ("{at: 0, hold: [handbrake], for: 0}", "greater than or equal to 1"),
        ("{at: 0}", "got none of them"),
        ("{at: 0, reset: true, for: 3}", "`for` goes with hold or axis"),
        ("{at: 0, promt: fog}", "did you mean 'prompt'?"),
        ("{at: 0, hold: [handbrake], ticks: 3}", "unknown key 'ticks'"),
    ],
)
def test_a_mistake_in_a_script_names_its_line(entry: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_script(f"version: 1\ntimeline:\n  - {{at: 0, reset: true}}\n  - {entry}\n", "s.yaml", CAR)
    assert str(caught.value).startswith("s.yaml:4: ")
    assert says in str(caught.value)


WRONG_ENTRIES = {
    "{at: 0, hodl: [left]}": "unknown key 'hodl' in timeline.0; did you mean 'hold'?",
    "{at: -1, hold: [left]}": "timeline.0.at: expected greater than or equal to 0, got -1",
    "{at: soon, hold: [left]}": "timeline.0.at: expected an integer, got 'soon'",
    "{at: 1.5, hold: [left]}": "timeline.0.at: expected an integer, got 1.5",
    "{hold: [left]}": "missing key 'at' in timeline.0",
    "{at: 0}": "expected an entry with hold, axis, prompt or reset, got none of them",
    "{at: 0, hold: left}": "timeline.0.hold: expected a list, got 'left'",
    "{at: 0, for: 0, hold: [left]}": "timeline.0.for: expected greater than or equal to 1, got 0",
    "{at: 0, axis: {steer: 3}}": "timeline.0.axis.steer: expected less than or equal to 1, got 3",
    "{at: 0, reset: maybe}": "timeline.0.reset: expected true or false, got 'maybe'",
    "left": "timeline.0: expected keys with values, got 'left'",
    "[0, left]": "timeline.0: expected keys with values, got [0, 'left']",
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("entry", WRONG_ENTRIES)
def test_a_script_of_which_every_entry_is_wrong_says_what_is_wrong_with_the_first(entry: str, count: int) -> None:
    text = "version: 1\ntimeline:\n" + f"  - {entry}\n" * count
    with pytest.raises(ConfigError) as caught:
        parse_script(text, "s.yaml", CAR)
    assert str(caught.value).startswith("s.yaml:3: ")
    assert WRONG_ENTRIES[entry] in str(caught.value)


@pytest.mark.parametrize(
    ("timeline", "says"), [("[]", "at least 1 item in the list"), ("", "a list"), ("{at: 0}", "a list")]
)
def test_a_script_without_entries_says_so(timeline: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"^s\.yaml:2: timeline: expected {says}"):
        parse_script(f"version: 1\ntimeline: {timeline}\n", "s.yaml", CAR)


def test_a_length_shorter_than_the_timeline_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"laps\.yaml:4: length: expected at least 5 ticks"):
        parse_script(LAPS.replace("repeat: true", "repeat: true\nlength: 4"), "laps.yaml", CAR)


def test_scripts_are_read_from_files(tmp_path: Path) -> None:
    path = tmp_path / "laps.yaml"
    path.write_text(LAPS, encoding="utf-8")
    assert load_script(path, CAR).name == "laps"
    with pytest.raises(ConfigError, match="No such file"):
        load_script(tmp_path / "none.yaml", CAR)


# --- bots and recordings ----------------------------------------------------------------------------------------


def test_a_wandering_bot_does_the_same_for_the_same_seed_in_any_order() -> None:
    forward = [WanderBot(CAR, 3).poll(tick) for tick in range(300)]
    one_bot = WanderBot(CAR, 3)
    assert [one_bot.poll(tick) for tick in reversed(range(300))] == forward[::-1]
    assert [WanderBot(CAR, 4).poll(tick) for tick in range(300)] != forward


def test_a_wandering_bot_uses_every_control_and_speaks_now_and_then() -> None:
    bot = WanderBot(CAR, 0)
    actions = [bot.poll(tick) for tick in range(20 * PROMPT_TICKS)]
    assert {name for action in actions for name in action.buttons} == set(CAR.buttons)
    assert {name for action in actions for name in action.axes} == set(CAR.axes)
    prompts = [action.prompt for action in actions if action.prompt]
    assert 3 <= len(prompts) <= 20
    assert set(prompts) <= {word for group in CAR.prompts.values() for word in group}


def test_a_wandering_bot_moves_its_axes_smoothly() -> None:
    bot = WanderBot(CAR, 1)
    levels = [bot.poll(tick).axes.get("steer", 0) for tick in range(500)]
    assert max(abs(after - before) for before, after in pairwise(levels)) <= 26
    assert min(levels) < -60
    assert max(levels) > 60


def test_a_bot_without_controls_is_idle() -> None:
    assert WanderBot(ActionSpace(), 0).poll(PROMPT_TICKS) == Action()


def test_bots_are_made_by_name() -> None:
    assert isinstance(make_bot("idle", CAR, 0), IdleController)
    assert make_bot("wander", CAR, 3).poll(9) == WanderBot(CAR, 3).poll(9)
    with pytest.raises(ConfigError, match=r"unknown bot 'wandr'; did you mean 'wander'\? \(bots: idle, wander\)"):
        make_bot("wandr", CAR, 0)
    with pytest.raises(ConfigError, match="seed"):
        make_bot("wander", CAR, -1)


class FakeReplay:
    ticks = (PlayedTick(Action(axes={"steer": 5}), 4, 99), PlayedTick(Action(reset=True), 1))


def test_a_recording_plays_its_actions_and_idles_past_their_end() -> None:
    controller = ReplayController(FakeReplay())
    assert [controller.poll(tick) for tick in range(3)] == [Action(axes={"steer": 5}), Action(reset=True), Action()]


def every_controller() -> list[Controller]:
    return [
        Player().controller,
        IdleController(),
        WanderBot(CAR),
        ScriptedController(parse_script(LAPS, "laps.yaml", CAR), CAR),
        ReplayController(FakeReplay()),
    ]


@pytest.mark.parametrize("controller", every_controller(), ids=lambda controller: type(controller).__name__)
def test_every_controller_keeps_the_contract(controller: Controller) -> None:
    for tick in range(2 * PROMPT_TICKS):
        action = controller.poll(tick)
        assert action.buttons <= set(CAR.buttons)
        assert action.axes.keys() <= set(CAR.axes)
        assert all(isinstance(level, int) and 0 < abs(level) <= AXIS_LEVELS for level in action.axes.values())
        assert action.prompt is None or action.prompt.strip()
    assert controller.last_input_ns is None
    controller.close()
    controller.close()
