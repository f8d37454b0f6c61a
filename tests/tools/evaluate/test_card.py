"""Claims about model cards: they hold the figures of their eval.json, split by what a gate tests."""

from __future__ import annotations

import json

import pytest

from nextframe.runtime.core import NextframeError
from nextframe.runtime.session.registry import find_world
from nextframe.tools.evaluate.card import BEGIN, END, put_between, write_card

WORLDS = ("circuit", "drive", "freedoom")


@pytest.mark.parametrize("name", WORLDS)
def test_the_shipped_card_holds_the_figures_of_its_evaluation(name: str) -> None:
    found = find_world(name)
    assert found.kind.gates is not None
    report = json.loads((found.path / "eval.json").read_text(encoding="utf-8"))
    card = (found.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert put_between(card, found.kind.gates().card(report), "card") == card
    changed = report | {
        "gates": report["gates"] | {"key_flip_in_next_frame": {"value": 0.5, "bound": "", "met": False}}
    }
    assert put_between(card, found.kind.gates().card(changed), "card") != card


@pytest.mark.parametrize("name", WORLDS)
def test_every_gate_is_in_one_of_two_tables(name: str) -> None:
    found = find_world(name)
    assert found.kind.gates is not None
    report = json.loads((found.path / "eval.json").read_text(encoding="utf-8"))
    text = found.kind.gates().card(report)
    dynamics, renderer = text.split("Gates that test the renderer")
    rows = [part.partition("Next frame, ")[0].count(" met |") for part in (dynamics, renderer)]
    missed = text.partition("Next frame, ")[0].count("**missed**")
    assert sum(rows) + missed == len(report["gates"])
    assert min(rows) > 0


def test_a_card_without_a_place_for_it_is_refused() -> None:
    with pytest.raises(NextframeError, match=r"my card: expected .* got no such place"):
        put_between("a card\n" + BEGIN, "tables", "my card")
    assert put_between(f"a{BEGIN}old{END}b", "new", "card") == f"a{BEGIN}\nnew\n{END}b"


def test_a_world_without_gates_of_its_own_has_no_tables() -> None:
    with pytest.raises(NextframeError, match="toy: expected a world with gates of its own"):
        write_card("toy")
