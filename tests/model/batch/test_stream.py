"""Stream-batching: which history a row sees, and how late an input is, as whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from nextframe.model.batch.stream import Emitted, HistoryError, StreamBatch, lag_frames
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.memory.past import gather
from nextframe.model.memory.rolling import MemorySpec, RollingKVMemory
from tests.support.networks import SMALL, random_dynamics, random_generator, random_tokenizer

SHAPES = [(1, 1), (2, 1), (4, 1), (1, 4), (2, 3), (4, 4)]
"""Denoise steps, stages."""


def spec_of(steps: int, layers: int = 1) -> MemorySpec:
    return MemorySpec(layers, heads=1, head_dim=4, tokens=2, window=3, history="same_level", levels=steps)


@dataclass
class StampedFrame:
    """`saw`: for every visit the step, the stage, and the frames in the history that was read."""

    frame: int
    action: int
    saw: list[tuple[int, int, list[int]]] = field(default_factory=list)


class StampingNetwork:
    """Keeps a history per stage and level, and writes into every frame what it saw."""

    def __init__(self, steps: int, stages: int) -> None:
        self.memory_spec = spec_of(steps)
        self.history: list[list[list[int]]] = [[[] for _ in range(steps)] for _ in range(stages)]
        self.visits = 0

    def enter(self, frame: int, action: int) -> StampedFrame:
        return StampedFrame(frame, action)

    def visit(self, stage: int, items: Sequence[StampedFrame | None]) -> None:
        self.visits += 1
        for step, item in enumerate(items):
            if item is not None:
                item.saw.append((step, stage, list(self.history[stage][step])))
                self.history[stage][step].append(item.frame)

    def end_of_step(self, step: int, item: StampedFrame) -> StampedFrame:
        return item


def stream(steps: int, stages: int, frames: int, switch: int) -> list[Emitted | None]:
    """The input is 0 until frame number `switch` enters, then 1."""
    batch = StreamBatch(StampingNetwork(steps, stages), stages)
    return [batch.step(int(number >= switch)) for number in range(frames)]


@pytest.mark.parametrize(("steps", "stages"), SHAPES)
def test_an_input_is_seen_after_exactly_the_committed_frames(steps: int, stages: int) -> None:
    """Between the micro-step that reads an input and the one whose frame shows it, n * W - 1 frames come out."""
    switch = 30
    out = stream(steps, stages, 70, switch)
    actions = [emitted.picture.action for emitted in out[switch:] if emitted is not None]
    assert actions.index(1) == steps * stages - 1 == lag_frames(steps, stages)
    assert {emitted.lag_frames for emitted in out if emitted is not None} == {steps * stages - 1}


@pytest.mark.parametrize(("steps", "stages"), SHAPES)
def test_every_micro_step_but_the_first_few_gives_the_next_frame(steps: int, stages: int) -> None:
    out = stream(steps, stages, 40, 0)
    lag = steps * stages - 1
    assert out[:lag] == [None] * lag
    assert [emitted.frame for emitted in out[lag:] if emitted is not None] == list(range(40 - lag))


@pytest.mark.parametrize(("steps", "stages"), SHAPES)
def test_a_row_at_step_r_sees_what_step_r_has_written_of_every_frame_before(steps: int, stages: int) -> None:
    for emitted in stream(steps, stages, 40, 0):
        if emitted is not None:
            item = emitted.picture
            order = [(step, stage) for step in range(steps) for stage in range(stages)]
            assert [(step, stage) for step, stage, _ in item.saw] == order
            assert all(history == list(range(item.frame)) for _, _, history in item.saw)


def test_all_stages_work_in_every_micro_step_once_the_ring_is_full() -> None:
    network = StampingNetwork(2, 3)
    batch = StreamBatch(network, 3)
    for _ in range(20):
        batch.step(0)
    assert network.visits == 20 * 3 - (1 + 2), "stage w starts w micro-steps late"


class EarlyNetwork(StampingNetwork):
    """A control: reads the history of the last level, which has not got there yet."""

    def visit(self, stage: int, items: Sequence[StampedFrame | None]) -> None:
        super().visit(stage, items)
        for step, item in enumerate(items):
            if item is not None:
                item.saw[-1] = (step, stage, list(self.history[stage][-1]))


def test_a_row_that_reads_another_level_is_found_to_be_stale() -> None:
    batch = StreamBatch(EarlyNetwork(3, 1), 1)
    last = [batch.step(0) for _ in range(12)][-1]
    assert last is not None
    assert last.picture.saw[0][2] != list(range(last.frame))


# --- our own generator --------------------------------------------------------------------------------------------


def test_a_generator_of_finished_frames_is_refused() -> None:
    network = StampingNetwork(2, 1)
    network.memory_spec = random_generator().memory.spec
    with pytest.raises(HistoryError, match=r"same_level history, got one with a clean history: it remembers finished"):
        StreamBatch(network)
    with pytest.raises(ValueError, match="expected a clean history, got same_level"):
        RollingGenerator(
            random_tokenizer(), random_dynamics(),
            memory_spec=replace(SMALL.memory_spec(), history="same_level", levels=2),
        )  # fmt: skip


def test_no_stage_is_no_stream() -> None:
    with pytest.raises(ValueError, match="at least 1 stage"):
        StreamBatch(StampingNetwork(2, 1), stages=0)


# --- a real network: one layer of attention per stage -------------------------------------------------------------


@dataclass
class Flowing:
    x: Tensor


class SmallStreamNetwork:
    """Attention over the same level's rolling memory; the action enters with the noise. Random weights."""

    def __init__(self, steps: int, stages: int) -> None:
        self.memory_spec = spec_of(steps, layers=stages)
        draw = torch.Generator().manual_seed(4)
        self.weights = torch.randn(stages, 4, 4, 4, generator=draw) * 0.5
        self.level_gain = torch.randn(steps, 4, generator=draw)
        self.noise = torch.randn(100, 2, 4, generator=draw)
        self.memories = [RollingKVMemory(spec_of(steps)) for _ in range(stages)]

    def enter(self, frame: int, action: float) -> Flowing:
        return Flowing(self.noise[frame] + action)

    def visit(self, stage: int, items: Sequence[Flowing | None]) -> None:
        for level, item in enumerate(items):
            if item is not None:
                item.x = self.layer(stage, level, item.x)

    def layer(self, stage: int, level: int, x: Tensor) -> Tensor:
        query, key, value, out = self.weights[stage]
        memory = self.memories[stage]
        past = gather(memory, rotary, level)
        y = x * (1 + self.level_gain[level])
        k, v = (y @ key)[None, None], (y @ value)[None, None]
        past.own_keys[0].copy_(k)
        past.own_values[0].copy_(v)
        memory.write(k[None], v[None], level=level)
        attended = F.scaled_dot_product_attention((y @ query)[None, None], past.keys[0], past.values[0])
        return x + attended[0, 0] @ out

    def end_of_step(self, step: int, item: Flowing) -> Flowing:
        return Flowing(torch.tanh(item.x) + 0.1 * step)


def rotary(positions: Tensor) -> tuple[Tensor, Tensor]:
    angle = positions[:, None].float() * torch.tensor([1.0, 0.1])
    return angle.cos(), angle.sin()


def one_frame_after_the_other(steps: int, stages: int, actions: list[float]) -> list[Tensor]:
    """The same generator without a stream: all steps and stages of a frame before the next one starts."""
    network, frames = SmallStreamNetwork(steps, stages), []
    for frame, action in enumerate(actions):
        item = network.enter(frame, action)
        for step in range(steps):
            for stage in range(stages):
                network.visit(stage, [item if row == step else None for row in range(steps)])
            item = network.end_of_step(step, item)
        frames.append(item.x)
    return frames


@pytest.mark.parametrize(("steps", "stages"), SHAPES)
def test_a_stream_batch_makes_the_frames_of_the_same_generator_run_frame_by_frame(steps: int, stages: int) -> None:
    actions = [float(number % 5) for number in range(40)]
    batch: Any = StreamBatch(SmallStreamNetwork(steps, stages), stages)
    made = [emitted.picture.x for action in actions if (emitted := batch.step(action)) is not None]
    expected = one_frame_after_the_other(steps, stages, actions)
    assert len(made) == 40 - lag_frames(steps, stages)
    assert all(torch.equal(a, b) for a, b in zip(made, expected, strict=False))
    other = one_frame_after_the_other(steps, stages, [0.0] * 40)
    assert not any(torch.equal(a, b) for a, b in zip(made[1:], other[1:], strict=False)), "actions must matter"
