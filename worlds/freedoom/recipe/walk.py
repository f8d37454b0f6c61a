"""Train the keep's dynamics in latents: on walks, on its own dreams, and on walkers that no wall stops. Resumable.

    python -m nextframe.worlds.freedoom.recipe.walk --out runs/freedoom --minutes 40 [--resume]

Walks are made on the way and never used up. Histories are corrupted a little, then partly replaced by the network's
own predictions; from `--own-from` on a part of each batch is what the network dreamt, with the twin's answers.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.dynamics.slots import Dynamics
from ....model.tokenizers.scenes.place_view import POSITION_SCALE_UNITS, SPEED_UNITS, SPEEDS, PlaceTokenizer
from ...recipe.clips import (
    Clips,
    Episodes,
    OwnEpisodes,
    Pool,
    clips_at,
    drawn,
    last_replaced,
    own_episodes,
    replaced,
)
from ...recipe.losses import fine, huber, own_share_at, predicted, strengths
from ...recipe.rollout import free_run
from ...recipe.run import DynamicsRun, begun, places_optimiser, run_options
from ..teacher.walk import Walk
from ..world import dynamics_config, fresh_tokenizer, load_networks, new_generator
from .walks import HELD_OUT_SEED, TwinAnswers, ghosts, in_walls, walks

CLIP_TICKS = 20
PLACE_UNITS, TURN = 0.3, 0.002
"""Errors below these count quadratically."""
LAMPS_WEIGH = 60.0
"""A lamp is rarely switched and counts in squares; at 0.5, beside errors that count by their logarithms, no switch was
learned in 2,000 steps."""
FINE_UNITS, FINE_TURN = 0.06, 0.0006
"""Sizes at which the last bit still counts: a walk adds up the errors."""


def objective(dynamics: Dynamics, predicted: Tensor, target: Tensor) -> Tensor:
    """Places in units, headings in radians, speeds in units a tick. `(batch, time)`."""
    (scene, slots), (true_scene, true_slots) = dynamics.split(predicted), dynamics.split(target)
    wrong = (slots - true_slots)[..., 0, :]
    place = huber(wrong[..., :2], PLACE_UNITS / POSITION_SCALE_UNITS).mean(-1)
    turn = huber(wrong[..., 2:4], TURN).mean(-1)
    lamps = (scene - true_scene)[..., SPEEDS:].square().sum(-1)
    scene, true_scene = scene[..., :SPEEDS], true_scene[..., :SPEEDS]
    speed = huber(scene - true_scene, PLACE_UNITS / SPEED_UNITS).mean(-1)
    last = fine(wrong[..., :2], FINE_UNITS / POSITION_SCALE_UNITS).mean(-1) + fine(wrong[..., 2:4], FINE_TURN).mean(-1)
    last = last + 0.5 * fine(scene - true_scene, FINE_UNITS / SPEED_UNITS).mean(-1)
    return place + 0.7 * turn + 0.5 * speed + 0.5 * last + LAMPS_WEIGH * lamps


def corrupt(dynamics: Dynamics, clean: Tensor, strength: Tensor) -> Tensor:
    """Histories up to a unit and half a degree off."""
    scene, slots = dynamics.split(clean)
    s = strength[:, None, None, None]
    place = slots[..., :2] + torch.randn_like(slots[..., :2]) * s * (0.7 / POSITION_SCALE_UNITS)
    turn = F.normalize(slots[..., 2:4] + torch.randn_like(slots[..., 2:4]) * s * 0.004, dim=-1, eps=1e-6)
    speeds = scene[..., :SPEEDS]
    speeds = speeds + torch.randn_like(speeds) * strength[:, None, None] * (0.5 / SPEED_UNITS)
    return torch.cat([speeds, scene[..., SPEEDS:], torch.cat([place, turn, slots[..., 4:]], -1).flatten(-2)], -1)


def loss_of(dynamics: Dynamics, tokenizer: PlaceTokenizer, clips: Clips, own_share: float) -> Tensor:
    """One training loss."""
    clean = clips.targets
    # What a corrupted past means is only guessed; what a dream means, the twin says.
    rough = corrupt(dynamics, clean, strengths(clips, 0.6))
    history = torch.where(clips.dreamt[:, None, None], clips.histories, rough)
    made = predicted(
        dynamics, tokenizer, clips, history, own_share=own_share, own_rows=0.3, replaceable=~clips.dreamt[:, None]
    )
    return objective(dynamics, made, clean)[:, 1:].mean()


class Lessons:
    """Walks, ghosts and dreams, each made anew now and then; `clips` mixes a batch."""

    WALKS, ROWS, TICKS = 6, 384, 160
    DREAMS = (192, 120)
    GHOSTS, OWN = 0.3, 0.3

    def __init__(self, tokenizer: PlaceTokenizer, dynamics: Dynamics) -> None:
        """`dynamics`: whose dreams they are, as it is when one is made."""
        self._tokenizer, self._dynamics, self._walk = tokenizer, dynamics, Walk()
        self._walks = Pool(self._make_walks, least=self.WALKS, most=self.WALKS, every_s=40.0)
        self._ghosts = Pool(self._make_ghosts, least=1, most=4, every_s=30.0)
        self._dreams = Pool(self._make_dreams, least=1, most=5, every_s=90.0)

    def clips(self, batch: int, spent_s: float, *, dreams: bool) -> Clips:
        """`dreams`: whether the network learns from its own yet."""
        walked = self._walks.any(spent_s)
        mixed = clips_at(walked, *drawn(walked.latents, batch, CLIP_TICKS))
        mixed = replaced(mixed, self._ghosts.any(spent_s), 0, round(self.GHOSTS * batch))
        return last_replaced(mixed, self._dreams.any(spent_s), self.OWN) if dreams else mixed

    def _make_walks(self, seed: int, number: int) -> Episodes:
        made = walks(self._walk, self.ROWS, self.TICKS, seed * 131 + number * 7919)
        return Episodes(*(torch.from_numpy(part) for part in made))

    def _make_ghosts(self, seed: int, number: int) -> OwnEpisodes:
        return ghosts(self._walk, 768, 40, seed * 131 + number)

    def _make_dreams(self, seed: int, number: int) -> OwnEpisodes:
        rows, ticks = self.DREAMS
        generator = new_generator(self._tokenizer, copy.deepcopy(self._dynamics).cpu(), rows)
        answers = TwinAnswers(self._walk, rows, seed * 131 + number)
        own = own_episodes(generator, answers, seed=seed, ticks=ticks, settle_ticks=100 * (number % 3))
        print(f"dreams, {100 * float((own.astray > 1).float().mean()):.2f} % in walls", flush=True)
        return own


@torch.inference_mode()
def watch(dynamics: Dynamics, tokenizer: PlaceTokenizer, held_out: tuple[Tensor, Tensor]) -> str:
    """How far free walks are from the twin's under the same keys, in units and degrees."""
    latents, conditions = held_out
    rows, start, ticks = len(latents), 8, 120
    generator = new_generator(tokenizer, copy.deepcopy(dynamics).cpu(), rows)
    dreamt = free_run(generator, latents, conditions[:, : start + ticks], start)
    true = latents[:, start : start + ticks]
    (_, slots), (_, real) = tokenizer.split(dreamt), tokenizer.split(true)
    away = (slots - real)[..., 0, :2].norm(dim=-1) * POSITION_SCALE_UNITS
    turn = torch.rad2deg((slots - real)[..., 0, 2:4].norm(dim=-1))
    at = (1, 4, 16, 50, 120)
    return (
        f"free units at {at}: {' '.join(f'{away[:, t - 1].median():.3f}' for t in at)}; 9 in 10 "
        f"{' '.join(f'{away[:, t - 1].quantile(0.9):.2f}' for t in at)}; degrees "
        f"{' '.join(f'{turn[:, t - 1].median():.2f}' for t in at)}; in walls {100 * in_walls(Walk(), dreamt):.2f} %"
    )


def main() -> None:
    parser = run_options(
        "nextframe.worlds.freedoom.recipe.walk", __doc__, out=Path("runs/freedoom"), minutes=40.0, batch=96
    )
    parser.add_argument("--own-from", type=float, default=0.2, help="share of the run after which it learns on dreams")
    options = begun(parser)
    train(options, fresh_tokenizer())


def train(options: argparse.Namespace, tokenizer: PlaceTokenizer) -> None:
    dynamics = load_networks(options.weights)[1] if options.weights else Dynamics(dynamics_config())
    dynamics.to(options.device)
    course = DynamicsRun(dynamics, places_optimiser(dynamics, options.rate), options)
    latents, conditions = (torch.from_numpy(part) for part in walks(Walk(), 96, 140, HELD_OUT_SEED))
    lessons = Lessons(tokenizer, course.average)
    course.learn(
        lambda: lessons.clips(options.batch, course.spent_s, dreams=course.part >= options.own_from),
        lambda learner, clips: loss_of(learner, tokenizer, clips, own_share=own_share_at(course.part)),
        lambda average: watch(average, tokenizer, (latents, conditions)),
    )


if __name__ == "__main__":
    main()
