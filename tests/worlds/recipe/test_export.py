"""Claims about exports: from the same checkpoint the same bytes, and those of the weights that ship."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import pytest
import torch

from nextframe.model.base.checkpoint import load_tensors
from nextframe.runtime.session.registry import find_world
from nextframe.worlds.recipe.export import CLIPS, mood_of

PARTS = {"circuit": ("tokenizer",), "drive": ("decoder", "encoder"), "freedoom": ("looks", "reader")}
"""The files that training leaves of a tokenizer."""
READ_FROM_PICTURES = {"circuit"}
"""Worlds whose seed clips are read by the tokenizer, so that they are equal to a few units in the last place only."""


def exported(world: str, folder: Path) -> Path:
    """The shipped weights as if training had just written them, exported again."""
    shipped, run, to = find_world(world).path, folder / "run", folder / "to"
    run.mkdir(), to.mkdir()
    for part in PARTS[world]:
        shutil.copy(shipped / "tokenizer.safetensors", run / f"{part}.safetensors")
    shutil.copy(shipped / "dynamics.safetensors", run)
    import_module(f"nextframe.worlds.{world}.recipe.export").main(["--run", str(run), "--to", str(to)])
    return to


@pytest.mark.parametrize("world", PARTS)
def test_the_weights_that_ship_are_exported_to_the_same_bytes(world: str, tmp_path: Path) -> None:
    to, shipped = exported(world, tmp_path), find_world(world).path
    for name in ("tokenizer.safetensors", "dynamics.safetensors"):
        assert (to / name).read_bytes() == (shipped / name).read_bytes(), name
    if world not in READ_FROM_PICTURES:
        assert (to / "seeds.safetensors").read_bytes() == (shipped / "seeds.safetensors").read_bytes()
    made, stored = load_tensors(to / "seeds.safetensors"), load_tensors(shipped / "seeds.safetensors")
    assert made.keys() == stored.keys()
    for name, value in stored.items():
        assert torch.allclose(made[name].double(), value.double(), atol=1e-4), name


def test_the_first_clip_is_a_clear_day_and_every_mood_comes() -> None:
    assert mood_of(0) == (0, 0)
    moods = [mood_of(number) for number in range(CLIPS)]
    assert {weather for weather, _ in moods} == {0, 1, 2, 3}
    assert {time for _, time in moods} == {0, 1, 2}
