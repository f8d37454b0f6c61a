"""The circuit as a playable world: its networks, at their sizes, filled from the shipped weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...model.dynamics.slots import Dynamics, DynamicsConfig
from ...model.generator.graphs import CudaGraphs, GraphedGenerator
from ...model.generator.ticks import RollingGenerator
from ...model.tokenizers.scenes.still import POSITION_SCALE_PX, SlotTokenizer, TokenizerConfig
from ...runtime.core import Clock, WorldInfo
from ..neural.rest import RestRule
from ..neural.shipped import DYNAMICS, SEEDS, TOKENIZER, filled, load_seeds, origins, parts, weights_sha256
from ..neural.world import NeuralWorld

if TYPE_CHECKING:
    from ..neural.staged import StagedParts

__all__ = [
    "DYNAMICS", "SEEDS", "TOKENIZER", "build", "dynamics_config", "fresh_tokenizer", "load_networks", "load_seeds",
    "origins", "staged_parts", "weights_sha256",
]  # fmt: skip

PEDALS, RESTING_PX, PARKED_PX = (1, 3), 0.6, 1.5
"""With throttle and brake untouched, a car that would move by less stands; once it stands, it takes more to move it."""


def dynamics_config() -> DynamicsConfig:
    rests = RestRule(*PEDALS, RESTING_PX / POSITION_SCALE_PX, PARKED_PX / POSITION_SCALE_PX)
    return DynamicsConfig(rests=rests)


def fresh_tokenizer() -> SlotTokenizer:
    return SlotTokenizer(TokenizerConfig(192, 256))


def load_networks(folder: Path, device: str = "cpu") -> tuple[SlotTokenizer, Dynamics]:
    """Tokenizer and dynamics from a folder with their safetensors files."""
    return filled(folder, fresh_tokenizer(), dynamics_config(), device)


def build(
    info: WorldInfo, folder: Path, synonyms: Mapping[str, str], clock: Clock | None = None, *, device: str = "cpu"
) -> NeuralWorld:
    """`device`: where the networks are; on `cuda` a tick is captured once and then replayed."""
    tokenizer, dynamics = load_networks(folder, device)
    seeds = load_seeds(folder)
    on_gpu = device.startswith("cuda")
    generator = RollingGenerator(tokenizer, dynamics)
    if on_gpu:
        generator = GraphedGenerator(tokenizer, dynamics, CudaGraphs(device))
    return NeuralWorld(info, generator, seeds, synonyms, clock)


def staged_parts(folder: Path) -> StagedParts:
    return parts(folder, fresh_tokenizer(), dynamics_config())
