"""How far a training is: the next frame by rung, and a film of free runs to look at.

    python -m nextframe.worlds.racer.evaluation.progress runs/racer/a/checkpoint.pt --film film.png

Prints one JSON line. In the film, the first column is the start; then come ticks 1 to the last, ever further apart. Of
each session a row of one step, then one of four.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from ....model.base.devices import multiplies_bfloat16
from ....model.dynamics.unet import UNet
from ...evaluation.gates import write_strip
from ..world import SCHEDULE, load_seeds, network_config
from .gates import held_out_moments, measure_next
from .look import Frames
from .rollouts import Dreamer, drive_the_network

COLUMNS, ROWS, TICKS, MOMENTS = 12, 4, 256, 48
WORLD = Path(__file__).parents[1]


def film_of(dreamer: Dreamer, folder: Path, steps: int, ticks: int) -> Frames:
    """`(ROWS, moments, 128, 128, 3)`."""
    clips = load_seeds(folder)
    starts, controls = clips.frames[:ROWS], clips.controls.numpy()[:ROWS]
    shown = np.unique(np.geomspace(1, ticks, COLUMNS).astype(int) - 1)
    film = drive_the_network(dreamer, starts, controls, steps=steps, ticks=ticks)
    return np.concatenate([starts[:, -1:], film.frames[shown].swapaxes(0, 1)], 1).repeat(2, 2).repeat(2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--seeds", type=Path, default=WORLD, help="a folder with seeds.safetensors")
    parser.add_argument("--film", type=Path)
    parser.add_argument("--ticks", type=int, default=TICKS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = torch.load(options.checkpoint, weights_only=True)
    net = UNet(network_config())
    net.load_state_dict(state["average"])
    net.eval().requires_grad_(False)
    dtype = torch.bfloat16 if multiplies_bfloat16(torch.device("cpu")) else torch.float32
    net.trunk.to(dtype)
    dreamer = Dreamer(net, SCHEDULE, dtype)
    if options.film is not None:
        write_strip(options.film, *(film_of(dreamer, options.seeds, steps, options.ticks) for steps in (1, 4)))
    numbers = {name: round(value, 2) for name, value in measure_next(dreamer, held_out_moments(MOMENTS)).items()}
    seen = {"steps": state["steps"], "frames": state["frames"], "minutes": round(state["seconds"] / 60, 1)}
    print(json.dumps(seen | numbers))


if __name__ == "__main__":
    main()
