"""The rolling memory as attention reads it: keys rotated by their age, with room for the frame at hand.

Two ways to the same numbers. `gather` takes only the slots that are seen: least work, best on a CPU. `FixedPast` takes
all slots and masks the unseen: the shapes and addresses never change and nothing waits for the device, so that a tick
can be captured in a CUDA graph. Angles come from relative ages alone, small whole numbers, in float32: no table to run
off, and no position that grows. Only reads the memory.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .rolling import Lane, RollingKVMemory
from .rotary import Rotary, rotate
from .slot_table import CLEAN


class Past(NamedTuple):
    """Remembered keys, rotated by age, and values, by layer `(rows, heads, slots * tokens + tokens, head_dim)`.

    The room at the end is for the tokens of the frame at hand: views of it in `own_keys` and `own_values`. `masks`:
    by layer, added to the scores, `(1, slots * tokens + tokens)`; None where everything is seen.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    own_keys: tuple[Tensor, ...]
    own_values: tuple[Tensor, ...]
    masks: tuple[Tensor | None, ...]


class LanePast(NamedTuple):
    """The same of the layers of one lane, in one tensor each."""

    lane: Lane
    keys: Tensor
    values: Tensor
    mask: Tensor | None


def gather(memory: RollingKVMemory, rotary: Rotary, level: int = CLEAN) -> Past:
    """What is seen now, in new tensors."""
    return by_layer(memory, [_gather_lane(memory, lane, rotary) for lane in memory.lanes_at(level)])


def _gather_lane(memory: RollingKVMemory, lane: Lane, rotary: Rotary) -> LanePast:
    spec, ages, device = memory.spec, lane.table.ages(memory.limit), lane.keys.device
    seen = [slot for slot, age in enumerate(ages) if age]
    order = torch.tensor(seen, dtype=torch.int64, device=device)
    cos, sin = rotary(torch.tensor([-ages[slot] for slot in seen], dtype=torch.int64, device=device))
    remembered = len(seen) * spec.tokens
    shape = (len(lane.layers), spec.rows, spec.heads, remembered + spec.tokens, spec.head_dim)
    keys, values = torch.empty(shape, device=device), torch.empty(shape, device=device)
    rotated = rotate(lane.keys[:, :, :, order], cos[:, None], sin[:, None])
    keys[..., :remembered, :] = rotated.flatten(3, 4)
    values[..., :remembered, :] = lane.values[:, :, :, order].flatten(3, 4)
    return LanePast(lane, keys, values, None)


class FixedPast:
    """Tensors of one size at one address, filled anew by each `read`: a `Past` holds until the next one.

    Slots that are not seen are read as zeros besides being masked, so that no number left there can matter.
    """

    def __init__(self, memory: RollingKVMemory, rotary: Rotary) -> None:
        assert memory.fixed_shape, "a fixed-shape read needs a memory that keeps its ages on the device"
        self._memory = memory
        self._rotary = rotary
        self._room: dict[int, list[LanePast]] = {}
        for level in memory.spec.level_names:
            self._room[level] = [self._allocate(lane) for lane in memory.lanes_at(level)]
        self._pasts = {level: by_layer(memory, room) for level, room in self._room.items()}

    def _allocate(self, lane: Lane) -> LanePast:
        *shape, slots, tokens, head_dim = lane.keys.shape
        keys, values = (torch.zeros(*shape, (slots + 1) * tokens, head_dim, device=lane.keys.device) for _ in range(2))
        return LanePast(lane, keys, values, lane.mask)

    def read(self, level: int = CLEAN) -> Past:
        """What is seen now, in the same tensors as ever."""
        for lane, keys, values, _ in self._room[level]:
            slots, tokens = lane.keys.shape[3:5]
            cos, sin = self._rotary(-lane.ages)
            hidden = (lane.ages == 0)[:, None, None]
            rotated = rotate(lane.keys, cos[:, None], sin[:, None])
            for room, stored in ((keys, rotated), (values, lane.values)):
                remembered = room.unflatten(3, (slots + 1, tokens))[:, :, :, :slots]
                remembered.copy_(stored.masked_fill(hidden, 0.0))
        return self.at(level)

    def at(self, level: int = CLEAN) -> Past:
        """As the last `read` of the level left it."""
        return self._pasts[level]


def by_layer(memory: RollingKVMemory, parts: list[LanePast]) -> Past:
    """From lanes to layers: views, no copies."""
    tokens = memory.spec.tokens
    rows: dict[int, tuple[Tensor | None, ...]] = {}
    for lane, keys, values, mask in parts:
        own_keys, own_values = keys[..., -tokens:, :], values[..., -tokens:, :]
        columns = zip(keys.unbind(0), values.unbind(0), own_keys.unbind(0), own_values.unbind(0), strict=True)
        rows |= {layer: (*column, mask) for layer, column in zip(lane.layers, columns, strict=True)}
    return Past(*zip(*(rows[layer] for layer in sorted(rows)), strict=True))
