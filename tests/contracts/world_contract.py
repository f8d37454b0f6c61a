"""What every world promises. Subclass `WorldContract`, override `make_world`, and all claims run against yours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from nextframe.runtime.core import AXIS_LEVELS, Action, Frame, TickPlan, World
from nextframe.runtime.recording.compare import belongs_to, differences
from tests.contracts.inventory_claims import FAR_NS, InventoryClaims, advance, play

STAGES = {"condition", "denoise", "decode"}


def is_plain(value: object) -> bool:
    """Whether a snapshot can be stored and compared without the code of its world."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_plain(part) for key, part in value.items())
    if isinstance(value, list):
        return all(is_plain(part) for part in value)
    return value is None or type(value) in {bool, int, float, str, np.ndarray}


class WorldContract(InventoryClaims):
    """The claims, those of the inventory included.

    `ticks`: how many a claim plays; lower it for a slow world, not below 6.
    """

    def other_past(self, world: World, seed: int) -> None:
        """Bring the world somewhere that no other claim leaves it: another seed, other controls, other prompts."""
        last_words = " ".join(words[-1] for words in world.info.actions.prompts.values())
        world.reset(seed)
        for tick in range(self.ticks + 1):
            axes = dict.fromkeys(world.info.actions.axes, AXIS_LEVELS // 2)
            action = Action(axes=axes, prompt=last_words if tick == 1 and last_words else None)
            advance(world, action, world.info.ladder[-1]).commit()

    def assert_frame(self, world: World, frame: Frame) -> None:
        assert frame.shape == (world.info.height_px, world.info.width_px, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.c_contiguous

    # --- description ---

    def test_the_ladder_ascends_from_at_least_one_step(self, world: World) -> None:
        ladder = world.info.ladder
        assert ladder[0] >= 1
        assert list(ladder) == sorted(set(ladder))

    def test_the_tick_rate_is_positive_and_the_hashes_are_sha256(self, world: World) -> None:
        assert world.info.tick_hz > 0
        for digest in (world.info.config_sha256, world.info.weights_sha256):
            assert len(bytes.fromhex(digest)) == 32

    def test_every_part_of_the_state_has_a_name_and_a_size(self, world: World) -> None:
        parts = world.state_inventory()
        assert parts, "a world without state is not a world"
        assert len({part.name for part in parts}) == len(parts)
        assert all(part.bytes > 0 for part in parts)
        assert all(part.horizon_ticks is None or part.horizon_ticks >= 0 for part in parts)

    # --- frames and quality ---

    def test_frames_are_rgb_bytes_of_the_declared_size(self, world: World) -> None:
        self.assert_frame(world, world.reset(1))
        for rung in world.info.ladder:
            result = advance(world, Action(), rung)
            result.commit()
            assert result.frames
            for frame in result.frames:
                self.assert_frame(world, frame)

    def test_every_rung_applies_the_steps_it_names_and_times_them(self, world: World) -> None:
        for rung in world.info.ladder:
            result = advance(world, Action(), rung)
            result.commit()
            assert result.steps_applied == rung
            assert len(result.step_ns) in {0, rung}
            assert set(result.stage_ns) >= STAGES
            assert all(duration_ns >= 0 for duration_ns in (*result.stage_ns.values(), *result.step_ns))

    def test_a_closed_gate_stops_on_the_lowest_rung(self, world: World) -> None:
        asked: list[int] = []

        def closed(steps_done: int) -> bool:
            asked.append(steps_done)
            return False

        result = world.advance(Action(), TickPlan(world.info.ladder[-1], FAR_NS, gate=closed))
        result.commit()
        assert result.steps_applied == world.info.ladder[0]
        assert asked == ([world.info.ladder[0]] if len(world.info.ladder) > 1 else [])

    def test_the_gate_is_asked_only_at_rungs_below_the_plan(self, world: World) -> None:
        asked: list[int] = []

        def recording(steps_done: int) -> bool:
            asked.append(steps_done)
            return True

        result = world.advance(Action(), TickPlan(world.info.ladder[-1], FAR_NS, gate=recording))
        result.commit()
        assert result.steps_applied == world.info.ladder[-1]
        assert asked == list(world.info.ladder[:-1])

    # --- state ---

    def test_equal_seeds_and_inputs_give_equal_worlds(self, world: World) -> None:
        other = self.make_world()
        other.reset(1)
        actions = self.busy_actions(world)
        assert play(world, actions) == play(other, actions)
        other.close()

    def test_a_reset_starts_the_same_world_again(self, world: World) -> None:
        actions = self.busy_actions(world)
        first = play(world, actions)
        world.reset(1)
        assert play(world, actions) == first

    def test_other_inputs_lead_elsewhere(self, world: World) -> None:
        idle = play(world, [Action()] * self.ticks)
        world.reset(1)
        assert play(world, self.busy_actions(world)) != idle

    def test_an_input_changes_the_very_next_frame(self, world: World) -> None:
        play(world, [Action(axes=dict.fromkeys(world.info.actions.axes, AXIS_LEVELS))] * self.ticks)
        here = world.snapshot()
        same, other = Action(), self.busy_actions(world)[0]
        frames = []
        for action in (same, same, other):
            world.restore(here)
            frames.append(np.stack(list(advance(world, action).frames)))
        assert np.array_equal(frames[0], frames[1]), "the same input twice must give the same frame"
        assert not np.array_equal(frames[0], frames[2])

    def test_a_world_goes_on_from_a_snapshot_as_if_nothing_had_happened(self, world: World) -> None:
        actions = self.busy_actions(world)
        play(world, actions[:3])
        saved, checksum = world.snapshot(), world.checksum()
        straight_on = play(world, actions[3:])
        world.restore(saved)
        assert world.checksum() == checksum
        assert play(world, actions[3:]) == straight_on

    def test_a_snapshot_is_plain_data(self, world: World) -> None:
        play(world, self.busy_actions(world)[:2])
        assert is_plain(world.snapshot())

    def test_a_snapshot_fits_a_new_world_of_the_same_kind(self, world: World) -> None:
        actions = self.busy_actions(world)
        play(world, actions[:3])
        other = self.make_world()
        other.restore(world.snapshot())
        assert play(other, actions[3:]) == play(world, actions[3:])
        other.close()

    def test_a_snapshot_carries_everything_into_a_world_with_another_past(self, world: World) -> None:
        actions = self.busy_actions(world)
        play(world, actions[:3])
        saved, other = world.snapshot(), self.make_world()
        self.other_past(other, seed=2)
        elsewhere = [difference.path for difference in differences(saved, other.snapshot())]
        for part in world.state_inventory():
            assert any(belongs_to(path, part.name) for path in elsewhere), f"{part.name}: no past makes it differ"
        other.restore(saved)
        assert not differences(saved, other.snapshot())
        assert other.checksum() == world.checksum()
        for action in [*actions[3:], *actions]:
            pair = [advance(w, action, world.info.ladder[-1]) for w in (world, other)]
            for result in pair:
                result.commit()
            assert not differences(*([*result.frames] for result in pair))
            assert not differences(world.snapshot(), other.snapshot())
            assert world.checksum() == other.checksum()
        other.close()

    def test_advance_reads_the_state_and_only_commit_writes_it(self, world: World) -> None:
        actions = self.busy_actions(world)
        play(world, actions[:3])
        before = world.checksum()
        result = advance(world, actions[3])
        assert world.checksum() == before
        result.commit()
        assert world.checksum() != before

    def test_advancing_again_without_a_commit_is_an_assertion_error(self, world: World) -> None:
        advance(world, Action())
        with pytest.raises(AssertionError):
            advance(world, Action())

    def test_advance_leaves_the_reset_flag_to_the_loop(self, world: World) -> None:
        actions = self.busy_actions(world)
        play(world, actions[:3])
        saved = world.snapshot()
        plain = play(world, [Action()])
        world.restore(saved)
        assert play(world, [Action(reset=True)]) == plain

    def test_warming_up_leaves_the_state_as_it_was(self, world: World) -> None:
        actions = self.busy_actions(world)
        play(world, actions[:3])
        before = world.checksum()
        world.warm_up()
        assert world.checksum() == before
        after = play(world, actions[3:])
        world.reset(1)
        assert play(world, actions)[3:] == after
