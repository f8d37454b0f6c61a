"""Prompts: free text becomes words of the vocabulary; what means nothing is reported, and changes nothing."""

from __future__ import annotations

import pytest

from nextframe.worlds.prompts.words import FILLERS, parse_prompt

GROUPS = {"weather": ("clear", "rain", "snow"), "time": ("day", "night")}
SYNONYMS = {"rainy": "rain", "dark": "night"}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("rain", {"weather": "rain"}),
        ("night", {"time": "night"}),
        ("rain night", {"weather": "rain", "time": "night"}),
        ("Rainy night, please!", {"weather": "rain", "time": "night"}),
        ("make it DARK", {"time": "night"}),
        ("snow-rain", {"weather": "rain"}),
        ("rain, no: snow", {"weather": "snow"}),
        ("", {}),
        ("1234 ?!", {}),
    ],
)
def test_words_and_synonyms_choose_and_the_last_of_a_group_wins(text: str, chosen: dict[str, str]) -> None:
    assert parse_prompt(text, GROUPS, SYNONYMS).chosen == chosen


def test_words_without_a_meaning_are_reported_in_order() -> None:
    prompt = parse_prompt("purple rain over elephants", GROUPS, SYNONYMS)
    assert prompt.chosen == {"weather": "rain"}
    assert prompt.ignored == ("purple", "over", "elephants")


def test_fillers_are_neither_chosen_nor_reported() -> None:
    prompt = parse_prompt("please make it a rainy day with the time at night", GROUPS, SYNONYMS)
    assert prompt.chosen == {"weather": "rain", "time": "night"}
    assert prompt.ignored == ()


def test_a_word_is_matched_whole() -> None:
    assert parse_prompt("rainbow", GROUPS, SYNONYMS).chosen == {}
    assert parse_prompt("rainbow", GROUPS, SYNONYMS).ignored == ("rainbow",)


def test_a_filler_that_a_world_knows_is_a_word() -> None:
    assert "time" in FILLERS
    assert parse_prompt("time", {"what": ("time",)}, {}).chosen == {"what": "time"}
