"""Which parts a session was asked for: checked against a world before anything loads, then opened and made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ...core import Clock
from ...load.shapes import LoadShape
from ...load.world import parse_load
from ..registry import WorldFolder
from ..startup import OpenWorld, StartUp, check_folder, open_world
from ..supervisor import SupervisedWorld
from .ahead import AheadPart
from .drift import DriftPart, drift_choice
from .guards import GuardPart
from .load import LoadPart
from .part import SessionPart, Setting
from .place import AsksForAPlace, Placement, placement
from .stages import StagesPart


class AsksForParts(AsksForAPlace, Protocol):
    """Options of a command that plays a world."""

    @property
    def world(self) -> str: ...

    @property
    def side_by_side(self) -> bool: ...

    @property
    def drift(self) -> str | None: ...

    @property
    def load(self) -> str | None: ...

    @property
    def ahead(self) -> bool: ...


@dataclass(frozen=True)
class Chosen:
    """What was asked for, possible with the world `found`. `load`: None for none."""

    found: WorldFolder
    side_by_side: bool
    drift: str
    place: Placement
    load: LoadShape | None
    ahead: bool

    def open(self, startup: StartUp, *, clock: Clock, seed: int, warm: bool = True) -> OpenWorld:
        """Load, reset and warm the world with what is part of it: its teacher, its monitor, its device or processes."""
        return open_world(
            self.found,
            startup,
            clock=clock,
            seed=seed,
            side_by_side=self.side_by_side,
            warm=warm,
            drift=self.drift,
            stages=self.place.stages,
            device=self.place.device,
        )

    def parts(
        self,
        opened: OpenWorld,
        setting: Setting,
        say: Callable[[str], None],
        *,
        say_drift: Callable[[str], None] = lambda text: None,
        ahead: AheadPart | None = None,
    ) -> tuple[SessionPart, ...]:
        """In the order in which they wrap the world: load inside, so that work done ahead pays it too.

        `say`: tells the player, on the loop's thread; `say_drift` of alarms. `ahead`: the part, if ticks are begun
        ahead; what it needs of the controller and the governor only the caller knows.
        """
        parts: list[SessionPart] = []
        if self.load is not None:
            parts.append(LoadPart(self.load, setting.clock, stepwise=self.ahead))
        if self.ahead and ahead is not None:
            parts.append(ahead)
        parts.append(DriftPart(opened.world, opened.monitor, opened.drift, say_drift))
        if self.place.stages is not None:
            assert isinstance(opened.world, SupervisedWorld), "a staged world is supervised"
            parts.append(StagesPart(opened.world))
        return (*parts, GuardPart(setting.controls, say))


def choose(options: AsksForParts) -> Chosen:
    """Everything about parts and world that can be wrong and be seen without loading. Raises NextframeError."""
    found = check_folder(options.world, side_by_side=options.side_by_side)
    return Chosen(
        found,
        options.side_by_side,
        drift_choice(options.drift, found, side_by_side=options.side_by_side),
        placement(options, found, side_by_side=options.side_by_side),
        None if options.load is None else parse_load(options.load),
        options.ahead,
    )
