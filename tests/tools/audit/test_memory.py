"""Claims about what persists: how long a past input shows, how far back memory reads, what a prompt leaves of it."""

from __future__ import annotations

import json

import pytest

from nextframe.runtime.core import Action, ManualClock
from nextframe.tools.audit.measure import quiet
from nextframe.tools.audit.questions.evidence import Memory, NextFrame
from nextframe.tools.audit.questions.memory import memory_test
from nextframe.tools.audit.questions.next_frame import NextFrameResult, next_frame_test
from nextframe.tools.audit.questions.options import AuditOptions
from nextframe.tools.audit.targets.contract import Shown, Target
from nextframe.tools.audit.targets.local import WorldTarget
from nextframe.tools.lab.audit.references import InteractiveTarget, StreamingTarget
from nextframe.tools.lab.audit.traps import ForgettingTarget
from nextframe.worlds.toy.world import ToyWorld
from tests.support.audit_doubles import Deaf, Lamp, NoisyLive, Still, Tape, maker, options, player
from tests.support.worlds.small import SMALL_WINDOW_TICKS, small_neural


def probed(target: Target, clock: ManualClock, given: AuditOptions | None = None) -> Memory:
    asked = player(target, clock)
    given = given or options(clock)
    return memory_test(asked, given, next_frame_test(asked, given, quiet), quiet)


class ForgetfulTape(Tape):
    """A new prompt clears the tape."""

    def react(self, action: Action) -> None:
        if action.prompt is not None:
            self.begin()
        super().react(action)


class UnreadMemory(WorldTarget):
    """Says that it forgot a frame, and kept it."""

    def corrupt(self, snapshot: object, ticks_back: int) -> object | None:
        return None if super().corrupt(snapshot, ticks_back) is None else snapshot


# --- persistence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ticks", [8, 21])
def test_a_target_that_remembers_so_many_ticks_is_found_to_remember_exactly_these(ticks: int) -> None:
    clock = ManualClock()
    found = probed(Tape(clock, ticks), clock)
    assert (found.effective_memory_ticks, found.at_least) == (ticks, False)
    assert found.curve[0].felt
    assert not found.curve[-1].felt
    json.dumps(found.as_json())


@pytest.mark.parametrize("delay", [0, 5])
def test_a_lamp_remembers_nothing_and_being_late_is_not_remembering(delay: int) -> None:
    clock = ManualClock()
    assert probed(Lamp(clock, delay), clock).effective_memory_ticks == 0


def test_a_world_with_a_position_still_shows_an_input_when_the_probe_ends() -> None:
    clock = ManualClock()
    found = probed(InteractiveTarget(maker(clock), "live"), clock)
    assert found.at_least
    assert found.effective_memory_ticks == options(clock).memory_ticks


def test_a_streamer_carries_its_state_from_segment_to_segment() -> None:
    clock = ManualClock()
    found = probed(StreamingTarget(maker(clock)), clock)
    assert found.at_least
    assert found.survives_prompt_change


@pytest.mark.parametrize("kind", [Still, Deaf, NoisyLive])
def test_where_the_past_cannot_be_changed_or_compared_the_reason_is_given(kind: type) -> None:
    clock = ManualClock()
    found = probed(kind(clock), clock)
    assert found.effective_memory_ticks is None
    assert found.survives_prompt_change is None
    assert found.reason


# --- prompts ---------------------------------------------------------------------------------------------------------


def test_what_happened_survives_a_new_prompt_in_a_live_world() -> None:
    clock = ManualClock()
    assert probed(InteractiveTarget(maker(clock), "live"), clock).survives_prompt_change is True


@pytest.mark.parametrize("kind", ["world", "tape"])
def test_a_target_that_begins_anew_at_a_prompt_is_caught(kind: str) -> None:
    clock = ManualClock()
    target: Target = ForgettingTarget(maker(clock)) if kind == "world" else ForgetfulTape(clock, 30)
    found = probed(target, clock)
    assert found.survives_prompt_change is False
    assert found.effective_memory_ticks, "without a prompt it does remember"


def test_a_tape_that_is_not_cleared_survives_a_prompt() -> None:
    clock = ManualClock()
    assert probed(Tape(clock, 30), clock).survives_prompt_change is True


def test_too_short_a_memory_says_nothing_about_prompts() -> None:
    clock = ManualClock()
    found = probed(Lamp(clock), clock)
    assert found.survives_prompt_change is None
    assert "no prompts" in found.prompt_reason


# --- reach -----------------------------------------------------------------------------------------------------------


def reached(target: Target, clock: ManualClock) -> Memory:
    """The probe of reach alone: of a target of which nothing else is known."""
    unknown = NextFrameResult(NextFrame(None, None, "none", 0, 0))
    return memory_test(player(target, clock), options(clock), unknown, quiet)


def test_erasing_a_frame_of_memory_is_felt_as_far_back_as_the_memory_is_read() -> None:
    clock = ManualClock()
    found = reached(WorldTarget(small_neural(), clock), clock)
    assert found.reach_ticks is not None
    assert 0 < found.reach_ticks <= SMALL_WINDOW_TICKS
    assert {point.ticks_back for point in found.reach_curve} <= set(range(1, SMALL_WINDOW_TICKS + 1))


def test_a_memory_that_is_held_but_not_erased_reaches_nowhere() -> None:
    clock = ManualClock()
    assert reached(UnreadMemory(small_neural(), clock), clock).reach_ticks == 0


def test_a_target_without_rolling_memory_has_no_reach() -> None:
    clock = ManualClock()
    assert reached(WorldTarget(ToyWorld(clock), clock), clock).reach_ticks is None


# --- away and back ---------------------------------------------------------------------------------------------------


def test_away_and_back_is_held_against_a_simulator_where_there_is_one() -> None:
    clock = ManualClock()

    def truth() -> Target:
        return WorldTarget(ToyWorld(clock), clock)

    given = AuditOptions(clock=clock, truth=truth)
    found = probed(InteractiveTarget(maker(clock), "live"), clock, given).turn_back
    assert found is not None
    assert found.truth == found.truth_away == 99, "the very same world is equal to the last bit"
    assert found.truth_returned == pytest.approx(found.returned)


def test_another_world_is_further_from_the_simulator() -> None:
    clock = ManualClock()

    class Darker(InteractiveTarget):
        def _show(self, frame: object) -> Shown:
            shown = super()._show(frame)  # type: ignore[arg-type]
            return Shown(shown.frame // 2, shown.at_ns)

    given = AuditOptions(clock=clock, truth=lambda: WorldTarget(ToyWorld(clock), clock))
    found = probed(Darker(maker(clock), "darker"), clock, given).turn_back
    assert found is not None
    assert found.truth is not None
    assert found.truth < 30


def test_a_target_without_a_two_way_axis_cannot_turn_back() -> None:
    clock = ManualClock()
    assert probed(Tape(clock, 8), clock).turn_back is None
