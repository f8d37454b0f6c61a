"""The memories of many sessions in shared tensors, so that one attention reads all of them at once.

Each row is a `RollingKVMemory` of its own: it writes, saves and checks itself as ever, only its tensors are views. Here
are those tensors and what a shared read needs: keys rotated by age, and a mask per row, because each session is at its
own tick and remembers as much as it has seen.

What no row sees is zero besides being masked, so that no number of a session that left can matter to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from ..memory.past import LanePast, Past, by_layer
from ..memory.rolling import MemorySpec, RollingKVMemory
from ..memory.rotary import Rotary, rotate
from ..memory.slot_table import KeepRule


class PooledLane:
    """Keys and values of the layers that keep the same frames, `(layers, rows, heads, slots, tokens, head_dim)`.

    Values are stored where attention reads them, with room at the end for the frame at hand; keys are stored as
    written and rotated into a room of their own.
    """

    def __init__(self, spec: MemorySpec, rule: KeepRule, rows: int, rotary: Rotary, device: torch.device) -> None:
        layers, slots = len(spec.layers_by_rule[rule]), rule.slots
        shape = (layers, rows, spec.heads, slots + 1, spec.tokens, spec.head_dim)
        self.keys = torch.zeros(shape, device=device)[:, :, :, :slots].contiguous()
        self.key_room, self.value_room = torch.zeros(shape, device=device), torch.zeros(shape, device=device)
        self.values = self.value_room[:, :, :, :slots]
        self.mask = torch.full((rows, slots + 1, spec.tokens), -torch.inf, device=device)
        self.mask[:, slots] = 0.0
        # Of every age there can be, once: the same numbers then for every row, whatever is computed beside it.
        cos, sin = rotary(-torch.arange(rule.reach + 1, device=device))
        self._cos, self._sin = cos, sin

    def stored(self, row: int) -> tuple[Tensor, Tensor]:
        """One row's keys and values, as a memory of one session has them."""
        return self.keys[:, row : row + 1], self.values[:, row : row + 1]

    def read(self, rows: slice, ages: Sequence[Sequence[int]]) -> None:
        """Bring neighbouring rows up to date: keys rotated by age, what is not seen masked."""
        age = torch.tensor(ages, device=self.keys.device)
        cos, sin = (part[age][:, None, :, None] for part in (self._cos, self._sin))
        for keys, room in zip(self.keys[:, rows], self.key_room[:, rows, :, :-1], strict=True):
            room.copy_(rotate(keys, cos, sin))  # by layer: what is between fits into the cache
        self.mask[rows, :-1] = torch.zeros_like(age, dtype=torch.float32).masked_fill_(age == 0, -torch.inf)[..., None]

    def blank(self, row: int, ages: Sequence[int]) -> None:
        """Zero what the row does not see."""
        hidden = [slot for slot, age in enumerate(ages) if not age]
        self.keys[:, row, :, hidden] = 0.0
        self.values[:, row, :, hidden] = 0.0


class MemoryPool:
    """`rows` memories of one session each. `past`: what attention reads, always the same tensors; `read` fills them."""

    def __init__(self, spec: MemorySpec, rows: int, rotary: Rotary, device: torch.device) -> None:
        if spec.rows != 1 or spec.history != "clean":
            raise ValueError(f"memory pool: expected a clean memory of one row per session, got {spec}")
        self._lanes = [PooledLane(spec, rule, rows, rotary, device) for rule in spec.layers_by_rule]
        self.memories = [
            RollingKVMemory(spec, device, stored=[lane.stored(row) for lane in self._lanes]) for row in range(rows)
        ]
        self.past = self._past(rows)

    def _past(self, rows: int) -> Past:
        parts = []
        for lane, kind in zip(self._lanes, self.memories[0].lanes, strict=True):
            keys, values = (room.flatten(3, 4) for room in (lane.key_room, lane.value_room))
            parts.append(LanePast(kind, keys, values, lane.mask.view(rows, 1, 1, -1)))
        return by_layer(self.memories[0], parts)

    def read(self, rows: Sequence[int]) -> None:
        """Bring `past` up to date for these rows, ascending; the others stay as they are."""
        for _, run in groupby(enumerate(rows), lambda pair: pair[1] - pair[0]):
            neighbours = [row for _, row in run]
            for at, lane in enumerate(self._lanes):
                ages = [self.memories[row].lanes[at].table.ages() for row in neighbours]
                lane.read(slice(neighbours[0], neighbours[-1] + 1), ages)

    def reset(self, row: int) -> None:
        """The memory of a new session: empty, and all zeros."""
        self.memories[row].reset()
        self._blank(row)

    def restore(self, row: int, snapshot: dict[str, object]) -> None:
        """Raises as `RollingKVMemory.restore`, and then changes nothing."""
        self.memories[row].restore(snapshot)
        self._blank(row)

    def _blank(self, row: int) -> None:
        for at, lane in enumerate(self._lanes):
            lane.blank(row, self.memories[row].lanes[at].table.ages())
