"""Train the dynamics on driven episodes of the teacher, in latents. Resumable: a checkpoint every minute and a half.

    python -m nextframe.worlds.circuit.recipe.dynamics --out runs/circuit --minutes 60 [--resume]

The targets are the latents of the teacher's frames: scene codes of the tokenizer, slots at the poses it was fitted
to. Histories are corrupted with measurement noise and, later, with the network's own predictions. With `--own-share`
a part of each batch is what the network dreamt under careless driving, with the teacher's answers (`on_policy`).
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.dynamics.slots import Dynamics
from ....model.generator.ticks import RollingGenerator
from ....model.tokenizers.scenes.still import POSITION_SCALE_PX, SLOT_DIM, SlotTokenizer
from ...recipe.clips import Clips, Episodes
from ...recipe.losses import huber, own_share_at, predicted, strengths
from ...recipe.rollout import free_run
from ...recipe.run import DynamicsRun, begun, run_options
from ..teacher.track import HEIGHT_PX, WIDTH_PX
from ..world import TOKENIZER, dynamics_config, fresh_tokenizer, load_networks
from .clips import Dreams, Latents, load_episodes, returns, sample_clips
from .data import HELD_OUT_SEED

# --- the objective ------------------------------------------------------------------------------------------------


def levels_of(tokenizer: SlotTokenizer) -> Tensor:
    """How many grey levels (of 255) one unit of each number of the scene code is worth, `(scene_dim,)`."""
    return tokenizer.basis.detach().square().mean((1, 2, 3)).sqrt() * 255


def objective(dynamics: Dynamics, predicted: Tensor, target: Tensor, known: Tensor, levels: Tensor) -> Tensor:
    """Poses in pixels and radians where the car shows, presence and lamp as squared errors, the scene in grey levels.

    `known`: `(batch, time, slots)`, 0 where the history was made to forget the slot and no target is fair. Presence
    counts more around roofs, where it is decided.
    """
    (scene, slots), (true_scene, true_slots) = dynamics.split(predicted), dynamics.split(target)
    seen = (true_slots[..., 4:5] > 0).float()
    place = (huber(slots[..., :2] - true_slots[..., :2], 0.4 / POSITION_SCALE_PX) * seen).mean(-1)
    turn = (huber(slots[..., 2:4] - true_slots[..., 2:4], 0.03) * seen).mean(-1)
    hidden = (true_slots[..., 4] < 0).float()
    roofed = F.max_pool1d(hidden.transpose(1, 2), 5, 1, 2).transpose(1, 2)
    presence = (slots[..., 4] - true_slots[..., 4]).square() * (1 + 3 * roofed)
    lamp = (slots[..., 5] - true_slots[..., 5]).square() * seen[..., 0]
    code = huber(((scene - true_scene) * levels).norm(dim=-1), 0.5)
    return ((place + 0.7 * turn + 5.0 * presence + 0.15 * lamp) * known).sum(-1) + code


def forget(clean: Tensor, scene_dim: int, share: float = 0.7) -> tuple[Tensor, Tensor]:
    """Histories in which a car has been out of sight for longer than memory reaches: it comes out of the tunnel now.

    Without these such a history would be unlike any seen, and a car once lost would stay lost. Returns the history
    and where targets stay fair, `(batch, time, slots)`. Only the tunnel's usual exit is taught, so it is one answer.
    """
    history, known = clean.clone(), torch.ones(*clean.shape[:2], 2, device=clean.device)
    slots = clean[..., scene_dim:].unflatten(-1, (2, SLOT_DIM))
    out = history[..., scene_dim:].unflatten(-1, (2, SLOT_DIM))
    exit_x, exit_y = (24 - WIDTH_PX / 2) / POSITION_SCALE_PX, (122 - HEIGHT_PX / 2) / POSITION_SCALE_PX
    near = (slots[..., 0] - exit_x).abs() < 14 / POSITION_SCALE_PX
    near &= ((slots[..., 1] - exit_y).abs() < 16 / POSITION_SCALE_PX) & (slots[..., 3] > 0.7)
    appears = (slots[:, 1:, :, 4] > 0) & (slots[:, :-1, :, 4] < 0) & near[:, 1:]
    for row, before, slot in appears.nonzero().tolist():
        if before + 1 >= 30 and torch.rand(()) < share:
            out[row, : before + 1, slot] = clean.new_tensor([0.0, 0, 0, 0, -1, 0])
            known[row, : before + 1, slot] = 0
    return torch.cat([clean[..., :scene_dim], out.flatten(-2)], -1), known


def corrupt(dynamics: Dynamics, clean: Tensor, strength: Tensor, levels: Tensor) -> Tensor:
    """Histories as a camera would measure them: independent errors per frame, up to about a pixel and a
    grey level."""
    scene, slots = dynamics.split(clean)
    seen = (slots[..., 4:5] > 0).float()
    s = strength[:, None, None, None]
    place = slots[..., :2] + torch.randn_like(slots[..., :2]) * s * (1.0 / POSITION_SCALE_PX) * seen
    turn = slots[..., 2:4] + torch.randn_like(slots[..., 2:4]) * s * 0.05 * seen
    turn = F.normalize(turn, dim=-1, eps=1e-6) * seen
    scene = scene + torch.randn_like(scene) * strength[:, None, None] * (0.5 / levels)
    return torch.cat([scene, torch.cat([place, turn, slots[..., 4:]], -1).flatten(-2)], -1)


def loss_of(dynamics: Dynamics, tokenizer: SlotTokenizer, clips: Clips, own_share: float) -> Tensor:
    """One training loss."""
    clean = clips.targets
    strength = strengths(clips, 0.3, 0.8)
    remembered, fair = forget(clean, dynamics.config.scene_dim)
    remembered = torch.where(clips.dreamt[:, None, None], clips.histories, remembered)
    # How fast a dreamt rival means to go is unknown: the teacher answers for the player alone.
    answered = torch.tensor([1.0, 0.0], device=clean.device)
    fair = torch.where(clips.dreamt[:, None, None], answered, fair)
    levels = levels_of(tokenizer).to(clean.device)
    made = predicted(
        dynamics, tokenizer, clips, corrupt(dynamics, remembered, strength, levels), own_share=own_share, own_rows=0.6,
        replaceable=fair.all(-1),  # what was forgotten stays forgotten, and what was dreamt is its own already
    )  # fmt: skip
    settled, scene = dynamics.settled(clips.conditions), dynamics.split(clean)[0]
    return objective(dynamics, made, clean, fair, levels)[:, 1:].mean() + 0.3 * (settled - scene).abs().mean()


# --- watching -----------------------------------------------------------------------------------------------------


def place_error_px(generator: RollingGenerator, dreamt: Tensor, true: Tensor) -> Tensor:
    """Distance of each slot's place where both show it, `(rows, ticks, slots)`, NaN elsewhere."""
    _, a = generator.tokenizer.split(dreamt)
    _, b = generator.tokenizer.split(true)
    both = (a[..., 4] > 0) & (b[..., 4] > 0)
    distance = (a[..., :2] - b[..., :2]).norm(dim=-1) * POSITION_SCALE_PX
    return torch.where(both, distance, torch.nan)


def watch(dynamics: Dynamics, tokenizer: SlotTokenizer, held_out: Episodes) -> str:
    rows, start, ticks = min(32, len(held_out.latents)), 16, 120
    generator = RollingGenerator(tokenizer, copy.deepcopy(dynamics).cpu(), rows=rows)
    dreamt = free_run(generator, held_out.latents[:rows], held_out.conditions[:rows, : start + ticks], start)
    true = held_out.latents[:rows, start : start + ticks]
    error = place_error_px(generator, dreamt, true)
    text = [
        f"{name} " + " ".join(f"{error[:, t - 1, k].nanmedian():.2f}" for t in (1, 4, 16, 50, 120))
        for k, name in enumerate(("player", "rival"))
    ]
    _, a = tokenizer.split(dreamt)
    _, b = tokenizer.split(true)
    hidden = ((a[..., 4] > 0) == (b[..., 4] > 0)).float().mean((0, 1))
    return f"free px at 1 4 16 50 120: {'; '.join(text)}; presence right {hidden[0]:.3f} {hidden[1]:.3f}"


# --- the run ------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = run_options(
        "nextframe.worlds.circuit.recipe.dynamics", __doc__, out=Path("runs/circuit"), minutes=60.0, batch=16
    )
    parser.add_argument("--episodes", type=int, default=2400)
    parser.add_argument("--own-share", type=float, default=0.0, help="of a batch: the network's own episodes")
    options = begun(parser)
    tokenizer = fresh_tokenizer()
    tokenizer.load_state_dict(load_file(options.out / TOKENIZER))
    latents = Latents(tokenizer)
    episodes = load_episodes(options.out / "episodes.safetensors", latents, options.episodes, 240, 0)
    held_out = load_episodes(options.out / "held_out.safetensors", latents, 64, 1100, HELD_OUT_SEED)
    train(options, tokenizer, episodes, held_out)


def train(options: argparse.Namespace, tokenizer: SlotTokenizer, episodes: Episodes, held_out: Episodes) -> None:
    dynamics = load_networks(options.weights)[1] if options.weights else Dynamics(dynamics_config())
    dynamics.to(options.device)
    optimiser = torch.optim.AdamW(dynamics.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    course = DynamicsRun(dynamics, optimiser, options, cools_for=0.5, averaging=0.999)
    print(
        f"{sum(p.numel() for p in dynamics.parameters()) / 1e6:.2f} M parameters, {len(episodes.latents)} episodes",
        flush=True,
    )
    returning, dreams = returns(episodes), Dreams(tokenizer, course.average)

    def batch() -> Clips:
        clips = sample_clips(episodes, options.batch, returning)
        return dreams.mixed(clips, options.own_share, course.spent_s) if options.own_share > 0 else clips

    course.learn(
        batch,
        lambda learner, clips: loss_of(learner, tokenizer, clips, own_share=own_share_at(course.part, 0.15)),
        lambda average: watch(average, tokenizer, held_out),
    )


if __name__ == "__main__":
    main()
