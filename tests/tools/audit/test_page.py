"""Claims about what an audit leaves: the JSON document, and a page that is plain to read and safe to open."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nextframe.runtime.core import NextframeError
from nextframe.tools.audit.judge.claims import parse_claim
from nextframe.tools.audit.judge.document import SCHEMA, build_document, findings_of, read_document, write_document
from nextframe.tools.audit.judge.verdict import categorise, judge
from nextframe.tools.audit.page.html import render_page, write_page
from nextframe.tools.audit.page.pictures import columns, pictures_json
from nextframe.tools.audit.questions.evidence import Evidence, Percentiles
from tests.support.audit_evidence import live_evidence, silent_evidence

CLAIMS = ("next-frame control", "30 FPS", "jitter under 5 ms", "remembers 60 s", "broad source")


def document_of(evidence: Evidence) -> dict[str, Any]:
    findings = findings_of(evidence)
    category = categorise(findings)
    verdicts = judge([parse_claim(text) for text in CLAIMS], findings, category)
    return build_document(evidence, findings, category, verdicts, env={"cpu": "a cpu"})


def page_of(evidence: Evidence) -> str:
    return render_page(document_of(evidence), pictures_json(evidence))


class Tags(HTMLParser):
    """Opening tags with their attributes, and the text between."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


# --- the document ------------------------------------------------------------------------------------------------


def test_the_document_has_the_keys_that_tools_rely_on() -> None:
    document = document_of(live_evidence())
    assert document["schema"] == SCHEMA
    assert document["category"] == "interactive"
    assert {"changes", "first_changed_frame", "effect", "noise_floor"} <= document["next_frame"].keys()
    assert {"fps_interacting", "fps_idle", "miss_rate", "jitter_ms"} <= document["sustained"].keys()
    assert document["ttff_ms"]["total"] == 960.0
    assert {"inventory", "effective_memory_ticks", "survives_prompt_change"} <= document["state"].keys()
    assert {"breadth", "evidence"} <= document["source"].keys()
    assert {claim["claim"]: claim["verdict"] for claim in document["claims"]} == {
        "next-frame control": "proven",
        "30 FPS": "refuted",
        "jitter under 5 ms": "proven",
        "remembers 60 s": "refuted",
        "broad source": "proven",
    }


def test_the_document_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    document = document_of(live_evidence())
    assert read_document(write_document(document, tmp_path / "deep" / "audit.json")) == json.loads(json.dumps(document))


def test_a_memory_without_a_known_end_is_null_and_no_infinity() -> None:
    evidence = live_evidence()
    document = document_of(replace(evidence, memory=replace(evidence.memory, at_least=True)))
    assert document["findings"]["memory_ticks"]["high"] is None
    json.dumps(document, allow_nan=False)


def test_what_was_not_measured_is_null_with_a_reason_and_proves_nothing() -> None:
    document = document_of(silent_evidence())
    assert document["missing"]["fps_interacting"] == "it ended after 3 frames"
    assert document["missing"]["survives_prompt_change"] == "it has no prompts"
    verdicts = {claim["claim"]: claim["verdict"] for claim in document["claims"]}
    assert verdicts == {**dict.fromkeys(CLAIMS, "insufficient"), "next-frame control": "refuted"}


def response_of(worst_frames: list[int]) -> tuple[float, float]:
    """Usual and slow end of the response, in frames, when each control's worst trial is so late."""
    live = live_evidence().next_frame
    controls = [replace(live.per_action[0], control=str(n), worst_frame=worst) for n, worst in enumerate(worst_frames)]
    late = replace(live, response_frames=Percentiles(1, 6), per_action=tuple(controls))
    frames = findings_of(replace(live_evidence(), next_frame=late)).response_frames
    assert frames is not None
    return frames.value, frames.high


def test_late_trials_of_most_controls_are_a_delay_of_the_target() -> None:
    assert response_of([6, 6, 6, 1]) == (1, 6)


def test_late_trials_of_one_control_are_a_weak_effect_of_that_control() -> None:
    assert response_of([6, 1, 1, 1]) == (1, 1)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "nextframe.report/1"}'])
def test_a_file_that_is_no_audit_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NextframeError, match="expected"):
        read_document(path)


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_page_says_the_category_the_three_numbers_and_the_four_answers() -> None:
    text = Tags(page_of(live_evidence())).text
    for words in ("This is interactive", "Time to first frame", "Frame rate while interacting", "What persists"):
        assert words in text
    assert text.count("?") >= 4
    assert "not enough evidence" not in text


def test_the_page_shows_each_claim_with_its_verdict_and_measurement() -> None:
    page = page_of(live_evidence())
    rows = re.findall(r'<tr class="(proven|refuted|insufficient)"><th class="text">([^<]+)', page)
    assert {claim: verdict for verdict, claim in rows}["30 FPS"] == "refuted"
    assert "19.8 FPS" in page


def test_the_page_shows_both_runs_and_their_difference_side_by_side() -> None:
    images = [attributes for tag, attributes in Tags(page_of(live_evidence())).tags if tag == "img"]
    strip = [attributes for attributes in images if attributes["alt"] != "A session"]
    assert len(strip) == 3 * (len(columns(30, 1)) + 1)
    assert all(str(attributes["src"]).startswith("data:image/png;base64,") for attributes in images)


def test_the_page_loads_nothing() -> None:
    tags = Tags(page_of(live_evidence())).tags
    links = [attributes.get("src") or attributes.get("href") or "" for _, attributes in tags]
    assert [link for link in links if link and not link.startswith(("data:", "#"))] == []
    assert not [tag for tag, _ in tags if tag == "script"]


def test_a_page_of_a_target_that_says_little_is_still_a_page() -> None:
    text = Tags(page_of(silent_evidence())).text
    assert "it ended after 3 frames" in text
    assert "not known" in text


def test_what_a_target_calls_itself_is_never_markup() -> None:
    nasty = "<img src=x onerror=alert(1)>"
    evidence = replace(live_evidence(), target=nasty, notes=(nasty,))
    page = page_of(evidence)
    assert nasty not in page
    assert "&lt;img src=x" in page


def test_a_document_of_another_schema_is_refused() -> None:
    with pytest.raises(NextframeError, match=r"expected a document of schema nextframe\.audit/1"):
        render_page({"schema": "nextframe.report/1"})


def test_a_page_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(NextframeError, match=r"file/audit\.html"):
        write_page(document_of(live_evidence()), tmp_path / "file" / "audit.html")


@pytest.mark.parametrize(("frames", "first"), [(1, 1), (5, None), (30, 1), (90, 33), (90, 90), (300, 2)])
def test_the_pictures_hold_the_next_frame_and_the_first_that_changed(frames: int, first: int | None) -> None:
    chosen = columns(frames, first)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 1
    assert first is None or first in chosen
    assert len(chosen) <= 6
    assert chosen[-1] <= frames
