"""Claims about the published case: what is counted, what is fitted, and how far off the rest is."""

from __future__ import annotations

import pytest

from nextframe.tools.lab.plan import article
from nextframe.tools.lab.plan.article import RATES, first_picture_s, fitted_utilisation, rate, their_layout
from nextframe.tools.plan.wan import (
    BUILT_IN,
    SHAPES,
    SQUARE_PX,
    UTILISATION,
    WIDE_PX,
    built_in,
    decode_flop,
    encode_flop,
    layer_flop,
    layer_weights,
    tokens_of,
    wan_profile,
)


def test_the_layers_hold_most_of_the_parameters_that_name_the_models() -> None:
    weights = {name: shape.layers * layer_weights(shape) for name, shape in SHAPES.items()}
    assert weights["wan-1.3b"] == pytest.approx(1.3e9, rel=0.1)
    assert weights["wan-14b"] == pytest.approx(14e9, rel=0.1)


def test_tokens_are_those_of_the_published_sizes() -> None:
    assert tokens_of(*SQUARE_PX) == 1024
    assert tokens_of(*WIDE_PX) == 1560


def test_convolutions_are_counted_as_torch_counts_them() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from nextframe.tools.plan.wan import _residual

    block = torch.nn.Sequential(torch.nn.Conv3d(6, 8, 3, padding="same"), torch.nn.Conv3d(8, 8, 3, padding="same"))
    beside = torch.nn.Conv3d(6, 8, 1)
    picture = torch.zeros(1, 6, 4, 5, 7)
    with FlopCounterMode(display=False) as counter:
        block(picture)
        beside(picture)
    assert counter.get_total_flops() == 4 * 5 * 7 * _residual(6, 8)


def test_a_layer_is_counted_as_torch_counts_it() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from nextframe.tools.plan.wan import HISTORY_LATENTS, TEXT_TOKENS, WanShape

    shape, tokens = WanShape(1, 8, 20), 5
    x = torch.zeros(1, tokens, shape.width)
    square = torch.nn.Linear(shape.width, shape.width, bias=False)
    up = torch.nn.Linear(shape.width, shape.mlp_width, bias=False)
    down = torch.nn.Linear(shape.mlp_width, shape.width, bias=False)
    with FlopCounterMode(display=False) as counter:
        for _ in range(6):  # query, key, value and output of its own tokens; query and output of the text
            square(x)
        down(up(x))
        for seen in (HISTORY_LATENTS * tokens, TEXT_TOKENS):
            past = torch.zeros(1, seen, shape.width)
            (x @ past.transpose(1, 2)).softmax(-1) @ past
    assert counter.get_total_flops() == layer_flop(shape, tokens)


def test_the_autoencoder_is_most_of_the_small_models_work() -> None:
    transformer = SHAPES["wan-1.3b"].layers * layer_flop(SHAPES["wan-1.3b"], 1024)
    assert decode_flop(*SQUARE_PX) > 2 * transformer
    assert encode_flop(*SQUARE_PX) > transformer


def test_the_fitted_number_is_the_one_that_gives_the_published_rate() -> None:
    assert fitted_utilisation(RATES[0]) == pytest.approx(UTILISATION, abs=1e-4)
    assert rate(RATES[0], UTILISATION) == pytest.approx(article.HEADLINE_SMALL_FPS, rel=1e-3)


def test_the_other_headline_is_predicted_within_fifteen_per_cent_and_not_by_construction() -> None:
    predicted = rate(RATES[1], UTILISATION)
    assert abs(predicted / article.HEADLINE_LARGE_FPS - 1) < 0.15
    assert abs(predicted / article.HEADLINE_LARGE_FPS - 1) > 0.01, "one number cannot fit both: this is a prediction"


def test_a_device_of_another_kind_is_predicted_badly_and_the_page_says_so() -> None:
    """Peak rates do not carry costs from one chip to another: less than half of what was published."""
    for case in RATES:
        if case.chip != "h100":
            assert 0.4 < rate(case, UTILISATION) / case.fps < 0.5


def test_the_published_layout_is_late_by_three_latents_at_one_step() -> None:
    assert their_layout(wan_profile("wan-1.3b")).lag_latents == 3
    assert their_layout(wan_profile("wan-14b", denoise_steps=2)).lag_latents == 7


def test_the_first_picture_is_there_within_the_published_half_second() -> None:
    for source_hz, published_s in article.FIRST_PICTURES_S:
        assert first_picture_s(source_hz, UTILISATION) == pytest.approx(published_s, rel=0.2)
        assert first_picture_s(source_hz, UTILISATION) < 0.5


def test_every_built_in_profile_is_there_under_its_name_and_nothing_else_is() -> None:
    for name in BUILT_IN:
        found = built_in(name)
        assert found is not None
        assert found.name == name
    assert built_in("wan-2b") is built_in("circuit") is built_in("wan-14b-480p-480p") is None


def test_the_page_of_the_case_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    article.main()
    printed = capsys.readouterr().out
    assert "| wan-14b, 512x512, 1 step, 4 x h100 | 58.28 |" in printed
    assert "lossless, 16 sessions" in printed
