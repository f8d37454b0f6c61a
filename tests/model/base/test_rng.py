"""Noise by address: the same numbers for the same address, whatever was asked before, and the same bytes everywhere."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
import torch

from nextframe.model.base import normal_table, rng
from nextframe.model.base.rng import Address
from tests.support.paths import ROOT

HERE = {"seed": 7, "tick": 3, "denoise_step": 1, "stream": 2}
VECTORS = json.loads((ROOT / "tests" / "vectors" / "noise.json").read_text())
SIZES = (1, 2, 3, 4, 5, 24, 1023, 1024, 1025, 4099, 100_000)

# --- a third implementation, in plain integers, to hold the others against ------------------------------------------


def plain_philox(counter: list[int], key: list[int]) -> list[int]:
    """The cipher as the paper writes it, with Python's integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        product0, product1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (product1 >> 32) ^ c1 ^ k0, product1 % 2**32, (product0 >> 32) ^ c3 ^ k1, product0 % 2**32
        )  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [c0, c1, c2, c3]


def plain_normal(word: int) -> float:
    """The table's line between two knots, with fractions; the rounding to whole units is half up."""
    odd = 2 * (word % 2**31) + 1
    octave = odd.bit_length() - 1
    place = Fraction(odd - 2**octave, 2**octave) * 256
    segment, part = octave * 256 + int(place), place % 1
    part = Fraction(int(part * 2**24), 2**24)
    knots = normal_table.knots()
    low, high = int(knots[segment]), int(knots[segment + 1])
    size = low + math.floor((high - low) * part + Fraction(1, 2))
    return struct.unpack("<f", struct.pack("<f", (-size if word >> 31 else size) / 2**28))[0]


def plain_numbers(count: int, seed: int, tick: int, denoise_step: int, stream: int) -> list[float]:
    words: list[int] = []
    for block in range(-(-count // 4)):
        counter = [block, stream * 2**16 + denoise_step, tick % 2**32, (tick >> 32) % 2**32]
        words += plain_philox(counter, [seed % 2**32, (seed >> 32) % 2**32])
    return [plain_normal(word) for word in words[:count]]


def words_of(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


# --- known answers --------------------------------------------------------------------------------------------------


def with_numpy(counter: list[int], key: list[int]) -> list[int]:
    return rng.philox_numpy(np.array(counter, np.uint64)[:, None], (key[0], key[1]))[:, 0].tolist()


def with_torch(counter: list[int], key: list[int]) -> list[int]:
    return rng.philox_torch(torch.tensor(counter)[:, None], (key[0], key[1]))[:, 0].tolist()


@pytest.mark.parametrize("cipher", [with_numpy, with_torch, plain_philox])
@pytest.mark.parametrize("vector", VECTORS["philox4x32_10"])
def test_the_cipher_gives_the_published_answers(
    vector: dict[str, str], cipher: Callable[[list[int], list[int]], list[int]]
) -> None:
    counter, key, answer = (words_of(vector[name]) for name in ("counter", "key", "answer"))
    assert cipher(counter, key) == answer
    assert cipher(counter, [key[0] ^ 1, key[1]]) != answer


@pytest.mark.parametrize("vector", VECTORS["normal"])
def test_the_numbers_are_these_bytes_on_every_machine(vector: dict[str, object]) -> None:
    address = {name: int(str(vector[name])) for name in HERE}
    drawn = rng.normal((100_000,), **address).numpy().astype("<f4")
    assert [number.tobytes()[::-1].hex() for number in drawn[:12]] == vector["first_12_hex"]
    assert zlib.crc32(drawn.tobytes()) == vector["crc32_of_100000"]
    assert drawn[:12].tolist() == plain_numbers(12, **address)


def test_the_table_of_numbers_is_the_inverse_distribution_at_its_knots() -> None:
    knots = normal_table.knots()
    assert len(knots) == 32 * 256 + 1
    assert knots[-1] == 0
    assert np.all(np.diff(knots) < 0)
    tails = [math.ldexp(1 + at % 256 / 256, at // 256 - 33) for at in range(0, 8192, 17)]
    exact = np.array([-NormalDist().inv_cdf(tail) for tail in tails])
    assert np.abs(knots[:-1:17] * normal_table.UNIT - exact).max() <= 0.51 * normal_table.UNIT


def test_a_machine_that_rounds_otherwise_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal_table, "TABLE_CRC", normal_table.TABLE_CRC ^ 1)
    with pytest.raises(ArithmeticError, match="expected 0x"):
        normal_table.knots.__wrapped__()


# --- one stream of bytes, however it is computed -------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, *SIZES])
def test_integers_numpy_and_torch_give_the_same_bytes_at_every_size(count: int) -> None:
    address = Address(seed=2**63 + 11, tick=2**40 + 3, denoise_step=2, stream=5)
    words = rng.words_numpy(count, address)
    assert words.tolist() == rng.words_torch(count, address, "cpu").tolist()
    if count <= 4099:
        assert words.tolist() == rng.words_integer(count, address).tolist()
    by_numpy = normal_table.normal_numpy(words)
    by_torch = normal_table.normal_torch(torch.from_numpy(words.astype(np.int64))).numpy()
    assert by_numpy.tobytes() == by_torch.tobytes()


def test_the_extreme_words_give_the_extreme_numbers() -> None:
    words = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**30, 12345], np.uint64)
    numbers = normal_table.normal_numpy(words)
    assert numbers.tolist() == normal_table.normal_torch(torch.from_numpy(words.astype(np.int64))).tolist()
    assert numbers.tolist() == [plain_normal(int(word)) for word in words]
    assert numbers[0] == -numbers[3] == pytest.approx(6.33796, abs=1e-5)
    assert abs(numbers[2]) < 1e-8


@pytest.mark.parametrize("count", SIZES)
def test_a_larger_shape_begins_with_the_same_numbers(count: int) -> None:
    assert torch.equal(rng.normal((count,), **HERE), rng.normal((100_001,), **HERE)[:count])
    assert torch.equal(rng.normal((count, 2), **HERE).flatten(), rng.normal((2 * count,), **HERE))


@pytest.mark.gpu
@pytest.mark.parametrize("count", [*SIZES, 1_000_000])
def test_the_gpu_gives_the_same_bytes(count: int) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    there = rng.normal((count,), **HERE, device="cuda")
    assert there.device.type == "cuda"
    assert there.cpu().numpy().tobytes() == rng.normal((count,), **HERE).numpy().tobytes()


# --- addresses -----------------------------------------------------------------------------------------------------


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
@pytest.mark.parametrize("by", [1, 2, 255, 32_768])
def test_numbers_at_another_address_have_nothing_to_do_with_these(part: str, by: int) -> None:
    count = 20_000
    here, there = (rng.normal((count,), **address) for address in (HERE, {**HERE, part: HERE[part] + by}))
    assert not torch.any(here[:64] == there[:64])
    for a, b in ((here, there), (here[1:], there[:-1]), (here**2 - 1, there**2 - 1)):
        correlation = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
        assert abs(correlation) < 4 / math.sqrt(count)


def test_a_correlation_of_a_twentieth_would_be_noticed() -> None:
    a, b = (rng.normal((20_000,), seed=1, tick=tick) for tick in (0, 1))
    assert abs(float(torch.corrcoef(torch.stack([a, b + 0.05 * a]))[0, 1])) > 4 / math.sqrt(20_000)


def test_no_two_addresses_share_a_block() -> None:
    """Counters that overlap would show the same numbers later in another address's noise."""
    addresses = [
        Address(seed, tick, denoise_step, stream)
        for seed in (0, 1, 2**32) for tick in (0, 1, 2**32) for denoise_step in (0, 1) for stream in (0, 1)
    ]  # fmt: skip
    blocks = [{tuple(block) for block in rng.words_numpy(256, at).reshape(-1, 4).tolist()} for at in addresses]
    assert all(len(part) == 64 for part in blocks)
    assert all(not a & b for a, b in combinations(blocks, 2))


def test_negative_and_huge_seeds_are_addresses_too() -> None:
    assert not torch.equal(rng.normal((4,), seed=-1, tick=0), rng.normal((4,), seed=1, tick=0))
    assert torch.equal(rng.normal((4,), seed=2**64 + 5, tick=0), rng.normal((4,), seed=5, tick=0))


@pytest.mark.parametrize("wrong", [{"denoise_step": -1}, {"denoise_step": 65_536}, {"stream": 65_536}])
def test_a_part_that_would_spill_into_another_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        rng.normal((4,), **{**HERE, **wrong})


# --- the distribution ------------------------------------------------------------------------------------------------

COUNT = 1_000_000


def moments(numbers: np.ndarray) -> list[float]:
    return [float((numbers**k).mean()) for k in (1, 2, 3, 4)]


def in_bounds(numbers: np.ndarray) -> bool:
    """Each of the first four moments within four standard errors of the normal's."""
    errors = [math.sqrt(variance / len(numbers)) for variance in (1, 2, 15, 96)]
    return all(
        abs(found - exact) < 4 * error
        for found, exact, error in zip(moments(numbers), (0, 1, 0, 3), errors, strict=True)
    )


def farthest(numbers: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance from the normal distribution, times the root of the count."""
    ordered = np.sort(numbers)
    exact = np.array([NormalDist().cdf(number) for number in ordered])
    steps = np.arange(len(ordered) + 1) / len(ordered)
    return float(max((steps[1:] - exact).max(), (exact - steps[:-1]).max())) * math.sqrt(len(ordered))


def test_the_numbers_are_standard_normal_float32() -> None:
    drawn = rng.normal((1000, 1000), seed=5, tick=0)
    assert (drawn.dtype, drawn.shape) == (torch.float32, (1000, 1000))
    numbers = drawn.flatten().double().numpy()
    assert in_bounds(numbers)
    assert farthest(numbers[:100_000]) < 1.95, "the chance of more is one in a thousand"


def test_numbers_that_are_almost_normal_are_not_taken_for_it() -> None:
    numbers = rng.normal((COUNT,), seed=5, tick=0).double().numpy()
    assert not in_bounds(numbers + 0.01)
    assert not in_bounds(numbers * 1.01)
    assert not in_bounds(np.clip(numbers, -3, 3))
    assert farthest(numbers[:100_000] + 0.01) > 1.95


def test_the_distribution_function_is_off_by_at_most_three_in_ten_million() -> None:
    """Where the line between two knots is farthest from the curve: at and around the middle of every segment."""
    knots, exact = normal_table.knots(), NormalDist()
    worst = 0.0
    for segment in range(0, 32 * 256, 3):
        for part in (0.25, 0.5, 0.75):
            tail = math.ldexp(1 + (segment % 256 + part) / 256, segment // 256 - 33)
            number = (knots[segment] + part * (knots[segment + 1] - knots[segment])) * normal_table.UNIT
            worst = max(worst, abs(exact.cdf(-number) - tail))
    assert 1e-7 < worst < 3e-7
