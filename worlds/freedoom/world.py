"""The keep as a playable world: its networks filled from the shipped weights.

Owns how large they are, and how a walker is written as a latent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model.dynamics.places import PlaneConfig
from ...model.dynamics.slots import Dynamics, DynamicsConfig
from ...model.generator.ticks import RollingGenerator
from ...model.tokenizers.scenes.place_rays import ViewConfig
from ...model.tokenizers.scenes.place_view import POSITION_SCALE_UNITS, SPEED_UNITS, SPEEDS, PlaceTokenizer
from ...runtime.core import Clock, WorldInfo
from ..neural.rest import RestRule
from ..neural.shipped import DYNAMICS, SEEDS, TOKENIZER, filled, load_seeds, parts, weights_sha256
from ..neural.world import NeuralWorld
from .teacher.plan import CELL_UNITS, LAMPS, load_grid
from .teacher.walk import FRICTION, Walkers

if TYPE_CHECKING:
    from ..neural.staged import StagedParts

__all__ = [
    "DYNAMICS", "SEEDS", "TOKENIZER", "build", "dynamics_config", "fresh_tokenizer", "latents_of", "load_networks",
    "load_seeds", "new_generator", "staged_parts", "walkers_of", "weights_sha256",
]  # fmt: skip

PLANES = ((64.0, 16), (16.0, 16), (8.0, 12))
"""Units between knots, and channels, of what the dynamics learns of each place."""
LOOK, MOVES = (0, 1), (1, 3)
"""Numbers of the condition: look_x; move_x and move_y. Then the buttons light and dark."""
RESTING_UNITS = 0.5
"""With hands off the moves, a walker who would go less far stands."""
ROLLS_ON = 1 + FRICTION
"""Tics' worth of its speed that a walker still goes in a tick after letting go."""
WINDOW = 8


def knots(spacing: float) -> tuple[int, int]:
    rows, columns = (1 + math.ceil(n * CELL_UNITS / spacing) for n in load_grid().shape)
    return rows, columns


def dynamics_config() -> DynamicsConfig:
    """A walker's pose and speed are all there is, so a short past is enough."""
    unit = SPEED_UNITS / POSITION_SCALE_UNITS
    return DynamicsConfig(
        scene_dim=SPEEDS + len(LAMPS), slots=1, condition_dim=5, width=96, layers=3, heads=4, window=WINDOW, coast=1.0,
        rolls=(0, 1, unit, -unit), settles=0, temperature=0.05,
        rests=RestRule(*MOVES, RESTING_UNITS / POSITION_SCALE_UNITS, turning=LOOK),
        planes=tuple(PlaneConfig(*knots(units), units / POSITION_SCALE_UNITS, n) for units, n in PLANES),
    )  # fmt: skip


def latents_of(walkers: Walkers) -> NDArray[np.float32]:
    """As the network knows them, `(walkers, latent_dim)`."""
    rows, columns = load_grid().shape
    w, cos, sin = walkers, np.cos(walkers.angle), np.sin(walkers.angle)
    ahead, right = (v * ROLLS_ON / SPEED_UNITS for v in (w.vx * cos + w.vy * sin, w.vx * sin - w.vy * cos))
    one = np.ones_like(cos)
    place_x = (w.x - columns * CELL_UNITS / 2) / POSITION_SCALE_UNITS
    place_y = (w.y - rows * CELL_UNITS / 2) / POSITION_SCALE_UNITS
    lamps = np.where(w.lit, 1.0, -1.0).T
    return np.stack([ahead, right, *lamps, place_x, place_y, cos, sin, one, -one], -1).astype(np.float32)


def walkers_of(latents: NDArray[Any]) -> Walkers:
    """The other way, from `(walkers, latent_dim)`."""
    rows, columns = load_grid().shape
    numbers = latents.T.astype(np.float64)
    x, y, cos, sin = numbers[SPEEDS + len(LAMPS) :][:4]
    angle = np.arctan2(sin, cos)
    ahead, right = numbers[:SPEEDS] * SPEED_UNITS / ROLLS_ON
    cos, sin = np.cos(angle), np.sin(angle)
    return Walkers(
        x * POSITION_SCALE_UNITS + columns * CELL_UNITS / 2, y * POSITION_SCALE_UNITS + rows * CELL_UNITS / 2, angle,
        ahead * cos + right * sin, ahead * sin - right * cos, numbers[SPEEDS : SPEEDS + len(LAMPS)].T > 0,
    )  # fmt: skip


def fresh_tokenizer() -> PlaceTokenizer:
    """With the plan, and nothing learned."""
    return PlaceTokenizer(view_config())


def view_config() -> ViewConfig:
    grid = load_grid()
    floor, ceiling, solid, sky = (
        tuple(tuple(float(value) for value in row) for row in part)
        for part in (grid.floor, grid.ceiling, grid.solid, grid.sky)
    )
    lamps = tuple(tuple(int(value) for value in row) for row in grid.lamps)
    return ViewConfig(floor, ceiling, solid, sky, lamps, cell=CELL_UNITS)


def load_networks(folder: Path, device: str = "cpu") -> tuple[PlaceTokenizer, Dynamics]:
    """Tokenizer and dynamics from a folder with their safetensors files."""
    return filled(folder, fresh_tokenizer(), dynamics_config(), device)


def staged_parts(folder: Path) -> StagedParts:
    return parts(folder, fresh_tokenizer(), dynamics_config())


def new_generator(
    tokenizer: PlaceTokenizer, dynamics: Dynamics, rows: int = 1, window: int | None = None
) -> RollingGenerator[PlaceTokenizer]:
    """The generator over a place: it asks of a tokenizer what all kinds offer by the same names."""
    return RollingGenerator(tokenizer, dynamics, rows, window)


def build(
    info: WorldInfo, folder: Path, synonyms: Mapping[str, str], clock: Clock | None = None, *, device: str = "cpu"
) -> NeuralWorld:
    tokenizer, dynamics = load_networks(folder, device)
    return NeuralWorld(info, new_generator(tokenizer, dynamics), load_seeds(folder), synonyms, clock)
