"""From 32 random bits to one standard normal number, with the same bytes on every device.

Owns a table of the inverse normal distribution and its lookup, in numpy and in torch. Knows nothing of seeds and ticks.

One bit is the sign. The other 31, `m`, choose the tail probability p = (2 m + 1) / 2^33, between 0 and 1/2. The odd
number 2 m + 1 is exact as a float64, and the bits of that float are the address: the exponent and the first 8 bits
of the mantissa name a segment of the table (32 octaves of 256, so the tail is as fine as the middle), the next 24
say where in the segment. Between two knots the number is a straight line in whole numbers of 2^-28.

Why so: a logarithm or a cosine differs by a last bit between processors, a multiply and an add may be fused into one
rounding. Integer adds, products and shifts differ nowhere. The one rounding is the last, an integer below 2^31 to
float32 by way of an exact float64.

Error: the distribution function is off by at most 3e-7, in the middle of the widest segments (a sample of 10^12
numbers would begin to show it); the largest number is 6.34, where p is 2^-33. Both are tested.
"""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

OCTAVES = 32
SEGMENT_BITS = 8
FRACTION_BITS = 24
UNIT = 2.0**-28
TABLE_CRC = 0xBBDA6282

_INDEX_SHIFT = 52 - SEGMENT_BITS
_FRACTION_SHIFT = _INDEX_SHIFT - FRACTION_BITS
_FIRST = 1023 << SEGMENT_BITS
_FRACTION_MASK = (1 << FRACTION_BITS) - 1
_HALF = 1 << (FRACTION_BITS - 1)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@lru_cache(maxsize=1)
def knots() -> Ints:
    """`(8193,)` int64: the normal number at each knot, in units of 2^-28, from the far tail down to 0.

    Made from exactly rounded operations alone (+ - * / and square root), so it is the same table everywhere; the
    checksum holds that. Newton's method on the tail probability, from Hastings' approximation (Abramowitz and Stegun
    26.2.23).
    """
    segment = np.arange((OCTAVES << SEGMENT_BITS) + 1)
    octave, part = segment >> SEGMENT_BITS, (segment % (1 << SEGMENT_BITS)) / (1 << SEGMENT_BITS)
    tail = np.ldexp(1.0 + part, octave - (OCTAVES + 1))
    surprise = (OCTAVES + 1 - octave - part * (1.3465553 - 0.3465553 * part)) * 0.6931471805599453  # about -ln(tail)
    t = np.sqrt(2 * surprise)
    above = 2.515517 + t * (0.802853 + t * 0.010328)
    z = np.maximum(t - above / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))), 0.0)
    for _ in range(5):
        density = _density(z)
        z = np.maximum(z + (_tail(z, density) - tail) / density, 0.0)
    table = np.rint(z / UNIT).astype(np.int64)
    crc = zlib.crc32(table.astype("<i8").tobytes())
    if crc != TABLE_CRC:
        raise ArithmeticError(
            f"the table of normal numbers came out as {crc:#010x} here, expected {TABLE_CRC:#010x}: "
            "this machine does not round float64 as IEEE 754 says, and its noise would not be that of others"
        )
    return table


def _density(z: Floats) -> Floats:
    """The normal density: the exponential by its series at 1/64 of the exponent, then six squarings."""
    x = z * z / 128
    term, total = np.ones_like(x), np.ones_like(x)
    for k in range(1, 17):
        term = term * x / k
        total = total + term
    for _ in range(6):
        total = total * total
    return 0.3989422804014327 / total


def _tail(z: Floats, density: Floats) -> Floats:
    """The probability above `z`: a series of positive terms below 3, Laplace's continued fraction from there on."""
    low, high = np.minimum(z, 3.0), np.maximum(z, 3.0)
    term, total = low, low
    for k in range(3, 101, 2):
        term = term * low * low / k
        total = total + term
    fraction = high
    for k in range(80, 0, -1):
        fraction = high + k / fraction
    return np.where(z < 3.0, 0.5 - density * total, density / fraction)


@lru_cache(maxsize=1)
def _numpy_table() -> tuple[Ints, Ints]:
    return knots()[:-1].copy(), np.diff(knots())


@lru_cache(maxsize=8)
def _torch_table(device: str) -> tuple[Tensor, Tensor]:
    start, rise = _numpy_table()
    return torch.from_numpy(start).to(device), torch.from_numpy(rise).to(device)


def normal_numpy(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Standard normal float32 numbers from integers below 2^32, of the same shape."""
    start, rise = _numpy_table()
    odd = ((words << np.uint64(1)) & np.uint64(0xFFFFFFFF)) | np.uint64(1)
    bits = odd.astype(np.float64).view(np.int64)
    segment = (bits >> _INDEX_SHIFT) - _FIRST
    fraction = (bits >> _FRACTION_SHIFT) & _FRACTION_MASK
    size = start[segment] + ((rise[segment] * fraction + _HALF) >> FRACTION_BITS)
    sign = 1 - ((words >> np.uint64(31)).astype(np.int64) << 1)
    numbers: NDArray[np.float32] = ((size * sign) * UNIT).astype(np.float32)
    return numbers


def normal_torch(words: Tensor) -> Tensor:
    """The same from an int64 tensor of integers below 2^32, on its device, line by line."""
    start, rise = _torch_table(str(words.device))
    odd = ((words << 1) & 0xFFFFFFFF) | 1
    bits = odd.to(torch.float64).view(torch.int64)
    segment = (bits >> _INDEX_SHIFT) - _FIRST
    fraction = (bits >> _FRACTION_SHIFT) & _FRACTION_MASK
    size = start[segment] + ((rise[segment] * fraction + _HALF) >> FRACTION_BITS)
    sign = 1 - ((words >> 31) << 1)
    return ((size * sign).to(torch.float64) * UNIT).to(torch.float32)
