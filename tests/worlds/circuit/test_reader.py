"""What reads the circuit's cars: taught on scenes at the mouths of roofs, alone, and resumable."""

from __future__ import annotations

import argparse
import copy
import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nextframe.model.tokenizers.scenes.still import POSITION_SCALE_PX
from nextframe.worlds.circuit.recipe.data import still_scenes
from nextframe.worlds.circuit.recipe.tokenizer import reader_of, reader_optimiser, train
from nextframe.worlds.circuit.teacher.simulator import Car
from nextframe.worlds.circuit.teacher.track import HEIGHT_PX, WIDTH_PX
from nextframe.worlds.recipe import run as training_run
from tests.support.networks import renderer, shipped_tokenizer

SCENES = 96


def shown_shares(labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much of each car shows, `(scenes, 2)`."""
    return np.array([[renderer().visible(Car(x, y, math.atan2(s, c))) for x, y, c, s, *_ in row] for row in labels])


def test_half_of_the_scenes_at_mouths_have_a_car_partly_under_a_roof() -> None:
    def partly(mouths: float) -> float:
        _, labels = still_scenes(SCENES, seed=5, mouths=mouths)
        shown = shown_shares(labels)
        return float(((shown > 0.02) & (shown < 0.98)).any(1).mean())

    assert partly(0.0) < 0.35
    assert partly(1.0) > 0.5


def test_scenes_without_mouths_are_the_same_as_ever() -> None:
    frames, _ = still_scenes(4, seed=5)
    some, _ = still_scenes(4, seed=5, mouths=0.5)
    assert np.array_equal(frames[0], still_scenes(1, seed=5)[0][0])
    assert not np.array_equal(frames[0], some[0])


def test_the_shipped_reader_finds_cars_at_the_mouths_of_roofs() -> None:
    """Of what is shown to a fifth at least, nearly everything is read within three pixels. The control: a reader that
    looks at other pictures."""
    frames, labels = still_scenes(SCENES, seed=6, mouths=1.0)
    tokenizer = shipped_tokenizer()

    def close(shown: torch.Tensor) -> float:
        with torch.inference_mode():
            _, slots = tokenizer.split(tokenizer.encode(shown))
        place = slots[..., :2] * POSITION_SCALE_PX + torch.tensor([WIDTH_PX / 2, HEIGHT_PX / 2])
        off = (place - torch.from_numpy(labels[..., :2])).norm(dim=-1).numpy()
        return float((off[shown_shares(labels) > 0.2] < 3).mean())

    assert close(torch.from_numpy(frames)) > 0.97
    assert close(torch.from_numpy(frames).roll(1, 0)) < 0.3


def test_training_the_reader_moves_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps, by a clock that says a step takes a second: the first has no rate yet, and a step takes 5 s where the
    processor has no bfloat16."""
    tokenizer = copy.deepcopy(shipped_tokenizer())
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    frames, labels = (torch.from_numpy(part) for part in still_scenes(8, seed=7, mouths=1.0))
    seconds = itertools.count()
    monkeypatch.setattr(training_run, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    two_steps = 2 / 60
    options = argparse.Namespace(out=tmp_path, part="reader", minutes=two_steps, batch=4, device="cpu", resume=False)
    train(tokenizer, reader_optimiser(tokenizer), frames, labels, options)
    moved = {
        name.split(".")[0] for name, value in tokenizer.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved == {"find", "refine"}
    assert torch.load(tmp_path / "reader.checkpoint", weights_only=True)["step"] == 2
    assert len(reader_of(tokenizer)) == sum(p.requires_grad for p in tokenizer.parameters())
