"""The road course as a playable world: its networks filled from the shipped weights.

Owns which files hold what. The sizes of the networks are in the code; a checkpoint that does not fit is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

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
from model.dynamics import Dynamics, DynamicsConfig
from model.generator import Generator
from runtime.core import Clock, WeightsError, WorldInfo
from worlds.circuit.world import load_seeds, origins
from worlds.neural import NeuralWorld

__all__ = ["build", "dynamics_config", "load_networks", "load_seeds", "origins", "weights_sha256"]

TOKENIZER, DYNAMICS, SEEDS = "tokenizer.safetensors", "dynamics.safetensors", "seeds.safetensors"


def dynamics_config() -> DynamicsConfig:
    """Nothing is ever out of sight here (the map shows both cars), so less past is enough."""
    rolls = (SPEED, SLIP, SPEED_SCALE / POSITION_SCALE_M, SLIP_SCALE / POSITION_SCALE_M)
    return DynamicsConfig(
        scene_dim=SCENE_DIM, slots=2, condition_dim=10, window=16, coast=1.0, rolls=rolls, settles=MOOD_DIM
    )


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


def new_generator(tokenizer: ChaseTokenizer, dynamics: Dynamics, rows: int = 1, window: int | None = None) -> Generator:
    """The generator over a chase view: it asks of a tokenizer what both kinds offer by the same names."""
    return Generator(cast(Any, tokenizer), dynamics, rows, window)


def build(
    info: WorldInfo, folder: Path, synonyms: Mapping[str, str], clock: Clock | None = None, *, device: str = "cpu"
) -> NeuralWorld:
    tokenizer, dynamics = load_networks(folder, device)
    return NeuralWorld(info, new_generator(tokenizer, dynamics), load_seeds(folder), synonyms, clock)
