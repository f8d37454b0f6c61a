"""Training the road course: every source of clips is drawn from, a step is learned, and a stopped run goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from nextframe.model.base.checkpoint import load_into, load_tensors
from nextframe.model.dynamics.slots import Dynamics
from nextframe.model.tokenizers.scenes.chase import ChaseTokenizer
from nextframe.runtime.session.registry import find_world
from nextframe.worlds.drive.recipe import dynamics as train_dynamics
from nextframe.worlds.drive.recipe.dynamics import Dreams, Drives, Ghosts, loss_of
from nextframe.worlds.drive.teacher.simulator import Simulator
from nextframe.worlds.drive.world import DYNAMICS, TOKENIZER, dynamics_config
from nextframe.worlds.recipe.clips import Clips
from nextframe.worlds.recipe.run import places_optimiser


@pytest.fixture
def tokenizer() -> ChaseTokenizer:
    filled = ChaseTokenizer()
    load_into(filled, find_world("drive").path / TOKENIZER)
    return filled.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    for pool, sizes in (
        (Drives, {"PARTS": 1, "ROWS": 6, "TICKS": 40}),
        (Dreams, {"ROWS": 4, "TICKS": 24, "SETTLE_TICKS": 0}),
        (Ghosts, {"ROWS": 8}),
    ):
        for name, size in sizes.items():
            monkeypatch.setattr(pool, name, size)


def options(out: Path, **changed: object) -> argparse.Namespace:
    given = {
        "out": out, "minutes": 0.005, "batch": 8, "rate": 1e-3, "own_from": -1.0, "compile": False, "resume": True,
        "device": "cpu", "weights": None,
    }  # fmt: skip
    return argparse.Namespace(**(given | changed))


def test_a_run_that_was_stopped_keeps_its_steps(
    tmp_path: Path, tokenizer: ChaseTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Clips] = []

    def watched(dynamics: Dynamics, tokenizer: ChaseTokenizer, clips: Clips, own_share: float) -> torch.Tensor:
        drawn.append(clips)
        return loss_of(dynamics, tokenizer, clips, own_share)

    monkeypatch.setattr(train_dynamics, "watch", lambda *_: "fine")
    monkeypatch.setattr(train_dynamics, "loss_of", watched)
    train_dynamics.train(options(tmp_path), tokenizer, Simulator())
    first = torch.load(tmp_path / "dynamics.checkpoint", weights_only=True)
    assert first["step"] > 0
    assert drawn[0].dreamt.tolist() == [True] * 2 + [False] * 3 + [True] * 3, "ghosts, drives, free runs"
    train_dynamics.train(options(tmp_path, minutes=(first["spent_s"] + 0.3) / 60), tokenizer, Simulator())
    assert torch.load(tmp_path / "dynamics.checkpoint", weights_only=True)["step"] > first["step"]


def test_a_run_may_go_on_from_the_shipped_weights(
    tmp_path: Path, tokenizer: ChaseTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_dynamics, "watch", lambda *_: "fine")
    folder = find_world("drive").path
    train_dynamics.train(options(tmp_path, weights=folder, minutes=1e-6), tokenizer, Simulator())
    shipped, trained = load_tensors(folder / DYNAMICS), load_tensors(tmp_path / DYNAMICS)
    assert all(torch.allclose(trained[name], shipped[name], atol=0.01) for name in shipped)


def test_steps_on_the_teachers_drives_lower_the_loss(tokenizer: ChaseTokenizer) -> None:
    torch.manual_seed(0)
    dynamics = Dynamics(dynamics_config())
    optimiser = places_optimiser(dynamics, 2e-3)
    clips = Drives(Simulator()).clips(8, 0.0)
    losses = []
    for _ in range(12):
        loss = loss_of(dynamics, tokenizer, clips, own_share=0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
