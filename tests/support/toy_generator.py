"""A generator without a network, unlike the trained ones in all that the contract leaves open.

A tick is a chunk of two frames; its condition is a value of its own, made of controls, typed text, a camera picture and
a reference; it remembers frames, not keys and values; its noise levels are EDM's sigmas. It begins from pictures.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nextframe.model.base import rng
from nextframe.model.generator.protocol import (
    Capabilities,
    Conditioning,
    GeneratorSpec,
    Inputs,
    Size,
    Start,
    StartError,
    StatePiece,
)

FRAME, FRAMES_PER_TICK, REMEMBERED_TICKS = Size(4, 6), 2, 3
SIGMAS = (4.0, 1.0, 0.25)
CONTROLS = 2
SPEC = GeneratorSpec(
    frames_per_tick=FRAMES_PER_TICK,
    frame=FRAME,
    ladder=(1, 2, 3),
    noise_levels=SIGMAS,
    conditioning=Conditioning(CONTROLS, text=True, camera=FRAME, reference=FRAME),
    history="frames",
    memory_ticks=REMEMBERED_TICKS,
    memory_bytes=4 * REMEMBERED_TICKS * FRAMES_PER_TICK * FRAME.height_px * FRAME.width_px,
)


@dataclass(frozen=True, eq=False)
class ToyCondition:
    """`push`: what controls and text add to every pixel. `seen`: the camera's brightness, `(height, width)`."""

    push: float
    seen: Tensor


class ToyJob:
    """Euler steps down the sigmas, from pure noise, each towards what the tick would look like without any."""

    def __init__(self, target: Tensor, noise: Tensor, steps: int) -> None:
        self._target, self._noisy, self._steps = target, noise * SIGMAS[0], steps
        self._estimate = noise
        self.steps_done = 0

    @property
    def can_step(self) -> bool:
        return self.steps_done < self._steps

    def step(self) -> None:
        assert self.can_step, "a job steps while it can"
        sigma, after = SIGMAS[self.steps_done], (*SIGMAS, 0.0)[self.steps_done + 1]
        doubt = sigma**2 / (sigma**2 + 1)
        self._estimate = doubt * self._target + (1 - doubt) * self._noisy
        self._noisy = self._estimate + (self._noisy - self._estimate) * (after / sigma)
        self.steps_done += 1

    def finish(self) -> Tensor:
        assert self.steps_done > 0, "finish() needs at least one step()"
        return self._estimate


class ToyGenerator:
    """A latent is `(1, 2, height, width)`, the brightness of a chunk's two frames around 0."""

    def __init__(self) -> None:
        self.spec, self.device = SPEC, torch.device("cpu")
        self._past = torch.zeros(REMEMBERED_TICKS, FRAMES_PER_TICK, *FRAME)
        self._reference = torch.zeros(FRAME)
        self._tick = 0
        self.last = self._past[-1:].clone()

    @property
    def can(self) -> Capabilities[ToyCondition]:
        return Capabilities()

    def begin(self, seed: int, start: Start) -> None:
        frames, reference = start.frames, start.reference
        shape = (REMEMBERED_TICKS * FRAMES_PER_TICK, *FRAME, 3)
        if frames is None or frames.shape != shape or reference is None or reference.shape != (*FRAME, 3):
            raise StartError(f"toy generator: expected frames {shape} and a reference {(*FRAME, 3)}, got {start}")
        self._past = _brightness(frames).view_as(self._past)
        self._reference = _brightness(reference)
        self._tick = 0
        self.last = self._past[-1:].clone()

    def condition(self, inputs: Inputs) -> ToyCondition:
        if len(inputs.controls) != CONTROLS or inputs.camera is None or inputs.camera.shape != (*FRAME, 3):
            raise ValueError(f"toy generator: expected {CONTROLS} controls and a camera picture, got {inputs}")
        said = zlib.crc32(inputs.text.encode()) / 2**32
        return ToyCondition(sum(inputs.controls) + said, _brightness(inputs.camera))

    def start(self, condition: ToyCondition, seed: int, steps: int) -> ToyJob:
        target = self._past.mean(0) * 0.9 + self._reference * 0.1 + condition.seen + 0.1 * condition.push
        return ToyJob(target[None], rng.normal(tuple(self.last.shape), seed=seed, tick=self._tick), steps)

    def decode(self, latent: Tensor) -> Tensor:
        levels = ((latent.sigmoid() * 255).round()).to(torch.uint8)
        return levels.flatten(0, 1)[..., None].expand(-1, -1, -1, 3).contiguous()

    def commit(self, latent: Tensor, condition: ToyCondition) -> None:
        self.last = latent.clone()
        self._past = torch.cat([self._past[1:], self.last])
        self._tick += 1

    def skip(self) -> None:
        self.last = self.last.clone()
        self._tick += 1

    def snapshot(self) -> dict[str, object]:
        return {
            "past": self._past.numpy().copy(), "reference": self._reference.numpy().copy(), "tick": self._tick
        }  # fmt: skip

    def restore(self, snapshot: dict[str, Any]) -> None:
        self._past, self._reference = (torch.from_numpy(snapshot[name].copy()) for name in ("past", "reference"))
        self._tick = snapshot["tick"]
        self.last = self._past[-1:].clone()

    def checksum(self, crc: int = 0) -> int:
        crc = zlib.crc32(struct.pack("<q", self._tick), crc)
        for part in (self._past, self._reference):
            crc = zlib.crc32(part.numpy().tobytes(), crc)
        return crc

    def inventory(self) -> list[StatePiece]:
        reaches: Mapping[str, int | None] = {"past": REMEMBERED_TICKS, "reference": None, "tick": None}
        return [StatePiece(*reach) for reach in reaches.items()]


def _brightness(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pictures.astype(np.float32).mean(-1) / 255 - 0.5)


def toy_start(number: int = 0) -> Start:
    draw = np.random.default_rng(number)
    frames, reference = (
        draw.integers(0, 255, (*many, *FRAME, 3), dtype=np.uint8)
        for many in ((REMEMBERED_TICKS * FRAMES_PER_TICK,), ())
    )
    return Start(frames=frames, reference=reference)


def toy_inputs(tick: int) -> Inputs:
    draw = np.random.default_rng(tick)
    camera = draw.integers(0, 255, (*FRAME, 3), dtype=np.uint8)
    return Inputs((float(tick % 3), 0.5), text="fog" if tick % 2 else "sun", camera=camera)
