"""Train the dynamics on latents: two streams, all noise levels, histories corrupted by noise and by its own guesses.

Owns objective and loop. Resumable: what a batch holds depends on its number alone. The recipe is that of
`tools.circuit.train_dynamics`, for latents without objects: squared errors, counted more where the picture changed.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from model.grid import GridConfig, GridDynamics
from tools.train import checkpoint
from tools.train.budget import Plan
from tools.train.clips import Clips
from tools.train.show import bar, say
from tools.train.speed import Speed, count_flop, matrix_flops
from tools.train.straight import Straight

HISTORY_NOISE = 0.5
"""At most, in histories, in units of how much a frame changes: about as wrong as the network itself will be."""
FIRST_SHARE = 0.5
"""Of the lessons are pure noise: there the frame is decided."""
SHORT_MEMORY_SHARE = 0.15
OWN_FROM = 0.25
"""Of the time has passed when histories begin to hold the network's own guesses."""
MOVING_WEIGHT = 4.0
MUON_RATE = 0.01
STRIP_EVERY_S = 180.0
UNTIMED_STEPS = 3
ASLEEP_FACTOR = 20.0


@dataclass(frozen=True)
class Lessons:
    """Latents of all training frames `(n, latent_dim)`, their conditions, and where a sequence may begin.

    `change`: the root mean square of what a number changes by from frame to frame.
    """

    latents: Tensor
    conditions: Tensor
    starts: Tensor
    change: float

    @classmethod
    def of(cls, latents: Tensor, clips: Clips, ticks: int) -> Lessons:
        pairs = torch.from_numpy(clips.windows(2))[:4000]
        change = float((latents[pairs + 1] - latents[pairs]).square().mean().sqrt())
        return cls(latents, torch.from_numpy(clips.conditions), torch.from_numpy(clips.windows(ticks)), change)

    def batch(self, number: int, size: int, ticks: int, device: str) -> tuple[Tensor, Tensor]:
        """`(size, ticks, latent_dim)` and `(size, ticks, condition_dim)`; the same for the same number."""
        draw = torch.Generator().manual_seed(number)
        at = self.starts[torch.randint(len(self.starts), (size,), generator=draw)]
        index = at[:, None] + torch.arange(ticks)
        return self.latents[index].to(device), self.conditions[index].to(device)


def lesson_loss(
    dynamics: Any, config: GridConfig, batch: tuple[Tensor, Tensor], change: float, own_share: float
) -> Tensor:
    """One training loss. Pass 1 without gradient gives guesses; pass 2 learns with them in history and estimate."""
    clean, conditions = batch
    shape, device = clean.shape[:2], clean.device
    strength = torch.rand(shape[0], 1, 1, device=device) * HISTORY_NOISE * change
    strength = torch.where(torch.rand_like(strength) < 0.3, 0.0, strength)
    history = clean + torch.randn_like(clean) * strength
    tau, earlier = noise_levels(tuple(shape), config.taus, device)
    noise = torch.randn_like(clean)
    noisy, noisier = (level[..., None] * clean + (1 - level[..., None]) * noise for level in (tau, earlier))
    window = torch.full((shape[0],), config.window, device=device)
    shorter = torch.rand(shape[0], device=device) < SHORT_MEMORY_SHARE
    window = torch.where(shorter, torch.randint_like(window, 1, config.window), window)
    blank = torch.zeros_like(clean)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        guess = dynamics(history, noisier, blank, conditions, earlier, window).float()
    if own_share > 0:
        swap = torch.rand(shape, device=device) < own_share * (torch.rand(shape[0], 1, device=device) < 0.7)
        swap[:, 0] = False
        history = torch.where(swap[..., None], guess, history)
    known = (tau > 0) & (torch.rand(shape, device=device) < 0.9)
    with torch.autocast(device.type, torch.bfloat16):
        predicted = dynamics(
            history, noisy, torch.where(known[..., None], guess, blank), conditions, tau, window
        ).float()
    return weighted_error(config, predicted, clean)


def weighted_error(config: GridConfig, predicted: Tensor, clean: Tensor) -> Tensor:
    """Squared error of all frames but the first; a token counts up to five times as much where it changed."""
    tokens = (*clean.shape[:2], config.tokens, config.channels)
    error = (predicted - clean).view(tokens).square().mean(-1)[:, 1:]
    change = (clean[:, 1:] - clean[:, :-1]).view((*error.shape, config.channels)).square().mean(-1)
    weight = 1 + MOVING_WEIGHT * (change / change.mean().clamp(min=1e-8)).clamp(max=1)
    return (error * weight).mean()


def noise_levels(shape: tuple[int, ...], taus: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Noise levels of the step learned and of the step before it; see `tools.circuit.train_dynamics.noise_levels`."""
    ladder = torch.tensor(taus, device=device)
    rung = torch.randint(1, len(taus), shape, device=device)
    any_level = torch.rand(shape, device=device)
    on_ladder = torch.rand(shape, device=device) < 0.66
    tau = torch.where(on_ladder, ladder[rung], any_level)
    earlier = torch.where(on_ladder, ladder[rung - 1], any_level * torch.rand(shape, device=device))
    first = torch.rand(shape, device=device) < FIRST_SHARE
    return torch.where(first, 0.0, tau), torch.where(first, 0.0, earlier)


@dataclass
class Learner:
    """The network in training, its moving average, and how far it is."""

    dynamics: GridDynamics
    average: GridDynamics
    optimisers: tuple[torch.optim.Optimizer, ...]
    spent_s: float = 0.0
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "dynamics": self.dynamics.state_dict(), "average": self.average.state_dict(),
            "optimisers": [part.state_dict() for part in self.optimisers], "spent_s": self.spent_s, "step": self.step,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        self.dynamics.load_state_dict(state["dynamics"])
        self.average.load_state_dict(state["average"])
        for part, stored in zip(self.optimisers, state["optimisers"], strict=True):
            part.load_state_dict(stored)
        self.spent_s, self.step = float(state["spent_s"]), int(state["step"])


def make_learner(config: GridConfig, straight: Straight, plan: Plan, device: str) -> Learner:
    torch.manual_seed(0)
    dynamics = GridDynamics(config)
    dynamics.base.weight.copy_(straight.base.weight)
    dynamics.to(device)
    dynamics.fused = device != "cpu"
    return Learner(dynamics, copy.deepcopy(dynamics).requires_grad_(False), make_optimisers(dynamics, plan.rate))


def make_optimisers(dynamics: GridDynamics, rate: float) -> tuple[torch.optim.Optimizer, ...]:
    """Muon (Jordan et al. 2024) for the matrices inside the blocks, AdamW for the rest.

    Where updates are few, it learns more from each: 40 s of a 32x32 game on one busy core gave 35.3 dB, AdamW alone
    34.5 (and 1.9 dB less on moving pixels).
    """
    hidden = [p for n, p in dynamics.named_parameters() if n.startswith("blocks.") and p.ndim == 2]
    others = [p for n, p in dynamics.named_parameters() if not (n.startswith("blocks.") and p.ndim == 2)]
    return (
        torch.optim.Muon(hidden, lr=MUON_RATE, momentum=0.95, weight_decay=0.01, ns_steps=4, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
    )


def learn_motion(
    learner: Learner, lessons: Lessons, plan: Plan, folder: Path, *, watch: Callable[[GridDynamics, float], str]
) -> Speed:
    """Train until the plan's time is spent. `watch(average, spent_s)`: shows how it stands, now and then."""
    device = str(next(learner.dynamics.parameters()).device)
    stored = checkpoint.load(folder / "dynamics.checkpoint", device)
    if stored is not None:
        learner.restore(stored)
        say(f"dynamics: goes on after {learner.spent_s:.0f} s, step {learner.step}")
    network = cast(Any, torch.compile(learner.dynamics) if plan.compile else learner.dynamics)
    speed = _yardstick(learner, lessons, plan, device)
    save_due = checkpoint.Every(checkpoint.EVERY_S)
    strip_due = checkpoint.Every(min(STRIP_EVERY_S, plan.dynamics_s / 4))
    seen, mean = "", 0.0
    with bar("dynamics", plan.dynamics_s, learner.spent_s) as progress:
        for number in range(10**9):
            if learner.spent_s >= plan.dynamics_s:
                break
            began_s = time.monotonic()
            batch = lessons.batch(learner.step, plan.batch, plan.ticks, device)
            part = learner.spent_s / plan.dynamics_s
            loss = _update(learner, network, (batch, lessons.change), (MUON_RATE, plan.rate), part)
            taken_s = time.monotonic() - began_s
            learner.spent_s += awake(taken_s, speed)
            if number >= UNTIMED_STEPS and awake(taken_s, speed) == taken_s:
                speed.add(taken_s)
            if number % 10 == 0:
                mean = loss if not number else 0.8 * mean + 0.2 * loss
                progress.update(learner.spent_s, f"loss {mean:.4f}; {speed.words()}{seen}")
            if strip_due():
                seen = f"; {watch(learner.average, learner.spent_s)}"
            if save_due():
                checkpoint.save(folder / "dynamics.checkpoint", learner.state())
    checkpoint.save(folder / "dynamics.checkpoint", learner.state())
    return speed


def awake(taken_s: float, speed: Speed) -> float:
    """A step's time, or the usual one where the process slept: a closed lid does not use up the budget."""
    usual_s = speed.frames_per_step / speed.frames_per_s if speed.frames_per_s else taken_s
    return usual_s if taken_s > max(5.0, ASLEEP_FACTOR * usual_s) else taken_s


def rate_at(step: int, part: float) -> float:
    """Up in twenty steps, down to nothing over the second half."""
    return min(1.0, (step + 1) / 20, (1 - part) / 0.5 + 0.01)


def _update(
    learner: Learner, network: Any, lesson: tuple[tuple[Tensor, Tensor], float], rates: tuple[float, ...], part: float
) -> float:
    """`part`: of the training time has passed. Returns the loss."""
    for optimiser, rate in zip(learner.optimisers, rates, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * rate_at(learner.step, part)
    own_share = 0.0 if part < OWN_FROM else min(0.5, (part - OWN_FROM) * 2)
    loss = lesson_loss(network, learner.dynamics.config, *lesson, own_share)
    learner.dynamics.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.dynamics.parameters(), 1.0)
    for optimiser in learner.optimisers:
        optimiser.step()
    decay = min(0.998, (learner.step + 1) / (learner.step + 20))
    with torch.no_grad():
        torch._foreach_lerp_(list(learner.average.parameters()), list(learner.dynamics.parameters()), 1 - decay)
    learner.step += 1
    return float(loss.detach())


def _yardstick(learner: Learner, lessons: Lessons, plan: Plan, device: str) -> Speed:
    """Operations of one step, counted on the plain network, and the machine's matrix rate beside it."""
    batch = lessons.batch(0, 1, plan.ticks, device)

    def one() -> None:
        lesson_loss(learner.dynamics, learner.dynamics.config, batch, lessons.change, 0.5).backward()

    flop = count_flop(one) * plan.batch
    learner.dynamics.zero_grad(set_to_none=True)
    return Speed(plan.batch * plan.ticks, flop, matrix_flops(device))


def seeds_of(latents: Tensor, clips: Clips, ticks: int, count: int) -> tuple[Tensor, Tensor]:
    """Starts for a player: short true pasts, evenly over the data, `(count, ticks, ...)` each."""
    at = clips.windows(ticks)
    picked = at[np.linspace(0, len(at) - 1, min(count, len(at))).astype(int)]
    index = torch.from_numpy(picked)[:, None] + torch.arange(ticks)
    return latents[index], torch.from_numpy(clips.conditions)[index]
