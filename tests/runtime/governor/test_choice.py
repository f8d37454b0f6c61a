"""Claims about `--quality`: what is understood, what is refused, and that a refusal says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nextframe.runtime.core import ConfigError, ManualClock
from nextframe.runtime.governor.adaptive import AdaptiveGovernor, FixedGovernor, TraceGovernor
from nextframe.runtime.governor.choice import LARGEST_FILE_BYTES, governor_choice, read_levels
from nextframe.runtime.loop import Governor

LADDER = (1, 2, 4)
DEADLINE_NS = 50_000_000


def governor(text: str, **options: int) -> Governor:
    return governor_choice(text).governor(LADDER, ManualClock(), tick_deadline_ns=DEADLINE_NS, **options)


def planned(governor: Governor, ticks: int) -> list[int]:
    return [governor.plan(tick, 0, DEADLINE_NS).denoise_steps for tick in range(ticks)]


def test_adaptive_is_the_adaptive_governor() -> None:
    assert isinstance(governor("adaptive"), AdaptiveGovernor)


def test_fixed_holds_its_rung() -> None:
    chosen = governor("fixed:2")
    assert isinstance(chosen, FixedGovernor)
    assert planned(chosen, 3) == [2, 2, 2]


@pytest.mark.parametrize("text", ["[4, 1, 2]", "4 1 2", "4\n1\n# a remark\n2 # another\n", "4,1, 2"])
def test_a_trace_is_a_json_list_or_plain_numbers(tmp_path: Path, text: str) -> None:
    file = tmp_path / "levels"
    file.write_text(text)
    chosen = governor(f"trace:{file}")
    assert isinstance(chosen, TraceGovernor)
    assert planned(chosen, 4) == [4, 1, 2, 2]


def report(tmp_path: Path, **series: object) -> Path:
    file = tmp_path / "report.json"
    file.write_text(json.dumps({"schema": "nextframe.report/1", "series": series}))
    return file


def test_an_earlier_report_is_followed_tick_by_tick(tmp_path: Path) -> None:
    file = report(tmp_path, ticks_per_point=1, tick=[0, 1, 2], steps=[4, 2, 1])
    assert read_levels(file) == (4, 2, 1)


def test_a_point_of_several_ticks_holds_for_all_of_them_and_the_first_for_the_warm_up(tmp_path: Path) -> None:
    file = report(tmp_path, ticks_per_point=2, tick=[3, 5, 7], steps=[4, 2, 1])
    assert read_levels(file) == (4, 4, 4, 4, 4, 2, 2, 1, 1)


@pytest.mark.parametrize(
    "text", ["", "fast", "adaptive:1", "fixed", "fixed:", "fixed:0", "fixed:-1", "fixed:two", "fixed:²", "trace:"]
)
def test_other_words_are_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        governor_choice(text)


@pytest.mark.parametrize(
    "text", ["", "[]", "[0]", "[1.5]", "[true]", "[[1]]", '["x"]', "{}", '{"series": 3}', "[1", "1 x"]
)
def test_a_file_that_is_no_trace_is_refused_and_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "levels"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"{file}.*expected"):
        governor_choice(f"trace:{file}")


@pytest.mark.parametrize(
    "series",
    [
        {},
        {"tick": [0, 1], "steps": [4]},
        {"tick": [], "steps": []},
        {"tick": [0, 0], "steps": [4, 2]},
        {"tick": [3, 1], "steps": [4, 2]},
        {"tick": [0, 1e18], "steps": [4, 2]},
        {"tick": [0, 10**18], "steps": [4, 2]},
        {"tick": ["0"], "steps": [4]},
        {"tick": [0], "steps": [None]},
    ],
)
def test_a_report_with_a_damaged_series_is_refused(tmp_path: Path, series: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="series: expected"):
        read_levels(report(tmp_path, **series))


def test_a_missing_file_is_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.json: cannot read"):
        governor_choice(f"trace:{tmp_path / 'gone.json'}")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "levels"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read"):
        read_levels(file)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "levels"
    with file.open("wb") as sparse:
        sparse.truncate(LARGEST_FILE_BYTES + 1)
    with pytest.raises(ConfigError, match="at most 16 MiB"):
        read_levels(file)


def test_a_level_off_the_ladder_is_refused_with_its_tick(tmp_path: Path) -> None:
    file = tmp_path / "levels"
    file.write_text("4 4 3")
    with pytest.raises(ConfigError, match=r"ladder \(1, 2, 4\), got 3 at tick 2"):
        governor(f"trace:{file}")
    with pytest.raises(ConfigError, match=r"ladder \(1, 2, 4\), got 3;"):
        governor("fixed:3")


def test_limits_that_leave_no_rung_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected a rung"):
        governor("adaptive", floor_steps=3, ceiling_steps=3)
    assert planned(governor("adaptive", ceiling_steps=2), 1) == [2]
