"""Training, in small: thirty steps learn something, and a resumed run goes on where the last one stopped."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from nextframe.model.base.checkpoint import load_into
from nextframe.model.dynamics.slots import Dynamics, DynamicsConfig
from nextframe.runtime.session.registry import find_world
from nextframe.worlds.circuit.recipe import dynamics as train_dynamics
from nextframe.worlds.circuit.recipe.clips import (
    CLIP_TICKS,
    Latents,
    make_episodes,
    returns,
    sample_clips,
)
from nextframe.worlds.circuit.recipe.data import drive
from nextframe.worlds.circuit.recipe.dynamics import corrupt, forget, levels_of, loss_of
from nextframe.worlds.recipe import run as dynamics_run
from nextframe.worlds.recipe.clips import Episodes
from nextframe.worlds.recipe.losses import noise_levels
from tests.support.networks import shipped_dynamics, shipped_tokenizer, simulator

STEPS = 30


@lru_cache(maxsize=1)
def episodes() -> Episodes:
    return make_episodes(Latents(shipped_tokenizer()), 4, CLIP_TICKS + 10, first_seed=0)


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.random.set_rng_state(state)


@pytest.fixture
def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts optimiser steps; a step takes one second of a clock that only its readers move, and nothing is watched."""
    taken: list[int] = []

    def counted(*given: object, **named: object) -> torch.Tensor:
        taken.append(len(taken))
        return loss_of(*given, **named)

    seconds = count()
    monkeypatch.setattr(train_dynamics, "loss_of", counted)
    monkeypatch.setattr(train_dynamics, "watch", lambda *given: "")
    monkeypatch.setattr(dynamics_run, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    return taken


def train(out: Path, steps: int, *, resume: bool = False, own_share: float = 0.0, weights: Path | None = None) -> None:
    options = argparse.Namespace(
        out=out, minutes=steps / 60, batch=4, rate=1.5e-3, resume=resume, compile=False, device="cpu",
        own_share=own_share, weights=weights,
    )  # fmt: skip
    train_dynamics.train(options, shipped_tokenizer(), episodes(), episodes())


def stored_step(out: Path) -> int:
    return int(torch.load(out / "dynamics.checkpoint", weights_only=True)["step"])


def loss_on_the_same_draw(dynamics: Dynamics) -> float:
    torch.manual_seed(5)
    clips = sample_clips(episodes(), 8)
    with torch.no_grad():
        return float(loss_of(dynamics, shipped_tokenizer(), clips, own_share=0.0))


def trained(out: Path) -> Dynamics:
    dynamics = Dynamics(DynamicsConfig())
    load_into(dynamics, out / "dynamics.safetensors")
    return dynamics


def test_thirty_steps_lower_the_loss_and_a_resumed_run_goes_on_from_there(
    tmp_path: Path, steps_taken: list[int]
) -> None:
    untrained = loss_on_the_same_draw(Dynamics(DynamicsConfig()))
    steps_taken.clear()
    train(tmp_path, STEPS)
    assert len(steps_taken) == stored_step(tmp_path) == STEPS
    after = loss_on_the_same_draw(trained(tmp_path))
    assert after < 0.95 * untrained

    steps_taken.clear()
    train(tmp_path, STEPS + 3, resume=True)
    assert len(steps_taken) == 3
    assert stored_step(tmp_path) == STEPS + 3
    assert loss_on_the_same_draw(trained(tmp_path)) < 0.95 * untrained


@pytest.mark.usefixtures("steps_taken")
def test_a_run_may_go_on_from_weights_that_ship(tmp_path: Path) -> None:
    train(tmp_path, 1, weights=find_world("circuit").path)
    shipped = shipped_dynamics().state_dict()
    for name, value in trained(tmp_path).state_dict().items():
        assert torch.allclose(value, shipped[name], atol=0.01), name


def test_without_resume_a_run_starts_anew(tmp_path: Path, steps_taken: list[int]) -> None:
    train(tmp_path, 2)
    train(tmp_path, 3)
    assert len(steps_taken) == 5
    assert stored_step(tmp_path) == 3


def test_a_run_resumed_after_its_end_takes_no_step(tmp_path: Path, steps_taken: list[int]) -> None:
    train(tmp_path, 2)
    steps_taken.clear()
    train(tmp_path, 2, resume=True)
    assert steps_taken == []
    assert stored_step(tmp_path) == 2


# --- the data and the objective -----------------------------------------------------------------------------------


def test_latents_of_states_are_what_the_tokenizer_would_canonise() -> None:
    states = drive(simulator(), 3, 20).states
    latents = Latents(shipped_tokenizer()).of(states)
    assert latents.shape == (21, DynamicsConfig().latent_dim)
    assert torch.allclose(shipped_tokenizer().canonical(latents), latents, atol=1e-6)


def test_clips_are_cut_from_one_episode_each() -> None:
    clips = sample_clips(episodes(), 6)
    assert clips.targets.shape == (6, CLIP_TICKS, DynamicsConfig().latent_dim)
    assert clips.conditions.shape == (6, CLIP_TICKS, DynamicsConfig().condition_dim)
    assert not clips.dreamt.any()
    for clip in clips.targets:
        assert any(torch.equal(clip, e[k : k + CLIP_TICKS]) for e in episodes().latents for k in range(10))


def test_histories_are_corrupted_a_little_and_not_at_all_at_strength_zero() -> None:
    dynamics = Dynamics(DynamicsConfig())
    clips = sample_clips(episodes(), 2).targets
    levels = levels_of(shipped_tokenizer())
    noisy = corrupt(dynamics, clips, torch.tensor([0.0, 0.8]), levels)
    assert torch.allclose(noisy[0], clips[0], atol=1e-6)
    (scene, slots), (true_scene, true_slots) = dynamics.split(noisy[1]), dynamics.split(clips[1])
    assert 0 < (slots - true_slots).abs().max() < 0.5
    assert 0 < ((scene - true_scene) * levels).abs().max() < 2.5  # grey levels


def test_only_a_car_that_leaves_the_tunnel_after_a_long_time_is_forgotten() -> None:
    config = DynamicsConfig()
    clean = torch.zeros(1, CLIP_TICKS, config.latent_dim)
    slots = clean[..., config.scene_dim :].unflatten(-1, (2, 6))
    slots[..., 4] = 1.0
    slots[:, 5:35, 0, 4] = -1.0
    place = torch.tensor([(24 - 128) / 64, (122 - 96) / 64, 0.0, 1.0])
    slots[:, 35:, 0, :4] = place
    history, known = forget(clean, config.scene_dim, share=1.0)
    assert torch.all(known[0, :35, 0] == 0)
    assert torch.all(known[0, 35:, 0] == 1)
    assert torch.all(known[..., 1] == 1)
    assert torch.all(history[0, :35, config.scene_dim + 4] == -1)
    slots[:, 35:, 0, :4] = -place
    history, known = forget(clean, config.scene_dim, share=1.0)
    assert torch.equal(history, clean)
    assert torch.all(known == 1)


def long_episodes(hidden: dict[tuple[int, int], tuple[int, int]]) -> Episodes:
    """Two long episodes in which everything shows but what is `hidden`: episode and slot, to its ticks."""
    latents = torch.zeros(2, 3 * CLIP_TICKS, DynamicsConfig().latent_dim)
    presence = latents[..., DynamicsConfig().scene_dim :].unflatten(-1, (2, 6))[..., 4]
    presence.fill_(1.0)
    for (episode, slot), (first, stop) in hidden.items():
        presence[episode, first:stop, slot] = -1.0
    return Episodes(latents, torch.zeros(2, 3 * CLIP_TICKS, DynamicsConfig().condition_dim))


def test_every_second_clip_has_a_car_come_back_when_returns_are_given() -> None:
    long = long_episodes({(1, 0): (50, 60)})
    assert returns(long).all.tolist() == [[1, 59]]
    assert len(returns(long).together) == 0
    clips = sample_clips(long, 8, returns(long)).targets
    seen = clips[..., DynamicsConfig().scene_dim :].unflatten(-1, (2, 6))[:4, :, 0, 4]
    assert ((seen[:, 1:] > 0) & (seen[:, :-1] < 0)).any(-1).all()


def test_half_of_the_returns_are_of_cars_hidden_together() -> None:
    long = long_episodes({(0, 0): (50, 60), (1, 0): (50, 60), (1, 1): (55, 65)})
    found = returns(long)
    assert found.all.tolist() == [[0, 59], [1, 59], [1, 64]]
    assert found.together.tolist() == [[1, 59], [1, 64]]
    clips = sample_clips(long, 400, found).targets[:200]
    together = (clips[..., DynamicsConfig().scene_dim :].unflatten(-1, (2, 6))[..., 1, 4] < 0).any(-1).float()
    assert together[::2].mean() == 1
    assert 0.4 < together[1::2].mean() < 0.9  # two of the three returns


def test_cars_hidden_one_after_the_other_are_not_together() -> None:
    long = long_episodes({(0, 0): (45, 50), (0, 1): (52, 60)})
    assert len(returns(long).all) == 2
    assert len(returns(long).together) == 0


def test_the_step_before_is_never_less_noisy_and_the_ladder_is_trained_most() -> None:
    taus = DynamicsConfig().taus
    tau, earlier = noise_levels((50, 40), taus, torch.device("cpu"))
    assert (earlier <= tau).all()
    assert 0.3 < (tau == 0).float().mean() < 0.5
    on_ladder = torch.isin(tau, torch.tensor(taus[1:])).float().mean()
    assert 0.3 < on_ladder < 0.5
