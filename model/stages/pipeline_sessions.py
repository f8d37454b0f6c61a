"""Sessions of our generator cut at the borders of layers, to flow through a `LayerPipeline`.

A stage holds an interval of layers, and of every session the memory of those layers and nothing else. Owns what a
session carries from stage to stage. Here all stages share one process, in lockstep or a thread each. Knows no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ..base import rng
from ..dynamics.slots import Block, Dynamics
from ..generator.ticks import gate_table, through_block
from ..memory.past import Past, gather
from ..memory.rolling import RollingKVMemory
from ..tokenizers.scenes.still import SlotTokenizer


class LayerStage(NamedTuple):
    """Layers `first` to `end - 1`."""

    first: int
    end: int


def even_stages(layers: int, stages: int) -> list[LayerStage]:
    """Intervals that cover all layers and differ by at most one layer. Raises ValueError if a stage would be empty."""
    if not 1 <= stages <= layers:
        raise ValueError(f"layer stages: expected 1 to {layers} stages for {layers} layers, got {stages}")
    borders = [layers * stage // stages for stage in range(stages + 1)]
    return [LayerStage(first, end) for first, end in pairwise(borders)]


class _Carried(NamedTuple):
    """What a pass takes from stage to stage: tokens `(1, tokens, width)` and gates `(layers, 6, 1, 1, width)`."""

    tokens: Tensor
    gates: Tensor


class PipelinedSession:
    """A `Passenger` that plays one session of the dynamics. `prefill` first.

    `condition_at(tick)`, `(condition_dim,)`, is asked when the tick enters the first stage: as late as can be.
    `latents`: what was shown, `(1, latent_dim)` per tick.
    """

    def __init__(
        self,
        tokenizer: SlotTokenizer,
        dynamics: Dynamics,
        stages: Sequence[LayerStage],
        *,
        seed: int,
        denoise_steps: int,
        condition_at: Callable[[int], Tensor],
    ) -> None:
        self.denoise_steps = denoise_steps
        self._tokenizer, self._dynamics, self._stages = tokenizer, dynamics, stages
        self._seed, self._condition_at = seed, condition_at
        whole = dynamics.config.memory_spec()
        self.memories = [RollingKVMemory(replace(whole, layers=stage.end - stage.first)) for stage in stages]
        self._pasts: list[Past | None] = [None] * len(stages)
        self._carried: dict[bool, _Carried] = {}  # of the denoise pass, and of the commit pass
        self.latents: list[Tensor] = []

    @torch.inference_mode()
    def prefill(self, latents: Tensor, conditions: Tensor) -> None:
        """Start from a short true past, `(time, latent_dim)` and `(time, condition_dim)`."""
        for memory in self.memories:
            memory.reset()
        self._last = self._before = latents[:1].clone()
        for latent, condition in zip(latents.split(1), conditions.split(1), strict=True):
            self._condition_now(condition)
            self._estimate = latent
            for stage in range(len(self._stages)):
                self._pasts[stage] = None
                self._pass(self.denoise_steps, stage)

    @torch.inference_mode()
    def visit(self, tick: int, step: int, stage: int) -> None:
        if step == 0:
            self._pasts[stage] = None
        if step == 0 and stage == 0:
            self._condition_now(self._condition_at(tick)[None])
            self._known = self._dynamics.known(self._last, self._before, self._condition)
            noise = rng.normal(tuple(self._last.shape), seed=self._seed, tick=tick)
            self._noisy = noise * self._dynamics.config.temperature
            self._estimate = torch.zeros_like(self._noisy)
        self._pass(step, stage)

    def _condition_now(self, condition: Tensor) -> None:
        self._condition = condition
        table = gate_table(self._dynamics, condition, self._dynamics.config.taus)
        self._gates = table.movedim(3, 2)[..., None, :]  # (levels, layers, 6, 1 row, 1, width)

    def _pass(self, step: int, stage: int) -> None:
        commits = step == self.denoise_steps
        if stage == 0:
            self._carried[commits] = self._enter(step, commits)
        keys, values = self._layers(commits, stage)
        if commits:
            self.memories[stage].write(keys, values)
        elif stage + 1 == len(self._stages):
            self._leave(step, self._carried[False].tokens)

    def _enter(self, step: int, commits: bool) -> _Carried:
        if not commits:
            return _Carried(self._dynamics.noisy_tokens(self._noisy, self._estimate, self._known), self._gates[step])
        latent = self._tokenizer.canonical(self._estimate)
        tokens = self._dynamics.clean_tokens(latent, self._last)
        self._before, self._last = self._last, latent  # the next tick may enter while this commit is on its way
        return _Carried(tokens, self._gates[-1])

    def _layers(self, commits: bool, stage: int) -> tuple[Tensor, Tensor]:
        """The stage's layers, over its own memory; keys and values `(layers, 1, heads, tokens, head_dim)`."""
        past = self._pasts[stage]
        if past is None:
            past = self._pasts[stage] = gather(self.memories[stage], self._dynamics.rotary)
        (first, end), (tokens, gates) = self._stages[stage], self._carried[commits]
        keys, values = [], []
        for at, block in enumerate(list(self._dynamics.blocks)[first:end]):
            tokens, k, v = through_block(cast(Block, block), at, tokens, tuple(gates[first + at].unbind(0)), past)
            keys.append(k)
            values.append(v)
        self._carried[commits] = _Carried(tokens, gates)
        return torch.stack(keys), torch.stack(values)

    def _leave(self, step: int, tokens: Tensor) -> None:
        taus = (*self._dynamics.config.taus, 1.0)
        estimate = self._dynamics.latent_of(tokens, self._known)
        if step == 0:
            self._first = estimate
        self._estimate = self._tokenizer.with_presence(estimate, self._first)
        share = (taus[step + 1] - taus[step]) / (1 - taus[step])
        self._noisy = self._noisy + (self._estimate - self._noisy) * share
        if step + 1 == self.denoise_steps:
            self.latents.append(self._estimate)
