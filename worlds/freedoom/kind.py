"""What this world can do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.core import Clock
from ..kinds import Gates, WorldKind, WorldSource

if TYPE_CHECKING:
    from ..evaluation.subjects import Pair
    from ..neural.staged import StagedParts
    from ..neural.world import NeuralWorld


def _build(source: WorldSource, clock: Clock | None, device: str) -> NeuralWorld:
    from . import world

    return world.build(source.info, source.folder, source.synonyms, clock, device=device)


def _sha256(folder: Path, names: tuple[str, ...]) -> str:
    from . import world

    return world.weights_sha256(folder)


def _staged_parts(folder: Path) -> StagedParts:
    from . import world

    return world.staged_parts(folder)


def _gates() -> Gates:
    from .evaluation import gates

    return gates


def _pair(source: WorldSource) -> Pair:
    from .evaluation import pair

    return pair.pair(source.folder)


KIND = WorldKind(_build, _sha256, staged_parts=_staged_parts, on_gpu=True, gates=_gates, pair=_pair)
