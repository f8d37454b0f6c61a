"""Trained weights put where a world plays from: three safetensors files, the large maps in float16."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from ...model.base.checkpoint import half, load_tensors
from ..neural.shipped import DYNAMICS, SEEDS, TOKENIZER

CLIPS, CLIP_TICKS = 48, 8
"""Short pasts that sessions start from."""


def mood_of(number: int) -> tuple[int, int]:
    """Weather and time of a seed clip, by their place in the vocabulary: a clear day first, then all twelve in turn."""
    return (number // 3 % 4 if number % 2 else 0), (number % 3 if number % 4 == 3 else 0)


def joined(run: Path, whole: str, part: str, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors of the file `whole`, those that begin with one of `names` from `part`, if it is there."""
    tensors = load_tensors(run / f"{whole}.safetensors")
    if (run / f"{part}.safetensors").exists():
        other = load_tensors(run / f"{part}.safetensors")
        tensors |= {name: value for name, value in other.items() if name.startswith(names)}
    return tensors


def export(
    world: str,
    purpose: str | None,
    *,
    tensors: Callable[[Path], Mapping[str, Tensor]],
    maps: tuple[str, ...],
    seeds: Callable[[Path], Mapping[str, Tensor]],
    arguments: list[str] | None = None,
) -> None:
    """The command. `tensors(run)`: the tokenizer's, of which those that begin with `maps` are halved. `seeds(to)`: the
    seed clips, made when the networks are in `to` already."""
    parser = argparse.ArgumentParser(prog=f"python -m nextframe.worlds.{world}.recipe.export", description=purpose)
    parser.add_argument("--run", type=Path, default=Path("runs") / world)
    parser.add_argument("--to", type=Path, default=Path("worlds") / world)
    options = parser.parse_args(arguments)
    save_file(half(dict(tensors(options.run)), maps), options.to / TOKENIZER)
    save_file(half(load_tensors(options.run / DYNAMICS), ()), options.to / DYNAMICS)
    save_file(dict(seeds(options.to)), options.to / SEEDS)
    for name in (TOKENIZER, DYNAMICS, SEEDS):
        print(f"{options.to / name}: {(options.to / name).stat().st_size / 2**20:.2f} MiB")
