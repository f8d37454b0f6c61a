"""Prompts: free text to words of a world's vocabulary. "Rainy night, please" is weather rain, time night.

Unknown words change nothing and are reported, so the player learns what works.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """`chosen`: group -> word. `ignored`: words of the text that mean nothing here."""

    chosen: Mapping[str, str]
    ignored: tuple[str, ...]


FILLERS = frozenset(
    {"a", "an", "and", "at", "in", "it", "is", "its", "make", "please", "the", "to", "with", "weather", "time", "of"}
)


def parse_prompt(text: str, groups: Mapping[str, tuple[str, ...]], synonyms: Mapping[str, str]) -> Prompt:
    """Match each word, itself or by synonym; the last one of a group wins."""
    group_of = {word: group for group, words in groups.items() for word in words}
    chosen: dict[str, str] = {}
    ignored = []
    for word in re.findall(r"[a-z]+", text.lower()):
        meant = synonyms.get(word, word)
        if meant in group_of:
            chosen[group_of[meant]] = meant
        elif word not in FILLERS:
            ignored.append(word)
    return Prompt(chosen, tuple(ignored))
