"""Memories for tests, in which every stored number is the position of its frame."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from nextframe.model.memory.rolling import MemorySpec, RollingKVMemory
from nextframe.model.memory.slot_table import EMPTY

WINDOW, SINK_FRAMES = 4, 2
RING = MemorySpec(layers=2, heads=1, head_dim=3, tokens=2, window=WINDOW)
SINKS = replace(RING, sink=SINK_FRAMES)
UNLIKE_LAYERS = replace(SINKS, layer_windows=(4, 3), layer_dilations=(1, 2))


def frame_of(position: int, spec: MemorySpec = RING) -> Tensor:
    """Each stored number is the position of its frame."""
    return torch.full((spec.layers, spec.rows, spec.heads, spec.tokens, spec.head_dim), float(position))


def write(memory: RollingKVMemory, frames: int) -> None:
    for _ in range(frames):
        frame = frame_of(memory.next_position, memory.spec)
        memory.write(frame, -frame)


def memory_after(frames: int, spec: MemorySpec = RING, *, fixed_shape: bool = False) -> RollingKVMemory:
    memory = RollingKVMemory(spec, fixed_shape=fixed_shape)
    write(memory, frames)
    return memory


def held(memory: RollingKVMemory) -> list[int]:
    return sorted(position for position in memory.positions if position != EMPTY)


def contents(memory: RollingKVMemory) -> list[bytes]:
    """Every byte of every lane, and the tables."""
    tables = repr([lane.table.state for lane in memory.lanes]).encode()
    return [tables, *(part.numpy().tobytes() for lane in memory.lanes for part in (lane.keys, lane.values, lane.ages))]
