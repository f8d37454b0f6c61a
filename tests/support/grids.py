"""Small random grid networks, frames to fit them to, and a world folder made of them, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from nextframe.model.dynamics.grid import GridConfig, GridDynamics
from nextframe.model.generator.grid_generator import GridGenerator
from nextframe.model.tokenizers.frames import FrameConfig, FrameTokenizer, fill, fit_patches

FRAMES = FrameConfig(16, 24, patch_px=8, channels=6, refine_width=8, refine_blocks=1)
GRID = GridConfig(2, 3, 6, condition_dim=3, width=32, layers=2, heads=2, window=5)


def moving_squares(count: int, *, seed: int = 0) -> Tensor:
    """`(count, 16, 24, 3)` uint8: a bright square somewhere on a dark ground, so that patches differ."""
    draw = torch.Generator().manual_seed(seed)
    frames = torch.full((count, FRAMES.height_px, FRAMES.width_px, 3), 30, dtype=torch.uint8)
    for frame in frames:
        y, x = (int(torch.randint(side - 6, (1,), generator=draw)) for side in frame.shape[:2])
        frame[y : y + 6, x : x + 6] = torch.randint(120, 255, (3,), generator=draw, dtype=torch.uint8)
    return frames


def small_tokenizer(config: FrameConfig = FRAMES) -> FrameTokenizer:
    torch.manual_seed(4)
    tokenizer, frames = FrameTokenizer(config), moving_squares(200)
    fill(tokenizer, fit_patches(frames, config.patch_px), frames)
    return tokenizer.eval().requires_grad_(False)


def random_grid(config: GridConfig = GRID, *, seed: int = 0) -> GridDynamics:
    """Moved away from its initialisation, where outputs are zero and every test would pass."""
    torch.manual_seed(seed)
    dynamics = GridDynamics(config)
    with torch.no_grad():
        for parameter in dynamics.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
        dynamics.base.weight.copy_(torch.randn_like(dynamics.base.weight) * 0.01)
    return dynamics.eval().requires_grad_(False)


def grid_generator(config: GridConfig = GRID, *, rows: int = 1, window: int | None = None) -> GridGenerator:
    return GridGenerator(small_tokenizer(), random_grid(config), rows, window)


def grid_past(ticks: int, rows: int = 1, *, seed: int = 2) -> tuple[Tensor, Tensor]:
    """Latents of real frames `(rows, ticks, latent_dim)`, and conditions `(rows, ticks, 3)`."""
    tokenizer, draw = small_tokenizer(), torch.Generator().manual_seed(seed)
    latents = tokenizer.encode(moving_squares(rows * ticks, seed=seed)).view(rows, ticks, -1)
    return tokenizer.canonical(latents), torch.rand(rows, ticks, 3, generator=draw)


def world_document(**changes: Any) -> dict[str, Any]:
    """A `world.yaml` of the networks above; `changes` to its parameters."""
    sizes = {"patch_px": 8, "channels": 6, "refine_width": 8, "refine_blocks": 1, "width": 32, "layers": 2, "heads": 2,
             "window": 5}  # fmt: skip
    return {
        "name": "squares", "kind": "pixels", "width_px": 24, "height_px": 16, "tick_hz": 20, "ladder": [1, 2, 4],
        "actions": {"axes": ["steer"], "buttons": ["left", "right"]},
        "weights": ["tokenizer.safetensors", "dynamics.safetensors", "seeds.safetensors"],
        "parameters": {"sizes": sizes, "base": "ridge", "exclusive": [["left", "right"]], **changes},
    }  # fmt: skip


def write_world(folder: Path, document: dict[str, Any] | None = None) -> Path:
    """A folder that plays, as `nextframe train` leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    latents, conditions = grid_past(8, rows=3)
    save_file(small_tokenizer().state_dict(), folder / "tokenizer.safetensors")
    save_file(random_grid().state_dict(), folder / "dynamics.safetensors")
    save_file({"latents": latents.contiguous(), "conditions": conditions}, folder / "seeds.safetensors")
    (folder / "world.yaml").write_text(yaml.safe_dump(document or world_document()), encoding="utf-8")
    return folder
