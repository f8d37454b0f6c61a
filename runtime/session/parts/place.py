"""Where a world's networks are: one device, or stage processes with devices of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..registry import WorldFolder
from .device import CPU, device_choice
from .stages import StageChoice, stage_choice


@dataclass(frozen=True)
class Placement:
    """`device`: torch's name of it. `stages`: over several processes instead, whose devices the layout names."""

    device: str = CPU
    stages: StageChoice | None = None


class AsksForAPlace(Protocol):
    """Options of a command that has `--stages`, `--processes` and `--device`."""

    @property
    def stages(self) -> str | None: ...

    @property
    def processes(self) -> int | None: ...

    @property
    def device(self) -> str | None: ...


@dataclass(frozen=True)
class PlaceOptions:
    """The same alone; nothing is asked for when not given."""

    stages: str | None = None
    processes: int | None = None
    device: str | None = None


AS_ITS_FILE_SAYS = PlaceOptions()


def placement(wanted: AsksForAPlace, found: WorldFolder, *, side_by_side: bool = False) -> Placement:
    """What was asked for, else what the world's file says. Raises ConfigError for what cannot be."""
    stages = stage_choice(wanted.stages, wanted.processes, found, side_by_side=side_by_side)
    return Placement(device_choice(wanted.device, found, staged=stages is not None, side_by_side=side_by_side), stages)
