"""The generator: one tick of the dynamics as a job of denoise steps, with the rolling memory beside it.

Owns the sampler and the session state of one or more rows (parallel sessions on the same tick). Knows no clock: who
drives the job decides before each further step whether it still fits, and may finish early at any rung of the ladder.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from model import rng
from model.dynamics import Block, Dynamics, rotate
from model.memory import RollingKVMemory
from model.tokenizer import SlotTokenizer


class DenoiseJob:
    """The denoising of one coming frame. `step()` while `can_step`; `finish()` once. Reads memory, never writes it.

    Euler steps of the flow from noise (tau 0) towards the latent (tau 1) along one schedule of noise levels for all
    rungs, so a job cut short after k steps is exactly the rung k: a replay needs to know only the steps applied.
    """

    def __init__(self, generator: Generator, condition: Tensor, noise: Tensor, steps: int) -> None:
        self._generator = generator
        self._steps = steps
        self._noisy = noise
        self._estimate = torch.zeros_like(noise)
        self._past = generator.read_memory()
        self.condition = condition
        self.steps_done = 0

    @property
    def can_step(self) -> bool:
        return self.steps_done < self._steps

    @torch.inference_mode()
    def step(self) -> None:
        taus = (*self._generator.config.taus, 1.0)
        tau, after = taus[self.steps_done], taus[self.steps_done + 1]
        self._estimate = self._generator.predict(self._noisy, self._estimate, self.condition, tau, self._past)
        self._noisy = self._noisy + (self._estimate - self._noisy) * ((after - tau) / (1 - tau))
        self.steps_done += 1

    def finish(self) -> Tensor:
        """The latent, `(rows, latent_dim)`, as it will be decoded."""
        assert self.steps_done > 0, "finish() needs at least one step()"
        return self._estimate


class Generator:
    """Session state of `rows` parallel sessions: memory, the last two latents, the tick.

    `prefill` starts a session from true latents; then per tick `start` a job, step it, `decode`, and `commit` once.
    """

    def __init__(self, tokenizer: SlotTokenizer, dynamics: Dynamics, rows: int = 1, window: int | None = None) -> None:
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.dynamics = dynamics.eval().requires_grad_(False)
        self.config = dynamics.config
        self.memory = RollingKVMemory(self.config.memory_spec(rows))
        self.window = self.config.window if window is None else window
        self.last = torch.zeros(rows, self.config.latent_dim)
        self.before = torch.zeros(rows, self.config.latent_dim)
        self.tick = 0

    @torch.inference_mode()
    def prefill(self, latents: Tensor, conditions: Tensor) -> None:
        """Start a session from a short true past, `(rows, time, latent_dim)` and `(rows, time, condition_dim)`."""
        self.memory.reset()
        self.tick = 0
        self.last = self.before = latents[:, 0].clone()
        for t in range(latents.shape[1]):
            self.commit(latents[:, t], conditions[:, t])
        self.tick = 0

    def start(self, condition: Tensor, seed: int, steps: int) -> DenoiseJob:
        """A job for the coming frame. `condition`: `(rows, condition_dim)`. Noise by address of (seed, tick)."""
        noise = rng.normal(tuple(self.last.shape), seed=seed, tick=self.tick)
        return DenoiseJob(self, condition, noise * self.config.temperature, steps)

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        """Frames `(rows, height, width, 3)` uint8."""
        return self.tokenizer.decode(latent)

    @torch.inference_mode()
    def commit(self, latent: Tensor, condition: Tensor) -> None:
        """Write the frame into memory, once, as the nearest latent that a frame can have."""
        latent = self.tokenizer.canonical(latent)
        dynamics = self.dynamics
        x = dynamics.clean_tokens(latent, latent if self.window == 1 else self.last)
        tau = torch.ones(len(latent))
        gates = dynamics.gates(condition, tau, clean=True)[:, None]
        past = self.read_memory()
        keys, values = [], []
        for layer, block in enumerate(dynamics.blocks):
            x, k, v = self._block(cast(Block, block), layer, x, gates, past)
            keys.append(k)
            values.append(v)
        self.memory.write(torch.stack(keys), torch.stack(values))
        self.before, self.last = self.last, latent
        self.tick += 1

    def to_condition(self, values: Sequence[float]) -> Tensor:
        """The same condition for every row, `(rows, condition_dim)`."""
        return torch.tensor([list(values)] * len(self.last), dtype=torch.float32)

    def snapshot(self) -> dict[str, object]:
        """All session state; later ticks do not change it."""
        return {
            "memory": self.memory.snapshot(),
            "last": self.last.clone(),
            "before": self.before.clone(),
            "tick": self.tick,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.memory.restore(snapshot["memory"])
        self.last, self.before = snapshot["last"].clone(), snapshot["before"].clone()
        self.tick = snapshot["tick"]

    def checksum(self, crc: int = 0) -> int:
        """CRC-32 of the session state: everything that decides the future besides the inputs."""
        memory = self.memory
        crc = zlib.crc32(
            struct.pack(f"<qq{len(memory.positions)}q", self.tick, memory.next_position, *memory.positions), crc
        )
        held = [slot for slot, position in enumerate(memory.positions) if position >= 0]
        for part in (memory.keys[:, :, :, held], memory.values[:, :, :, held], self.last, self.before):
            crc = zlib.crc32(part.contiguous().numpy().tobytes(), crc)
        return crc

    # --- the network over memory ----------------------------------------------------------------------------------

    def read_memory(self) -> tuple[Tensor, Tensor, Tensor]:
        """Remembered keys rotated by age `(layers, rows, heads, slots * tokens, head_dim)`, values, and the mask."""
        ages = self.memory.ages()
        seen = (ages > 0) & (ages <= self.window)
        order = torch.nonzero(seen)[:, 0]
        cos, sin = self.dynamics.rotary(-ages[order])
        keys = self.memory.keys[:, :, :, order]
        keys = rotate(keys, cos[:, None], sin[:, None]).flatten(3, 4)
        return keys, self.memory.values[:, :, :, order].flatten(3, 4), ages

    def predict(
        self, noisy: Tensor, estimate: Tensor, condition: Tensor, tau: float, past: tuple[Tensor, Tensor, Tensor]
    ) -> Tensor:
        """One pass of the network: the clean latent as estimated now, `(rows, latent_dim)`."""
        dynamics = self.dynamics
        before = self.last if self.window == 1 else self.before
        y = dynamics.noisy_tokens(noisy, estimate, self.last, before, condition)
        gates = dynamics.gates(condition, torch.full((len(noisy),), tau), clean=False)[:, None]
        for layer, block in enumerate(dynamics.blocks):
            y, _, _ = self._block(cast(Block, block), layer, y, gates, past)
        return dynamics.latent_of(y, self.last, condition)

    def _block(
        self, block: Block, layer: int, x: Tensor, gates: Tensor, past: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        shift, scale, gate, *mlp = (gates + block.modulation).chunk(6, -1)
        q, k, v = block.project(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift)
        keys = torch.cat([past[0][layer], k], 2)
        values = torch.cat([past[1][layer], v], 2)
        attended = F.scaled_dot_product_attention(q, keys, values)
        x = block.mix(x, attended, (mlp[0], mlp[1], 1 + mlp[2], 1 + gate))
        return x, k, v
