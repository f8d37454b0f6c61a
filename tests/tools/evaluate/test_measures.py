"""The evaluation's measures, each where the answer is known: the teacher against itself, and worlds with one fault."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from nextframe.runtime.core import IDLE, Action, NextframeError
from nextframe.tools.evaluate.measures import drift as drift_module
from nextframe.tools.evaluate.measures.at_rest import WIDEN_PX, _widened, idle, mash
from nextframe.tools.evaluate.measures.bands import CHUNK_TICKS, SETTLE_TICKS, STATISTICS, Bands, real_bands
from nextframe.tools.evaluate.measures.drift import LOST, Watch, drift
from nextframe.tools.evaluate.measures.latency import latency, probes
from nextframe.tools.evaluate.measures.memory_return import Return, found, memory_return, score
from nextframe.tools.evaluate.measures.open_loop import above, open_loop
from nextframe.worlds.evaluation.players import HandsOff, Palette, Prompted, Recorder, Tape, Wanderer, keys_of, masher
from nextframe.worlds.evaluation.subjects import WorldRows, play
from nextframe.worlds.toy.world import ToyWorld
from tests.support.evaluate_doubles import (
    PALETTE,
    WINDOW_TICKS,
    Deaf,
    Fading,
    Forgetful,
    Frozen,
    Late,
    Loses,
    Restless,
    Strip,
    Wrong,
    pair_with,
)

SEEDS = range(6)


@pytest.fixture(scope="module")
def bands() -> Bands:
    return real_bands(pair_with(Strip()), sessions=8, ticks=240)


# --- who plays ----------------------------------------------------------------------------------------------------


def test_a_wanderer_uses_every_control_both_ways_and_repeats_itself_exactly() -> None:
    once, again = (Recorder(Wanderer(PALETTE, SEEDS)) for _ in range(2))
    taken = [once.actions(tick) for tick in range(60)]
    assert taken == [again.actions(tick) for tick in range(60)]
    for key in keys_of(PALETTE):
        held = [key.held(action) for tick in taken for action in tick]
        assert 0.1 < np.mean(held) < 0.9, key


def test_rows_of_a_wanderer_are_independent_of_each_other() -> None:
    alone, among = Wanderer(PALETTE, [3]), Wanderer(PALETTE, [1, 2, 3])
    assert [alone.actions(t)[0] for t in range(30)] == [among.actions(t)[2] for t in range(30)]


def test_a_masher_changes_its_mind_far_more_often_than_a_wanderer() -> None:
    def changes(player: Wanderer) -> int:
        taken = [player.actions(t)[0] for t in range(80)]
        return sum(a != b for a, b in pairwise(taken))

    assert changes(masher(PALETTE, SEEDS)) > 1.5 * changes(Wanderer(PALETTE, SEEDS))


def test_an_axis_that_nothing_pulls_back_has_one_key() -> None:
    one_sided = Palette(replace(PALETTE.space, prompts={}), {"look": (0.0, 1.0)})
    assert [key.name for key in keys_of(one_sided)] == ["look +", "lamp"]
    assert one_sided.moods() == [""]


def test_a_shuffled_tape_holds_the_same_actions_in_other_rows() -> None:
    rows = [Action(axes={"look": level}) for level in (-127, 0, 127)]
    assert Tape([rows]).shuffled().ticks == [[rows[2], rows[0], rows[1]]]


def test_prompts_are_said_when_they_change_and_are_in_force_until_the_next() -> None:
    player = Prompted(HandsOff(1), [["day", "night"]], 3)
    assert [player.actions(t)[0].prompt for t in range(7)] == ["day", None, None, "night", None, None, "day"]
    assert [player.mood(0, t) for t in range(7)] == ["day"] * 3 + ["night"] * 3 + ["day"]


def test_a_world_played_in_rows_is_the_world_played_alone() -> None:
    rows, alone = WorldRows(ToyWorld()), WorldRows(ToyWorld())
    palette = Palette(ToyWorld().info.actions)
    taken = Recorder(Wanderer(palette, [4, 5, 6]))
    play(rows, [4, 5, 6], taken, 12)
    play(alone, [6], Tape([[tick[2]] for tick in taken.tape.ticks]), 12)
    assert np.array_equal(rows.frames()[2], alone.frames()[0])


# --- open loop ----------------------------------------------------------------------------------------------------


def test_the_teacher_against_itself_is_perfect_in_open_loop() -> None:
    report = open_loop(pair_with(Strip()), SEEDS, 24)
    assert report["ticks_above_copy_start"] == 24
    assert set(report["curves"]["psnr_db"]) == {100.0}
    assert report["curves"]["psnr_db"][-1] > report["curves"]["other_actions_psnr_db"][-1] + 30
    assert len(report["film"]) == 5
    assert np.array_equal(*report["film"][-1])


def test_a_frozen_world_is_never_above_a_still() -> None:
    assert open_loop(pair_with(Frozen()), SEEDS, 12)["ticks_above_copy_start"] == 0


def test_a_world_that_obeys_another_session_is_as_good_as_with_its_actions() -> None:
    report = open_loop(pair_with(Deaf()), range(12), 16)
    assert abs(report["mean_gain_over_other_actions_db"]) < 1.0
    assert open_loop(pair_with(Strip()), range(12), 16)["mean_gain_over_other_actions_db"] > 30


def test_time_above_ends_with_the_first_tick_that_is_not() -> None:
    assert above([3.0, None, 2.0, 5.0], [1.0, 1.0, 2.0, 1.0]) == 2
    assert above([3.0, 3.0], [1.0, None]) == 2


# --- latency ------------------------------------------------------------------------------------------------------


def test_the_teacher_answers_every_control_in_the_next_frame() -> None:
    report = latency(pair_with(Strip()), SEEDS)
    assert set(report["controls"]) == {"look +", "look -", "lamp", "light"}
    assert (report["answered_share"], report["median_frames"], report["p95_frames"]) == (1.0, 1.0, 1.0)
    assert (report["next_frame_share"], report["excess_frames_mean"]) == (1.0, 0.0)


def test_a_world_that_is_one_frame_late_has_a_latency_of_two() -> None:
    report = latency(pair_with(Late()), SEEDS)
    assert (report["median_frames"], report["excess_frames_mean"], report["next_frame_share"]) == (2.0, 1.0, 0.0)


def test_a_frozen_world_never_answers() -> None:
    report = latency(pair_with(Frozen()), SEEDS)
    assert (report["answered"], report["answered_share"], report["median_frames"]) == (0, 0.0, None)


def test_differences_that_two_equal_runs_have_are_no_answer() -> None:
    class Flickers(Frozen):
        flips = np.random.default_rng(0)

        def frames(self) -> np.ndarray:
            noise = self.flips.integers(0, 40, self._first.shape)
            return (self._first // 2 + noise).astype(np.uint8)

    assert latency(pair_with(Flickers()), SEEDS)["answered_share"] < 0.5


def test_a_probe_differs_from_its_twin_in_one_control_only() -> None:
    for probe in probes(pair_with(Strip())):
        keys = [key.name for key in keys_of(PALETTE) if key.held(probe.with_it) != key.held(probe.without)]
        prompts = probe.with_it.prompt != probe.without.prompt
        assert keys == ([] if prompts else [probe.name])


# --- drift, mash --------------------------------------------------------------------------------------------------


def test_the_teacher_never_fails_against_its_own_band(bands: Bands) -> None:
    report = drift(pair_with(Strip()), bands, sessions=4, ticks=1040)
    assert report["survived"] == 4
    assert report["median_ticks_to_failure"] is None
    assert report["outside_share"] < 0.05


def test_a_world_that_fades_fails_when_it_begins_to(bands: Bands) -> None:
    report = drift(pair_with(Fading(after_ticks=200)), bands, sessions=4, ticks=400)
    assert report["survived"] == 0
    assert abs(report["median_ticks_to_failure"] - 200) <= CHUNK_TICKS
    assert report["reasons"]["edges"] == 4
    assert report["edge_energy"]["median"][-1] < 0.5 < report["edge_energy"]["median"][0]


def test_a_frozen_world_fails_for_lack_of_motion(bands: Bands) -> None:
    report = drift(pair_with(Frozen()), bands, sessions=4, ticks=240)
    assert report["survived"] == 0
    assert report["reasons"]["motion"] == 4


def test_what_is_lost_is_a_failure_even_if_the_picture_looks_right(bands: Bands) -> None:
    report = drift(pair_with(Loses(after_ticks=100)), bands, sessions=4, ticks=240)
    assert report["survived"] == 3
    assert report["reasons"] == {LOST: 1}


def test_where_place_decides_what_is_seen_only_what_is_lost_is_a_failure(bands: Bands) -> None:
    fading, loses = (
        drift(replace(pair_with(world), place_decides=True), bands, sessions=4, ticks=240)
        for world in (Fading(after_ticks=100), Loses(after_ticks=100))
    )
    assert fading["survived"] == 4, "its own pair must say what fading is"
    assert loses["survived"] == 3


def test_two_bad_chunks_are_no_failure_and_a_third_dates_it_back_to_the_first() -> None:
    watch = Watch()
    for tick, outside in ((48, ["edges"]), (64, ["red"]), (80, []), (96, ["red"]), (112, ["red"])):
        watch.take(tick, outside, 1.0)
    assert watch.failed_at is None
    watch.take(128, ["blue"], 1.0)
    assert watch.failed_at == 96 - CHUNK_TICKS
    assert watch.plain["reasons"] == ["red", "blue"]


def test_no_number_at_all_is_outside_every_band() -> None:
    one = np.ones(len(STATISTICS))
    assert Bands({"": -one}, {"": one}).outside(one * np.nan, "") == list(STATISTICS)


def test_a_stopped_run_goes_on_with_the_sessions_that_are_left(
    bands: Bands, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_module, "GROUP_ROWS", 2)
    kept = tmp_path / "kept.json"

    class Stops(Strip):
        starts, allowed = 0, 1

        def start(self, seeds) -> None:
            Stops.starts += 1
            if Stops.starts > Stops.allowed:
                raise KeyboardInterrupt
            super().start(seeds)

    with pytest.raises(KeyboardInterrupt):
        drift(pair_with(Stops()), bands, 4, 120, kept=kept, identity="a")
    Stops.starts = 0
    resumed = drift(pair_with(Stops()), bands, 4, 120, kept=kept, identity="a")
    assert Stops.starts == 1
    whole = drift(pair_with(Strip()), bands, 4, 120)
    assert resumed["failed_at"] == whole["failed_at"]
    assert resumed["edge_energy"] == whole["edge_energy"]
    Stops.starts, Stops.allowed = 0, 9
    drift(pair_with(Stops()), bands, 4, 120, kept=kept, identity="other weights")
    assert Stops.starts == 2, "what was measured of other weights must not count"


def test_a_damaged_part_is_refused_with_its_path(bands: Bands, tmp_path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("{")
    with pytest.raises(NextframeError, match=r"kept\.json.*delete it"):
        drift(pair_with(Strip()), bands, 2, 120, kept=kept, identity="a")


def test_mashing_leaves_the_teacher_in_its_band_and_not_a_world_that_fades(bands: Bands) -> None:
    good, bad = (mash(pair_with(w), bands, range(4), 320) for w in (Strip(), Fading(100)))
    assert good["in_band_share"] > 0.95
    assert good["survived"] == 4
    assert bad["in_band_share"] < 0.5
    assert bad["survived"] == 0


def test_the_band_of_one_prompt_is_not_the_band_of_another(bands: Bands) -> None:
    assert bands.high["night"][0] < bands.low["day"][0]
    assert SETTLE_TICKS % CHUNK_TICKS == 0


# --- idle ---------------------------------------------------------------------------------------------------------


def test_the_teacher_idles_like_itself() -> None:
    report = idle(pair_with(Strip()), SEEDS, 80)
    assert (report["motion_ratio"], report["restless_share"], report["still_share"]) == (1.0, 0.0, 1.0)
    assert report["moves_as_it_should"]
    assert report["crept_px"] == report["teacher_crept_px"] == [0.0] * len(SEEDS)


def test_a_frozen_world_fails_idle_because_its_teacher_moves() -> None:
    report = idle(pair_with(Frozen()), SEEDS, 80)
    assert report["motion_ratio"] == 0.0
    assert not report["moves_as_it_should"]


def test_a_world_that_creeps_by_itself_is_restless() -> None:
    report = idle(pair_with(Restless()), SEEDS, 80)
    assert report["restless_share"] > 0.3
    assert report["still_share"] == 0.0


def test_a_world_that_rolls_out_a_little_later_than_its_teacher_is_judged_once_both_stand() -> None:
    class RollsOut(Wrong):
        def step(self, actions) -> None:
            super().step(actions)
            self._pan = self._pan + (self.now <= 24)

    pair = pair_with(RollsOut())
    too_soon, in_time = (idle(replace(pair, roll_out_ticks=ticks), SEEDS, 80) for ticks in (12, 24))
    assert (too_soon["still_share"], in_time["still_share"]) == (0.0, 1.0)
    assert in_time["roll_out_ticks"] == 24


def test_where_the_view_goes_along_the_teacher_goes_on_from_where_the_world_came_to_rest() -> None:
    class Flag(Wrong):
        stands_at = 10

        def start(self, seeds) -> None:
            super().start(seeds)
            self._pan = np.full(len(seeds), self.stands_at)

        def frames(self) -> np.ndarray:
            frames = super().frames()
            for row, columns in enumerate(self.columns()):
                frames[row, :, (columns >= 20) & (columns < 26)] = 255 * (self.now // 4 % 2)
            return frames

    class Beside(Flag):
        stands_at = 0

    class FlagsEverywhere(Beside):
        def frames(self) -> np.ndarray:
            return np.maximum(super().frames(), super().frames()[:, :, ::-1])

    def still_share(world: Flag, joins: bool) -> float:
        teacher = Flag()

        def join() -> None:
            teacher.start(SEEDS)
            teacher._pan, teacher.now = world._pan.copy(), world.now

        pair = replace(pair_with(world), teacher=teacher, teacher_joins=join if joins else None)
        return float(idle(pair, SEEDS, 80)["still_share"])

    assert (still_share(Beside(), joins=False), still_share(Beside(), joins=True)) == (0.0, 1.0)
    assert still_share(FlagsEverywhere(), joins=True) == 0.0


# --- memory -------------------------------------------------------------------------------------------------------


def test_the_teacher_comes_back_to_every_view() -> None:
    report = memory_return(pair_with(Strip()), quick=True)
    for part in ("inside", "beyond"):
        assert report[part]["retrieval_at_1"] == 1.0
        assert report[part]["chance"] < 0.1
        assert report[part]["psnr_db"] == 100.0


def test_a_forgetful_world_remembers_inside_its_window_and_guesses_beyond() -> None:
    report = memory_return(pair_with(Forgetful()), quick=True)
    assert report["inside"]["retrieval_at_1"] == 1.0
    assert report["inside"]["away_ticks_median"] <= WINDOW_TICKS < report["beyond"]["away_ticks_median"]
    assert report["beyond"]["retrieval_at_1"] <= 0.5, "half of these trips are far enough to forget everything"


def test_a_world_that_never_turns_is_not_taken_to_remember() -> None:
    """A frozen world shows the start view whatever is done: it comes back to it, so views half way count against it."""
    report = memory_return(pair_with(Frozen()), quick=True)
    assert report["inside"]["psnr_db"] < 60


def test_views_that_look_the_same_are_no_candidates() -> None:
    rng = np.random.default_rng(0)
    true, other = (rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) for _ in range(2))
    case = Return("k", true, true, np.stack([true, other]), 4, 8)
    assert (found(case).rank, found(case).candidates) == (0, 2)
    assert found(replace(case, shown=other)).rank == 1
    assert score([replace(case, others=np.stack([true]))]) is None


def test_a_teacher_that_does_not_come_back_is_said_so() -> None:
    class OneWay(Strip):
        def step(self, actions) -> None:
            super().step([Action(axes={"look": max(0, a.axes.get("look", 0))}) for a in actions])

    pair = replace(pair_with(Strip()), teacher=OneWay())
    report = memory_return(pair, quick=True)
    assert report["inside"] is None
    assert "memory was not measured" in report["notes"][-1]


def test_idle_is_no_key_at_all() -> None:
    assert all(key.held(IDLE) == 0 for key in keys_of(PALETTE))


def test_what_moves_beside_its_way_in_the_teacher_is_not_restless() -> None:
    moved = np.zeros((1, 20, 30), bool)
    moved[0, 10, 15] = True
    wide = _widened(moved)
    assert wide[0, 10 - WIDEN_PX, 15 + WIDEN_PX]
    assert wide.sum() == (2 * WIDEN_PX + 1) ** 2


def test_ways_of_leaving_a_view_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    true, other = (rng.integers(0, 255, (8, 8, 3), dtype=np.uint8) for _ in range(2))
    right = Return("a", true, true, other[None], 4, 8)
    report = score([right, right, replace(right, kind="b", shown=other)])
    assert report is not None
    assert report["kinds"] == {"a": {"returns": 2, "retrieval_at_1": 1.0}, "b": {"returns": 1, "retrieval_at_1": 0.0}}
    assert report["retrieval_at_1"] == pytest.approx(2 / 3, abs=1e-3)


def test_a_player_who_gets_somewhere_without_a_key_is_noticed() -> None:
    class Creeps(Strip):
        def poses(self) -> np.ndarray:
            poses = super().poses()
            assert poses is not None
            poses[0, 0] += self._tick / 10
            return poses

    assert idle(pair_with(Creeps()), SEEDS, 80)["crept_px"] == [8.0] + [0.0] * (len(SEEDS) - 1)
