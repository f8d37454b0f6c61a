"""The toy world against the contract, and worlds broken on purpose to prove that the contract notices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from nextframe.runtime.core import Action, Frame, ManualClock, Snapshot, TickPlan, TickResult, World
from nextframe.worlds import toy
from nextframe.worlds.toy.world import FADE, TRAIL_HORIZON_TICKS, ToyWorld
from tests.contracts.world_contract import WorldContract

MS = 1_000_000


class TestToyWorld(WorldContract):
    def make_world(self) -> World:
        return ToyWorld(ManualClock())


# --- negative controls: each breaks one promise --------------------------------------------------------------


class RandomChecksum(ToyWorld):
    def checksum(self) -> int:
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls


class ForgetsTheTrail(ToyWorld):
    def restore(self, snapshot: Snapshot) -> None:
        super().restore({**snapshot, "trail": np.zeros_like(self._trail)})


class SnapshotIsAView(ToyWorld):
    def snapshot(self) -> Snapshot:
        return self.__dict__

    def restore(self, snapshot: Snapshot) -> None:
        self.__dict__.update(snapshot)


class SnapshotHoldsObjects(ToyWorld):
    def snapshot(self) -> Snapshot:
        return {**super().snapshot(), "ball": self._ball}


class WritesInAdvance(ToyWorld):
    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        self._trail = self._trail + np.float32(0.01)
        return super().advance(action, plan)


class StopsAnywhere(ToyWorld):
    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        plan.gate(3)
        return super().advance(action, plan)


class DeafWorld(ToyWorld):
    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        return super().advance(Action(), plan)


class ResetsItself(ToyWorld):
    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        if action.reset:
            self.reset(self._seed)
        return super().advance(action, plan)


class WarmUpLeavesTraces(ToyWorld):
    def warm_up(self) -> None:
        self.advance(Action(), TickPlan(1, 0)).commit()


class FloatFrames(ToyWorld):
    def reset(self, seed: int) -> Frame:
        return super().reset(seed).astype(np.float32)


CLAIMS = WorldContract


@pytest.mark.parametrize(
    ("broken", "claim"),
    [
        (RandomChecksum, CLAIMS.test_a_reset_starts_the_same_world_again),
        (ForgetsTheTrail, CLAIMS.test_a_world_goes_on_from_a_snapshot_as_if_nothing_had_happened),
        (SnapshotIsAView, CLAIMS.test_a_world_goes_on_from_a_snapshot_as_if_nothing_had_happened),
        (SnapshotHoldsObjects, CLAIMS.test_a_snapshot_is_plain_data),
        (WritesInAdvance, CLAIMS.test_advance_reads_the_state_and_only_commit_writes_it),
        (StopsAnywhere, CLAIMS.test_the_gate_is_asked_only_at_rungs_below_the_plan),
        (DeafWorld, CLAIMS.test_other_inputs_lead_elsewhere),
        (DeafWorld, CLAIMS.test_an_input_changes_the_very_next_frame),
        (ResetsItself, CLAIMS.test_advance_leaves_the_reset_flag_to_the_loop),
        (WarmUpLeavesTraces, CLAIMS.test_warming_up_leaves_the_state_as_it_was),
        (FloatFrames, CLAIMS.test_frames_are_rgb_bytes_of_the_declared_size),
    ],
)
def test_the_contract_notices_a_broken_world(broken: type[ToyWorld], claim: Callable[..., None]) -> None:
    class Suite(WorldContract):
        def make_world(self) -> World:
            return broken(ManualClock())

    world = broken(ManualClock())
    world.reset(1)
    with pytest.raises(AssertionError):
        claim(Suite(), world)


# --- what is particular to the toy world -----------------------------------------------------------------------


def test_world_yaml_and_the_code_say_the_same() -> None:
    path = Path(toy.__file__).with_name("world.yaml")
    spec: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    info = ToyWorld().info
    assert (spec["name"], spec["tick_hz"], tuple(spec["ladder"])) == (info.name, info.tick_hz, info.ladder)
    assert (spec["width_px"], spec["height_px"]) == (info.width_px, info.height_px)
    assert tuple(spec["actions"]["buttons"]) == info.actions.buttons
    assert tuple(spec["actions"]["axes"]) == info.actions.axes
    prompts = {group: tuple(words) for group, words in spec["actions"]["prompts"].items()}
    assert prompts == info.actions.prompts
    assert spec["default_prompt"] == info.default_prompt


def test_costs_are_charged_to_the_stage_that_has_them() -> None:
    clock = ManualClock()
    costs = {"condition": 2, "denoise": 5, "decode": 3, "commit": 7}
    world = ToyWorld(clock, lambda stage: clock.advance_ns(costs[stage] * MS))
    result = world.advance(Action(), TickPlan(4, 0))
    assert result.stage_ns == {"condition": 2 * MS, "denoise": 20 * MS, "decode": 3 * MS}
    assert result.step_ns == (5 * MS,) * 4
    before_ns = clock.now_ns()
    result.commit()
    assert clock.now_ns() - before_ns == 7 * MS


def test_more_denoise_steps_are_closer_to_the_truth() -> None:
    def frame(steps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        world = ToyWorld(ManualClock())
        world.reset(3)
        return world.advance(Action(), TickPlan(steps, 0)).frames[0].astype(float)

    clean = ToyWorld(ManualClock()).reset(3).astype(float)
    errors = [float(np.abs(frame(steps) - clean).mean()) for steps in (1, 2, 4)]
    assert errors[0] > errors[1] > errors[2] > 0


def test_the_trail_reaches_no_further_back_than_its_horizon() -> None:
    assert FADE**TRAIL_HORIZON_TICKS < 1 / 255 < FADE ** (TRAIL_HORIZON_TICKS - 1)


def test_a_prompt_changes_the_light_of_the_very_next_frame_and_stays() -> None:
    world = ToyWorld(ManualClock())
    day = world.advance(Action(), TickPlan(2, 0))
    day.commit()
    night = world.advance(Action(prompt="night"), TickPlan(2, 0))
    night.commit()
    after = world.advance(Action(), TickPlan(2, 0))
    means = [float(result.frames[0].mean()) for result in (day, night, after)]
    assert means[0] - means[1] > 30
    assert abs(means[1] - means[2]) < 5


def test_checksums_are_the_same_on_every_machine() -> None:
    world = ToyWorld(ManualClock())
    world.reset(7)
    for tick in range(200):
        action = Action(axes={"steer": tick % 255 - 127, "throttle": 100}, prompt="night" if tick == 50 else None)
        world.advance(action, TickPlan((1, 2, 4)[tick % 3], 0)).commit()
    assert world.checksum() == GOLDEN_CHECKSUM


GOLDEN_CHECKSUM = 3624166066
"""Of the session above; a change of it is a change of the world and goes into the changelog."""
