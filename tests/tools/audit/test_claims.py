"""Claims about claims: the small grammar of what vendors say, and its messages."""

from __future__ import annotations

import pytest

from nextframe.runtime.core import ConfigError
from nextframe.tools.audit.judge.claims import FORMS, Form, load_claims, parse_claim, parse_claims
from tests.support.paths import ROOT


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.example)
def test_every_form_reads_its_own_example_and_no_other_forms(form: Form) -> None:
    claim = parse_claim(form.example)
    assert (claim.kind, claim.bound) == (form.kind, form.bound)
    assert [other.example for other in FORMS if other.pattern.fullmatch(form.example.casefold())] == [form.example]


@pytest.mark.parametrize(
    ("text", "kind", "bound", "value"),
    [
        ("30 FPS", "fps", "at least", 30.0),
        ("at least 29.97 fps while interacting", "fps", "at least", 29.97),
        ("60 FPS idle", "idle_fps", "at least", 60.0),
        ("Next-frame control", "response_frames", "at most", 1.0),
        ("per-frame response", "response_frames", "at most", 1.0),
        ("responds within 4 frames", "response_frames", "at most", 4.0),
        ("response under 0.1 s", "response_ms", "at most", 100.0),
        ("TTFF under 500 ms", "ttff_ms", "at most", 500.0),
        ("first frame in 2 seconds", "ttff_ms", "at most", 2000.0),
        ("remembers 60 s", "memory_s", "at least", 60.0),
        ("memory of 2 minutes", "memory_s", "at least", 120.0),
        ("remembers at least 40 frames", "memory_ticks", "at least", 40.0),
        ("survives a prompt change", "survives_prompt_change", "is", True),
        ("miss rate at most 0.5 %", "miss_rate", "at most", 0.005),
        ("unique frames 95 percent", "unique_share", "at least", 0.95),
        ("every frame is new", "unique_share", "at least", 0.99),
        ("real-time interactive", "category", "is", "interactive"),
        ("a broad world", "breadth", "is", "broad"),
    ],
)
def test_a_sentence_means_a_bound_on_a_measure(text: str, kind: str, bound: str, value: object) -> None:
    claim = parse_claim(text)
    assert (claim.kind, claim.bound, claim.value) == (kind, bound, value)


@pytest.mark.parametrize("text", ["30 FPS maybe", "interactive-ish", "TTFF under 500", "-3 FPS", "remembers", "30"])
def test_a_sentence_that_only_begins_like_a_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown claim"):
        parse_claim(text)


def test_an_unknown_claim_names_file_line_and_the_nearest_form() -> None:
    with pytest.raises(ConfigError, match=r"^vendor\.yaml:4: unknown claim 'rememberz 60 s'.*'remembers 60 s'"):
        parse_claims("target: x\nclaims:\n  - 30 FPS\n  - rememberz 60 s\n", "vendor.yaml")


def test_a_misspelt_key_names_file_line_and_the_nearest_key() -> None:
    with pytest.raises(ConfigError, match=r"^vendor\.yaml:1: unknown key 'claim'; did you mean 'claims'\?"):
        parse_claims("claim: [30 FPS]\n", "vendor.yaml")


def test_two_names_for_one_thing_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match=r"^v:3: 'streaming' contradicts 'interactive' on line 2; keep one"):
        parse_claims("claims:\n  - interactive\n  - streaming\n", "v")


def test_two_bounds_on_one_measure_do_not() -> None:
    assert len(parse_claims("claims: [responds within 2 frames, next-frame control]\n", "v").claims) == 2


def test_a_file_without_claims_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^v:1: .*claims"):
        parse_claims("claims: []\n", "v")


def test_the_example_in_the_docs_is_valid_and_every_claim_knows_its_line() -> None:
    path = ROOT / "docs" / "claims_example.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    for claim in load_claims(path).claims:
        assert claim.text in lines[claim.line - 1]


def test_the_docs_list_every_form() -> None:
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    missing = [form.example for form in FORMS if f"`{form.example}`" not in text]
    assert not missing
