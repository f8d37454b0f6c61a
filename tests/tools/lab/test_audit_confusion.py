"""Claims about the audit as a whole: no trap fools it, and it notices when our own world answers a frame late."""

from __future__ import annotations

import pytest

from nextframe.runtime.core import ManualClock, World
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.tools.lab.audit.confusion import SUBJECTS, Subject, Trial, as_text, matrix, try_subject
from nextframe.tools.lab.audit.own import next_frame_holds
from nextframe.worlds.toy.world import ToyWorld
from tests.support.worlds.small import small_neural

FULL_SEEDS = range(20)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_each_target_is_taken_for_what_it_is(subject: Subject, seed: int) -> None:
    assert try_subject(subject, seed).wrong == ()


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_each_target_is_taken_for_what_it_is_with_every_seed(subject: Subject) -> None:
    trials = [try_subject(subject, seed) for seed in FULL_SEEDS]
    assert not [trial for trial in trials if trial.wrong], "\n" + as_text(trials)


def test_a_target_under_a_false_name_is_noticed() -> None:
    by_name = {subject.name: subject for subject in SUBJECTS}
    disguised = Subject("disguised", by_name["streaming"].make, "interactive", true=("next-frame control",))
    wrong = try_subject(disguised, 0).wrong
    assert len(wrong) == 2
    assert wrong[0].startswith("category streaming")
    assert "'next-frame control' refuted, not proven" in wrong[1]


def test_the_matrix_counts_what_each_target_was_taken_for() -> None:
    trials = [
        Trial("hud overlay", 0, "streaming", "streaming", ()),
        Trial("hud overlay", 1, "interactive", "streaming", ("category interactive: it was fooled",)),
    ]
    assert matrix(trials) == {"hud overlay": {"streaming": 1, "interactive": 1}}
    text = as_text(trials)
    assert "WRONG hud overlay, seed 1: category interactive" in text
    assert text.endswith("2 audits, 1 wrong")


# --- our own world -----------------------------------------------------------------------------------------------


def circuit(clock: ManualClock) -> World:
    return load_world(find_world("circuit"), clock)


def test_the_next_frame_of_circuit_changes_with_the_input() -> None:
    found = next_frame_holds(circuit, axes=("steer", "throttle"))
    assert found.holds, found.sentence


def test_one_added_frame_of_delay_in_circuit_is_caught() -> None:
    found = next_frame_holds(circuit, axes=("steer",), added_delay_frames=1)
    assert not found.holds
    assert found.sentence == "later than the next frame: steer + in frame 2, steer - in frame 2"


@pytest.mark.slow
def test_every_control_of_circuit_that_shows_shows_in_the_next_frame() -> None:
    found = next_frame_holds(circuit)
    assert found.holds, found.sentence


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_the_check_counts_added_frames_in_any_world(delay: int) -> None:
    found = next_frame_holds(ToyWorld, axes=("throttle",), added_delay_frames=delay)
    assert found.holds == (delay == 0)
    assert delay == 0 or f"throttle + in frame {1 + delay}" in found.sentence


def test_a_network_that_was_never_trained_is_held_to_the_same() -> None:
    assert next_frame_holds(lambda clock: small_neural(), axes=("steer",)).holds


def test_a_world_that_does_not_answer_does_not_hold() -> None:
    found = next_frame_holds(ToyWorld, axes=("no such axis",))
    assert not found.holds
    assert found.sentence.startswith("no input changed the picture")
