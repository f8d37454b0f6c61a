"""Which frame is in which slot of a rolling memory: plain Python on the host, shared by all layers that keep alike.

The rule of what is kept and evicted, the slot records, and ages. The whole state
is one immutable value, so that a change happens at once or not at all, and a snapshot is that value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

EMPTY = -1
"""The position of a slot that holds no frame."""

CLEAN = -1
"""The level of keys and values that were computed from a finished frame, not at a denoise step."""

VACANT, SINK, RING, GAP = "vacant", "sink", "ring", "gap"
"""Kinds of slot. A gap stands for a frame that passed but was never written at this level."""


class Slot(NamedTuple):
    """`frame_id`: whose keys and values these are; `position`: the tick they count from; the two differ when a frame
    is written anew. `level`: a denoise step, or CLEAN. `epoch`: the scene it belongs to."""

    frame_id: int = EMPTY
    position: int = EMPTY
    kind: str = VACANT
    level: int = CLEAN
    epoch: int = EMPTY


@dataclass(frozen=True)
class KeepRule:
    """The first `sink` frames of an epoch stay; of the later ones every `dilation`-th, the last `window` of those."""

    sink: int
    window: int
    dilation: int = 1

    def __post_init__(self) -> None:
        if self.sink < 0 or self.window < 1 or self.dilation < 1:
            raise ValueError(f"rolling memory: expected sink >= 0, window >= 1 and dilation >= 1, got {self}")

    @property
    def slots(self) -> int:
        return self.sink + self.window

    @property
    def reach(self) -> int:
        """The oldest age that the ring holds, and at which sinks are held: the window's edge."""
        return self.window * self.dilation

    def slot_of(self, index: int) -> int | None:
        """The slot of an epoch's frame number `index`; None if this rule does not keep it."""
        if index < self.sink:
            return index
        turn, left_out = divmod(index - self.sink, self.dilation)
        return None if left_out else self.sink + turn % self.window

    def kept(self, frames: int) -> set[int]:
        """The indices held after `frames` frames of an epoch."""
        later = range(self.sink, frames, self.dilation)
        return {*range(min(self.sink, frames)), *later[-self.window :]}


class TableState(NamedTuple):
    """`next_position`: of the coming frame. `epoch_start`: the position of the epoch's first frame."""

    slots: tuple[Slot, ...]
    next_position: int
    epoch: int
    epoch_start: int


class SlotTable:
    def __init__(self, rule: KeepRule, level: int = CLEAN) -> None:
        self.rule = rule
        self.level = level
        self.reset()

    def reset(self, first_position: int = 0) -> None:
        """The table of a new session, whatever was before."""
        self.state = TableState((Slot(),) * self.rule.slots, first_position, 0, first_position)

    def new_epoch(self) -> None:
        """A new scene: what is stored stays where it is and is not seen again; the next frame is the first sink."""
        state = self.state
        self.state = state._replace(epoch=state.epoch + 1, epoch_start=state.next_position)

    def slot_for(self, position: int) -> int | None:
        """Where this epoch's frame at `position` is stored; None if the layer leaves it out."""
        return self.rule.slot_of(position - self.state.epoch_start)

    def record(self, frame_id: int | None = None, *, gap: bool = False) -> None:
        """The coming frame is now in its slot, and what was there is gone. `gap`: it was never written."""
        state, at = self.state, self.slot_for(self.state.next_position)
        slots = state.slots
        if at is not None:
            kind = GAP if gap else SINK if at < self.rule.sink else RING
            frame_id = state.next_position if frame_id is None else frame_id
            written = Slot(EMPTY if gap else frame_id, state.next_position, kind, self.level, state.epoch)
            slots = (*slots[:at], written, *slots[at + 1 :])
        self.state = state._replace(slots=slots, next_position=state.next_position + 1)

    def ages(self, limit: int | None = None) -> list[int]:
        """For each slot, how many ticks before the coming frame it is; 0 where there is nothing to see.

        `limit`: see no further back than this. A sink beyond the window's edge is held at the edge, the oldest age
        that the network was trained on; a frame of the ring beyond it is not seen.
        """
        state, edge = self.state, min(self.rule.reach, limit or self.rule.reach)
        ages = []
        for slot in state.slots:
            age = state.next_position - slot.position
            seen = slot.epoch == state.epoch and (slot.kind == SINK or (slot.kind == RING and age <= edge))
            ages.append(min(age, edge) if seen else 0)
        return ages

    def check_integrity(self) -> None:
        """Assert the invariants: every frame in its own slot, the first frames in the sinks, the newest in the ring."""
        state, rule = self.state, self.rule
        assert len(state.slots) == rule.slots, f"{len(state.slots)} slots, expected {rule.slots}"
        assert 0 <= state.epoch_start <= state.next_position, state
        held = set()
        for at, slot in enumerate(state.slots):
            if slot.kind == VACANT:
                assert slot == Slot(), (at, slot)
                continue
            assert slot.level == self.level, (at, slot, self.level)
            assert slot.kind in {GAP, SINK if at < rule.sink else RING}, (at, slot)
            assert slot.epoch <= state.epoch, (at, slot, state.epoch)
            if slot.epoch < state.epoch:
                assert slot.position < state.epoch_start, (at, slot, state.epoch_start)
                continue
            assert self.slot_for(slot.position) == at, (at, slot)
            held.add(slot.position - state.epoch_start)
        expected = rule.kept(state.next_position - state.epoch_start)
        assert held == expected, (sorted(held), sorted(expected))
