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

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.dynamics.slots import Dynamics
from ....model.tokenizers.scenes.chase import POSITION_SCALE_M, SLIP, SLIP_SCALE, SPEED, SPEED_SCALE, ChaseTokenizer
from ...recipe.clips import Clips, Episodes, OwnEpisodes, Pool, clips_at, drawn, last_replaced, replaced
from ...recipe.losses import fine, huber, own_share_at, predicted, strengths
from ...recipe.rollout import free_run
from ...recipe.run import DynamicsRun, begun, places_optimiser, run_options
from ..teacher.simulator import Simulator
from ..world import dynamics_config, load_networks, new_generator
from .data import HELD_OUT_SEED, drive
from .on_policy import beyond_fence, make, unstopped

CLIP_TICKS = 20
LEVELS = (*[40.0] * 7, 60.0, 20.0, 40.0)
"""How many grey levels (of 255) one unit of each number of the scene is about worth."""
PLACE_M, TURN = 0.03, 0.003
"""Errors below these count quadratically."""
FINE_PLACE_M, FINE_TURN, FINE_SPEED = 0.01, 0.001, 0.002
"""Sizes at which the last millimetre still counts: a car at rest adds up its errors."""


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
    """One training loss."""
    clean = clips.targets
    rough = corrupt(dynamics, clean, strengths(clips, 0.4))
    history = torch.where(clips.dreamt[:, None, None], clips.histories, rough)
    made = predicted(
        dynamics, tokenizer, clips, history, own_share=own_share, own_rows=0.4, replaceable=~clips.dreamt[:, None]
    )
    settled, scene = dynamics.settled(clips.conditions), dynamics.split(clean)[0]
    return objective(dynamics, made, clean)[:, 1:].mean() + 0.3 * (settled - scene).abs().mean()


class Drives:
    """Clips of the teacher's episodes, of which a part is made anew every `FRESH_S` of training."""

    PARTS, ROWS, TICKS, FRESH_S = 6, 192, 240, 60.0

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._pool = Pool(self._make, least=self.PARTS, most=self.PARTS, every_s=self.FRESH_S)

    def clips(self, batch: int, spent_s: float) -> Clips:
        episodes = self._pool.any(spent_s)
        return clips_at(episodes, *drawn(episodes.latents, batch, CLIP_TICKS))

    def _make(self, seed: int, number: int) -> Episodes:
        careless = 0.5 if number % 3 else 0.0
        made = drive(self._simulator, self.ROWS, self.TICKS, number * self.ROWS, careless=careless)
        return Episodes(*(torch.from_numpy(part) for part in made))


class Dreams:
    """A pool of the network's own episodes: the newest `POOL`, one more every `FRESH_S` of training."""

    POOL, FRESH_S, ROWS, TICKS, SETTLE_TICKS = 5, 150.0, 128, 120, 120

    def __init__(self, tokenizer: ChaseTokenizer, simulator: Simulator, dynamics: Dynamics) -> None:
        """`dynamics`: whose dreams they are, as it is when one is made."""
        self._tokenizer, self._simulator, self._dynamics = tokenizer, simulator, dynamics
        self._pool = Pool(self._make, least=2, most=self.POOL, every_s=self.FRESH_S)

    def mixed(self, clips: Clips, share: float, spent_s: float) -> Clips:
        """The last `share` of the batch replaced by clips of the network's own episodes."""
        return last_replaced(clips, self._pool.any(spent_s), share)

    def _make(self, seed: int, number: int) -> OwnEpisodes:
        generator = new_generator(self._tokenizer, copy.deepcopy(self._dynamics).cpu(), self.ROWS)
        fresh = make(generator, self._simulator, seed, self.TICKS, settle_ticks=self.SETTLE_TICKS * (number % 3))
        print(f"own episodes, {100 * beyond_fence(fresh):.2f} % beyond the fence", flush=True)
        return fresh


class Ghosts:
    """Cars that nothing stops, all along the lap: made anew every `FRESH_S` of training."""

    FRESH_S, ROWS, TICKS, SHARE = 45.0, 768, 32, 0.25

    def __init__(self, simulator: Simulator) -> None:
        def make_ghosts(seed: int, number: int) -> OwnEpisodes:
            return unstopped(simulator, seed, self.ROWS, self.TICKS)

        self._pool = Pool(make_ghosts, least=1, most=1, every_s=self.FRESH_S)

    def mixed(self, clips: Clips, spent_s: float) -> Clips:
        """The first `SHARE` of the batch replaced by clips of ghosts."""
        return replaced(clips, self._pool.any(spent_s), 0, round(self.SHARE * len(clips.targets)))


@torch.inference_mode()
def watch(dynamics: Dynamics, tokenizer: ChaseTokenizer, held_out: tuple[Tensor, Tensor]) -> str:
    """How far free drives under the held-out controls are from the teacher's, in metres."""
    latents, conditions = held_out
    rows, start, ticks = min(48, len(latents)), 16, 120
    generator = new_generator(tokenizer, copy.deepcopy(dynamics).cpu(), rows)
    dreamt = free_run(generator, latents[:rows], conditions[:rows, : start + ticks], start)
    true = latents[:rows, start : start + ticks]
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
    options = begun(parser)
    train(options, ChaseTokenizer(), Simulator())


def train(options: argparse.Namespace, tokenizer: ChaseTokenizer, simulator: Simulator) -> None:
    dynamics = load_networks(options.weights)[1] if options.weights else Dynamics(dynamics_config())
    dynamics.to(options.device)
    course = DynamicsRun(dynamics, places_optimiser(dynamics, options.rate), options)
    latents, conditions = (torch.from_numpy(part) for part in drive(simulator, 48, 140, HELD_OUT_SEED))
    drives, ghosts = Drives(simulator), Ghosts(simulator)
    dreams = Dreams(tokenizer, simulator, course.average)

    def batch() -> Clips:
        clips = drives.clips(options.batch, course.spent_s)
        if course.part <= options.own_from:
            return clips
        return ghosts.mixed(dreams.mixed(clips, 0.4, course.spent_s), course.spent_s)

    course.learn(
        batch,
        lambda learner, clips: loss_of(learner, tokenizer, clips, own_share=own_share_at(course.part)),
        lambda average: watch(average, tokenizer, (latents, conditions)),
    )


if __name__ == "__main__":
    main()
