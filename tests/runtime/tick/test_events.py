"""Claims about the text of events: whatever was recorded is written again as it was, and damage is kept and named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextframe.runtime.core import (
    NO_MISHAPS,
    Action,
    ClockGap,
    DriftAction,
    Mishaps,
    OtherEvent,
    PlayedTick,
    ReplayError,
    Reset,
)
from nextframe.runtime.tick.events import events_from_text, events_to_text, gathered

windows = st.none() | st.integers(1, 2**31 - 1)
mishaps = st.builds(Mishaps, st.booleans(), st.booleans(), windows, windows)
parts = st.sampled_from(
    ["reset:7", "reset:-1", "reset:07", "reset:", "clock_gap", "discarded", "out_of_memory", "window:3", "window:0",
     "commit_window:9", "drift:log", "drift:", "", "new_in_2030:5", "reset"]
)  # fmt: skip


@given(st.integers(-(10**19), 10**19), mishaps, st.booleans())
def test_what_a_loop_records_is_read_as_what_happened(seed: int, happened: Mishaps, gap: bool) -> None:
    events = gathered(Reset(seed), ClockGap() if gap else None, happened, DriftAction("renoise"))
    assert events_from_text(events_to_text(events)) == events


@given(st.lists(parts, max_size=6).map(",".join) | st.text(max_size=30))
def test_any_text_is_written_again_as_it_was(text: str) -> None:
    assert events_to_text(events_from_text(text)) == text


def test_no_event_is_no_text() -> None:
    assert events_to_text(()) is None
    assert events_from_text(None) == ()
    assert gathered(None, NO_MISHAPS, None) == ()


def test_an_event_of_a_newer_version_is_kept_and_ignored() -> None:
    played = PlayedTick(Action(), 2, events=events_from_text("reset:3,earthquake:9"))
    assert played.events == (Reset(3), OtherEvent("earthquake:9"))
    assert (played.reset_seed, played.mishaps, played.drift) == (3, NO_MISHAPS, None)


@pytest.mark.parametrize("text", ["reset:x", "reset:07", "window:0", "discarded,discarded", "window:2,discarded"])
def test_damage_is_said_when_the_tick_is_played_and_not_before(text: str) -> None:
    played = PlayedTick(Action(), 2, events=events_from_text(text))
    with pytest.raises(ReplayError, match="the recording is damaged"):
        played.plan(reason="again")
