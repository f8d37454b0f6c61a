"""Train the drive world's dynamics in latents, on the teacher's drives and on its own. Resumable.

    python -m nextframe.worlds.drive.recipe.dynamics --out runs/drive --minutes 60 [--resume]

The teacher drives as fast as it is asked, so episodes are made on the way and never used up. Histories are corrupted
a little, then partly replaced by the network's own predictions; from `--own-from` on a part of each batch is what the
network dreamt, with the teacher's answers (`on_policy`).
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.dynamics.slots import Dynamics
from ....model.tokenizers.scenes.chase import POSITION_SCALE_M, SLIP, SLIP_SCALE, SPEED, SPEED_SCALE, ChaseTokenizer
from ...circuit.recipe.dynamics import draw_windows, huber, noise_levels
from ...recipe.run import DynamicsRun, run_options
from ..teacher.simulator import Simulator
from ..world import dynamics_config, load_networks, new_generator
from .data import HELD_OUT_SEED, drive
from .on_policy import OwnEpisodes, beyond_fence, haunt, make

CLIP_TICKS = 20
LEVELS = (*[40.0] * 7, 60.0, 20.0, 40.0)
"""How many grey levels (of 255) one unit of each number of the scene is about worth."""
PLANES_FASTER = 4.0
PLACE_M, TURN = 0.03, 0.003
"""Errors below these count quadratically."""
FINE_PLACE_M, FINE_TURN, FINE_SPEED = 0.01, 0.001, 0.002
"""Sizes at which the last millimetre still counts: a car at rest adds up its errors."""


class Clips(NamedTuple):
    """`(batch, CLIP_TICKS, ...)` each; `dreamt` `(batch,)`: histories of the network's own."""

    targets: Tensor
    histories: Tensor
    conditions: Tensor
    dreamt: Tensor


def fine(error: Tensor, scale: float) -> Tensor:
    """Rises steeply from nothing and then ever less: what is nearly right has to become right."""
    return ((error / scale).square() + 0.01).sqrt().log1p()


def objective(dynamics: Dynamics, predicted: Tensor, target: Tensor) -> Tensor:
    """Poses in metres and radians, lamps as squared errors, the scene in grey levels. `(batch, time)`."""
    (scene, slots), (true_scene, true_slots) = dynamics.split(predicted), dynamics.split(target)
    place = huber(slots[..., :2] - true_slots[..., :2], PLACE_M / POSITION_SCALE_M).mean(-1)
    turn = huber(slots[..., 2:4] - true_slots[..., 2:4], TURN).mean(-1)
    lamp = (slots[..., 5] - true_slots[..., 5]).square()
    code = huber((scene - true_scene) * scene.new_tensor(LEVELS), 0.5).sum(-1) * 0.3
    last = fine(slots[..., :2] - true_slots[..., :2], FINE_PLACE_M / POSITION_SCALE_M).mean(-1)
    last = last + 0.5 * fine(slots[..., 2:4] - true_slots[..., 2:4], FINE_TURN).mean(-1)
    moving = fine((scene - true_scene)[..., [SPEED, SLIP]] * scene.new_tensor((SPEED_SCALE, SLIP_SCALE)), FINE_SPEED)
    return (place + 0.7 * turn + 0.15 * lamp + 0.5 * last).sum(-1) + code + 0.5 * moving.sum(-1)


def corrupt(dynamics: Dynamics, clean: Tensor, strength: Tensor) -> Tensor:
    """Histories as a camera would measure them: up to some centimetres and a grey level."""
    scene, slots = dynamics.split(clean)
    s = strength[:, None, None, None]
    place = slots[..., :2] + torch.randn_like(slots[..., :2]) * s * (0.06 / POSITION_SCALE_M)
    turn = F.normalize(slots[..., 2:4] + torch.randn_like(slots[..., 2:4]) * s * 0.004, dim=-1, eps=1e-6)
    scene = scene + torch.randn_like(scene) * strength[:, None, None] * (0.25 / scene.new_tensor(LEVELS))
    return torch.cat([scene, torch.cat([place, turn, slots[..., 4:]], -1).flatten(-2)], -1)


def loss_of(dynamics: Dynamics, tokenizer: ChaseTokenizer, clips: Clips, own_share: float) -> Tensor:
    """One training loss: pass 1 without gradient gives estimates, pass 2 learns with them."""
    clean, conditions = clips.targets, clips.conditions
    batch, ticks, _ = clean.shape
    device = clean.device
    strength = torch.where(torch.rand(batch, device=device) < 0.4, 0.0, torch.rand(batch, device=device))
    strength = torch.where(clips.dreamt, 0.0, strength)
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
        swap = torch.rand(shape, device=device) < own_share * (torch.rand(batch, 1, device=device) < 0.4)
        swap[:, 0] = False
        swap &= ~clips.dreamt[:, None]
        history = torch.where(swap[..., None], tokenizer.canonical(guess), history)
    known = (tau > 0) & (torch.rand(shape, device=device) < 0.9)
    estimate = torch.where(known[..., None], guess, 0.0)
    with torch.autocast(device.type, torch.bfloat16):
        predicted = dynamics(history, noisy, estimate, conditions, tau, window).float()
    settled, scene = dynamics.settled(conditions), dynamics.split(clean)[0]
    return objective(dynamics, predicted, clean)[:, 1:].mean() + 0.3 * (settled - scene).abs().mean()


def draw_clips(episodes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Where clips lie in episodes `(rows, ticks, ...)`: rows `(count, 1)` and ticks `(count, CLIP_TICKS)`."""
    rows = torch.randint(len(episodes), (count, 1))
    return rows, torch.randint(episodes.shape[1] - CLIP_TICKS, (count, 1)) + torch.arange(CLIP_TICKS)


class Drives:
    """A pool of the teacher's episodes, one part of it made anew every `FRESH_S` of training."""

    PARTS, ROWS, TICKS, FRESH_S = 6, 192, 240, 60.0

    def __init__(self, simulator: Simulator) -> None:
        self._simulator, self._pool, self._made, self._due_s = simulator, [], 0, 0.0  # type: ignore[var-annotated]

    def clips(self, batch: int, spent_s: float) -> Clips:
        while len(self._pool) < self.PARTS or spent_s >= self._due_s:
            careless = 0.5 if self._made % 3 else 0.0
            made = drive(self._simulator, self.ROWS, self.TICKS, self._made * self.ROWS, careless=careless)
            self._pool = [*self._pool, tuple(torch.from_numpy(part) for part in made)][-self.PARTS :]
            self._made += 1
            self._due_s = spent_s + self.FRESH_S
        latents, conditions = self._pool[int(torch.randint(len(self._pool), ()))]
        which, index = draw_clips(latents, batch)
        targets = latents[which, index]
        return Clips(targets, targets, conditions[which, index], torch.zeros(batch, dtype=torch.bool))


class Dreams:
    """A pool of the network's own episodes: the newest `POOL`, one more every `FRESH_S` of training."""

    POOL, FRESH_S, ROWS, TICKS, SETTLE_TICKS = 5, 150.0, 128, 120, 120

    def __init__(self, tokenizer: ChaseTokenizer, simulator: Simulator) -> None:
        self._tokenizer, self._simulator = tokenizer, simulator
        self._pool: list[OwnEpisodes] = []
        self._made, self._due_s = 0, 0.0

    def mixed(self, clips: Clips, share: float, dynamics: Dynamics, spent_s: float) -> Clips:
        """The last `share` of the batch replaced by clips of the network's own episodes."""
        while len(self._pool) < 2 or spent_s >= self._due_s:
            generator = new_generator(self._tokenizer, copy.deepcopy(dynamics).cpu(), self.ROWS)
            settle = self.SETTLE_TICKS * (self._made % 3)
            fresh = make(generator, self._simulator, int(spent_s) + self._made, self.TICKS, settle_ticks=settle)
            print(f"{spent_s:.0f} s: own episodes, {100 * beyond_fence(fresh):.2f} % beyond the fence", flush=True)
            self._pool = [*self._pool, fresh][-self.POOL :]
            self._made += 1
            self._due_s = spent_s + self.FRESH_S
        own = self._pool[int(torch.randint(len(self._pool), ()))]
        return replaced(clips, own, len(clips.targets) - round(share * len(clips.targets)), len(clips.targets))


class Ghosts:
    """Cars that nothing stops, all along the lap: made anew every `FRESH_S` of training."""

    FRESH_S, ROWS, TICKS, SHARE = 45.0, 768, 32, 0.25

    def __init__(self, simulator: Simulator) -> None:
        self._simulator, self._due_s, self._made = simulator, -1.0, 0

    def mixed(self, clips: Clips, spent_s: float) -> Clips:
        """The first `SHARE` of the batch replaced by clips of ghosts."""
        if spent_s >= self._due_s:
            self._made += 1
            self._own = haunt(self._simulator, int(spent_s) + self._made, self.ROWS, self.TICKS)
            self._due_s = spent_s + self.FRESH_S
        return replaced(clips, self._own, 0, round(self.SHARE * len(clips.targets)))


def replaced(clips: Clips, own: OwnEpisodes, first: int, last: int) -> Clips:
    """The rows from `first` to before `last` drawn from `own`."""
    which, index = draw_clips(own.targets, last - first)
    mixed = [part.clone() for part in clips]
    for part, drawn in zip(mixed, (own.targets, own.histories, own.conditions), strict=False):
        part[first:last] = drawn[which, index]
    mixed[3][first:last] = True
    return Clips(*mixed)


@torch.inference_mode()
def watch(dynamics: Dynamics, tokenizer: ChaseTokenizer, held_out: tuple[Tensor, Tensor]) -> str:
    """How far free drives under the held-out controls are from the teacher's, in metres."""
    latents, conditions = held_out
    rows, start, ticks = min(48, len(latents)), 16, 120
    generator = new_generator(tokenizer, copy.deepcopy(dynamics).cpu(), rows)
    generator.prefill(latents[:rows, :start], conditions[:rows, :start])
    out = []
    for t in range(start, start + ticks):
        job = generator.start(conditions[:rows, t], seed=1, steps=2)
        while job.can_step:
            job.step()
        generator.commit(job.finish(), conditions[:rows, t])
        out.append(generator.last)
    dreamt, true = torch.stack(out, 1), latents[:rows, start : start + ticks]
    (scene, slots), (true_scene, true_slots) = tokenizer.split(dreamt), tokenizer.split(true)
    away = (slots[..., :2] - true_slots[..., :2]).norm(dim=-1) * POSITION_SCALE_M
    text = [
        f"{name} " + " ".join(f"{away[:, t - 1, k].median():.3f}" for t in (1, 4, 16, 50, 120))
        for k, name in enumerate(("player", "rival"))
    ]
    first = (scene - true_scene)[:, 0].abs().mean(0)
    return f"free m at 1 4 16 50 120: {'; '.join(text)}; first speed {first[7]:.4f} lean {first[9]:.3f}"


def main() -> None:
    parser = run_options(
        "nextframe.worlds.drive.recipe.dynamics", __doc__, out=Path("runs/drive"), minutes=60.0, batch=48
    )
    parser.add_argument(
        "--own-from", type=float, default=0.35, help="share of the run after which it learns on its own"
    )
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    options.out.mkdir(parents=True, exist_ok=True)
    train(options, ChaseTokenizer(), Simulator())


def train(options: argparse.Namespace, tokenizer: ChaseTokenizer, simulator: Simulator) -> None:
    dynamics = load_networks(options.weights)[1] if options.weights else Dynamics(dynamics_config())
    dynamics.to(options.device)
    course = DynamicsRun(dynamics, optimiser_of(dynamics, options.rate), options)
    latents, conditions = (torch.from_numpy(part) for part in drive(simulator, 48, 140, HELD_OUT_SEED))
    drives, dreams, ghosts = Drives(simulator), Dreams(tokenizer, simulator), Ghosts(simulator)
    while course.goes_on():
        clips = drives.clips(options.batch, course.spent_s)
        if course.part > options.own_from:
            clips = ghosts.mixed(dreams.mixed(clips, 0.4, course.average, course.spent_s), course.spent_s)
        clips = Clips(*(tensor.to(options.device) for tensor in clips))
        course.descend(loss_of(course.learner, tokenizer, clips, own_share=min(0.5, max(0.0, course.part - 0.1) * 2)))
        course.say(lambda: watch(course.average, tokenizer, (latents, conditions)))


def optimiser_of(dynamics: Dynamics, rate: float) -> torch.optim.Optimizer:
    """The knots of the planes are each seen now and then only, so they move faster, and nothing pulls them to zero."""
    knots = list(dynamics.planes.parameters())
    others = [p for name, p in dynamics.named_parameters() if not name.startswith("planes.")]
    groups = [
        {"params": others, "share": 1.0, "weight_decay": 0.01},
        {"params": knots, "share": PLANES_FASTER, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


if __name__ == "__main__":
    main()
