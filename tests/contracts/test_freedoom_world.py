"""The shipped keep against the contract of worlds."""

from __future__ import annotations

import numpy as np

from nextframe.runtime.core import Action, ManualClock, TickPlan, World
from nextframe.runtime.session.registry import find_world, load_world
from tests.contracts.world_contract import WorldContract


class TestFreedoomWorld(WorldContract):
    ticks = 6

    def make_world(self) -> World:
        return load_world(find_world("freedoom"), ManualClock())

    def test_a_look_to_the_other_side_is_another_next_picture(self, world: World) -> None:
        world.reset(0)
        start = world.snapshot()
        frames = []
        for look in (-127, 127):
            world.restore(start)
            frames.append(world.advance(Action(axes={"look_x": look}), TickPlan(1, 0)).frames[0].astype(int))
        assert (np.abs(frames[0] - frames[1]).max(-1) >= 8).sum() > 150
