"""The road course as a playable world: its networks filled from the shipped weights.

Owns which files hold what. The sizes of the networks are in the code; a checkpoint that does not fit is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from model.chase import (
    MOOD_DIM,
    POSITION_SCALE_M,
    SCENE_DIM,
    SLIP,
    SLIP_SCALE,
    SPEED,
    SPEED_SCALE,
    ChaseTokenizer,
)
from model.checkpoint import CheckpointError, load_into, sha256
from model.dynamics import Dynamics, DynamicsConfig, RestRule
from model.generator import Generator
from model.places import PlaneConfig
from runtime.core import Clock, WeightsError, WorldInfo
from worlds.circuit.world import load_seeds, origins
from worlds.drive.track import HEIGHT_M, WIDTH_M
from worlds.neural import NeuralWorld

if TYPE_CHECKING:
    from worlds.staged import StagedParts

__all__ = ["build", "dynamics_config", "load_networks", "load_seeds", "origins", "staged_parts", "weights_sha256"]

TOKENIZER, DYNAMICS, SEEDS = "tokenizer.safetensors", "dynamics.safetensors", "seeds.safetensors"


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


def weights_sha256(folder: Path) -> str:
    """One hash over all weights; a missing or unsafe file is a `WeightsError`."""
    try:
        return sha256([folder / name for name in (TOKENIZER, DYNAMICS, SEEDS)])
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def load_networks(folder: Path, device: str = "cpu") -> tuple[ChaseTokenizer, Dynamics]:
    """Tokenizer and dynamics from a folder with their safetensors files."""
    tokenizer, dynamics = ChaseTokenizer(), Dynamics(dynamics_config())
    try:
        load_into(tokenizer, folder / TOKENIZER)
        load_into(dynamics, folder / DYNAMICS)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return tokenizer.to(device), dynamics.to(device)


def staged_parts(folder: Path) -> StagedParts:
    """The same for a world over several processes, each of which loads its own layers."""
    from model.stage_ring import StageWeights
    from worlds.staged import StagedParts

    tokenizer = ChaseTokenizer()
    try:
        load_into(tokenizer, folder / TOKENIZER)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return StagedParts(
        tokenizer, dynamics_config(), StageWeights(folder / DYNAMICS, folder / TOKENIZER), load_seeds(folder)
    )


def new_generator(tokenizer: ChaseTokenizer, dynamics: Dynamics, rows: int = 1, window: int | None = None) -> Generator:
    """The generator over a chase view: it asks of a tokenizer what both kinds offer by the same names."""
    return Generator(cast(Any, tokenizer), dynamics, rows, window)


def build(
    info: WorldInfo, folder: Path, synonyms: Mapping[str, str], clock: Clock | None = None, *, device: str = "cpu"
) -> NeuralWorld:
    tokenizer, dynamics = load_networks(folder, device)
    return NeuralWorld(info, new_generator(tokenizer, dynamics), load_seeds(folder), synonyms, clock)
