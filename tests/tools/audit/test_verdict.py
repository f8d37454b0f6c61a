"""Claims about verdicts: which numbers make which category, and what a measurement with a spread proves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nextframe.tools.audit.judge.claims import parse_claim
from nextframe.tools.audit.judge.findings import Estimate, Findings, exactly
from nextframe.tools.audit.judge.verdict import (
    HELD_SHARE,
    INTERACTIVE_FRAMES,
    INTERACTIVE_MS,
    STALL_MS,
    categorise,
    exit_code,
    judge,
    judge_claim,
    responds_later_than,
)

LIVE = Findings(
    target="live",
    tick_hz=20.0,
    responds=True,
    horizon_frames=64,
    response_frames=exactly(1, 24),
    response_ms=Estimate(20, 18, 40, 24, "5th to 95th percentile"),
    fps_interacting=Estimate(19.8, 19.0, 20.0, 5),
    fps_idle=exactly(20.0),
    unique_share=exactly(1.0),
    ttff_ms=exactly(80.0),
    memory_ticks=exactly(30.0),
    survives_prompt_change=True,
    breadth="broad",
)


def late(frames: float, ms: float) -> Findings:
    return replace(LIVE, response_frames=exactly(frames), response_ms=exactly(ms))


@pytest.mark.parametrize(
    ("findings", "category"),
    [
        (LIVE, "interactive"),
        (late(2, 70), "interactive"),
        (late(INTERACTIVE_FRAMES, 200), "interactive"),
        (late(INTERACTIVE_FRAMES + 1, 200), "streaming"),
        (late(30, 1500), "streaming"),
        (late(1, INTERACTIVE_MS), "interactive"),
        (late(1, INTERACTIVE_MS + 1), "streaming"),
        (late(30, 1500 + STALL_MS), "streaming"),
        (late(30, 1501 + STALL_MS), "batch"),
        (replace(LIVE, responds=False, response_frames=None, response_ms=None), "batch"),
        (replace(LIVE, responds=None), None),
        (replace(LIVE, response_frames=None), None),
        (replace(LIVE, fps_interacting=exactly(20 * HELD_SHARE)), "interactive"),
        (replace(LIVE, fps_interacting=exactly(20 * HELD_SHARE - 0.1)), "streaming"),
        (replace(LIVE, response_ms=None), "interactive"),
        (replace(LIVE, survives_prompt_change=False, breadth="narrow"), "interactive"),
    ],
)
def test_the_category_follows_from_frames_time_and_rate(findings: Findings, category: str | None) -> None:
    found = categorise(findings)
    assert found.category == category
    assert found.sentence.endswith(".")
    assert found.reasons


def test_copies_of_a_frame_are_not_counted_against_a_live_world() -> None:
    tripled = replace(late(10, 160), tick_hz=60.0)
    assert categorise(replace(tripled, unique_share=exactly(1 / 3))).category == "interactive"
    assert categorise(tripled).category == "streaming"


def test_an_overlay_that_answers_at_once_is_named_and_changes_nothing() -> None:
    found = categorise(replace(late(30, 1500), overlay_only=True))
    assert found.category == "streaming"
    assert "drawn over the picture" in found.sentence


def test_what_could_not_be_told_says_why() -> None:
    found = categorise(replace(LIVE, responds=None, missing={"responds": "only 3 flips were seen"}))
    assert found.category is None
    assert "only 3 flips were seen" in found.sentence


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("19 FPS", "proven"),
        ("19.5 FPS", "insufficient"),
        ("20.5 FPS", "refuted"),
        ("20 FPS idle", "proven"),
        ("next-frame control", "proven"),
        ("responds within 40 ms", "proven"),
        ("responds within 30 ms", "insufficient"),
        ("responds within 10 ms", "refuted"),
        ("TTFF under 500 ms", "proven"),
        ("TTFF under 50 ms", "refuted"),
        ("remembers 1.5 s", "proven"),
        ("remembers 60 s", "refuted"),
        ("remembers 30 ticks", "proven"),
        ("no duplicate frames", "proven"),
        ("jitter under 5 ms", "insufficient"),
        ("survives prompt changes", "proven"),
        ("interactive", "proven"),
        ("streaming", "refuted"),
        ("broad source", "proven"),
        ("narrow source", "refuted"),
    ],
)
def test_a_claim_is_proven_only_if_the_whole_range_fulfils_it(text: str, outcome: str) -> None:
    verdict = judge_claim(parse_claim(text), LIVE, categorise(LIVE))
    assert verdict.outcome == outcome
    assert verdict.measured


def test_a_memory_that_was_followed_only_so_far_refutes_nothing_beyond() -> None:
    followed = replace(LIVE, memory_ticks=Estimate(30, 30, float("inf"), how="not followed further"))
    category = categorise(followed)
    assert judge_claim(parse_claim("remembers 60 s"), followed, category).outcome == "insufficient"
    assert judge_claim(parse_claim("remembers 1 s"), followed, category).outcome == "proven"


def test_without_any_response_a_claim_of_response_is_refuted_not_open() -> None:
    silent = replace(LIVE, responds=False, response_frames=None, response_ms=None)
    for text in ("next-frame control", "responds within 100 ms"):
        assert judge_claim(parse_claim(text), silent, categorise(silent)).outcome == "refuted"


def test_a_measurement_stands_beside_its_spread_and_number_of_trials() -> None:
    verdict = judge_claim(parse_claim("19 FPS"), LIVE, categorise(LIVE))
    assert verdict.measured == "19.8 FPS"
    assert verdict.uncertainty == "19 FPS to 20 FPS, 5 measurements"
    assert verdict.as_json()["evidence"] == {"measured": verdict.measured, "uncertainty": verdict.uncertainty}


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ([], 0),
        (["19 FPS", "interactive"], 0),
        (["19 FPS", "streaming"], 1),
        (["19 FPS", "jitter under 5 ms"], 2),
        (["streaming", "jitter under 5 ms"], 1),
    ],
)
def test_the_exit_code_is_0_proven_1_refuted_2_not_measured(texts: list[str], code: int) -> None:
    category = categorise(LIVE)
    assert exit_code(category, judge([parse_claim(text) for text in texts], LIVE, category), LIVE) == code


def test_an_unknown_category_is_never_a_pass() -> None:
    unknown = replace(LIVE, responds=None)
    assert exit_code(categorise(unknown), (), unknown) == 2


@pytest.mark.parametrize(("frames", "code"), [(1, 0), (2, 1), (float("inf"), 1)])
def test_one_frame_of_delay_fails_where_the_next_frame_is_asked_for(frames: float, code: int) -> None:
    findings = replace(LIVE, responds=frames != float("inf"), response_frames=exactly(frames))
    assert exit_code(categorise(findings), (), findings, max_response_frames=1) == code


def test_a_single_late_trial_of_many_is_later_than_asked() -> None:
    mostly = replace(LIVE, response_frames=Estimate(1, 1, 2, 24))
    assert responds_later_than(mostly, 1)
    assert judge_claim(parse_claim("next-frame control"), mostly, categorise(mostly)).outcome == "insufficient"


def test_a_response_that_was_not_measured_is_no_pass() -> None:
    assert responds_later_than(replace(LIVE, response_frames=None), 1) is None
