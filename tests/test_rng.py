"""Noise by address: the same numbers for the same address, whatever was asked before."""

from __future__ import annotations

import pytest
import torch

from model import rng

HERE = {"seed": 7, "tick": 3, "denoise_step": 1, "stream": 2}


def test_the_same_address_gives_the_same_numbers_in_any_order() -> None:
    forwards = [rng.normal((2, 5), seed=1, tick=tick) for tick in range(20)]
    backwards = [rng.normal((2, 5), seed=1, tick=tick) for tick in reversed(range(20))]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    first = rng.normal((8,), **HERE)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(rng.normal((8,), **HERE), first)


@pytest.mark.parametrize("part", list(HERE))
def test_every_part_of_the_address_matters(part: str) -> None:
    here, there = (rng.normal((64,), **address) for address in (HERE, {**HERE, part: HERE[part] + 1}))
    assert not torch.any(here == there)
    assert abs(float((here * there).mean())) < 0.5


def test_neighbouring_ticks_share_no_numbers() -> None:
    """Counters that overlap would show the same numbers later in the next tick's noise."""
    drawn = torch.cat([rng.normal((256,), seed=1, tick=tick) for tick in range(20)])
    assert len(drawn.unique()) > 0.999 * len(drawn)


def test_the_numbers_are_standard_normal_float32() -> None:
    drawn = rng.normal((100, 100), seed=5, tick=0)
    assert drawn.dtype == torch.float32
    assert drawn.shape == (100, 100)
    assert abs(float(drawn.mean())) < 0.05
    assert abs(float(drawn.std()) - 1) < 0.05


def test_negative_and_huge_seeds_are_addresses_too() -> None:
    assert not torch.equal(rng.normal((4,), seed=-1, tick=0), rng.normal((4,), seed=1, tick=0))
    assert torch.equal(rng.normal((4,), seed=2**64 + 5, tick=0), rng.normal((4,), seed=5, tick=0))


VECTORS: list[tuple[dict[str, int], list[float]]] = [
    ({"seed": 0, "tick": 0}, [0.059911, 0.0155596, -1.1644385, -0.1326471]),
    ({"seed": 7, "tick": 3}, [-0.5519058, 1.3011293, -0.629826, -1.4921327]),
    (HERE, [-1.3174905, -0.8693163, -0.0460049, -0.4601615]),
    ({"seed": 2**40, "tick": 1_000_000}, [-1.0796286, 1.0380794, -1.6466162, -0.1212946]),
]


@pytest.mark.parametrize(("address", "numbers"), VECTORS)
def test_the_numbers_are_these_on_every_machine(address: dict[str, int], numbers: list[float]) -> None:
    assert rng.normal((4,), **address).tolist() == pytest.approx(numbers, abs=1e-6)
