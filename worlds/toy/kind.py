"""What the toy world can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...runtime.core import Clock
from ..kinds import WorldKind, WorldSource
from .world import ToyWorld

if TYPE_CHECKING:
    from ..evaluation.subjects import Pair


def _build(source: WorldSource, clock: Clock | None, device: str) -> ToyWorld:
    return ToyWorld(clock)


def _pair(source: WorldSource) -> Pair:
    """Against itself: what a perfect world would score."""
    from ..evaluation.subjects import plain_pair

    return plain_pair(source.info.name, ToyWorld(), ToyWorld())


KIND = WorldKind(_build, pair=_pair)
