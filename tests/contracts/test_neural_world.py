"""The shipped circuit against the contract of worlds: alone, its teacher, and both side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nextframe.runtime.core import Action, ManualClock, Snapshot, TickPlan, TickResult, World
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.worlds.circuit.teacher.world import TeacherWorld
from nextframe.worlds.neural.world import NeuralWorld
from nextframe.worlds.side_by_side import SideBySide
from tests.contracts.world_contract import WorldContract
from tests.support.worlds.small import small_neural


def shipped(*, side_by_side: bool = False) -> World:
    return load_world(find_world("circuit"), ManualClock(), side_by_side=side_by_side)


class TestCircuitWorld(WorldContract):
    ticks = 6

    def make_world(self) -> World:
        return shipped()


class TestSmallNeuralWorld(WorldContract):
    """Six remembered ticks: the claims play beyond its window."""

    def make_world(self) -> World:
        return small_neural()


class TestTeacherWorld(WorldContract):
    ticks = 6

    def make_world(self) -> World:
        found = find_world("circuit")
        return TeacherWorld(shipped().info, found.synonyms, ManualClock())

    def test_a_closed_gate_stops_on_the_lowest_rung(self, world: World) -> None:
        pytest.skip("the teacher has no denoise steps to cut short")

    def test_the_gate_is_asked_only_at_rungs_below_the_plan(self, world: World) -> None:
        pytest.skip("the teacher has no denoise steps to cut short")


class TestSideBySide(WorldContract):
    ticks = 6

    def make_world(self) -> World:
        return shipped(side_by_side=True)

    def test_the_picture_is_twice_as_wide_and_the_left_half_is_the_network(self, world: World) -> None:
        alone = shipped()
        alone.reset(1)
        action = Action(axes={"steer": 127, "throttle": 127})
        both, left = (w.advance(action, TickPlan(2, 0)).frames[0] for w in (world, alone))
        width_px = alone.info.width_px
        assert both.shape[1] == world.info.width_px == 2 * width_px
        assert (both[:, :width_px] == left).all()
        assert (both[:, width_px:] != left).any()

    def test_a_commit_moves_both_worlds(self, world: World) -> None:
        assert isinstance(world, SideBySide)
        before = world.snapshot()
        world.advance(Action(axes={"throttle": 127}), TickPlan(1, 0)).commit()
        after = world.snapshot()
        assert all(repr(before[side]) != repr(after[side]) for side in ("left", "right"))


# --- negative controls: the network's world with one promise broken each -------------------------------------------


class ForgetsItsMemory(NeuralWorld):
    def restore(self, snapshot: Snapshot) -> None:
        super().restore(snapshot)
        self.generator.memory.keys.zero_()


class DeafToItsPlayer(NeuralWorld):
    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        return super().advance(Action(), plan)


class CommitsInAdvance(NeuralWorld):
    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        result = super().advance(action, plan)
        result.commit()
        return result


class IgnoresTheGate(NeuralWorld):
    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        return super().advance(action, TickPlan(plan.denoise_steps, plan.deadline_ns))


CLAIMS = WorldContract


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        (ForgetsItsMemory, CLAIMS.test_a_world_goes_on_from_a_snapshot_as_if_nothing_had_happened),
        (DeafToItsPlayer, CLAIMS.test_other_inputs_lead_elsewhere),
        (DeafToItsPlayer, CLAIMS.test_an_input_changes_the_very_next_frame),
        (CommitsInAdvance, CLAIMS.test_advance_reads_the_state_and_only_commit_writes_it),
        (IgnoresTheGate, CLAIMS.test_a_closed_gate_stops_on_the_lowest_rung),
    ],
)
def test_the_contract_notices_a_broken_neural_world(broken: type[NeuralWorld], claim: Callable[..., None]) -> None:
    def make() -> World:
        world = shipped()
        world.__class__ = broken
        return world

    class Suite(WorldContract):
        ticks = 6

        def make_world(self) -> World:
            return make()

    world = make()
    world.reset(1)
    with pytest.raises(AssertionError):
        claim(Suite(), world)
