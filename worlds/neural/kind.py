"""What worlds of pixels can do, which `nextframe train` makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.core import Clock
from ..kinds import WorldKind, WorldSource

if TYPE_CHECKING:
    from .pixels import PixelWorld


def _build(source: WorldSource, clock: Clock | None, device: str) -> PixelWorld:
    from . import pixels

    return pixels.build(source.info, source.folder, source.weights, source.parameters, clock)


def _sha256(folder: Path, names: tuple[str, ...]) -> str:
    from . import pixels

    return pixels.weights_sha256(folder, names)


KIND = WorldKind(_build, _sha256)
