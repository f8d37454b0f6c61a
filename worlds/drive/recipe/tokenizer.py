"""Train the drive world's tokenizer on still scenes of the teacher. Resumable: a checkpoint every two minutes.

    python -m nextframe.worlds.drive.recipe.tokenizer --out runs/drive --part decoder --minutes 20 [--resume]
    python -m nextframe.worlds.drive.recipe.tokenizer --out runs/drive --part encoder --minutes 20 [--resume]

Both parts learn from the same frames and may run side by side. The decoder learns land and sky from single pixels
that nothing stands before, many frames at once, and everything else from whole pictures.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ....model.tokenizers.scenes.chase import ChaseTokenizer
from ....model.tokenizers.scenes.chase_standing import in_sight, player_layer, poses_of, rival_layer, window
from ...recipe.run import Run, RunPlan, begun, cosine
from ..teacher.track import LANDMARK_SIZES_M, load_track

HELD_OUT = 128
"""Of each file of frames, the last so many are never trained on."""
PIXELS, WHOLE, BATCH = 2400, 2, 20


def fresh_tokenizer() -> ChaseTokenizer:
    """With the places of the course's landmarks, and nothing learned."""
    torch.manual_seed(0)
    tokenizer = ChaseTokenizer()
    marks, names = load_track().landmarks, list(LANDMARK_SIZES_M)
    tokenizer.places.copy_(torch.tensor([(m.x_m, m.y_m) for m in marks]))
    tokenizer.sizes.copy_(torch.tensor([(m.width_m, m.height_m) for m in marks]))
    tokenizer.kinds.copy_(torch.tensor([names.index(m.kind) for m in marks]))
    return tokenizer


class Scenes:
    """Frames and latents on disk, those held out apart."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("frames_*.npy"))
        self._frames = [np.load(f, mmap_mode="r") for f in files]
        labels = [np.load(f.with_name(f.name.replace("frames", "labels"))) for f in files]
        self.where = [(i, k) for i, part in enumerate(labels) for k in range(len(part) - HELD_OUT)]
        self.held_out = [(i, k) for i, part in enumerate(labels) for k in range(len(part) - HELD_OUT, len(part))]
        self._labels = [torch.from_numpy(part) for part in labels]

    def take(self, where: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        frames = torch.from_numpy(np.stack([self._frames[i][k] for i, k in where]))
        return frames, torch.stack([self._labels[i][k] for i, k in where])

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        return self.take([self.where[int(k)] for k in torch.randint(len(self.where), (count,))])


def standing(tokenizer: ChaseTokenizer, latents: Tensor) -> Tensor:
    """Where landmarks, cars or the panel are before land and sky, `(batch, height, width)` bool."""
    c = tokenizer.config
    mask = torch.zeros(len(latents), c.height_px, c.width_px, dtype=torch.bool)
    _, slots = tokenizer.split(latents)
    left, top, wide, high = c.panel_px
    mask[:, top : top + high, left : left + wide] = True
    left, top, wide, high = c.gauge_px
    mask[:, top : top + high, left : left + wide] = True
    scene, _ = tokenizer.split(latents)
    for k, poses in enumerate(poses_of(tokenizer, slots)):
        for b in in_sight(tokenizer, poses[0]):
            rows, columns = window(tokenizer, b.middle - b.wide / 2, b.middle + b.wide / 2, b.foot - b.high, b.foot)
            mask[k, rows, columns] = True
        rows, columns, _ = player_layer(tokenizer, scene[k], slots[k])
        mask[k, rows, columns] = True
        rival = rival_layer(tokenizer, scene[k], slots[k], poses)
        if rival is not None:
            rows, columns, _ = rival[1]
            mask[k, rows, columns] = True
    return mask


def backdrop_loss(tokenizer: ChaseTokenizer, images: Tensor, latents: Tensor, free: Tensor) -> Tensor:
    """Squared error of land and sky at random pixels of `images` `(batch, height, width, 3)` where `free`."""
    c = tokenizer.config
    scene, slots = tokenizer.split(latents)
    batch = torch.arange(len(images))[:, None]
    # Ground.
    row = torch.randint(c.height_px - c.horizon_px, (len(images), PIXELS))
    # Half of the pixels near the horizon, where most of what comes is.
    row[:, : PIXELS // 2] = (row[:, : PIXELS // 2].float() * 0.4).long()
    column = torch.randint(c.width_px, (len(images), PIXELS))
    ahead, right = tokenizer.ahead[row, column], tokenizer.right[row, column]
    place = tokenizer.metres(slots[:, 0])
    cos, sin = slots[:, 0, 2:3], slots[:, 0, 3:4]
    from_car = ahead - c.camera_behind_m
    x, y = place[:, :1] + from_car * cos - right * sin, place[:, 1:] + from_car * sin + right * cos
    near = tokenizer._sample(tokenizer.land, x[:, None], y[:, None])[:, 0]
    far = tokenizer._sample(tokenizer.far_land, x[:, None], y[:, None])[:, 0]
    features = torch.lerp(far, near, ((52 - ahead) / 26).clamp(0, 1)[..., None])
    features = torch.cat([features, tokenizer.screen[row, column], tokenizer.depth[row, column]], -1)
    made = tokenizer.ground_field(features, tokenizer.mood(scene)).float()
    error = (made - images[batch, row + c.horizon_px, column]).square().mean(-1)
    open_ = free[batch, row + c.horizon_px, column].float()
    loss = (error * open_).sum() / open_.sum()
    # Sky.
    row = torch.randint(c.horizon_px, (len(images), PIXELS // 2))
    column = torch.randint(c.width_px, (len(images), PIXELS // 2))
    heading = torch.atan2(slots[:, 0, 3], slots[:, 0, 2])
    at = ((heading[:, None] + tokenizer.azimuth[column]) / (2 * math.pi) % 1.0) * c.panorama
    low = at.floor().long() % c.panorama
    part = (at - at.floor())[..., None]
    features = torch.lerp(tokenizer.panorama[low, row], tokenizer.panorama[(low + 1) % c.panorama, row], part)
    features = torch.cat([features, tokenizer.sky_height[row, 0][..., None]], -1)
    made = tokenizer.sky_field(features, tokenizer.mood(scene)).float()
    error = (made - images[batch, row, column]).square().mean(-1)
    open_ = free[batch, row, column].float()
    return loss + 0.6 * (error * open_).sum() / open_.sum()


def reading_loss(tokenizer: ChaseTokenizer, images: Tensor, latents: Tensor) -> Tensor:
    """How far a reading is from the teacher's numbers; the dots of the map, and the whole; the rival's pose less."""
    images = images.permute(0, 3, 1, 2)
    scene, slots = tokenizer.split(tokenizer.read(images))
    true_scene, true_slots = tokenizer.split(latents)
    error = F.smooth_l1_loss(scene, true_scene, beta=0.1)
    place = F.smooth_l1_loss(slots[..., :2], true_slots[..., :2], beta=0.05, reduction="none").mean(-1)
    dots = F.smooth_l1_loss(tokenizer.dots_at(images), true_slots[..., :2], beta=0.3)
    turn = F.smooth_l1_loss(slots[..., 2:4], true_slots[..., 2:4], beta=0.05, reduction="none").mean(-1)
    lamp = (slots[..., 5] - true_slots[..., 5]).square() * 0.1
    weighed = place * torch.tensor([2.0, 0.3]) + turn * torch.tensor([4.0, 0.5]) + lamp
    return error + dots + weighed.mean()


@torch.no_grad()
def quality(tokenizer: ChaseTokenizer, scenes: Scenes, count: int = 48) -> str:
    where = scenes.held_out[:: max(1, len(scenes.held_out) // count)]
    frames, latents = scenes.take(where)
    truth = frames.float() / 255
    made = torch.cat([tokenizer.draw(latents[k : k + 1]) for k in range(len(latents))]).clamp(0, 1)
    psnr = -10 * (made - truth).square().mean().log10()
    edges = [(image[:, :, 1:] - image[:, :, :-1]).square().mean() for image in (made, truth)]
    read = tokenizer.encode(frames)
    (_, slots), (_, true) = tokenizer.split(read), tokenizer.split(latents)
    away = (tokenizer.metres(slots) - tokenizer.metres(true)).norm(dim=-1).median(0).values
    turn = (slots[:, 0, 2:4] - true[:, 0, 2:4]).norm(dim=-1).median()
    return (
        f"held out {psnr:.2f} dB, edge energy {edges[0] / edges[1]:.3f}; read: player {away[0]:.2f} m, rival "
        f"{away[1]:.2f} m, heading {turn:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/drive"))
    parser.add_argument("--part", choices=("decoder", "encoder"), required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--resume", action="store_true")
    options = begun(parser)
    run(options, fresh_tokenizer(), Scenes(options.out))


def groups_of(tokenizer: ChaseTokenizer, part: str) -> tuple[list[list[torch.nn.Parameter]], list[float]]:
    """What this part trains, and how fast: maps quicker than the networks that read them."""
    if part == "encoder":
        return [[*tokenizer.trunk.parameters(), *tokenizer.find.parameters()]], [1.2e-3]
    tables = [tokenizer.land, tokenizer.far_land, tokenizer.panorama, tokenizer.textures, tokenizer.screen]
    tables += [tokenizer.panel, tokenizer.gauge, tokenizer.dots]
    fields = [tokenizer.ground_field, tokenizer.sky_field, tokenizer.standing_field, tokenizer.car_field]
    return [tables, [p for field in fields for p in field.parameters()]], [1.2e-2, 3e-3]


def loss_of(tokenizer: ChaseTokenizer, scenes: Scenes, part: str) -> Tensor:
    if part == "encoder":
        frames, latents = scenes.draw(48)
        with torch.autocast("cpu", torch.bfloat16):
            return reading_loss(tokenizer, frames.float() / 255, latents)
    frames, latents = scenes.draw(BATCH)
    images = frames.float() / 255
    with torch.no_grad():
        free = ~standing(tokenizer, latents)
    weight = 1 + 3 * (~free[:WHOLE]).float()[..., None]
    whole = ((tokenizer.draw(latents[:WHOLE]) - images[:WHOLE]).square() * weight).mean()
    return backdrop_loss(tokenizer, images, latents, free) + whole


def run(options: argparse.Namespace, tokenizer: ChaseTokenizer, scenes: Scenes) -> None:
    groups, rates = groups_of(tokenizer, options.part)
    eps = 1e-12 if options.part == "decoder" else 1e-8  # a cell of the map is seen rarely and weakly
    optimiser = torch.optim.Adam(
        [{"params": group, "lr": rate} for group, rate in zip(groups, rates, strict=True)], betas=(0.9, 0.99), eps=eps
    )
    course = Run(
        RunPlan.of(options), optimiser, {"tokenizer": tokenizer}, name=options.part,
        weights=(f"{options.part}.safetensors", tokenizer), shape=cosine(100),
    )  # fmt: skip
    course.train(lambda: loss_of(tokenizer, scenes, options.part), lambda: quality(tokenizer, scenes), options.part)


if __name__ == "__main__":
    main()
