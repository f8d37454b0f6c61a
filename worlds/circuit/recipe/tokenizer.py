"""Fit the tokenizer: PCA of whole frames in closed form, then the objects' fields and the encoder by gradient.

    python -m nextframe.worlds.circuit.recipe.tokenizer --out runs/circuit --minutes 8
    python -m nextframe.worlds.circuit.recipe.tokenizer --out runs/circuit --part reader --minutes 12

The second command goes on with what reads alone, on scenes of which half have a car partly under a roof.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.base.devices import best_device
from ....model.tokenizers.scenes.still import (
    BODY_PX,
    LIGHT_AHEAD_PX,
    LIGHT_PX,
    POSITION_SCALE_PX,
    SlotTokenizer,
    TokenizerConfig,
)
from ...recipe.run import Run, RunPlan, begun, cooling
from .data import still_scenes


def fit_scene(tokenizer: SlotTokenizer, frames: Tensor) -> None:
    """Mean and principal components of the frames, and the projection that reads the code from quarter-size frames."""
    images = (frames.permute(0, 3, 1, 2).float() / 255).flatten(1)
    count = len(images)
    mean = images.mean(0)
    centred = images - mean
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    keep = tokenizer.config.scene_dim
    values, vectors = values[-keep:].flip(0), vectors[:, -keep:].flip(1)
    code = vectors * count**0.5  # (count, keep), unit variance
    basis = code.T @ centred / count
    h, w = tokenizer.config.height_px, tokenizer.config.width_px
    with torch.no_grad():
        tokenizer.mean.copy_(mean.view(3, h, w))
        tokenizer.basis.copy_(basis.view(keep, 3, h, w))
        set_projection(tokenizer)
    print(f"scene: {keep} components explain {float(values.sum() / centred.square().sum()):.4%} of the variance")


def set_projection(tokenizer: SlotTokenizer) -> None:
    """Least squares of the quarter-size basis, so that the code of a frame is one matrix product."""
    small = F.avg_pool2d(tokenizer.basis, 4).flatten(1)
    tokenizer.project.copy_(torch.linalg.pinv(small.T))
    tokenizer.project_mean.copy_(F.avg_pool2d(tokenizer.mean[None], 4).flatten())


def true_latents(tokenizer: SlotTokenizer, scene: Tensor, labels: Tensor) -> Tensor:
    """Latents with the teacher's poses in the slots."""
    c = tokenizer.config
    place = (labels[..., :2] - labels.new_tensor([c.width_px / 2, c.height_px / 2])) / POSITION_SCALE_PX
    slots = torch.cat([place, labels[..., 2:4], labels[..., 4:] * 2 - 1], -1)
    return torch.cat([scene, slots.flatten(1)], -1)


def decoder_loss(tokenizer: SlotTokenizer, frames: Tensor, latents: Tensor) -> Tensor:
    """Squared error on the windows around each object, where the other object is not near."""
    scene, slots = tokenizer.split(latents)
    with torch.no_grad():
        background = tokenizer.background(scene)
    apart = ((slots[:, 0, :2] - slots[:, 1, :2]).norm(dim=-1) * POSITION_SCALE_PX > 50) | (
        slots[..., 4].min(-1).values < 0
    )
    loss = torch.zeros((), device=latents.device)
    for k in range(tokenizer.config.slots):
        slot = slots[:, k]
        ahead = slot[:, 2:4] * (LIGHT_AHEAD_PX / POSITION_SCALE_PX)
        index, local = tokenizer.window(slot, slot[:, :2] + ahead, LIGHT_PX)
        lit = tokenizer.lit_patch(background[index], index, local, scene, slot, k)
        outside = ((local[..., 0].abs() > 11.5) | (local[..., 1].abs() > 7)).float().view(frames[index].shape[:-1])
        error = (lit - frames[index].float() / 255).square().mean(-1) * outside
        loss = loss + (error.mean((1, 2)) * apart).mean()
        index, local = tokenizer.window(slot, slot[:, :2], BODY_PX)
        ground = tokenizer.lit_patch(background[index], index, local, scene, slot, k)
        drawn = tokenizer.body_patch(ground, index, local, scene, slot, k)
        error = (drawn - frames[index].float() / 255).square().mean(-1)
        loss = loss + (error.mean((1, 2)) * apart).mean()
    return loss


def encoder_loss(tokenizer: SlotTokenizer, frames: Tensor, labels: Tensor) -> Tensor:
    images = frames.permute(0, 3, 1, 2).float() / 255
    images = (images + torch.randn(len(images), 1, 1, 1, device=images.device) * 0.02).clamp(0, 1)
    heat = tokenizer.heat(images).float().flatten(2)
    columns = tokenizer.config.width_px // 4
    cell = (labels[..., 1] / 4).floor().clamp(0, tokenizer.config.height_px // 4 - 1) * columns
    cell = (cell + (labels[..., 0] / 4).floor().clamp(0, columns - 1)).long()
    seen = labels[..., 4]
    # Spread the target over the cell by cross entropy; a hidden object has no cell.
    loss = (F.cross_entropy(heat.flatten(0, 1), cell.flatten(), reduction="none") * seen.flatten()).mean()
    with torch.no_grad():
        found = tokenizer.locate(images)
    for k in range(tokenizer.config.slots):
        jitter = labels[:, k, :2] + torch.randn(len(labels), 2, device=labels.device) * 2.0
        use_true = (torch.rand(len(labels), 1, device=labels.device) < 0.5) & (seen[:, k : k + 1] > 0)
        read = tokenizer.measure(images, torch.where(use_true, jitter, found[:, k]), k).float()
        centre = torch.tensor([tokenizer.config.width_px / 2, tokenizer.config.height_px / 2], device=labels.device)
        place = read[:, :2] * POSITION_SCALE_PX + centre
        close = seen[:, k] * ((place - labels[:, k, :2]).norm(dim=-1) < 14).float()
        loss = loss + (F.huber_loss(place, labels[:, k, :2], reduction="none").mean(-1) * close).mean() * 2
        loss = loss + ((read[:, 2:4] - labels[:, k, 2:4]).square().mean(-1) * close).mean() * 8
        loss = loss + F.binary_cross_entropy_with_logits(2 * read[:, 4], seen[:, k])
        lamp = F.binary_cross_entropy_with_logits(2 * read[:, 5], labels[:, k, 5], reduction="none")
        loss = loss + (lamp * close).mean() * 0.5
    return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/circuit"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--part", choices=("all", "reader"), default="all")
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--device", default=best_device(), help="cpu, cuda or mps")
    parser.add_argument("--resume", action="store_true")
    options = begun(parser)
    began = time.monotonic()
    reads_on = options.part == "reader"
    frames_np, labels_np = still_scenes(options.scenes, seed=2 if reads_on else 1, mouths=0.5 if reads_on else 0.0)
    frames, labels = torch.from_numpy(frames_np), torch.from_numpy(labels_np)
    print(f"{len(frames)} scenes in {time.monotonic() - began:.0f} s")
    tokenizer = SlotTokenizer(TokenizerConfig(frames.shape[1], frames.shape[2]))
    weights = options.out / "tokenizer.safetensors"
    if reads_on or (options.resume and weights.exists()):
        tokenizer.load_state_dict(load_file(weights))
    else:
        fit_scene(tokenizer, frames[:700])
    tokenizer.to(options.device)
    optimiser = reader_optimiser(tokenizer) if reads_on else optimiser_of(tokenizer)
    train(tokenizer, optimiser, frames, labels, options)


def reader_of(tokenizer: SlotTokenizer) -> list[torch.nn.Parameter]:
    return [*tokenizer.find.parameters(), *tokenizer.refine.parameters()]


def reader_optimiser(tokenizer: SlotTokenizer) -> torch.optim.Optimizer:
    """Adam for what reads alone; nothing else moves."""
    tokenizer.requires_grad_(False)
    reader = reader_of(tokenizer)
    for parameter in reader:
        parameter.requires_grad_(True)
    return torch.optim.Adam([{"params": reader, "peak": 1e-3}], lr=1e-3, betas=(0.9, 0.98))


def optimiser_of(tokenizer: SlotTokenizer) -> torch.optim.Optimizer:
    """Adam with a peak rate for each kind of part; the PCA stays as it was fitted."""
    fields = [*tokenizer.body.parameters(), *tokenizer.light.parameters()]
    maps = [tokenizer.ground, tokenizer.open_sky]
    reader = reader_of(tokenizer)
    groups = [{"params": p, "peak": rate} for p, rate in ((fields, 3e-3), (maps, 2e-2), (reader, 1.5e-3))]
    return torch.optim.Adam(groups, lr=1e-3, betas=(0.9, 0.98))


def train(
    tokenizer: SlotTokenizer,
    optimiser: torch.optim.Optimizer,
    frames: Tensor,
    labels: Tensor,
    options: argparse.Namespace,
) -> None:
    """`frames`, `labels`: as `still_scenes` makes them."""
    course = Run(
        RunPlan.of(options), optimiser, {"tokenizer": tokenizer},
        name="tokenizer" if options.part == "all" else options.part, weights=("tokenizer.safetensors", tokenizer),
        shape=cooling(50, 0.4),
    )  # fmt: skip
    told = [0.0, 0.0]

    def loss() -> Tensor:
        pick = torch.randint(len(frames), (options.batch,))
        both = losses(tokenizer, frames[pick].to(options.device), labels[pick].to(options.device), options.part)
        told[:] = (float(part.detach()) for part in both)
        return both[0] * 50 + both[1]

    course.train(loss, lambda: f"decoder {told[0]:.6f}, encoder {told[1]:.4f}", "tokenizer")


def losses(tokenizer: SlotTokenizer, frames: Tensor, labels: Tensor, part: str = "all") -> tuple[Tensor, Tensor]:
    """Decoder and encoder loss of one batch; the first is 0 where the reader alone is trained."""
    if part == "reader":
        with torch.autocast(frames.device.type, torch.bfloat16):
            return torch.zeros(()), encoder_loss(tokenizer, frames, labels)
    with torch.no_grad():
        scene = tokenizer.scene(frames.permute(0, 3, 1, 2).float() / 255)
    with torch.autocast(frames.device.type, torch.bfloat16):
        decoded = decoder_loss(tokenizer, frames, true_latents(tokenizer, scene, labels))
        return decoded, encoder_loss(tokenizer, frames, labels)


if __name__ == "__main__":
    main()
