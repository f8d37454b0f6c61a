"""Data for `nextframe train`: actions stand beside the frame they lead into, and what cannot work is refused."""

from __future__ import annotations

import sys
import warnings
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nextframe.runtime.core import AXIS_LEVELS, ActionSpace, NextframeError
from nextframe.runtime.display.video import VideoWriter
from nextframe.tools.train.base.budget import parse_budget, plan_for
from nextframe.tools.train.data.clips import (
    Clips,
    Resizer,
    Source,
    as_clips,
    check_clips,
    condition_names,
    joined,
    load_clips,
    load_source,
    save_shard,
    save_source,
    split,
    unused,
)
from nextframe.tools.train.data.controls import Controls, controls_of, keys_of, unique_names
from nextframe.tools.train.data.videos import read_actions, video_clips

NAMES = ["left", "right"]


def clips_of(frames: NDArray[np.uint8], conditions: NDArray[np.float32], *, episode: int = 100) -> Clips:
    return Clips(frames, conditions, np.arange(0, len(frames), episode))


def dots(count: int = 800, *, seed: int = 0, moves: bool = True) -> Clips:
    """A bright column that two buttons move; `moves=False`: it stands still."""
    rng = np.random.default_rng(seed)
    frames = np.zeros((count, 16, 16, 3), np.uint8)
    conditions = np.zeros((count, 2), np.float32)
    at = 8
    for t in range(count):
        if t % 100:
            conditions[t, rng.integers(2)] = 1
            at = int(np.clip(at + (conditions[t] @ [-1, 1]), 0, 14)) if moves else at
        frames[t, :, at : at + 2] = 255
    return clips_of(frames, conditions)


# --- clips --------------------------------------------------------------------------------------------------------


def test_windows_never_leave_an_episode() -> None:
    clips = Clips(np.zeros((10, 8, 8, 3), np.uint8), np.zeros((10, 1), np.float32), np.array([0, 4, 9]))
    assert clips.windows(3).tolist() == [0, 1, 4, 5, 6]
    assert clips.windows(6).tolist() == []


def test_shards_come_back_as_they_were_and_join_in_order(tmp_path: Path) -> None:
    parts = [dots(200, seed=seed) for seed in range(3)]
    for number, part in enumerate(parts):
        save_shard(tmp_path / f"shard-{number:05d}.npz", part)
    back, whole = load_clips(tmp_path), joined(parts)
    assert np.array_equal(back.frames, whole.frames)
    assert np.array_equal(back.conditions, whole.conditions)
    assert back.starts.tolist() == [0, 100, 200, 300, 400, 500]
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    save_shard(tmp_path / "shard-00000.npz", dots(200))
    whole = (tmp_path / "shard-00000.npz").read_bytes()
    (tmp_path / "shard-00000.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NextframeError, match=r"shard-00000\.npz: expected a shard"):
        load_clips(tmp_path)


def test_held_out_episodes_are_not_trained_on() -> None:
    clips = dots(3000)
    clips.frames[:, 0, 0, 0] = np.arange(3000) // 100  # every frame says which episode it is of
    train, held = split(clips)
    assert len(train) + len(held) == 3000
    assert held.frames[:, 0, 0, 0].size
    assert not set(train.frames[:, 0, 0, 0]) & set(held.frames[:, 0, 0, 0])


def test_one_long_episode_is_split_too() -> None:
    clips = clips_of(*(getattr(dots(700), name) for name in ("frames", "conditions")), episode=700)
    train, held = split(clips)
    assert len(train) + len(held) == 700
    assert 0 < len(held) < len(train)


def test_the_source_comes_back_as_it_was(tmp_path: Path) -> None:
    space = SimpleNamespace(low=np.array([-1, 0]), high=np.array([1, 2]), shape=(2,))
    for controls in (
        controls_of(_named("Box", **vars(space))),
        controls_of(_named("MultiDiscrete", nvec=np.array([3, 2]))),
        Controls("recorded", ActionSpace(("fire",), ("steer",), {"weather": ("clear", "rain")})),
    ):
        source = Source(controls, Fraction(35, 2), "a test", "none")
        save_source(tmp_path, source)
        assert load_source(tmp_path) == source


# --- refusals -----------------------------------------------------------------------------------------------------


def test_good_data_is_taken() -> None:
    check_clips(dots(), NAMES, context=10)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(NextframeError, match="too little data: expected at least 400 frames"):
        check_clips(dots(300), NAMES, context=10)


def test_episodes_shorter_than_a_lesson_are_refused() -> None:
    clips = dots()
    with pytest.raises(NextframeError, match="runs of 120 in one episode"):
        check_clips(clips, NAMES, context=120)


def test_constant_actions_are_refused_by_name() -> None:
    clips = dots()
    clips.conditions[:] = 0
    clips.conditions[:, 0] = 1
    clips.conditions[clips.starts] = 0  # the first of an episode says nothing, so it is no variety
    with pytest.raises(NextframeError, match="the actions never change: left, right had one value in all 800 frames"):
        check_clips(clips, NAMES, context=10)


def test_one_control_that_moves_is_enough_and_the_dead_one_is_told() -> None:
    clips = dots()
    clips.conditions[:, 1] = 0
    check_clips(clips, NAMES, context=10)
    assert unused(clips, NAMES) == ["right"]


def test_a_constant_picture_is_refused() -> None:
    with pytest.raises(NextframeError, match=r"the picture is constant: 0\.0 %"):
        check_clips(dots(moves=False), NAMES, context=10)


def test_frames_that_do_not_follow_the_actions_are_refused_and_those_that_do_are_taken() -> None:
    torch = pytest.importorskip("torch")
    from nextframe.model.dynamics.grid_linear import LinearShape
    from nextframe.tools.train.learn.straight import check_actions_matter

    def latents(clips: Clips) -> Any:
        """Brightness of each 4x4 tile: 16 tokens of one number."""
        tiles = clips.frames[..., 0].reshape(-1, 4, 4, 4, 4).mean((2, 4)) / 255
        return torch.from_numpy(tiles.reshape(len(clips), 16).astype(np.float32))

    clips, shape = dots(2000), LinearShape(4, 4, 1, 2)
    assert check_actions_matter(latents(clips), clips, shape) > 0.05
    rng = np.random.default_rng(9)
    deaf = Clips(clips.frames, clips.conditions[rng.permutation(len(clips))], clips.starts)
    with pytest.raises(NextframeError, match="the frames do not change with the actions"):
        check_actions_matter(latents(deaf), deaf, shape)


# --- frames -------------------------------------------------------------------------------------------------------


def test_a_frame_of_the_wished_size_is_left_alone() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    assert np.array_equal(Resizer(16, 24)(frame), frame)


def test_shrinking_averages_areas() -> None:
    frame = np.zeros((4, 6, 3), np.uint8)
    frame[:2, :3] = 200
    frame[0, 0] = 0
    assert Resizer(2, 2)(frame)[..., 0].tolist() == [[round(200 * 5 / 6), 0], [0, 0]]


def test_sides_that_do_not_divide_keep_the_mean() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (210, 160, 3), dtype=np.uint8)
    small = Resizer(64, 64)(frame)
    assert small.shape == (64, 64, 3)
    assert abs(float(small.mean()) - float(frame.mean())) < 1


def test_grey_pictures_become_coloured_ones() -> None:
    grey = np.full((8, 8), 90, np.uint8)
    for frame in (grey, grey[..., None], np.dstack([grey] * 4)):
        assert np.array_equal(Resizer(8, 8)(frame), np.full((8, 8, 3), 90))


# --- controls -----------------------------------------------------------------------------------------------------


def _named(name: str, **fields: Any) -> Any:
    """A stand-in for a space: the class is known by its name alone."""
    made = type(name, (), {})()
    vars(made).update(fields)
    return made


def test_every_discrete_action_has_one_condition_and_comes_back() -> None:
    controls = controls_of(_named("Discrete", n=5, start=0), "CarRacing-v3")
    assert controls.space.buttons == ("right", "left", "throttle", "brake")  # "noop" is no button held
    conditions = [controls.condition(action) for action in range(5)]
    assert len({c.tobytes() for c in conditions}) == 5
    assert [controls.environment_action(c) for c in conditions] == list(range(5))
    assert not conditions[0].any()


def test_all_rooms_of_a_family_share_its_names_and_the_usual_keys() -> None:
    controls = controls_of(_named("Discrete", n=7, start=0), "minigrid:MiniGrid-DoorKey-8x8-v0")
    assert controls.space.buttons == ("left", "right", "forward", "pick_up", "drop", "toggle")
    keys = {action: key for action, key, _ in keys_of(controls)}
    assert (keys["forward"], keys["toggle"]) == ("up", "space")
    other = controls_of(_named("Discrete", n=7, start=0), "Grid-DoorKey-8x8-v0")
    assert other.space.buttons[0] == "action_1"  # a stranger has no names


def test_a_discrete_space_may_count_from_elsewhere_and_have_no_rest() -> None:
    controls = controls_of(_named("Discrete", n=2, start=7), "CartPole-v1")
    assert [controls.environment_action(controls.condition(a)) for a in (7, 8)] == [7, 8]


def test_multi_discrete_actions_come_back() -> None:
    controls = controls_of(_named("MultiDiscrete", nvec=np.array([3, 2])))
    for action in ([0, 0], [2, 1], [1, 0]):
        assert controls.environment_action(controls.condition(np.array(action))).tolist() == action
    assert len(controls.exclusive) == 1  # a group of one button excludes nothing


def test_axes_come_back_to_within_a_level_and_zero_is_exact() -> None:
    space = _named("Box", low=np.array([-1.0, 0, -2, 3]), high=np.array([1.0, 1, 4, 5]), shape=(4,))
    controls = controls_of(space)
    for action in ([0.5, 0.25, -1.5, 3.5], [-1, 0, 4, 5], [0, 0, 0, 4]):
        back = controls.environment_action(controls.condition(action))
        assert np.abs(back - action).max() <= 4 / AXIS_LEVELS
    rest = controls.environment_action(controls.condition([0, 0, 0, 4]))
    assert rest[:3].tolist() == [0, 0, 0]


def test_the_network_is_told_exactly_what_a_player_can_press() -> None:
    controls = controls_of(_named("Box", low=np.array([-1.0]), high=np.array([1.0]), shape=(1,)))
    levels = controls.condition([0.3337])[0] * AXIS_LEVELS
    assert levels == pytest.approx(round(float(levels)), abs=1e-4)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (_named("Dict"), "expected an action space of Discrete"),
        (_named("Box", low=np.array([-np.inf]), high=np.array([1.0]), shape=(1,)), "finite bounds"),
        (_named("Discrete", n=500, start=0), "expected 1 to 64 controls"),
    ],
)
def test_actions_that_are_no_buttons_or_axes_are_refused(space: Any, said: str) -> None:
    with pytest.raises(NextframeError, match=said):
        controls_of(space, "Odd-v0")


def test_names_are_such_as_a_world_file_allows_each_once() -> None:
    assert unique_names(["Fire!", "fire", "2nd gear", ""]) == ("fire", "fire_2", "n_2nd_gear", "control")


def test_every_control_gets_a_key_of_its_own_until_the_keyboard_ends() -> None:
    controls = controls_of(_named("MultiDiscrete", nvec=np.array([4, 3, 2])))
    keys = keys_of(controls)
    assert {name for name, _, _ in keys} == set(controls.space.buttons)
    assert len({key for _, key, _ in keys}) == len(keys)


def test_arrows_are_used_where_the_usual_controls_leave_them() -> None:
    driving = controls_of(_named("Discrete", n=5, start=0), "CarRacing-v3")  # throttle and brake have up and down
    assert {(name, key) for name, key, _ in keys_of(driving)} == {("left", "left"), ("right", "right")}
    steering = controls_of(_named("Box", low=np.array([-1.0, 0, 0]), high=np.ones(3), shape=(3,)), "CarRacing-v3")
    assert keys_of(steering) == []


@pytest.mark.parametrize("count", [5, 18, 60])
def test_the_keys_of_a_world_never_conflict_with_the_usual_ones(tmp_path: Path, count: int) -> None:
    from nextframe.controllers.bindings import load_bindings

    names = ["noop", "fire", "use", "left", *(f"odd_{n}" for n in range(count - 4))]
    controls = controls_of(_named("Discrete", n=count, start=0), "Odd-v0", names)
    lines = [f"- {{action: {name}, control: 'key:{key}', scale: {scale}}}" for name, key, scale in keys_of(controls)]
    (tmp_path / "bindings.yaml").write_text("\n".join(["version: 1", "bindings:", *lines]), encoding="utf-8")
    bindings = load_bindings(controls.space, tmp_path / "bindings.yaml")
    assert sum(bool(bindings.controls_of(name)) for name in controls.space.buttons) >= min(count - 1, 20)


# --- the explorer -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dot_data() -> Any:
    pytest.importorskip("gymnasium")
    import tests.support.worlds.games  # noqa: F401 - registers the game
    from nextframe.tools.train.data import explore

    facts = explore.facts_of("Dot-v0", {})
    spec = explore.EnvSpec("Dot-v0", 32, 32)
    return SimpleNamespace(explore=explore, facts=facts, spec=spec)


def test_an_action_stands_beside_the_frame_it_leads_into(dot_data: Any) -> None:
    """Off by one would train in silence, and give a game that answers a tick late."""
    env = dot_data.explore.open_env("Dot-v0", {})
    clips = dot_data.explore.shard(env, dot_data.spec, dot_data.facts.controls, 3)
    controls, agree, against = dot_data.facts.controls, 0, 0
    x = (clips.frames[..., 0] > 128).any(1).argmax(1)
    inner = np.setdiff1d(np.arange(1, len(clips) - 1), [*clips.starts, *(clips.starts - 1)])
    for t in inner:
        moved = int(x[t]) - int(x[t - 1])
        if moved:
            names = {n for n, on in zip(controls.space.buttons, clips.conditions[t], strict=True) if on}
            agree += names == {"left" if moved < 0 else "right"}
            against += names != {"left" if moved < 0 else "right"}
    assert agree > 20
    assert against == 0


def test_the_same_shard_is_made_the_same_way_and_another_is_another(dot_data: Any) -> None:
    env = dot_data.explore.open_env("Dot-v0", {})
    first, again, other = (dot_data.explore.shard(env, dot_data.spec, dot_data.facts.controls, n) for n in (1, 1, 2))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.conditions, again.conditions)
    assert not np.array_equal(first.frames[:100], other.frames[:100])


def test_data_goes_on_where_it_was_left_and_makes_only_what_is_missing(dot_data: Any, tmp_path: Path) -> None:
    def made(until: Any) -> list[int]:
        return list(
            dot_data.explore.collect(dot_data.spec, dot_data.facts.controls, tmp_path, 3, workers=1, until=until)
        )

    assert len(made(lambda: True)) == 1
    kept = (tmp_path / "shard-00000.npz").stat().st_mtime_ns
    assert len(made(lambda: False)) == 2
    assert made(lambda: False) == []
    assert (tmp_path / "shard-00000.npz").stat().st_mtime_ns == kept


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), FileNotFoundError(2, "No such file")])
def test_without_semaphores_one_process_makes_the_data_and_says_so(
    dot_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: OSError
) -> None:
    """As where /dev/shm is read-only or missing."""

    def refused(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(dot_data.explore, "ProcessPoolExecutor", refused)
    controls = dot_data.facts.controls
    made = list(dot_data.explore.collect(dot_data.spec, controls, tmp_path, 2, workers=2, until=lambda: False))
    assert len(made) == 2
    assert capsys.readouterr().err.startswith("nextframe: no worker processes here (")


def test_a_game_whose_episodes_end_at_once_still_ends(dot_data: Any) -> None:
    env = dot_data.explore.open_env("Dot-v0", {"over": 1})
    clips = dot_data.explore.shard(env, dot_data.spec, dot_data.facts.controls, 0)
    assert len(clips) >= dot_data.explore.SHARD_FRAMES
    with pytest.raises(NextframeError, match="too little data"):
        check_clips(clips, list(dot_data.facts.controls.space.buttons), context=10)


def test_an_unknown_environment_is_refused_in_one_line(dot_data: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(NextframeError, match="--env Nowhere-v0: expected an environment"):
            dot_data.explore.open_env("Nowhere-v0", {})


def test_a_game_of_the_users_own_is_found_in_the_working_folder(
    dot_data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"game_{tmp_path.name}".replace("-", "_")
    text = "import gymnasium\nfrom tests.support.worlds.games import Dot\ngymnasium.register('Own-v0', Dot)\n"
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr("sys.path", [*sys.path])
    with pytest.raises(NextframeError, match="--env"):  # the control: elsewhere it is not found
        dot_data.explore.open_env(f"{name}:Own-v0", {})
    monkeypatch.chdir(tmp_path)
    dot_data.explore.open_env(f"{name}:Own-v0", {}).close()


# --- budgets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds", "device"), [("5m", 300, "cpu"), ("2h", 7200, "cpu"), ("gpu-25m", 1500, "cuda")]
)
def test_budgets(text: str, seconds: float, device: str) -> None:
    budget = parse_budget(text)
    assert (budget.seconds, budget.device) == (seconds, device)


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1s", "1e9h", "5 minutes", "tpu-5m"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(NextframeError, match="--budget"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["1m", "10m", "30m", "2h", "gpu-25m"])
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (64, 96), (96, 96)])
def test_a_plan_leaves_time_to_evaluate_and_lessons_longer_than_memory(text: str, size: tuple[int, int]) -> None:
    budget = parse_budget(text)
    plan = plan_for(budget, *size)
    assert plan.data_s + plan.tokenizer_s + plan.dynamics_s < budget.seconds
    assert plan.ticks > plan.window
    assert all(side % plan.patch_px == 0 for side in size)


# --- videos -------------------------------------------------------------------------------------------------------


def write_video(path: Path, levels: list[int]) -> None:
    """Frames of one grey each."""
    with_writer = VideoWriter(path, Fraction(20), (32, 32), scale=1, crf=0)
    for level in levels:
        with_writer.add(np.full((32, 32, 3), level, np.uint8))
    with_writer.close()


def test_videos_and_their_actions_become_episodes(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [20, 60, 100, 140, 180, 220])
    table = tmp_path / "actions.csv"
    table.write_text(
        "video,frame,Fire,steer\na.mp4,1,1,0.5\na.mp4,2,0,-1\na.mp4,4,1,0\na.mp4,5,0,1\n", encoding="utf-8"
    )
    actions = read_actions(table)
    assert actions.controls.space == ActionSpace(("fire",), ("steer",))
    (clips,) = video_clips(tmp_path, actions, (16, 16), 1)
    assert clips.starts.tolist() == [0, 3]  # frame 3 has no action: an episode ends before it, another begins with it
    assert [round(float(f.mean()), -1) for f in clips.frames] == [20, 60, 100, 140, 180, 220]
    assert clips.conditions[:, 1].tolist() == [0, 1, 0, 0, 1, 0]
    assert clips.conditions[:, 0] == pytest.approx([0, 0.5, -1, 0, 0, 1], abs=0.01)


def test_frames_left_out_leave_their_actions_behind(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [20, 60, 100, 140, 180])
    table = tmp_path / "actions.csv"
    lines = [f"a.mp4,{n},{int(n == 1)},{s}" for n, s in ((1, 0.5), (2, 1.0), (3, 0.0), (4, 0.0))]
    table.write_text("\n".join(["video,frame,fire,steer", *lines]), encoding="utf-8")
    (clips,) = video_clips(tmp_path, read_actions(table), (16, 16), 2)
    assert len(clips) == 3
    assert clips.conditions[1].tolist() == pytest.approx([0.75, 1], abs=0.01)
    assert clips.conditions[2].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a head line"),
        ("frame,video,left\n", "expected a head line"),
        ("video,frame,left\n", "got only the head"),
        ("video,frame,left\na.mp4,1\n", ":2: expected 1 values"),
        ("video,frame,left\na.mp4,one,1\n", ":2: expected video, frame and numbers"),
        ("video,frame,left\na.mp4,1,nan\n", ":2: expected 1 values in -1..1"),
        ("video,frame,left\na.mp4,1,3\n", ":2: expected 1 values in -1..1"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "actions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(NextframeError, match=said):
        read_actions(tmp_path / "actions.csv")


def test_a_video_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "actions.csv").write_text("video,frame,left\nb.mp4,1,1\n", encoding="utf-8")
    table = read_actions(tmp_path / "actions.csv")
    with pytest.raises(NextframeError, match=r"b\.mp4 missing"):
        list(video_clips(tmp_path, table, (16, 16), 1))
    (tmp_path / "b.mp4").write_bytes(b"no video at all")
    with pytest.raises(NextframeError, match=r"b\.mp4: expected a video"):
        list(video_clips(tmp_path, table, (16, 16), 1))


def test_conditions_are_axes_then_buttons_then_words() -> None:
    assert condition_names(ActionSpace(("fire",), ("steer",), {"weather": ("clear", "rain")})) == [
        "steer", "fire", "clear", "rain",
    ]  # fmt: skip


def test_episodes_without_frames_are_left_out() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    clips = as_clips([{"frames": [], "conditions": []}, {"frames": [frame], "conditions": [np.zeros(1)]}])
    assert len(clips) == 1
