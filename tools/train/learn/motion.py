"""Train the dynamics on latents: two streams, all noise levels, histories corrupted by noise and by its own guesses.

Resumable: what a batch holds depends on its number, and on the network where part of it are the network's own runs
(`nextframe.tools.train.learn.own_runs`). The recipe is that of `nextframe.worlds.circuit.recipe.dynamics`, for latents
without objects: squared errors, counted more where the picture changed.
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

from ....model.dynamics.grid import GridConfig, GridDynamics
from ....model.tokenizers.frames import FrameTokenizer
from ..base.budget import Plan
from ..base.part import Part, PartOverError
from ..base.show import bar, say
from ..data.clips import Clips
from . import checkpoint
from .own_runs import OwnRuns
from .speed import Speed, count_flop, matrix_flops
from .straight import Straight

HISTORY_NOISE = 0.5
"""At most, in histories, in units of how much a frame changes: about as wrong as the network itself will be."""
FIRST_SHARE = 0.5
"""Of the lessons are pure noise: there the frame is decided."""
SHORT_MEMORY_SHARE = 0.15
OWN_FROM = 0.25
"""Of the time has passed when histories begin to hold the network's own guesses."""
OWN_RUNS_SHARE = 0.25
"""Of the lessons, from then on, remember a free run instead of the truth."""
OWN_RUNS_EVERY = 60
"""Steps after which the network is let go again: it has other faults by then."""
OWN_RUNS_NOISE = 0.3
"""How much of the noise in histories is added to those that are wrong by themselves."""
MOVING_WEIGHT = 4.0
MUON_RATE = 0.01
STRIP_EVERY_S = 180.0
UNTIMED_STEPS = 3
COMPILING_AT_MOST_S = 60.0
"""What one of the first steps counts at most: torch.compile may take ten minutes on a machine that is busy with other
things, and a budget that is spent before the second step leaves an untrained world."""
ASLEEP_FACTOR = 20.0


@dataclass(frozen=True)
class Batch:
    """`clean`: the true frames, `(rows, ticks, latent_dim)`. `remembered`: what stands in memory instead, in the rows
    that are `own` runs, `(rows,)` bool. `conditions`: `(rows, ticks, condition_dim)`."""

    clean: Tensor
    conditions: Tensor
    remembered: Tensor
    own: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.clean.shape[0], self.clean.shape[1]

    def with_own(self, runs: OwnRuns, share: float, number: int) -> Batch:
        """The last rows of it become lessons on `runs`; the same for the same number."""
        count = round(share * len(self.clean))
        if count == 0:
            return self
        kept, device = len(self.clean) - count, self.clean.device
        draw = torch.Generator().manual_seed(number)
        history, target, conditions = (part.to(device) for part in runs.lessons(count, self.shape[1], draw))
        return Batch(
            torch.cat([self.clean[:kept], target]),
            torch.cat([self.conditions[:kept], conditions]),
            torch.cat([self.remembered[:kept], history]),
            torch.arange(len(self.clean), device=device) >= kept,
        )


@dataclass(frozen=True)
class Lessons:
    """Latents of all training frames `(n, latent_dim)`, their conditions, and where a sequence may begin.

    `change`: the root mean square of what a number changes by from frame to frame. `settle`: what memory makes of a
    frame that was said, where that is more than keeping it in bounds.
    """

    latents: Tensor
    conditions: Tensor
    starts: Tensor
    change: float
    settle: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def of(cls, latents: Tensor, clips: Clips, ticks: int, tokenizer: FrameTokenizer | None = None) -> Lessons:
        """Of a world of tiles (`tokenizer` says so) memory holds real tiles only, if sometimes wrong ones: no noise."""
        pairs = torch.from_numpy(clips.windows(2))[:4000]
        change = float((latents[pairs + 1] - latents[pairs]).square().mean().sqrt())
        conditions, starts = torch.from_numpy(clips.conditions), torch.from_numpy(clips.windows(ticks))
        if tokenizer is not None and tokenizer.config.tiles:
            return cls(latents, conditions, starts, 0.0, tokenizer.canonical)
        return cls(latents, conditions, starts, change)

    def batch(self, number: int, size: int, ticks: int, device: str) -> Batch:
        """`size` true sequences; the same for the same number."""
        draw = torch.Generator().manual_seed(number)
        at = self.starts[torch.randint(len(self.starts), (size,), generator=draw)]
        index = at[:, None] + torch.arange(ticks)
        clean = self.latents[index].to(device)
        none = torch.zeros(size, dtype=torch.bool, device=device)
        return Batch(clean, self.conditions[index].to(device), clean, none)


def lesson_loss(
    dynamics: Any, config: GridConfig, batch: Batch, change: float, own_share: float,
    *, precision: torch.dtype = torch.bfloat16, settle: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """One training loss. Pass 1 without gradient gives guesses; pass 2 learns with them in history and estimate."""
    clean, conditions, shape, device = batch.clean, batch.conditions, batch.shape, batch.clean.device
    strength = torch.rand(shape[0], 1, 1, device=device) * HISTORY_NOISE * change
    strength = torch.where(torch.rand_like(strength) < 0.3, 0.0, strength)
    strength = torch.where(batch.own[:, None, None], OWN_RUNS_NOISE * strength, strength)
    history = batch.remembered + torch.randn_like(clean) * strength
    tau, earlier = noise_levels(shape, config.taus, device)
    noise = torch.randn_like(clean)
    noisy, noisier = (level[..., None] * clean + (1 - level[..., None]) * noise for level in (tau, earlier))
    window = torch.full((shape[0],), config.window, device=device)
    shorter = torch.rand(shape[0], device=device) < SHORT_MEMORY_SHARE
    window = torch.where(shorter, torch.randint_like(window, 1, config.window), window)
    blank = torch.zeros_like(clean)
    with torch.no_grad(), torch.autocast(device.type, precision, enabled=precision != torch.float32):
        guess = dynamics(history, noisier, blank, conditions, earlier, window).float()
    if own_share > 0:
        swap = torch.rand(shape, device=device) < own_share * (torch.rand(shape[0], 1, device=device) < 0.7)
        swap[:, 0] = False
        swap &= ~batch.own[:, None]
        history = torch.where(swap[..., None], guess if settle is None else settle(guess), history)
    known = (tau > 0) & (torch.rand(shape, device=device) < 0.9)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
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
    """Noise levels of the step learned and of the step before it; see
    `nextframe.worlds.circuit.recipe.dynamics.noise_levels`."""
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
    learner: Learner, lessons: Lessons, plan: Plan, folder: Path, *, watch: Callable[[GridDynamics, float], str],
    part: Part | None = None, let_go: Callable[[GridDynamics, int], OwnRuns] | None = None,
) -> Speed:  # fmt: skip
    """Train until the plan's time is spent. `watch(average, spent_s)`: shows how it stands, now and then.
    `let_go(average, number)`: free runs of it to learn from, see `nextframe.tools.train.learn.own_runs`.

    Raises `PartOverError` where the part ends before.
    """
    whole = part or Part()
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
    own: OwnRuns | None = None
    with bar("dynamics", plan.dynamics_s, learner.spent_s) as progress:
        for number in range(10**9):
            if learner.spent_s >= plan.dynamics_s:
                break
            began_s = time.monotonic()
            batch = lessons.batch(learner.step, plan.batch, plan.ticks, device)
            share = learner.spent_s / plan.dynamics_s
            if let_go is not None and share >= OWN_FROM:
                if own is None or learner.step % OWN_RUNS_EVERY == 0:
                    own = let_go(learner.average, learner.step)
                batch = batch.with_own(own, OWN_RUNS_SHARE, learner.step)
            loss = update(learner, network, (batch, lessons), (MUON_RATE, plan.rate), share)
            taken_s = time.monotonic() - began_s
            learner.spent_s += awake(taken_s, speed) if number >= UNTIMED_STEPS else min(taken_s, COMPILING_AT_MOST_S)
            if number >= UNTIMED_STEPS and awake(taken_s, speed) == taken_s:
                speed.add(taken_s)
            if number % 10 == 0:
                mean = loss if not number else 0.8 * mean + 0.2 * loss
                progress.update(learner.spent_s, f"loss {mean:.4f}; {speed.words()}{seen}")
            if strip_due():
                seen = f"; {watch(learner.average, learner.spent_s)}"
                speed.matrix_flops = max(speed.matrix_flops, matrix_flops(device))  # if it was busy the first time
            if save_due() or whole.over():
                checkpoint.save(folder / "dynamics.checkpoint", learner.state())
            if whole.over() and learner.spent_s < plan.dynamics_s:
                raise PartOverError
    checkpoint.save(folder / "dynamics.checkpoint", learner.state())
    return speed


def awake(taken_s: float, speed: Speed) -> float:
    """A step's time, or the usual one where the process slept: a closed lid does not use up the budget."""
    usual_s = speed.frames_per_step / speed.frames_per_s if speed.frames_per_s else taken_s
    return usual_s if taken_s > max(5.0, ASLEEP_FACTOR * usual_s) else taken_s


def rate_at(step: int, part: float) -> float:
    """Up in twenty steps, down to nothing over the second half."""
    return min(1.0, (step + 1) / 20, (1 - part) / 0.5 + 0.01)


def update(
    learner: Learner, network: Any, lesson: tuple[Batch, Lessons], rates: tuple[float, ...], part: float,
    *, precision: torch.dtype = torch.bfloat16,
) -> float:  # fmt: skip
    """One step. `part`: of the training time has passed. Returns the loss."""
    for optimiser, rate in zip(learner.optimisers, rates, strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate * rate_at(learner.step, part)
    own_share = 0.0 if part < OWN_FROM else min(0.5, (part - OWN_FROM) * 2)
    batch, lessons = lesson
    loss = lesson_loss(
        network, learner.dynamics.config, batch, lessons.change, own_share, precision=precision, settle=lessons.settle
    )
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
