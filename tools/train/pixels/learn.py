"""Train a diffusion U-Net on shards of episodes, on its own rollouts: resumable, until so many steps or a signal.

    python -m nextframe.tools.train.pixels.learn --data runs/racer/data --out runs/racer/a

A sequence is a few real frames and then some ticks in which the frame the network just made is fed back as the past
(gradients cut at each frame). That, and a little noise on remembered frames, is what keeps a world stable for
thousands of ticks. Convolutions run in bfloat16 where the machine multiplies it; weights and their average stay in
float32.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....model.base.devices import multiplies_bfloat16
from ....model.diffusion.levels import NoiseMix, Scales, Schedule
from ....model.dynamics.unet import Given, Remembered, UNet, UNetConfig, estimate, rotate
from .shards import Memory, Sequences, Shards, sizes_of


@dataclass(frozen=True)
class LearnConfig:
    ticks: int = 3
    """Of a rollout, after the frames it begins with."""
    batch: int = 8
    micro: int = 8
    """Sequences at once; the gradients of `batch / micro` of them make one update."""
    rate: float = 4e-4
    warmup_steps: int = 200
    steps: int = 60_000
    """Of the whole training. Over the last three tenths the rate falls to a twentieth."""
    weight_decay: float = 1e-2
    average: float = 0.9995
    remembered_noise: float = 0.04
    """Standard deviation at most; each sequence draws its own."""
    save_s: float = 300.0
    keep_steps: int = 5000
    """Every so many steps a checkpoint is kept under a name of its own."""
    log_steps: int = 50


class Learner:
    """Weights, their average and the optimiser. `step` modifies all of them."""

    def __init__(self, net: UNet, config: LearnConfig, *, dtype: torch.dtype, seed: int) -> None:
        self.net, self.config, self.dtype = net, config, dtype
        self.average = copy.deepcopy(net).eval()
        self.working = copy.deepcopy(net.trunk).to(dtype)
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=config.rate, betas=(0.9, 0.99), weight_decay=config.weight_decay, fused=True
        )
        self.random = torch.Generator().manual_seed(seed)
        self.mix, self.schedule = NoiseMix(), Schedule()
        self.steps, self.frames, self.seconds = 0, 0, 0.0

    def step(self, sequences: Sequences) -> float:
        """One update from `batch` sequences; the loss per frame."""
        config = self.config
        total = 0.0
        for first in range(0, config.batch, config.micro):
            part = slice(first, first + config.micro)
            total += self._rollout(*(torch.from_numpy(part_of[part]) for part_of in sequences))
            self._fold_gradients()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.param_groups[0]["lr"] = config.rate * self.rate_share()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps += 1
        self.frames += config.batch * config.ticks
        with torch.no_grad():
            fraction = 1 - min(config.average, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(list(self.average.parameters()), list(self.net.parameters()), fraction)
        self._copy_to_working()
        return total * config.micro / config.batch

    def rate_share(self) -> float:
        """What share of the full rate the coming step takes."""
        left = 1 - self.steps / self.config.steps
        return min(1.0, (self.steps + 1) / self.config.warmup_steps, max(0.05, left / 0.3))

    def _rollout(self, frames: Tensor, actions: Tensor, remembered: Tensor, ages: Tensor) -> float:
        """Gradients of all ticks of some sequences, into the working trunk's and the embedding's parameters."""
        net, config, past = self.net, self.config, self.net.config.past
        n = len(frames)
        latents = net.pack(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]).unbind(1)
        seen = list(latents[:past])
        column = (slice(None), None, None, None)
        noise_on_past = torch.rand(n, generator=self.random)[column] * config.remembered_noise
        written = recall(net, *self._write(remembered), ages)
        leaves = [part._replace(keys=_leaf(part.keys), values=_leaf(part.values)) for part in written]
        total = 0.0
        for tick in range(config.ticks):
            target = latents[past + tick]
            sigma = self.mix.draw(n, self.schedule, self.random)
            scales = Scales.at(sigma, net.config.change)
            noisy = target + torch.randn(target.shape, generator=self.random) * sigma[column]
            last = torch.cat(seen[-past:], 1)
            last = last + torch.randn(last.shape, generator=self.random) * noise_on_past
            known = self.working.past_in(last.to(self.dtype).contiguous(memory_format=torch.channels_last))
            given = Given(last[:, -target.shape[1] :], known, later(net, leaves, tick))
            numbers = net.embedding(scales.noise, actions[:, tick : tick + past])
            modulations = net.embedding.split(numbers, self.dtype)
            image = estimate(self.working, noisy, scales, given, modulations)
            loss = ((image - target) / scales.out[column]).square().mean() / config.ticks
            (loss * config.micro / config.batch).backward()
            total += float(loss.detach())
            seen.append(image.detach().clamp(-1, 1))
        torch.autograd.backward(
            [tensor for part in written for tensor in part[:2]], [leaf.grad for part in leaves for leaf in part[:2]]
        )
        return total

    def _write(self, remembered: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of frames `(n, slots, height, width, 3)`, `(layers, n, slots, heads, tokens, head_dim)`."""
        n, slots = remembered.shape[:2]
        keys, values = self.working.writer(self.net.pack(remembered.flatten(0, 1)).to(self.dtype))
        return keys.unflatten(1, (n, slots)), values.unflatten(1, (n, slots))

    def _fold_gradients(self) -> None:
        """Gradients of the working trunk are summed in float32, so that many small ones are not lost."""
        for master, work in zip(self.net.trunk.parameters(), self.working.parameters(), strict=True):
            assert work.grad is not None
            if master.grad is None:
                master.grad = work.grad.to(torch.float32)
            else:
                master.grad.add_(work.grad)
            work.grad = None

    def _copy_to_working(self) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.working.parameters()), list(self.net.trunk.parameters()))

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "random": self.random.get_state(),
            "steps": self.steps, "frames": self.frames, "seconds": self.seconds,
            "unet": dataclasses.asdict(self.net.config), "learn": dataclasses.asdict(self.config),
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.set_state(state["random"])
        self.steps, self.frames, self.seconds = state["steps"], state["frames"], state["seconds"]
        self._copy_to_working()


def _leaf(tensor: Tensor) -> Tensor:
    """Gradients of all ticks are summed here, and go on through what made it once."""
    return tensor.detach().requires_grad_()


def recall(net: UNet, keys: Tensor, values: Tensor, ages: Tensor) -> list[Remembered]:
    """What attention sees, by layer, of keys and values `(layers, n, slots, heads, tokens, head_dim)` of `ages (n,
    slots)`."""
    tokens = keys.shape[4]
    cos, sin = (part[:, :, None, None].to(keys.dtype) for part in net.rotary(-ages))
    turned = rotate(keys, cos, sin)
    mask = torch.where(ages > 0, 0.0, -1e4).to(keys.dtype).repeat_interleave(tokens, 1)[:, None, None]
    by_layer = (part.transpose(2, 3).flatten(3, 4) for part in (turned, values))
    return [Remembered(k, v, mask) for k, v in zip(*by_layer, strict=True)]


def later(net: UNet, past: list[Remembered], ticks: int) -> list[Remembered]:
    """The same, so many ticks later: the query is turned, not all the keys."""
    cos, sin = (part.to(past[0].keys.dtype) for part in net.rotary(torch.tensor([ticks])))
    return [part._replace(turn=(cos, sin)) for part in past]


def save(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.rename(path)


def run(options: argparse.Namespace, config: LearnConfig, unet: UNetConfig) -> None:
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    checkpoint = out / "checkpoint.pt"
    learner = Learner(
        UNet(unet),
        config,
        dtype=torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32,
        seed=options.seed,
    )
    if checkpoint.exists():
        learner.load(torch.load(checkpoint, weights_only=True))
    elif options.warm is not None:
        learner.net.load_state_dict(torch.load(options.warm, weights_only=True)["average"])
        learner.average.load_state_dict(learner.net.state_dict())
    memory = Memory(unet.window, unet.stride, unet.sink, unet.past)
    shards = Shards(options.data, "train", ticks=unet.past + config.ticks, memory=memory)
    parameters = sum(p.numel() for p in learner.net.parameters())
    print(f"{parameters / 1e6:.2f} M parameters, {shards.frames} frames, {learner.dtype}, step {learner.steps}",
          flush=True)  # fmt: skip
    stopping: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, _: stopping.append(number))
    try:
        _loop(learner, shards, options, checkpoint, stopping)
        save(checkpoint, learner.state())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Log:
    """One line every so many steps, on the terminal and in a file."""

    def __init__(self, path: Path, learner: Learner) -> None:
        self._path = path
        self._frames, self._cpu_s = learner.frames, time.process_time()
        self._loss: float | None = None

    def note(self, learner: Learner, loss: float) -> None:
        self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
        if learner.steps % learner.config.log_steps:
            return
        cpu_s = time.process_time()
        line = {
            "step": learner.steps, "minutes": round(learner.seconds / 60, 2), "loss": round(self._loss, 5),
            "frames": learner.frames,
            "frames_per_cpu_s": round((learner.frames - self._frames) / (cpu_s - self._cpu_s), 1),
        }  # fmt: skip
        self._frames, self._cpu_s = learner.frames, cpu_s
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


def _loop(learner: Learner, shards: Shards, options: argparse.Namespace, checkpoint: Path, stopping: list[int]) -> None:
    config, log = learner.config, _Log(checkpoint.with_name("log.jsonl"), learner)
    rng = np.random.default_rng((options.seed, learner.steps))
    last = saved = time.monotonic()
    while not stopping and learner.steps < config.steps:
        loss = learner.step(shards.draw(config.batch, rng))
        now = time.monotonic()
        learner.seconds += now - last
        last = now
        log.note(learner, loss)
        if learner.steps % config.keep_steps == 0:
            save(checkpoint.with_name(f"checkpoint-{learner.steps:06d}.pt"), learner.state())
        if now - saved > config.save_s:
            saved = now
            save(checkpoint, learner.state())
            shards.refresh()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--warm", type=Path, help="begin with another run's averaged weights")
    for name in ("steps", "ticks", "batch", "micro"):
        parser.add_argument(f"--{name}", type=int, default=getattr(LearnConfig, name))
    parser.add_argument("--rate", type=float, default=LearnConfig.rate)
    parser.add_argument("--pack", type=int, default=UNetConfig.pack, help="pixels of a side that become channels")
    parser.add_argument("--channels", type=int, nargs=3, default=UNetConfig.channels, help="by level, the finest first")
    options = parser.parse_args()
    chosen = {name: getattr(options, name) for name in ("steps", "ticks", "batch", "micro", "rate")}
    config = LearnConfig(**chosen)
    sizes = sizes_of(options.data, "train")
    try:
        unet = UNetConfig(*sizes, pack=options.pack, channels=tuple(options.channels))
    except ValueError as error:
        raise SystemExit(f"{options.data}: frames of {sizes.height}x{sizes.width}: {error}; see --pack") from error
    run(options, config, unet)


if __name__ == "__main__":
    main()
