"""Claims about the SyncTest: sound worlds come out the same at every depth, and the command says so in words and JSON.

What it finds when something is wrong is in `test_synctest_faults`.
"""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import pytest

from nextframe.runtime.core import Action, ManualClock, NextframeError, Snapshot, TickPlan, TickResult
from nextframe.runtime.timeline.synctest import busy_actions, mixed_plans
from nextframe.tools.check.synctest import SyncTestOptions, print_result, run_synctest
from nextframe.worlds.toy.world import ToyWorld
from tests.support.synctests import DEPTH, WHEN, Tampered, another_rung, circuit, run, toy
from tests.support.worlds.small import SMALL_WINDOW_TICKS, small_neural

# --- sound worlds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 7, 33])
def test_the_toy_world_is_the_same_twice(depth: int) -> None:
    result = run(toy(), depth=depth, ticks=90)
    assert result.mismatch is None
    assert result.rollbacks == 90 - depth + 1
    assert result.resimulated_ticks == depth * result.rollbacks
    assert result.coverage.prompts == 12
    assert result.coverage.resets == 3
    assert set(result.coverage.rungs) == {1, 2, 4}
    assert result.coverage.cut_ticks > 10
    assert not result.coverage.unchanged_parts


@pytest.mark.parametrize("depth", [1, 3, SMALL_WINDOW_TICKS + 1])
@pytest.mark.bitexact
def test_a_neural_world_is_the_same_twice(depth: int) -> None:
    result = run(small_neural(), depth=depth, ticks=40, stride=3)
    assert result.mismatch is None
    assert not result.coverage.unchanged_parts


@pytest.mark.parametrize(("depth", "ticks", "stride"), [(1, 30, 1), (7, 31, 6), (33, 36, 3)])
def test_the_circuit_is_the_same_twice(depth: int, ticks: int, stride: int) -> None:
    result = run(circuit(), depth=depth, ticks=ticks, stride=stride)
    assert result.mismatch is None
    assert result.rollbacks > 1
    assert result.coverage.resets == 1
    assert not result.coverage.unchanged_parts


def test_rolling_back_changes_nothing_of_what_is_played() -> None:
    shallow, deep = (run(toy(), depth=depth, ticks=60) for depth in (1, 20))
    assert shallow.checksum == deep.checksum


def test_every_tick_is_played_again_at_a_stride_up_to_the_depth() -> None:
    class Counting(ToyWorld):
        advanced = 0

        def advance(self, action: Action, plan: TickPlan) -> TickResult:
            self.advanced += 1
            return super().advance(action, plan)

    world = Counting(ManualClock())
    result = run(world, depth=5, ticks=32, stride=5)
    assert world.advanced == 32 + result.resimulated_ticks
    assert result.resimulated_ticks >= 32


def test_only_depth_plus_one_snapshots_are_kept() -> None:
    class Kept(dict[str, object]):
        """A mapping that can be weakly referenced."""

    alive: weakref.WeakSet[Kept] = weakref.WeakSet()
    most = 0

    class Counting(ToyWorld):
        def snapshot(self) -> Snapshot:
            nonlocal most
            kept = Kept(super().snapshot())
            alive.add(kept)
            most = max(most, len(alive))
            return kept

        def __hash__(self) -> int:
            return id(self)

    Kept.__hash__ = object.__hash__  # type: ignore[assignment]
    gc.collect()
    assert run(Counting(ManualClock()), depth=DEPTH, ticks=60).same
    assert most <= DEPTH + 1 + 1  # the one just taken, to be compared


@pytest.mark.parametrize(("depth", "ticks", "stride"), [(7, 7, 1), (7, 3, 1), (0, 5, 1), (1, 5, 0)])
def test_what_cannot_be_measured_is_no_pass(depth: int, ticks: int, stride: int) -> None:
    with pytest.raises(NextframeError, match="synctest: ") as error:
        run(toy(), depth=depth, ticks=ticks, stride=stride)
    assert error.value.exit_code == 2


# --- input ------------------------------------------------------------------------------------------------------------


def test_busy_actions_keep_the_players_and_add_prompts_and_resets() -> None:
    space = toy().info.actions
    held = Action(axes={"steer": 5})
    actions = [busy_actions(lambda tick: held, space, seed=3)(tick) for tick in range(60)]
    assert all(action.axes == held.axes for action in actions)
    assert [tick for tick, action in enumerate(actions) if action.reset] == [29, 58]
    prompts = {tick: action.prompt for tick, action in enumerate(actions) if action.prompt}
    assert list(prompts) == [7, 14, 21, 28, 35, 42, 49, 56]
    assert set(prompts.values()) == {"day", "night"}


def test_mixed_plans_are_a_function_of_seed_and_tick_and_use_every_rung_in_both_ways() -> None:
    def reached(plan: TickPlan) -> int:
        return next(k for k in (1, 2, 4) if k == plan.denoise_steps or not plan.gate(k))

    plans, again = mixed_plans((1, 2, 4), seed=5), mixed_plans((1, 2, 4), seed=5)
    rungs = [reached(plans(tick)) for tick in range(200)]
    assert rungs == [reached(again(tick)) for tick in range(200)]
    assert rungs != [reached(mixed_plans((1, 2, 4), seed=6)(tick)) for tick in range(200)]
    assert all(rungs.count(rung) > 40 for rung in (1, 2, 4))
    assert 40 < sum(plans(tick).denoise_steps != rungs[tick] for tick in range(200)) < 100


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_in_words_that_all_is_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_synctest(SyncTestOptions("toy", depth=7, ticks=60)) == 0
    said = capsys.readouterr().out
    assert "toy: the same bits both times. 60 ticks, 54 rollbacks of 7, 378 replayed" in said
    assert "8 prompts, 2 resets" in said


def test_the_command_answers_with_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_synctest(SyncTestOptions("toy", depth=3, ticks=40, seed=9, stride=2, as_json=True)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "nextframe.synctest/1"
    assert (document["world"], document["seed"], document["same"], document["mismatch"]) == ("toy", 9, True, None)
    assert (document["ticks"], document["depth"], document["stride"]) == (40, 3, 2)
    assert {part["name"] for part in document["coverage"]["state"]} >= {"ball", "trail"}


def test_the_command_plays_a_script_as_it_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "night.yaml"
    script.write_text("version: 1\ntimeline:\n  - at: 3\n    prompt: night\n", encoding="utf-8")
    assert run_synctest(SyncTestOptions("toy", ticks=20, script=str(script), as_json=True)) == 0
    coverage = json.loads(capsys.readouterr().out)["coverage"]
    assert (coverage["prompts"], coverage["resets"]) == (1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SyncTestOptions("toy", depth=7, ticks=7), "--ticks: expected more than the depth of 7, got 7"),
        (SyncTestOptions("toy", depth=0), "depth"),
        (SyncTestOptions("toy", bot="wonder"), "unknown bot"),
        (SyncTestOptions("toy", bot="wander", script="x.yaml"), "exactly one"),
        (SyncTestOptions("toi"), "unknown world"),
    ],
)
def test_the_command_refuses_what_it_cannot_measure(options: SyncTestOptions, message: str) -> None:
    with pytest.raises(NextframeError, match=message) as error:
        run_synctest(options)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_a_difference_is_printed_with_tick_and_part_and_exits_with_one(
    capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    result = run(Tampered(toy(), another_rung))
    assert print_result(result, "toy", 1, as_json=as_json) == 1
    said = capsys.readouterr().out
    if as_json:
        document = json.loads(said)
        assert (document["same"], document["mismatch"]["tick"]) == (False, WHEN)
        assert document["mismatch"]["parts"][0]["path"] == "trail"
    else:
        assert f"toy: differs. tick {WHEN} came out different when it was played again" in said
        assert "trail, " in said
        assert "values differ, first at [" in said


def test_a_checksum_that_did_not_notice_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    class Blind(ToyWorld):
        def checksum(self) -> int:
            return 1

    assert print_result(run(Tampered(Blind(ManualClock()), another_rung)), "toy", 1) == 1
    assert "the checksum did not notice" in capsys.readouterr().out
