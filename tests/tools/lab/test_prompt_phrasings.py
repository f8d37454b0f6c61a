"""The comparison on 200 phrasings: its material, its counting, and what it must show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextframe.runtime.core import ConfigError
from nextframe.runtime.session.registry import find_world
from nextframe.tools.lab.prompts import compare
from nextframe.tools.lab.prompts.compare import SHIPPED, SHIPPED_WITHOUT, UNSEEN, readers, score, table
from nextframe.tools.lab.prompts.phrasings import FILE, GROUPS, Phrasing, load_phrasings
from nextframe.tools.lab.prompts.readers import vocabulary_reader
from nextframe.worlds.prompts.encoder import load_vectors, package_folder

LATER = FILE.with_name("phrasings_later.yaml")
RAIN, NOTHING = Phrasing("plain", "rain", {"weather": "rain"}, True), Phrasing("neither", "car", {}, True)


def test_there_are_200_of_which_60_calibrate_and_at_least_30_speak_of_neither() -> None:
    phrasings = load_phrasings()
    assert len({phrasing.text for phrasing in phrasings}) == len(phrasings) == 200
    assert sum(phrasing.held_out for phrasing in phrasings) == 140
    assert sum(phrasing.kind == "neither" for phrasing in phrasings) >= 30
    assert not {phrasing.text for phrasing in load_phrasings(LATER)} & {phrasing.text for phrasing in phrasings}


def test_every_kind_and_every_word_is_on_both_sides_of_the_split() -> None:
    for held_out in (False, True):
        side = [phrasing for phrasing in load_phrasings() if phrasing.held_out is held_out]
        assert len({phrasing.kind for phrasing in side}) == 6
        words = {word for phrasing in side for word in phrasing.expected.values()}
        assert words == {word for words in find_world("circuit").spec.action_space().prompts.values() for word in words}


@pytest.mark.parametrize("entry", ["[rain, rain]", "[12, rain, ~]"])
def test_an_entry_of_another_form_is_refused(entry: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(f"plain:\n  - {entry}\n")
    with pytest.raises(ConfigError, match=r"plain: expected \[text, weather, time\]"):
        load_phrasings(tmp_path / "p.yaml")


def test_misses_wrong_words_and_inventions_are_told_apart() -> None:
    def counted(read: dict[str, str]) -> tuple[int, int, int, int]:
        one = score(lambda text: read, [RAIN, NOTHING])
        return one.missed, one.wrong, one.invented, one.cost

    assert counted({}) == (1, 0, 0, 1)
    assert counted({"weather": "rain"}) == (0, 0, 1, 2)
    assert counted({"weather": "snow", "time": "day"}) == (0, 1, 3, 8)


def test_a_reader_that_knows_the_answers_is_perfect_and_a_deaf_one_is_not() -> None:
    phrasings = load_phrasings()
    answers = {phrasing.text: phrasing.expected for phrasing in phrasings}
    perfect, deaf = score(answers.__getitem__, phrasings), score(lambda text: {}, phrasings)
    assert (perfect.weather, perfect.time, perfect.both, perfect.cost) == (1, 1, 1, 0)
    assert deaf.both < 0.3
    assert "100.0% | 100.0% | 100.0% | 0 | 0 | 0 | 0 |" in table({"perfect": perfect})


def test_the_vocabulary_reads_every_plain_phrasing() -> None:
    found = find_world("circuit")
    plain = [phrasing for phrasing in load_phrasings() if phrasing.kind == "plain"]
    assert score(vocabulary_reader(found.spec.action_space().prompts, found.synonyms), plain).both == 1
    assert score(vocabulary_reader(dict.fromkeys(GROUPS, ("none",)), {}), plain).both == 0


def test_each_part_of_the_reader_earns_its_place_and_shuffled_vectors_do_not() -> None:
    folder = package_folder()
    if folder is None:
        pytest.skip("needs the encoder")
    compared = readers("circuit", folder, load_vectors(folder))
    held_out = [phrasing for phrasing in load_phrasings() if phrasing.held_out]
    both = {name: score(reader, held_out).both for name, reader in compared.items()}
    assert both["vocabulary"] < both["vocabulary, negation heard"] < both[SHIPPED_WITHOUT] < both[SHIPPED]
    assert both["vocabulary, negation heard"] + 0.1 < both[UNSEEN]
    assert both["the same, vectors shuffled"] + 0.1 < both[UNSEEN]
    neither = [phrasing for phrasing in held_out if phrasing.kind == "neither"]
    assert score(compared[SHIPPED], neither).invented == 0


def test_the_command_prints_tables_and_one_line_of_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if package_folder() is None:
        pytest.skip("needs the encoder")
    assert compare.main(["--phrasings", str(LATER)]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed.splitlines()[-1])["scores"][SHIPPED]["phrasings"] == len(load_phrasings(LATER))
    monkeypatch.setattr(compare, "package_folder", lambda: None)
    assert compare.main([]) == 2
    assert "nextframe[prompts]" in capsys.readouterr().err
