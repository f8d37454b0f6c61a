"""What this world can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.core import Clock
from ..kinds import Gates, WorldKind, WorldSource

if TYPE_CHECKING:
    from .world import RacerWorld


def _build(source: WorldSource, clock: Clock | None, device: str) -> RacerWorld:
    from . import world

    return world.build(source.info, source.folder, clock, device=device)


def _sha256(folder: Path, names: tuple[str, ...]) -> str:
    from . import world

    return world.weights_sha256(folder)


def _gates() -> Gates:
    from .evaluation import gates

    return gates


KIND = WorldKind(_build, _sha256, on_gpu=True, gates=_gates)
