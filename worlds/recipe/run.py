"""A dynamics as it is trained: the network, its moving average, its optimiser, and how far the run is. Resumable.

Owns the step, its rate and the checkpoint. What is learned from, and how wrong an answer is, is each world's own.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...model.base.devices import best_device
from ...model.dynamics.slots import Dynamics
from ..neural.shipped import DYNAMICS

WARM_UP_STEPS = 200
GRADIENT_NORM = 1.0
SAY_EVERY_S = 90.0
"""So often a run says how it is, and its checkpoint is written."""
CHECKPOINT = "dynamics.checkpoint"


def run_options(program: str, purpose: str | None, *, out: Path, minutes: float, batch: int) -> argparse.ArgumentParser:
    """What every training of a dynamics can be told, with a world's own defaults."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=purpose)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--minutes", type=float, default=minutes, help="training time of the whole run")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--device", default=best_device(), help="cpu, cuda or mps")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--weights", type=Path, help="a world folder to go on from, with a new optimiser")
    parser.add_argument("--resume", action="store_true")
    return parser


class DynamicsRun:
    """One run: `while run.goes_on()`, a loss of `run.learner`, `run.descend(loss)`, `run.say(...)`.

    `average`: an exponential moving average of the weights, which is what dreams, is watched and is exported.
    `learner`: the network whose loss is taken, compiled if so asked. `spent_s`: of training, without compiling.
    """

    def __init__(
        self, dynamics: Dynamics, optimiser: torch.optim.Optimizer, options: argparse.Namespace, *,
        cools_for: float = 0.6, averaging: float = 0.998,
    ) -> None:  # fmt: skip
        """`options`: as `run_options` parsed them. `cools_for`: the last part of the run, in which the rate falls to
        nothing. `averaging`: of the average, what stays at each step. A group's `share` scales the rate."""
        self.dynamics, self.average = dynamics, copy.deepcopy(dynamics)
        self.learner = cast(Dynamics, torch.compile(dynamics)) if options.compile else dynamics
        self.spent_s, self.step = 0.0, 0
        self._optimiser, self._options = optimiser, options
        self._cools_for, self._averaging = cools_for, averaging
        self._compiles = bool(options.compile)
        self._began = self._said = time.monotonic()
        checkpoint = options.out / CHECKPOINT
        if options.resume and checkpoint.exists():
            self._resume(torch.load(checkpoint, weights_only=True, map_location=options.device))

    @property
    def part(self) -> float:
        """Of the run that is over."""
        return self.spent_s / (self._options.minutes * 60)

    def goes_on(self) -> bool:
        """Whether there is time for another step. It begins now."""
        if self.part >= 1:
            return False
        self._began = time.monotonic()
        rate = self._options.rate * min(1.0, (self.step + 1) / WARM_UP_STEPS, (1 - self.part) / self._cools_for + 0.01)
        for group in self._optimiser.param_groups:
            group["lr"] = group.get("share", 1.0) * rate
        return True

    def descend(self, loss: Tensor) -> None:
        """The step, down a loss of `learner`."""
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.dynamics.parameters(), GRADIENT_NORM)
        self._optimiser.step()
        kept = min(self._averaging, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.dynamics.parameters()), 1 - kept)
        self.step += 1
        self.spent_s += 0.0 if self._compiles else time.monotonic() - self._began
        self._compiles = False
        self._loss = loss.detach()

    def say(self, how: Callable[[], str]) -> None:
        """Now and then, and at the end: print how the run is, and write the checkpoint and the averaged weights."""
        if time.monotonic() - self._said > SAY_EVERY_S or self.part >= 1:
            print(f"{self.spent_s:.0f} s, step {self.step}, loss {self._loss.item():.4f}; {how()}", flush=True)
            self._save()
            self._said = time.monotonic()

    def _save(self) -> None:
        state = {
            "dynamics": self.dynamics.state_dict(), "ema": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(), "spent_s": self.spent_s, "step": self.step,
        }  # fmt: skip
        out: Path = self._options.out
        new = out / f"{CHECKPOINT}.new"
        torch.save(state, new)
        new.replace(out / CHECKPOINT)
        save_file(self.average.state_dict(), out / DYNAMICS)

    def _resume(self, stored: dict[str, object]) -> None:
        self.dynamics.load_state_dict(cast(dict[str, Tensor], stored["dynamics"]))
        self.average.load_state_dict(cast(dict[str, Tensor], stored["ema"]))
        self._optimiser.load_state_dict(cast(dict[str, Tensor], stored["optimiser"]))
        self.spent_s, self.step = cast(float, stored["spent_s"]), cast(int, stored["step"])
