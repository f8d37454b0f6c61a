"""Rolling KV memory: what the network remembers, as keys and values of the last frames, without a horizon.

Owns preallocated tensors and one host-side slot table shared by all layers. Counts in frames, not tokens. Keys are
stored unrotated and rotated by their age when read, so only relative positions exist: a session can run for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

EMPTY = -1


@dataclass(frozen=True)
class MemorySpec:
    """`window`: frames kept in the ring. `sink`: first frames kept for ever. `tokens`: tokens of one frame."""

    layers: int
    heads: int
    head_dim: int
    tokens: int
    window: int
    sink: int = 0
    rows: int = 1

    @property
    def slots(self) -> int:
        return self.sink + self.window

    @property
    def bytes(self) -> int:
        return 2 * 4 * self.layers * self.rows * self.heads * self.slots * self.tokens * self.head_dim


class RollingKVMemory:
    """Sinks, then a ring. `write` modifies; everything else reads. One write per frame, all layers at once."""

    def __init__(self, spec: MemorySpec, device: torch.device | str = "cpu") -> None:
        self.spec = spec
        shape = (spec.layers, spec.rows, spec.heads, spec.slots, spec.tokens, spec.head_dim)
        self.keys = torch.zeros(shape, device=device)
        self.values = torch.zeros(shape, device=device)
        self.positions = [EMPTY] * spec.slots
        self.next_position = 0

    def reset(self) -> None:
        """Forget everything. Modifies the table only: empty slots are never read."""
        self.positions = [EMPTY] * self.spec.slots
        self.next_position = 0

    def slot_for(self, position: int) -> int:
        """Where the frame at `position` is stored: a sink if it is one of the first, else the oldest ring slot."""
        if position < self.spec.sink:
            return position
        return self.spec.sink + (position - self.spec.sink) % self.spec.window

    def write(self, keys: Tensor, values: Tensor) -> None:
        """Store the next frame, `(layers, rows, heads, tokens, head_dim)` each. Evicts strictly the oldest."""
        slot = self.slot_for(self.next_position)
        self.keys[:, :, :, slot] = keys
        self.values[:, :, :, slot] = values
        self.positions[slot] = self.next_position
        self.next_position += 1

    def ages(self) -> Tensor:
        """`(slots,)` int64: how many ticks before the coming frame each slot is; 0 where empty.

        A sink older than the window is held at the window's edge, the oldest age the network was trained on.
        """
        edge = self.spec.window
        ages = [0 if p == EMPTY else min(self.next_position - p, edge) for p in self.positions]
        return torch.tensor(ages, device=self.keys.device)

    def snapshot(self) -> dict[str, object]:
        """A copy that later writes cannot change, as numpy arrays and plain numbers."""
        return {
            "keys": self.keys.cpu().numpy().copy(), "values": self.values.cpu().numpy().copy(),
            "positions": list(self.positions), "next_position": self.next_position,
        }  # fmt: skip

    def restore(self, snapshot: dict[str, object]) -> None:
        keys, values, positions = snapshot["keys"], snapshot["values"], snapshot["positions"]
        next_position = snapshot["next_position"]
        assert isinstance(keys, np.ndarray)
        assert isinstance(values, np.ndarray)
        assert isinstance(positions, list)
        assert isinstance(next_position, int)
        self.keys.copy_(torch.from_numpy(keys))
        self.values.copy_(torch.from_numpy(values))
        self.positions = list(positions)
        self.next_position = next_position
        self.check_integrity()

    def check_integrity(self) -> None:
        """Assert the invariants: each stored frame is in its own slot, and the ring holds the newest frames."""
        held = sorted(p for p in self.positions if p != EMPTY)
        for slot, position in enumerate(self.positions):
            assert position == EMPTY or self.slot_for(position) == slot, (slot, position)
        ring = [p for p in held if p >= self.spec.sink]
        newest = range(max(self.spec.sink, self.next_position - self.spec.window), self.next_position)
        assert ring == list(newest), (ring, self.next_position)
