"""Measures of the evaluation, each on pictures where the answer is known, and on the teacher's own."""

from __future__ import annotations

import numpy as np
import pytest

from tests.networks import renderer, simulator
from tools.circuit.measures import (
    MOVING_LEVELS,
    Image,
    Paint,
    edge_energy,
    find_paint,
    moving,
    psnr_db,
    same_car,
    squared_error,
    visible_change,
)  # fmt: skip

GREY: Image = np.full((20, 30, 3), 128, np.uint8)


def noisy(levels: int) -> Image:
    return (GREY.astype(int) + np.random.default_rng(0).integers(-levels, levels + 1, GREY.shape)).astype(np.uint8)


def test_psnr_is_pooled_over_errors_not_averaged_over_decibels() -> None:
    assert psnr_db(np.array([0.01])) == pytest.approx(20)
    assert psnr_db(np.array([0.01, 0.0001])) == pytest.approx(-10 * np.log10(0.00505))
    assert psnr_db(np.zeros(3)) == pytest.approx(100)


def test_squared_error_is_on_the_unit_scale_and_does_not_wrap() -> None:
    black, white = np.zeros_like(GREY), np.full_like(GREY, 255)
    assert squared_error(black, white) == pytest.approx(np.ones((20, 30)))
    assert squared_error(white, black) == pytest.approx(np.ones((20, 30)))
    assert squared_error(GREY, GREY).max() == 0


def test_a_pixel_moves_if_any_channel_passes_the_bound() -> None:
    after = GREY.copy()
    after[0, 0, 1] += MOVING_LEVELS
    after[1, 1, 2] -= MOVING_LEVELS + 1
    assert np.argwhere(moving(GREY, after)).tolist() == [[1, 1]]


def test_edge_energy_falls_with_blur_and_is_zero_without_edges() -> None:
    sharp = noisy(60)
    blurred = ((sharp[:-1].astype(int) + sharp[1:]) // 2).astype(np.uint8)
    assert edge_energy(GREY) == 0
    assert edge_energy(blurred) < 0.8 * edge_energy(sharp)


def test_visible_change_counts_pixels_once_and_from_the_level_on() -> None:
    after = GREY.copy()
    after[0, :5] += 8
    after[1, :5] += 7
    assert visible_change(GREY, after) == 5
    assert visible_change(GREY, after, levels=7) == 10
    assert visible_change(GREY, GREY) == 0


# --- the player's paint -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("weather", ["clear", "snow"])
def test_the_paint_is_found_where_the_teacher_put_the_car(seed: int, weather: str) -> None:
    state = simulator().reset(seed, weather=weather, time="day")
    paint = find_paint(renderer().draw(state), renderer().background(state), light=1.0)
    assert paint.pixels >= 12
    assert np.hypot(paint.x - state.player.x, paint.y - state.player.y) < 4
    assert same_car(paint, paint)


def test_without_a_car_there_is_no_paint() -> None:
    background = renderer().background(simulator().reset(0, weather="clear", time="day"))
    paint = find_paint(background.copy(), background, light=1.0)
    assert paint.pixels == 0
    assert np.isnan(paint.x)


REAL = Paint(pixels=60, compact_share=1.0, x=50, y=50)


@pytest.mark.parametrize(
    ("dreamt", "same"),
    [
        (Paint(60, 1.0, 52, 50), True),
        (Paint(20, 1.0, 50, 50), False),
        (Paint(130, 1.0, 50, 50), False),
        (Paint(60, 0.5, 50, 50), False),
        (Paint(0, 0.0, np.nan, np.nan), False),
    ],
)
def test_one_car_means_as_much_paint_in_one_place(dreamt: Paint, same: bool) -> None:
    assert same_car(dreamt, REAL) is same


def test_where_no_car_shows_none_may_be_dreamt() -> None:
    hidden = Paint(3, 1.0, 50, 50)
    assert same_car(Paint(0, 0.0, np.nan, np.nan), hidden)
    assert not same_car(REAL, hidden)
