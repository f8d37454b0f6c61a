"""One session of the large network: noise in, frames out, what is remembered in between.

Three ways to remember a frame:

`pass`        once the frame is finished, one more pass of the clean latent writes its keys and values.
`merged`      that pass is made together with the first denoise step of the next frame: the same numbers from the same
              history (a test compares them), in one pass over twice the tokens instead of two.
`same_level`  there is no such pass: a denoise step reads what the same step of earlier frames left. Only for networks
              that were trained so, as StreamDiffusionV2's; one session makes its steps one after the other, so no frame
              is stale.

Keys are stored turned by their frame's position, which is reduced to an angle in float64 on the host: there is no
table to run off, only differences of positions matter, and the ring is never touched again. The first frames (sinks)
are turned anew each tick, so that they appear right behind the window for ever. A clean frame attends to what the next
frame will see: it takes the place of the oldest before it looks.

Everything that changes from tick to tick enters through buffers, so that a tick can be captured once memory is full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor

from .....model.base import rng
from .....model.base.devices import constant
from .....model.base.normal_table import normal_torch
from .....model.generator.graphs import Recorder, Work
from .decoder import LargeDecoder
from .net import LargeBlock, LargeNet, Stream, frequencies, split_rotary, turn

TAUS = (0.0, 0.5, 0.75, 0.9)
RunBlock: TypeAlias = Callable[..., Tensor]


@dataclass(frozen=True)
class TickKind:
    """How a frame is made: denoise steps, and how it is remembered."""

    steps: int
    commit: Literal["pass", "merged", "same_level"] = "pass"

    @property
    def levels(self) -> int:
        """Histories that are kept."""
        return self.steps if self.commit == "same_level" else 1


class LargeGenerator:
    """`start` with an action, `condition`, `denoise` for each step, `finish`, `decode`, `commit`: in that order.

    `run_block`: `LargeBlock.forward`, or a compiled one for when the memory is full. `first_frame`: the position of
    the session's first frame; any will do.
    """

    def __init__(
        self,
        net: LargeNet,
        decoder: LargeDecoder,
        kind: TickKind,
        recorder: Recorder,
        *,
        run_block: RunBlock = LargeBlock.forward,
        seed: int = 0,
        first_frame: int = 0,
    ) -> None:
        self.net, self.decoder, self.kind, self.config = net, decoder, kind, net.config
        self._recorder, self._run_block = recorder, run_block
        self._seed, self._first_frame = seed, first_frame
        self._captured: dict[str, Work] = {}
        weight, config = net.embed.weight, net.config
        self.device = weight.device
        room = (kind.levels, config.layers, 1 + config.remembered, config.tokens, config.heads, config.head_dim)
        self._keys, self._values = (torch.zeros(room, dtype=weight.dtype, device=self.device) for _ in range(2))
        self._sinks = torch.zeros_like(self._keys[:, :, : config.sink])
        zeros = torch.zeros(config.latent_shape, device=self.device)
        self.noise, self.noisy, self.estimate, self.clean, self.drawn = (zeros.clone() for _ in range(5))
        pairs = split_rotary(config.head_dim)[0]
        self._inputs = Inputs(self.device, action=config.action_dim, angle=2 * pairs, sink_angle=config.sink * pairs)
        gates = (config.layers, len(TAUS) + 1, 6, config.width)
        self._gates = torch.zeros(gates, device=self.device)
        self._head = torch.zeros(len(TAUS) + 1, 2, config.width, device=self.device)
        self._clean_gates = self._gates[:, -1:].clone()
        self._own = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._ring = torch.zeros_like(self._own)
        self._counter = torch.zeros(4, -(-zeros.numel() // 4), dtype=torch.int64, device=self.device)
        self._counter[0] = torch.arange(self._counter.shape[1], device=self.device)
        self.frames: Tensor | None = None
        self.reset()

    @torch.inference_mode()
    def reset(self) -> None:
        self.frame = 0
        self.decoder.forget()
        self.make_noise()

    # --- a tick ---------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """From here on every tick has the same shapes: it is captured, and repeated."""
        return self.frame > self.config.remembered

    @torch.inference_mode()
    def start(self, action: Sequence[float]) -> None:
        """Bring this tick's few numbers to the device. Nothing is waited for."""
        positions = [self.frame, self.frame - 1]
        anchor = self.frame + (self.kind.commit == "pass")
        self._inputs.write(
            action=list(action), angle=self._angles(positions), sink_angle=self._angles(self._sink_places(anchor))
        )
        self._ring.fill_(self._slot_of(self.frame - (self.kind.commit == "merged")))

    @torch.inference_mode()
    def condition(self) -> None:
        self._do("condition", self._condition)

    @torch.inference_mode()
    def denoise(self, step: int) -> None:
        self._do(f"denoise {step}", lambda: self._denoise(step))

    @torch.inference_mode()
    def finish(self) -> None:
        """The estimate becomes the frame: to be decoded, and to be committed."""
        self.clean.copy_(self.estimate)
        self.drawn.copy_(self.estimate)
        if self.kind.commit == "merged":  # a frame is committed under the action that it was made for
            self._clean_gates.copy_(self._gates[:, -1:])

    @torch.inference_mode()
    def decode(self) -> Tensor:
        """Frames `(frames_per_latent, height_px, width_px, 3)` uint8, in the same tensor each time."""
        self._do("decode", self._decode)
        assert self.frames is not None
        return self.frames

    @torch.inference_mode()
    def commit(self) -> None:
        """Remember the frame, if that takes a pass of its own, and get ready for the next."""
        if self.kind.commit == "pass":
            self._do("commit", self._commit)
        self._keep_sink()
        self.frame += 1
        self.make_noise()

    @torch.inference_mode()
    def make_noise(self) -> None:
        """Of the coming frame, by its address; nothing of it depends on the input."""
        address = rng.Address(self._seed, self.frame)
        for row, word in enumerate(address.counter, start=1):
            self._counter[row].fill_(word)
        self._do("noise", self._make_noise)

    def _do(self, name: str, work: Work) -> None:
        if not self.is_full:
            work()
            return
        if name not in self._captured:
            buffers = self.decoder.buffers() if name == "decode" else (self.noisy, self.estimate)
            kept = [(part, part.clone()) for part in buffers]
            self._captured[name] = self._recorder.capture(work)
            for part, before in kept:  # the runs before the capture have moved them on
                part.copy_(before)
        self._captured[name]()

    # --- what is captured -----------------------------------------------------------------------------------------

    def _condition(self) -> None:
        tau = constant((*TAUS, 1.0), self.device)
        gates, head = self.net.levels(tau, self._inputs["action"])
        self._gates.copy_(gates)
        self._head.copy_(head)
        if self.kind.commit != "pass":
            self._anchor_sinks()
        self.noisy.copy_(self.noise)

    def _denoise(self, step: int) -> None:
        commits_last = self.kind.commit == "merged" and step == 0 and self.frame > 0
        remembered = min(self.frame, self.config.remembered)
        if self.kind.commit == "same_level":
            streams = [Stream(self._ring, 1, 1 + min(self.frame + 1, self.config.remembered))]
        else:
            streams = [Stream(self._own, 0, 1 + remembered)]
        latents, gates = self.noisy[None], self._gates[:, step : step + 1]
        if commits_last:
            streams.append(Stream(self._ring, 1, 1 + remembered))
            latents, gates = torch.stack([self.noisy, self.clean]), torch.cat([gates, self._clean_gates], 1)
        history = step if self.kind.commit == "same_level" else 0
        tokens = self._pass(latents, gates, streams, history)
        estimate = self.net.latents(tokens, self._head[step : step + 1])[0]
        taus = (*TAUS, 1.0)
        self.noisy.add_((estimate - self.noisy) * ((taus[step + 1] - taus[step]) / (1 - taus[step])))
        self.estimate.copy_(estimate)

    def _decode(self) -> None:
        self.frames = self.decoder(self.drawn[None])

    def _commit(self) -> None:
        self._anchor_sinks()
        seen = 1 + min(self.frame + 1, self.config.remembered)
        self._pass(self.clean[None], self._gates[:, -1:], [Stream(self._ring, 1, seen)], 0)

    def _make_noise(self) -> None:
        words = rng.philox_torch(self._counter, rng.Address(self._seed, 0).key)
        numbers = normal_torch(words.T.reshape(-1)[: self.noise.numel()])
        self.noise.copy_(numbers.view_as(self.noise))

    def _pass(self, latents: Tensor, gates: Tensor, streams: list[Stream], history: int) -> Tensor:
        """All layers over `(streams, ...)` latents under `gates (layers, streams, 6, width)`; the first's tokens."""
        run = self._run_block if self.is_full else LargeBlock.forward
        cos, sin = self.net.rotary(self._inputs["angle"].view(2, -1)[: len(streams)])
        x = self.net.patches(latents)
        for layer, block in enumerate(self.net.blocks):
            keys, values = self._keys[history, layer], self._values[history, layer]
            x = run(cast(LargeBlock, block), x, gates[layer], cos, sin, keys, values, streams)
        return x[:1]

    # --- positions ------------------------------------------------------------------------------------------------

    def _slot_of(self, frame: int) -> int:
        sink = self.config.sink
        return 1 + frame if frame < sink else 1 + sink + (frame - sink) % self.config.window

    def _angles(self, frames: Sequence[int]) -> list[float]:
        """Of each frame's position, by frequency, in 0..2 pi; exact for any position below 2^53 / 10^4."""
        step = frequencies(split_rotary(self.config.head_dim)[0])
        where = torch.tensor(frames, dtype=torch.float64)[:, None] + self._first_frame
        return cast("list[float]", (where * step).remainder(2 * math.pi).flatten().tolist())

    def _sink_places(self, frame: int) -> list[int]:
        """Where the sinks appear to be when `frame` is made: where they are, or right behind the window."""
        return [max(sink, frame - self.config.remembered + sink) for sink in range(self.config.sink)]

    def _anchor_sinks(self) -> None:
        if self.config.sink:
            turned = turn(self._sinks, *self._time_only(self._inputs["sink_angle"].view(self.config.sink, -1)))
            self._keys[:, :, 1 : 1 + self.config.sink].copy_(turned)

    def _keep_sink(self) -> None:
        """Once a sink is written, keep its keys without their position."""
        frame = self.frame - (self.kind.commit == "merged")
        if 0 <= frame < self.config.sink:
            angle = torch.tensor(self._angles([frame]), dtype=torch.float32).to(self.device)
            cos, sin = self._time_only(-angle[None])
            self._sinks[:, :, frame] = turn(self._keys[:, :, 1 + frame], cos[0], sin[0])

    def _time_only(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(n, 1, 1, head_dim / 2)` that leave height and width as they are."""
        still = self.config.head_dim // 2 - angle.shape[-1]
        angle = torch.nn.functional.pad(angle, (0, still))[:, None, None]
        return angle.cos(), angle.sin()


class Inputs:
    """A tick's small numbers: written on the host, brought over in one copy, read in place."""

    def __init__(self, device: torch.device, **sizes: int) -> None:
        total = sum(sizes.values())
        self._host = torch.zeros(total, pin_memory=device.type == "cuda")
        self._there = torch.zeros(total, device=device)
        self._parts: dict[str, tuple[Tensor, Tensor]] = {}
        at = 0
        for name, size in sizes.items():
            self._parts[name] = self._host[at : at + size], self._there[at : at + size]
            at += size

    def __getitem__(self, name: str) -> Tensor:
        return self._parts[name][1]

    def write(self, **numbers: Any) -> None:
        """The copy before must have ended; a session waits for its frames, and so for that."""
        for name, values in numbers.items():
            self._parts[name][0].copy_(torch.tensor(values, dtype=torch.float32))
        self._there.copy_(self._host, non_blocking=True)
