"""The frame tokenizer: an orthonormal basis of patches, a refiner that begins as nothing, and honest sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nextframe.model.tokenizers.frames import FrameConfig, FrameTokenizer, fill, fit_patches, patches_of
from tests.support.grids import FRAMES, moving_squares, small_tokenizer


def psnr_db(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * torch.log10(((a.float() - b.float()) / 255).square().mean()))


def test_with_all_components_a_frame_comes_back_as_it_was() -> None:
    frames, config = moving_squares(300), replace(FRAMES, channels=192)
    tokenizer = FrameTokenizer(config)
    fill(tokenizer, fit_patches(frames, 8), frames)
    with torch.no_grad():
        back = tokenizer.decode(tokenizer.encode(frames[:20]))
    assert (back.int() - frames[:20].int()).abs().max() <= 1


def test_fewer_components_leave_an_error_of_the_size_that_was_foretold() -> None:
    frames = moving_squares(300)
    pca, found = fit_patches(frames, 8), []
    for channels in (4, 12, 40):
        tokenizer = FrameTokenizer(replace(FRAMES, channels=channels))
        fill(tokenizer, pca, frames)
        with torch.no_grad():
            found.append(psnr_db(255 * tokenizer.project(tokenizer.encode(frames)).permute(0, 2, 3, 1), frames))
        assert found[-1] == pytest.approx(pca.psnr_db(channels), abs=0.1)
    assert found == sorted(found)


def test_the_basis_is_orthonormal_so_errors_in_the_latent_are_errors_in_pixels() -> None:
    tokenizer = small_tokenizer()
    assert torch.allclose(tokenizer.basis @ tokenizer.basis.T, torch.eye(6), atol=1e-4)
    latent = tokenizer.encode(moving_squares(4, seed=9))
    moved = latent + torch.randn_like(latent) * 0.1
    pixels = (tokenizer.project(moved) - tokenizer.project(latent)).square().sum()
    codes = ((moved - latent).view(4, -1, 6) * tokenizer.scale).square().sum()
    assert float(pixels) == pytest.approx(float(codes), rel=1e-3)


def test_the_refiner_begins_as_nothing() -> None:
    tokenizer = small_tokenizer()
    latent = tokenizer.encode(moving_squares(4, seed=9))
    assert torch.equal(tokenizer.draw(latent), tokenizer.project(latent))


def test_the_refiner_can_help() -> None:
    """The control of the test above: it is in the graph, and a few steps of learning lower the error."""
    torch.manual_seed(0)
    frames = moving_squares(64)
    tokenizer = small_tokenizer().requires_grad_(True)
    target = frames.permute(0, 3, 1, 2).float() / 255
    optimiser = torch.optim.Adam(tokenizer.parameters(), lr=5e-3)
    errors = []
    for _ in range(25):
        loss = (tokenizer.draw(tokenizer.encode(frames)) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        errors.append(float(loss.detach()))
    assert errors[-1] < 0.9 * errors[0]


def test_real_frames_are_canonical_and_wild_latents_are_brought_back() -> None:
    tokenizer = small_tokenizer()
    latent = tokenizer.encode(moving_squares(200))
    assert torch.equal(tokenizer.canonical(latent), latent)
    wild = tokenizer.canonical(latent * 100)
    assert not torch.equal(wild, latent * 100)
    assert torch.equal(tokenizer.canonical(wild), wild)


def test_patches_are_taken_row_by_row() -> None:
    image = torch.arange(2 * 3 * 4.0).view(1, 1, 4, 6).expand(1, 3, 4, 6)
    first, second = patches_of(image, 2)[0, :2, :4]
    assert first.tolist() == [0, 1, 6, 7]
    assert second.tolist() == [2, 3, 8, 9]


def test_a_constant_picture_is_drawn_without_a_division_by_zero() -> None:
    frames = torch.full((50, 16, 24, 3), 90, dtype=torch.uint8)
    tokenizer = FrameTokenizer(FRAMES)
    fill(tokenizer, fit_patches(frames, 8), frames)
    with torch.no_grad():
        assert torch.equal(tokenizer.decode(tokenizer.encode(frames)), frames)


@pytest.mark.parametrize(("height_px", "width_px", "patch_px"), [(30, 32, 8), (32, 30, 8), (30, 30, 10)])
def test_sides_that_are_no_whole_patches_are_refused(height_px: int, width_px: int, patch_px: int) -> None:
    with pytest.raises(ValueError, match="frame tokenizer: expected sides that are multiples"):
        FrameConfig(height_px, width_px, patch_px)
