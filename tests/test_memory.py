"""The rolling memory: what it keeps, what it forgets, and that the network over it is the network over the sequence."""

from __future__ import annotations

import gc
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.dynamics import DynamicsConfig
from model.generator import Generator
from model.memory import EMPTY, MemorySpec, RollingKVMemory
from tests.networks import SMALL, random_generator, random_past

TOLERANCE = 1e-5
WINDOW, SINK = 4, 2


def memory_after(writes: int, sink: int = 0) -> RollingKVMemory:
    """Each stored number is the position of its frame."""
    memory = RollingKVMemory(MemorySpec(layers=2, heads=1, head_dim=3, tokens=2, window=WINDOW, sink=sink))
    for position in range(writes):
        frame = torch.full((2, 1, 1, 2, 3), float(position))
        memory.write(frame, -frame)
    return memory


def held(memory: RollingKVMemory) -> list[int]:
    return sorted(position for position in memory.positions if position != EMPTY)


# --- the ring -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", [0, SINK])
def test_each_write_evicts_strictly_the_oldest_frame_that_is_not_a_sink(sink: int) -> None:
    for writes in range(4 * WINDOW):
        memory = memory_after(writes, sink)
        sinks = list(range(min(sink, writes)))
        assert held(memory) == sinks + list(range(max(sink, writes - WINDOW), writes))
        memory.check_integrity()


@pytest.mark.parametrize("sink", [0, SINK])
def test_the_table_says_where_each_frame_really_is(sink: int) -> None:
    memory = memory_after(11, sink)
    for slot, position in enumerate(memory.positions):
        assert torch.all(memory.keys[:, :, :, slot] == position)
        assert torch.all(memory.values[:, :, :, slot] == -position)


def test_ages_count_ticks_before_the_coming_frame_and_never_pass_the_window() -> None:
    memory = memory_after(9, SINK)
    ages = dict(zip(memory.positions, memory.ages().tolist(), strict=True))
    assert {position: ages[position] for position in (5, 6, 7, 8)} == {5: 4, 6: 3, 7: 2, 8: 1}
    assert ages[0] == ages[1] == WINDOW, "a sink is as old as the window, or positions would grow for ever"
    assert memory_after(0).ages().tolist() == [0] * WINDOW


def test_the_declared_bytes_are_the_bytes_held() -> None:
    memory = memory_after(0)
    assert memory.keys.nbytes + memory.values.nbytes == memory.spec.bytes


def test_a_reset_forgets_everything() -> None:
    memory = memory_after(7)
    memory.reset()
    assert held(memory) == []
    assert memory.ages().tolist() == [0] * WINDOW


# --- snapshots and integrity --------------------------------------------------------------------------------------


def test_a_snapshot_is_not_changed_by_later_writes_and_restores_every_byte() -> None:
    memory = memory_after(6)
    keys, positions = memory.keys.clone(), list(memory.positions)
    saved = memory.snapshot()
    for _ in range(5):
        memory.write(torch.full((2, 1, 1, 2, 3), 99.0), torch.zeros(2, 1, 1, 2, 3))
    assert not torch.equal(memory.keys, keys), "the writes must be visible, or the next line proves nothing"
    memory.restore(saved)
    assert torch.equal(memory.keys, keys)
    assert (memory.positions, memory.next_position) == (positions, 6)


def swap_two(memory: RollingKVMemory) -> None:
    memory.positions[0], memory.positions[1] = memory.positions[1], memory.positions[0]


def lose_one(memory: RollingKVMemory) -> None:
    memory.positions[0] = EMPTY


def one_too_old(memory: RollingKVMemory) -> None:
    memory.positions[0] -= WINDOW


def count_wrongly(memory: RollingKVMemory) -> None:
    memory.next_position += 1


@pytest.mark.parametrize("damage", [swap_two, lose_one, one_too_old, count_wrongly])
def test_the_integrity_check_notices_a_damaged_table(damage: Callable[[RollingKVMemory], None]) -> None:
    memory = memory_after(9)
    memory.check_integrity()
    damage(memory)
    with pytest.raises(AssertionError):
        memory.check_integrity()
    with pytest.raises(AssertionError):
        memory_after(9).restore(memory.snapshot())


# --- the network over memory is the network over the sequence -----------------------------------------------------


def predict(generator: Generator, noisy: Tensor, estimate: Tensor, condition: Tensor, tau: float) -> Tensor:
    gates = generator.gates_at(condition, [tau])[0]
    return generator.predict(noisy, estimate, generator.known(condition), gates, generator.read_memory())


def both_ways(window: int, damage: Callable[[Generator], None] = lambda generator: None) -> Tensor:
    """Largest difference per tick of the sequence network and the memory network, over three times the memory."""
    time = 3 * SMALL.window + 2
    generator = random_generator(window=window)
    clean, conditions = random_past(time)
    noisy, estimate = torch.randn_like(clean), torch.randn_like(clean)
    tau = torch.rand(1, time)
    sequence = generator.dynamics(clean, noisy, estimate, conditions, tau, torch.tensor([window]))
    generator.prefill(clean[:, :1], conditions[:, :1])
    differences = []
    for t in range(1, time):
        sound = generator.snapshot()
        damage(generator)
        with torch.inference_mode():
            predicted = predict(generator, noisy[:, t], estimate[:, t], conditions[:, t], float(tau[0, t]))
        differences.append((predicted - sequence[:, t]).abs().max())
        generator.restore(sound)
        generator.commit(clean[:, t], conditions[:, t])
    return torch.stack(differences)


@pytest.mark.parametrize("window", [SMALL.window, 3, 1])
def test_memory_and_sequence_agree_far_beyond_the_window(window: int) -> None:
    assert both_ways(window).max() < TOLERANCE


def age_by_one(generator: Generator) -> None:
    generator.memory.positions = [EMPTY if p == EMPTY else p - 1 for p in generator.memory.positions]


def blank_the_newest(generator: Generator) -> None:
    memory = generator.memory
    memory.values[:, :, :, memory.slot_for(memory.next_position - 1)] = 0


@pytest.mark.parametrize("damage", [age_by_one, blank_the_newest])
def test_a_memory_that_is_wrong_by_one_frame_does_not_agree(damage: Callable[[Generator], None]) -> None:
    assert both_ways(SMALL.window, damage).max() > 100 * TOLERANCE


# --- no horizon ---------------------------------------------------------------------------------------------------


def prediction_from(first_position: int) -> Tensor:
    """A prediction after a past whose first frame is stored at this position."""
    generator = random_generator()
    clean, conditions = random_past(10)
    generator.last = generator.before = clean[:, 0].clone()
    generator.memory.next_position = first_position
    for t in range(9):
        generator.commit(clean[:, t], conditions[:, t])
    noise = torch.randn(1, SMALL.latent_dim, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        return predict(generator, noise, torch.zeros_like(noise), conditions[:, 9], 0.0)


@pytest.mark.parametrize("first_position", [1, 1_000, 1_000_000])
def test_only_ages_matter_so_a_late_session_predicts_as_an_early_one(first_position: int) -> None:
    assert torch.allclose(prediction_from(first_position), prediction_from(0), atol=TOLERANCE, rtol=0)


def test_five_thousand_commits_take_no_more_memory_and_fill_no_table() -> None:
    config = DynamicsConfig(width=16, layers=1, heads=2, window=4)
    generator = random_generator(config)
    clean, conditions = random_past(50)
    for t in range(20):
        generator.commit(clean[:, t], conditions[:, t])
    before = (address(generator), snapshot_bytes(generator), living_tensors())
    for t in range(5_000):
        generator.commit(clean[:, t % 50], conditions[:, t % 50])
    generator.memory.check_integrity()
    assert generator.memory.next_position == 5_020
    assert torch.isfinite(generator.memory.keys).all()
    assert (address(generator), snapshot_bytes(generator)) == before[:2]
    assert living_tensors() <= before[2] + 5


def address(generator: Generator) -> tuple[int, int]:
    return generator.memory.keys.data_ptr(), generator.memory.values.data_ptr()


def snapshot_bytes(generator: Generator) -> int:
    """Rounded: a longer position takes a byte more."""
    stored = io.BytesIO()
    torch.save(generator.snapshot(), stored)
    return stored.tell() // 1024


def living_tensors() -> int:
    gc.collect()
    return sum(type(thing) is Tensor for thing in gc.get_objects())
