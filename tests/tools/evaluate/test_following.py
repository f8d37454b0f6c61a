"""Action following: the reader is examined before it judges, and it tells a world that obeys from one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nextframe.runtime.core import Action
from nextframe.tools.evaluate.measures.eye import PATCH_PX, WHOLE_PX, Eye, patches, small
from nextframe.tools.evaluate.measures.following import Effort, Judge, following, judged, learn, watch
from nextframe.tools.evaluate.measures.inverse import (
    KeyScore,
    axis_score,
    key_score,
    labels_of,
)
from nextframe.tools.evaluate.sections import refusals
from nextframe.worlds.evaluation.players import Key, Tape, keys_of
from nextframe.worlds.evaluation.subjects import play
from tests.support.evaluate_doubles import PALETTE, Deaf, Frozen, Late, Strip, pair_with

SMALL = Effort(train_sessions=12, exam_sessions=6, ticks=60, epochs=10, width=8)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def judge() -> Judge:
    """One for all tests: it learns from the teacher, whatever world comes before it later."""
    return learn(pair_with(Strip()), SMALL)


@pytest.fixture(scope="module")
def of_teacher(judge: Judge) -> dict:
    return judged(judge, pair_with(Strip()))


def test_the_teacher_follows_itself_as_well_as_it_can_be_read(of_teacher: dict) -> None:
    for name in ("look +", "look -", "lamp"):
        row = of_teacher["keys"][name]
        assert row["judged"], (name, row)
        assert row["world"] == row["judge"]
        assert row["world"]["f1"] > 0.9
    assert of_teacher["axes"]["look"]["judged"], of_teacher["axes"]["look"]
    assert of_teacher["axes"]["look"]["world"]["gain"] == pytest.approx(1.0, abs=0.15)
    assert of_teacher["axes"]["look"]["world"]["correlation"] > 0.95


def test_wrong_actions_are_read_no_better_than_chance(of_teacher: dict) -> None:
    for name in ("look +", "look -", "lamp"):
        assert of_teacher["keys"][name]["other_actions"]["accuracy"] == pytest.approx(0.5, abs=0.17)
    assert abs(of_teacher["axes"]["look"]["other_actions"]["correlation"]) < 0.35


def test_a_world_that_obeys_another_session_does_not_follow(judge: Judge) -> None:
    report = judged(judge, pair_with(Deaf()))
    assert report["keys"]["lamp"]["judged"], "the judge is examined on the teacher, not on the world"
    assert report["keys"]["lamp"]["world"]["accuracy"] == pytest.approx(0.5, abs=0.17)
    assert abs(report["axes"]["look"]["world"]["correlation"]) < 0.35


def test_a_frozen_world_gets_no_good_number(judge: Judge) -> None:
    report = judged(judge, pair_with(Frozen()))
    assert (report["keys"]["look +"]["world"]["f1"] or 0.0) < 0.5
    assert (report["axes"]["look"]["world"]["correlation"] or 0.0) < 0.5


def test_a_late_world_follows_worse_than_the_teacher(judge: Judge, of_teacher: dict) -> None:
    late = judged(judge, pair_with(Late()))["keys"]["lamp"]["world"]["f1"]
    assert late < of_teacher["keys"]["lamp"]["world"]["f1"] - 0.05


def test_a_control_that_shows_nothing_is_refused_with_the_reason() -> None:
    class Dark(Strip):
        def step(self, actions: list[Action]) -> None:  # type: ignore[override]
            super().step([Action(axes=a.axes) for a in actions])

    report = following(replace(pair_with(Dark()), teacher=Dark()), Effort(4, 2, 40, 2, 4))
    row = report["keys"]["lamp"]
    assert not row["judged"]
    assert "world" not in row
    assert any(line.startswith("key lamp: not judged, the reader") for line in refusals(report))


def test_the_clip_and_the_action_of_a_tick_belong_together() -> None:
    """The lamp is lit in one tick only: the clip of that tick is the one whose third picture is bright."""
    lit = 7
    tape = Tape([[Action(frozenset({"lamp"} if tick == lit else ()))] for tick in range(16)])
    watched, _ = watch(Strip(), [1], pair_with(Strip()), 16, tape)
    said = [index for index, action in enumerate(watched.actions) if action.buttons]
    third = watched.clips[:, 6:9, 21:26, 1:6].astype(int).min((1, 2, 3))
    assert said == [int(third.argmax())]
    assert third.max() == 255
    assert len(watched.clips) == len(watched.actions) == 16 - 2


def test_an_eye_sees_nothing_before_it_has_four_pictures() -> None:
    subject, seen = Strip(), []
    eye = Eye(subject)
    play(subject, [1, 2], Tape([[Action()] * 2]), 5, lambda _: seen.append(eye.look()))
    assert [clip is None for clip in seen] == [True, True, True, False, False, False]
    assert seen[3].shape == (2, 12, PATCH_PX, PATCH_PX)


def test_a_patch_turns_with_the_pose() -> None:
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    frame[0, 32:34, 40:44] = 255  # to the right of the middle
    ahead, turned = (patches(frame, np.array([[32.0, 32.5, angle]])) for angle in (0.0, np.pi / 2))
    assert ahead[0, 0, 15:17, 24:].max() == 255
    assert turned[0, 0, :8, 15:17].max() == 255, "what is to the right lies to the left of who looks down, y down"


def test_a_whole_picture_keeps_its_mean() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (2, 96, 128, 3), dtype=np.uint8)
    assert small(frame).shape == (2, 3, WHOLE_PX, WHOLE_PX)
    assert small(frame).mean() == pytest.approx(frame.mean(), abs=1.0)


# --- scores -------------------------------------------------------------------------------------------------------


def test_a_key_score_leaves_out_what_the_reader_is_not_sure_of() -> None:
    truth = np.repeat([1.0, 0.0], 40)
    said = truth.copy()
    said[::4] = 0.5
    score = key_score(said, truth)
    assert score == KeyScore(1.0, 1.0, 0.75, 60)
    assert score.may_judge
    assert key_score(1 - truth, truth).f1 == 0.0


def test_half_pressed_keys_are_not_asked() -> None:
    labels = labels_of([Action(axes={"look": level}) for level in (127, 50, 10, -127)], keys_of(PALETTE)[:2], ["look"])
    assert np.array_equal(labels.keys, [[1, 0], [np.nan, 0], [0, 0], [0, 1]], equal_nan=True)
    assert labels.axes[:, 0] == pytest.approx([1, 0.394, 0.079, -1], abs=1e-3)
    assert Key("lamp", 0).held(Action(frozenset({"lamp"}))) == 1.0


@pytest.mark.parametrize(("accuracy", "coverage", "may"), [(0.95, 0.25, True), (0.949, 1.0, False), (1.0, 0.24, False)])
def test_below_the_bounds_no_reader_may_judge(accuracy: float, coverage: float, may: bool) -> None:
    assert KeyScore(accuracy, 1.0, coverage, 100).may_judge is may


def test_gain_and_correlation_of_an_axis_are_what_they_are_called() -> None:
    truth = np.linspace(-1, 1, 60)
    score = axis_score(0.5 * truth + 0.1, np.zeros(60), truth)
    assert (score.gain, score.correlation) == (pytest.approx(0.5), pytest.approx(1.0))
    unsure = axis_score(truth, np.ones(60), truth)
    assert (unsure.gain, unsure.coverage, unsure.may_judge) == (None, 0.0, False)
