"""A world beside its teacher: two worlds under the same actions, their pictures joined (`--side-by-side`)."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from ..runtime.core import Action, Frame, Snapshot, StatePart, TickPlan, TickResult, World


class SideBySide:
    """Two worlds under the same actions, pictures joined left and right. The left one is the one measured."""

    def __init__(self, left: World, right: World) -> None:
        self._left, self._right = left, right
        self.info = replace(left.info, width_px=left.info.width_px + right.info.width_px)

    @property
    def prompt(self) -> str:
        return self._left.prompt

    def reset(self, seed: int) -> Frame:
        return _joined(self._left.reset(seed), self._right.reset(seed))

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        left, right = self._left.advance(action, plan), self._right.advance(action, plan)
        frames = [_joined(a, b) for a, b in zip(left.frames, right.frames, strict=True)]
        stage_ns = {name: left.stage_ns[name] + right.stage_ns[name] for name in left.stage_ns}

        def commit() -> None:
            left.commit()
            right.commit()

        return replace(left, frames=frames, stage_ns=stage_ns, commit=commit)

    def snapshot(self) -> Snapshot:
        return {"left": self._left.snapshot(), "right": self._right.snapshot()}

    def restore(self, snapshot: Snapshot) -> None:
        state: dict[str, Any] = dict(snapshot)
        self._left.restore(state["left"])
        self._right.restore(state["right"])

    def checksum(self) -> int:
        return zlib.crc32(self._right.checksum().to_bytes(4, "little"), self._left.checksum())

    def state_inventory(self) -> list[StatePart]:
        return [
            replace(part, name=f"{side}/{part.name}")
            for side, world in (("left", self._left), ("right", self._right))
            for part in world.state_inventory()
        ]

    def warm_up(self) -> None:
        self._left.warm_up()
        self._right.warm_up()

    def close(self) -> None:
        self._left.close()
        self._right.close()


def _joined(left: Frame, right: Frame) -> Frame:
    return np.ascontiguousarray(np.concatenate([left, right], axis=1))
