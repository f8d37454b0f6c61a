"""Free text: what a player types becomes words of the vocabulary, and nothing else is recorded or depended on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import ConfigError, NextframeError
from nextframe.runtime.recording.reader import read_replay
from nextframe.runtime.session.registry import find_world
from nextframe.runtime.session.startup import checked_prompt
from nextframe.tools.lab.prompts.phrasings import load_phrasings
from nextframe.tools.lab.prompts.readers import shuffled
from nextframe.worlds.prompts import encoder, sentences
from nextframe.worlds.prompts.encoder import TENSOR, PhraseReader, PhraseVectors, load_vectors, package_folder
from nextframe.worlds.prompts.phrases import ASIDES, EXAMPLES
from nextframe.worlds.prompts.sentences import (
    SentenceReader,
    examples_for,
    explain,
    guess_by_encoder,
    listed_words,
    read_prompt,
)
from nextframe.worlds.prompts.words import parse_prompt
from tests.runtime.session.test_windowed import Player, player, recorded, ticks_of, xdotool  # noqa: F401 - a fixture, found by name
from tests.support.paths import ROOT
from tests.support.xvfb import xvfb, xvfb_server  # noqa: F401 - fixtures, found by name

GROUPS = {"weather": ("clear", "rain", "snow", "fog"), "time": ("day", "dusk", "night")}
SYNONYMS = {"rainy": "rain", "dark": "night"}
NO_EXTRA = Path("no such folder")


@pytest.fixture(scope="module")
def folder() -> Path:
    found = package_folder()
    if found is None:
        pytest.skip(f"needs the encoder: {encoder.HOW_TO_INSTALL}")
    return found


@pytest.fixture(scope="module")
def vectors(folder: Path) -> PhraseVectors:
    return load_vectors(folder)


@pytest.fixture(scope="module")
def reader(folder: Path) -> SentenceReader:
    return SentenceReader(GROUPS, SYNONYMS, folder=folder)


@pytest.fixture(scope="module")
def plain() -> SentenceReader:
    """One that has no encoder."""
    return SentenceReader(GROUPS, SYNONYMS, folder=NO_EXTRA)


def never(phrases: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    raise AssertionError(f"asked about {phrases}")


# --- vocabulary and negation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["rain", "rainy night", "please make it rain", "", "?!", "fog at dusk over elephants"])
def test_what_the_vocabulary_says_whole_is_never_guessed_at(text: str) -> None:
    read_prompt(text, GROUPS, SYNONYMS, [never])


def test_an_unknown_word_with_a_group_open_is_asked_about() -> None:
    with pytest.raises(AssertionError, match="elephants"):
        read_prompt("rain over elephants", GROUPS, SYNONYMS, [never])


def test_the_vocabulary_goes_before_a_guess() -> None:
    reading = read_prompt("snow, thunder", GROUPS, SYNONYMS, [lambda phrases: {"weather": ("rain", "thunder")}])
    assert reading.chosen == {"weather": "snow"}


@pytest.mark.parametrize(
    ("text", "chosen", "refused"),
    [
        ("no rain", {}, ("rain",)),
        ("not rain but snow", {"weather": "snow"}, ("rain",)),
        ("night without fog", {"time": "night"}, ("fog",)),
        ("snow instead of rain", {"weather": "snow"}, ("rain",)),
        ("dusk rather than night", {"time": "dusk"}, ("night",)),
        ("anything but snow", {}, ("snow",)),
        ("don't make it dark", {}, ("night",)),
        ("don’t make it rain", {}, ("rain",)),
        ("no rain make it snow", {"weather": "snow"}, ("rain",)),
        ("not day, night", {"time": "night"}, ("day",)),
        ("I'd rather have snow", {"weather": "snow"}, ()),
        ("rain", {"weather": "rain"}, ()),
        ("can't see a thing in the fog", {"weather": "fog"}, ()),
    ],
)
def test_what_is_not_wanted_is_not_chosen(text: str, chosen: dict[str, str], refused: tuple[str, ...]) -> None:
    reading = read_prompt(text, GROUPS, SYNONYMS)
    assert (reading.chosen, reading.refused) == (chosen, refused)


def test_the_vocabulary_alone_would_choose_what_is_not_wanted() -> None:
    assert parse_prompt("no rain", GROUPS, SYNONYMS).chosen == {"weather": "rain"}


@pytest.mark.parametrize("text", ["no downpour", "without any moonlight", "never a blizzard again"])
def test_a_guess_never_hears_what_is_negated(text: str, reader: SentenceReader) -> None:
    assert reader.read(text).chosen == {}
    assert reader.read(text.split()[-1 if "again" not in text else -2]).chosen, "it would be understood"


# --- listed examples -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("a heavy downpour", {"weather": "rain"}),
        ("golden hour", {"time": "dusk"}),
        ("a blizzard in the afternoon", {"weather": "snow", "time": "day"}),
        ("drizzle, moonlight", {"weather": "rain", "time": "night"}),
    ],
)
def test_listed_examples_are_understood_without_the_extra(
    text: str, chosen: dict[str, str], plain: SentenceReader
) -> None:
    assert plain.read(text).chosen == chosen
    assert read_prompt(text, GROUPS, SYNONYMS).chosen == {}, "the vocabulary alone knows none of it"


def test_a_word_of_two_meanings_or_of_an_aside_is_not_listed() -> None:
    listed = listed_words({"rain": ("grey cloud",), "fog": ("low cloud", "smog")}, ["grey car"])
    assert listed == {"grey cloud": "rain", "low cloud": "fog", "low": "fog", "smog": "fog"}


def test_every_example_stands_for_one_word_and_none_is_an_aside() -> None:
    phrases = [phrase for examples in EXAMPLES.values() for phrase in examples]
    assert len(set(phrases)) == len(phrases)
    assert not set(phrases) & set(ASIDES)


@pytest.mark.parametrize("world", ["circuit", "drive"])
def test_every_example_is_read_as_the_word_it_stands_for(world: str) -> None:
    found = find_world(world)
    plain = SentenceReader(found.spec.action_space().prompts, found.synonyms, folder=NO_EXTRA)
    meant = {phrase: meaning for meaning, examples in EXAMPLES.items() for phrase in examples}
    read = {phrase: " ".join(plain.read(phrase).chosen.values()) for phrase in meant}
    assert {phrase: words for phrase, words in read.items() if words != meant[phrase]} == {}
    alone = {phrase: plain.read(phrase.split()[-1]).chosen for phrase in meant}
    assert any(meant[phrase] not in chosen.values() for phrase, chosen in alone.items()), "its last word would not do"


@pytest.mark.parametrize(
    ("text", "chosen", "word_by_word"),
    [
        ("drizzle as the sun goes down", {"weather": "rain", "time": "dusk"}, {"weather": "clear"}),
        ("not a cloud in sight at the end of the day", {"weather": "clear", "time": "dusk"}, {}),
        ("Between Day and Night", {"time": "dusk"}, {"time": "night"}),
        ("no end of the day", {}, {}),
        ("an unending day", {"time": "day"}, {"time": "day"}),
        ("the sun is higher", {"weather": "clear"}, {"weather": "clear"}),
    ],
)
def test_an_idiom_is_not_read_word_by_word(text: str, chosen: dict[str, str], word_by_word: dict[str, str]) -> None:
    synonyms = {**SYNONYMS, "sun": "clear"}
    assert SentenceReader(GROUPS, synonyms, folder=NO_EXTRA).read(text).chosen == chosen
    assert read_prompt(text, GROUPS, synonyms).chosen == word_by_word


def test_a_world_with_words_of_its_own_is_read_by_its_synonyms(folder: Path) -> None:
    synonyms = {"merry": "joyful", "happy": "joyful", "cheerful": "joyful", "dismal": "gloomy"}
    own = SentenceReader({"mood": ("joyful", "gloomy")}, synonyms, folder=folder)
    assert own.read("full of joy").chosen == {"mood": "joyful"}
    assert own.read("a blue car").chosen == {}


# --- the encoder ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("icicles", {"weather": "snow"}),
        ("stormclouds", {"weather": "rain"}),
        ("starlit", {"time": "night"}),
        ("a stormfront, rather nightly", {"weather": "rain", "time": "night"}),
    ],
)
def test_the_encoder_reads_words_that_stand_in_no_list(
    text: str, chosen: dict[str, str], reader: SentenceReader, plain: SentenceReader
) -> None:
    assert reader.read(text).chosen == chosen
    assert plain.read(text).chosen == {}


@pytest.mark.parametrize(
    "text", ["a purple elephant", "drive faster", "pizza with cheese", "asdf", "who are you", "ß 雨"]
)
def test_text_far_from_everything_says_nothing_and_is_told_the_vocabulary(text: str, reader: SentenceReader) -> None:
    reading = reader.read(text)
    assert (reading.chosen, reading.said) == ({}, "")
    assert explain(reading, GROUPS).startswith("no word of it is known here; try clear, rain, snow, fog, day")


def test_a_phrase_speaks_of_one_group_only(vectors: PhraseVectors) -> None:
    reading = PhraseReader(vectors, examples_for(GROUPS, SYNONYMS), ASIDES)
    for phrase in ("starlit", "sunlit", "icicles", "glorious sunlight"):
        assert len(guess_by_encoder(reading, [phrase], GROUPS, threshold=-1)) == 1


def test_the_threshold_decides_whether_a_guess_is_made(vectors: PhraseVectors) -> None:
    reading = PhraseReader(vectors, examples_for(GROUPS, SYNONYMS), ASIDES)
    assert guess_by_encoder(reading, ["icicles"], GROUPS) == {"weather": ("snow", "icicles")}
    assert guess_by_encoder(reading, ["icicles"], GROUPS, threshold=2) == {}


def test_two_readers_give_the_same_scores(folder: Path, vectors: PhraseVectors) -> None:
    examples = examples_for(GROUPS, SYNONYMS)
    phrases = ["starlit", "frozen wastes", "elephant"]
    first, second = (PhraseReader(one, examples, ASIDES).scores(phrases) for one in (vectors, load_vectors(folder)))
    assert np.array_equal(first, second)


def test_a_phrase_alone_and_among_others_has_the_same_vector(vectors: PhraseVectors) -> None:
    together = vectors(["golden hour", "icicles"])
    assert np.array_equal(together[:1], vectors(["golden hour"]))
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    ids = vectors.tokenizer.encode("golden hour", add_special_tokens=False).ids
    whole = vectors.table[ids].mean(0, dtype=np.float32) - vectors.table.mean(0, dtype=np.float32)
    assert np.allclose(together[0], whole / np.linalg.norm(whole), atol=1e-5), "words one by one, or all at once"


def test_shuffled_vectors_understand_no_unlisted_word(vectors: PhraseVectors) -> None:
    reading = PhraseReader(shuffled(vectors), examples_for(GROUPS, SYNONYMS), ASIDES)
    right = {"icicles": "snow", "stormclouds": "rain", "starlit": "night", "frostbitten": "snow"}
    found = [guess_by_encoder(reading, [phrase], GROUPS) for phrase in right]
    assert sum(word in {said for said, _ in one.values()} for one, word in zip(found, right.values(), strict=True)) <= 1


# --- what is said to the world, and recorded -----------------------------------------------------------------------


def test_what_is_said_means_the_same_to_the_vocabulary_alone(reader: SentenceReader) -> None:
    readings = [reader.read(phrasing.text) for phrasing in load_phrasings()]
    assert all(parse_prompt(reading.said, GROUPS, SYNONYMS).chosen == reading.chosen for reading in readings)
    raw = [parse_prompt(phrasing.text, GROUPS, SYNONYMS).chosen for phrasing in load_phrasings()]
    assert raw != [reading.chosen for reading in readings], "the text itself would not do"


def test_text_that_the_vocabulary_reads_is_said_as_it_was_typed(reader: SentenceReader) -> None:
    assert reader.read("Rainy night, please!").said == "Rainy night, please!"
    assert reader.read("a downpour by night").said == "night rain"


def test_a_text_longer_than_a_controller_hands_on_is_said_in_the_vocabulary(reader: SentenceReader) -> None:
    longest, longer = ("rain" + " " * blanks + "night" for blanks in (391, 392))
    assert (reader.read(longest).said, reader.read(longer).said) == (longest, "rain night")
    late = "elephant " * 80 + "rain"
    assert parse_prompt(late, GROUPS, SYNONYMS).chosen == {"weather": "rain"}
    assert reader.read(late).said == "", "what is not read is not handed on"


def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "package_folder", lambda: None)


def test_a_recording_of_free_text_plays_again_without_the_extra(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = ["--prompt", "starlit", "--record", "a.nfr", "--no-video", "--clock", "fixed"]
    assert run_command(["run", "toy", "--ticks", "12", "--bot", "wander", *said]) == 0
    assert read_replay(Path("a.nfr")).ticks[0].action.prompt == "night"
    without_the_extra(monkeypatch)
    assert run_command(["replay", "a.nfr", "--verify"]) == 0
    assert run_command(["run", "toy", "--ticks", "12", "--bot", "wander", *said, "--overwrite"]) == 2, "not understood"


def test_free_text_in_a_window_is_recorded_in_the_vocabulary(folder: Path, player: Callable[..., Player]) -> None:  # noqa: F811
    playing = player("--record", "a.nfr", "--prompt", "moonlit")

    def has_recorded(word: str) -> bool:
        return any(tick.action.prompt == word for tick in ticks_of(playing))

    def typed() -> bool:
        xdotool("key", "t", "sleep", "0.4", "type", "--delay", "40", "sunlit")
        xdotool("key", "Return", "sleep", "1.2")
        return has_recorded("day")

    playing.until(lambda: has_recorded("night"), "the prompt of the command line to be recorded")
    playing.until(typed, "the typed prompt to be recorded")
    playing.quit()
    assert {tick.action.prompt for tick in recorded(playing.folder / "a.nfr").ticks} == {"night", "day", None}


def test_a_prompt_that_is_not_understood_is_refused_with_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = find_world("circuit")
    with pytest.raises(NextframeError, match=r"elephant.*it knows clear, rain, snow, fog, day, dusk, night$"):
        checked_prompt("elephant", circuit)
    with pytest.raises(NextframeError, match=r"not wanted \(rain\); it knows clear"):
        checked_prompt("no rain", circuit)
    without_the_extra(monkeypatch)
    with pytest.raises(NextframeError, match=r"nextframe\[prompts\].*it knows clear"):
        checked_prompt("icicles", circuit)


def test_the_player_is_told_what_was_read_as_what(reader: SentenceReader, plain: SentenceReader) -> None:
    def told(text: str) -> str:
        return explain(reader.read(text), GROUPS)

    assert told("a stormfront by night, no fog") == "night rain   ('stormfront' read as rain; not: fog)"
    assert told("rainy elephants") == "rain   (unknown: elephants)"
    assert told("the end of the day") == "dusk   ('end of the day' read as dusk)"
    assert told("neither fog nor rain").startswith("say what you want instead of fog, rain: ")
    assert told("no fog") == "say what you want instead of fog: clear, rain, snow, fog, day, dusk, night"
    assert explain(read_prompt("rain", {}, {}), {}) == "this world has no prompts"
    assert "nextframe[prompts]" in explain(plain.read("icicles"), GROUPS, "pip install 'nextframe[prompts]'")


# --- the package, absent, damaged, and without a network ------------------------------------------------------------


def copied(folder: Path, tmp_path: Path) -> Path:
    """The layout of the package with small files: a table that is too small and a tokenizer that is none."""
    for file in (encoder.WEIGHTS, encoder.TOKENIZER):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).symlink_to(folder / file)
    return tmp_path


def test_the_copy_that_is_to_be_damaged_is_whole(folder: Path, tmp_path: Path) -> None:
    assert SentenceReader(GROUPS, SYNONYMS, folder=copied(folder, tmp_path)).prepare()


@pytest.mark.parametrize("damage", ["no weights", "no tokenizer", "cut weights", "small table", "cut tokenizer"])
def test_a_damaged_package_is_one_clear_line_and_leaves_the_vocabulary(
    damage: str, folder: Path, tmp_path: Path
) -> None:
    package = copied(folder, tmp_path)
    file = package / (encoder.TOKENIZER if "tokenizer" in damage else encoder.WEIGHTS)
    file.unlink()
    if "cut" in damage:
        file.write_bytes((folder / file.relative_to(package)).read_bytes()[:5_000])
    elif damage == "small table":
        save_file({TENSOR: np.zeros((10, 256), np.float16)}, file)
    with pytest.raises(ConfigError, match=file.name):
        load_vectors(package)
    reader = SentenceReader(GROUPS, SYNONYMS, folder=package)
    assert reader.read("icicles by night").chosen == {"time": "night"}
    assert file.name in str(reader.lack)


def test_without_the_extra_the_reader_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    without_the_extra(monkeypatch)
    reader = SentenceReader(GROUPS, SYNONYMS)
    assert reader.read("rain").chosen == {"weather": "rain"}
    assert reader.lack is None, "not needed so far"
    assert reader.read("icicles").chosen == {}
    assert "nextframe[prompts]" in str(reader.lack)


OFFLINE = """
import json
import socket
import sys
def cut(*_, **__): raise OSError("the network is cut")
socket.socket.connect = socket.getaddrinfo = cut
from nextframe.worlds.prompts.sentences import SentenceReader
GROUPS = {"weather": ("clear", "snow")}
before = [name for name in ("tokenizers", "safetensors") if name in sys.modules]
without = SentenceReader({}, {})
without.read("icicles"), without.prepare()
still = [name for name in ("tokenizers", "safetensors") if name in sys.modules]
read = dict(SentenceReader(GROUPS, {}).read("icicles").chosen)
behind = [name for name in ("wordllama", "huggingface_hub", "requests", "torch") if name in sys.modules]
print(json.dumps([before, still, read, behind]))
"""


def test_it_reads_with_the_network_cut_no_cache_and_no_home(folder: Path, tmp_path: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": "."}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", OFFLINE],
        check=True, capture_output=True, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    before, still, read, behind = json.loads(ran.stdout)
    assert before == still == [], "importing it, and a world without prompts, load nothing"
    assert read == {"weather": "snow"}
    assert behind == []
    assert list(tmp_path.iterdir()) == [], "nothing is cached"
