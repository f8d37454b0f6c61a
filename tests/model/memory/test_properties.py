"""What holds of the rolling memory after any sequence of events, at any age of the session, and against five bugs.

The five are those of a published ring cache. Each is written out as a mutant, and the claim that guards against it
must fail on the mutant.
"""

from __future__ import annotations

import gc
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from torch import Tensor

from nextframe.model.dynamics.slots import Dynamics, DynamicsConfig
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.memory.past import gather
from nextframe.model.memory.rolling import Lane, MemorySpec, RollingKVMemory
from nextframe.model.memory.slot_table import EMPTY, SINK
from tests.support.memories import RING, WINDOW, frame_of, held, memory_after, write
from tests.support.networks import SMALL, random_generator, random_past

TOLERANCE = 1e-5

# --- any sequence of events ---------------------------------------------------------------------------------------


class BrokenOffError(Exception):
    pass


def broken_write(lane: Lane, slot: int, keys: Tensor, values: Tensor) -> None:
    lane.keys[:, :, :, slot] = keys
    raise BrokenOffError


class MemoryMachine(RuleBasedStateMachine):
    """Beside the memory, the plain list of what was written in this scene: what must be held follows from it."""

    kind = RollingKVMemory
    saved: tuple[dict[str, object], tuple[int, int, int]] | None = None

    @initialize(window=st.integers(1, 5), sink=st.integers(0, 3), dilation=st.integers(1, 3), fixed_shape=st.booleans())
    def begin(self, window: int, sink: int, dilation: int, fixed_shape: bool) -> None:
        self.rules = ((window, 1), (window + 1, dilation))
        spec = MemorySpec(
            2, 1, 2, 1, window, sink=sink, layer_windows=(window, window + 1), layer_dilations=(1, dilation)
        )
        self.memory = self.kind(spec, fixed_shape=fixed_shape)
        self.start, self.frames, self.written = 0, 0, 0

    def _write(self) -> None:
        frame = frame_of(self.start + self.frames, self.memory.spec)
        self.memory.write(frame, -frame)

    @rule(count=st.integers(1, 9))
    def write(self, count: int) -> None:
        for _ in range(count):
            self._write()
            self.frames += 1

    @rule()
    def fail_to_write(self) -> None:
        plain, Lane.write = Lane.write, broken_write  # type: ignore[method-assign]
        try:
            with pytest.raises(BrokenOffError):
                self._write()
        finally:
            Lane.write = plain  # type: ignore[method-assign]

    @rule()
    def cut_the_scene(self) -> None:
        self.memory.new_epoch()
        self.start, self.frames = self.start + self.frames, 0

    @rule(first=st.integers(0, 10**6))
    def reset(self, first: int) -> None:
        self.memory.reset(first)
        self.start, self.frames = first, 0

    @rule()
    def save(self) -> None:
        self.saved = self.memory.snapshot(), (self.start, self.frames, 0)

    @rule()
    def load(self) -> None:
        if self.saved is not None:
            self.memory.restore(self.saved[0])
            self.start, self.frames, _ = self.saved[1]

    @invariant()
    def the_tables_are_sound(self) -> None:
        if hasattr(self, "memory"):
            self.memory.check_integrity()

    @invariant()
    def exactly_the_right_frames_are_seen_at_the_right_ages(self) -> None:
        if not hasattr(self, "memory"):
            return
        sink = self.memory.spec.sink
        for (window, dilation), layer in zip(self.rules, range(2), strict=True):
            lane = next(lane for lane in self.memory.lanes if layer in lane.layers)
            kept = [i for i in range(sink, self.frames) if (i - sink) % dilation == 0][-window:]
            expected = {self.start + i: min(self.frames - i, window * dilation) for i in [*range(sink), *kept]
                        if i < self.frames}  # fmt: skip
            found = {}
            for at, (slot, age) in enumerate(zip(lane.table.state.slots, lane.table.ages(), strict=True)):
                if age:
                    found[slot.position] = age
                    assert torch.all(lane.keys[:, :, :, at] == slot.position), "the bytes are another frame's"
                    assert torch.all(lane.values[:, :, :, at] == -slot.position)
                    assert (slot.kind == SINK) == (at < sink), "a write crossed the sinks' edge"
            assert found == expected


TestAnySequenceOfEvents = MemoryMachine.TestCase
TestAnySequenceOfEvents.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


class DoesNotUndo(RollingKVMemory):
    def _undo(self, before: Any) -> None:
        """Leaves what was half written."""


class SavesNoEpoch(RollingKVMemory):
    def restore(self, snapshot: Any) -> None:
        states = [lane.table.state for lane in self.lanes]
        super().restore(snapshot)
        for lane, state in zip(self.lanes, states, strict=True):
            lane.table.state = lane.table.state._replace(epoch=state.epoch)


class LetsTheRingIntoTheSinks(RollingKVMemory):
    def write(self, keys: Tensor, values: Tensor, **options: Any) -> None:
        super().write(keys, values, **options)
        if self.next_position % self.spec.slots == 0:
            self.keys[:, :, :, 0] = keys[: len(self.keys)]


@pytest.mark.parametrize("mutant", [DoesNotUndo, SavesNoEpoch, LetsTheRingIntoTheSinks])
def test_a_broken_memory_does_not_survive_any_sequence_of_events(mutant: type[RollingKVMemory]) -> None:
    machine = type("Mutant", (MemoryMachine,), {"kind": mutant})
    few = settings(max_examples=100, deadline=None, database=None, phases=[Phase.generate], derandomize=True)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(machine, settings=few)


# --- five bugs of a published ring cache --------------------------------------------------------------------------

BUG_SPEC = MemorySpec(layers=2, heads=1, head_dim=4, tokens=2, window=3, sink=3)
Claim = Callable[[type[RollingKVMemory]], None]


def trace(memory: RollingKVMemory, frames: int) -> list[int]:
    """The slot that each of the next frames is stored in, found from the bytes."""
    slots = []
    for _ in range(frames):
        before = memory.keys.clone()
        write_next(memory)
        changed = (memory.keys != before).any(-1).any(-1).any(2).any(1)
        assert torch.equal(changed[0], changed[1]), "layers disagree"
        assert changed[0].sum() == 1
        slots.append(int(changed[0].nonzero()))
    return slots


def write_next(memory: RollingKVMemory) -> None:
    frame = frame_of(memory.next_position % 97 + 1, memory.spec) + torch.rand(1)
    memory.write(frame, frame)


STEADY = [0, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5]


class RefreshesUnfilledSinks(RollingKVMemory):
    """Compares the coming frame with every sink slot, also those that hold nothing: zeros are never alike."""

    queued: int | None = None

    def write(self, keys: Tensor, values: Tensor, **options: Any) -> None:
        mean = keys[0].mean((0, 1, 2))
        for slot in range(self.spec.sink):
            likeness = torch.cosine_similarity(mean, self.keys[0, :, :, slot].mean((0, 1, 2)), dim=0)
            if likeness < 0.2 and self.next_position == self.spec.sink - 1:
                self.queued = slot
        super().write(keys, values, **options)
        if self.queued is not None and self.next_position == self.spec.slots + 1:
            self.keys[:, :, :, self.queued] = keys


class KeepsItsQueueOverAReset(RollingKVMemory):
    """The tensors start anew, the order of eviction goes on."""

    def reset(self, first_position: int = 0) -> None:
        turned = self.next_position
        super().reset(first_position)
        table = self.lanes[0].table
        sink, window = self.spec.sink, self.spec.window
        table.slot_for = lambda p: p if p < sink else sink + (p - sink + turned) % window  # type: ignore[method-assign]


class WritesTwoAtOnce(RollingKVMemory):
    """A ring of three with writes of two: the second half of a write steps over the edge."""

    def write(self, keys: Tensor, values: Tensor, **options: Any) -> None:
        slot = self.slot_for(self.next_position)
        super().write(keys, values, **options)
        if slot is not None and slot == self.spec.slots - 1:
            self.keys[:, :, :, slot - self.spec.window] = keys


class MovesWithoutItsTable(RollingKVMemory):
    """Only keys and values move to the new place of a layer."""

    def restore(self, snapshot: Any) -> None:
        (part,) = snapshot["lanes"]
        self.keys.copy_(torch.from_numpy(part["keys"]))
        self.values.copy_(torch.from_numpy(part["values"]))


class HasATableOf1024Positions(RollingKVMemory):
    def write(self, keys: Tensor, values: Tensor, **options: Any) -> None:
        _ = torch.zeros(1024)[self.next_position]
        super().write(keys, values, **options)


def claim_1_sinks_stay(kind: type[RollingKVMemory]) -> None:
    memory = kind(BUG_SPEC)
    write_next(memory)
    assert trace(memory, 2) == [1, 2]
    sinks = memory.keys[:, :, :, :3].clone()
    for _ in range(9):
        write_next(memory)
        assert torch.equal(memory.keys[:, :, :, :3], sinks)


def claim_2_reset_restores_the_order(kind: type[RollingKVMemory]) -> None:
    memory = kind(BUG_SPEC)
    assert trace(memory, 11) == STEADY[:11]
    memory.reset()
    assert trace(memory, 12) == STEADY


def claim_3_two_frames_cross_no_edge(kind: type[RollingKVMemory]) -> None:
    memory = kind(BUG_SPEC)
    for _ in range(3):
        write_next(memory)
    sinks = memory.keys[:, :, :, :3].clone()
    for pair in range(6):
        write_next(memory)
        write_next(memory)
        assert torch.equal(memory.keys[:, :, :, :3], sinks), f"pair {pair} overwrote a sink"
        memory.check_integrity()


def claim_4_a_moved_layer_goes_on(kind: type[RollingKVMemory]) -> None:
    there = kind(BUG_SPEC)
    for _ in range(7):
        write_next(there)
    here = kind(BUG_SPEC)
    here.restore(there.snapshot())
    assert trace(here, 5) == STEADY[7:12]


def claim_5_no_position_is_too_late(kind: type[RollingKVMemory]) -> None:
    memory = kind(BUG_SPEC)
    memory.reset(1020)
    for _ in range(12):
        write_next(memory)
    memory.reset(10**9)
    assert trace(memory, 12) == STEADY


def catches(claim: Claim, mutant: type[RollingKVMemory]) -> None:
    claim(RollingKVMemory)
    with pytest.raises((AssertionError, IndexError)):
        claim(mutant)


def test_bug_1_an_unfilled_sink_is_never_taken_for_a_stale_one() -> None:
    catches(claim_1_sinks_stay, RefreshesUnfilledSinks)


def test_bug_2_a_reset_also_resets_the_order_of_eviction() -> None:
    catches(claim_2_reset_restores_the_order, KeepsItsQueueOverAReset)


def test_bug_3_writes_of_two_frames_never_cross_into_the_sinks() -> None:
    catches(claim_3_two_frames_cross_no_edge, WritesTwoAtOnce)


def test_bug_4_what_moves_takes_its_table_along() -> None:
    catches(claim_4_a_moved_layer_goes_on, MovesWithoutItsTable)


def test_bug_5_there_is_no_last_position() -> None:
    catches(claim_5_no_position_is_too_late, HasATableOf1024Positions)


# --- no horizon ---------------------------------------------------------------------------------------------------


@torch.inference_mode()
def predicted(generator: RollingGenerator, condition: Tensor) -> Tensor:
    """Of one noise for all, without its share of the last frames: they would be the same anyway."""
    config = generator.config
    noise = torch.randn(1, config.latent_dim, generator=torch.Generator().manual_seed(5))
    gates = generator.gates_at(condition, [0.0])[0]
    return generator.predict(noise, torch.zeros_like(noise), generator.known(condition), gates, generator.read_memory())


def prediction_from(first_position: int, spec: MemorySpec, *, fixed_shape: bool = False) -> Tensor:
    """After a past of nine frames, of which the first is stored at this position."""
    generator = random_generator(memory_spec=spec, fixed_shape=fixed_shape)
    clean, conditions = random_past(10)
    generator.last = generator.before = clean[:, 0].clone()
    generator.memory.reset(first_position)
    for t in range(9):
        generator.commit(clean[:, t], conditions[:, t])
    generator.memory.check_integrity()
    return predicted(generator, conditions[:, 9])


@pytest.mark.parametrize("fixed_shape", [False, True])
@pytest.mark.parametrize("sink", [0, 2])
@pytest.mark.parametrize("first_position", [1, 1_000, 1_000_000])
@pytest.mark.bitexact
def test_only_ages_matter_so_a_late_session_predicts_as_an_early_one(
    first_position: int, sink: int, fixed_shape: bool
) -> None:
    """Bit for bit: slots count from the first frame, so even the order of the sums is the same."""
    spec = replace(SMALL.memory_spec(), sink=sink)
    late, early = (prediction_from(first, spec, fixed_shape=fixed_shape) for first in (first_position, 0))
    assert torch.equal(late, early)


def test_positions_that_grow_in_float32_angles_would_not_do() -> None:
    """The control: the same rotation by absolute positions loses the difference of two late positions."""
    dynamics = random_generator().dynamics
    query, key = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0))

    def score(offset: int) -> Tensor:
        (cos_q, sin_q), (cos_k, sin_k) = (dynamics.rotary(torch.tensor([offset + p])) for p in (5, 2))
        return (turn(query, cos_q, sin_q) * turn(key, cos_k, sin_k)).sum()

    assert abs(score(0) - score(1)) < TOLERANCE
    assert abs(score(0) - score(10_000_000)) > 100 * TOLERANCE


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


TINY = DynamicsConfig(width=8, layers=2, heads=2, window=4)
CRITICAL = (1023, 1024, 4095, 4096, 65_535, 65_536)


def constant_session(ticks: int, first_position: int = 0, sink: int = 1, break_at: int | None = None) -> float:
    """Largest change of the prediction from one tick to the next, on a constant input, once the memory is full."""
    generator = random_generator(TINY, memory_spec=replace(TINY.memory_spec(), sink=sink))
    clean, conditions = random_past(1)
    latent, condition = clean[:, 0], conditions[:, 0]
    generator.last = generator.before = generator.tokenizer.canonical(latent)
    generator.memory.reset(first_position)
    settled = TINY.layers * (TINY.window + sink) + 2
    before, largest = predicted(generator, condition), 0.0
    for tick in range(ticks):
        if tick == break_at:
            generator.memory.new_epoch()
        generator.commit(latent, condition)
        now = predicted(generator, condition)
        largest = max(largest, float((now - before).abs().max())) if tick > settled else largest
        before = now
    generator.memory.check_integrity()
    assert generator.memory.next_position == first_position + ticks
    return largest


@pytest.mark.parametrize("index", CRITICAL)
def test_a_constant_input_predicts_the_same_across_the_indices_where_tables_end(index: int) -> None:
    assert constant_session(60, first_position=index - 40) < TOLERANCE


def test_a_break_in_the_memory_would_show_in_a_constant_session() -> None:
    assert constant_session(60, break_at=40) > 100 * TOLERANCE


def test_two_thousand_ticks_of_a_constant_input_show_no_break() -> None:
    assert constant_session(2_000) < TOLERANCE


@pytest.mark.slow
def test_a_hundred_thousand_ticks_of_a_constant_input_show_no_break_and_take_no_memory() -> None:
    constant_session(100)
    before = living_tensors()
    assert constant_session(100_000) < TOLERANCE
    assert living_tensors() <= before + 5


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


def address(generator: RollingGenerator) -> tuple[int, int]:
    return generator.memory.keys.data_ptr(), generator.memory.values.data_ptr()


def snapshot_bytes(generator: RollingGenerator) -> int:
    """Rounded: a longer position takes a byte more."""
    stored = io.BytesIO()
    torch.save(generator.snapshot(), stored)
    return stored.tell() // 1024


def living_tensors() -> int:
    gc.collect()
    return sum(type(thing) is Tensor for thing in gc.get_objects())


def test_an_empty_memory_reads_as_the_frame_at_hand_alone() -> None:
    dynamics: Dynamics = random_generator().dynamics
    past = gather(RollingKVMemory(SMALL.memory_spec()), dynamics.rotary)
    assert [keys.shape[2] for keys in past.keys] == [SMALL.tokens] * SMALL.layers
    assert held(memory_after(0, RING)) == []
    assert memory_after(0, RING).positions == [EMPTY] * WINDOW
    memory = memory_after(0, RING)
    write(memory, 1)
    assert held(memory) == [0]
