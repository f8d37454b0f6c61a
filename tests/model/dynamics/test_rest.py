"""What is not moved stands exactly where it is, until something moves it by more than a network errs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nextframe.model.dynamics.slots import Dynamics
from nextframe.worlds.neural.rest import RestRule
from tests.support.networks import SMALL

RULE = RestRule(1, 3, 0.01)
THROTTLE, BRAKE, STEER = 1, 2, 0


@torch.inference_mode()
def moved(
    correction: float, rule: RestRule | None, pedal: int | None = None, rolled: float = 0.0, **config: object
) -> tuple[Tensor, Tensor]:
    """Scene and slots after a tick in which the network wants the poses changed by `correction`. `rolled`: how far the
    cars moved, each way, in the tick before."""
    dynamics = Dynamics(replace(SMALL, rests=rule, **config))  # type: ignore[arg-type]
    dynamics.slot_out.bias[:4] = correction / 0.2
    last = torch.zeros(1, SMALL.latent_dim)
    last[:, 7:9] = 0.3
    condition = torch.zeros(1, SMALL.condition_dim)
    if pedal is not None:
        condition[:, pedal] = 1.0
    before = last.clone()
    dynamics.split(before)[1][..., :2] -= rolled
    known = dynamics.known(last, before, condition)
    scene, slots = dynamics.split(dynamics.latent_of(torch.randn(1, SMALL.tokens, SMALL.width), known))
    return scene[0], slots[0]


def test_an_untouched_car_that_would_hardly_move_keeps_its_pose_and_the_other_does_not() -> None:
    _, slots = moved(0.006, RULE)
    assert torch.equal(slots[0, :4], torch.zeros(4))
    assert torch.allclose(slots[1, :4], torch.full((4,), 0.006))


@pytest.mark.parametrize("pedal", [THROTTLE, BRAKE])
def test_a_pedal_moves_it_at_once(pedal: int) -> None:
    assert torch.allclose(moved(0.006, RULE, pedal)[1][0, :4], torch.full((4,), 0.006))


def test_steering_alone_is_no_pedal() -> None:
    assert torch.equal(moved(0.006, RULE, STEER)[1][0, :4], torch.zeros(4))


def test_a_push_moves_it_by_all_that_the_network_says() -> None:
    assert torch.allclose(moved(0.02, RULE)[1][0, :4], torch.full((4,), 0.02))


def test_what_is_parked_is_moved_by_a_hit_and_not_by_less() -> None:
    parking = RULE._replace(parked=0.05)
    assert torch.equal(moved(0.02, parking)[1][0, :4], torch.zeros(4))
    assert torch.allclose(moved(0.05, parking)[1][0, :4], torch.full((4,), 0.05))


def test_what_rolled_in_the_tick_before_is_not_parked() -> None:
    parking = RULE._replace(parked=0.05)
    assert torch.allclose(moved(0.02, parking, rolled=0.02)[1][0, :4], torch.full((4,), 0.02))
    assert torch.equal(moved(0.006, parking, rolled=0.02)[1][0, :4], torch.zeros(4)), "it comes to rest as before"


def test_without_the_rule_the_smallest_error_moves_it() -> None:
    """The control of all of the above."""
    assert torch.allclose(moved(0.006, None)[1][0, :4], torch.full((4,), 0.006))


def test_where_the_scene_says_speeds_they_are_none_at_rest() -> None:
    rolls = (7, 8, 0.0, 0.0)
    assert torch.equal(moved(0.006, RULE, coast=1.0, rolls=rolls)[0][7:9], torch.zeros(2))
    assert not moved(0.006, RULE, THROTTLE, coast=1.0, rolls=rolls)[0][7:9].eq(0).any()


def test_a_look_turns_who_stands_and_does_not_move_them() -> None:
    looking = RULE._replace(turning=(STEER, STEER + 1))
    _, slots = moved(0.006, looking, STEER)
    assert torch.equal(slots[0, :2], torch.zeros(2))
    assert torch.allclose(slots[0, 2:4], torch.full((2,), 0.006))
    assert torch.equal(moved(0.006, looking)[1][0, :4], torch.zeros(4)), "no look input: nothing turns"


def test_backwards_is_a_pedal_too() -> None:
    """Where an axis goes both ways, less than nothing is not untouched."""
    place, condition = torch.zeros(1, 2), torch.zeros(1, SMALL.condition_dim)
    assert RULE.holds_below(place, place, condition) > 0
    condition[:, THROTTLE] = -1.0
    assert RULE.holds_below(place, place, condition) == 0
