"""The circuit as a playable world: its networks filled from the shipped weights.

Owns which files hold what. The sizes of the networks are in the code; a checkpoint that does not fit is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from model.checkpoint import CheckpointError, load_into, load_tensors, sha256
from model.dynamics import Dynamics, DynamicsConfig, RestRule
from model.generator import Generator
from model.graphs import CudaGraphs, GraphedGenerator
from model.tokenizer import POSITION_SCALE_PX, SlotTokenizer, TokenizerConfig
from runtime.core import Clock, WeightsError, WorldInfo
from worlds.neural import NeuralWorld, SeedClips

if TYPE_CHECKING:
    from worlds.staged import StagedParts

PEDALS, RESTING_PX, PARKED_PX = (1, 3), 0.6, 1.5
"""With throttle and brake untouched, a car that would move by less stands; once it stands, it takes more to move it."""

TOKENIZER, DYNAMICS, SEEDS = "tokenizer.safetensors", "dynamics.safetensors", "seeds.safetensors"


def dynamics_config() -> DynamicsConfig:
    rests = RestRule(*PEDALS, RESTING_PX / POSITION_SCALE_PX, PARKED_PX / POSITION_SCALE_PX)
    return DynamicsConfig(rests=rests)


def weights_sha256(folder: Path) -> str:
    """One hash over all weights; a missing or unsafe file is a `WeightsError`."""
    try:
        return sha256([folder / name for name in (TOKENIZER, DYNAMICS, SEEDS)])
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def load_networks(folder: Path, device: str = "cpu") -> tuple[SlotTokenizer, Dynamics]:
    """Tokenizer and dynamics from a folder with their safetensors files."""
    tokenizer, dynamics = SlotTokenizer(TokenizerConfig(192, 256)), Dynamics(dynamics_config())
    try:
        load_into(tokenizer, folder / TOKENIZER)
        load_into(dynamics, folder / DYNAMICS)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return tokenizer.to(device), dynamics.to(device)


def build(
    info: WorldInfo, folder: Path, synonyms: Mapping[str, str], clock: Clock | None = None, *, device: str = "cpu"
) -> NeuralWorld:
    """`device`: where the networks are; on `cuda` a tick is captured once and then replayed."""
    tokenizer, dynamics = load_networks(folder, device)
    seeds = load_seeds(folder)
    on_gpu = device.startswith("cuda")
    generator = GraphedGenerator(tokenizer, dynamics, CudaGraphs(device)) if on_gpu else Generator(tokenizer, dynamics)
    return NeuralWorld(info, generator, seeds, synonyms, clock)


def staged_parts(folder: Path) -> StagedParts:
    """The same for a world over several processes, each of which loads its own layers."""
    from model.stage_ring import StageWeights
    from worlds.staged import StagedParts

    tokenizer = SlotTokenizer(TokenizerConfig(192, 256))
    try:
        load_into(tokenizer, folder / TOKENIZER)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return StagedParts(
        tokenizer, dynamics_config(), StageWeights(folder / DYNAMICS, folder / TOKENIZER), load_seeds(folder)
    )


def load_seeds(folder: Path) -> SeedClips:
    """The short pasts that sessions start from."""
    try:
        seeds = load_tensors(folder / SEEDS)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    missing = {"latents", "conditions"} - seeds.keys()
    if missing:
        raise WeightsError(f"{folder / SEEDS}: expected tensors 'latents' and 'conditions', {sorted(missing)} missing")
    return SeedClips(seeds["latents"], seeds["conditions"])


def origins(folder: Path) -> list[list[int]]:
    """Where each seed clip came from, for the teacher: simulator seed, weather, time, ticks. Empty if not stored."""
    try:
        stored = load_tensors(folder / SEEDS)
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return stored["origins"].tolist() if "origins" in stored else []
