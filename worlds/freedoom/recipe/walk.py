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
from ...circuit.recipe.dynamics import draw_windows, huber, noise_levels
from ...drive.recipe.dynamics import Clips, draw_clips, fine, optimiser_of, replaced
from ...drive.recipe.on_policy import OwnEpisodes
from ...recipe.run import DynamicsRun, run_options
from ..teacher.walk import Walk
from ..world import dynamics_config, fresh_tokenizer, load_networks, new_generator
from .walks import HELD_OUT_SEED, dreams, ghosts, in_walls, walks

PLACE_UNITS, TURN = 0.3, 0.002
"""Errors below these count quadratically."""
LAMPS_WEIGH = 60.0
"""A lamp is rarely switched and counts in squares; at 0.5, beside errors that count by their logarithms, no switch was
learned in 2,000 steps."""
FINE_UNITS, FINE_TURN = 0.06, 0.0006
"""Sizes at which the last bit still counts: whoever walks adds up the errors."""


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
    """Pass 1 without gradient gives estimates, pass 2 learns with them."""
    clean, conditions = clips.targets, clips.conditions
    batch, ticks, _ = clean.shape
    device = clean.device
    strength = torch.where(torch.rand(batch, device=device) < 0.6, 0.0, torch.rand(batch, device=device))
    # What a corrupted past means is only guessed; what a dream means, the twin says.
    history = torch.where(clips.dreamt[:, None, None], clips.histories, corrupt(dynamics, clean, strength))
    shape = (batch, ticks)
    tau, earlier = noise_levels(shape, dynamics.config.taus, device)
    noise = torch.randn_like(clean)
    noisy = tau[..., None] * clean + (1 - tau[..., None]) * noise
    noisier = earlier[..., None] * clean + (1 - earlier[..., None]) * noise
    window = draw_windows(batch, dynamics.config.window).to(device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        guess = dynamics(history, noisier, torch.zeros_like(noisy), conditions, earlier, window).float()
    if own_share > 0:
        swap = torch.rand(shape, device=device) < own_share * (torch.rand(batch, 1, device=device) < 0.3)
        swap[:, 0] = False
        swap &= ~clips.dreamt[:, None]
        history = torch.where(swap[..., None], tokenizer.canonical(guess), history)
    known = (tau > 0) & (torch.rand(shape, device=device) < 0.9)
    estimate = torch.where(known[..., None], guess, 0.0)
    with torch.autocast(device.type, torch.bfloat16):
        predicted = dynamics(history, noisy, estimate, conditions, tau, window).float()
    return objective(dynamics, predicted, clean)[:, 1:].mean()


class Pool:
    """Walks, ghosts and dreams, each made anew now and then; `clips` mixes a batch."""

    WALKS, ROWS, TICKS = 6, 384, 160
    DREAMS = (192, 120)
    GHOSTS, OWN = 0.3, 0.3

    def __init__(self, tokenizer: PlaceTokenizer) -> None:
        self._tokenizer, self._walk, self._made = tokenizer, Walk(), 0
        self._walks: list[tuple[Tensor, Tensor]] = []
        self._ghosts: list[OwnEpisodes] = []
        self._dreams: list[OwnEpisodes] = []
        self._due_s = {"walks": 0.0, "ghosts": 0.0, "dreams": 0.0}

    def _due(self, name: str, spent_s: float, every_s: float) -> bool:
        if spent_s < self._due_s[name]:
            return False
        self._due_s[name] = spent_s + every_s
        self._made += 1
        return True

    def clips(self, batch: int, spent_s: float, average: Dynamics | None) -> Clips:
        """`average`: whose dreams to learn from; none yet if None."""
        seed = int(spent_s) * 131 + self._made
        while len(self._walks) < self.WALKS or self._due("walks", spent_s, 40.0):
            made = walks(self._walk, self.ROWS, self.TICKS, seed + len(self._walks) * 7919)
            self._walks = [*self._walks, (torch.from_numpy(made[0]), torch.from_numpy(made[1]))][-self.WALKS :]
        if self._due("ghosts", spent_s, 30.0):
            self._ghosts = [*self._ghosts, ghosts(self._walk, 768, 40, seed)][-4:]
        if average is not None and self._due("dreams", spent_s, 90.0):
            rows, ticks = self.DREAMS
            generator = new_generator(self._tokenizer, copy.deepcopy(average).cpu(), rows)
            own = dreams(generator, self._walk, seed, ticks, settle_ticks=100 * (self._made % 3))
            print(f"{spent_s:.0f} s: dreams, {100 * in_walls(self._walk, own.histories):.2f} % in walls", flush=True)
            self._dreams = [*self._dreams, own][-5:]
        latents, conditions = self._walks[int(torch.randint(len(self._walks), ()))]
        which, index = draw_clips(latents, batch)
        targets = latents[which, index]
        mixed = Clips(targets, targets, conditions[which, index], torch.zeros(batch, dtype=torch.bool))
        part = round(self.GHOSTS * batch)
        mixed = replaced(mixed, self._ghosts[int(torch.randint(len(self._ghosts), ()))], 0, part)
        if self._dreams:
            own = self._dreams[int(torch.randint(len(self._dreams), ()))]
            mixed = replaced(mixed, own, batch - round(self.OWN * batch), batch)
        return mixed


@torch.inference_mode()
def watch(dynamics: Dynamics, tokenizer: PlaceTokenizer, held_out: tuple[Tensor, Tensor]) -> str:
    """How far free walks are from the twin's under the same keys, in units and degrees."""
    latents, conditions = held_out
    rows, start, ticks = len(latents), 8, 120
    generator = new_generator(tokenizer, copy.deepcopy(dynamics).cpu(), rows)
    generator.prefill(latents[:, :start], conditions[:, :start])
    out = []
    for t in range(start, start + ticks):
        job = generator.start(conditions[:, t], seed=1, steps=2)
        while job.can_step:
            job.step()
        generator.commit(job.finish(), conditions[:, t])
        out.append(generator.last)
    dreamt, true = torch.stack(out, 1), latents[:, start : start + ticks]
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
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    train(options, fresh_tokenizer())


def train(options: argparse.Namespace, tokenizer: PlaceTokenizer) -> None:
    dynamics = load_networks(options.weights)[1] if options.weights else Dynamics(dynamics_config())
    dynamics.to(options.device)
    course = DynamicsRun(dynamics, optimiser_of(dynamics, options.rate), options)
    latents, conditions = (torch.from_numpy(part) for part in walks(Walk(), 96, 140, HELD_OUT_SEED))
    pool = Pool(tokenizer)
    while course.goes_on():
        clips = pool.clips(options.batch, course.spent_s, course.average if course.part >= options.own_from else None)
        clips = Clips(*(tensor.to(options.device) for tensor in clips))
        course.descend(loss_of(course.learner, tokenizer, clips, own_share=min(0.5, max(0.0, course.part - 0.1) * 2)))
        course.say(lambda: watch(course.average, tokenizer, (latents, conditions)))


if __name__ == "__main__":
    main()
