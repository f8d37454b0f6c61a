"""Free runs that the network in training made itself, with the true frame beside each of its own.

A network that only ever remembers true frames has never seen what its own mistakes look like, and a free run is made of
them. So now and then its moving average is let go from true starts, under the true actions, by the generator that
plays; its frames become the remembered ones, and what has to be said is still the true next frame (scheduled sampling,
Bengio et al. 2015, over whole runs; the answers are those of DAgger, Ross et al. 2011, as long as the run has not left
the recorded one).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from ....model.dynamics.grid import GridDynamics
from ....model.generator.grid_generator import GridGenerator
from ....model.tokenizers.frames import FrameTokenizer
from ..base.budget import Plan
from ..data.clips import Clips

FROM_S = 900.0
"""Of training. A network that has learned little yet leaves the recorded run at once, and then the true frame is no
answer: with 100 s of training these lessons left 13 % of free runs right after 16 ticks, where there were 56 %."""
TRUE_TICKS = 4
"""True frames before the network is let go: less than most windows, so that nearly all that it then sees is its own."""
FREE_TICKS = 20
"""Ticks of a run beyond those of a lesson. Much later it has gone elsewhere, and the true frame is no answer to it."""
RUNS = 24
LEFT_SHARE = 0.1
"""Of the tiles of a frame are wrong: such a run has left the recorded one."""


@dataclass(frozen=True)
class OwnRuns:
    """`histories`, `targets`: `(runs, ticks, latent_dim)`, what was generated and what was true at the same moments.

    `conditions`: `(runs, ticks, condition_dim)`.
    """

    histories: Tensor
    targets: Tensor
    conditions: Tensor

    def lessons(self, count: int, ticks: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Histories, targets and conditions of `count` pieces of so many ticks, from anywhere in the runs."""
        runs, length = self.histories.shape[:2]
        row = torch.randint(runs, (count, 1), generator=draw)
        at = torch.randint(length - ticks + 1, (count, 1), generator=draw) + torch.arange(ticks)
        return self.histories[row, at], self.targets[row, at], self.conditions[row, at]


@dataclass(frozen=True)
class Leash:
    """Lets a network go: called with (its average, a number) it gives `OwnRuns`; the same for the same.

    `latents`, `conditions`: of all training frames. `starts`: where a run of `ticks` may begin.
    """

    tokenizer: FrameTokenizer
    latents: Tensor
    conditions: Tensor
    starts: Tensor
    ticks: int

    @classmethod
    def of(cls, tokenizer: FrameTokenizer, latents: Tensor, clips: Clips, lesson_ticks: int) -> Leash:
        """Shorter runs where the episodes are short, down to a lesson's own length."""
        most = lesson_ticks + FREE_TICKS
        ticks = next(t for t in range(most, 0, -1) if t == lesson_ticks or len(clips.windows(t)))
        starts = torch.from_numpy(clips.windows(ticks))
        return cls(tokenizer, latents, torch.from_numpy(clips.conditions), starts, ticks)

    @classmethod
    def if_long(cls, plan: Plan, tokenizer: FrameTokenizer, latents: Tensor, clips: Clips) -> Leash | None:
        """None where the training is so short that these lessons would do harm."""
        return cls.of(tokenizer, latents, clips, plan.ticks) if plan.dynamics_s >= FROM_S else None

    @torch.inference_mode()
    def __call__(self, average: GridDynamics, number: int) -> OwnRuns:
        """One and two denoise steps in turn, as play has them."""
        device = next(average.parameters()).device
        draw = torch.Generator().manual_seed(number)
        at = self.starts[torch.randint(len(self.starts), (RUNS,), generator=draw)]
        index = at[:, None] + torch.arange(self.ticks)
        targets, conditions = self.latents[index], self.conditions[index]
        generator = GridGenerator(self.tokenizer.to(device), copy.deepcopy(average), rows=RUNS)
        generator.prefill(targets[:, :TRUE_TICKS], conditions[:, :TRUE_TICKS])
        own = list(targets[:, :TRUE_TICKS].unbind(1))
        for t in range(TRUE_TICKS, self.ticks):
            condition = conditions[:, t].to(device)
            job = generator.start(condition, number, 1 + t % 2)
            while job.can_step:
                job.step()
            generator.commit(job.finish(), condition)
            own.append(generator.last.cpu())
        return OwnRuns(put_back(self.tokenizer.to("cpu"), torch.stack(own, 1), targets), targets, conditions)


def put_back(tokenizer: FrameTokenizer, own: Tensor, targets: Tensor) -> Tensor:
    """In a world of tiles it is plain when a run `(runs, ticks, latent_dim)` has left the recorded one, as by a step
    that was taken here and not there: from then on it remembers what was true. Other worlds' runs stay as they are."""
    if not tokenizer.config.tiles:
        return own
    wrong = (tokenizer.nearest(own) != tokenizer.nearest(targets)).float().mean(-1)
    left = (wrong > LEFT_SHARE).cumsum(1) > 0
    return torch.where(left[..., None], targets, own)
