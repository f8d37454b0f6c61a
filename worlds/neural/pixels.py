"""Worlds that `nextframe train` makes: a grid tokenizer and grid dynamics, read from a folder.

Which files hold what, the sizes in `world.yaml`'s parameters, and controls that exclude each other: a game with a
list of actions takes one at a time, so of two held buttons of a group the network is told the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...model.base.checkpoint import CheckpointError, fill_exactly, load_tensors, sha256
from ...model.dynamics.grid import GridConfig, GridDynamics
from ...model.generator.grid_generator import GridGenerator
from ...model.tokenizers.frames import FrameConfig, FrameTokenizer
from ...runtime.core import Action, Clock, ConfigError, WeightsError, WorldInfo
from .world import NeuralWorld, SeedClips

TOKENIZER, DYNAMICS, SEEDS = "tokenizer", "dynamics", "seeds"
SIZES = ("patch_px", "channels", "refine_width", "refine_blocks", "width", "layers", "heads", "window")
MAX_SIZE = 8192


@dataclass(frozen=True)
class PixelShape:
    """What `parameters` of a `kind: pixels` world say. `exclusive`: groups of buttons of which one at a time counts."""

    frames: FrameConfig
    grid: GridConfig
    exclusive: tuple[tuple[str, ...], ...]


class PixelWorld(NeuralWorld):
    """A `NeuralWorld` whose buttons may exclude each other."""

    exclusive: tuple[tuple[str, ...], ...] = ()

    def condition(self, action: Action, prompt: Mapping[str, str]) -> Any:
        return super().condition(one_of_each(action, self.exclusive), prompt)


def one_of_each(action: Action, exclusive: Sequence[Sequence[str]]) -> Action:
    """The action with at most one button of each group, the first in the order of the group."""
    held = set(action.buttons)
    for group in exclusive:
        pressed = [name for name in group if name in held]
        held -= set(pressed[1:])
    return action if len(held) == len(action.buttons) else replace(action, buttons=frozenset(held))


def shape_of(info: WorldInfo, parameters: Mapping[str, Any], source: str) -> PixelShape:
    """The sizes of the networks, checked before any is made. ConfigError says which number is wrong, and where."""
    sizes = parameters.get("sizes")
    if not isinstance(sizes, Mapping):
        raise ConfigError(f"{source}: parameters.sizes: expected {', '.join(SIZES)}, got {sizes!r}")
    numbers: dict[str, int] = {}
    for name in SIZES:
        value = sizes.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_SIZE:
            raise ConfigError(f"{source}: parameters.sizes.{name}: expected 0 to {MAX_SIZE}, got {value!r}")
        numbers[name] = value
    tiles = sizes.get("tiles", 0)
    if not isinstance(tiles, int) or isinstance(tiles, bool) or not 0 <= tiles <= MAX_SIZE:
        raise ConfigError(f"{source}: parameters.sizes.tiles: expected 0 to {MAX_SIZE}, got {tiles!r}")
    base, exclusive = parameters.get("base"), parameters.get("exclusive", [])
    if not isinstance(exclusive, list) or not all(isinstance(group, list) for group in exclusive):
        raise ConfigError(f"{source}: parameters.exclusive: expected lists of buttons, got {exclusive!r}")
    unknown = {str(name) for group in exclusive for name in group} - set(info.actions.buttons)
    if unknown:
        raise ConfigError(f"{source}: parameters.exclusive: expected buttons of this world, got {sorted(unknown)}")
    dim = len(info.actions.axes) + len(info.actions.buttons) + sum(map(len, info.actions.prompts.values()))
    try:
        patch_px, channels, *refiner = (numbers[name] for name in SIZES[:4])
        frames = FrameConfig(info.height_px, info.width_px, patch_px, channels, refiner[0], refiner[1], tiles)
        width, layers, heads, window = (numbers[name] for name in SIZES[4:])
        grid = GridConfig(
            frames.rows, frames.columns, frames.channels, dim, width, layers, heads, window, str(base), info.ladder,
            levels_of(info.ladder),
        )  # fmt: skip
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{source}: parameters: {error}") from error
    return PixelShape(frames, grid, tuple(tuple(map(str, group)) for group in exclusive))


def levels_of(ladder: Sequence[int]) -> tuple[float, ...]:
    """The noise level before each denoise step that these worlds are trained with."""
    return (0.0, 0.5, 0.75, 0.9)[: ladder[-1]]


def weight_files(names: Sequence[str], part: str) -> list[str]:
    """The files of one part: `dynamics.safetensors`, or `dynamics-1.safetensors` and so on where it was split."""
    return [name for name in names if name == f"{part}.safetensors" or name.startswith(f"{part}-")]


def weights_sha256(folder: Path, names: Sequence[str]) -> str:
    try:
        return sha256([folder / name for name in names])
    except CheckpointError as error:
        raise WeightsError(str(error)) from error


def load_networks(folder: Path, names: Sequence[str], shape: PixelShape) -> tuple[FrameTokenizer, GridDynamics]:
    tokenizer, dynamics = FrameTokenizer(shape.frames), GridDynamics(shape.grid)
    try:
        fill_exactly(tokenizer, _merged(folder, weight_files(names, TOKENIZER)), str(folder / TOKENIZER))
        fill_exactly(dynamics, _merged(folder, weight_files(names, DYNAMICS)), str(folder / DYNAMICS))
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    return tokenizer, dynamics


def build(
    info: WorldInfo, folder: Path, names: Sequence[str], parameters: Mapping[str, Any], clock: Clock | None = None
) -> PixelWorld:
    """The world of a folder. `names`: its weight files, as `world.yaml` lists them."""
    shape = shape_of(info, parameters, str(folder / "world.yaml"))
    tokenizer, dynamics = load_networks(folder, names, shape)
    try:
        seeds = _merged(folder, weight_files(names, SEEDS))
    except CheckpointError as error:
        raise WeightsError(str(error)) from error
    expected = {"latents": shape.grid.latent_dim, "conditions": shape.grid.condition_dim}
    for name, size in expected.items():
        if name not in seeds or seeds[name].dim() != 3 or seeds[name].shape[-1] != size:
            got = tuple(seeds[name].shape) if name in seeds else None
            raise WeightsError(f"{folder / SEEDS}: expected {name} of (clips, ticks, {size}), got {got}")
    clips = SeedClips(seeds["latents"], seeds["conditions"])
    world = PixelWorld(info, GridGenerator(tokenizer, dynamics), clips, {}, clock)
    world.exclusive = shape.exclusive
    return world


def _merged(folder: Path, names: Sequence[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name in names:
        merged |= load_tensors(folder / name)
    return merged
