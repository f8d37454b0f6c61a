"""A checkpoint's averaged weights, short pasts from held-out tracks, and `world.yaml`: a folder that plays.

python -m nextframe.worlds.racer.recipe.export runs/racer/b/checkpoint.pt --data runs/racer/data --out worlds/racer
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ..teacher.driver import road_aim, wheels_on_road
from ..world import NETWORK, SEEDS, network_config

CLIPS, CLIP_TICKS = 12, 8
MIN_SPEED_M_S = 8.0


def seed_clips(data: Path) -> dict[str, torch.Tensor]:
    """Moments of held-out episodes in which the car drives on a road that goes on: frames, and what led into each."""
    frames, controls = [], []
    for path in sorted(data.glob("held-*.npz")):
        with np.load(path) as held:
            episodes, seen, actions, poses = held["episodes"], held["frames"], held["actions"], held["poses"]
        for episode in np.unique(episodes):
            inside = np.flatnonzero(episodes == episode)
            for start in inside[1 : len(inside) - CLIP_TICKS : 5]:
                last = start + CLIP_TICKS - 1
                if poses[last, 3] < MIN_SPEED_M_S or poses[start : last + 1, 4].min() < 4:
                    continue
                if road_aim(seen[last]) is not None and wheels_on_road(seen[last]):
                    frames.append(seen[start : last + 1])
                    controls.append(actions[start - 1 : last])
                    break
    chosen = np.linspace(0, len(frames) - 1, CLIPS).astype(int)
    return {
        "frames": torch.from_numpy(np.stack([frames[at] for at in chosen])),
        "controls": torch.from_numpy(np.stack([controls[at] for at in chosen])),
    }


def export(checkpoint: Path, data: Path, out: Path) -> None:
    state = torch.load(checkpoint, weights_only=True)
    expected = network_config()
    found = {**state["unet"], **{k: tuple(v) for k, v in state["unet"].items() if isinstance(v, list | tuple)}}
    if found != vars(expected):
        raise SystemExit(f"{checkpoint}: expected a network of {expected}, got {found}")
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.to(torch.float16).contiguous() for name, tensor in state["average"].items()}
    save_file(weights, out / NETWORK)
    save_file(seed_clips(data), out / SEEDS)
    for name in (NETWORK, SEEDS):
        (out / name).chmod(0o644)
    shutil.copy(Path(__file__).with_name("world.yaml"), out / "world.yaml")
    print(f"{out}: step {state['steps']}, {state['frames']} frames seen, {state['seconds'] / 3600:.2f} h")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    export(options.checkpoint, options.data, options.out)


if __name__ == "__main__":
    main()
