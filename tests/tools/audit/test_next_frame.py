"""Claims about the next-frame test: which frame a control changes, in what is shown and in spite of what is shown."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from nextframe.runtime.core import Action, ActionSpace, ManualClock, NextframeError
from nextframe.tools.audit.measure import quiet
from nextframe.tools.audit.questions import next_frame
from nextframe.tools.audit.questions.correlation import WARM_UP_TICKS, correlations, telegraph
from nextframe.tools.audit.questions.evidence import ERROR_RATE, NextFrame
from nextframe.tools.audit.questions.frames import as_overlay, coarse, differs, echo_mask
from nextframe.tools.audit.questions.next_frame import NextFrameResult, next_frame_test
from nextframe.tools.audit.questions.options import AuditOptions
from nextframe.tools.audit.questions.statistics import largest_difference, randomisation_test
from nextframe.tools.audit.targets.contract import Target
from nextframe.tools.audit.targets.controls import controls_of, preroll
from nextframe.tools.audit.targets.local import WorldTarget
from nextframe.tools.lab.audit.references import BatchTarget, InteractiveTarget, StreamingTarget
from nextframe.tools.lab.audit.traps import DelayedTarget, DuplicatingTarget, HudTarget, PausingTarget
from nextframe.worlds.toy.world import ToyWorld
from tests.support.audit_doubles import (
    Deaf,
    LateRestless,
    NoControls,
    NoisyLive,
    Restless,
    Still,
    Tape,
    Touchy,
    maker,
    options,
    player,
)


def result_of(target: Target, clock: ManualClock, seed: int = 0) -> NextFrameResult:
    return next_frame_test(player(target, clock), options(clock, seed), quiet)


def evidence_of(target: Target, clock: ManualClock, seed: int = 0) -> NextFrame:
    return result_of(target, clock, seed).evidence


# --- repeatable targets ----------------------------------------------------------------------------------------------


def test_a_live_world_answers_in_the_very_next_frame() -> None:
    clock = ManualClock()
    found = evidence_of(InteractiveTarget(maker(clock), "live"), clock)
    assert (found.changes, found.first_changed_frame, found.method) == (True, 1, "counterfactual")
    assert found.noise_floor == found.no_op_effect == 0
    assert found.effect > 0
    assert found.p_value is not None
    assert found.p_value <= ERROR_RATE
    assert not found.white_box
    json.dumps(found.as_json())


def test_a_white_box_and_a_black_box_of_one_world_are_found_the_same() -> None:
    clock = ManualClock()
    black = evidence_of(InteractiveTarget(maker(clock), "live"), clock)
    white = evidence_of(WorldTarget(ToyWorld(clock), clock), clock)
    assert white.white_box
    assert [response.first_changed_frame for response in white.per_action] == [
        response.first_changed_frame for response in black.per_action
    ]
    assert white.effect_by_frame == pytest.approx(black.effect_by_frame)


@pytest.mark.parametrize("delay", [1, 3])
def test_added_frames_of_delay_are_counted_exactly(delay: int) -> None:
    clock = ManualClock()
    found = evidence_of(DelayedTarget(maker(clock), delay), clock)
    assert found.first_changed_frame == delay + 1
    assert found.response_ms is not None
    assert found.response_ms.p50 == pytest.approx(delay * 50 + 10), "frames at 20 Hz, then the answer itself"


def test_a_streamer_answers_after_a_segment_at_every_phase_of_it() -> None:
    clock = ManualClock()
    found = evidence_of(StreamingTarget(maker(clock), segment_ticks=20), clock)
    assert found.changes
    assert found.response_frames is not None
    assert 20 < found.response_frames.p50 <= found.response_frames.p95 <= 40


def test_a_clip_made_before_it_is_shown_does_not_answer() -> None:
    clock = ManualClock()
    found = evidence_of(BatchTarget(maker(clock)), clock)
    assert found.changes is False
    assert found.first_changed_frame is None
    assert "no control changed the picture within 90 frames" in found.reason


def test_a_pause_before_the_answer_is_in_the_milliseconds_not_in_the_frames() -> None:
    clock = ManualClock()
    found = evidence_of(PausingTarget(maker(clock), pause_ns=600_000_000), clock)
    assert found.first_changed_frame == 1
    assert found.response_ms is not None
    assert found.response_ms.p50 == pytest.approx(610)


def test_copies_of_frames_are_counted_as_the_frames_they_are() -> None:
    clock = ManualClock()
    found = evidence_of(DuplicatingTarget(maker(clock)), clock)
    assert found.response_frames is not None
    assert 1 <= found.response_frames.p50 <= found.response_frames.p95 <= 3


def test_every_control_is_named_with_its_own_answer() -> None:
    clock = ManualClock()
    found = evidence_of(InteractiveTarget(maker(clock), "live"), clock)
    by_name = {response.control: response for response in found.per_action}
    assert by_name.keys() == {"steer +", "steer -", "throttle +", "throttle -", "brake", "light: night"}
    assert by_name["throttle +"].answered == 1
    assert by_name["light: night"].effect > by_name["throttle +"].effect


def test_the_pictures_show_the_same_moment_with_a_control_and_without() -> None:
    clock = ManualClock()
    pictures = result_of(InteractiveTarget(maker(clock), "live"), clock).pictures
    assert pictures is not None
    assert pictures.control == "light: night"
    assert len(pictures.a) == len(pictures.b) > 1
    assert differs(pictures.a[0], pictures.b[0])
    assert pictures.before.shape == pictures.a[0].shape


# --- what must not be taken for an answer ----------------------------------------------------------------------------


def test_a_display_of_the_keys_is_no_answer() -> None:
    clock = ManualClock()
    found = evidence_of(HudTarget(maker(clock)), clock)
    assert found.first_changed_frame is not None
    assert found.first_changed_frame > 20
    assert found.overlay_share > 0


def test_without_leaving_the_display_out_it_would_be_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_frame, "as_overlay", lambda mask: None)
    clock = ManualClock()
    assert evidence_of(HudTarget(maker(clock)), clock).first_changed_frame == 1


def test_a_target_that_reacts_to_being_spoken_to_is_not_called_reacting() -> None:
    clock = ManualClock()
    found = evidence_of(Touchy(clock), clock)
    assert found.changes is None
    assert "neutral input" in found.reason


def test_a_picture_that_never_changes_does_not_answer() -> None:
    clock = ManualClock()
    assert evidence_of(Still(clock), clock).changes is False


def test_a_target_without_controls_is_insufficient_not_a_failure() -> None:
    clock = ManualClock()
    found = evidence_of(NoControls(clock), clock)
    assert found.changes is None
    assert "no controls" in found.reason


def test_a_pixel_or_a_level_is_no_change() -> None:
    frame = np.full((20, 20, 3), 100, np.uint8)
    one_level, three_pixels, four_pixels = frame + 1, frame.copy(), frame.copy()
    three_pixels[0, :3], four_pixels[0, :4] = 200, 200
    assert not differs(frame, one_level.astype(np.uint8))
    assert not differs(frame, three_pixels)
    assert differs(frame, four_pixels)


def test_what_echoes_a_key_is_told_from_what_happens_in_the_world() -> None:
    def run(pressed: bool, car_at: int) -> list[np.ndarray]:
        frames = []
        for tick in range(10):
            frame = np.zeros((30, 40, 3), np.uint8)
            car = car_at + tick + (min(tick + 1, 4) if pressed else 0)
            frame[10:14, car : car + 4] = 200
            if pressed and tick < 4:
                frame[26:29, 2:6] = 255
            frames.append(frame)
        return frames

    mask = echo_mask([(run(True, at), run(False, at)) for at in (2, 9, 17)], 4, 1)
    assert mask[26:29, 2:6].all()
    assert mask.sum() == 12
    wider = as_overlay(mask)
    assert wider is not None
    assert wider.sum() == 5 * 6


def test_a_tint_that_comes_and_goes_is_no_display() -> None:
    def run(strength: list[int]) -> list[np.ndarray]:
        frames = []
        for level in strength:
            frame = np.full((30, 40, 3), 90, np.uint8)
            frame[:5] += np.uint8(level)
            frames.append(frame)
        return frames

    fading, sudden = [6, 12, 18, 24, 18, 12, 6, 0, 0, 0], [24, 24, 24, 24, 0, 0, 0, 0, 0, 0]
    still = run([0] * 10)
    assert not echo_mask([(run(fading), still)] * 3, 4, 1).any()
    assert echo_mask([(run(sudden), still)] * 3, 4, 1).sum() == 5 * 40


def test_a_whole_picture_that_follows_a_key_is_no_overlay() -> None:
    assert as_overlay(np.ones((10, 10), dtype=bool)) is None
    assert as_overlay(np.zeros((10, 10), dtype=bool)) is None


# --- targets that are never the same twice ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_a_live_world_under_noise_is_found_against_the_noise(seed: int) -> None:
    clock = ManualClock()
    found = evidence_of(NoisyLive(clock), clock, seed)
    assert (found.changes, found.first_changed_frame, found.method) == (True, 1, "counterfactual")
    assert found.noise_floor > 0
    frames = [response.first_changed_frame for response in found.per_action]
    assert max(frame or 99 for frame in frames) > 1, "a weak control stays in the noise for longer"


@pytest.mark.parametrize(("kind", "frame"), [(Restless, 1), (LateRestless, 3)])
def test_where_no_moment_comes_twice_random_flips_find_the_frame(kind: type[Deaf], frame: int) -> None:
    clock = ManualClock()
    found = evidence_of(kind(clock), clock)
    assert (found.changes, found.first_changed_frame, found.method) == (True, frame, "statistical")
    assert found.repeats >= 40, "flips"


def test_where_no_moment_comes_twice_and_nothing_answers_the_audit_does_not_know() -> None:
    clock = ManualClock()
    found = evidence_of(Deaf(clock), clock)
    assert (found.changes, found.first_changed_frame) == (None, None)
    assert "differ by" in found.reason


# --- the statistics --------------------------------------------------------------------------------------------------


def test_six_against_six_without_overlap_is_one_of_924_groupings() -> None:
    _, _, p_value = largest_difference(np.ones((6, 1)), np.zeros((6, 1)), np.random.default_rng(0))
    assert p_value == pytest.approx(1 / 924)


def test_equal_groups_are_not_told_apart() -> None:
    _, _, p_value = largest_difference(np.zeros((6, 4)), np.zeros((6, 4)), np.random.default_rng(0))
    assert p_value == 1


def test_chance_is_called_an_answer_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(7)
    found = [largest_difference(rng.normal(size=(6, 30)), rng.normal(size=(6, 30)), rng)[2] <= 0.05 for _ in range(200)]
    assert sum(found) <= 20, "10 expected of 200 at 5 %"


def test_flips_that_do_nothing_are_called_an_answer_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(60):
        walk = np.cumsum(rng.normal(size=(200, 5)), axis=0)  # what moves slowly correlates with anything
        false += p_of(walk, telegraph(200 + WARM_UP_TICKS, 6, rng), rng) <= 0.05
    assert false <= 8, "3 expected of 60 at 5 %"


def test_flips_that_do_something_are_found_at_their_lag() -> None:
    rng = np.random.default_rng(4)
    pressed = telegraph(300 + WARM_UP_TICKS, 6, rng)
    features = rng.normal(size=(300, 5))
    features[:, 2] += np.roll(pressed, 4)[WARM_UP_TICKS:] * 2
    found = correlations(features - features.mean(axis=0), pressed, 20, 6)
    assert found[:4].max() < 0.5 * found.max()
    assert int(found.argmax()) == 4
    assert p_of(features - features.mean(axis=0), pressed, rng) <= 0.01


def p_of(features: np.ndarray, pressed: np.ndarray, rng: np.random.Generator) -> float:
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    ticks = len(pressed)
    return randomisation_test(
        lambda drawn: correlations(scaled, drawn, 20, 6), pressed, lambda: telegraph(ticks, 6, rng), 200
    )[2]


# --- what is tried ---------------------------------------------------------------------------------------------------


def test_controls_take_turns_when_there_is_no_room_for_all() -> None:
    space = ActionSpace(buttons=("jump", "fire"), axes=("x", "y"), prompts={"mood": ("calm", "glad", "sad")})
    names = [control.name for control in controls_of(space, 6)]
    assert names == ["x +", "jump", "mood: glad", "y +", "fire", "mood: sad"]
    assert len(controls_of(space, 99)) == 8


def test_a_prompt_is_said_once_and_taken_back_by_the_first_word() -> None:
    (control,) = controls_of(ActionSpace(prompts={"mood": ("calm", "glad")}), 9)
    assert [action.prompt for action in control.pulse(3, 3)] == ["glad", None, None, "calm", None, None]


def test_moments_lie_at_different_phases_and_are_the_same_for_the_same_seed() -> None:
    space = ToyWorld().info.actions
    ways = [preroll(space, seed) for seed in range(12)]
    assert len({len(way) for way in ways}) > 4
    assert ways[3] == preroll(space, 3)
    assert ways[0][0] == Action(prompt="day")


def test_a_coarse_picture_averages_noise_out_and_keeps_the_colour() -> None:
    rng = np.random.default_rng(0)
    frame = np.clip(100 + rng.normal(0, 20, (96, 96, 3)), 0, 255).astype(np.uint8)
    assert np.abs(coarse(frame) - 100).max() < 12
    assert coarse(frame).shape == (144, 3)


def test_too_few_repeats_to_prove_anything_are_refused() -> None:
    with pytest.raises(NextframeError, match="at least 5"):
        AuditOptions(repeats=3)
    assert replace(AuditOptions(), quick=False).moments > AuditOptions().moments


def test_a_control_that_is_shown_elsewhere_in_every_session_is_no_display() -> None:
    clock = ManualClock()
    found = evidence_of(Tape(clock, 9), clock)
    assert found.first_changed_frame == 1
    assert found.overlay_share == 0
