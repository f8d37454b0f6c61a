"""The 200 phrasings, and their split into calibration and held-out.

`phrasings.yaml` says how it was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from ....runtime.core import ConfigError

FILE = Path(__file__).with_name("phrasings.yaml")
GROUPS = ("weather", "time")
CALIBRATION_PLACES = (0, 3, 7)
"""Of each ten, in the order of the file: 60 of 200."""


@dataclass(frozen=True)
class Phrasing:
    """`expected`: group -> word, without the groups that the text does not speak of."""

    kind: str
    text: str
    expected: dict[str, str]
    held_out: bool


def load_phrasings(path: Path = FILE) -> list[Phrasing]:
    """All of them, in order. Raises ConfigError for an entry that is not [text, weather, time]."""
    rows: list[Phrasing] = []
    for kind, entries in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        for entry in entries:
            if len(entry) != 3 or not isinstance(entry[0], str):
                raise ConfigError(f"{path}: {kind}: expected [text, weather, time], got {entry!r}")
            expected = {group: str(word) for group, word in zip(GROUPS, entry[1:], strict=True) if word is not None}
            rows.append(Phrasing(kind, entry[0], expected, len(rows) % 10 not in CALIBRATION_PLACES))
    return rows
