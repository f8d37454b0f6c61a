"""Claims about the drift monitor and what is done about drift."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from nextframe.model.base.checkpoint import CheckpointError
from nextframe.model.drift.actions import ACTIONS, DriftPolicy, carry_out
from nextframe.model.drift.bank import DriftBank, load_bank, save_bank
from nextframe.model.drift.monitor import ALARM_AFTER_TICKS, BLOCK_TICKS, KEYFRAME_EVERY_TICKS, DriftMonitor
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.runtime.recording.compare import differences
from nextframe.runtime.session.registry import find_world
from tests.support.networks import SMALL, finished, random_generator

Array = NDArray[np.float32]
DIM, SCENE, MOODS = SMALL.latent_dim, SMALL.scene_dim, 12
WINDOW, SETTLE = 16, 8
BANK_PATH = find_world("circuit").path / "drift_bank.safetensors"


def a_bank() -> DriftBank:
    """Means within 2 of the mood's number, spreads and changes below 3."""
    moods = np.arange(MOODS, dtype=np.float32)
    low, high = np.zeros((MOODS, 3, DIM), np.float32), np.full((MOODS, 3, DIM), 3.0, np.float32)
    low[:, 0], high[:, 0] = moods[:, None] - 2, moods[:, None] + 2
    clips = np.broadcast_to(moods[:, None, None, None], (MOODS, 2, 6, DIM)).copy()
    clips[:, 1, :, SCENE:] += 1
    return DriftBank(low, high, clips, (4, 3), SCENE, WINDOW, SETTLE, 0.25)


def condition_of(mood: int) -> Array:
    condition = np.zeros(SMALL.condition_dim, np.float32)
    condition[4 + mood // 3] = condition[8 + mood % 3] = 1.0
    return condition


def real_latent(tick: int, mood: int = 0) -> Array:
    """Noise around the mood, by address."""
    noise = np.random.Generator(np.random.Philox(key=[tick, mood])).normal(0, 0.5, DIM)
    return (mood + noise).astype(np.float32)


def watched(monitor: DriftMonitor, ticks: int, *, push: float = 0.0, channel: int = 2, mood: int = 0) -> list[float]:
    """Scores of ticks with one channel pushed away."""
    scores = []
    for tick in range(ticks):
        latent = real_latent(tick, mood)
        latent[channel] += push
        scores.append(monitor.observe(latent, condition_of(mood)).score)
    return scores


# --- the monitor --------------------------------------------------------------------------------------------------


def test_a_session_like_the_bank_is_inside_and_never_drifts() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    assert set(watched(monitor, 300)) == {0.0}
    assert not monitor.report.drifting
    assert monitor.report.judged == DIM


def test_nothing_is_judged_before_it_has_gathered_a_window() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    scores = watched(monitor, WINDOW, push=50.0)
    assert scores[:-1] == [0.0] * (WINDOW - 1)
    assert scores[-1] > 1.0


def test_a_pushed_channel_is_named_worst_first_and_scored_in_widths_of_its_band() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    watched(monitor, 200, push=6.0)
    assert monitor.report.channels[0] == "scene 2 mean"
    assert monitor.report.score == pytest.approx(1.0, abs=0.1)  # 4 beyond a band 4 wide
    assert monitor.report.slots == ()


def test_the_slot_of_a_pushed_channel_is_named() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    watched(monitor, 100, push=9.0, channel=SCENE + 7)
    assert monitor.report.slots == (1,)
    assert "slot 1 y mean" in monitor.report.channels


def test_a_channel_that_shakes_around_its_mean_is_found_by_its_change() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    for tick in range(100):
        latent = real_latent(tick)
        latent[4] = 2.5 * (-1) ** tick
        monitor.observe(latent, condition_of(0))
    assert monitor.report.channels == ("scene 4 change",)


def test_a_channel_that_stands_still_is_found_by_its_spread() -> None:
    bank = a_bank()
    bank.low[:, 1], bank.high[:, 1] = 0.3, 0.7
    monitor = DriftMonitor(bank, 6)
    for tick in range(100):
        latent = real_latent(tick)
        latent[3] = 0.0
        monitor.observe(latent, condition_of(0))
    assert monitor.report.channels[0] == "scene 3 spread"


def test_a_latent_that_is_no_number_is_as_far_outside_as_can_be() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    watched(monitor, 50)
    watched(monitor, ALARM_AFTER_TICKS + BLOCK_TICKS, push=np.nan)
    assert monitor.report.score == np.inf
    assert monitor.report.drifting


def test_after_a_prompt_the_scene_is_left_alone_until_it_has_settled() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    watched(monitor, 50, mood=0)
    on_the_way = [monitor.observe(real_latent(tick, 0), condition_of(9)).judged for tick in range(SETTLE)]
    scores = watched(monitor, 100, mood=9, channel=SCENE, push=-9.0)  # the slots of this double do not follow the mood
    assert set(on_the_way) == {DIM - SCENE}
    assert not any(name.startswith("scene") for name in monitor.report.channels)
    assert max(scores) > 0.0


def test_a_scene_that_never_follows_its_prompt_is_found() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    for tick in range(SETTLE + WINDOW + ALARM_AFTER_TICKS + 20):
        monitor.observe(real_latent(tick, 0), condition_of(0 if tick < 10 else 9))
    assert any(name.startswith("scene") for name in monitor.report.channels)


def test_a_break_in_the_alarm_starts_the_count_again() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    watched(monitor, 60, push=6.0)
    counted = monitor.report.outside_for_ticks
    watched(monitor, 60)
    assert counted > ALARM_AFTER_TICKS
    assert monitor.report.outside_for_ticks == 0


def test_what_is_observed_is_copied() -> None:
    monitor, latent, given = DriftMonitor(a_bank(), 6), real_latent(0), condition_of(0)
    monitor.observe(latent, given)
    latent[:], given[:] = 99.0, 99.0
    assert monitor.recent.latents.max() < 99.0
    assert monitor.recent.conditions.max() < 99.0


@pytest.mark.parametrize("ticks", [0, 1, 40, 130])
def test_a_restored_monitor_goes_on_as_the_one_it_was_taken_of(ticks: int) -> None:
    one, other = DriftMonitor(a_bank(), 6), DriftMonitor(a_bank(), 6)
    watched(one, ticks, push=6.0)
    taken = one.snapshot()
    other.restore(taken)
    assert other.report == one.report
    assert watched(one, 150) == watched(other, 150)
    assert not list(differences(one.snapshot(), other.snapshot()))
    other.restore(taken)
    assert other.snapshot()["ticks"] == ticks, "later ticks change no snapshot"


def test_a_reset_monitor_is_a_new_one() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    watched(monitor, 150, push=6.0)
    monitor.reset()
    assert not list(differences(monitor.snapshot(), DriftMonitor(a_bank(), 6).snapshot()))


# --- anchors ------------------------------------------------------------------------------------------------------


def test_the_anchor_is_the_last_good_keyframe_of_this_mood() -> None:
    monitor = DriftMonitor(a_bank(), 6)
    watched(monitor, KEYFRAME_EVERY_TICKS)
    good = monitor.recent.latents
    watched(monitor, KEYFRAME_EVERY_TICKS, push=6.0)
    assert np.array_equal(monitor.anchor(), good), "the drifting tick that was due is no keyframe"


def test_without_a_keyframe_of_this_mood_the_anchor_is_the_bank_s_nearest_clip() -> None:
    monitor, bank = DriftMonitor(a_bank(), 6), a_bank()
    watched(monitor, KEYFRAME_EVERY_TICKS)
    near_the_second = np.full(DIM, 6.0, np.float32)
    monitor.observe(near_the_second, condition_of(5))
    assert np.array_equal(monitor.anchor(), bank.clips[5, 1])


# --- the bank as a file -------------------------------------------------------------------------------------------


def test_a_bank_is_read_as_it_was_written(tmp_path: Path) -> None:
    bank, path = a_bank(), tmp_path / "bank.safetensors"
    save_file(save_bank(bank), path)
    read = load_bank(path)
    for name in ("low", "high", "clips"):
        assert np.array_equal(getattr(read, name), getattr(bank, name))
    numbers = (read.groups, read.scene_dim, read.window_ticks, read.settle_ticks, read.alarm_score)
    assert numbers == (bank.groups, bank.scene_dim, bank.window_ticks, bank.settle_ticks, bank.alarm_score)


@pytest.mark.parametrize("fault", ["missing", "inverted", "other moods"])
def test_a_file_that_is_no_bank_is_refused(tmp_path: Path, fault: str) -> None:
    stored, path = save_bank(a_bank()), tmp_path / "bank.safetensors"
    if fault == "missing":
        del stored["high"]
    elif fault == "inverted":
        stored["high"] = stored["low"] - 1
    else:
        stored["numbers"][-1] = 5
    save_file(stored, path)
    with pytest.raises(CheckpointError, match="make it again"):
        load_bank(path)


# --- actions ------------------------------------------------------------------------------------------------------


def a_generator() -> RollingGenerator:
    generator = random_generator()
    generator.prefill(torch.zeros(1, 1, DIM), torch.zeros(1, 1, SMALL.condition_dim))
    return generator


def a_session(ticks: int = 20) -> tuple[RollingGenerator, DriftMonitor]:
    """A small network and its monitor after some ticks, both cars in sight."""
    generator, monitor = a_generator(), DriftMonitor(a_bank(), SMALL.window)
    for tick in range(ticks):
        latent = torch.from_numpy(real_latent(tick)) * 0.1
        latent[SCENE + 4 :: 6] = 1.0
        commit(generator, monitor, latent[None])
    return generator, monitor


def commit(generator: RollingGenerator, monitor: DriftMonitor, latent: torch.Tensor, mood: int = 0) -> None:
    given = condition_of(mood)
    generator.commit(latent, torch.from_numpy(given)[None])
    monitor.observe(generator.last[0].numpy(), given)


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_a_pure_function(name: str) -> None:
    generator, monitor = a_session()
    before, watching = generator.snapshot(), monitor.snapshot()
    one, other = (ACTIONS[name](generator, before, monitor, 3).snapshot for _ in range(2))
    assert not list(differences(dict(one), dict(other)))
    assert not list(differences(generator.snapshot(), before))
    assert not list(differences(monitor.snapshot(), watching))


@pytest.mark.parametrize("name", ["renoise", "reanchor"])
def test_a_remedy_rewrites_the_memory_in_place_and_keeps_the_time(name: str) -> None:
    generator, monitor = a_session()
    table, tick, crc = sorted(generator.memory.positions), generator.tick, generator.checksum()
    carry_out(name, generator, monitor, seed=3)
    generator.memory.check_integrity()
    assert sorted(generator.memory.positions) == table
    assert generator.tick == tick
    assert generator.checksum() != crc
    assert np.array_equal(monitor.recent.latents[-1], generator.last[0].numpy())


def test_logging_changes_nothing() -> None:
    generator, monitor = a_session()
    crc, watching = generator.checksum(), monitor.snapshot()
    carry_out("log", generator, monitor, seed=3)
    assert generator.checksum() == crc
    assert not list(differences(monitor.snapshot(), watching))


def test_renoise_moves_places_by_what_training_put_into_histories_and_no_more() -> None:
    generator, monitor = a_session()
    before = generator.last.clone()
    carry_out("renoise", generator, monitor, seed=3)
    moved_px = (generator.last - before)[0, SCENE : SCENE + 2].abs() * 64
    assert 0.0 < float(moved_px.max()) < 2.0
    assert torch.equal(generator.last[:, SCENE + 4 :: 6], before[:, SCENE + 4 :: 6])


def test_reanchor_takes_the_anchor_s_scene_and_leaves_sound_slots_where_they_are() -> None:
    generator, monitor = a_session()
    before = generator.last.clone()
    carry_out("reanchor", generator, monitor, seed=3)
    assert np.array_equal(generator.last[0, :SCENE], a_bank().clips[0, 0, -1, :SCENE])
    assert torch.allclose(generator.last[0, SCENE:], before[0, SCENE:], atol=1e-6)


@pytest.mark.parametrize("place", [7.0, float("nan")])
def test_reanchor_fetches_back_a_slot_that_has_left_the_frame_and_only_that_one(place: float) -> None:
    generator, monitor = a_session()
    kept = generator.last[0, SCENE + 6 :].clone()
    gone = generator.last.clone()
    gone[0, SCENE] = place
    commit(generator, monitor, gone)
    carry_out("reanchor", generator, monitor, seed=3)
    anchor = generator.tokenizer.canonical(torch.from_numpy(monitor.anchor()))[-1]
    assert torch.isfinite(generator.memory.keys).all()
    assert torch.equal(generator.last[0, SCENE : SCENE + 6], anchor[SCENE : SCENE + 6])
    assert torch.allclose(generator.last[0, SCENE + 6 :], kept, atol=1e-6)


def test_a_policy_acts_once_for_each_alarm() -> None:
    monitor, policy = DriftMonitor(a_bank(), 6), DriftPolicy("log")
    acted = []
    for tick in range(200):
        monitor.observe(real_latent(tick) + 9.0, condition_of(0))
        acted += [tick] * (policy.due(monitor.report) is not None)
    assert acted == [WINDOW - 1 + ALARM_AFTER_TICKS - 1]


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(ValueError, match="log, renoise, reanchor"):
        DriftPolicy("reboot")


def drifting_session(
    events: dict[int, str] | None, policy: str, start: tuple[dict[str, object], dict[str, object], int] | None = None
) -> tuple[dict[int, str], list[int], tuple[dict[str, object], dict[str, object], int]]:
    """Play 160 ticks under a bank that everything is outside of. `events`: given on a replay, decided when None.

    Returns the events, a checksum a tick, and the state at tick 40."""
    bank = replace(a_bank(), low=a_bank().low + 50, high=a_bank().high + 50)
    generator, monitor = a_generator(), DriftMonitor(bank, SMALL.window)
    decided, crcs, first, middle = {}, [], 0, None
    if start is not None:
        generator.restore(start[0])
        monitor.restore(start[1])
        first = start[2]
    for tick in range(first, 160):
        if tick == 40:
            middle = (generator.snapshot(), monitor.snapshot(), tick)
        given = condition_of(tick // 90)
        latent = finished(generator.start(torch.from_numpy(given)[None], seed=5, steps=1))
        commit(generator, monitor, latent, tick // 90)
        name = DriftPolicy(policy).due(monitor.report) if events is None else events.get(tick)
        if name is not None:
            carry_out(name, generator, monitor, seed=5)
            decided[tick] = name
        crcs.append(generator.checksum())
    return decided, crcs, middle or (generator.snapshot(), monitor.snapshot(), 160)


@pytest.mark.parametrize("name", ["renoise", "reanchor"])
def test_a_replay_that_carries_out_the_recorded_events_is_the_same_session(name: str) -> None:
    events, live, middle = drifting_session(None, name)
    assert list(events) == [54, 109], "one alarm after another, each after its statistics have gathered again"
    assert drifting_session(events, "log")[1] == live
    assert drifting_session(events, "log", middle)[1] == live[40:], "also from a snapshot"
    first = next(iter(events))
    without = drifting_session({}, "log")[1]
    assert without[:first] == live[:first]
    assert without[first] != live[first], "a replay without its events must be caught"


# --- what ships ---------------------------------------------------------------------------------------------------


def shipped_session(push: Array | float = 0.0, ticks: int = 300) -> DriftMonitor:
    """A real drive of the simulator, as latents, under the shipped bank."""
    from nextframe.worlds.circuit.recipe.clips import Latents
    from nextframe.worlds.circuit.recipe.data import HELD_OUT_SEED, drive
    from tests.support.networks import shipped_tokenizer, simulator

    real = drive(simulator(), HELD_OUT_SEED + 77, ticks, prompt_rate=0.0)
    monitor = DriftMonitor(load_bank(BANK_PATH), 32)
    for latent, given in zip(Latents(shipped_tokenizer()).of(real.states).numpy(), real.conditions, strict=True):
        monitor.observe((latent + push).astype(np.float32), given)
    return monitor


def test_a_real_drive_never_seen_before_is_inside_the_shipped_bank() -> None:
    assert not shipped_session().report.drifting


def test_five_grey_levels_of_drift_are_found_by_the_shipped_bank() -> None:
    push = np.zeros(DIM, np.float32)
    push[0] = 5 / 35.9  # one unit of the first number of the scene code is worth 35.9 levels
    report = shipped_session(push).report
    assert report.drifting
    assert report.channels[0] == "scene 0 mean"


def test_the_shipped_bank_counts_moods_as_the_world_s_conditions_do() -> None:
    spec, bank = find_world("circuit").spec, load_bank(BANK_PATH)
    prompts = spec.action_space().prompts
    assert bank.groups == tuple(len(words) for words in prompts.values())
    assert bank.mood_of(condition_of(7)) == 7


def test_the_monitor_costs_a_small_part_of_a_tick_of_the_network() -> None:
    monitor, generator = DriftMonitor(load_bank(BANK_PATH), 32), random_generator()
    latents, given = [real_latent(tick) for tick in range(200)], condition_of(0)
    condition = torch.from_numpy(given)[None]
    costs, ticks = [], []
    for latent in latents:
        before = time.perf_counter_ns()
        monitor.observe(latent, given)
        between = time.perf_counter_ns()
        finished(generator.start(condition, seed=0, steps=1))
        costs.append(between - before)
        ticks.append(time.perf_counter_ns() - between)
    assert np.median(costs) < np.median(ticks) / 4, "against one denoise step of a network far smaller than any shipped"
