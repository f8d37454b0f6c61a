"""Every training step on a device that is not the processor, emulated: nothing is mixed, the losses are the same.

What `--device cuda` needs of the code besides kernels. Numbers are compared in float32: there is no autocast there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from nextframe.model.dynamics.grid import GridConfig, GridDynamics
from nextframe.model.dynamics.slots import Dynamics
from nextframe.model.tokenizers.scenes.chase import ChaseTokenizer
from nextframe.tools.train.learn.motion import MUON_RATE, Batch, Learner, Lessons, make_optimisers, update
from nextframe.worlds.circuit.recipe import dynamics as circuit
from nextframe.worlds.circuit.recipe.clips import CLIP_TICKS, Latents, make_episodes, sample_clips
from nextframe.worlds.circuit.world import dynamics_config as circuit_config
from nextframe.worlds.drive.recipe import dynamics as drive
from nextframe.worlds.drive.teacher.simulator import Simulator
from nextframe.worlds.drive.world import dynamics_config as drive_config
from nextframe.worlds.freedoom.recipe import walk as freedoom
from nextframe.worlds.freedoom.world import dynamics_config as freedoom_config
from nextframe.worlds.freedoom.world import fresh_tokenizer as fresh_keep
from tests.support.networks import shipped_tokenizer
from tests.support.worlds.elsewhere import THERE, MixedError, back, elsewhere, moved

STEPS = 2


@pytest.fixture(autouse=True)
def plain_and_small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    for name, size in {"PARTS": 1, "ROWS": 8, "TICKS": 40}.items():
        monkeypatch.setattr(drive.Drives, name, size)
    monkeypatch.setattr(freedoom.Lessons, "ROWS", 8)
    state = torch.random.get_rng_state()
    yield
    torch.random.set_rng_state(state)


def of_circuit() -> tuple[Any, Dynamics, Any, Callable[..., Tensor]]:
    tokenizer = deepcopy(shipped_tokenizer())  # it is kept for other tests
    torch.manual_seed(0)
    episodes = make_episodes(Latents(tokenizer), 4, CLIP_TICKS + 10, first_seed=0)
    return tokenizer, Dynamics(circuit_config()), sample_clips(episodes, 4), circuit.loss_of


def of_drive() -> tuple[Any, Dynamics, Any, Callable[..., Tensor]]:
    return ChaseTokenizer(), Dynamics(drive_config()), drive.Drives(Simulator()).clips(4, 0.0), drive.loss_of


def of_freedoom() -> tuple[Any, Dynamics, Any, Callable[..., Tensor]]:
    tokenizer, dynamics = fresh_keep(), Dynamics(freedoom_config())
    return tokenizer, dynamics, freedoom.Lessons(tokenizer, dynamics).clips(4, 0.0, dreams=False), freedoom.loss_of


def steps(made: tuple[Any, Dynamics, Any, Callable[..., Tensor]], *, there: bool) -> list[float]:
    """The losses of some steps."""
    tokenizer, dynamics, clips, loss_of = made
    tokenizer.eval().requires_grad_(False)
    if there:
        moved(tokenizer), moved(dynamics, learns=True)
        clips = type(clips)(*(part.to(THERE) for part in clips))
    optimiser, losses = torch.optim.AdamW(dynamics.parameters(), 1e-3), []
    for step in range(STEPS):
        torch.manual_seed(step)
        loss = loss_of(dynamics, tokenizer, clips, own_share=0.3)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(dynamics.parameters(), 1.0)
        optimiser.step()
        losses.append(float(back(loss.detach())))
    return losses


@pytest.mark.parametrize("make", [of_circuit, of_drive, of_freedoom])
def test_a_shipped_world_is_trained_elsewhere_as_here(make: Callable[[], Any]) -> None:
    losses = []
    for there in (False, True):
        torch.manual_seed(0)
        made = make()
        with elsewhere() if there else nullcontext():
            losses.append(steps(made, there=there))
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0][0] != losses[0][1]


def test_clips_left_behind_are_noticed() -> None:
    tokenizer, dynamics, clips, loss_of = of_drive()
    with elsewhere():
        moved(tokenizer), moved(dynamics, learns=True)
        with pytest.raises(MixedError, match="from the processor"):
            loss_of(dynamics, tokenizer, clips, own_share=0.3)


def test_a_world_of_ones_own_is_trained_elsewhere_as_here() -> None:
    config = GridConfig(4, 4, 12, 1, 32, 2, 4, 3, base="last")
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(40, config.latent_dim, generator=draw)
    lessons = Lessons(latents, torch.rand(40, 1, generator=draw), torch.arange(20), change=0.5)
    losses: list[list[float]] = []
    for there in (False, True):
        torch.manual_seed(0)
        dynamics = GridDynamics(config)
        average = GridDynamics(config).requires_grad_(False)
        with elsewhere() if there else nullcontext():
            if there:
                moved(dynamics, learns=True), moved(average)
            learner = Learner(dynamics, average, make_optimisers(dynamics, 1e-3))
            losses.append([])
            for number in range(STEPS):
                torch.manual_seed(number)
                batch = lessons.batch(number, 4, 6, str(THERE) if there else "cpu")
                assert isinstance(batch, Batch)
                losses[-1].append(
                    update(learner, dynamics, (batch, lessons), (MUON_RATE, 1e-3), 0.6, precision=torch.float32)
                )
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert replace(learner).step == STEPS
