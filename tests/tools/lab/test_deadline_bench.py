"""Claims about deadlines under load, on a manual clock where they are exact, and about the bench that shows them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nextframe.runtime.core import ManualClock, NextframeError
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.tools.lab.deadlines import antagonist as antagonists
from nextframe.tools.lab.deadlines import bench, contest, shaped
from nextframe.tools.lab.deadlines.antagonist import Antagonist
from nextframe.tools.lab.deadlines.measure import Row, keeps_deadlines, spiral_ms, summary
from tests.support.doubles import MS, Session

MINUTE_S = 60.0


# --- shaped loads --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", shaped.SHAPES)
def test_adaptive_quality_keeps_deadlines_under_every_shape(load: str) -> None:
    row = shaped.shaped(load, MINUTE_S, "manual")
    assert row.ticks == 1200
    assert row.verdict == "met", row


@pytest.mark.parametrize("load", shaped.SHAPES)
def test_fixed_top_quality_does_not_keep_them(load: str) -> None:
    assert keeps_deadlines(shaped.shaped_at_the_top(load, MINUTE_S)) == "missed"


def test_quality_comes_back_after_the_load() -> None:
    records = shaped.play_loaded("step:ms=15,from=5,to=15", 30, ManualClock())
    assert {record.steps_applied for record in records[:90]} == {4}
    assert {record.steps_applied for record in records[-60:]} == {4}
    assert min(record.steps_applied for record in records) < 4


def test_the_same_load_gives_the_same_session_twice() -> None:
    first, second = (shaped.play_loaded("noisy:ms=20,seed=1", 20, ManualClock()) for _ in range(2))
    assert [record.response_ns for record in first] == [record.response_ns for record in second]


# --- overload ------------------------------------------------------------------------------------------------------


def test_a_minute_of_three_times_the_cost_gives_no_spiral() -> None:
    row = shaped.overload(MINUTE_S, "manual")
    assert row.verdict == "met", row
    assert row.more["spiral_ms"] == 0
    assert row.more["misses_after"] == 0
    assert row.worst_miss_run > 900, "the load must be more than any rung can bear"


def judged(load: str, ended_s: float) -> str:
    records = shaped.play_loaded(load, 10, ManualClock(), base_ms=shaped.HEAVY_MS)
    return shaped.judged_overload(summary(load, "manual", "adaptive", records), records, ended_s).verdict


def test_an_overload_that_was_not_felt_or_never_ended_is_not_judged() -> None:
    assert judged("scale:x=3,from=1,to=3", 3) == "met"
    assert judged("steady:ms=0", 3) == "not judged"
    assert judged("scale:x=3,from=1,to=3", 99) == "not judged"


def test_misses_after_the_load_fail_the_overload() -> None:
    assert judged("scale:x=3,from=1", 3) == "missed"


def test_the_check_for_a_spiral_notices_ticks_that_wait_for_nothing() -> None:
    session = Session(lambda tick: {"decode": 60 * MS})
    session.loop.run(20)
    records = session.records
    assert spiral_ms(records, 50 * MS) == 0
    idle_ns = 7 * MS
    late = [replace(record, poll_ns=record.poll_ns + (idle_ns if record.tick == 10 else 0)) for record in records]
    assert spiral_ms(late, 50 * MS) == 7


# --- numbers and verdicts ------------------------------------------------------------------------------------------


def row_of(**changes: object) -> Row:
    session = Session()
    session.loop.run(500)
    return replace(summary("idle", "manual", "fixed:2", session.records), **changes)  # type: ignore[arg-type]


def test_a_run_too_short_is_not_judged() -> None:
    assert keeps_deadlines(row_of()) == "met"
    assert keeps_deadlines(row_of(ticks=399)) == "not judged"


@pytest.mark.parametrize("bad", [{"miss_rate": 0.0051}, {"worst_miss_run": 3}, {"most_misses_in_100": 3}])
def test_each_gate_alone_fails_a_run(bad: dict[str, float]) -> None:
    assert keeps_deadlines(row_of(**bad)) == "missed"


def test_runs_of_misses_do_not_reach_from_one_block_into_the_next() -> None:
    session = Session(lambda tick: {"decode": 60 * MS})
    session.loop.run(4)
    both = summary("two", "manual", "fixed:2", session.records, session.records)
    assert (both.ticks, both.misses, both.worst_miss_run, both.most_misses_in_100) == (8, 8, 4, 4)


@pytest.mark.parametrize(
    ("verdicts", "code", "quick_code"),
    [
        ([], 2, 2),
        (["not judged"], 2, 2),
        (["not judged", "met"], 2, 0),
        (["met", "met"], 0, 0),
        (["met", "not judged", "missed"], 1, 1),
    ],
)
def test_the_exit_code_never_passes_what_was_not_judged(verdicts: list[str], code: int, quick_code: int) -> None:
    rows = [row_of(goal="on time", verdict=verdict) for verdict in verdicts]
    assert bench.exit_code(rows) == code
    assert bench.exit_code(rows, quick=True) == quick_code
    assert bench.exit_code([*rows, row_of(verdict="not judged")]) == code, "rows without a goal do not count"


# --- the contest ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adaptive_rate", "fixed_rate", "verdict"),
    [(0.019, 0.21, "met"), (0.02, 0.21, "missed"), (0.0, 0.20, "not judged"), (0.5, 0.1, "not judged")],
)
def test_the_contest_is_judged_only_where_fixed_quality_fails(
    adaptive_rate: float, fixed_rate: float, verdict: str
) -> None:
    assert contest.judge(row_of(miss_rate=adaptive_rate), row_of(miss_rate=fixed_rate)) == verdict


def test_a_contest_of_a_few_ticks_is_not_judged() -> None:
    assert contest.judge(row_of(miss_rate=0.0, ticks=40), row_of(miss_rate=0.9)) == "not judged"


def test_the_deadline_found_is_what_the_lowest_rung_keeps_and_never_more_than_the_period() -> None:
    session = Session(lambda tick: {"decode": 20 * MS}, governor=lambda clock: FixedGovernor(1))
    session.loop.run(50)
    assert contest.deadline_for(session.records, 50 * MS) == 22 * MS
    assert contest.deadline_for(session.records, 21 * MS) == 21 * MS
    assert contest.deadline_for([], 50 * MS) == 50 * MS


def test_both_sides_drive_the_same_script_in_one_run(tmp_path: Path) -> None:
    script = tmp_path / "drive.yaml"
    script.write_text(
        "version: 1\nname: drive\nlength: 4\nrepeat: true\ntimeline: [{at: 0, axis: {throttle: 1}, for: 4}]\n"
    )
    options = contest.ContestOptions(
        world="toy", script=str(script), processes=1, blocks=2, block_ticks=3, probe_ticks=3
    )
    said: list[str] = []
    rows = contest.contest(options, said.append)
    assert [(row.governor, row.ticks) for row in rows] == [
        ("fixed:4", 3),
        ("fixed:1", 3),
        ("fixed:4", 6),
        ("adaptive", 6),
    ]
    assert rows[-1].verdict == "not judged"
    assert rows[-1].more["antagonist_processes"] == 1
    assert len(said) == 4


def test_the_bench_prints_a_table_and_one_json_line_and_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "overload", lambda seconds, clock: shaped.overload(6.0, "manual"))
    out = tmp_path / "deadlines.json"
    assert bench.main(["--quick", "--parts", "overload", "--out", str(out)]) == 0
    last_line = capsys.readouterr().out.splitlines()[-1]
    document = json.loads(last_line)
    assert document["schema"] == "nextframe.deadlines/1"
    assert [row["verdict"] for row in document["rows"]] == ["met", "met"]
    assert json.loads(out.read_text()) == document


def test_a_part_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--parts", "drifts"]) == 2
    assert "expected some of shaped, overload, contest, drift" in capsys.readouterr().err


def test_a_session_that_idles_is_measured_against_its_timetable() -> None:
    row = shaped.drift(0.2)
    assert row.ticks == 6
    assert isinstance(row.more["drift_ms"], float)
    assert row.more["drift_ms"] > -shaped.DRIFT_MS, "no tick comes before its time"


# --- the antagonist ------------------------------------------------------------------------------------------------


def test_the_antagonist_burns_and_is_gone_afterwards() -> None:
    with Antagonist(2) as antagonist:
        pids = antagonist.pids
        assert len(set(pids)) == 2
        while_burning_s = sum(os.times()[:2])
        while sum(os.times()[:2]) < while_burning_s + 0.05:  # until this process, too, has had some CPU time
            pass
    assert antagonist.cpu_s > 0
    assert antagonist.pids == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_no_processes_are_no_load() -> None:
    with Antagonist(0) as antagonist:
        assert antagonist.pids == []
    assert antagonist.cpu_s == 0


def test_an_error_in_the_block_ends_the_antagonist_and_is_the_one_seen() -> None:
    with pytest.raises(KeyError), Antagonist(1) as antagonist:
        raise KeyError("the block's own")
    assert antagonist.pids == []


def test_an_antagonist_that_died_early_makes_the_measurement_void() -> None:
    antagonist = Antagonist(2)
    antagonist.__enter__()
    victim = antagonist._running[0]
    victim.kill()
    victim.wait()
    with pytest.raises(NextframeError, match="1 of 2 processes ended early"):
        antagonist.__exit__(None, None, None)
    assert antagonist.pids == []


def test_an_antagonist_that_does_not_start_says_so_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "burner.py"
    broken.write_text("raise SystemExit(3)\n")
    monkeypatch.setattr(antagonists, "BURNER", broken)
    with pytest.raises(NextframeError, match="ended at its start with code 3"), Antagonist(1):
        pytest.fail("must not be entered")


@pytest.mark.parametrize(("processes", "memory_mb", "limit_s"), [(-1, 0, 1.0), (1, -1, 1.0), (1, 0, 0.0)])
def test_an_antagonist_that_makes_no_sense_is_refused(processes: int, memory_mb: int, limit_s: float) -> None:
    with pytest.raises(NextframeError, match="antagonist: expected"):
        Antagonist(processes, memory_mb=memory_mb, limit_s=limit_s)


PARENT = """
import sys
from nextframe.tools.lab.deadlines.antagonist import Antagonist
with Antagonist(2) as antagonist:
    print(*antagonist.pids, flush=True)
    sys.stdin.read()
"""
CARELESS_PARENT = """
import subprocess
import sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)
print(child.pid, flush=True)
sys.stdin.read()
"""


def killed_parent(program: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A process that started others and was then killed by SIGKILL; its standard error is shared with them."""
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    os.kill(parent.pid, signal.SIGKILL)
    return parent, pids


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_the_antagonist_ends_even_when_its_parent_is_killed() -> None:
    parent, pids = killed_parent(PARENT)
    assert len(pids) == 2
    parent.communicate(timeout=30)  # ends when the last holder of the shared standard error is gone


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_the_check_would_notice_a_process_that_outlives_its_parent() -> None:
    parent, pids = killed_parent(CARELESS_PARENT)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            parent.communicate(timeout=0.5)
    finally:
        os.kill(pids[0], signal.SIGKILL)
        parent.communicate(timeout=30)
