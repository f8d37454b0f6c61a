"""Train the frame tokenizer: the PCA in closed form, then the refiner on top of it for as long as its share lasts.

The loss is 4 squared errors and a fifth of the absolute error of image gradients (no network judges, so no weights of
others are needed). Latents get a little noise, so that a dream's errors decode gracefully.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from model.frames import FrameConfig, FrameTokenizer, fill, fit_patches
from tools.train import checkpoint
from tools.train.budget import Plan
from tools.train.clips import Clips
from tools.train.show import Bar, bar, say

ENOUGH_DB = 33.0
CHOICES = (16, 24, 32, 48, 64, 96)
NOISE = 0.05
BATCH = 16
LONGEST_STEP_S = 5.0
"""What a step counts at most: a process that slept has not used up its budget."""


def learn_tokenizer(clips: Clips, plan: Plan, folder: Path, device: str) -> FrameTokenizer:
    """Resumable. The frames are `(n, height, width, 3)` uint8."""
    height, width = clips.frames.shape[1:3]
    stored = checkpoint.load(folder / "tokenizer.checkpoint", device)
    rng = np.random.default_rng(1)
    if stored is not None:
        tokenizer = FrameTokenizer(FrameConfig(height, width, plan.patch_px, stored["channels"], plan.refine_width,
                                               plan.refine_blocks))  # fmt: skip
        tokenizer.load_state_dict(stored["tokenizer"])
    else:
        picked = rng.permutation(len(clips))[:6000]
        frames = torch.from_numpy(clips.frames[np.sort(picked)])
        pca = fit_patches(frames, plan.patch_px)
        most = min(plan.max_channels, 3 * plan.patch_px**2)
        channels = next((c for c in CHOICES if c <= most and pca.psnr_db(c) >= ENOUGH_DB), most)
        side_px = plan.patch_px
        say(f"tokenizer: {channels} components of {side_px}x{side_px} patches, {pca.psnr_db(channels):.1f} dB")
        tokenizer = FrameTokenizer(
            FrameConfig(height, width, plan.patch_px, channels, plan.refine_width, plan.refine_blocks)
        )
        fill(tokenizer, pca, frames[:1500])
    tokenizer.to(device)
    spent = 0.0 if stored is None else float(stored["spent_s"])
    with bar("tokenizer", plan.tokenizer_s, spent) as progress:
        _refine(tokenizer, clips, plan.tokenizer_s, folder, (progress, spent, stored))
    return tokenizer.eval().requires_grad_(False)


def _refine(
    tokenizer: FrameTokenizer, clips: Clips, seconds: float, folder: Path, going: tuple[Bar, float, dict | None]
) -> None:
    progress, spent, stored = going
    device = tokenizer.mean.device
    optimiser = torch.optim.AdamW(tokenizer.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    if stored is not None:
        optimiser.load_state_dict(stored["optimiser"])
    step, due = 0 if stored is None else int(stored["step"]), checkpoint.Every(checkpoint.EVERY_S)

    def store() -> None:
        checkpoint.save(folder / "tokenizer.checkpoint", {
            "tokenizer": tokenizer.state_dict(), "optimiser": optimiser.state_dict(), "spent_s": spent, "step": step,
            "channels": tokenizer.config.channels,
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


@torch.no_grad()
def encode_all(tokenizer: FrameTokenizer, clips: Clips) -> Tensor:
    """Latents of all frames, `(n, latent_dim)` on the CPU."""
    device = tokenizer.mean.device
    parts = [
        tokenizer.encode(torch.from_numpy(clips.frames[at : at + 256]).to(device)).cpu()
        for at in range(0, len(clips), 256)
    ]
    return torch.cat(parts)
