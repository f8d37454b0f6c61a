"""The sampler over the dynamics: rungs are prefixes, steps only read, a commit writes once, rows do not mix."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from nextframe.model.dynamics.slots import DynamicsConfig
from nextframe.model.generator.ticks import RollingGenerator
from tests.support.networks import SMALL, finished, random_generator, random_past

TOLERANCE = 1e-5


def started(rows: int = 1) -> tuple[RollingGenerator, Tensor]:
    """A generator with a full memory, and the condition of the coming frame."""
    generator = random_generator(rows=rows)
    latents, conditions = random_past(9, rows)
    generator.prefill(latents[:, :8], conditions[:, :8])
    return generator, conditions[:, 8]


def memory_bytes(generator: RollingGenerator) -> bytes:
    memory = generator.memory
    numbers = memory.keys.numpy().tobytes() + memory.values.numpy().tobytes()
    return numbers + repr((memory.positions, memory.next_position)).encode()


# --- rungs --------------------------------------------------------------------------------------------------------


def test_the_noise_levels_rise_from_pure_noise_and_serve_every_rung() -> None:
    config = DynamicsConfig()
    assert config.taus[0] == 0.0
    assert all(a < b < 1 for a, b in itertools.pairwise(config.taus))
    assert config.ladder[-1] == len(config.taus)


@pytest.mark.parametrize("rung", [1, 2, 3])
@pytest.mark.bitexact
def test_a_job_cut_short_after_k_steps_is_exactly_rung_k(rung: int) -> None:
    generator, condition = started()
    cut = generator.start(condition, seed=3, steps=4)
    for _ in range(rung):
        cut.step()
    assert torch.equal(cut.finish(), finished(generator.start(condition, seed=3, steps=rung)))


def test_further_steps_change_the_latent() -> None:
    """The control of the test above: if rungs were all equal, it would hold for any sampler."""
    generator, condition = started()
    rungs = [finished(generator.start(condition, seed=3, steps=k)) for k in (1, 2, 4)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(rungs, 2))


def test_a_job_steps_as_often_as_asked_and_cannot_finish_before_the_first() -> None:
    generator, condition = started()
    job = generator.start(condition, seed=3, steps=2)
    with pytest.raises(AssertionError):
        job.finish()
    finished(job)
    assert job.steps_done == 2
    assert not job.can_step


def test_the_first_step_decides_what_is_visible_and_later_steps_keep_it() -> None:
    generator, condition = started()
    undecided = generator.predict
    calls = 0

    def changes_its_mind(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        estimate = undecided(*arguments)
        _, slots = generator.tokenizer.split(estimate)
        slots[..., 4] = -0.2 if calls == 1 else 0.9
        return estimate

    generator.predict = changes_its_mind  # type: ignore[method-assign]
    job = generator.start(condition, seed=3, steps=4)
    while job.can_step:
        job.step()
        _, slots = generator.tokenizer.split(job.finish())
        assert slots[..., 4].unique().tolist() == [-1.0]


@pytest.mark.bitexact
def test_the_same_seed_gives_the_same_latent_and_another_seed_another() -> None:
    generator, condition = started()
    first, again, other = (finished(generator.start(condition, seed, 2)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_condition_reaches_the_latent() -> None:
    generator, condition = started()
    here, there = (finished(generator.start(c, 3, 2)) for c in (condition, condition + torch.eye(11)[:1]))
    assert not torch.equal(here, there)


# --- memory -------------------------------------------------------------------------------------------------------


def test_steps_read_memory_and_never_write_it() -> None:
    generator, condition = started()
    before = memory_bytes(generator)
    finished(generator.start(condition, seed=3, steps=4))
    assert memory_bytes(generator) == before


def test_a_commit_writes_exactly_one_frame() -> None:
    generator, condition = started()
    latent = finished(generator.start(condition, seed=3, steps=2))
    keys, before = generator.memory.keys.clone(), generator.memory.next_position
    generator.commit(latent, condition)
    changed = (generator.memory.keys != keys).any(-1).any(-1).any(0).any(0).any(0)
    assert generator.memory.next_position == before + 1
    assert changed.sum() == 1
    assert changed[generator.memory.slot_for(before)]


def test_memory_holds_only_latents_that_a_frame_can_have() -> None:
    generator, condition = started()
    doubtful = torch.randn(1, SMALL.latent_dim)
    canonical = generator.tokenizer.canonical
    assert not torch.allclose(canonical(doubtful), doubtful, atol=1e-2)
    generator.commit(doubtful, condition)
    assert torch.allclose(canonical(generator.last), generator.last, atol=1e-6)


@pytest.mark.bitexact
def test_a_snapshot_brings_the_same_next_latent_back() -> None:
    generator, condition = started()
    saved, checksum = generator.snapshot(), generator.checksum()
    first = finished(generator.start(condition, 3, 2))
    for _ in range(SMALL.window + 2):
        generator.commit(finished(generator.start(condition, 3, 2)), condition)
    assert generator.checksum() != checksum
    generator.restore(saved)
    assert generator.checksum() == checksum
    assert torch.equal(finished(generator.start(condition, 3, 2)), first)


# --- rows ---------------------------------------------------------------------------------------------------------


def test_a_row_among_others_is_what_it_is_alone() -> None:
    rows = 3
    together, condition = started(rows)
    latents, conditions = random_past(9, rows)
    noise = torch.randn(rows, SMALL.latent_dim, generator=torch.Generator().manual_seed(7))
    joint = finished(together.job(condition, noise, 4))
    for row in range(rows):
        alone = random_generator()
        alone.prefill(latents[row : row + 1, :8], conditions[row : row + 1, :8])
        latent = finished(alone.job(condition[row : row + 1], noise[row : row + 1], 4))
        assert torch.allclose(latent[0], joint[row], atol=TOLERANCE, rtol=0)
        others = [k for k in range(rows) if k != row]
        assert (joint[others] - latent).abs().amax(-1).min() > 100 * TOLERANCE, "rows must differ for this to mean much"


def test_one_pass_of_training_keeps_rows_apart_too() -> None:
    dynamics = random_generator().dynamics
    clean, conditions = random_past(12, 2)
    tau, window = torch.rand(2, 12), torch.tensor([6, 1])
    joint = dynamics(clean, clean * 0.5, clean * 0.2, conditions, tau, window)
    for row in range(2):
        k = slice(row, row + 1)
        alone = dynamics(clean[k], clean[k] * 0.5, clean[k] * 0.2, conditions[k], tau[k], window[k])
        assert torch.allclose(alone, joint[k], atol=TOLERANCE, rtol=0)


def test_no_frame_sees_the_future() -> None:
    dynamics = random_generator().dynamics
    clean, conditions = random_past(12)
    tau, window = torch.rand(1, 12), torch.tensor([6])
    before = dynamics(clean, clean * 0.5, clean * 0.2, conditions, tau, window)
    other = clean.clone()
    other[:, 8:] += 1.0
    after = dynamics(other, clean * 0.5, clean * 0.2, conditions, tau, window)
    assert torch.allclose(before[:, :9], after[:, :9], atol=TOLERANCE, rtol=0)
    assert not torch.allclose(before[:, 9:], after[:, 9:], atol=100 * TOLERANCE, rtol=0)
