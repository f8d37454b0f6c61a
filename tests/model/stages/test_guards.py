"""Claims about bad latents under stages, and in the drive world: nothing of them in any memory or on the screen."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nextframe.model.generator.guards import FiniteCheck
from nextframe.model.stages.ring import StageWeights
from nextframe.runtime.config import world_info
from nextframe.runtime.core import ManualClock, TickPlan
from nextframe.runtime.session.registry import find_world
from nextframe.runtime.session.supervisor import SupervisorLimits
from nextframe.worlds.drive.world import new_generator
from nextframe.worlds.neural.world import NeuralWorld, SeedClips
from tests.support.networks import random_dynamics
from tests.support.worlds.drive import SHORT, random_chase, real_past
from tests.support.worlds.faulty import poison
from tests.support.worlds.staged import TWO, action_at, store_weights, strike, supervised_world, whole_world

OFTEN = SupervisorLimits(snapshot_every_ticks=50, deaths=9)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> StageWeights:
    return store_weights(tmp_path_factory.mktemp("weights"))


def small_drive() -> NeuralWorld:
    info = world_info(find_world("drive").spec, config_text="", weights_sha256="0" * 64)
    generator = new_generator(random_chase(), random_dynamics(SHORT))
    return NeuralWorld(info, generator, SeedClips(*real_past()), {}, ManualClock())


@pytest.fixture(scope="module")
def drive() -> NeuralWorld:
    return small_drive()


def tick_of(world: Any, tick: int) -> tuple[bytes, int, bool]:
    """Its frame, the checksum after the commit, and whether its latent was thrown away."""
    result = world.advance(action_at(tick), TickPlan(2, deadline_ns=0))
    result.commit()
    return result.frames[0].tobytes(), world.checksum(), result.mishaps().discarded


def is_finite(snapshot: Any) -> bool:
    lanes = snapshot["generator"]["memory"]["lanes"]
    return all(np.isfinite(lane[name]).all() for lane in lanes for name in ("keys", "values"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bad_latent_over_two_processes_reaches_no_stage_s_memory(weights: StageWeights, value: float) -> None:
    twin = poison(whole_world(), [2, 5], value)
    with supervised_world(weights, TWO, supervision=OFTEN) as (world, _):
        inner: Any = world.inner
        poison(inner, [2, 5], value)
        world.reset(1), twin.reset(1)
        made = [tick_of(world, tick) for tick in range(8)]
        assert made == [tick_of(twin, tick) for tick in range(8)]
        assert [discarded for _, _, discarded in made] == [tick in {2, 5} for tick in range(8)]
        assert made[2][0] == made[1][0], "the picture before is shown again"
        assert is_finite(world.snapshot())


def test_a_discarded_tick_is_discarded_again_when_a_death_makes_it_be_made_again(weights: StageWeights) -> None:
    """The flipped bit is gone by then; what was decided of the tick is kept."""
    twin = poison(whole_world(), [2], only_once=True)
    with supervised_world(weights, TWO, supervision=OFTEN) as (world, generator):
        inner: Any = world.inner
        poison(inner, [2], only_once=True)
        world.reset(1), twin.reset(1)
        for tick in range(7):
            if tick == 5:
                strike(generator, signal.SIGKILL)
            assert tick_of(world, tick) == tick_of(twin, tick), tick
        assert world.faults[0].ticks_again == 5


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_bad_latent_of_the_drive_world_reaches_neither_memory_nor_screen(value: float) -> None:
    world = poison(small_drive(), [3], value)
    world.reset(1)
    made = [tick_of(world, tick) for tick in range(6)]
    assert [discarded for _, _, discarded in made] == [tick == 3 for tick in range(6)]
    assert made[3][0] == made[2][0]
    assert is_finite(world.snapshot())
    assert torch.isfinite(world.generator.last).all()
    assert len({frame for frame, _, _ in made}) == 5, "it goes on afterwards"


def test_negative_control_without_the_check_the_drive_world_s_memory_goes_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the decoder, which looks from where the car is, cannot draw from nowhere."""
    monkeypatch.setattr(FiniteCheck, "answer", lambda self: True)
    world = poison(small_drive(), [3])
    world.reset(1)
    for tick in range(4):
        tick_of(world, tick)
    assert not is_finite(world.snapshot())
    with pytest.raises(ValueError, match="NaN"):
        tick_of(world, 4)


@pytest.mark.parametrize("place", range(SHORT.latent_dim))
def test_a_bad_number_anywhere_in_a_drive_latent_is_survived(drive: NeuralWorld, place: int) -> None:
    """A place that is no number once ended the session inside the decoder, before it was checked."""
    start = drive.generator.start

    class Bad:
        def __init__(self, job: Any) -> None:
            self._job = job

        def __getattr__(self, name: str) -> Any:
            return getattr(self._job, name)

        def finish(self) -> torch.Tensor:
            latent: torch.Tensor = self._job.finish().clone()
            latent[0, place] = float("nan")
            return latent

    shown = drive.frame.copy()
    drive.generator.start = lambda *given: Bad(start(*given))  # type: ignore[method-assign]
    frame, _, discarded = tick_of(drive, 0)
    drive.generator.start = start  # type: ignore[method-assign]
    assert discarded
    assert frame == shown.tobytes()


def test_bad_numbers_in_the_weights_of_a_stage_are_found_at_the_front(tmp_path: Path) -> None:
    """No pretending: what a stage process computes is no number, in every tick, and none of it is shown."""
    from safetensors.torch import load_file, save_file

    weights = store_weights(tmp_path)
    tensors = load_file(weights.dynamics)
    tensors["blocks.3.up.weight"][0, 0] = float("nan")
    with supervised_world(weights, TWO) as (world, _):
        world.reset(1)
        assert not tick_of(world, 0)[2], "the control: good weights"
    save_file(tensors, weights.dynamics)
    with supervised_world(weights, TWO) as (world, _):
        first = world.reset(1)
        assert all(tick_of(world, tick)[2] for tick in range(3))
        held = world.advance(action_at(3), TickPlan(2, deadline_ns=0)).frames[0]
        np.testing.assert_array_equal(held, first)
