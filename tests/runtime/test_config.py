"""Claims about configuration files: what is accepted, and that every mistake is one line with file, line and advice."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextframe.runtime.config import MAX_YAML_BYTES, WorldSpec, load_yaml, nearest, parse_yaml, world_info
from nextframe.runtime.core import ActionSpace, ConfigError

MINIMAL = "name: pond\nwidth_px: 64\nheight_px: 48\n"
FULL = """\
name: circuit
kind: neural
title: A lap
description: Drive.
width_px: 128
height_px: 96
tick_hz: 35/2
ladder: [1, 2, 4]
actions:
  buttons: {handbrake: locks the rear wheels}
  axes: {steer: -1 left to 1 right, throttle: 0 to 1}
prompts:
  weather: [clear, rain]
  time: [day, no]
default_prompt: clear day
weights: [dynamics.safetensors, parts/tokenizer.safetensors]
parameters: {layers: 8, rope: {base: 1.0e4}}
"""


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "world.yaml", WorldSpec)
    message = str(caught.value)
    assert message.startswith("world.yaml:")
    assert "\n" not in message
    return message


def test_a_full_world_file_becomes_a_frozen_model() -> None:
    spec = parse_yaml(FULL, "world.yaml", WorldSpec)
    assert spec.tick_hz == Fraction(35, 2)
    assert spec.ladder == (1, 2, 4)
    assert spec.parameters == {"layers": 8, "rope": {"base": 10000.0}}
    assert spec.action_space() == ActionSpace(
        ("handbrake",), ("steer", "throttle"), {"weather": ("clear", "rain"), "time": ("day", "no")}
    )
    with pytest.raises(ValueError, match="frozen"):
        spec.name = "other"


def test_sensible_defaults_stand_in_for_what_is_left_out() -> None:
    spec = parse_yaml(MINIMAL, "world.yaml", WorldSpec)
    assert (spec.tick_hz, spec.ladder, spec.weights, spec.default_prompt) == (Fraction(20), (1,), (), "")


def test_names_may_be_listed_without_descriptions_and_prompts_may_stand_under_actions() -> None:
    spec = parse_yaml(MINIMAL + "actions: {buttons: [brake], axes: [steer], prompts: {light: [day]}}", "w", WorldSpec)
    assert spec.action_space() == ActionSpace(("brake",), ("steer",), {"light": ("day",)})


def test_world_info_carries_the_text_and_its_hash() -> None:
    spec = parse_yaml(FULL, "world.yaml", WorldSpec)
    info = world_info(spec, config_text=FULL, weights_sha256="ab")
    assert info.config_sha256 == hashlib.sha256(FULL.encode()).hexdigest()
    assert (info.config_text, info.weights_sha256, info.tick_hz) == (FULL, "ab", Fraction(35, 2))


@pytest.mark.parametrize(
    ("extra", "line", "says"),
    [
        ("lader: [1]", 4, "did you mean 'ladder'?"),
        ("actions: {butons: [fire]}", 4, "did you mean 'buttons'?"),
        ("actions:\n  axes: {}\n  buttuns: [fire]", 6, "did you mean 'buttons'?"),
        ("zzzz: 1", 4, "expected one of: name, kind"),
        ("name: twice", 4, "given twice (first on line 1)"),
        ("actions: {axes: {steer: a, steer: b}}", 4, "given twice"),
        ("title: &anchor x", 4, "anchors and aliases are not allowed"),
        ("title: *alias", 4, "anchors and aliases are not allowed"),
        ("parameters: {<<: {a: 1}}\nladder: x", 5, "ladder: expected"),
        ("title: !!python/name:os.system x", 4, "not allowed"),
        ("title: [unclosed", 5, "not valid YAML"),
        ("parameters: " + "[" * 40 + "]" * 40, 4, "nested deeper"),
        ("parameters: {1: x}", 4, "expected a name as key"),
        ("ladder: [4, 2]", 4, "ascending"),
        ("ladder: []", 4, "at least 1 item"),
        ("ladder: [1, true]", 4, "got True"),
        ("ladder: [0]", 4, "greater than or equal to 1"),
        ("tick_hz: fast", 4, '20 or "35/2"'),
        ("tick_hz: 1/0", 4, '20 or "35/2"'),
        ("tick_hz: 0", 4, "0.1 to 1000"),
        ("weights: [/etc/passwd]", 4, "inside the world's folder"),
        ("weights: [a, ../b]", 4, "inside the world's folder"),
        ("weights: ['C:\\\\x']", 4, "inside the world's folder"),
        ("actions: {buttons: [a], axes: [a]}", 4, "got both"),
        ("actions: {buttons: [a, a]}", 4, "each name once"),
        ("actions: {prompts: {a: [b]}}\nprompts: {a: [b]}", 1, "got both"),
        ('title: "\\ud800"', 1, "Invalid JSON"),
        ("parameters: {x: 1.0e999}", 4, "not allowed"),
        ("title: a\n---\ntitle: b", 5, "another document"),
        ("title: \x07", 4, "special characters"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(extra: str, line: int, says: str) -> None:
    message = refused(MINIMAL + extra + "\n")
    assert message.startswith(f"world.yaml:{line}:")
    assert says in message


def test_a_misspelt_key_is_reported_before_the_one_missing_for_it() -> None:
    assert "did you mean 'width_px'?" in refused("name: a\nwidht_px: 64\nheight_px: 48\n")


def test_a_missing_key_is_named() -> None:
    assert "missing key 'name'" in refused("width_px: 64\nheight_px: 48\n")


@pytest.mark.parametrize("text", ["- 1\n", "just words\n", "42\n"])
def test_a_file_without_keys_is_refused(text: str) -> None:
    assert "expected keys with values" in refused(text)


def test_an_empty_file_lacks_its_keys() -> None:
    assert "missing key 'name'" in refused("")


def test_words_that_old_yaml_took_for_other_things_stay_words() -> None:
    spec = parse_yaml(MINIMAL + "prompts: {answers: [yes, no, on, off, 12:30, 2024-01-01]}\n", "w", WorldSpec)
    assert spec.prompts["answers"] == ("yes", "no", "on", "off", "12:30", "2024-01-01")


def test_files_are_read_with_their_name_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text(FULL, encoding="utf-8")
    assert load_yaml(path, WorldSpec).name == "circuit"
    path.write_text(MINIMAL + "titel: x\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"world\.yaml:4: .*'title'"):
        load_yaml(path, WorldSpec)


def test_missing_oversized_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_yaml(tmp_path / "none.yaml", WorldSpec)
    with pytest.raises(ConfigError, match="directory"):
        load_yaml(tmp_path, WorldSpec)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_YAML_BYTES + 1))
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        load_yaml(large, WorldSpec)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"name: x\nwidth_px: \xff\n")
    with pytest.raises(ConfigError, match=r"binary\.yaml:2: expected UTF-8"):
        load_yaml(binary, WorldSpec)


def test_the_nearest_word_is_found_only_when_it_is_near() -> None:
    assert nearest("stear", ["throttle", "steer"]) == "steer"
    assert nearest("banana", ["throttle", "steer"]) is None
    assert nearest("x", []) is None


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="ab:-[]{}&*!'\"\\|>%@#,.\n 01<~?", max_size=80))
def test_no_text_at_all_gets_past_as_another_error(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_yaml(text, "fuzz.yaml", WorldSpec)
