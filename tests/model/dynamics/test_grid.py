"""Grid dynamics: what is trained is what plays, memory reaches as far as it says, and it starts as good as its base."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nextframe.model.dynamics.grid import GridDynamics
from nextframe.model.dynamics.grid_linear import LinearBase, LinearShape, Normal, near
from nextframe.model.generator.grid_generator import GridGenerator
from tests.support.grids import GRID, grid_generator, grid_past, random_grid

TOLERANCE = 2e-5
BASES = ("ridge", "last")


def finished(generator: GridGenerator, condition: Tensor, steps: int, seed: int = 3) -> Tensor:
    job = generator.start(condition, seed, steps)
    while job.can_step:
        job.step()
    return job.finish()


def parallel(dynamics: GridDynamics, latents: Tensor, conditions: Tensor, window: int) -> Tensor:
    """Predictions of a whole sequence in one pass, each from blank noise at level 0."""
    blank, tau = torch.zeros_like(latents), torch.zeros(latents.shape[:2])
    return dynamics(latents, blank, blank, conditions, tau, torch.full((len(latents),), window))


# --- training and play --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("window", [1, 3, 5])
def test_the_training_pass_predicts_what_the_generator_does_tick_by_tick(base: str, window: int) -> None:
    config = replace(GRID, base=base, temperature=0.0)
    latents, conditions = grid_past(11, rows=2)
    expected = parallel(random_grid(config), latents, conditions, window)
    generator = grid_generator(config, rows=2, window=window)
    generator.prefill(latents[:, :1], conditions[:, :1])
    for t in range(1, latents.shape[1]):
        made = finished(generator, conditions[:, t].contiguous(), steps=1)
        assert (made - expected[:, t]).abs().max() < TOLERANCE, t
        generator.commit(latents[:, t], conditions[:, t].contiguous())


def test_another_window_predicts_otherwise() -> None:
    """The control of the test above: if memory did not matter, any window would do."""
    latents, conditions = grid_past(11)
    near_past, far_past = (parallel(random_grid(), latents, conditions, window) for window in (2, 5))
    assert (near_past[:, 8] - far_past[:, 8]).abs().max() > 100 * TOLERANCE


@pytest.mark.bitexact
def test_no_frame_sees_the_frames_after_it_nor_itself() -> None:
    latents, conditions = grid_past(8)
    changed = latents.clone()
    changed[:, 5:] += 1.0
    before, after = (parallel(random_grid(), part, conditions, 5) for part in (latents, changed))
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.equal(before[:, 6], after[:, 6])


@pytest.mark.parametrize("base", BASES)
def test_an_untrained_network_predicts_its_base(base: str) -> None:
    torch.manual_seed(0)
    dynamics = GridDynamics(replace(GRID, base=base))
    dynamics.base.weight.normal_(std=0.01)
    latents, conditions = grid_past(6)
    with torch.no_grad():
        made = parallel(dynamics, latents, conditions, 5)[:, 4]
        line = dynamics.base(latents[:, 3], latents[:, 2], conditions[:, 4])
    assert torch.allclose(made, line if base == "ridge" else latents[:, 3], atol=1e-6)


def test_the_condition_reaches_the_prediction() -> None:
    latents, conditions = grid_past(6)
    other = conditions.clone()
    other[:, 5] = 1 - other[:, 5]
    here, there = (parallel(random_grid(), latents, part, 5) for part in (conditions, other))
    assert torch.equal(here[:, :5], there[:, :5])
    assert not torch.equal(here[:, 5], there[:, 5])


def test_sizes_that_do_not_fit_are_refused() -> None:
    for wrong in ({"base": "spline"}, {"width": 30}, {"ladder": (1, 2), "taus": (0.0, 0.5, 0.75)}):
        with pytest.raises(ValueError, match="grid dynamics: expected"):
            replace(GRID, **wrong)  # type: ignore[arg-type]


# --- the session --------------------------------------------------------------------------------------------------


def started(rows: int = 1) -> tuple[GridGenerator, Tensor]:
    generator = grid_generator(rows=rows)
    latents, conditions = grid_past(9, rows)
    generator.prefill(latents[:, :8], conditions[:, :8])
    return generator, conditions[:, 8].contiguous()


@pytest.mark.parametrize("rung", [1, 2, 3])
@pytest.mark.bitexact
def test_a_job_cut_short_after_k_steps_is_exactly_rung_k(rung: int) -> None:
    generator, condition = started()
    cut = generator.start(condition, seed=3, steps=4)
    for _ in range(rung):
        cut.step()
    assert torch.equal(cut.finish(), finished(generator, condition, rung))


def test_rungs_and_seeds_differ() -> None:
    generator, condition = started()
    made = [finished(generator, condition, k) for k in (1, 2, 4)] + [finished(generator, condition, 1, seed=4)]
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(made, 2))


@pytest.mark.bitexact
def test_a_restored_session_goes_on_bit_for_bit() -> None:
    generator, condition = started()
    saved, mark = generator.snapshot(), generator.checksum()

    def go_on() -> list[bytes]:
        out = []
        for _ in range(12):
            generator.commit(finished(generator, condition, 2), condition)
            out.append(generator.decode(generator.last).numpy().tobytes())
        return [*out, str(generator.checksum()).encode()]

    first = go_on()
    assert generator.checksum() != mark
    generator.restore(saved)
    assert generator.checksum() == mark
    assert go_on() == first


def test_rows_do_not_mix() -> None:
    generator, condition = started(rows=2)
    alone, alone_condition = started(rows=1)
    latents, conditions = grid_past(9, rows=2)
    alone.prefill(latents[1:, :8], conditions[1:, :8])
    alone_condition = condition[1:].contiguous()
    noise = torch.randn(1, GRID.latent_dim)
    job = generator.job(condition, noise.expand(2, -1).contiguous(), 1)
    one = alone.job(alone_condition, noise, 1)
    job.step()
    one.step()
    assert (job.finish()[1] - one.finish()[0]).abs().max() < TOLERANCE


def test_what_is_committed_lies_within_what_real_frames_had() -> None:
    generator, condition = started()
    generator.commit(torch.full_like(generator.last, 1e6), condition)
    assert torch.equal(generator.last, generator.tokenizer.canonical(generator.last))
    assert generator.last.abs().max() < 1e3


# --- the straight line --------------------------------------------------------------------------------------------


def test_the_ridge_finds_a_line_that_is_there() -> None:
    torch.manual_seed(1)
    shape = LinearShape(2, 3, 4, 2)
    truth, found = LinearBase(shape), LinearBase(shape)
    truth.weight.normal_(std=0.1)
    last, before, condition = torch.randn(600, 24), torch.randn(600, 24), torch.rand(600, 2)
    normal = Normal(found)
    for part in range(0, 600, 100):
        at = slice(part, part + 100)
        normal.add(last[at], before[at], condition[at], truth(last, before, condition)[at])
    found.weight.copy_(normal.solve(1e-9))
    new = [torch.randn(50, 24), torch.randn(50, 24), torch.rand(50, 2)]
    error = (found(*new) - truth(*new)).square().mean()
    untaught = (new[0] - truth(*new)).square().mean()
    assert error < 1e-3 * untaught


def test_a_blank_ridge_copies_the_last_frame() -> None:
    last = torch.randn(3, 24)
    assert torch.equal(LinearBase(LinearShape(2, 3, 4, 2))(last, last + 1, torch.rand(3, 2)), last)


def test_near_is_the_token_and_its_eight_neighbours_with_nothing_beyond_the_rim() -> None:
    grid = torch.arange(1.0, 13).view(1, 12, 1)  # 3 rows of 4
    around = near(grid, 3, 4)[0, :, :, 0]
    assert around[5].tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert around[0].tolist() == [0, 0, 0, 0, 1, 2, 0, 5, 6]
    assert around[11].tolist() == [7, 8, 0, 11, 12, 0, 0, 0, 0]


def test_features_have_the_size_that_the_shape_says() -> None:
    for shape in (LinearShape(2, 3, 4, 2), LinearShape(8, 8, 16, 12), LinearShape(4, 4, 64, 40)):
        size = shape.tokens * shape.channels
        features = LinearBase(shape).features(
            torch.zeros(2, size), torch.zeros(2, size), torch.zeros(2, shape.condition_dim)
        )
        assert features.shape == (2, shape.tokens, shape.features)
