"""The road course as a playable world: its networks, at their sizes, filled from the shipped weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...model.dynamics.places import PlaneConfig
from ...model.dynamics.slots import Dynamics, DynamicsConfig
from ...model.generator.ticks import RollingGenerator
from ...model.tokenizers.scenes.chase import (
    MOOD_DIM,
    POSITION_SCALE_M,
    SCENE_DIM,
    SLIP,
    SLIP_SCALE,
    SPEED,
    SPEED_SCALE,
    ChaseTokenizer,
)
from ...runtime.core import Clock, WorldInfo
from ..neural.rest import RestRule
from ..neural.shipped import DYNAMICS, SEEDS, TOKENIZER, filled, load_seeds, origins, parts, weights_sha256
from ..neural.world import NeuralWorld
from .teacher.track import HEIGHT_M, WIDTH_M

if TYPE_CHECKING:
    from ..neural.staged import StagedParts

__all__ = [
    "DYNAMICS", "SEEDS", "TOKENIZER", "build", "dynamics_config", "load_networks", "load_seeds", "new_generator",
    "origins", "staged_parts", "weights_sha256",
]  # fmt: skip

PLANES = ((16.0, 24), (4.0, 16), (2.0, 12))
"""Metres between knots, and channels, of what the dynamics learns of each place."""
MARGIN_M = 8.0
PEDALS, RESTING_M = (1, 3), 0.03
"""With throttle and brake untouched, a car that would move by less stands."""


def knots(spacing_m: float) -> tuple[int, int]:
    """Rows and columns of a grid over all the land and some metres around it."""
    rows, columns = (1 + math.ceil((length + 2 * MARGIN_M) / spacing_m) for length in (HEIGHT_M, WIDTH_M))
    return rows, columns


def dynamics_config() -> DynamicsConfig:
    """Nothing is ever out of sight here (the map shows both cars), so less past is enough."""
    rolls = (SPEED, SLIP, SPEED_SCALE / POSITION_SCALE_M, SLIP_SCALE / POSITION_SCALE_M)
    return DynamicsConfig(
        scene_dim=SCENE_DIM, slots=2, condition_dim=10, window=16, coast=1.0, rolls=rolls, settles=MOOD_DIM,
        rests=RestRule(*PEDALS, RESTING_M / POSITION_SCALE_M),
        planes=tuple(PlaneConfig(*knots(m), m / POSITION_SCALE_M, channels) for m, channels in PLANES),
    )  # fmt: skip


def load_networks(folder: Path, device: str = "cpu") -> tuple[ChaseTokenizer, Dynamics]:
    """Tokenizer and dynamics from a folder with their safetensors files."""
    return filled(folder, ChaseTokenizer(), dynamics_config(), device)


def staged_parts(folder: Path) -> StagedParts:
    return parts(folder, ChaseTokenizer(), dynamics_config())


def new_generator(
    tokenizer: ChaseTokenizer, dynamics: Dynamics, rows: int = 1, window: int | None = None
) -> RollingGenerator[ChaseTokenizer]:
    """The generator over a chase view: it asks of a tokenizer what both kinds offer by the same names."""
    return RollingGenerator(tokenizer, dynamics, rows, window)


def build(
    info: WorldInfo, folder: Path, synonyms: Mapping[str, str], clock: Clock | None = None, *, device: str = "cpu"
) -> NeuralWorld:
    tokenizer, dynamics = load_networks(folder, device)
    return NeuralWorld(info, new_generator(tokenizer, dynamics), load_seeds(folder), synonyms, clock)
