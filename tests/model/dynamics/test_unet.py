"""Claims about the U-Net."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from nextframe.model.diffusion.levels import Scales
from nextframe.model.dynamics.unet import Given, Remembered, UNet, UNetConfig, estimate
from tests.support.images import SMALL_UNET, random_unet


def some_frames(n: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, SMALL_UNET.height, SMALL_UNET.width, 3), dtype=torch.uint8)


def given_to(net: UNet, n: int, past: list[Remembered | None] | None = None) -> Given:
    latents = net.pack(some_frames(n * SMALL_UNET.past)).unflatten(0, (n, -1))
    return Given(latents[:, -1], net.trunk.past_in(latents.flatten(1, 2)), past or [None] * SMALL_UNET.middle)


def asked(net: UNet, noisy: torch.Tensor, given: Given, sigma: float = 0.5) -> torch.Tensor:
    scales = Scales.at(torch.full((len(noisy),), sigma), SMALL_UNET.change)
    actions = torch.full((len(noisy), SMALL_UNET.past, SMALL_UNET.condition_dim), 0.3)
    numbers = net.embedding(scales.noise, actions)
    return estimate(net.trunk, noisy, scales, given, net.embedding.split(numbers, torch.float32))


def test_packing_is_pixel_unshuffle_and_comes_back_exactly() -> None:
    net, frames = random_unet(), some_frames(3)
    packed = net.pack(frames)
    image = frames.permute(0, 3, 1, 2).float().div(127.5).sub(1)
    assert torch.equal(packed, F.pixel_unshuffle(image, SMALL_UNET.pack))
    assert packed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(net.unpack(packed), frames)


@torch.no_grad()
def test_an_untrained_network_says_that_nothing_moves_the_less_sure_the_clearer_it_sees() -> None:
    net = UNet(SMALL_UNET)
    given = given_to(net, 2)
    noisy = given.base + 0.4
    far, near = (asked(net, noisy, given, sigma) - given.base for sigma in (50.0, 0.01))
    assert far.abs().max() < 1e-4
    torch.testing.assert_close(near, noisy - given.base, rtol=0.01, atol=0.0)


@torch.no_grad()
def test_rows_of_a_batch_are_what_they_are_alone() -> None:
    net = random_unet()
    given = given_to(net, 3)
    noisy = torch.randn_like(given.base)
    together = asked(net, noisy, given)
    for row in range(3):
        alone = Given(given.base[row : row + 1], given.known[row : row + 1], given.past)
        torch.testing.assert_close(
            asked(net, noisy[row : row + 1], alone), together[row : row + 1], rtol=1e-3, atol=1e-4
        )


@torch.no_grad()
def test_turning_the_query_is_as_good_as_turning_all_keys() -> None:
    net = random_unet()
    keys, values = net.trunk.writer(net.pack(some_frames(1)))
    cos, sin = net.rotary(torch.tensor([-7]))
    later_cos, later_sin = net.rotary(torch.tensor([-12]))
    mask = torch.zeros(1, 1, 1, SMALL_UNET.tokens)

    def turned(c: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        a, b = keys[0].chunk(2, -1)
        return torch.cat([a * c - b * s, a * s + b * c], -1)

    given = given_to(net, 1)
    noisy = torch.randn_like(given.base)
    by_keys = given._replace(past=[Remembered(turned(later_cos, later_sin), values[0], mask)])
    by_query = given._replace(past=[Remembered(turned(cos, sin), values[0], mask, turn=net.rotary(torch.tensor([5])))])
    unturned = given._replace(past=[Remembered(turned(cos, sin), values[0], mask)])
    torch.testing.assert_close(asked(net, noisy, by_query), asked(net, noisy, by_keys), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(asked(net, noisy, unturned), asked(net, noisy, by_keys), rtol=1e-4, atol=1e-5)


def test_sides_that_do_not_fit_the_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 8, got 60x64"):
        UNetConfig(height=60)
    with pytest.raises(ValueError, match="as many levels"):
        UNetConfig(down=(1,))
