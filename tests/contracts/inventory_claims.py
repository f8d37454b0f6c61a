"""What every world promises of its state, part by part: nothing left out, nothing unread. Part of `WorldContract`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from nextframe.runtime.core import AXIS_LEVELS, Action, StatePart, TickPlan, TickResult, World
from nextframe.runtime.recording.compare import belongs_to, differences, leaves
from tests.support.perturb import flipped, with_leaf

FAR_NS = 2**62
"""A deadline no test reaches."""


def play(world: World, actions: Sequence[Action], steps: int | None = None) -> list[int]:
    """Run the actions, committing each tick; returns the checksum after each."""
    checksums = []
    for action in actions:
        advance(world, action, steps).commit()
        checksums.append(world.checksum())
    return checksums


def advance(world: World, action: Action, steps: int | None = None) -> TickResult:
    return world.advance(action, TickPlan(steps or world.info.ladder[0], FAR_NS))


def bytes_of(leaf: object) -> int:
    """The stated rule: arrays count their bytes, numbers 8, booleans 1, text its UTF-8 bytes, None nothing."""
    if isinstance(leaf, list):
        return sum(map(bytes_of, leaf))
    if isinstance(leaf, np.ndarray):
        return int(leaf.nbytes)
    if isinstance(leaf, str):
        return len(leaf.encode())
    return {bool: 1, int: 8, float: 8}.get(type(leaf), 0)


class InventoryClaims:
    """A part of the inventory is everything in the snapshot under its name, a path of keys joined by `/`."""

    ticks = 12

    def make_world(self) -> World:
        raise NotImplementedError("override make_world to return a new world")

    @pytest.fixture
    def world(self) -> World:
        world = self.make_world()
        world.reset(1)
        return world

    def busy_actions(self, world: World) -> list[Action]:
        """Every control at work: axes at full, half the time the other way, each button in turn."""
        space = world.info.actions
        actions = []
        for tick in range(self.ticks):
            level = AXIS_LEVELS if tick % 4 < 2 else -AXIS_LEVELS
            buttons = frozenset(space.buttons[tick % len(space.buttons) :][:1]) if space.buttons else frozenset()
            actions.append(Action(buttons=buttons, axes=dict.fromkeys(space.axes, level)))
        return actions

    def test_every_leaf_of_a_snapshot_belongs_to_one_part_of_the_inventory(self, world: World) -> None:
        play(world, self.busy_actions(world)[:2])
        parts, paths = world.state_inventory(), [path for path, _ in leaves(world.snapshot())]
        for path in paths:
            owners = [part.name for part in parts if belongs_to(path, part.name)]
            assert len(owners) == 1, f"{path} belongs to {owners or 'no part'}; a part's name is a path of the snapshot"
        for part in parts:
            assert any(belongs_to(path, part.name) for path in paths), f"{part.name}: not in the snapshot"

    def test_the_inventory_weighs_what_the_snapshot_holds(self, world: World) -> None:
        play(world, self.busy_actions(world)[:2])
        parts, saved = world.state_inventory(), list(leaves(world.snapshot()))
        for part in parts:
            assert part.bytes == sum(bytes_of(leaf) for path, leaf in saved if belongs_to(path, part.name)), part

    def test_one_changed_value_in_any_leaf_is_noticed(self, world: World) -> None:
        """By the checksum, or by a restore that refuses it: else a recording of something else would verify."""
        play(world, self.busy_actions(world)[:3])
        saved, checksum = world.snapshot(), world.checksum()
        unnoticed = []
        for path, leaf in leaves(saved):
            for other in self.flips(world, leaf):
                if not self.restores(world, with_leaf(saved, path, other)) or world.checksum() != checksum:
                    break
            else:
                unnoticed.append(path)
        assert not unnoticed

    def test_every_part_is_read_within_its_horizon_and_no_part_beyond(self, world: World) -> None:
        """A part that decides nothing is dead state: it costs memory and proves nothing. Horizon 0: only shown."""
        actions = self.busy_actions(world)
        play(world, actions[:3])
        saved = world.snapshot()
        straight_on = self.outcome(world, actions)
        for part in world.state_inventory():
            if part.horizon_ticks == 0:
                assert not self.effect(world, saved, part, actions, straight_on), f"{part.name}: it decides something"
            else:
                reach = min(part.horizon_ticks or self.ticks, self.ticks)
                read = self.effect(world, saved, part, actions[:reach], straight_on)
                assert read, f"{part.name}: dead state: changing it changes nothing in {reach} ticks"

    def effect(
        self,
        world: World,
        saved: Mapping[str, object],
        part: StatePart,
        actions: Sequence[Action],
        straight_on: Sequence[Mapping[str, object]],
    ) -> bool:
        """Whether one changed value of the part changes a later frame, or any other part of the state."""
        for path, leaf in leaves(saved):
            for other in self.flips(world, leaf) if belongs_to(path, part.name) else ():
                if not self.restores(world, with_leaf(saved, path, other)):
                    continue
                found = self.outcome(world, actions)
                for ours, expected in zip(found, straight_on[: len(found)], strict=True):
                    changed = [difference.path for difference in differences(expected, ours)]
                    if any(not belongs_to(path, f"state/{part.name}") for path in changed):
                        return True
        return False

    def outcome(self, world: World, actions: Sequence[Action]) -> list[Mapping[str, object]]:
        """What can be seen after each tick: the frames and the state."""
        seen: list[Mapping[str, object]] = []
        for action in actions:
            result = advance(world, action)
            result.commit()
            seen.append({"frames": list(result.frames), "state": world.snapshot()})
        return seen

    def flips(self, world: World, leaf: object) -> Iterator[object]:
        """The leaf with one value changed: the first, one in the middle, the last."""
        vocabulary = tuple(word for words in world.info.actions.prompts.values() for word in words)
        return flipped(leaf, vocabulary)

    def restores(self, world: World, snapshot: Mapping[str, object]) -> bool:
        """Restore it; whether the world took it. Refusing a damaged snapshot is fine, and noticed."""
        try:
            world.restore(snapshot)
        except (AssertionError, ValueError):
            return False
        return True
