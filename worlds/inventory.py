"""What a state weighs. Owns the rule by which a world's inventory counts bytes; knows nothing of any one world.

The rule: an array counts its bytes, a number 8, a boolean 1, text its UTF-8 bytes, None nothing; keys and the
containers themselves are free.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

NUMBER_BYTES = 8


def plain_bytes(value: object) -> int:
    """The bytes of plain data by the rule above. Raises TypeError for anything that is not plain data."""
    if isinstance(value, Mapping):
        return sum(map(plain_bytes, value.values()))
    if isinstance(value, list):
        return sum(map(plain_bytes, value))
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, str):
        return len(value.encode())
    if value is None or isinstance(value, bool):
        return int(value is not None)
    if isinstance(value, int | float):
        return NUMBER_BYTES
    raise TypeError(f"an inventory counts plain data: expected numbers, text, arrays and containers, got {value!r}")
