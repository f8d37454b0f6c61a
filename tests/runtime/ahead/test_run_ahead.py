"""Claims about running several ticks ahead and rolling back: the same pictures and states as a loop that never does."""

from __future__ import annotations

import numpy as np
import pytest

from nextframe.runtime.ahead.run_ahead import RunAhead
from nextframe.runtime.core import Action, ManualClock, Snapshot, TickPlan
from nextframe.runtime.governor.adaptive import TraceGovernor
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import PERIOD_NS
from tests.support.worlds.ahead import AheadSession, held_inputs
from tests.support.worlds.small import small_neural

LEFT, RIGHT = Action(axes={"steer": -100}), Action(axes={"steer": 100})
PLAN = TickPlan(2, 0)


class NoRollback(RunAhead):
    """Forgets what was ahead without undoing it: the fault that the checksums must show."""

    def roll_back(self) -> int:
        undone = len(self._ticks)
        self._forget()
        return undone


def played(actions: list[Action], depth: int, kind: type[RunAhead] = RunAhead, every: int = 50) -> AheadSession:
    """Depth 0 waits. The quality changes every 40 ticks."""
    clock = ManualClock()
    toy = ToyWorld(clock)
    world = kind(toy, depth, clock) if depth else None
    levels = [(1, 2, 4)[tick // 40 % 3] for tick in range(len(actions))]
    session = AheadSession(
        world or toy, clock, actions, ahead=world, governor=TraceGovernor(levels), checksum_every=every
    )
    return session.run(len(actions))


def test_ten_thousand_random_ticks_three_ahead_show_the_frames_of_a_loop_that_waits() -> None:
    actions = held_inputs(10_000, seed=7, mean_ticks=10)
    waited, ahead = played(actions, 0), played(actions, 3)
    assert ahead.display.crcs == waited.display.crcs
    assert ahead.recorder.checksums == waited.recorder.checksums
    assert ahead.recorder.steps == waited.recorder.steps
    assert ahead.outcomes().count("hit") > 6_000
    assert ahead.outcomes().count("miss") > 800


def test_a_world_that_does_not_roll_back_is_caught() -> None:
    actions = held_inputs(40, seed=7)
    assert played(actions, 3, NoRollback).display.crcs != played(actions, 0).display.crcs


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_what_is_ahead_is_no_part_of_the_state(depth: int) -> None:
    clock = ManualClock()
    plain, world = ToyWorld(clock), RunAhead(ToyWorld(clock), depth, clock)
    for action in held_inputs(60, seed=depth):
        for one in (plain, world):
            one.advance(action, PLAN).commit()
        while world.ticks_ahead < depth:
            world.make_ahead()
            assert world.checksum() == plain.checksum()
        ours, theirs = world.snapshot(), plain.snapshot()
        assert np.array_equal(_trail(ours), _trail(theirs))


def test_a_snapshot_taken_while_ahead_goes_on_as_the_world_would() -> None:
    clock = ManualClock()
    world, plain = RunAhead(small_neural(), 2, clock), small_neural()
    for one in (world, plain):
        one.advance(LEFT, PLAN).commit()
    world.make_ahead()
    world.make_ahead()
    saved = world.snapshot()
    world.advance(RIGHT, PLAN).commit()
    world.restore(saved)
    frames = [one.advance(RIGHT, PLAN).frames[0] for one in (world, plain)]
    assert np.array_equal(frames[0], frames[1])


def test_a_wrong_guess_undoes_everything_that_was_ahead() -> None:
    clock = ManualClock()
    world = RunAhead(ToyWorld(clock), 3, clock)
    world.advance(LEFT, PLAN).commit()
    world.prepare(PERIOD_NS)
    assert world.ticks_ahead == 3
    world.advance(RIGHT, PLAN).commit()
    assert (world.guess().outcome, world.ticks_ahead) == ("miss", 0)


def test_another_quality_than_the_one_planned_last_is_a_wrong_guess() -> None:
    clock = ManualClock()
    world = RunAhead(ToyWorld(clock), 3, clock)
    world.advance(LEFT, PLAN).commit()
    world.prepare(PERIOD_NS)
    assert world.advance(LEFT, TickPlan(4, 0)).steps_applied == 4
    assert world.guess().outcome == "miss"


def test_nothing_is_saved_or_made_ahead_in_the_middle_of_a_tick() -> None:
    clock = ManualClock()
    world = RunAhead(ToyWorld(clock), 2, clock)
    world.advance(LEFT, PLAN)
    for forbidden in (world.snapshot, world.make_ahead):
        with pytest.raises(AssertionError, match="between advance and commit"):
            forbidden()


def test_a_depth_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 tick"):
        RunAhead(ToyWorld(), 0, ManualClock())


def _trail(snapshot: Snapshot) -> np.ndarray:
    trail = snapshot["trail"]
    assert isinstance(trail, np.ndarray)
    return trail
