"""What each stage of a generator costs on this machine, measured, for a balanced split over processes.

Layers are measured with random weights of the right shape: a cost does not depend on them, and no process needs to load
layers that it will not run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from ..dynamics.slots import Dynamics, DynamicsConfig
from ..dynamics.transformer import Block
from ..generator.kernel import shared_gates
from ..memory.rolling import RollingKVMemory
from ..memory.rotary import rotary_of
from .kinds import AnyTokenizer
from .layout import StageCosts
from .network import StageLayers

REPEATS, WARM = 9, 2


@torch.inference_mode()
def measured_costs(config: DynamicsConfig, tokenizer: AnyTokenizer, device: str = "cpu") -> StageCosts:
    """Medians in ms, with a full memory and the most denoise steps of the ladder."""
    steps, place = config.ladder[-1], torch.device(device)
    around = Dynamics(replace(config, layers=0)).to(place).eval()
    spec = replace(config.memory_spec(), layers=1)
    block, rotary = Block(config.width, config.heads), rotary_of(config.width // config.heads)
    layer = StageLayers(nn.ModuleList([block]).to(place), RollingKVMemory(spec, place), rotary)
    condition = torch.zeros(1, config.condition_dim, device=place)
    latent = torch.zeros(1, config.latent_dim, device=place)
    gates = shared_gates(around, condition, config.taus)
    tokens = torch.zeros(1, config.tokens, config.width, device=place)
    for _ in range(config.window):
        layer.commit(tokens, gates[-1])

    def front() -> None:
        shared_gates(around, condition, config.taus)
        known = around.known(latent, latent, condition)
        for _ in range(steps):
            around.latent_of(around.noisy_tokens(latent, latent, known), known)

    layer_ms = _median_ms(lambda: layer.denoise(tokens, gates[0]), place)
    decode_ms = _median_ms(lambda: tokenizer.decode(latent), place)
    return StageCosts((layer_ms,) * config.layers, _median_ms(front, place), decode_ms, steps + 1)


def _median_ms(work: Callable[[], object], device: torch.device) -> float:
    taken_ms = []
    for _ in range(WARM + REPEATS):
        began_ns = time.perf_counter_ns()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
    return statistics.median(taken_ms[WARM:])
