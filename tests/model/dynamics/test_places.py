"""Planes: what lies at a place is read from a grid, and the same in training and in play."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nextframe.model.dynamics.places import PlaneConfig, Planes
from nextframe.model.dynamics.slots import Dynamics
from tests.model.memory.test_past import TOLERANCE, both_ways
from tests.support.networks import SMALL

GRID = PlaneConfig(rows=3, columns=5, spacing=0.5, channels=2)
WITH_PLANES = replace(SMALL, coast=1.0, planes=(GRID, PlaneConfig(9, 17, 0.125, 3)))


def numbered() -> Planes:
    """One grid whose first channel counts its knots row by row."""
    planes = Planes((GRID,))
    with torch.no_grad():
        planes.grids[0][0, 0] = torch.arange(15.0).view(3, 5)
        planes.grids[0][0, 1] = -1.0
    return planes


def at(x: float, y: float) -> Tensor:
    return torch.tensor([[[x, y, 1.0, 0.0, 1.0, -1.0]]])


@torch.inference_mode()
@pytest.mark.parametrize(
    ("place", "read"),
    [
        ((0.0, 0.0), 7.0),  # the middle knot
        ((-1.0, -0.5), 0.0),
        ((1.0, 0.5), 14.0),
        ((0.25, 0.0), 7.5),  # half way to the knot on the right
        ((0.0, -0.25), 4.5),  # half way to the row above
        ((40.0, 0.0), 9.0),  # far outside the edge goes on
    ],
)
def test_a_place_reads_the_knots_around_it(place: tuple[float, float], read: float) -> None:
    assert torch.allclose(numbered()(at(*place)), torch.tensor([[[read, -1.0]]]), atol=1e-5)


@torch.inference_mode()
def test_each_slot_of_each_frame_is_read_where_it_is() -> None:
    slots = torch.cat([at(0.0, 0.0), at(0.5, 0.0)], 1).expand(4, 6, 2, 6)
    found = numbered()(slots)
    assert found.shape == (4, 6, 2, 2)
    assert torch.allclose(found[..., 0], torch.tensor([7.0, 8.0]).expand(4, 6, 2), atol=1e-5)


@pytest.mark.parametrize("window", [SMALL.window, 1])
def test_memory_and_sequence_agree_with_planes_too(window: int) -> None:
    assert both_ways(window, config=WITH_PLANES).max() < TOLERANCE


def test_what_lies_ahead_changes_the_next_frame_and_each_grid_learns() -> None:
    torch.manual_seed(0)
    dynamics = Dynamics(WITH_PLANES)
    with torch.no_grad():
        for parameter in dynamics.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    clean, conditions = torch.randn(2, 5, SMALL.latent_dim) * 0.3, torch.randn(2, 5, SMALL.condition_dim)
    arguments = (clean, clean, clean, conditions, torch.zeros(2, 5), torch.tensor([4, 4]))
    before = dynamics(*arguments)
    before.square().sum().backward()
    assert all(grid.grad is not None and grid.grad.abs().sum() > 0 for grid in dynamics.planes.grids)
    with torch.no_grad():
        dynamics.planes.grids[0].add_(1.0)
        assert (dynamics(*arguments) - before)[:, 1:].abs().min(-1).values.max() > 0


def test_a_network_without_planes_has_no_weights_for_them() -> None:
    assert not any("plane" in name or "place_" in name for name in Dynamics(SMALL).state_dict())
