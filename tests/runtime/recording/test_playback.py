"""Claims about playing back: the right world, and the exact tick and field in which a playback leaves its recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from nextframe.runtime.core import Action, ActionSpace, PlayedTick, ReplayError
from nextframe.runtime.recording.environment import expectation
from nextframe.runtime.recording.format import Replay, header_for
from nextframe.runtime.recording.playback import Playback, ReplayVerifier, check_fits
from nextframe.runtime.recording.reader import load_snapshot
from nextframe.worlds.toy.world import ToyWorld
from tests.support.replays import ACTIONS, HEAD, INFO, play_back, record_a_session, some_ticks


def replay_of(ticks: Sequence[PlayedTick]) -> Replay:
    return Replay(HEAD, tuple(ticks), True)


def test_the_world_it_was_recorded_with_fits() -> None:
    check_fits(replay_of([]), INFO)


@pytest.mark.parametrize(
    ("change", "recorded", "here"),
    [
        ({"weights_sha256": "b" * 64}, "a" * 64, "b" * 64),
        ({"config_sha256": "d" * 64}, "c" * 64, "d" * 64),
        ({"name": "lake"}, "pond", "lake"),
        ({"tick_hz": Fraction(20)}, "4", "20"),
        ({"ladder": (1, 2)}, r"\(1, 2, 4\)", r"\(1, 2\)"),
        ({"actions": ActionSpace(("fire",), ACTIONS.axes)}, "handbrake", "'fire',"),
    ],
)
def test_another_world_is_refused_with_both_values(change: dict[str, Any], recorded: str, here: str) -> None:
    with pytest.raises(ReplayError, match=f"recorded .*{recorded}.*, here .*{here}"):
        check_fits(replay_of([]), replace(INFO, **change))


def played(verifier: ReplayVerifier, ticks: Sequence[PlayedTick]) -> ReplayVerifier:
    for n, tick in enumerate(ticks):
        verifier.record_tick(n, tick)
    verifier.close()
    return verifier


def test_an_equal_playback_is_verified() -> None:
    ticks = some_ticks(12)
    verifier = played(ReplayVerifier(replay_of(ticks)), ticks)
    assert verifier.verified
    assert verifier.first_difference is None
    assert verifier.checksums_compared == 3


def test_the_first_tick_that_differs_is_named() -> None:
    ticks = some_ticks(12)
    wrong = [
        replace(tick, checksum=tick.checksum + 1) if n >= 4 and tick.checksum else tick for n, tick in enumerate(ticks)
    ]
    verifier = played(ReplayVerifier(replay_of(ticks)), wrong)
    assert not verifier.verified
    assert str(verifier.first_difference) == "tick 4: checksum: recorded 0x00000fa0, played 0x00000fa1"


def test_other_steps_and_other_actions_are_differences_too() -> None:
    ticks = some_ticks(12)
    other_steps = played(ReplayVerifier(replay_of(ticks)), [*ticks[:3], replace(ticks[3], steps_applied=9), *ticks[4:]])
    assert other_steps.first_steps_difference is not None
    assert other_steps.first_steps_difference.tick == 3
    other_action = played(
        ReplayVerifier(replay_of(ticks)), [*ticks[:2], replace(ticks[2], action=Action()), *ticks[3:]]
    )
    assert other_action.first_difference is not None
    assert (other_action.first_difference.tick, other_action.first_difference.what) == (2, "action")
    assert not other_steps.verified
    assert not other_action.verified


def test_a_playback_that_compared_nothing_or_stopped_early_is_not_verified() -> None:
    ticks = some_ticks(12)
    assert not played(ReplayVerifier(replay_of(ticks)), [replace(tick, checksum=None) for tick in ticks]).verified
    assert not played(ReplayVerifier(replay_of(ticks)), ticks[:-1]).verified
    without = [replace(tick, checksum=None) for tick in ticks]
    assert not played(ReplayVerifier(replay_of(without)), without).verified


def test_a_playback_of_some_ticks_is_held_against_those_only() -> None:
    ticks = some_ticks(12)
    verifier = ReplayVerifier(replay_of(ticks), 4, 9)
    for n, tick in enumerate(ticks):
        verifier.record_tick(n, tick)
    assert (verifier.verified, verifier.ticks_compared, verifier.checksums_compared) == (True, 5, 2)
    assert not played(ReplayVerifier(replay_of(ticks), 4, 9), ticks[:8]).verified


# --- with a world and a loop -------------------------------------------------------------------------------------


def test_a_recorded_session_plays_back_bit_for_bit(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr")
    check_fits(replay, ToyWorld().info)
    assert len(replay.ticks) == 60
    verifier = play_back(replay)
    assert verifier.first_difference is None
    assert (verifier.verified, verifier.checksums_compared) == (True, 12)


def test_one_changed_action_is_caught_at_the_next_checksum(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr")
    ticks = list(replay.ticks)
    ticks[3] = replace(ticks[3], action=Action(axes={"steer": -20}))
    verifier = play_back(replay, actions_of=replace(replay, ticks=tuple(ticks)))
    assert verifier.first_action_difference is not None
    assert verifier.first_action_difference.tick == 3
    assert verifier.first_checksum_difference is not None
    assert verifier.first_checksum_difference.tick == 5
    assert not verifier.verified


def test_one_changed_step_count_is_named(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr")
    verifier = play_back(replay, steps=[4, 1, 2, 1] + [4] * 56)
    assert verifier.first_steps_difference is not None
    assert verifier.first_steps_difference.tick == 3
    assert not verifier.verified


def test_one_changed_checksum_is_named(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr")
    ticks = list(replay.ticks)
    recorded = ticks[25].checksum
    assert recorded is not None
    ticks[25] = replace(ticks[25], checksum=recorded ^ 1)
    verifier = play_back(replace(replay, ticks=tuple(ticks)))
    assert verifier.first_difference is not None
    assert (verifier.first_difference.tick, verifier.first_difference.what) == (25, "checksum")


@pytest.mark.parametrize("first_tick", [0, 8, 9, 24, 30, 31, 59])
def test_a_playback_may_begin_at_any_tick(tmp_path: Path, first_tick: int) -> None:
    replay = record_a_session(tmp_path / "a.nfr", snapshot_every_ticks=8)
    start, stored = replay.start_before(first_tick)
    assert first_tick - 8 < start <= first_tick
    world = ToyWorld()
    world.reset(7)
    if stored is not None:
        world.restore(load_snapshot(tmp_path / "a.nfr", stored))
    verifier = ReplayVerifier(replay, start)
    Playback(replay, world, verifier, start).run(60)
    assert verifier.first_difference is None
    assert verifier.ticks_compared == 60 - start
    assert verifier.verified == (start <= 55)  # the last checksum


def test_a_playback_from_a_snapshot_of_another_tick_is_caught(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr", snapshot_every_ticks=8)
    world = ToyWorld()
    world.restore(load_snapshot(tmp_path / "a.nfr", replay.snapshots[1]))
    verifier = ReplayVerifier(replay, 8)
    Playback(replay, world, verifier, 8).run(60)
    assert verifier.first_difference is not None
    assert verifier.first_difference.tick == 10


def test_without_snapshots_a_playback_begins_at_the_last_reset(tmp_path: Path) -> None:
    replay = record_a_session(tmp_path / "a.nfr")
    assert replay.start_before(29) == (0, None)
    assert replay.start_before(50) == (30, None)


# --- what can be expected elsewhere ------------------------------------------------------------------------------

HERE: dict[str, str | int] = {
    "python": "3.11",
    "torch": "2.13",
    "threads": 1,
    "cpu": "A",
    "instructions": "AVX512",
    "device": "cpu",
    "rng": "philox",
}


def expected(here: dict[str, str | int], promise: str = "R0") -> Any:
    return expectation(header_for(INFO, seed=1, environment=HERE, promise=promise), here)


def test_the_same_environment_keeps_the_whole_promise_and_says_nothing() -> None:
    found = expected({**HERE, "something_new": 5})
    assert (found.level, found.differences, found.sentence) == ("R0", (), "")


def test_another_thread_count_is_said_plainly_and_is_not_a_fault() -> None:
    found = expected({**HERE, "threads": 2})
    assert found.level == "R2"
    assert "recorded with 1 thread, here 2 threads: sums may round differently" in found.sentence
    assert "a difference is not a fault" in found.sentence


def test_another_python_on_the_same_device_keeps_r1() -> None:
    found = expected({**HERE, "python": "3.13"})
    assert (found.level, "bit for bit expected" in found.sentence) == ("R1", True)


@pytest.mark.parametrize("name", ["rng", "cpu", "instructions", "torch", "device"])
def test_whatever_sums_depend_on_lowers_the_promise_to_r2(name: str) -> None:
    found = expected({**HERE, name: "another"})
    assert (found.level, [difference.name for difference in found.differences]) == ("R2", [name])
    missing = expected({key: value for key, value in HERE.items() if key != name})
    assert (missing.level, f"here no {name} named" in missing.sentence) == ("R2", True)


def test_a_world_without_a_network_keeps_r0_on_any_processor() -> None:
    header = header_for(INFO, seed=1, environment={"python": "3.11", "cpu": "A", "platform": "x"})
    assert expectation(header, {"python": "3.13", "cpu": "B", "platform": "y"}).level == "R0"


def test_a_recording_that_promised_less_keeps_less() -> None:
    found = expected(HERE, promise="R1")
    assert (found.level, found.sentence) == ("R1", "this recording promises R1, bit for bit expected, not promised")
    with pytest.raises(ReplayError, match="R0, R1, R2, got 'R9'"):
        expected(HERE, promise="R9")
