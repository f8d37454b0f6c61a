"""Claims about noise levels."""

from __future__ import annotations

import pytest
import torch

from nextframe.model.diffusion.levels import NoiseMix, Scales, Schedule, step


def test_the_network_s_target_has_variance_one_at_every_sigma() -> None:
    torch.manual_seed(0)
    spread, n = 0.2, 200_000
    image = torch.randn(n) * spread
    for sigma in (0.03, 0.2, 1.0, 6.0):
        noisy = image + sigma * torch.randn(n)
        scales = Scales.at(torch.tensor(sigma), spread)
        assert (scales.inward * noisy).std() == pytest.approx(1, abs=0.01)
        assert ((image - scales.skip * noisy) / scales.out).std() == pytest.approx(1, abs=0.01)


def test_a_step_ends_at_the_following_sigma_on_the_line_through_the_image() -> None:
    image, noise = torch.randn(2, 5), torch.randn(2, 5)
    torch.testing.assert_close(step(image + 1.2 * noise, image, 1.2, 0.3), image + 0.3 * noise)


def test_a_schedule_falls_and_ends_above_zero() -> None:
    for sigmas in ((), (1.0, 1.0), (0.1, 0.2), (1.0, 0.0)):
        with pytest.raises(ValueError, match="expected"):
            Schedule(sigmas)


def test_a_share_of_the_training_s_sigmas_lies_at_the_schedule_s() -> None:
    schedule = Schedule((4.0, 0.1))
    drawn = NoiseMix(scheduled_share=1.0, jitter=0.0).draw(64, schedule, torch.Generator().manual_seed(0))
    assert {round(sigma, 4) for sigma in drawn.tolist()} == {4.0, 0.1}
    everywhere = NoiseMix(scheduled_share=0.0).draw(4096, schedule, torch.Generator().manual_seed(0))
    assert everywhere.min() >= 0.01
    assert everywhere.max() <= 10.0
    assert everywhere.log().std() > 1
