"""Claims about the targets the audit is held against: each really is what its docstring says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nextframe.runtime.core import IDLE, Action, ManualClock
from nextframe.tools.audit.targets.contract import Shown, Target
from nextframe.tools.lab.audit.references import (
    BatchTarget,
    InteractiveTarget,
    Maker,
    StreamingTarget,
    batch,
    interactive,
    streaming,
)
from nextframe.tools.lab.audit.traps import (
    COPIES,
    HIDDEN_PAUSE_NS,
    HUD_PX,
    DelayedTarget,
    DuplicatingTarget,
    FaceTarget,
    ForgettingTarget,
    HudTarget,
    NoisyTarget,
    PausingTarget,
)
from nextframe.worlds.toy.world import ToyWorld
from tests.support.worlds.small import small_neural

MS = 1_000_000
COST_NS = 5 * MS
GO = Action(axes={"throttle": 127, "steer": 127})
NIGHT = Action(prompt="night")


def maker() -> Maker:
    clock = ManualClock()
    return Maker(ToyWorld(clock), clock, COST_NS)


def play(target: Target, actions: list[Action], seed: int = 0) -> list[Shown]:
    return [target.start(seed), *(target.step(action) for action in actions)]


def first_change(make: Callable[[], Target], before: list[Action], action: Action, frames: int) -> int | None:
    """The first frame after `before` that differs between holding `action` and doing nothing; 1 is the next one."""
    pressed = play(make(), before + [action] * frames)[len(before) + 1 :]
    idle = play(make(), before + [IDLE] * frames)[len(before) + 1 :]
    pairs = zip(pressed, idle, strict=True)
    return next((n for n, (a, b) in enumerate(pairs, 1) if not np.array_equal(a.frame, b.frame)), None)


# --- the references ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 3, 17])
def test_the_interactive_one_changes_the_very_next_frame(before: int) -> None:
    assert first_change(lambda: InteractiveTarget(maker(), "x"), [IDLE] * before, GO, 3) == 1


@pytest.mark.parametrize("phase", range(0, 20, 3))
def test_the_streaming_one_answers_after_one_to_two_segments(phase: int) -> None:
    frames = first_change(lambda: StreamingTarget(maker(), segment_ticks=10), [IDLE] * phase, GO, 25)
    assert frames is not None
    assert 10 < frames <= 20


def test_the_streaming_one_keeps_its_state_from_segment_to_segment() -> None:
    shown = play(StreamingTarget(maker(), segment_ticks=5), [GO] * 40)
    live = play(InteractiveTarget(maker(), "x"), [IDLE] * 5 + [GO] * 40)
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(shown, live, strict=False))


def test_the_streaming_one_keeps_a_prompt_until_a_segment_takes_it_and_says_it_once() -> None:
    target = StreamingTarget(maker(), segment_ticks=5)
    shown = play(target, [IDLE, NIGHT, *[IDLE] * 20])
    live = play(InteractiveTarget(maker(), "x"), [*[IDLE] * 10, NIGHT, *[IDLE] * 11])
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(shown, live, strict=True))


def test_nothing_reaches_a_clip_of_the_batch_one_while_it_plays() -> None:
    assert first_change(lambda: BatchTarget(maker(), clip_ticks=30), [IDLE], GO, 28) is None


def test_the_next_clip_of_the_batch_one_is_what_was_asked_for_and_begins_anew() -> None:
    shown = play(BatchTarget(maker(), clip_ticks=30), [IDLE] * 29 + [GO] * 30)
    live = play(InteractiveTarget(maker(), "x"), [GO] * 29)
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(shown[30:], live, strict=True))


def test_the_batch_one_makes_the_clip_before_it_shows_anything() -> None:
    work = maker()
    target = BatchTarget(work, clip_ticks=30)
    began_ns = work.clock.now_ns()
    assert target.start(0).at_ns - began_ns == 29 * COST_NS
    times = {target.step(IDLE).at_ns for _ in range(29)}
    assert len(times) == 1
    assert target.step(IDLE).at_ns - times.pop() == 29 * COST_NS


@pytest.mark.parametrize("make", [interactive, streaming, batch])
def test_a_reference_shows_the_same_for_the_same_seed_and_inputs(make: Callable[..., Target]) -> None:
    target = make(ToyWorld(), ManualClock())
    actions = [GO, IDLE, NIGHT, GO] * 8
    first, second, other = play(target, actions, 3), play(target, actions, 3), play(target, actions, 4)
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(first, second, strict=True))
    assert any(not np.array_equal(a.frame, b.frame) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("make", [interactive, streaming, batch])
def test_the_references_play_a_neural_world_as_well(make: Callable[..., Target]) -> None:
    target = make(small_neural(), ManualClock())
    shown = play(target, [Action(axes={"throttle": 127})] * 4)
    assert {picture.frame.shape for picture in shown} == {(96, 128, 3)}
    target.close()


# --- the traps ---------------------------------------------------------------------------------------------------


def test_the_hud_answers_at_once_and_the_world_under_it_does_not() -> None:
    def make() -> Target:
        return HudTarget(maker())

    assert first_change(make, [IDLE] * 5, GO, 5) == 1
    pressed, idle = play(make(), [GO] * 10), play(make(), [IDLE] * 10)
    below = slice(0, -2 - HUD_PX)
    assert all(np.array_equal(a.frame[below], b.frame[below]) for a, b in zip(pressed, idle, strict=True))


def test_the_noisy_one_is_never_the_same_twice_and_never_answers() -> None:
    target = NoisyTarget(maker())
    first, second = play(target, [IDLE] * 5), play(target, [IDLE] * 5)
    assert not any(np.array_equal(a.frame, b.frame) for a, b in zip(first, second, strict=True))
    pressed, idle = play(NoisyTarget(maker()), [GO] * 20), play(NoisyTarget(maker()), [IDLE] * 20)
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(pressed, idle, strict=True))


def test_the_duplicating_one_shows_each_frame_three_times_at_three_times_the_rate() -> None:
    target = DuplicatingTarget(maker())
    shown = play(target, [GO] * (COPIES * 10 - 1))
    assert target.tick_hz == 60
    assert len({picture.frame.tobytes() for picture in shown}) == 10


def test_the_pausing_one_stands_still_when_the_control_changes_and_only_then() -> None:
    work = maker()
    shown = play(PausingTarget(work), [IDLE, GO, GO, IDLE, NIGHT, IDLE])
    waits_ns = np.diff([picture.at_ns for picture in shown]).tolist()
    assert waits_ns == [COST_NS + HIDDEN_PAUSE_NS * stop for stop in (0, 1, 0, 1, 1, 0)]


def test_the_forgetting_one_begins_anew_on_a_prompt() -> None:
    shown = play(ForgettingTarget(maker()), [GO] * 10 + [NIGHT, IDLE])
    anew = play(InteractiveTarget(maker(), "x"), [NIGHT, IDLE])
    assert np.array_equal(shown[-1].frame, anew[-1].frame)
    lives_on = play(InteractiveTarget(maker(), "x"), [GO] * 10 + [NIGHT, IDLE])
    assert not np.array_equal(shown[-1].frame, lives_on[-1].frame)


@pytest.mark.parametrize("delay", [1, 2])
def test_the_delayed_one_answers_so_many_frames_later(delay: int) -> None:
    assert first_change(lambda: DelayedTarget(maker(), delay), [IDLE] * 4, GO, 6) == 1 + delay


def test_the_face_answers_at_once_and_only_in_small_regions() -> None:
    def make() -> Target:
        return FaceTarget(ManualClock())

    look = Action(buttons=frozenset({"talk"}), axes={"look_x": 127})
    assert first_change(make, [IDLE] * 3, look, 3) == 1
    changed = play(make(), [look] * 20)[-1].frame != play(make(), [IDLE] * 20, seed=3)[-1].frame
    assert 0.005 < changed.any(axis=2).mean() < 0.25
