"""The shipped drive world against the contract of worlds: alone, its teacher, and both side by side."""

from __future__ import annotations

import numpy as np
import pytest

from nextframe.runtime.core import Action, ManualClock, TickPlan, World
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.worlds.drive.teacher.world import TeacherWorld
from tests.contracts.world_contract import WorldContract


def shipped(*, side_by_side: bool = False) -> World:
    return load_world(find_world("drive"), ManualClock(), side_by_side=side_by_side)


class TestDriveWorld(WorldContract):
    ticks = 6

    def make_world(self) -> World:
        return shipped()

    def test_the_other_way_of_the_wheel_is_another_next_picture(self, world: World) -> None:
        world.reset(0)
        start = world.snapshot()
        frames = []
        for steer in (-127, 127):
            world.restore(start)
            action = Action(axes={"steer": steer, "throttle": 127})
            frames.append(world.advance(action, TickPlan(1, 0)).frames[0].astype(int))
        assert (np.abs(frames[0] - frames[1]).max(-1) >= 8).sum() > 150


class TestDriveTeacher(WorldContract):
    ticks = 6

    def make_world(self) -> World:
        found = find_world("drive")
        return TeacherWorld(shipped().info, found.synonyms, ManualClock())

    def test_a_closed_gate_stops_on_the_lowest_rung(self, world: World) -> None:
        pytest.skip("the teacher has no denoise steps to cut short")

    def test_the_gate_is_asked_only_at_rungs_below_the_plan(self, world: World) -> None:
        pytest.skip("the teacher has no denoise steps to cut short")


class TestDriveSideBySide(WorldContract):
    ticks = 6

    def make_world(self) -> World:
        return shipped(side_by_side=True)
