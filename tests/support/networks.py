"""Networks and pictures for tests: small random ones, and the shipped circuit, each made once.

Random networks are moved away from their initialisation, where gates and outputs are zero and every test would pass.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from nextframe.model.base.checkpoint import load_into
from nextframe.model.dynamics.slots import Dynamics, DynamicsConfig
from nextframe.model.generator.protocol import DenoiseJob
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.memory.rolling import MemorySpec
from nextframe.model.tokenizers.scenes.still import SlotTokenizer, TokenizerConfig
from nextframe.runtime.session.registry import find_world
from nextframe.worlds.circuit.teacher.render import Renderer
from nextframe.worlds.circuit.teacher.simulator import Simulator
from nextframe.worlds.circuit.teacher.track import HEIGHT_PX, WIDTH_PX
from nextframe.worlds.circuit.world import DYNAMICS, TOKENIZER, dynamics_config

SMALL = DynamicsConfig(width=32, layers=2, heads=2, window=6)


def random_dynamics(config: DynamicsConfig = SMALL, seed: int = 0) -> Dynamics:
    torch.manual_seed(seed)
    dynamics = Dynamics(config)
    with torch.no_grad():
        for parameter in dynamics.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return dynamics.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def random_tokenizer() -> SlotTokenizer:
    torch.manual_seed(1)
    return SlotTokenizer(TokenizerConfig(96, 128))


def random_generator(
    config: DynamicsConfig = SMALL,
    *,
    rows: int = 1,
    window: int | None = None,
    seed: int = 0,
    memory_spec: MemorySpec | None = None,
    fixed_shape: bool = False,
) -> RollingGenerator:
    dynamics = random_dynamics(config, seed)
    return RollingGenerator(
        random_tokenizer(), dynamics, rows=rows, window=window, memory_spec=memory_spec, fixed_shape=fixed_shape
    )


def random_past(ticks: int, rows: int = 1, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Canonical latents `(rows, ticks, latent_dim)` that wander as frames do, and conditions `(rows, ticks, n)`."""
    draw = torch.Generator().manual_seed(seed)
    walk = torch.randn(rows, ticks, SMALL.latent_dim, generator=draw) * 0.1
    start = torch.randn(rows, 1, SMALL.latent_dim, generator=draw)
    latents = random_tokenizer().canonical(start + walk.cumsum(1))
    return latents, torch.randn(rows, ticks, SMALL.condition_dim, generator=draw)


def finished(job: DenoiseJob) -> Tensor:
    """The latent after every step of the job."""
    while job.can_step:
        job.step()
    return job.finish()


# --- what ships ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def shipped_tokenizer() -> SlotTokenizer:
    tokenizer = SlotTokenizer(TokenizerConfig(HEIGHT_PX, WIDTH_PX))
    load_into(tokenizer, find_world("circuit").path / TOKENIZER)
    return tokenizer.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def shipped_dynamics() -> Dynamics:
    dynamics = Dynamics(dynamics_config())
    load_into(dynamics, find_world("circuit").path / DYNAMICS)
    return dynamics.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def renderer() -> Renderer:
    """Painting the course takes seconds: once per test run."""
    return Renderer()


@lru_cache(maxsize=1)
def simulator() -> Simulator:
    return Simulator()
