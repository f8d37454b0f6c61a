"""A world in front of another: everything is passed on. Subclasses say what they do differently."""

from __future__ import annotations

from ..core import Action, Frame, Snapshot, StatePart, TickPlan, TickResult, World


class ForwardingWorld:
    def __init__(self, world: World) -> None:
        self.info = world.info
        self._world = world

    @property
    def prompt(self) -> str:
        return self._world.prompt

    def reset(self, seed: int) -> Frame:
        return self._world.reset(seed)

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        return self._world.advance(action, plan)

    def snapshot(self) -> Snapshot:
        return self._world.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        self._world.restore(snapshot)

    def checksum(self) -> int:
        return self._world.checksum()

    def state_inventory(self) -> list[StatePart]:
        return self._world.state_inventory()

    def warm_up(self) -> None:
        self._world.warm_up()

    def close(self) -> None:
        self._world.close()
