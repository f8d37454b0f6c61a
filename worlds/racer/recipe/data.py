"""Episodes of CarRacing for training and for holding out, as shards that a training run may read while more are made.

    python -m nextframe.worlds.racer.recipe.data --out runs/racer/data --seed 0 --shards 24

A shard is `<split>-<seed>-<number>.npz`, not compressed: `frames (N, 64, 64, 3)` uint8, `actions (N, 3)` float32 (the
controls held from this frame to the next), `episodes (N,)` int32, `poses (N, 5)` float32 (x, y, heading, speed, wheels
on the road) and `bends (N,)` float32 (radians a metre ahead). It appears under its name only when it is whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..teacher.driver import Explorer
from ..teacher.game import Controls, Frame, Game, Place

SHARD_FRAMES = 5000
EPISODE_TICKS = (150, 400)
HELD_OUT_SEEDS = 900_000_000
"""Tracks from here on are never trained on."""
HELD_OUT = 1000
"""Data seeds from here on use held-out tracks."""


def start_place(rng: np.random.Generator) -> Place | None:
    """Half of the episodes begin at the line; the others anywhere on the lap, some beside the road or turned."""
    kind = rng.random()
    if kind < 0.4:
        return None
    lap = float(rng.random())
    if kind < 0.7:
        return Place(lap, float(rng.normal(0, 1.5)), float(rng.normal(0, 0.2)))
    return Place(lap, float(rng.uniform(-16, 16)), float(rng.uniform(-np.pi, np.pi)) if kind > 0.9 else 0.0)


def make_shard(seed: int, episode: int) -> tuple[dict[str, Any], int]:
    """At least `SHARD_FRAMES` ticks of whole episodes, and the number of the next episode."""
    game = Game()
    frames: list[Frame] = []
    actions: list[Controls] = []
    episodes: list[int] = []
    poses: list[tuple[float, ...]] = []
    bends: list[float] = []
    while len(frames) < SHARD_FRAMES:
        rng = np.random.default_rng((seed, episode))
        frame = game.reset(int(rng.integers(HELD_OUT_SEEDS)) + (HELD_OUT_SEEDS if seed >= HELD_OUT else 0),
                           start_place(rng))  # fmt: skip
        driver = Explorer(rng)
        for _ in range(int(rng.integers(*EPISODE_TICKS))):
            pose = game.pose
            controls = driver(frame, pose.speed_m_s)
            frames.append(frame)
            actions.append(controls)
            episodes.append(episode)
            poses.append(dataclasses.astuple(pose))
            bends.append(game.curvature_ahead())
            frame, goes_on = game.tick(controls)
            if not goes_on:
                break
        episode += 1
    return {
        "frames": np.stack(frames), "actions": np.stack(actions), "episodes": np.array(episodes, np.int32),
        "poses": np.array(poses, np.float32), "bends": np.array(bends, np.float32),
    }, episode  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0, help="data seed; from 1000 on the tracks are held-out ones")
    parser.add_argument("--shards", type=int, default=20, help=f"of {SHARD_FRAMES} frames")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    split = "held" if options.seed >= HELD_OUT else "train"
    episode = 0
    for number in range(options.shards):
        path = options.out / f"{split}-{options.seed}-{number:03d}.npz"
        began = time.monotonic()
        shard, episode = make_shard(options.seed, episode)
        part = path.with_suffix(".part.npz")
        np.savez(part, **shard)
        part.rename(path)
        rate = len(shard["frames"]) / (time.monotonic() - began)
        print(f"{path.name}: {len(shard['frames'])} frames, {episode} episodes so far, {rate:.0f} frames/s", flush=True)


if __name__ == "__main__":
    main()
