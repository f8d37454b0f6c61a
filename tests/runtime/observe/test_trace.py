"""Claims about traces: they hold to the format, cost the tick nothing, and never stop a session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nextframe.runtime.core import ManualClock, MonotonicClock, TickPlan
from nextframe.runtime.display.null import NullDisplay
from nextframe.runtime.governor.adaptive import AdaptiveGovernor, FixedGovernor, TraceGovernor
from nextframe.runtime.loop import Loop
from nextframe.runtime.observe import trace
from nextframe.runtime.observe.trace import BURST_MISSES, MAX_DUMPS, TraceError, TraceRing, TraceWriter
from nextframe.runtime.tick.record import TickRecord
from nextframe.tools.lab.traces import cost as trace_cost
from nextframe.tools.lab.traces.check import Check, check_file, check_text, main
from nextframe.tools.lab.traces.cost import Block, Pair, compare
from nextframe.worlds.toy.world import ToyWorld
from tests.support.doubles import MS, PERIOD_NS, KnownStops, ListedController, Session

Costs = Callable[[int], Mapping[str, int]]
EASY: Mapping[str, int] = {"condition": MS, "denoise": 5 * MS, "decode": 2 * MS, "commit": 3 * MS}
SLOW: Mapping[str, int] = {**EASY, "decode": 90 * MS}


def easy(tick: int) -> Mapping[str, int]:
    return EASY


def record_of(tick: int, *, missed: bool = False, period_ns: int = PERIOD_NS) -> TickRecord:
    """A tick as a loop would measure it, without a loop."""
    release_ns = tick * period_ns
    response_ns = 60 * MS if missed else 10 * MS
    return TickRecord(
        tick=tick,
        release_ns=release_ns,
        start_ns=release_ns,
        poll_ns=release_ns,
        plan=TickPlan(2, release_ns + PERIOD_NS),
        emit_ns=release_ns + response_ns,
        present_ns=release_ns + response_ns,
        paced_ns=0,
        commit_end_ns=release_ns + response_ns,
        deadline_ns=release_ns + PERIOD_NS,
        stage_ns={"condition": MS, "denoise": 4 * MS, "decode": 5 * MS, "present": 0, "commit": 0},
        step_ns=(2 * MS, 2 * MS),
        steps_applied=2,
        frames=1,
        missed=missed,
        lost_slots=0,
        held_frames=0,
        clock_gap=False,
        resumed=False,
        input_event_ns=None,
        reason="fixed",
    )


def traced(path: Path, session: Session, ticks: int = 20, **options: Any) -> list[dict[str, Any]]:
    """Run the session, write what it recorded, check the file, and return its events."""
    writer = TraceWriter(path, PERIOD_NS, "toy", controls=session.controls, live=False, **options)
    session.observer.observe = writer.observe  # type: ignore[method-assign]
    session.loop.run(ticks)
    assert writer.close().problem is None
    assert check_file(path).problems == []
    events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    return events


def track_of(events: list[dict[str, Any]], name: str) -> int:
    names = [event for event in events if event["name"] == "thread_name" and event["args"]["name"] == name]
    return int(names[0]["tid"])


def on_track(events: list[dict[str, Any]], name: str, phase: str = "X") -> list[dict[str, Any]]:
    track = track_of(events, name)
    return [event for event in events if event["ph"] == phase and event["tid"] == track]


# --- what a trace says -------------------------------------------------------------------------------------------


def test_expected_ticks_run_from_release_to_deadline(tmp_path: Path) -> None:
    events = traced(tmp_path / "t.json", Session(easy), ticks=3)
    expected = on_track(events, "expected ticks")
    assert [(event["ts"], event["dur"]) for event in expected] == [(0, 50_000), (50_000, 50_000), (100_000, 50_000)]


def test_actual_ticks_run_from_start_to_present_and_say_what_was_asked_and_applied(tmp_path: Path) -> None:
    tick = on_track(traced(tmp_path / "t.json", Session(easy), ticks=2), "actual ticks")[0]
    assert (tick["name"], tick["ts"], tick["dur"]) == ("tick 0", 0, 13_000)
    assert tick["args"]["steps_asked"] == tick["args"]["steps_applied"] == 2
    assert tick["args"]["late_ms"] == 0


def test_the_stages_and_every_denoise_step_lie_inside_their_tick(tmp_path: Path) -> None:
    slices = on_track(traced(tmp_path / "t.json", Session(easy), ticks=1), "actual ticks")
    assert [(event["name"], event["ts"] // 1000, event["dur"] // 1000) for event in slices] == [
        ("tick 0", 0, 13),
        ("condition", 0, 1),
        ("denoise", 1, 10),
        ("denoise step 1", 1, 5),
        ("denoise step 2", 6, 5),
        ("decode", 11, 2),
        ("present", 13, 0),
        ("commit", 13, 3),
    ]


def test_colours_tell_in_time_from_reduced_from_missed(tmp_path: Path) -> None:
    def cut_on_tick_1(clock: ManualClock) -> AdaptiveGovernor:
        return AdaptiveGovernor((1, 2, 4), clock, tick_deadline_ns=PERIOD_NS)

    costs: list[Mapping[str, int]] = [EASY, {**EASY, "condition": 38 * MS}, SLOW]
    session = Session(lambda tick: costs[min(tick, 2)], governor=cut_on_tick_1)
    ticks = [
        event for event in on_track(traced(tmp_path / "t.json", session, ticks=3), "actual ticks") if "cname" in event
    ]
    assert [event["cname"] for event in ticks] == ["good", "bad", "terrible"]


def test_a_miss_is_an_instant_that_names_its_cause(tmp_path: Path) -> None:
    session = Session(lambda tick: SLOW if tick == 1 else EASY)
    causes = {False: None, True: "decode"}
    events = traced(tmp_path / "t.json", session, ticks=3, cause_of=lambda record: causes[record.missed])
    (miss,) = on_track(events, "events", "i")
    assert miss["name"] == "miss: decode"
    assert miss["args"] == {"tick": 1, "late_ms": 51.0, "lost_slots": 1}


def test_arrows_lead_from_the_input_through_its_tick_to_its_frame(tmp_path: Path) -> None:
    session = Session(easy)
    session.controller.last_input_ns = 4 * MS
    session.clock.advance_ns(20 * MS)
    events = traced(tmp_path / "t.json", session, ticks=1)
    arrow = [(event["ph"], event["ts"], event["tid"]) for event in events if event.get("id") == 0]
    tracks = [track_of(events, name) for name in ("input", "actual ticks", "frames")]
    assert arrow == [("s", 4000, tracks[0]), ("t", 20_000, tracks[1]), ("f", 33_000, tracks[2])]
    (moment,) = on_track(events, "input", "i")
    assert moment["ts"] == 4000


def test_a_tick_without_input_still_points_at_its_frame(tmp_path: Path) -> None:
    events = traced(tmp_path / "t.json", Session(easy), ticks=1)
    assert [event["ph"] for event in events if event.get("id") == 0] == ["s", "f"]


def test_a_frame_stays_until_the_next_one_comes(tmp_path: Path) -> None:
    session = Session(lambda tick: SLOW if tick == 1 else EASY)
    frames = on_track(traced(tmp_path / "t.json", session, ticks=3), "frames")
    ends = [event["ts"] + event["dur"] for event in frames]
    assert ends[:2] == [event["ts"] for event in frames[1:]]


def test_counters_follow_the_rung_and_the_slack(tmp_path: Path) -> None:
    session = Session(easy, governor=lambda clock: TraceGovernor([4, 1]))
    events = traced(tmp_path / "t.json", session, ticks=2)
    counters = {
        name: [e["args"]["value"] for e in events if e["name"] == name] for name in ("denoise steps", "slack ms")
    }
    assert counters == {"denoise steps": [4, 1], "slack ms": [27, 42]}


def test_changes_of_the_plan_resets_and_clock_gaps_are_instants(tmp_path: Path) -> None:
    session = Session(
        lambda tick: {**EASY, "decode": 400 * MS} if tick == 3 else EASY,
        governor=lambda clock: TraceGovernor([4, 4, 2]),
        probe=KnownStops((150 * MS, 600 * MS)),
    )
    session.controls.request_reset(7)
    notes = on_track(traced(tmp_path / "t.json", session, ticks=5), "events", "i")
    assert [event["name"] for event in notes] == ["reset", "4 to 2 steps", "clock gap"]
    assert notes[1]["args"]["reason"] == "2 steps, forced by the trace"


def test_deadlines_past_the_next_release_get_a_row_of_their_own(tmp_path: Path) -> None:
    events = traced(tmp_path / "t.json", Session(easy, deadline_ns=2 * PERIOD_NS), ticks=6)
    assert len(on_track(events, "expected ticks")) == len(on_track(events, "expected ticks, row 2")) == 3


def test_a_session_with_everything_that_can_happen_holds_to_the_format(tmp_path: Path) -> None:
    def costs(tick: int) -> Mapping[str, int]:
        return SLOW if tick % 7 == 3 else {**EASY, "decode": 700 * MS} if tick == 40 else {**EASY, "commit": 45 * MS}

    session = Session(costs, governor=lambda clock: AdaptiveGovernor((1, 2, 4), clock, tick_deadline_ns=PERIOD_NS))
    session.controller.last_input_ns = -3 * MS
    session.controls.request_reset()
    traced(tmp_path / "t.json", session, ticks=120)


def test_a_session_on_the_real_clock_holds_to_the_format(tmp_path: Path) -> None:
    clock = MonotonicClock()
    world = ToyWorld(clock)
    writer = TraceWriter(tmp_path / "t.json", 5 * MS, "toy", flush_s=0.02)
    governor = AdaptiveGovernor(world.info.ladder, clock, tick_deadline_ns=5 * MS)
    controller = ListedController(clock)
    controller.last_input_ns = clock.now_ns()
    display = NullDisplay(clock)
    Loop(world, controller, display, governor, clock, tick_period_ns=5 * MS, deadline_ns=5 * MS, observer=writer).run(
        60
    )
    summary = writer.close()
    assert (summary.ticks, summary.dropped_ticks, summary.problem) == (60, 0, None)
    check = check_file(tmp_path / "t.json")
    assert check.problems == []
    assert check.phases["s"] == check.phases["f"] == 60


def test_a_minute_at_20_hz_stays_under_five_megabytes(tmp_path: Path) -> None:
    traced(tmp_path / "t.json", Session(easy), ticks=1200)
    assert (tmp_path / "t.json").stat().st_size < 5_000_000


# --- files that end early ----------------------------------------------------------------------------------------


def test_a_killed_session_leaves_a_trace_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    names = "import sys\nfrom tests.runtime.observe.test_trace import killed_after_a_flush\n"
    script = f"{names}killed_after_a_flush(sys.argv[1])\n"
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    check = check_file(path)
    assert check.problems == []
    assert check.cut, "the file was never closed"
    assert check.phases["X"] > 100


def killed_after_a_flush(path: str) -> None:
    writer = TraceWriter(path, PERIOD_NS, "toy", flush_s=0.01)
    for tick in range(50):
        writer.observe(record_of(tick))
    while os.path.getsize(path) < 30_000:
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_file_cut_at_any_byte_is_read_up_to_its_last_whole_event(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t.json", PERIOD_NS, "toy", live=False)
    for tick in range(3):
        writer.observe(record_of(tick))
    writer._flush()
    text = (tmp_path / "t.json").read_text()
    writer.close()
    whole = text.index("\n") + 1 + len('{"ph":"M","name":"process_name"')
    for end in range(whole + 100, len(text)):
        check = check_text(text[:end])
        assert check.cut
        assert [problem for problem in check.problems if "is at no slice" not in problem] == []


class FullDisk:
    """A file on a disk that takes so many bytes and no more."""

    def __init__(self, file: Any, bytes_left: int) -> None:
        self._file, self._bytes_left = file, bytes_left

    def write(self, data: bytes) -> int:
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            self._file.write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")
        return int(self._file.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def test_a_full_disk_ends_the_trace_and_not_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = trace.open_file
    monkeypatch.setattr(trace, "open_file", lambda path: FullDisk(opened(path), 20_000))
    session = Session(easy)
    writer = TraceWriter(tmp_path / "t.json", PERIOD_NS, "toy", live=False)

    def observe(record: TickRecord) -> None:
        writer.observe(record)
        writer._flush()

    session.observer.observe = observe  # type: ignore[method-assign]
    session.loop.run(100)
    summary = writer.close()
    assert session.loop.tick == 100
    assert summary.problem is not None
    assert "No space left" in summary.problem
    assert "the session went on" in summary.problem
    assert 0 < summary.ticks < 100
    check = check_file(tmp_path / "t.json")
    assert check.problems == []
    assert check.cut


def test_a_place_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TraceError, match="expected a place to write a trace to"):
        TraceWriter(tmp_path / "file" / "t.json", PERIOD_NS, "toy")


class StalledDisk(FullDisk):
    """Takes the head of a file, then nothing until it is let go."""

    def __init__(self, file: Any, go: threading.Event, reached: threading.Event) -> None:
        super().__init__(file, 1 << 40)
        self._go, self._reached = go, reached

    def write(self, data: bytes) -> int:
        if b"tick 0" in data:
            self._reached.set()
            self._go.wait(10)
        return super().write(data)


def test_ticks_dropped_while_the_disk_stalls_are_counted_and_said_in_the_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, reached = threading.Event(), threading.Event()
    opened = trace.open_file
    monkeypatch.setattr(trace, "open_file", lambda path: StalledDisk(opened(path), go, reached))
    monkeypatch.setattr(trace, "MAX_WAITING_TICKS", 8)
    writer = TraceWriter(tmp_path / "t.json", PERIOD_NS, "toy", flush_s=0.001)
    writer.observe(record_of(0))
    writer.observe(record_of(1))
    assert reached.wait(10)
    for tick in range(2, 30):
        writer.observe(record_of(tick))
    waiting = len(writer._waiting)
    go.set()
    while writer._waiting:
        pass
    writer.observe(record_of(30))
    summary = writer.close()
    assert waiting <= 8, "memory is bounded"
    assert summary.dropped_ticks >= 20
    assert summary.ticks + summary.dropped_ticks == 31
    text = (tmp_path / "t.json").read_text()
    assert f"{summary.dropped_ticks} ticks not traced" in text
    assert json.loads(text)["otherData"]["dropped_ticks"] == summary.dropped_ticks
    assert check_file(tmp_path / "t.json").problems == []


def test_a_clock_that_does_not_wait_drops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_WAITING_TICKS", 8)
    writer = TraceWriter(tmp_path / "t.json", PERIOD_NS, "toy", live=False)
    for tick in range(500):
        writer.observe(record_of(tick))
    summary = writer.close()
    assert (summary.ticks, summary.dropped_ticks) == (500, 0)


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "t.json", PERIOD_NS, "toy")
    writer.observe(record_of(0))
    assert writer.close() == writer.close()
    writer.observe(record_of(1))
    assert writer.close().ticks == 1


# --- the last seconds before a burst -----------------------------------------------------------------------------


def ring_after(tmp_path: Path, missed_ticks: set[int], ticks: int) -> TraceRing:
    ring = TraceRing(tmp_path, 100 * MS, "toy")
    for tick in range(ticks):
        ring.observe(record_of(tick, missed=tick in missed_ticks, period_ns=100 * MS))
    ring.close()
    return ring


def test_three_misses_within_twenty_ticks_leave_a_trace_of_the_last_ten_seconds(tmp_path: Path) -> None:
    ring = ring_after(tmp_path, {300, 310, 319}, 400)
    assert [path.name for path in ring.dumps] == ["misses_tick_000319.trace.json"]
    assert check_file(ring.dumps[0]).problems == []
    ticks = on_track(json.loads(ring.dumps[0].read_text())["traceEvents"], "expected ticks")
    assert [ticks[0]["name"], ticks[-1]["name"]] == ["tick 219", "tick 319"]


@pytest.mark.parametrize("missed", [{300, 310}, {300, 310, 320}])
def test_fewer_or_rarer_misses_leave_none(tmp_path: Path, missed: set[int]) -> None:
    assert ring_after(tmp_path, missed, 400).dumps == []


def test_after_a_dump_the_next_ten_seconds_leave_none(tmp_path: Path) -> None:
    ring = ring_after(tmp_path, set(range(100, 250)), 300)
    assert [path.name[12:18] for path in ring.dumps] == ["000102", "000202"]


def test_a_session_leaves_ten_dumps_at_most(tmp_path: Path) -> None:
    ring = ring_after(tmp_path, set(range(5000)), 5000)
    assert len(ring.dumps) == MAX_DUMPS
    assert len(list(tmp_path.iterdir())) == MAX_DUMPS, "and nothing half written"


def test_a_ring_that_cannot_write_says_so_and_the_session_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ring = TraceRing(tmp_path / "file", PERIOD_NS, "toy")
    for tick in range(BURST_MISSES):
        ring.observe(record_of(tick, missed=True))
    assert ring.close() == []
    assert ring.problem is not None
    assert "cannot write the trace of a burst" in ring.problem


def test_every_dump_gets_a_fresh_look_for_causes(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> Callable[[TickRecord], str | None]:
        made.append(0)
        return lambda record: "gc" if record.missed else None

    ring = TraceRing(tmp_path, PERIOD_NS, "toy", make_cause_of=make)
    for tick in range(BURST_MISSES):
        ring.observe(record_of(tick, missed=True))
    (path,) = ring.close()
    assert len(made) == 1
    assert path.read_text().count('"miss: gc"') == BURST_MISSES


# --- the checker finds damage ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("trace") / "t.json"
    session = Session(lambda tick: SLOW if tick == 2 else EASY)
    session.controller.last_input_ns = 0
    traced(path, session, ticks=4)
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def checked_with(sound: dict[str, Any], damage: Callable[[list[dict[str, Any]]], None]) -> Check:
    document = json.loads(json.dumps(sound))
    damage(document["traceEvents"])
    return check_text(json.dumps(document))


def first(events: list[dict[str, Any]], phase: str, name: str | None = None) -> dict[str, Any]:
    return next(event for event in events if event["ph"] == phase and name in (None, event["name"]))


def without(phase: str) -> Callable[[list[dict[str, Any]]], None]:
    def remove(events: list[dict[str, Any]]) -> None:
        events.remove(first(events, phase))

    return remove


def changed(phase: str, name: str | None = None, **values: object) -> Callable[[list[dict[str, Any]]], None]:
    return lambda events: first(events, phase, name).update(values)


def without_names(events: list[dict[str, Any]]) -> None:
    events[:] = [event for event in events if event["name"] != "thread_name"]


DAMAGE: dict[str, tuple[Callable[[list[dict[str, Any]]], None], str]] = {
    "an unknown phase": (changed("X", ph="Q"), "ph: expected one of"),
    "a slice without duration": (lambda events: first(events, "X").pop("dur"), "dur is missing"),
    "a negative duration": (changed("X", dur=-1), "dur: expected microseconds"),
    "a time that is text": (changed("i", ts="0"), "ts: expected microseconds"),
    "a time that is no number": (changed("X", ts=float("nan")), "NaN is no JSON number"),
    "a track that is text": (changed("X", tid="main"), "tid: expected a whole number"),
    "an unknown colour": (changed("X", "tick 0", cname="greenish"), "cname: expected"),
    "a scope that does not exist": (changed("i", s="x"), "s: expected g, p or t"),
    "a counter of text": (changed("C", args={"value": "4"}), "args: expected at least one series"),
    "a counter of nothing": (changed("C", args={}), "args: expected at least one series"),
    "unknown metadata": (
        lambda events: first(events, "M").update(name="process_colour"),
        "expected one of process_name",
    ),
    "a process without a name": (changed("M", "process_name", pid=9), "process 1 has no process_name"),
    "a track without a name": (without_names, "has no thread_name"),
    "a slice half over another": (changed("X", "denoise", dur=60_000), "lies half over"),
    "slices out of order": (lambda events: events.append(first(events, "X", "tick 0")), "comes after a later slice"),
    "an arrow without a beginning": (without("s"), "expected one beginning"),
    "an arrow without an end": (without("f"), "expected one end"),
    "an arrow with two ends": (lambda events: events.append(first(events, "f")), "expected one end, got 2"),
    "an arrow from nowhere": (changed("s", ts=10**9), "is at no slice"),
    "an arrow back in time": (changed("s", ts=50_000), "points back in time"),
    "an end of nothing": (
        lambda events: events.append({"ph": "E", "ts": 1, "pid": 1, "tid": 2}),
        "ends nothing",
    ),
    "a beginning without an end": (
        lambda events: events.append({"ph": "B", "name": "open", "ts": 10**9, "pid": 1, "tid": 2}),
        "begins and never ends",
    ),
    "an event that is a list": (lambda events: events.append([]), "expected an object"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", sorted(DAMAGE))
def test_the_check_finds(kind: str, sound: dict[str, Any]) -> None:
    damage, message = DAMAGE[kind]
    problems = checked_with(sound, damage).problems
    assert any(message in problem for problem in problems), problems


def test_the_check_finds_nothing_in_a_sound_trace(sound: dict[str, Any]) -> None:
    assert checked_with(sound, lambda events: None).problems == []


def test_paired_begins_and_ends_are_slices_too(sound: dict[str, Any]) -> None:
    def add(events: list[dict[str, Any]]) -> None:
        events.append({"ph": "B", "name": "outer", "ts": 10**9, "pid": 1, "tid": 2})
        events.append({"ph": "E", "ts": 10**9 + 1, "pid": 1, "tid": 2})

    assert checked_with(sound, add).problems == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON document"),
        ("[", "no events"),
        ('{"traceEvents": 3}', "expected an array of events"),
        ('{"traceEvents": [], "displayTimeUnit": "s"}', "displayTimeUnit"),
        ('{"traceEvents": [', "no JSON document"),
        ('[{"ph":"M"} {"ph":"M"}]', "expected a comma"),
        ('[{"ph":"M",\n?\n{"ph":"M"}', "no JSON"),
    ],
)
def test_the_check_finds_damage_of_the_whole_file(text: str, message: str) -> None:
    assert any(message in problem for problem in check_text(text).problems)


def test_the_command_answers_with_its_exit_code(
    tmp_path: Path, sound: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(sound))
    bad.write_text('{"traceEvents": [{"ph": "X"}]}')
    assert main([str(good)]) == 0
    assert main([str(good), str(bad)]) == 1
    assert main([str(tmp_path / "missing.json")]) == 2
    assert "sound;" in capsys.readouterr().out


# --- what it costs -----------------------------------------------------------------------------------------------


def test_the_cost_is_the_ratio_of_medians_and_what_observing_takes_beyond_nothing() -> None:
    pair = Pair(off=Block([MS] * 9, [1_000] * 9), on=Block([MS * 102 // 100] * 9, [3_500] * 9))
    result = compare([pair, pair])
    assert result["p50_ratio"] == pytest.approx(1.02)
    assert result["observe_us"]["p50"] == pytest.approx(2.5)
    assert result["observe_share_of_p50"] == pytest.approx(0.0025)
    assert not result["met"]
    assert compare([Pair(pair.off, pair.off)])["met"]


@pytest.mark.parametrize("arguments", [["--ticks", "0"], ["--hz", "0"], ["--world", "nowhere"]])
def test_the_cost_of_nothing_cannot_be_measured(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert trace_cost.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


# --- odd records -------------------------------------------------------------------------------------------------


def test_a_display_that_reports_a_later_time_than_the_commit_still_nests(tmp_path: Path) -> None:
    record = record_of(0)
    writer = TraceWriter(tmp_path / "t.json", PERIOD_NS, "toy", live=False)
    writer.observe(replace(record, present_ns=record.commit_end_ns + 5 * MS, frames=3, paced_ns=MS))
    writer.observe(replace(record_of(1), stage_ns={"condition": 80 * MS, "denoise": 80 * MS}))
    writer.close()
    assert check_file(tmp_path / "t.json").problems == []


def test_a_governor_that_never_changes_leaves_no_decisions(tmp_path: Path) -> None:
    session = Session(easy, governor=lambda clock: FixedGovernor(4))
    assert on_track(traced(tmp_path / "t.json", session), "events", "i") == []
