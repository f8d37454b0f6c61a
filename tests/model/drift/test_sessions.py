"""Claims about drift in sessions: watched, acted on, recorded, and done again by playbacks, rewinds and sync tests."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from nextframe.model.drift.bank import DriftBank, load_bank, save_bank
from nextframe.model.drift.monitor import ALARM_AFTER_TICKS, DriftMonitor
from nextframe.runtime.core import (
    Action,
    ConfigError,
    DriftAction,
    FixedClock,
    NextframeError,
    PlayedTick,
    ReplayError,
    Snapshot,
    TickPlan,
    TickResult,
)
from nextframe.runtime.display.null import NullDisplay
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Loop, period_ns
from nextframe.runtime.recording.compare import differences
from nextframe.runtime.recording.format import Replay, header_for
from nextframe.runtime.recording.playback import Playback, ReplayVerifier
from nextframe.runtime.recording.reader import load_snapshot, read_replay
from nextframe.runtime.recording.writer import ReplayWriter
from nextframe.runtime.session.choices import SessionOptions
from nextframe.runtime.session.headless import run_session
from nextframe.runtime.session.parts.drift import BANK, MAX_ALARMS, REMEDIES, DriftPart, drift_choice, summary, watch
from nextframe.runtime.session.playback import PlaybackOptions, play_back
from nextframe.runtime.session.registry import WorldFolder, find_world
from nextframe.runtime.session.startup import StartUp
from nextframe.runtime.tick.aftercare import NullAftercare
from nextframe.runtime.tick.again import mend
from nextframe.runtime.tick.events import events_from_text, events_to_text
from nextframe.runtime.tick.forwarding import ForwardingWorld
from nextframe.runtime.timeline.line import Timeline, TimelineError, TimelineRecorder, go_to
from nextframe.runtime.timeline.synctest import SyncTestResult, synctest
from nextframe.worlds.neural.world import NeuralWorld
from nextframe.worlds.toy.world import ToyWorld
from tests.contracts.world_contract import WorldContract, play
from tests.model.drift.test_monitor import WINDOW, a_bank, condition_of, real_latent
from tests.support.doubles import ListRecorder, Session
from tests.support.worlds.small import small_neural

STEPS = 1
FIRST_ALARM = WINDOW + ALARM_AFTER_TICKS - 2
"""Judged from the 16th tick on; the report is renewed every 8, and counts up in between."""


def far_bank() -> DriftBank:
    """Every session of the small world is outside of this one."""
    return replace(a_bank(), low=a_bank().low + 50, high=a_bank().high + 50)


def watched_world(decides: bool = True, bank: DriftBank | None = None) -> tuple[NeuralWorld, DriftMonitor]:
    world = small_neural()
    monitor = DriftMonitor(bank or far_bank(), world.generator.window)
    world.watch(monitor, decides=decides)
    world.reset(3)
    return world, monitor


class Swerving:
    """A controller whose actions belong to the tick."""

    last_input_ns: int | None = None

    def __init__(self, resets: Sequence[int] = ()) -> None:
        self._resets = resets

    def poll(self, tick: int) -> Action:
        return Action(axes={"steer": 127 if tick // 20 % 2 else -127, "throttle": 90}, reset=tick in self._resets)

    def close(self) -> None:
        pass


class Live:
    """A session of the small world that is watched, and acted on with `action`."""

    def __init__(self, action: str, recorder: Any = None, resets: Sequence[int] = ()) -> None:
        self.world, self.monitor = watched_world(decides=action in REMEDIES)
        self.said: list[str] = []
        self.part = DriftPart(self.world, self.monitor, action, self.said.append)
        self.recorder = recorder or ListRecorder()
        clock = FixedClock()
        self.loop = Loop(
            self.world,
            Swerving(resets),
            NullDisplay(clock),
            FixedGovernor(STEPS),
            clock,
            tick_period_ns=period_ns(self.world.info.tick_hz),
            deadline_ns=1,
            recorder=self.recorder,
            checksum_every=1,
            seed=3,
            aftercare=self.part.aftercare,
        )


def recorded(path: Path, action: str, ticks: int = 60) -> Replay:
    """A live session with a snapshot every 25 ticks, read back."""
    session = Live(action)
    header = header_for(session.world.info, seed=3, environment={"drift": action})
    writer = ReplayWriter(path, header, live=False, take_snapshot=session.world.snapshot, snapshot_every_ticks=25)
    session.loop._recorder = writer
    session.loop.run(ticks)
    writer.close()
    return read_replay(path)


def played_back(replay: Replay, path: Path, start: int = 0) -> ReplayVerifier:
    """From a new world, from tick `start` on, which holds a snapshot (or is the beginning)."""
    world, _ = watched_world()
    verifier = ReplayVerifier(replay, start)
    if start:
        [stored] = [stored for stored in replay.snapshots if stored.tick == start]
        world.restore(load_snapshot(path, stored))
    Playback(replay, world, verifier, start).run(len(replay.ticks))
    return verifier


def events_of(replay: Replay) -> dict[int, str]:
    return {tick: text for tick, one in enumerate(replay.ticks) if (text := events_to_text(one.events)) is not None}


def without_events(replay: Replay) -> Replay:
    return replace(replay, ticks=tuple(replace(tick, events=()) for tick in replay.ticks))


# --- recordings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", REMEDIES)
def test_a_playback_does_what_was_done_live_and_has_the_same_checksums(tmp_path: Path, action: str) -> None:
    path = tmp_path / "a.nfr"
    replay = recorded(path, action)
    assert events_of(replay) == {FIRST_ALARM: f"drift:{action}"}
    assert played_back(replay, path).verified
    assert played_back(replay, path, 50).verified, "from a snapshot before the action"
    without = played_back(without_events(replay), path, 50).first_difference
    assert without is not None, "a playback that leaves the action out must be caught"
    assert (without.tick, without.what) == (FIRST_ALARM, "checksum")


def test_a_playback_may_begin_after_an_action(tmp_path: Path) -> None:
    path = tmp_path / "a.nfr"
    replay = recorded(path, "reanchor", ticks=85)
    assert played_back(replay, path, 75).verified


def test_a_playback_does_not_ask_the_monitor_again(tmp_path: Path) -> None:
    """What was decided live stands, even where this monitor would decide otherwise."""
    path = tmp_path / "a.nfr"
    replay = recorded(path, "reanchor")
    ticks = list(replay.ticks)
    ticks[20] = replace(ticks[20], events=(DriftAction("renoise"),))
    world, _ = watched_world()
    recorder = ListRecorder()
    Playback(replace(replay, ticks=tuple(ticks)), world, recorder).run(60)
    assert recorder.events == {20: "drift:renoise", FIRST_ALARM: "drift:reanchor"}


def test_a_snapshot_that_leaves_the_monitor_out_leads_elsewhere(tmp_path: Path) -> None:
    """The negative control of the monitor being state."""
    session = Live("reanchor")
    session.loop.run(30)
    whole = session.world.snapshot()
    expected = []
    for state in (whole, {name: part for name, part in whole.items() if name != "drift"}):
        session.world.restore(state)
        session.loop.tick = 30
        session.loop.run(FIRST_ALARM - 29)
        expected.append(session.world.generator.checksum())
    assert expected[0] != expected[1]


def test_an_action_and_a_reset_at_one_tick_are_both_recorded_and_both_played_back(tmp_path: Path) -> None:
    both = PlayedTick(Action(), 1, events=events_from_text("reset:7,clock_gap,drift:renoise"))
    assert both.drift == DriftAction("renoise")
    assert both.reset_seed == 7
    assert PlayedTick(Action(), 1).drift is None
    assert PlayedTick(Action(), 1, events=events_from_text("clock_gap")).drift is None


def test_after_a_reset_the_monitor_begins_anew() -> None:
    session = Live("log", resets=[30])
    session.loop.run(30 + FIRST_ALARM + 2)
    assert session.recorder.events == {30: "reset:3", 30 + FIRST_ALARM: "drift:log"}


# --- rewind and branches ------------------------------------------------------------------------------------------


def timeline_of(action: str, ticks: int) -> tuple[Live, Timeline]:
    session, timeline = Live(action), Timeline(every_ticks=7)
    timeline.begin(0, session.world.snapshot())
    session.loop._recorder = TimelineRecorder(timeline, session.world)
    session.loop.run(ticks)
    return session, timeline


@pytest.mark.parametrize("action", REMEDIES)
def test_going_back_over_an_action_and_playing_on_is_the_same_session(action: str) -> None:
    session, timeline = timeline_of(action, 65)
    straight_on = session.world.checksum()
    for tick in (FIRST_ALARM - 3, FIRST_ALARM + 1, FIRST_ALARM + 5):
        go_to(session.world, timeline.rewind_to(tick))  # compares the checksum of every tick on the way
        session.loop._recorder = ListRecorder()
        session.loop.tick = tick
        session.loop.run(65 - tick)
        assert session.world.checksum() == straight_on, "decided live again, from the monitor that was restored"


def test_a_past_played_again_without_its_action_is_noticed() -> None:
    session, timeline = timeline_of("reanchor", FIRST_ALARM + 1)
    plan = timeline.rewind_to(FIRST_ALARM + 1)
    forgetful = tuple(PlayedTick(one.action, one.steps_applied, one.checksum) for one in plan.inputs)
    assert forgetful != plan.inputs, "the action lies between the snapshot and the present"
    with pytest.raises(TimelineError, match="came out different"):
        go_to(session.world, replace(plan, inputs=forgetful))


# --- sync test and contract -----------------------------------------------------------------------------------------


class SelfMending(ForwardingWorld):
    """A watched world that acts in its own commit: what a session does, without a loop."""

    def __init__(self, world: NeuralWorld, after: Any) -> None:
        super().__init__(world)
        self._after = after

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        result = self._world.advance(action, plan)

        def commit() -> None:
            result.commit()
            self._after()

        return replace(result, commit=commit)


class Forgetful(SelfMending):
    """The same, but its snapshots leave the monitor out."""

    def snapshot(self) -> Snapshot:
        return {name: part for name, part in self._world.snapshot().items() if name != "drift"}


def synced(kind: type[SelfMending], ticks: int, depth: int) -> tuple[SyncTestResult, list[str]]:
    world, monitor = watched_world()
    part, done = DriftPart(world, monitor, "reanchor"), list[str]()

    def after() -> None:
        done.extend(event.name for event in [part.after_commit(0)] if event)

    mending = kind(world, after)
    controller = Swerving()
    result = synctest(mending, controller.poll, depth=depth, ticks=ticks, plans=lambda tick: TickPlan(STEPS, 0), seed=3)
    return result, done


@pytest.mark.parametrize("depth", [1, 7])
def test_a_session_that_is_acted_on_is_the_same_twice(depth: int) -> None:
    result, done = synced(SelfMending, FIRST_ALARM + 9, depth)
    assert result.same
    assert done == ["reanchor"] * (depth + 1), "once live and once for each time it was played again"


def test_a_snapshot_without_the_monitor_is_caught_by_the_sync_test() -> None:
    result, _ = synced(Forgetful, FIRST_ALARM + 9, 7)
    assert result.mismatch is not None
    assert result.mismatch.checksum_noticed


class TestMendedWorld(WorldContract):
    """The whole contract of worlds, the inventory's included, for one that is acted on after every tick."""

    ticks = 9

    def make_world(self) -> Any:
        world, _ = watched_world()
        return SelfMending(world, lambda: world.mend("renoise"))


# --- only watching --------------------------------------------------------------------------------------------------


def test_a_world_that_is_only_watched_is_the_same_to_the_bit() -> None:
    watched, _ = watched_world(decides=False)
    alone = small_neural()
    alone.reset(3)
    actions = [Swerving().poll(tick) for tick in range(20)]
    assert play(watched, actions) == play(alone, actions)
    assert not differences(watched.snapshot(), alone.snapshot())
    assert watched.state_inventory() == alone.state_inventory()


def test_logging_leaves_an_event_and_changes_nothing() -> None:
    session, alone = Live("log"), Live("log")
    alone.loop._aftercare = NullAftercare()
    for one in (session, alone):
        one.loop.run(FIRST_ALARM + 3)
    assert session.recorder.checksums == alone.recorder.checksums
    assert session.recorder.events == {FIRST_ALARM: "drift:log"}
    assert not alone.recorder.events


def test_a_monitor_that_only_watches_begins_anew_after_a_restore_and_one_that_decides_goes_on() -> None:
    for decides, judged in ((False, 0), (True, a_bank().latent_dim)):
        world, monitor = watched_world(decides)
        play(world, [Action()] * 30)
        assert monitor.report.judged == a_bank().latent_dim
        world.restore(world.snapshot())
        assert monitor.report.judged == judged


def test_a_state_goes_from_a_session_with_a_monitor_to_one_without_and_back() -> None:
    (with_one, monitor), without = watched_world(), small_neural()
    play(with_one, [Action()] * 30)
    without.restore(with_one.snapshot())
    assert without.generator.checksum() == with_one.generator.checksum()
    with_one.restore(without.snapshot())
    assert monitor.report.judged == 0, "it knows nothing of a past that it did not see"


# --- what a session says --------------------------------------------------------------------------------------------


def test_alarms_are_in_the_report_with_tick_score_part_and_action_and_are_said() -> None:
    session = Live("reanchor")
    session.loop.run(FIRST_ALARM + 3)
    report = session.part.as_report()["drift"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["action"], report["alarm_count"]) == ("reanchor", 1)
    [alarm] = report["alarms"]
    assert (alarm["tick"], alarm["action"]) == (FIRST_ALARM, "reanchor")
    assert alarm["score"] > 1
    assert alarm["part"].split()[-1] in ("mean", "spread", "change")
    assert len(session.said) == 1
    assert alarm["part"] in session.said[0]
    assert "reanchor done" in session.said[0]
    assert f"at tick {FIRST_ALARM}" in summary(report)


def test_a_calm_session_says_so_and_one_that_is_not_watched_says_nothing() -> None:
    world, monitor = watched_world(decides=False)
    part = DriftPart(world, monitor, "log")
    assert part.as_report() == {"drift": {"action": "log", "alarm_count": 0, "alarms": [], "last_score": 0.0}}
    assert summary(part.as_report()["drift"]) == "drift: none, score 0.00 at the end"
    assert DriftPart(world, None, "off").as_report() == {}
    assert DriftPart(world, None, "off").aftercare is None


def test_a_score_that_is_no_number_is_null_in_the_report() -> None:
    world, monitor = watched_world(decides=False, bank=a_bank())
    part = DriftPart(world, monitor, "log")
    for tick in range(WINDOW + ALARM_AFTER_TICKS + 20):
        monitor.observe(real_latent(tick) * np.float32(np.nan), condition_of(0))
        part.after_commit(tick)
    report = part.as_report()["drift"]
    assert json.loads(json.dumps(report, allow_nan=False))["alarms"][0]["score"] is None
    assert "no number" in summary(report)


def test_a_session_without_end_keeps_the_first_alarms_and_counts_them_all() -> None:
    world, monitor = watched_world(decides=False)
    part = DriftPart(world, monitor, "log")
    play(world, [Action()] * (FIRST_ALARM + 1))
    for tick in range(MAX_ALARMS + 5):
        part.after_commit(tick)  # the same alarm each time, since the monitor is not told of a tick
    report = part.as_report()["drift"]
    assert (len(report["alarms"]), report["alarm_count"]) == (MAX_ALARMS, MAX_ALARMS + 5)


# --- what is refused ------------------------------------------------------------------------------------------------


def folder_with(tmp_path: Path, name: str = "toy", bank: DriftBank | None = None) -> WorldFolder:
    found = replace(find_world(name), path=tmp_path)
    if bank is not None:
        save_file(save_bank(bank), tmp_path / BANK)
    return found


def test_a_world_with_a_bank_is_watched_unless_told_otherwise_and_others_are_not(tmp_path: Path) -> None:
    assert drift_choice(None, find_world("circuit")) == "log"
    assert drift_choice("off", find_world("circuit")) == "off"
    assert drift_choice("renoise", find_world("circuit")) == "renoise"
    assert drift_choice(None, find_world("circuit"), side_by_side=True) == "off"
    assert drift_choice(None, find_world("toy")) == "off"
    assert drift_choice("off", find_world("toy")) == "off"


@pytest.mark.parametrize("wanted", ["log", "renoise", "reanchor"])
def test_a_world_without_a_bank_is_refused_when_asked_for_in_words(wanted: str) -> None:
    with pytest.raises(ConfigError, match=rf"--drift {wanted}: toy has no drift bank: expected .*{BANK}"):
        drift_choice(wanted, find_world("toy"))


def test_side_by_side_and_unknown_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match="leave one of them out"):
        drift_choice("log", find_world("circuit"), side_by_side=True)
    with pytest.raises(ConfigError, match="expected one of off, log, renoise, reanchor, got 'reboot'"):
        drift_choice("reboot", find_world("circuit"))


@pytest.mark.parametrize("change", ["channels", "prompts", "damage", "toy"])
def test_a_bank_that_does_not_fit_the_world_is_refused(tmp_path: Path, change: str) -> None:
    bank = a_bank()
    if change == "channels":
        bank = replace(bank, low=bank.low[..., :-1], high=bank.high[..., :-1], clips=bank.clips[..., :-1])
    elif change == "prompts":
        bank = replace(bank, groups=(3, 4))
    found = folder_with(tmp_path, bank=bank)
    if change == "damage":
        (tmp_path / BANK).write_bytes(b"none")
    with pytest.raises(NextframeError, match=r"drift_bank.safetensors|has none"):
        watch(ToyWorld() if change == "toy" else small_neural(), found, "log")


def test_a_bank_that_fits_is_put_at_the_commits(tmp_path: Path) -> None:
    world = small_neural()
    monitor = watch(world, folder_with(tmp_path, bank=a_bank()), "log")
    play(world, [Action()] * 3)
    assert len(monitor.recent.latents) == 3
    assert "drift" not in world.snapshot()
    watch(world, folder_with(tmp_path, bank=a_bank()), "reanchor")
    assert "drift" in world.snapshot()


def test_an_action_needs_a_monitor_that_is_state_and_a_name_that_exists() -> None:
    world, _ = watched_world(decides=False)
    for other in (world, small_neural()):
        with pytest.raises(ConfigError, match="expected a monitor that decides"):
            other.mend("reanchor")
    with pytest.raises(ConfigError, match="expected an action of log, renoise, reanchor, got 'explode'"):
        watched_world()[0].mend("explode")


def test_a_recorded_action_that_this_world_cannot_do_is_one_clear_line() -> None:
    with pytest.raises(ReplayError, match="drift:reanchor, which toy, as it is played here, cannot do"):
        mend(ToyWorld(), DriftAction("reanchor"))
    mend(ToyWorld(), DriftAction("log"))
    mend(ToyWorld(), None)


def test_a_monitor_of_another_bank_s_shape_is_no_state_of_this_one() -> None:
    world, _ = watched_world()
    play(world, [Action()] * 3)
    state: dict[str, Any] = dict(world.snapshot())
    state["drift"] = {**state["drift"], "sums": state["drift"]["sums"][:, :-1]}
    with pytest.raises(ValueError, match="drift: expected statistics"):
        world.restore(state)


# --- the seam in the loop -------------------------------------------------------------------------------------------


def test_aftercare_comes_after_the_commit_and_before_the_checksum_and_its_time_is_the_commit_s() -> None:
    session = Session()
    checksums: list[int] = []

    class Aftercare:
        def after_commit(self, tick: int) -> DriftAction | None:
            checksums.append(session.world.checksum())
            session.clock.advance_ns(5_000_000)
            return DriftAction("log") if tick == 1 else None

    session.loop._aftercare = Aftercare()
    session.loop.run(3)
    assert list(session.recorder.checksums.values()) == checksums
    assert session.recorder.events == {1: "drift:log"}
    assert [record.stage_ns["commit"] for record in session.records] == [5_000_000] * 3


# --- the shipped world ----------------------------------------------------------------------------------------------


def test_the_circuit_under_a_bank_that_it_leaves_is_acted_on_and_verifies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the session and the playback that the commands use."""
    folder = tmp_path / "circuit"
    shutil.copytree(find_world("circuit").path, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    bank = replace(load_bank(folder / BANK), window_ticks=WINDOW)
    bank.low[:, 0, 0] += 50
    bank.high[:, 0, 0] += 50
    save_file(save_bank(bank), folder / BANK)
    options = SessionOptions(
        str(folder), ticks=FIRST_ALARM + 7, bot="wander", clock="fixed", steps=1, pictures=False, out=tmp_path,
        drift="reanchor", record=tmp_path / "a.nfr",
    )  # fmt: skip
    report = run_session(options, StartUp()).report
    [alarm] = report["drift"]["alarms"]
    assert (alarm["tick"], alarm["part"]) == (FIRST_ALARM, "scene 0 mean")
    assert any(part["name"] == "drift" for part in report["state"])
    assert play_back(PlaybackOptions(tmp_path / "a.nfr", verify=True, world=str(folder))) == 0
    assert "drift: 1 alarm recorded" in capsys.readouterr().out
    shutil.copy(find_world("circuit").path / BANK, folder / BANK)
    with pytest.raises(ReplayError, match=r"drift bank \(SHA-256\): recorded [0-9a-f]{64}, here [0-9a-f]{64}"):
        play_back(PlaybackOptions(tmp_path / "a.nfr", verify=True, world=str(folder)))
