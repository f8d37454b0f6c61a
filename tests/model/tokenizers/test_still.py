"""The tokenizer with the shipped weights: sharp, faithful about places, and local in what a pose changes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from torch import Tensor

from nextframe.model.tokenizers.scenes.still import PART_PX, POSITION_SCALE_PX, SLOT_DIM, Field
from nextframe.worlds.circuit.recipe.data import HELD_OUT_SEED, label
from nextframe.worlds.circuit.teacher.track import HEIGHT_PX, WIDTH_PX
from nextframe.worlds.evaluation.measures import Image, psnr_db, squared_error
from tests.support.networks import random_past, random_tokenizer, renderer, shipped_tokenizer, simulator

SCENES = 12
PLAYER = 0


@lru_cache(maxsize=1)
def held_out() -> tuple[Tensor, Tensor, Tensor]:
    """Frames of starts never trained on, what the teacher knows of their cars, and their latents."""
    states = [simulator().reset(HELD_OUT_SEED + k) for k in range(SCENES)]
    frames = torch.from_numpy(np.stack([renderer().draw(state) for state in states]))
    labels = torch.tensor([[label(renderer(), car) for car in (state.player, state.rival)] for state in states])
    return frames, labels, encode(frames)


def encode(frames: Tensor) -> Tensor:
    with torch.inference_mode():
        return shipped_tokenizer().encode(frames)


def decode(latents: Tensor) -> Tensor:
    with torch.inference_mode():
        return shipped_tokenizer().decode(latents)


def place_px(latents: Tensor) -> Tensor:
    """Where each slot is, `(batch, slots, 2)` px."""
    _, slots = shipped_tokenizer().split(latents)
    return slots[..., :2] * POSITION_SCALE_PX + torch.tensor([WIDTH_PX / 2, HEIGHT_PX / 2])


def shown(latents: Tensor) -> Tensor:
    _, slots = shipped_tokenizer().split(latents)
    return slots[..., 4] > 0


def psnr(a: Image, b: Image) -> float:
    return psnr_db(squared_error(a, b))


# --- fidelity -----------------------------------------------------------------------------------------------------


def test_held_out_frames_come_back_sharp() -> None:
    frames, _, latents = held_out()
    drawn = decode(latents)
    quality = [psnr(a, b) for a, b in zip(frames.numpy(), drawn.numpy(), strict=True)]
    assert np.mean(quality) > 36.0
    assert min(quality) > 33.0
    swapped = [psnr(a, b) for a, b in zip(frames.numpy(), drawn.roll(1, 0).numpy(), strict=True)]
    assert np.mean(swapped) < 30.0, "other scenes must be worse, or the bound says nothing"


def test_a_car_is_read_within_a_pixel_and_a_half_of_where_it_is() -> None:
    _, labels, latents = held_out()
    fair = (labels[..., 4] > 0) & shown(latents)
    assert fair.float().mean() > 0.8
    error = (place_px(latents) - labels[..., :2]).norm(dim=-1)[fair]
    assert error.median() < 1.5


def test_encoding_a_drawn_frame_leaves_the_cars_where_they_were() -> None:
    _, _, latents = held_out()
    again = encode(decode(latents))
    fair = shown(latents) & shown(again)
    moved = (place_px(again) - place_px(latents)).norm(dim=-1)[fair]
    assert moved.median() < 1.5


def test_headings_are_read_within_ten_degrees() -> None:
    _, labels, latents = held_out()
    _, slots = shipped_tokenizer().split(latents)
    fair = (labels[..., 4] > 0) & shown(latents)
    cosine = (slots[..., 2:4] * labels[..., 2:4]).sum(-1)[fair]
    assert cosine.median() > math.cos(math.radians(10))


# --- latents ------------------------------------------------------------------------------------------------------


def test_the_canonical_latent_of_a_canonical_latent_is_itself() -> None:
    tokenizer = random_tokenizer()
    doubtful = torch.randn(200, tokenizer.config.latent_dim)
    once = tokenizer.canonical(doubtful)
    assert not torch.allclose(once, doubtful, atol=0.1)
    assert torch.allclose(tokenizer.canonical(once), once, atol=1e-6)


def test_a_canonical_slot_is_a_pose_or_nothing() -> None:
    tokenizer = random_tokenizer()
    _, slots = tokenizer.split(tokenizer.canonical(torch.randn(200, tokenizer.config.latent_dim)))
    visible = slots[..., 4] > 0
    assert visible.any()
    assert not visible.all()
    assert torch.allclose(slots[visible][:, 2:4].norm(dim=-1), torch.ones(()), atol=1e-5)
    assert set(slots[visible][:, 5].tolist()) == {-1.0, 1.0}
    assert torch.all(slots[~visible][:, [0, 1, 2, 3, 5]] == 0)
    assert torch.all(slots[~visible][:, 4] == -1)


def test_split_reads_the_layout_that_is_documented() -> None:
    latents, _ = random_past(3)
    scene, slots = random_tokenizer().split(latents)
    assert scene.shape == (1, 3, 12)
    assert slots.shape == (1, 3, 2, SLOT_DIM)
    assert torch.equal(torch.cat([scene, slots.flatten(-2)], -1), latents)


# --- locality -----------------------------------------------------------------------------------------------------


def with_slot(latents: Tensor, slot: int, **numbers: float) -> Tensor:
    changed = latents.clone()
    at = shipped_tokenizer().config.scene_dim + slot * SLOT_DIM
    for name, value in numbers.items():
        changed[:, at + ("x", "y", "cos", "sin", "presence", "lamp").index(name)] = value
    return changed


def test_turning_the_player_changes_only_pixels_near_the_player() -> None:
    _, _, latents = held_out()
    rows, columns = torch.meshgrid(torch.arange(HEIGHT_PX), torch.arange(WIDTH_PX), indexing="ij")
    for k in torch.nonzero(shown(latents)[:, PLAYER])[:, 0].tolist():
        here = latents[k : k + 1]
        east, south = (decode(with_slot(here, PLAYER, cos=c, sin=s)) for c, s in ((1.0, 0.0), (0.0, 1.0)))
        changed = (east.int() - south.int()).abs().amax(-1)[0] > 0
        x, y = place_px(here)[0, PLAYER].tolist()
        reach = torch.maximum((columns - x).abs(), (rows - y).abs())[changed]
        assert changed.any()
        assert reach.max() <= 64, "the headlights' window ends 50 px ahead; it slides a little at the frame's edge"


def test_a_hidden_slot_draws_nothing() -> None:
    _, _, latents = held_out()
    empty = with_slot(with_slot(latents, 0, presence=-1.0), 1, presence=-1.0)
    elsewhere = with_slot(empty, 0, x=0.3, y=-0.2, cos=-1.0)
    assert torch.equal(decode(empty), decode(elsewhere))
    assert not torch.equal(decode(empty), decode(latents))


def a_field(features: int = 6, condition: int = 5) -> Field:
    torch.manual_seed(3)
    return Field(features, condition, 16, 3)


def test_a_field_drawn_in_parts_is_the_one_that_was_trained() -> None:
    field, features = a_field(), torch.randn(2, 2 * PART_PX + 100, 6)
    condition = torch.randn(2, 5)
    trained = field(features, condition).detach()
    with torch.no_grad():
        torch.testing.assert_close(field(features, condition), trained, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(field(features, condition.flip(0)), trained, atol=1e-3)


@pytest.mark.bitexact
def test_a_row_is_drawn_as_it_is_alone() -> None:
    field, features, condition = a_field(), torch.randn(3, 300, 6), torch.randn(3, 5)
    with torch.inference_mode():
        together = field(features, condition)
        for k in range(3):
            assert torch.equal(field(features[k : k + 1], condition[k : k + 1])[0], together[k])


def test_drawing_leaves_what_was_given_as_it_was() -> None:
    field, features, condition = a_field(), torch.randn(1, 300, 6), torch.randn(1, 5)
    before = features.clone()
    with torch.no_grad():
        field(features, condition)
    assert torch.equal(features, before)
