"""Measures of the evaluation, each on pictures where the answer is known, and on the teacher's own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nextframe.worlds.circuit.evaluation.dreams import LIKENESS, STRANGER_PIXELS
from nextframe.worlds.evaluation.measures import (
    MOVING_LEVELS,
    Image,
    edge_energy,
    likeness,
    moving,
    psnr_db,
    square_around,
    squared_error,
    ssim,
    strangers,
    visible_change,
)  # fmt: skip
from tests.support.networks import renderer, simulator

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


def ssim_by_window(a: Image, b: Image) -> float:
    """The same from its definition, one window at a time: weighted moments, two passes."""
    at = np.arange(11) - 5
    weights = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    x, y = (image.mean(-1) / 255 for image in (a, b))
    found = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            p, q = (part[row : row + 11, column : column + 11] for part in (x, y))
            p_mean, q_mean = (weights * p).sum(), (weights * q).sum()
            p_var, q_var = (weights * (p - p_mean) ** 2).sum(), (weights * (q - q_mean) ** 2).sum()
            both = (weights * (p - p_mean) * (q - q_mean)).sum()
            light = (2 * p_mean * q_mean + 0.01**2) / (p_mean**2 + q_mean**2 + 0.01**2)
            found.append(light * (2 * both + 0.03**2) / (p_var + q_var + 0.03**2))
    return float(np.mean(found))


def test_ssim_is_that_of_its_definition() -> None:
    one, other = noisy(60), noisy(60)[::-1]
    assert ssim(one, other) == pytest.approx(ssim_by_window(one, other), abs=1e-12)


def test_ssim_is_one_for_equal_pictures_and_falls_with_what_is_lost() -> None:
    sharp = noisy(60)
    assert ssim(sharp, sharp) == pytest.approx(1)
    dark, light = np.full_like(GREY, 51), np.full_like(GREY, 204)
    assert ssim(dark, light) == pytest.approx((2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4)), "light alone"
    negative = (255 - sharp.astype(int)).astype(np.uint8)
    assert ssim(sharp, negative) < 0, "what is light in one is dark in the other"
    blurred = sharp.astype(int)
    blurred[1:-1] = (blurred[:-2] + blurred[1:-1] + blurred[2:]) // 3
    assert ssim(sharp, blurred.astype(np.uint8)) < 0.8


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


# --- is the car there, and nothing else ----------------------------------------------------------------------------


@pytest.mark.parametrize("time", ["day", "night"])
@pytest.mark.parametrize("weather", ["clear", "snow", "fog"])
def test_the_teacher_s_own_picture_shows_its_car_and_no_stranger(weather: str, time: str) -> None:
    state = simulator().reset(2, weather=weather, time=time)
    real, background = renderer().draw(state), renderer().background(state)
    assert likeness(real, real, background, state.player.x, state.player.y) == pytest.approx(1)
    assert strangers(real, real, []) == 0


@pytest.mark.parametrize("time", ["day", "night"])
def test_an_erased_a_faded_and_a_second_car_are_noticed(time: str) -> None:
    state = simulator().reset(2, weather="clear", time=time)
    real, background = renderer().draw(state), renderer().background(state)
    x, y = state.player.x, state.player.y
    faded = (background + 0.3 * (real.astype(float) - background)).astype(np.uint8)
    assert likeness(background, real, background, x, y) == 0
    assert likeness(faded, real, background, x, y) == 0
    elsewhere = simulator().reset(5, weather="clear", time=time).player
    second = real.copy()
    twin = renderer().draw(replace(state, player=elsewhere))
    rows, columns = square_around(real, elsewhere.x, elsewhere.y)
    second[rows, columns] = twin[rows, columns]
    assert strangers(second, real, [(x, y), (state.rival.x, state.rival.y)]) > STRANGER_PIXELS


def test_a_car_turned_across_is_not_alike() -> None:
    state = simulator().reset(2, weather="clear", time="day")
    turned = replace(state, player=replace(state.player, heading=state.player.heading + 1.57))
    real, background = renderer().draw(state), renderer().background(state)
    assert likeness(renderer().draw(turned), real, background, state.player.x, state.player.y) < LIKENESS
