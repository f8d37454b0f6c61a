"""How the keep is learned: what the losses ask for, what a batch holds, and that a run goes on where it stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from nextframe.model.dynamics.slots import Dynamics
from nextframe.model.tokenizers.scenes.place_view import SPEEDS, PlaceTokenizer
from nextframe.worlds.freedoom.recipe import looks as train_looks
from nextframe.worlds.freedoom.recipe import walk as train_walk
from nextframe.worlds.freedoom.recipe.looks import HELD_OUT, Shots, looks_loss
from nextframe.worlds.freedoom.recipe.walk import Lessons, corrupt, loss_of, objective
from nextframe.worlds.freedoom.recipe.walks import anywhere, walks
from nextframe.worlds.freedoom.teacher.plan import LAMPS
from nextframe.worlds.freedoom.teacher.walk import Walk
from nextframe.worlds.freedoom.world import dynamics_config, fresh_tokenizer, latents_of


@pytest.fixture(scope="module")
def tokenizer() -> PlaceTokenizer:
    torch.manual_seed(0)
    return fresh_tokenizer()


@pytest.fixture(scope="module")
def dynamics() -> Dynamics:
    torch.manual_seed(0)
    return Dynamics(dynamics_config())


def true_latents() -> torch.Tensor:
    return torch.from_numpy(walks(Walk(), 4, 6, seed=1)[0])


def test_the_truth_costs_least_and_every_number_counts(dynamics: Dynamics) -> None:
    truth = true_latents()
    least = objective(dynamics, truth, truth)
    for number in (0, 1, *range(SPEEDS, SPEEDS + len(LAMPS)), -6, -5, -4, -3):
        wrong = truth.clone()
        wrong[..., number] += 0.1
        assert (objective(dynamics, wrong, truth) > least + 1e-3).all(), number


def test_a_corrupted_past_has_the_same_lamps_and_another_pose(dynamics: Dynamics) -> None:
    torch.manual_seed(0)
    truth = true_latents()
    rough = corrupt(dynamics, truth, torch.ones(len(truth)))
    lamps = slice(SPEEDS, SPEEDS + len(LAMPS))
    assert torch.equal(rough[..., lamps], truth[..., lamps])
    assert (rough[..., -6:-2] != truth[..., -6:-2]).float().mean() > 0.9
    assert torch.equal(corrupt(dynamics, truth, torch.zeros(len(truth)))[..., :2], truth[..., :2])


def test_a_batch_has_walks_ghosts_and_once_there_are_any_free_runs(
    tokenizer: PlaceTokenizer, dynamics: Dynamics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lessons, "ROWS", 16)
    monkeypatch.setattr(Lessons, "DREAMS", (8, 30))
    torch.manual_seed(0)
    lessons = Lessons(tokenizer, dynamics)
    before = lessons.clips(20, 0.0, dreams=False)
    assert before.dreamt.tolist() == [True] * 6 + [False] * 14, "ghosts first"
    assert torch.equal(before.targets[6:], before.histories[6:]), "walks are their own past"
    after = lessons.clips(20, 1.0, dreams=True)
    assert after.dreamt.tolist() == [True] * 6 + [False] * 8 + [True] * 6
    assert not torch.equal(after.targets[-6:], after.histories[-6:])


def test_the_loss_of_a_batch_teaches_every_weight_that_walks(tokenizer: PlaceTokenizer, dynamics: Dynamics) -> None:
    torch.manual_seed(0)
    clips = Lessons(tokenizer, dynamics).clips(6, 0.0, dreams=False)
    loss = loss_of(dynamics, tokenizer, clips, own_share=0.5)
    assert torch.isfinite(loss)
    loss.backward()
    unmoved = [name for name, p in dynamics.named_parameters() if p.grad is None]
    assert not [name for name in unmoved if not name.startswith(("settled", "pull"))], unmoved
    dynamics.zero_grad()


def shots_in(folder: Path, tokenizer: PlaceTokenizer) -> Shots:
    """A few pictures of black, and more to hold out."""
    count = HELD_OUT + 12
    latents = latents_of(anywhere(Walk(), np.random.default_rng(0), count, out=0.5))
    np.save(folder / "latents.npy", latents)
    np.save(folder / "frames.npy", np.zeros((count, 192, 256, 3), np.uint8))
    return Shots(folder)


def test_looks_learn_what_the_pictures_show(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = fresh_tokenizer()
    with torch.no_grad():
        net.looks += 0.5
    shots = shots_in(tmp_path, net)
    optimiser = torch.optim.Adam([net.looks, *net.colour.parameters()], lr=0.05)
    losses = []
    for _ in range(8):
        loss = looks_loss(net, shots)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_a_run_of_the_reader_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_looks, "quality", lambda *_: "fine")
    monkeypatch.setattr(train_looks, "READ", 2)
    torch.manual_seed(0)
    net = fresh_tokenizer()
    shots = shots_in(tmp_path, net)
    options = argparse.Namespace(out=tmp_path, part="reader", minutes=0.005, resume=True)
    train_looks.run(options, net, shots)
    first = torch.load(tmp_path / "reader.checkpoint", weights_only=True)
    assert first["step"] > 0
    options.minutes = (first["spent_s"] + 0.01) / 60
    train_looks.run(options, fresh_tokenizer(), shots)
    assert torch.load(tmp_path / "reader.checkpoint", weights_only=True)["step"] > first["step"]


def test_a_walk_that_was_stopped_keeps_its_steps(
    tmp_path: Path, tokenizer: PlaceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_walk, "watch", lambda *_: "fine")
    monkeypatch.setattr(Lessons, "ROWS", 8)
    options = argparse.Namespace(
        out=tmp_path, minutes=0.005, batch=4, rate=1e-3, own_from=1.0, compile=False, resume=True, device="cpu",
        weights=None,
    )  # fmt: skip
    train_walk.train(options, tokenizer)
    first = torch.load(tmp_path / "dynamics.checkpoint", weights_only=True)
    assert first["step"] > 0
    options.minutes = (first["spent_s"] + 0.3) / 60
    train_walk.train(options, tokenizer)
    assert torch.load(tmp_path / "dynamics.checkpoint", weights_only=True)["step"] > first["step"]
