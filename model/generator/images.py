"""A generator whose latents are images: each tick denoises the next frame with a U-Net, at one schedule of sigmas.

Session state: the last frames as they were shown (in whole grey levels, so that what is remembered is what was seen),
the actions between them, and keys and values of older frames in the rolling memory. One row.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base import rng
from ..base.devices import multiplies_bfloat16
from ..diffusion.levels import Scales, Schedule, step
from ..dynamics.unet import Given, Modulation, Remembered, UNet, estimate
from ..memory.past import gather
from ..memory.rolling import RollingKVMemory
from .protocol import Capabilities, Conditioning, DenoiseJob, GeneratorSpec, Inputs, Size, Start, StartError, StatePiece


class ImageJob:
    """The denoising of one coming frame: Euler steps down the schedule; the estimate after k of them is rung k."""

    def __init__(self, generator: ImageGenerator, given: Given, modulations: list[list[Modulation]], noise: Tensor,
                 steps: int) -> None:  # fmt: skip
        self._generator, self._given, self._modulations, self._steps = generator, given, modulations, steps
        self._noisy = given.base + noise * generator.schedule.sigmas[0]
        self._image: Tensor | None = None
        self.steps_done = 0

    @property
    def can_step(self) -> bool:
        return self.steps_done < self._steps

    @torch.inference_mode()
    def step(self) -> None:
        generator, k = self._generator, self.steps_done
        sigmas = generator.schedule.sigmas
        if self._image is not None:
            self._noisy = step(self._noisy, self._image, sigmas[k - 1], sigmas[k])
        image = estimate(generator.net.trunk, self._noisy, generator.scales[k], self._given, self._modulations[k])
        self._image = image.clamp(-1, 1)
        self.steps_done += 1

    def finish(self) -> Tensor:
        """`(1, *latent_shape)`."""
        assert self._image is not None, "finish() needs at least one step()"
        return self._image


class ImageGenerator:
    """See the module's text and `nextframe.model.generator.protocol`.

    `ladder`: its highest rung takes every sigma of the schedule. `window`: see no further back in the memory than so
    many ticks; 0 sees none of it, and leaves the last frames. Convolutions run in `dtype`: bfloat16 where the machine
    multiplies it, float32 elsewhere, unless one is given.
    """

    def __init__(
        self,
        net: UNet,
        *,
        schedule: Schedule = Schedule(),  # noqa: B008 - a constant
        ladder: tuple[int, ...] = (1, 2, 4),
        window: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if ladder[-1] != len(schedule.sigmas):
            raise ValueError(f"generator: expected a sigma for each step, got {schedule.sigmas} and {ladder}")
        self.net = net.eval().requires_grad_(False)
        self.config, self.schedule, self._ladder, self._limit = net.config, schedule, ladder, window
        self.device = next(net.parameters()).device
        self._dtype = dtype
        self.scales: list[Scales] = []
        self._place()
        self.memory = RollingKVMemory(self.config.memory_spec(), self.device, limit=window)
        self._frames = torch.zeros(self.config.past, *self.config.latent_shape, device=self.device)
        self._controls = torch.zeros(self.config.past - 1, self.config.condition_dim, device=self.device)
        self._last = self._frames[-1:]
        self.tick = 0

    def _place(self) -> None:
        """Numbers and number formats that depend on where the network is."""
        self.dtype = self._dtype or (torch.bfloat16 if multiplies_bfloat16(self.device) else torch.float32)
        self.net.trunk.to(self.dtype)
        self._sigmas = torch.tensor(self.schedule.sigmas, device=self.device)
        self._noise_inputs = Scales.at(self._sigmas, self.config.change).noise
        self.scales = [Scales.at(sigma[None], self.config.change) for sigma in self._sigmas]

    @property
    def spec(self) -> GeneratorSpec:
        config = self.config
        return GeneratorSpec(
            frames_per_tick=1,
            frame=Size(config.height, config.width),
            ladder=self._ladder,
            noise_levels=self.schedule.sigmas,
            conditioning=Conditioning(controls=config.condition_dim),
            history="clean",
            memory_ticks=None,  # the frames that are seen whole were made from all before them
            memory_bytes=self.memory.spec.bytes,
        )

    @property
    def can(self) -> Capabilities[Tensor]:
        return Capabilities(place=self)

    @property
    def last(self) -> Tensor:
        return self._last

    def to(self, device: torch.device | str) -> None:
        """Network, memory and frames to another device. Modifies; the state stays the same."""
        state = self.snapshot()
        self.device = torch.device(device)
        self.net.to(self.device)
        self._place()
        self.memory = RollingKVMemory(self.memory.spec, self.device, limit=self._limit)
        self.restore(state)

    def begin(self, seed: int, start: Start) -> None:
        """`seed` decides nothing here: the past is given, as frames. Raises StartError."""
        config, frames, controls = self.config, start.frames, start.controls
        size = (config.height, config.width, 3)
        if (
            frames is None or controls is None or frames.shape[1:] != size or len(frames) < config.past
            or tuple(controls.shape) != (len(frames), config.condition_dim)
        ):  # fmt: skip
            found = None if frames is None else frames.shape, None if controls is None else tuple(controls.shape)
            raise StartError(
                f"generator: expected a start of frames (ticks, {', '.join(map(str, size))}), {config.past} or more, "
                f"and controls (ticks, {config.condition_dim}), got {found[0]} and {found[1]}"
            )
        self.memory.reset()
        self._frames, self._controls = torch.zeros_like(self._frames), torch.zeros_like(self._controls)
        for latent, control in zip(self.net.pack(torch.from_numpy(frames).to(self.device)), controls, strict=True):
            self.commit(latent[None], control[None].to(self.device))
        self.tick = 0

    def condition(self, inputs: Inputs) -> Tensor:
        """`(1, condition_dim)`. Raises ValueError for another number of controls."""
        if len(inputs.controls) != self.config.condition_dim:
            raise ValueError(
                f"generator: expected {self.config.condition_dim} controls (axes, then buttons), got "
                f"{len(inputs.controls)}"
            )
        return torch.tensor([inputs.controls], dtype=torch.float32).to(self.device)

    @torch.inference_mode()
    def start(self, condition: Tensor, seed: int, steps: int) -> DenoiseJob:
        """A job for the coming frame. The noise is addressed by (seed, tick); later steps draw none."""
        seen = self._frames.flatten(0, 1)[None].contiguous(memory_format=torch.channels_last)
        given = Given(self._last, self.net.trunk.past_in(seen.to(self.dtype)), self._recall())
        actions = torch.cat([self._controls, condition])[None].expand(len(self._sigmas), -1, -1)
        numbers = self.net.embedding(self._noise_inputs, actions)
        modulations = [self.net.embedding.split(row[None], self.dtype) for row in numbers]
        noise = rng.normal((1, *self.config.latent_shape), seed=seed, tick=self.tick).to(self.device)
        return ImageJob(self, given, modulations, noise.contiguous(memory_format=torch.channels_last), steps)

    def _recall(self) -> Sequence[Remembered | None]:
        """What attention sees, by layer."""
        past, tokens = gather(self.memory, self.net.rotary), self.config.tokens
        if self._limit == 0 or past.keys[0].shape[2] == tokens:
            return [None] * self.config.middle
        mask = torch.zeros(1, 1, 1, past.keys[0].shape[2] - tokens, dtype=self.dtype, device=self.device)
        return [
            Remembered(keys[..., :-tokens, :].to(self.dtype), values[..., :-tokens, :].to(self.dtype), mask)
            for keys, values in zip(past.keys, past.values, strict=True)
        ]

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        """Frames `(1, height, width, 3)` uint8."""
        return self.net.unpack(latent)

    @torch.inference_mode()
    def commit(self, latent: Tensor, condition: Tensor) -> None:
        """The frame as it was shown becomes the past; its keys and values enter the memory."""
        shown = self.net.pack(self.net.unpack(latent))
        keys, values = self.net.trunk.writer(shown.to(self.dtype))
        self.memory.write(keys.float(), values.float())
        self._frames = torch.cat([self._frames[1:], shown])
        self._controls = torch.cat([self._controls[1:], condition])
        self._last = shown
        self.tick += 1

    def skip(self) -> None:
        """Only the tick counts, so that the next one has other noise."""
        self._last = self._last.clone()
        self.tick += 1

    # --- state ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        return {
            "memory": self.memory.snapshot(),
            "frames": self.net.unpack(self._frames).cpu().numpy(),
            "controls": self._controls.cpu().numpy().copy(),
            "tick": self.tick,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.memory.restore(snapshot["memory"])
        self._frames = self.net.pack(torch.from_numpy(snapshot["frames"].copy()).to(self.device))
        self._controls = torch.from_numpy(snapshot["controls"].copy()).to(self.device)
        self._last = self._frames[-1:].clone()
        self.tick = snapshot["tick"]

    def inventory(self) -> list[StatePiece]:
        spec, past = self.memory.spec, self.config.past
        return [
            StatePiece("memory", None if spec.sink else spec.window * self.config.stride),
            StatePiece("frames", horizon_ticks=past),
            StatePiece("controls", horizon_ticks=past - 1),
            StatePiece("tick", horizon_ticks=None),  # with the seed: the address of the noise
        ]

    def checksum(self, crc: int = 0) -> int:
        for part in self.memory.state_bytes():
            crc = zlib.crc32(part, crc)
        frames = np.ascontiguousarray(self.net.unpack(self._frames).cpu().numpy())
        crc = zlib.crc32(self._controls.cpu().numpy().tobytes(), zlib.crc32(frames.tobytes(), crc))
        return zlib.crc32(self.tick.to_bytes(8, "little", signed=True), crc)
