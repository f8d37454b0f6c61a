"""Noise by address: the same (seed, tick, denoise step, stream) gives the same bytes, on any device, in any order.

Counter-based: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011).
Nothing is consumed, so nothing can drift. Integers only, up to the last rounding; see
`nextframe.model.base.normal_table` for how 32 bits become a normal number.

The address is the cipher's input, part by part, so two addresses never share a block:
key = seed (64 bits); counter = block of four elements (32), denoise step (16) and stream (16), tick (64).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .normal_table import normal_numpy, normal_torch

NAME = "philox4x32-10/table-8-24"
"""What a recording must name to be played back: another way to the numbers gets another name."""

STREAM_SAMPLER = 0

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORD = 2**32 - 1

INTEGER_COUNT = 1024
"""Up to here one Python integer is quicker than numpy: the noise of a small latent takes 10 us, not 50."""

Words = NDArray[np.uint64]

_NUMPY_MULTIPLIERS = np.array(MULTIPLIERS, np.uint64)[:, None]
_32, _WORD = np.uint64(32), np.uint64(WORD)


@dataclass(frozen=True)
class Address:
    """Where numbers come from. `seed` and `tick` count modulo 2^64; `denoise_step` and `stream` are below 2^16."""

    seed: int
    tick: int
    denoise_step: int = 0
    stream: int = STREAM_SAMPLER

    def __post_init__(self) -> None:
        for name in ("denoise_step", "stream"):
            if not 0 <= getattr(self, name) < 2**16:
                raise ValueError(f"noise address: expected {name} from 0 to 65535, got {getattr(self, name)}")

    @property
    def key(self) -> tuple[int, int]:
        return self.seed & WORD, (self.seed >> 32) & WORD

    @property
    def counter(self) -> tuple[int, int, int]:
        """The counter's words after the first, which counts blocks of four elements."""
        return (self.stream << 16) | self.denoise_step, self.tick & WORD, (self.tick >> 32) & WORD


def normal(
    shape: tuple[int, ...],
    *,
    seed: int,
    tick: int,
    denoise_step: int = 0,
    stream: int = STREAM_SAMPLER,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Standard normal float32 noise of `shape` for this address; a larger shape begins with the same numbers.

    The same bytes on every device. On the CPU the way there is the one whose calls cost least.
    """
    address, count = Address(seed, tick, denoise_step, stream), math.prod(shape)
    if torch.device(device).type != "cpu":
        return normal_torch(words_torch(count, address, device)).reshape(shape)
    words = words_integer(count, address) if count <= INTEGER_COUNT else words_numpy(count, address)
    return torch.from_numpy(normal_numpy(words)).reshape(shape)


def round_keys(key: tuple[int, int]) -> list[tuple[int, int]]:
    """The key of each round."""
    return [((key[0] + r * KEY_STEPS[0]) & WORD, (key[1] + r * KEY_STEPS[1]) & WORD) for r in range(ROUNDS)]


# --- Python: one integer holds all blocks, 64 bits each, and no product of two words leaves its 64 -----------------


@lru_cache(maxsize=64)
def _lanes(blocks: int) -> tuple[int, int]:
    """A one in each lane, and each lane's number in it."""
    return sum(1 << 64 * i for i in range(blocks)), sum(i << 64 * i for i in range(blocks))


def words_integer(count: int, address: Address) -> Words:
    """`(count,)` integers below 2^32."""
    blocks = _blocks_of(count)
    (one, c0), (m0, m1) = _lanes(blocks), MULTIPLIERS
    c1, c2, c3 = (one * word for word in address.counter)
    low_words = one * WORD
    for k0, k1 in round_keys(address.key):
        product0, product1 = c0 * m0, c2 * m1
        c0, c1 = (product1 >> 32 & low_words) ^ c1 ^ one * k0, product1 & low_words
        c2, c3 = (product0 >> 32 & low_words) ^ c3 ^ one * k1, product0 & low_words
    stored = b"".join(c.to_bytes(8 * blocks, "little") for c in (c0, c1, c2, c3))
    return np.frombuffer(stored, "<u8").reshape(4, blocks).T.reshape(-1)[:count]


# --- numpy -------------------------------------------------------------------------------------------------------


def words_numpy(count: int, address: Address) -> Words:
    """`(count,)` integers below 2^32."""
    blocks = _blocks_of(count)
    counter = np.empty((4, blocks), np.uint64)
    counter[0] = np.arange(blocks, dtype=np.uint64)
    counter[1:] = np.array(address.counter, np.uint64)[:, None]
    return philox_numpy(counter, address.key).T.reshape(-1)[:count]


def philox_numpy(counter: Words, key: tuple[int, int]) -> Words:
    """The cipher on each column of `(4, n)` integers below 2^32; returns the same shape. Changes nothing."""
    keys = np.array(round_keys(key), np.uint64)[..., None]
    even, odd = counter[0::2], counter[1::2]
    for round_key in keys:
        product = even * _NUMPY_MULTIPLIERS
        even, odd = (product >> _32)[::-1] ^ odd ^ round_key, (product & _WORD)[::-1]
    words = np.empty_like(counter)
    words[0::2], words[1::2] = even, odd
    return words


# --- torch: no unsigned 64-bit product there, so a product is put together from halves --------------------------------


def words_torch(count: int, address: Address, device: torch.device | str) -> Tensor:
    """`(count,)` int64 below 2^32, on the device."""
    blocks = _blocks_of(count)
    counter = torch.empty((4, blocks), dtype=torch.int64, device=device)
    torch.arange(blocks, out=counter[0])
    for row, word in enumerate(address.counter, start=1):
        counter[row].fill_(word)
    return philox_torch(counter, address.key).T.reshape(-1)[:count]


def philox_torch(counter: Tensor, key: tuple[int, int]) -> Tensor:
    """As `philox_numpy`, for an int64 tensor `(4, n)`."""
    (c0, c1, c2, c3), (m0, m1) = counter.unbind(0), MULTIPLIERS
    for k0, k1 in round_keys(key):
        (high0, low0), (high1, low1) = _product(c0, m0), _product(c2, m1)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
    return torch.stack([c0, c1, c2, c3])


def _product(word: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """High and low word of a 64-bit product; no part of the sum reaches 2^50."""
    below, above = word * (multiplier & 0xFFFF), word * (multiplier >> 16)
    high = (above + (below >> 16)) >> 16
    low = (((above & 0xFFFF) << 16) + below) & WORD
    return high, low


def _blocks_of(count: int) -> int:
    blocks = -(-count // 4)
    if blocks > 2**32:
        raise ValueError(f"noise address: expected at most 2^34 numbers at one address, got {count}")
    return blocks
