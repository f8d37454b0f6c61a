"""A drive world with random weights, as a folder that every command opens: for what does not depend on training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from nextframe.model.stages.ring import StageWeights
from nextframe.model.tokenizers.scenes.chase import ChaseTokenizer
from nextframe.runtime.session.registry import WorldFolder, find_world
from nextframe.worlds.drive.recipe.data import Drivers, condition, latents_of
from nextframe.worlds.drive.teacher.simulator import Simulator
from nextframe.worlds.drive.world import DYNAMICS, SEEDS, TOKENIZER, dynamics_config
from tests.support.networks import random_dynamics

CLIPS, CLIP_TICKS = 2, 6
SHORT = replace(dynamics_config(), width=32, layers=2, heads=2, window=6)


def random_chase() -> ChaseTokenizer:
    """The whole view with random maps: every number of a latent is seen in the picture."""
    torch.manual_seed(3)
    return ChaseTokenizer().eval().requires_grad_(False)


def real_past(rows: int = CLIPS, ticks: int = CLIP_TICKS) -> tuple[Tensor, Tensor]:
    """What the simulator's drivers did, as latents `(rows, ticks, latent_dim)` and conditions `(rows, ticks, n)`."""
    simulator = Simulator()
    states, drivers = simulator.reset(list(range(rows))), Drivers(simulator, rows, 3)
    latents, conditions = [], []
    for _ in range(ticks):
        controls = drivers.controls(states)
        states = simulator.step(states, controls)
        latents.append(latents_of(simulator, states))
        conditions.append(condition(controls, states))
    return torch.from_numpy(np.stack(latents, 1)), torch.from_numpy(np.stack(conditions, 1))


def store_short(folder: Path) -> StageWeights:
    """Two narrow layers and the whole tokenizer."""
    weights = StageWeights(folder / DYNAMICS, folder / TOKENIZER)
    save_file(random_dynamics(SHORT).state_dict(), weights.dynamics)
    save_file(random_chase().state_dict(), weights.tokenizer)
    return weights


def drive_folder(folder: Path, *, also: Sequence[str] = ()) -> WorldFolder:
    """The shipped world's file beside random weights of the shipped sizes. `also`: lines for its end."""
    folder.mkdir(parents=True, exist_ok=True)
    text = (find_world("drive").path / "world.yaml").read_text()
    (folder / "world.yaml").write_text("\n".join([text, *also]))
    save_file(random_dynamics(dynamics_config()).state_dict(), folder / DYNAMICS)
    save_file(random_chase().state_dict(), folder / TOKENIZER)
    latents, conditions = real_past()
    save_file({"latents": latents.contiguous(), "conditions": conditions.contiguous()}, folder / SEEDS)
    return find_world(str(folder))
