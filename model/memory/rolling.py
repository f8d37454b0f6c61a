"""Rolling KV memory: what the network remembers, as keys and values of the last frames, without a horizon.

Preallocated tensors, written in place, and slot tables that say what is in them. Counts in frames, not
tokens. Keys are stored unrotated and rotated by their age when read (`nextframe.model.memory.past`), so only relative
positions exist: a session has no horizon. See docs/memory.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from .slot_table import CLEAN, EMPTY, KeepRule, Slot, SlotTable, TableState


@dataclass(frozen=True)
class MemorySpec:
    """`window`: frames kept in the ring. `sink`: first frames, always kept. `tokens`: tokens of one frame.

    `layer_windows`, `layer_dilations`: one entry per layer where layers differ; a layer with dilation d keeps every
    d-th frame and so reaches d times its window back.
    `history`: "clean", keys of finished frames; or "same_level", one history per denoise step, `levels` of them, so
    that rows at denoise step r see what was written at step r.
    """

    layers: int
    heads: int
    head_dim: int
    tokens: int
    window: int
    sink: int = 0
    rows: int = 1
    layer_windows: tuple[int, ...] = ()
    layer_dilations: tuple[int, ...] = ()
    history: Literal["clean", "same_level"] = "clean"
    levels: int = 1

    def __post_init__(self) -> None:
        for name in ("layer_windows", "layer_dilations"):
            if len(getattr(self, name)) not in {0, self.layers}:
                raise ValueError(f"memory spec: expected {name} for {self.layers} layers, got {getattr(self, name)}")
        if self.levels < 1 or (self.history == "clean" and self.levels != 1):
            raise ValueError(f"memory spec: a {self.history} history cannot have {self.levels} levels")

    @property
    def slots(self) -> int:
        """Of a layer that keeps as `window` says."""
        return self.sink + self.window

    @property
    def level_names(self) -> tuple[int, ...]:
        return (CLEAN,) if self.history == "clean" else tuple(range(self.levels))

    def rule_of(self, layer: int) -> KeepRule:
        window = self.layer_windows[layer] if self.layer_windows else self.window
        return KeepRule(self.sink, window, self.layer_dilations[layer] if self.layer_dilations else 1)

    @property
    def layers_by_rule(self) -> dict[KeepRule, tuple[int, ...]]:
        """Layers that keep the same frames share tensors and a table."""
        rules = [self.rule_of(layer) for layer in range(self.layers)]
        return {rule: tuple(at for at, other in enumerate(rules) if other == rule) for rule in dict.fromkeys(rules)}

    @property
    def bytes(self) -> int:
        slots = sum(self.rule_of(layer).slots for layer in range(self.layers))
        return 2 * 4 * slots * len(self.level_names) * self.rows * self.heads * self.tokens * self.head_dim


class Lane:
    """The stored keys and values of some layers at one level, `(layers, rows, heads, slots, tokens, head_dim)`.

    With `fixed_shape` the ages and the attention mask are kept on the device too, in tensors whose addresses never
    change: `ages (slots,)` int64, 0 where there is nothing to see; `mask (1, (slots + 1) * tokens)`, 0 or -inf, with
    room at the end for the frame at hand.
    """

    def __init__(
        self,
        spec: MemorySpec,
        rule: KeepRule,
        layers: tuple[int, ...],
        level: int,
        device: torch.device | str,
        *,
        stored: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.layers = layers
        self.every_layer = layers == tuple(range(spec.layers))
        self.table = SlotTable(rule, level)
        shape = (len(layers), spec.rows, spec.heads, rule.slots, spec.tokens, spec.head_dim)
        self.keys, self.values = stored or (torch.zeros(shape, device=device), torch.zeros(shape, device=device))
        assert self.keys.shape == self.values.shape == shape, (self.keys.shape, self.values.shape, shape)
        self.ages = torch.zeros(rule.slots, dtype=torch.int64, device=device)
        self.mask = torch.zeros(1, (rule.slots + 1) * spec.tokens, device=device)
        self._slot_mask = self.mask.view(rule.slots + 1, spec.tokens)[:-1]

    def write(self, slot: int, keys: Tensor, values: Tensor) -> None:
        self.keys[:, :, :, slot] = keys
        self.values[:, :, :, slot] = values

    def refresh(self, limit: int | None) -> None:
        """Bring ages and mask on the device up to the table: host to device only, nothing is waited for."""
        self.ages.copy_(torch.tensor(self.table.ages(limit)), non_blocking=True)
        self._slot_mask.zero_().masked_fill_(self.ages[:, None] == 0, -torch.inf)


class RollingKVMemory:
    """Sinks, then a ring. `write`, `skip`, `see`, `new_epoch`, `reset` and `restore` modify; everything else reads.

    One write per frame and level, all layers at once: it happens as a whole or, if anything is raised, not at all.
    `limit`: see no further back than so many ticks. `fixed_shape`: keep what a captured read needs on the device.
    `stored`: keys and values of each lane, to live in given tensors (many sessions in one,
    `nextframe.model.batch.sessions`).
    """

    def __init__(
        self,
        spec: MemorySpec,
        device: torch.device | str = "cpu",
        *,
        limit: int | None = None,
        fixed_shape: bool = False,
        stored: Sequence[tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.spec = spec
        self.limit = limit
        self.fixed_shape = fixed_shape
        kinds = [(rule, at, level) for level in spec.level_names for rule, at in spec.layers_by_rule.items()]
        rooms: Sequence[tuple[Tensor, Tensor] | None] = stored or [None] * len(kinds)
        self.lanes = [Lane(spec, *kind, device, stored=room) for kind, room in zip(kinds, rooms, strict=True)]
        self._refresh()

    def lanes_at(self, level: int = CLEAN) -> list[Lane]:
        lanes = [lane for lane in self.lanes if lane.table.level == level]
        if not lanes:
            raise ValueError(f"rolling memory: expected a level of {self.spec.level_names}, got {level}")
        return lanes

    # --- what a memory with one lane has, which is most of them ---------------------------------------------------

    @property
    def keys(self) -> Tensor:
        return self.lanes[0].keys

    @property
    def values(self) -> Tensor:
        return self.lanes[0].values

    @property
    def positions(self) -> list[int]:
        """The position in each slot that attention sees, EMPTY in the others."""
        table = self.lanes[0].table
        return [slot.position if age else EMPTY for slot, age in zip(table.state.slots, table.ages(), strict=True)]

    @property
    def next_position(self) -> int:
        return self.lanes[0].table.state.next_position

    def slot_for(self, position: int) -> int | None:
        return self.lanes[0].table.slot_for(position)

    # --- modifying ------------------------------------------------------------------------------------------------

    def reset(self, first_position: int = 0) -> None:
        """Forget everything. Modifies the tables only: what they do not name is never read."""
        for lane in self.lanes:
            lane.table.reset(first_position)
        self._refresh()

    def see(self, limit: int | None) -> None:
        """See no further back than so many ticks from now on; what lies beyond stays stored."""
        self.limit = limit
        self._refresh()

    def new_epoch(self) -> None:
        """A scene cut: the frames so far are not seen again, the next ones become the sinks. Nothing is zeroed."""
        for lane in self.lanes:
            lane.table.new_epoch()
        self._refresh()

    def write(self, keys: Tensor, values: Tensor, *, level: int = CLEAN, frame_id: int | None = None) -> None:
        """Store the next frame, `(layers, rows, heads, tokens, head_dim)` each. Evicts strictly the oldest.

        `frame_id`: which frame it is, if not the one of its position. Raises ValueError for other shapes and levels.
        """
        spec, lanes = self.spec, self.lanes_at(level)
        shape = (spec.layers, spec.rows, spec.heads, spec.tokens, spec.head_dim)
        if keys.shape != shape or values.shape != shape:
            raise ValueError(f"rolling memory: expected keys and values {shape}, got {keys.shape} and {values.shape}")
        before = [(lane, lane.table.state, *_stored(lane)) for lane in lanes]
        written = False
        try:
            for lane in lanes:
                slot = lane.table.slot_for(lane.table.state.next_position)
                if slot is not None:
                    at = slice(None) if lane.every_layer else list(lane.layers)
                    lane.write(slot, keys[at], values[at])
                lane.table.record(frame_id)
            self._refresh()
            written = True
        finally:
            if not written:
                self._undo(before)

    def skip(self, level: int) -> None:
        """The next frame never reached this level: it passes, and leaves a gap that attention does not see."""
        for lane in self.lanes_at(level):
            lane.table.record(gap=True)
        self._refresh()

    def _undo(self, before: Sequence[tuple[Lane, TableState, Tensor | None, Tensor | None]]) -> None:
        for lane, state, keys, values in before:
            lane.table.state = state
            slot = lane.table.slot_for(state.next_position)
            if slot is not None and keys is not None and values is not None:
                lane.keys[:, :, :, slot] = keys
                lane.values[:, :, :, slot] = values
        self._refresh()

    def _refresh(self) -> None:
        if self.fixed_shape:
            for lane in self.lanes:
                lane.refresh(self.limit)

    # --- snapshots and integrity ----------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """A copy that later writes cannot change, as numpy arrays, lists and plain numbers."""
        return {"lanes": [
            {
                "keys": lane.keys.cpu().numpy().copy(), "values": lane.values.cpu().numpy().copy(),
                "slots": [list(slot) for slot in lane.table.state.slots], "level": lane.table.level,
                **{name: getattr(lane.table.state, name) for name in TableState._fields[1:]},
            }
            for lane in self.lanes
        ]}  # fmt: skip

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Become the memory that the snapshot was taken of, in place. A snapshot that does not fit changes nothing.

        Raises ValueError for another spec's snapshot, AssertionError for a damaged one.
        """
        stored = cast(list[dict[str, Any]], snapshot["lanes"])
        expected = [(lane.table.level, tuple(lane.keys.shape)) for lane in self.lanes]
        found = [(part["level"], part["keys"].shape) for part in stored]
        if found != expected or any(part["keys"].shape != part["values"].shape for part in stored):
            raise ValueError(f"memory snapshot: expected (level, shape of keys) {expected}, got {found}")
        states = []
        for lane, part in zip(self.lanes, stored, strict=True):
            table = SlotTable(lane.table.rule, lane.table.level)
            numbers = {name: part[name] for name in TableState._fields[1:]}
            table.state = TableState(slots=tuple(Slot(*slot) for slot in part["slots"]), **numbers)
            table.check_integrity()
            states.append(table.state)
        for lane, part, state in zip(self.lanes, stored, states, strict=True):
            lane.keys.copy_(_tensor(part["keys"]))
            lane.values.copy_(_tensor(part["values"]))
            lane.table.state = state
        self._refresh()

    def state_bytes(self) -> Iterator[bytes]:
        """All that decides the future, for a checksum: per lane the visible positions, and the frames there."""
        for lane in self.lanes:
            state, ages = lane.table.state, lane.table.ages()
            seen = [slot.position if age else EMPTY for slot, age in zip(state.slots, ages, strict=True)]
            yield np.array([state.next_position, *seen], "<i8").tobytes()
            held = [at for at, position in enumerate(seen) if position != EMPTY]
            yield lane.keys[:, :, :, held].cpu().numpy().tobytes()
            yield lane.values[:, :, :, held].cpu().numpy().tobytes()

    def check_integrity(self) -> None:
        """Assert the invariants of each table, that lanes of a level agree, and that the device has what they say."""
        for lane in self.lanes:
            lane.table.check_integrity()
            if self.fixed_shape:
                ages = lane.table.ages(self.limit)
                hidden = [age == 0 for age in ages for _ in range(self.spec.tokens)] + [False] * self.spec.tokens
                assert lane.ages.tolist() == ages, (lane.ages.tolist(), ages)
                assert torch.isneginf(lane.mask[0]).tolist() == hidden, lane.mask
        for level in self.spec.level_names:
            marks = {lane.table.state[1:] for lane in self.lanes_at(level)}
            assert len(marks) == 1, f"layers disagree on (next position, epoch, its start): {marks}"


def _stored(lane: Lane) -> tuple[Tensor | None, Tensor | None]:
    """Copies of what the next write will overwrite: one frame."""
    slot = lane.table.slot_for(lane.table.state.next_position)
    return (None, None) if slot is None else (lane.keys[:, :, :, slot].clone(), lane.values[:, :, :, slot].clone())


def _tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.require(array, np.float32, ["C", "W"]))
