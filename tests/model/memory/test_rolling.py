"""The rolling memory: what it keeps, what it forgets, and that a change happens as a whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nextframe.model.memory.rolling import Lane, MemorySpec, RollingKVMemory
from nextframe.model.memory.slot_table import CLEAN, SINK, Slot, SlotTable
from tests.support.memories import RING, SINKS, UNLIKE_LAYERS, WINDOW, contents, frame_of, held, memory_after, write
from tests.support.networks import random_generator, random_past

# --- the ring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [RING, SINKS])
def test_each_write_evicts_strictly_the_oldest_frame_that_is_not_a_sink(spec: MemorySpec) -> None:
    for frames in range(4 * WINDOW):
        memory = memory_after(frames, spec)
        sinks = list(range(min(spec.sink, frames)))
        assert held(memory) == sinks + list(range(max(spec.sink, frames - WINDOW), frames))
        memory.check_integrity()


@pytest.mark.parametrize("spec", [RING, SINKS, UNLIKE_LAYERS])
def test_the_table_says_where_each_frame_really_is(spec: MemorySpec) -> None:
    memory = memory_after(11, spec)
    for lane in memory.lanes:
        for at, slot in enumerate(lane.table.state.slots):
            assert torch.all(lane.keys[:, :, :, at] == slot.position)
            assert torch.all(lane.values[:, :, :, at] == -slot.position)


def test_ages_count_ticks_before_the_coming_frame_and_never_pass_the_window() -> None:
    memory = memory_after(9, SINKS)
    ages = dict(zip(memory.positions, memory.lanes[0].table.ages(), strict=True))
    assert {position: ages[position] for position in (5, 6, 7, 8)} == {5: 4, 6: 3, 7: 2, 8: 1}
    assert ages[0] == ages[1] == WINDOW, "a sink is as old as the window, or positions would grow for ever"
    assert memory_after(0).lanes[0].table.ages() == [0] * WINDOW


def test_a_slot_record_names_frame_position_kind_level_and_epoch() -> None:
    memory = memory_after(2, SINKS)
    memory.write(frame_of(2), frame_of(2), frame_id=77)
    slots = memory.lanes[0].table.state.slots
    assert slots[0] == Slot(0, 0, SINK, CLEAN, 0)
    assert slots[2] == Slot(77, 2, "ring", CLEAN, 0)
    assert slots[3] == Slot()


def test_a_dilated_layer_keeps_every_dth_frame_over_d_windows() -> None:
    memory = memory_after(21, replace(RING, layer_dilations=(1, 3)))
    near, far = ([s.position for s in lane.table.state.slots] for lane in memory.lanes)
    assert sorted(near) == [17, 18, 19, 20]
    assert sorted(far) == [9, 12, 15, 18]


@pytest.mark.parametrize("spec", [RING, SINKS, UNLIKE_LAYERS, replace(RING, history="same_level", levels=3)])
def test_the_declared_bytes_are_the_bytes_held(spec: MemorySpec) -> None:
    assert sum(lane.keys.nbytes + lane.values.nbytes for lane in RollingKVMemory(spec).lanes) == spec.bytes


@pytest.mark.parametrize(
    "wrong", [{"layer_windows": (1,)}, {"layer_dilations": (1, 2, 3)}, {"levels": 2}, {"window": 0}]
)
def test_a_spec_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="memory"):
        RollingKVMemory(replace(RING, **wrong))


# --- epochs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [RING, SINKS, UNLIKE_LAYERS])
def test_a_reset_leaves_the_table_of_a_new_session(spec: MemorySpec) -> None:
    memory = memory_after(7, spec)
    memory.reset()
    assert held(memory) == []
    assert [lane.table.state for lane in memory.lanes] == [lane.table.state for lane in RollingKVMemory(spec).lanes]


@pytest.mark.parametrize("spec", [RING, SINKS, UNLIKE_LAYERS])
def test_after_a_scene_cut_the_old_frames_are_unseen_and_untouched(spec: MemorySpec) -> None:
    memory = memory_after(7, spec)
    keys = memory.keys.clone()
    memory.new_epoch()
    assert held(memory) == []
    assert torch.equal(memory.keys, keys), "nothing is zeroed"
    write(memory, 3)
    assert held(memory) == [7, 8, 9]
    assert memory.positions[: spec.sink] == [7, 8][: spec.sink], "the first frames of the new scene are its sinks"
    memory.check_integrity()


# --- one write, or none -------------------------------------------------------------------------------------------


class OutOfOrderError(Exception):
    pass


def raise_in_the_second_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lane is written whole, the second up to its keys."""
    calls = iter(range(100))
    plain = Lane.write

    def failing(lane: Lane, slot: int, keys: Tensor, values: Tensor) -> None:
        if next(calls) == 1:
            lane.keys[:, :, :, slot] = keys
            raise OutOfOrderError
        plain(lane, slot, keys, values)

    monkeypatch.setattr(Lane, "write", failing)


def raise_in_the_second_table(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))
    plain = SlotTable.record

    def failing(table: SlotTable, *arguments: Any, **options: Any) -> None:
        if next(calls) == 1:
            raise OutOfOrderError
        plain(table, *arguments, **options)

    monkeypatch.setattr(SlotTable, "record", failing)


FAULTS = [raise_in_the_second_lane, raise_in_the_second_table]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("frames", [0, 1, 9])
def test_a_write_that_fails_between_layers_leaves_every_byte_as_it_was(
    fault: Callable[[pytest.MonkeyPatch], None], frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = memory_after(frames, replace(RING, layer_windows=(4, 3)), fixed_shape=True)
    before = contents(memory)
    with monkeypatch.context() as patch:
        fault(patch)
        with pytest.raises(OutOfOrderError):
            write(memory, 1)
    assert contents(memory) == before
    memory.check_integrity()
    write(memory, 1)
    assert contents(memory) != before


@pytest.mark.parametrize("fault", FAULTS)
def test_without_the_undo_the_same_fault_does_damage(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = memory_after(9, replace(RING, layer_windows=(4, 3)))
    before = contents(memory)
    fault(monkeypatch)
    monkeypatch.setattr(RollingKVMemory, "_undo", lambda memory, before: None)
    with pytest.raises(OutOfOrderError):
        write(memory, 1)
    assert contents(memory) != before
    with pytest.raises(AssertionError):
        memory.check_integrity()


def test_a_commit_that_fails_between_layers_never_reaches_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, conditions = random_past(9)
    generator = random_generator()
    generator.prefill(clean[:, :8], conditions[:, :8])
    before, checksum = contents(generator.memory), generator.checksum()

    def failing(*_: object) -> None:
        raise OutOfOrderError

    monkeypatch.setattr(generator.dynamics.blocks[1], "mix", failing)
    with pytest.raises(OutOfOrderError):
        generator.commit(clean[:, 8], conditions[:, 8])
    assert (contents(generator.memory), generator.checksum()) == (before, checksum)


def test_frames_of_another_shape_or_level_are_refused() -> None:
    memory = memory_after(3)
    with pytest.raises(ValueError, match="expected keys and values"):
        memory.write(frame_of(3)[:1], frame_of(3)[:1])
    with pytest.raises(ValueError, match="expected a level"):
        memory.write(frame_of(3), frame_of(3), level=2)
    assert memory.next_position == 3


# --- snapshots and integrity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fixed_shape", [False, True])
@pytest.mark.parametrize("spec", [RING, SINKS, UNLIKE_LAYERS])
def test_a_snapshot_is_not_changed_by_later_writes_and_restores_every_byte(spec: MemorySpec, fixed_shape: bool) -> None:
    memory = memory_after(6, spec, fixed_shape=fixed_shape)
    memory.new_epoch()
    write(memory, 3)
    before, saved = contents(memory), memory.snapshot()
    write(memory, 5)
    memory.new_epoch()
    assert contents(memory) != before, "the writes must be visible, or the next line proves nothing"
    memory.restore(saved)
    assert contents(memory) == before
    memory.check_integrity()
    other = RollingKVMemory(spec, fixed_shape=fixed_shape)
    other.restore(saved)
    assert contents(other) == before


def test_a_snapshot_is_plain_data() -> None:
    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(part) for key, part in value.items())
        if isinstance(value, list):
            return all(plain(part) for part in value)
        return type(value) in {np.ndarray, int, float, str, bool, type(None)}

    assert plain(memory_after(5, UNLIKE_LAYERS).snapshot())
    assert not plain({"slots": [Slot()]}), "the check must see what is not plain"


def test_a_snapshot_of_another_memory_is_refused_and_changes_nothing() -> None:
    memory = memory_after(5)
    before = contents(memory)
    with pytest.raises(ValueError, match="memory snapshot"):
        memory.restore(memory_after(5, SINKS).snapshot())
    assert contents(memory) == before


Damage = Callable[[RollingKVMemory], None]


def set_slots(memory: RollingKVMemory, change: Callable[[list[Slot]], None]) -> None:
    table = memory.lanes[0].table
    slots = list(table.state.slots)
    change(slots)
    table.state = table.state._replace(slots=tuple(slots))


def change_slot(memory: RollingKVMemory, at: int, **parts: Any) -> None:
    set_slots(memory, lambda slots: slots.__setitem__(at, slots[at]._replace(**parts)))


def swap_two(memory: RollingKVMemory) -> None:
    set_slots(memory, lambda slots: slots.__setitem__(slice(0, 2), slots[1::-1]))


def lose_one(memory: RollingKVMemory) -> None:
    set_slots(memory, lambda slots: slots.__setitem__(0, Slot()))


def one_too_old(memory: RollingKVMemory) -> None:
    change_slot(memory, 0, position=memory.positions[0] - WINDOW)


def count_wrongly(memory: RollingKVMemory) -> None:
    table = memory.lanes[0].table
    table.state = table.state._replace(next_position=table.state.next_position + 1)


def wrong_kind(memory: RollingKVMemory) -> None:
    change_slot(memory, 0, kind=SINK)


def wrong_level(memory: RollingKVMemory) -> None:
    change_slot(memory, 0, level=3)


def future_epoch(memory: RollingKVMemory) -> None:
    change_slot(memory, 0, epoch=1)


def one_slot_less(memory: RollingKVMemory) -> None:
    set_slots(memory, lambda slots: slots.pop())


@pytest.mark.parametrize(
    "damage",
    [swap_two, lose_one, one_too_old, count_wrongly, wrong_kind, wrong_level, future_epoch, one_slot_less],
)
def test_the_integrity_check_notices_a_damaged_table_and_restore_refuses_it(damage: Damage) -> None:
    memory = memory_after(9)
    memory.check_integrity()
    damage(memory)
    with pytest.raises(AssertionError):
        memory.check_integrity()
    other = memory_after(5)
    before = contents(other)
    with pytest.raises(AssertionError):
        other.restore(memory.snapshot())
    assert contents(other) == before


def test_the_integrity_check_notices_layers_that_disagree_and_a_stale_device() -> None:
    layers = memory_after(9, UNLIKE_LAYERS)
    layers.lanes[0].table.record()
    device = memory_after(9, fixed_shape=True)
    device.lanes[0].ages[0] += 1
    mask = memory_after(2, fixed_shape=True)
    mask.lanes[0].mask.zero_()
    for memory in (layers, device, mask):
        with pytest.raises(AssertionError):
            memory.check_integrity()
