"""Train the keep's tokenizer on pictures with their poses. Resumable: a checkpoint every two minutes.

    python -m nextframe.worlds.freedoom.recipe.shots --out runs/freedoom
    python -m nextframe.worlds.freedoom.recipe.looks --out runs/freedoom --part looks --minutes 20 [--resume]
    python -m nextframe.worlds.freedoom.recipe.looks --out runs/freedoom --part reader --minutes 10 [--resume]

`looks`: texels and colours, from random columns of random pictures. `reader`: where a picture was taken.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.tokenizers.scenes.place_view import POSITION_SCALE_UNITS, PlaceTokenizer
from ...recipe.run import Run, RunPlan, begun, cosine
from ..world import fresh_tokenizer

HELD_OUT = 256
"""The last so many pictures are never trained on."""
COLUMNS, READ = 320, 48


class Shots:
    """Pictures and the latents of where they were taken."""

    def __init__(self, folder: Path) -> None:
        self.frames = np.load(folder / "frames.npy", mmap_mode="r")
        self.latents = torch.from_numpy(np.load(folder / "latents.npy"))
        self.count = len(self.frames) - HELD_OUT

    def columns(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents `(count, latent_dim)`, column indices `(count,)` and pixels `(count, height, 3)` in 0..1."""
        which, column = torch.randint(self.count, (count,)), torch.randint(self.frames.shape[2], (count,))
        which = which.sort().values
        pixels = np.stack([self.frames[i, :, k] for i, k in zip(which.tolist(), column.tolist(), strict=True)])
        return self.latents[which], column, torch.from_numpy(pixels).float() / 255

    def pictures(self, which: Tensor) -> tuple[Tensor, Tensor]:
        frames = torch.from_numpy(np.stack([self.frames[i] for i in which.tolist()]))
        return frames, self.latents[which]


def looks_loss(tokenizer: PlaceTokenizer, shots: Shots) -> Tensor:
    latents, column, pixels = shots.columns(COLUMNS)
    scene, slots = tokenizer.split(latents)
    places = tokenizer.units(slots[:, 0])
    landed = tokenizer.rays.look(places[:, 0], places[:, 1], slots[:, 0, 2:4], tokenizer.rays.aside[column])
    error = tokenizer.colours(landed, tokenizer.darkness(landed, scene)) - pixels.flatten(0, 1)
    # Between squares and absolutes: edges that the plan puts half a pixel off must not smear what is beside them.
    return F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.05) * 0.1


def reader_loss(tokenizer: PlaceTokenizer, shots: Shots) -> Tensor:
    frames, latents = shots.pictures(torch.randint(shots.count, (READ,)))
    _, slots = tokenizer.split(latents)
    with torch.autocast("cpu", torch.bfloat16):
        read = tokenizer.read(frames.permute(0, 3, 1, 2).float() / 255)
    return F.smooth_l1_loss(read, slots[:, 0, :4], beta=0.1)


@torch.no_grad()
def quality(tokenizer: PlaceTokenizer, shots: Shots, count: int = 64) -> str:
    which = torch.arange(shots.count, shots.count + HELD_OUT, HELD_OUT // count)
    frames, latents = shots.pictures(which)
    made = torch.cat([tokenizer.draw(latents[k : k + 1]) for k in range(count)]).clamp(0, 1)
    wrong = (made - frames.float() / 255).square().mean((1, 2, 3))
    _, read = tokenizer.split(tokenizer.encode(frames))
    _, true = tokenizer.split(latents)
    away = (read[:, 0, :2] - true[:, 0, :2]).norm(dim=-1).median() * POSITION_SCALE_UNITS
    turn = (read[:, 0, 2:4] - true[:, 0, 2:4]).norm(dim=-1).median()
    return (
        f"held out {-10 * wrong.mean().log10():.2f} dB, median {-10 * wrong.median().log10():.2f}; read {away:.1f} "
        f"units and {turn:.3f} radians off"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m nextframe.worlds.freedoom.recipe.looks", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/freedoom"))
    parser.add_argument("--part", choices=("looks", "reader"), required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    options = begun(parser)
    run(options, fresh_tokenizer(), Shots(options.out))


def groups_of(tokenizer: PlaceTokenizer, part: str) -> tuple[list[list[torch.nn.Parameter]], list[float]]:
    """What this part trains, and how fast: texels quicker than the network that colours them."""
    if part == "reader":
        return [list(tokenizer.trunk.parameters())], [1.2e-3]
    return [[tokenizer.looks, tokenizer.sky], list(tokenizer.colour.parameters())], [1.5e-2, 2e-3]


def run(options: argparse.Namespace, tokenizer: PlaceTokenizer, shots: Shots) -> None:
    groups, rates = groups_of(tokenizer, options.part)
    tokenizer.requires_grad_(False)
    for group in groups:
        for parameter in group:
            parameter.requires_grad_(True)
    # A texel is seen rarely and weakly, so nothing may be small beside what it feels.
    eps = 1e-12 if options.part == "looks" else 1e-8
    optimiser = torch.optim.Adam(
        [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True)], betas=(0.9, 0.99), eps=eps
    )
    loss_of = looks_loss if options.part == "looks" else reader_loss
    course = Run(
        RunPlan.of(options), optimiser, {"tokenizer": tokenizer}, name=options.part,
        weights=(f"{options.part}.safetensors", tokenizer), shape=cosine(50),
    )  # fmt: skip
    course.train(lambda: loss_of(tokenizer, shots), lambda: quality(tokenizer, shots), options.part)


if __name__ == "__main__":
    main()
