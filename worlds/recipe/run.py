"""Training runs that can be stopped and resumed: of any part of a tokenizer, and of a dynamics.

What is learned from, and how wrong an answer is, is each world's own.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn
from safetensors.torch import save_file
from torch import Tensor, nn

from ...model.base.devices import best_device
from ...model.dynamics.slots import Dynamics
from ..neural.shipped import DYNAMICS
from .clips import Clips

GRADIENT_NORM = 1.0
PLANES_FASTER = 4.0
SAY_EVERY_S = 90.0
"""So often a run says how it is, and its checkpoint is written."""

Shape: TypeAlias = Callable[[int, float], float]
"""From the step and the part of the run that is over to the rate, as a share of its peak."""


def cooling(warm_up_steps: int, cools_for: float) -> Shape:
    """Rises, stays, and falls to nothing in the last `cools_for` of the run."""
    return lambda step, part: min(1.0, (step + 1) / warm_up_steps, (1 - part) / cools_for + 0.01)


def cosine(warm_up_steps: int) -> Shape:
    """Rises, and falls as half a cosine, to a hundredth."""
    return lambda step, part: min(1.0, (step + 1) / warm_up_steps) * (0.505 + 0.495 * math.cos(math.pi * part))


@dataclass(frozen=True)
class RunPlan:
    """`out`: a folder for checkpoint and weights. `minutes`: of training, the whole run's. `resume`: go on from the
    checkpoint there, if there is one."""

    out: Path
    minutes: float
    resume: bool
    device: str = "cpu"

    @classmethod
    def of(cls, options: argparse.Namespace) -> RunPlan:
        return cls(options.out, options.minutes, options.resume, getattr(options, "device", "cpu"))


class Run:
    """One run: `while run.goes_on()`, `run.descend(loss)`, `run.say(...)`. `spent_s`: of training, without compiling.

    `stored`: what the checkpoint holds, by name. `weights`: the file that is written beside it, and of which module.
    `name`: of the checkpoint. `shape`: of the rate; a parameter group's `peak`, or its rate now, is what it scales.
    `gradient_norm`: at most so much in one step.
    """

    def __init__(
        self,
        plan: RunPlan,
        optimiser: torch.optim.Optimizer,
        stored: Mapping[str, nn.Module],
        *,
        name: str,
        weights: tuple[str, nn.Module],
        shape: Shape,
        gradient_norm: float = math.inf,
        compiles: bool = False,
    ) -> None:
        self.spent_s, self.step = 0.0, 0
        self._plan, self._optimiser, self._stored = plan, optimiser, stored
        self._peaks = [group.get("peak", group["lr"]) for group in optimiser.param_groups]
        self._weights, self._shape, self._gradient_norm = weights, shape, gradient_norm
        self._compiles = compiles
        self._checkpoint = plan.out / f"{name}.checkpoint"
        self._began = self._said = time.monotonic()
        if plan.resume and self._checkpoint.exists():
            self._resume(torch.load(self._checkpoint, weights_only=True, map_location=plan.device))

    @property
    def part(self) -> float:
        """Of the run that is over."""
        return self.spent_s / (self._plan.minutes * 60)

    def goes_on(self) -> bool:
        """Whether there is time for another step. It begins now."""
        if self.part >= 1:
            return False
        self._began = time.monotonic()
        share = self._shape(self.step, self.part)
        for group, peak in zip(self._optimiser.param_groups, self._peaks, strict=True):
            group["lr"] = peak * share
        return True

    def descend(self, loss: Tensor) -> None:
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self._gradient_norm < math.inf:
            trained = [parameter for group in self._optimiser.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(trained, self._gradient_norm)
        self._optimiser.step()
        self._stepped()
        self.step += 1
        self.spent_s += 0.0 if self._compiles else time.monotonic() - self._began
        self._compiles = False
        self._loss = loss.detach()

    def say(self, how: Callable[[], str]) -> None:
        """Now and then, and at the end: print how the run is, and write the checkpoint and the weights."""
        if time.monotonic() - self._said > SAY_EVERY_S or self.part >= 1:
            print(f"{self.spent_s:.0f} s, step {self.step}, loss {self._loss.item():.5f}; {how()}", flush=True)
            self._save()
            self._said = time.monotonic()

    def train(self, loss: Callable[[], Tensor], how: Callable[[], str], title: str) -> None:
        """The whole run, under a progress bar."""
        with Progress(SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn()) as progress:
            bar = progress.add_task(title, total=1.0)
            while self.goes_on():
                self.descend(loss())
                self.say(how)
                progress.update(bar, completed=self.part)

    def _stepped(self) -> None:
        """After the optimiser's step."""

    def _save(self) -> None:
        state: dict[str, object] = {name: module.state_dict() for name, module in self._stored.items()}
        state |= {"optimiser": self._optimiser.state_dict(), "spent_s": self.spent_s, "step": self.step}
        new = self._checkpoint.with_name(f"{self._checkpoint.name}.new")
        torch.save(state, new)
        new.replace(self._checkpoint)
        file, module = self._weights
        save_file({name: value.contiguous() for name, value in module.state_dict().items()}, self._plan.out / file)

    def _resume(self, stored: dict[str, Any]) -> None:
        for name, module in self._stored.items():
            module.load_state_dict(stored[name])
        self._optimiser.load_state_dict(stored["optimiser"])
        self.spent_s, self.step = stored["spent_s"], stored["step"]


# --- a dynamics -----------------------------------------------------------------------------------------------------


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


def begun(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of a training command, with torch's threads and seed set and the folder made."""
    options = parser.parse_args()
    if getattr(options, "threads", 0):
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def places_optimiser(dynamics: Dynamics, rate: float) -> torch.optim.Optimizer:
    """The knots of the planes are each seen now and then only, so they move faster, and nothing pulls them to zero."""
    knots = list(dynamics.planes.parameters())
    others = [p for name, p in dynamics.named_parameters() if not name.startswith("planes.")]
    groups = [
        {"params": others, "peak": rate, "weight_decay": 0.01},
        {"params": knots, "peak": PLANES_FASTER * rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


class DynamicsRun(Run):
    """The training of a dynamics.

    `average`: an exponential moving average of the weights, which is what dreams, is watched and is exported.
    `learner`: the network whose loss is taken, compiled if so asked.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        optimiser: torch.optim.Optimizer,
        options: argparse.Namespace,
        *,
        cools_for: float = 0.6,
        averaging: float = 0.998,
    ) -> None:
        """`options`: as `run_options` parsed them. `averaging`: of the average, what stays at each step."""
        self.dynamics, self.average = dynamics, copy.deepcopy(dynamics)
        self.learner = cast(Dynamics, torch.compile(dynamics)) if options.compile else dynamics
        self._averaging = averaging
        super().__init__(
            RunPlan.of(options), optimiser, {"dynamics": dynamics, "ema": self.average}, name="dynamics",
            weights=(DYNAMICS, self.average), shape=cooling(200, cools_for), gradient_norm=GRADIENT_NORM,
            compiles=bool(options.compile),
        )  # fmt: skip

    def learn(
        self,
        batch: Callable[[], Clips],
        loss_of: Callable[[Dynamics, Clips], Tensor],
        watch: Callable[[Dynamics], str],
    ) -> None:
        """The whole run, on batches that are moved to the network's device."""
        self.train(
            lambda: loss_of(self.learner, batch().to(self._plan.device)), lambda: watch(self.average), "dynamics"
        )

    def _stepped(self) -> None:
        kept = min(self._averaging, (self.step + 1) / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.dynamics.parameters()), 1 - kept)
