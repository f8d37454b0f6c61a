"""Load on purpose: what `--load` puts into every tick, and how much that was."""

from __future__ import annotations

from ...ahead.loaded import loaded
from ...core import Clock, World
from ...load.shapes import LoadShape
from ...load.world import LoadedWorld
from ...tick.record import TickRecord
from .part import SessionPart


class LoadPart(SessionPart):
    """`stepwise`: ticks may be begun ahead, so each piece of a tick pays its own.

    Comes before the part for ticks begun ahead, so that work done ahead pays too.
    """

    def __init__(self, shape: LoadShape, clock: Clock, *, stepwise: bool = False) -> None:
        self._shape, self._clock, self._stepwise = shape, clock, stepwise
        self._loaded: LoadedWorld | None = None
        self.load_ms = self._load_ms = list[float]()
        self.observer = self

    def wrap(self, world: World) -> World:
        self._loaded = loaded(world, self._shape, self._clock, stepwise=self._stepwise)
        return self._loaded

    def observe(self, record: TickRecord) -> None:
        assert self._loaded is not None, "a part wraps its world before it observes"
        self._load_ms.append(self._loaded.load_ms)
