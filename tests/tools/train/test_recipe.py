"""Lessons on own runs, what the network starts from, how many numbers a patch gets, how a run shares its time."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextframe.tools.train.base.budget import parse_budget, plan_for
from nextframe.tools.train.command import spared_s
from nextframe.tools.train.data import drivers
from nextframe.tools.train.data.clips import Clips
from nextframe.tools.train.data.sources import SourceOptions, open_source

torch = pytest.importorskip("torch")

from nextframe.model.dynamics.grid import GridConfig, GridDynamics  # noqa: E402
from nextframe.model.dynamics.grid_linear import LinearBase  # noqa: E402
from nextframe.model.tokenizers.frames import FrameConfig, FrameTokenizer, fill, fit_patches  # noqa: E402 - needs torch
from nextframe.tools.train.learn import frames as learn_frames  # noqa: E402
from nextframe.tools.train.learn import motion as learn_motion  # noqa: E402
from nextframe.tools.train.learn.frames import enough_channels, moving_psnr_db  # noqa: E402
from nextframe.tools.train.learn.motion import Batch, Lessons, lesson_loss, make_learner  # noqa: E402
from nextframe.tools.train.learn.own_runs import RUNS, TRUE_TICKS, Leash, OwnRuns  # noqa: E402
from nextframe.tools.train.learn.straight import Straight, from_what  # noqa: E402

SIDE_PX, TICKS = 32, 6


def moving_clips(count: int = 240, episode: int = 60) -> Clips:
    """A square that goes right by its action, on a still ground of stripes."""
    rng = np.random.default_rng(0)
    conditions = rng.integers(0, 2, (count, 1)).astype(np.float32)
    ground = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    ground[::4] = 60
    frames, x = np.repeat(ground[None], count, 0), 0
    for t in range(count):
        x = (x + int(conditions[t, 0])) % (SIDE_PX - 6)
        frames[t, 12:18, x : x + 6] = 255
    return Clips(frames, conditions, np.arange(0, count, episode, dtype=np.int64))


@pytest.fixture(scope="module")
def world() -> tuple[FrameTokenizer, Any, Clips, GridConfig]:
    """A tokenizer, latents and clips of the moving square, and the shape of a small network."""
    clips = moving_clips()
    frames = torch.from_numpy(clips.frames)
    tokenizer = FrameTokenizer(FrameConfig(SIDE_PX, SIDE_PX, 8, 12, 8, 1))
    fill(tokenizer, fit_patches(frames, 8), frames)
    tokenizer.eval().requires_grad_(False)
    config = GridConfig(4, 4, 12, 1, 32, 2, 4, 3, base="last")
    with torch.no_grad():
        return tokenizer, tokenizer.encode(frames), clips, config


def restless(config: GridConfig) -> GridDynamics:
    """An untrained network that changes what it sees."""
    torch.manual_seed(1)
    dynamics = GridDynamics(config)
    torch.nn.init.normal_(dynamics.out.weight, std=0.05)
    return dynamics


# --- free runs ----------------------------------------------------------------------------------------------------


def test_a_run_begins_with_the_truth_and_goes_its_own_way(world: Any) -> None:
    tokenizer, latents, clips, config = world
    runs = Leash.of(tokenizer, latents, clips, TICKS)(restless(config), 3)
    assert runs.histories.shape == runs.targets.shape
    assert len(runs.histories) == RUNS
    assert torch.allclose(runs.histories[:, :TRUE_TICKS], runs.targets[:, :TRUE_TICKS], atol=1e-5)
    apart = (runs.histories - runs.targets).square().mean((0, 2))
    assert (apart[TRUE_TICKS:] > 0).all()


def test_a_network_that_only_copies_stands_still_in_its_run(world: Any) -> None:
    tokenizer, latents, clips, config = world
    runs = Leash.of(tokenizer, latents, clips, TICKS)(GridDynamics(config), 3)
    held = runs.histories[:, TRUE_TICKS - 1 : TRUE_TICKS].expand(-1, runs.histories.shape[1] - TRUE_TICKS, -1)
    assert torch.allclose(runs.histories[:, TRUE_TICKS:], held, atol=1e-4)


def test_the_same_number_gives_the_same_runs_and_another_gives_others(world: Any) -> None:
    tokenizer, latents, clips, config = world
    leash, network = Leash.of(tokenizer, latents, clips, TICKS), restless(config)
    first, again, other = (leash(network, number) for number in (3, 3, 4))
    assert torch.equal(first.histories, again.histories)
    assert not torch.equal(first.targets, other.targets)


def test_targets_and_conditions_are_the_recorded_ones_of_the_same_moments(world: Any) -> None:
    tokenizer, latents, clips, config = world
    leash = Leash.of(tokenizer, latents, clips, TICKS)
    runs = leash(restless(config), 5)
    for row in range(4):
        at = next(int(a) for a in leash.starts if torch.equal(latents[a : a + leash.ticks], runs.targets[row]))
        assert np.array_equal(runs.conditions[row].numpy(), clips.conditions[at : at + leash.ticks])


def test_letting_go_leaves_the_network_as_it_was(world: Any) -> None:
    tokenizer, latents, clips, config = world
    network = restless(config)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Leash.of(tokenizer, latents, clips, TICKS)(network, 1)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(part.requires_grad for name, part in network.named_parameters() if not name.startswith("base"))


@pytest.mark.parametrize(("episode", "ticks"), [(60, 26), (16, 16), (7, 7), (6, 6)])
def test_short_episodes_give_shorter_runs_but_never_shorter_than_a_lesson(world: Any, episode: int, ticks: int) -> None:
    tokenizer, latents, clips, _ = world
    short = replace(clips, starts=np.arange(0, len(clips), episode, dtype=np.int64))
    assert Leash.of(tokenizer, latents, short, TICKS).ticks == ticks


@pytest.mark.parametrize(("seconds", "lets_go"), [(899.0, False), (900.0, True)])
def test_a_short_training_does_without_own_runs(world: Any, seconds: float, lets_go: bool) -> None:
    tokenizer, latents, clips, _ = world
    plan = replace(plan_for(parse_budget("30m"), SIDE_PX, SIDE_PX), dynamics_s=seconds)
    assert (Leash.if_long(plan, tokenizer, latents, clips) is not None) == lets_go


# --- lessons on them ----------------------------------------------------------------------------------------------


def counted_runs(runs: int = 5, ticks: int = 20) -> OwnRuns:
    """Every number says where it comes from: run * 100 + tick, histories a half more."""
    numbers = (torch.arange(runs)[:, None] * 100 + torch.arange(ticks)).float()[..., None]
    return OwnRuns(numbers + 0.5, numbers, numbers + 0.25)


def test_a_lesson_is_one_piece_of_one_run_with_all_parts_of_the_same_moments() -> None:
    history, target, condition = counted_runs().lessons(40, 6, torch.Generator().manual_seed(0))
    assert torch.equal(history, target + 0.5)
    assert torch.equal(condition, target + 0.25)
    assert (target.diff(dim=1) == 1).all()
    assert len(target[:, 0, 0].unique()) > 10


def true_batch(rows: int = 8, ticks: int = 6) -> Batch:
    clean = -torch.rand(rows, ticks, 1) - 1
    return Batch(clean, clean, clean, torch.zeros(rows, dtype=torch.bool))


def test_own_runs_take_their_share_of_a_batch_and_leave_the_rest() -> None:
    before = true_batch()
    after = before.with_own(counted_runs(), 0.25, 7)
    assert after.own.tolist() == [False] * 6 + [True] * 2
    assert torch.equal(after.clean[:6], before.clean[:6])
    assert torch.equal(after.remembered[:6], before.clean[:6])
    assert torch.equal(after.remembered[6:], after.clean[6:] + 0.5)


def test_no_share_leaves_the_batch_as_it_is() -> None:
    before = true_batch()
    assert before.with_own(counted_runs(), 0.0, 7) is before


class Listening:
    """Stands for the network, and keeps the histories that it was shown."""

    def __init__(self) -> None:
        self.histories: list[Any] = []

    def __call__(self, history: Any, *others: Any) -> Any:
        self.histories.append(history.clone())
        return torch.zeros_like(history)


@pytest.mark.parametrize("own", [True, False])
def test_memory_holds_the_run_and_not_the_truth_nor_single_guesses(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn_motion, "HISTORY_NOISE", 0.0)
    config = GridConfig(1, 1, 1, 1, 8, 1, 1, 3)
    clean, remembered = torch.ones(64, 6, 1), torch.full((64, 6, 1), 9.0)
    listening = Listening()
    batch = Batch(clean, clean, remembered, torch.full((64,), own))
    loss = lesson_loss(listening, config, batch, 1.0, 1.0)
    assert (listening.histories[0] == 9).all()
    assert bool((listening.histories[1] == 9).all()) == own  # where it is no own run, guesses (zeros) are swapped in
    assert float(loss) == pytest.approx(1.0), "what is to be said is the truth, in either case"


def test_training_lets_go_only_after_a_quarter_of_its_time_and_again_after_some_steps(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer, latents, clips, config = world
    monkeypatch.setattr(learn_motion, "matrix_flops", lambda device: 1e11)
    monkeypatch.setattr(learn_motion, "OWN_RUNS_EVERY", 5)
    ticking = itertools.count()
    monkeypatch.setattr(learn_motion.time, "monotonic", lambda: 0.05 * next(ticking))  # so many steps on any machine
    plan = replace(plan_for(parse_budget("20s"), SIDE_PX, SIDE_PX), dynamics_s=2.0, ticks=TICKS, batch=4, compile=False)
    learner = make_learner(config, Straight(LinearBase(config.linear_shape), "last", 1.0, 1.0), plan, "cpu")
    leash = Leash.of(tokenizer, latents, clips, TICKS)
    asked: list[tuple[int, float]] = []

    def let_go(average: GridDynamics, number: int) -> OwnRuns:
        asked.append((number, learner.spent_s / plan.dynamics_s))
        return leash(average, number)

    lessons = Lessons.of(latents, clips, TICKS)
    learn_motion.learn_motion(learner, lessons, plan, tmp_path, watch=lambda average, spent: "", let_go=let_go)
    assert len(asked) > 1
    assert all(share >= learn_motion.OWN_FROM for _, share in asked)
    assert all(number % 5 == 0 for number, _ in asked[1:])


# --- what the network starts from ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("keeps", "start"), [(1.0, "ridge"), (0.8, "last")])
def test_a_base_that_dissolves_things_in_a_free_run_is_not_used(keeps: float, start: str) -> None:
    """Both win the next frame, since the world drifts; one of them fades as well."""
    clips = moving_clips()
    latents = 1 + torch.arange(len(clips))[:, None].float().fmod(60) * 0.02

    def base(last: Any, before: Any, condition: Any) -> Any:
        return keeps * (last + 0.02)

    found = from_what(Straight(base, "ridge", 0.1, 1.0), latents, clips)  # type: ignore[arg-type]
    assert found.start == start
    assert (found.free_ratio < 0.01) == (start == "ridge")


def test_what_lost_the_next_frame_is_not_used_however_its_runs_go() -> None:
    clips = moving_clips()
    latents = torch.from_numpy(clips.frames[:, 12, :, 0]).float()
    found = from_what(Straight(lambda last, before, condition: last, "last", 1.0, 1.0), latents, clips)  # type: ignore[arg-type]
    assert (found.start, found.free_ratio) == ("last", pytest.approx(1.0))


# --- the tokenizer's size -----------------------------------------------------------------------------------------


def test_a_small_thing_on_a_still_ground_gets_as_many_numbers_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, rng = moving_clips(400), np.random.default_rng(1)
    clips.frames[:, 12:18] = 0
    for frame in clips.frames:
        x, y = rng.integers(0, SIDE_PX - 3, 2)
        frame[y : y + 3, x : x + 3] = (255, 80, 80)
    pca = fit_patches(torch.from_numpy(clips.frames), 16)
    chosen = enough_channels(pca, clips, 16, 96)
    monkeypatch.setattr("nextframe.tools.train.learn.frames.ENOUGH_MOVING_DB", 0.0)  # by the whole picture alone
    plain = enough_channels(pca, clips, 16, 96)
    assert chosen > plain
    before, after = moving_psnr_db(pca, clips, 16, [plain, chosen])
    assert before < 24 <= after


def test_where_nothing_moves_the_whole_picture_decides() -> None:
    clips = moving_clips()
    still = replace(clips, frames=np.repeat(clips.frames[:1], len(clips), 0))
    pca = fit_patches(torch.from_numpy(still.frames), 16)
    assert moving_psnr_db(pca, still, 16, [16]) == [pytest.approx(100.0)]
    assert enough_channels(pca, still, 16, 96) == 16


# --- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "spared"), [("50 s", 400.0), ("700 s", 0.0), ("the data part is done", 0.0), ("", 0.0)]
)
def test_what_quick_data_leave_goes_to_the_dynamics(tmp_path: Path, said: str, spared: float) -> None:
    (tmp_path / "data.done").write_text(said, encoding="utf-8")
    assert spared_s(tmp_path, plan_for(parse_budget("30m"), 64, 64)) == spared


@pytest.mark.parametrize("perfect", [True, False])
def test_a_tokenizer_that_needs_no_refiner_leaves_its_time_to_the_dynamics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, perfect: bool
) -> None:
    monkeypatch.setattr(learn_frames, "PERFECT_DB", 20.0 if perfect else 200.0)
    plan = replace(plan_for(parse_budget("20s"), SIDE_PX, SIDE_PX), tokenizer_s=1.0, refine_width=8, refine_blocks=1)
    learn_frames.learn_tokenizer(moving_clips(), plan, tmp_path, "cpu")
    assert learn_frames.spared_s(plan, tmp_path) == pytest.approx(0.8 if perfect else 0.0)
    steps = torch.load(tmp_path / "tokenizer.checkpoint", weights_only=True)["step"]
    again = learn_frames.learn_tokenizer(moving_clips(), plan, tmp_path, "cpu")
    assert torch.load(tmp_path / "tokenizer.checkpoint", weights_only=True)["step"] == steps, "resumed, it is done"
    assert not again.training


@pytest.mark.parametrize(("asked", "hz"), [(None, 20), (5, 5)])
def test_a_world_is_played_as_fast_as_was_asked_or_as_its_source(asked: int | None, hz: int) -> None:
    pytest.importorskip("gymnasium")
    source = open_source(SourceOptions(env="tests.support.worlds.games:Dot-v0", tick_hz=asked)).source
    assert source.tick_hz == hz


# --- a player for rooms -------------------------------------------------------------------------------------------


def room_view(ahead: int, state: int = 0, *, carries: bool = False) -> dict[str, Any]:
    view = np.ones((7, 7, 3), np.uint8)
    view[3, 5] = (ahead, 0, state)
    view[3, 6, 0] = drivers.KEY if carries else 1
    return {"image": view}


@pytest.mark.parametrize(
    ("view", "usual"),
    [
        (room_view(drivers.KEY), drivers.PICK_UP),
        (room_view(drivers.DOOR, 2, carries=True), drivers.TOGGLE),
        (room_view(drivers.DOOR, 0), drivers.FORWARD),
        (room_view(1), drivers.FORWARD),
    ],
)
def test_the_rooms_player_mostly_uses_what_lies_ahead_and_tries_all_else(view: dict[str, Any], usual: int) -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([drivers.minigrid(view, rng) for _ in range(2000)], minlength=7)
    assert counts.argmax() == usual
    assert counts[usual] > 1000
    assert (counts > 0).all()


def test_a_locked_door_is_tried_without_the_key_too_because_the_world_has_to_know_that_it_stays_shut() -> None:
    rng = np.random.default_rng(0)
    view = room_view(drivers.DOOR, 2)
    counts = np.bincount([drivers.minigrid(view, rng) for _ in range(2000)], minlength=7)
    assert 100 < counts[drivers.TOGGLE] < 800
    assert counts[drivers.FORWARD] > 500


def test_walls_are_turned_from() -> None:
    rng = np.random.default_rng(0)
    counts = np.bincount([drivers.minigrid(room_view(drivers.WALL), rng) for _ in range(2000)], minlength=7)
    assert counts[drivers.LEFT] + counts[drivers.RIGHT] > 1500
