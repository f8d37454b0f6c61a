"""Weights as they lie in a world's folder: three files, one hash, and the networks they fill.

The sizes of networks are their world's own; a checkpoint that does
not fit is refused with `WeightsError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...model.base.checkpoint import CheckpointError, load_into, load_tensors, sha256
from ...model.dynamics.slots import Dynamics, DynamicsConfig
from ...runtime.core import WeightsError
from .world import SeedClips

if TYPE_CHECKING:
    from ...model.stages.kinds import AnyTokenizer
    from .staged import StagedParts

TOKENIZER, DYNAMICS, SEEDS = "tokenizer.safetensors", "dynamics.safetensors", "seeds.safetensors"

Tokenizer = TypeVar("Tokenizer", bound="AnyTokenizer")


def weights_sha256(folder: Path) -> str:
    """One hash over all weights; a missing or unsafe file is a `WeightsError`."""
    with _refused():
        return sha256([folder / name for name in (TOKENIZER, DYNAMICS, SEEDS)])


def filled(folder: Path, tokenizer: Tokenizer, config: DynamicsConfig, device: str) -> tuple[Tokenizer, Dynamics]:
    """A tokenizer with nothing learned and a dynamics, filled from their files."""
    dynamics = Dynamics(config)
    with _refused():
        load_into(tokenizer, folder / TOKENIZER)
        load_into(dynamics, folder / DYNAMICS)
    tokenizer.to(device), dynamics.to(device)
    return tokenizer, dynamics


def parts(folder: Path, tokenizer: AnyTokenizer, config: DynamicsConfig) -> StagedParts:
    """The same for a world over several processes, each of which loads its own layers."""
    from ...model.stages.ring import StageWeights
    from .staged import StagedParts

    with _refused():
        load_into(tokenizer, folder / TOKENIZER)
    weights = StageWeights(folder / DYNAMICS, folder / TOKENIZER)
    return StagedParts(tokenizer, config, weights, load_seeds(folder))


def load_seeds(folder: Path) -> SeedClips:
    """The short pasts that sessions start from."""
    with _refused():
        seeds = load_tensors(folder / SEEDS)
    missing = {"latents", "conditions"} - seeds.keys()
    if missing:
        raise WeightsError(f"{folder / SEEDS}: expected tensors 'latents' and 'conditions', {sorted(missing)} missing")
    return SeedClips(seeds["latents"], seeds["conditions"])


def origins(folder: Path) -> list[list[int]]:
    """Where each seed clip came from, for the teacher: simulator seed, weather, time, ticks. Empty if not stored."""
    with _refused():
        stored = load_tensors(folder / SEEDS)
    return stored["origins"].tolist() if "origins" in stored else []


@contextmanager
def _refused() -> Iterator[None]:
    """What is wrong with a checkpoint is wrong with the world."""
    try:
        yield
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
