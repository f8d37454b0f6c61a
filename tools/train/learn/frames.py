"""Train the frame tokenizer: the PCA in closed form, then the refiner on top of it for as long as its share lasts.

The loss is 4 squared errors and a fifth of the absolute error of image gradients (no network judges, so no weights of
others are needed). Latents get a little noise, so that the errors of a free run decode gracefully.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.tokenizers.frames import (
    FrameConfig,
    FrameTokenizer,
    PatchPca,
    distinct_patches,
    fill,
    fill_tiles,
    fit_patches,
    patches_of,
)  # fmt: skip
from ....runtime.core import NextframeError
from ..base.budget import Plan
from ..base.part import Part, PartOverError
from ..base.show import Bar, bar, say
from ..data.clips import Clips
from . import checkpoint

ENOUGH_DB = 33.0
ENOUGH_MOVING_DB = 24.0
"""Of the pixels that change. A small thing on a still ground counts for nothing in the whole picture, and it is the one
that is played."""
PERFECT_DB = 45.0
"""Where the closed form alone is so good, of the whole and of what moves, a refiner has next to nothing to do."""
CODE, FEW_TILES = 32, 256
"""Numbers in a tile's code; twice as many where there are more tiles than that."""
PERFECT_SHARE = 0.2
"""Of its time is enough then; the dynamics get the rest."""
MAX_DISTINCT = 2048
"""Different tiles; a picture that has more is none of tiles."""
MOVING_LEVELS = 8
ASKED_PAIRS = 400
CHOICES = (16, 24, 32, 48, 64, 96)
NOISE = 0.05
BATCH = 16
LONGEST_STEP_S = 5.0
"""What a step counts at most: a process that slept has not used up its budget."""


def learn_tokenizer(clips: Clips, plan: Plan, folder: Path, device: str, *, part: Part | None = None) -> FrameTokenizer:
    """Resumable. The frames are `(n, height, width, 3)` uint8. Raises `PartOverError` where the part ends before."""
    if plan.tiled:
        return learn_tiles(clips, plan, folder, device)
    height, width = clips.frames.shape[1:3]
    stored = checkpoint.load(folder / "tokenizer.checkpoint", device)
    rng, perfect = np.random.default_rng(1), False
    if stored is not None:
        tokenizer = FrameTokenizer(FrameConfig(height, width, plan.patch_px, stored["channels"], plan.refine_width,
                                               plan.refine_blocks))  # fmt: skip
        tokenizer.load_state_dict(stored["tokenizer"])
    else:
        picked = rng.permutation(len(clips))[:6000]
        frames = torch.from_numpy(clips.frames[np.sort(picked)])
        pca = fit_patches(frames, plan.patch_px)
        most = min(plan.max_channels, 3 * plan.patch_px**2)
        channels = enough_channels(pca, clips, plan.patch_px, most)
        moving_db = moving_psnr_db(pca, clips, plan.patch_px, [channels])[0]
        perfect = min(pca.psnr_db(channels), moving_db) >= PERFECT_DB
        say(f"tokenizer: {channels} components of {plan.patch_px}x{plan.patch_px} patches, "
            f"{pca.psnr_db(channels):.1f} dB, {moving_db:.1f} where something moves")  # fmt: skip
        tokenizer = FrameTokenizer(
            FrameConfig(height, width, plan.patch_px, channels, plan.refine_width, plan.refine_blocks)
        )
        fill(tokenizer, pca, frames[:1500])
    tokenizer.to(device)
    spent = 0.0 if stored is None else float(stored["spent_s"])
    seconds = float(stored["seconds"]) if stored and "seconds" in stored else plan.tokenizer_s
    seconds = PERFECT_SHARE * seconds if stored is None and perfect else seconds
    with bar("tokenizer", seconds, spent) as progress:
        _refine(tokenizer, clips, seconds, folder, (progress, spent, stored, part or Part()))
    return tokenizer.eval().requires_grad_(False)


def learn_tiles(clips: Clips, plan: Plan, folder: Path, device: str) -> FrameTokenizer:
    """All in closed form, in seconds: so there is nothing to resume. NextframeError where these are no tiles."""
    began_s, (height, width) = time.monotonic(), clips.frames.shape[1:3]
    patches = distinct_patches(torch.from_numpy(clips.frames), plan.patch_px, MAX_DISTINCT)
    if patches is None:
        raise NextframeError(
            f"--tiles {plan.patch_px}: expected at most {MAX_DISTINCT} different squares of {plan.patch_px} px in all "
            "frames, got more; this is no picture of such tiles: leave the option out, or give the --size they have"
        )
    channels = CODE if len(patches) <= FEW_TILES else 2 * CODE
    tokenizer = FrameTokenizer(FrameConfig(height, width, plan.patch_px, channels, 4, 0, len(patches)))
    fill_tiles(tokenizer, patches)
    say(f"tokenizer: {len(patches)} tiles of {plan.patch_px} px, each a code of {channels} numbers")
    checkpoint.save(folder / "tokenizer.checkpoint", {"seconds": time.monotonic() - began_s})
    return tokenizer.to(device).eval().requires_grad_(False)


def enough_channels(pca: PatchPca, clips: Clips, patch_px: int, most: int) -> int:
    """The fewest components that show the whole picture and what moves in it well enough; `most` if none do."""
    choices = [c for c in CHOICES if c <= most]
    moving = moving_psnr_db(pca, clips, patch_px, choices)
    good = (c for c, db in zip(choices, moving, strict=True) if db >= ENOUGH_MOVING_DB and pca.psnr_db(c) >= ENOUGH_DB)
    return next(good, most)


def moving_psnr_db(pca: PatchPca, clips: Clips, patch_px: int, channels: list[int]) -> list[float]:
    """PSNR of the pixels that change from frame to frame, for each number of components; 100 where nothing does."""
    at = clips.windows(2)
    at = at[:: max(1, len(at) // ASKED_PAIRS)]
    before, after = (torch.from_numpy(clips.frames[at + k]).permute(0, 3, 1, 2).float() / 255 for k in (0, 1))
    moved = ((after - before).abs().amax(1, keepdim=True) > MOVING_LEVELS / 255).expand_as(after)
    mask, patches = patches_of(moved.float(), patch_px), patches_of(after - pca.mean, patch_px)
    found = []
    for count in channels:
        basis = pca.basis[:count]
        error = (patches - patches @ basis.T @ basis).square()
        mean = (error * mask).sum() / mask.sum().clamp(min=1)
        found.append(float(-10 * torch.log10(mean.clamp(min=1e-10))))
    return found


def _refine(
    tokenizer: FrameTokenizer, clips: Clips, seconds: float, folder: Path, going: tuple[Bar, float, dict | None, Part]
) -> None:
    progress, spent, stored, part = going
    device = tokenizer.mean.device
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    if stored is not None:
        optimiser.load_state_dict(stored["optimiser"])
    step, due = 0 if stored is None else int(stored["step"]), checkpoint.Every(checkpoint.EVERY_S)

    def store() -> None:
        checkpoint.save(folder / "tokenizer.checkpoint", {
            "tokenizer": tokenizer.state_dict(), "optimiser": optimiser.state_dict(), "spent_s": spent, "step": step,
            "channels": tokenizer.config.channels, "seconds": seconds,
        })  # fmt: skip

    while spent < seconds:
        began_s = time.monotonic()
        rng = np.random.default_rng([2, step])
        frames = torch.from_numpy(clips.frames[rng.integers(0, len(clips), BATCH)]).to(device)
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50, 2 * (1 - spent / seconds) + 0.01)
        loss = picture_loss(tokenizer, frames)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        step += 1
        spent += min(time.monotonic() - began_s, LONGEST_STEP_S)
        if step % 10 == 0:
            progress.update(spent, f"loss {loss.item():.5f}")
        if due():
            store()
        if part.over():
            store()
            raise PartOverError
    store()


def picture_loss(tokenizer: FrameTokenizer, frames: Tensor) -> Tensor:
    with torch.no_grad():
        latents = tokenizer.encode(frames)
        latents = latents + torch.randn_like(latents) * NOISE
    with torch.autocast(frames.device.type, torch.bfloat16):
        drawn = tokenizer.draw(latents).float()
    real = frames.permute(0, 3, 1, 2).float() / 255
    edges = sum((drawn.diff(dim=d) - real.diff(dim=d)).abs().mean() for d in (2, 3))
    return 4 * F.mse_loss(drawn, real) + 0.2 * edges


def spared_s(plan: Plan, folder: Path) -> float:
    """What a tokenizer that needed less left of its share."""
    stored = checkpoint.load(folder / "tokenizer.checkpoint")
    return 0.0 if stored is None else max(0.0, plan.tokenizer_s - float(stored.get("seconds", plan.tokenizer_s)))


@torch.no_grad()
def encode_all(tokenizer: FrameTokenizer, clips: Clips) -> Tensor:
    """Latents of all frames, `(n, latent_dim)` on the CPU."""
    device = tokenizer.mean.device
    parts = [
        tokenizer.encode(torch.from_numpy(clips.frames[at : at + 256]).to(device)).cpu()
        for at in range(0, len(clips), 256)
    ]
    return torch.cat(parts)
