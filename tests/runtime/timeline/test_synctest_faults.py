"""Negative controls of the SyncTest: one fault each, named with its tick and its part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nextframe.controllers.bots import make_bot
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.runtime.core import Action, Frame, ManualClock, Snapshot, TickPlan, TickResult
from nextframe.runtime.timeline.synctest import PROMPT_EVERY_TICKS, RESET_EVERY_TICKS, busy_actions
from nextframe.worlds.toy.world import ToyWorld
from tests.support.synctests import (
    DEPTH,
    WHEN,
    Fault,
    Tampered,
    another_action,
    another_noise,
    another_rung,
    another_weight,
    mismatch_of,
    nudge_a_weight,
    paths,
    run,
    toy,
)
from tests.support.worlds.small import small_neural


@pytest.mark.parametrize("depth", [1, 7])
@pytest.mark.parametrize(
    ("make", "fault", "part"),
    [
        (toy, another_action, "ball/"),
        (toy, another_rung, "trail"),
        (toy, another_noise, "trail"),
        (small_neural, another_weight, "generator/memory/lanes/0/keys"),
        (small_neural, another_action, "generator/memory/lanes/0/keys"),
        (small_neural, another_rung, "generator/memory/lanes/0/keys"),
        (small_neural, another_noise, "generator/memory/lanes/0/keys"),
    ],
)
def test_a_fault_in_one_tick_is_named_with_that_tick(
    make: Callable[[], Any], fault: Fault, part: str, depth: int
) -> None:
    mismatch = mismatch_of(Tampered(make(), fault), depth=depth)
    assert (mismatch.phase, mismatch.tick, mismatch.found_after_tick) == ("tick", WHEN, WHEN)
    assert mismatch.parts[0].path.startswith(part)
    assert mismatch.checksum_noticed
    assert ("steps applied" in paths(mismatch)) == (fault is another_rung)


def test_a_tampered_world_without_a_fault_is_the_same_twice() -> None:
    for make in (toy, small_neural):
        assert run(Tampered(make(), lambda world, action, plan: (action, plan))).same


@pytest.mark.parametrize(("by", "first_tick"), [(1e-5, WHEN + 1 - DEPTH), (1e-6, None)])
def test_a_weight_that_changes_in_the_middle_of_a_session_is_found_in_that_tick(
    by: float, first_tick: int | None
) -> None:
    world = small_neural()
    busy = busy_actions(make_bot("wander", world.info.actions, 1).poll, world.info.actions, 1)

    def actions(tick: int) -> Action:
        if tick == WHEN:
            nudge_a_weight(world, by)
        return busy(tick)

    mismatch = mismatch_of(world, actions=actions)
    assert mismatch.found_after_tick == WHEN
    # Every tick of the rollback but the newest was played with the weight as it was. A step of a few last digits may
    # be rounded away in some of them.
    assert mismatch.tick == first_tick if first_tick is not None else mismatch.tick < WHEN
    assert mismatch.parts[0].path == "generator/memory/lanes/0/keys"
    assert mismatch.parts[0].differing < mismatch.parts[0].values


def test_a_noise_counter_restored_off_by_one_is_named_before_anything_is_played() -> None:
    class OffByOne(ToyWorld):
        def restore(self, snapshot: Snapshot) -> None:
            super().restore(snapshot)
            self._tick += 1

    mismatch = mismatch_of(OffByOne(ManualClock()))
    assert (mismatch.phase, mismatch.tick, mismatch.found_after_tick) == ("restore", 0, DEPTH - 1)
    assert paths(mismatch) == ["tick", "checksum"]
    assert mismatch.parts[0].by == 1


def test_a_hidden_counter_that_shows_in_the_picture_is_named() -> None:
    class CountsFrames(ToyWorld):
        shown = 0

        def advance(self, action: Action, plan: TickPlan) -> TickResult:
            result = super().advance(action, plan)
            self.shown += 1
            frame: Frame = result.frames[0].copy()
            frame[0, 0, 0] = self.shown
            return replace(result, frames=[frame])

    mismatch = mismatch_of(CountsFrames(ManualClock()))
    assert (mismatch.phase, mismatch.tick, mismatch.found_after_tick) == ("tick", 0, DEPTH - 1)
    assert paths(mismatch) == ["frames shown/0"]
    assert mismatch.parts[0].first_index == (0, 0, 0)
    assert not mismatch.checksum_noticed


def test_a_stale_cache_of_the_conditioning_is_caught_when_a_rollback_crosses_a_new_prompt() -> None:
    class KeysItsCacheByThePrompt(RollingGenerator):
        """Keeps the conditioning as long as the prompt stays, though the controls are in it too."""

        def conditioning(self, condition: Tensor) -> Any:
            cached = self._conditioned
            if cached is not None and torch.equal(cached[0][:, 4:], condition[:, 4:]):
                return cached[1]
            return super().conditioning(condition)

    world = small_neural()
    world.generator.__class__ = KeysItsCacheByThePrompt
    mismatch = mismatch_of(world, seed=0)
    # Back before the prompt the cache starts anew, with the controls of that tick instead of those of an older one.
    assert (mismatch.tick, mismatch.found_after_tick) == (PROMPT_EVERY_TICKS + 1 - DEPTH, PROMPT_EVERY_TICKS)
    assert mismatch.parts[0].path.startswith("generator/memory")


def test_a_cache_that_a_reset_leaves_behind_is_caught_when_a_rollback_crosses_it() -> None:
    class RemembersItsResets(ToyWorld):
        resets = 0

        def reset(self, seed: int) -> Frame:
            self.resets += 1
            super().reset(seed)
            self._ball = replace(self._ball, x_px=20.0 + self.resets % 2)
            return self._frame

    world = RemembersItsResets(ManualClock())
    mismatch = mismatch_of(world, depth=1, ticks=40)
    assert (mismatch.tick, mismatch.found_after_tick) == (RESET_EVERY_TICKS, RESET_EVERY_TICKS)
    assert "ball/x_px" in paths(mismatch)


def test_a_forgetful_restore_is_named_with_the_forgotten_part() -> None:
    class Forgetful(ToyWorld):
        def restore(self, snapshot: Snapshot) -> None:
            super().restore({**snapshot, "light": self._light})

    mismatch = mismatch_of(
        Forgetful(ManualClock()), actions=lambda tick: Action(prompt="night" if tick == WHEN else None)
    )
    # The oldest state of this rollback is the one by day that a restore leaves in the dark.
    assert (mismatch.phase, mismatch.tick, mismatch.found_after_tick) == ("restore", WHEN + 1 - DEPTH, WHEN)
    assert paths(mismatch)[0] == "light"
    assert mismatch.parts[0].what == "'day' and 'night'"


def test_a_checksum_of_chance_is_caught_and_alone_to_blame() -> None:
    class Chance(ToyWorld):
        calls = 0

        def checksum(self) -> int:
            self.calls += 1
            return self.calls

    mismatch = mismatch_of(Chance(ManualClock()))
    assert (mismatch.phase, paths(mismatch)) == ("restore", ["checksum"])


def test_state_that_never_changed_is_said_to_be_unproven() -> None:
    result = run(toy(), actions=lambda tick: Action(axes={"throttle": 127, "steer": 127}))
    assert result.mismatch is None
    assert result.coverage.unchanged_parts == ("seed", "light")
