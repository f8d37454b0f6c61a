"""Claims about the games that people bring: played as they are, or refused in one line that names the cause."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("gymnasium")

import tests.support.worlds.odd_games  # noqa: F401 - registers the games
from nextframe.runtime.core import NextframeError
from nextframe.tools.train.data import explore
from nextframe.tools.train.data.clips import Clips, check_clips, load_source, save_source
from nextframe.tools.train.data.sources import SourceOptions, open_source

PLAYED = (
    "IntBox", "ByteBox", "BesideZero", "DoubleBox", "HalfBox", "NegativeStart", "ManyDiscrete", "TableDiscrete",
    "ManyBinary", "FloatRender", "BigFloatRender", "DarkFirst", "ChannelFirst", "Grey", "GreyFirst", "Alpha",
    "FrameList", "Batch", "WideInt", "Board", "PictureGiven", "DictGiven", "TupleGiven", "OldStep", "OldStepLimited",
    "OldReset", "NoSeed", "OldSeed", "OldRender",
)  # fmt: skip
REFUSED = {
    "Boom": "odd/Boom-v0: RuntimeError in step 51 of an episode, action .*odd_games.py.*: engine lost connection$",
    "BoomReset": "odd/BoomReset-v0: OSError in reset .*: no licence found$",
    "BoomMake": "odd/BoomMake-v0: expected an environment that can be made: .*no display server$",
    "SixValues": "expected step to return 5 values, or 4 as it once did, got 6 values",
    "NoPicture": "expected a picture from render.., got None; say --picture observation",
    "TextPicture": "expected a picture from render.., got text",
    "CodesDrawn": "48x48 whole numbers up to 7: codes",
    "TinyDrawn": "an array of 8x8x3",
    "TwelvePlanes": "an array of 20x20x12",
    "SignedDrawn": r"float32 from -0\.685",
    "DeepDrawn": "uint16 from 10280 to 64250, not 0..255",
    "NotFinite": "numbers that are not finite",
    "Growing": "expected pictures of one size, got 48x48 first and 48x96 in step 6",
    "Brightening": "expected float pictures of 0..1, as those before, got 250 in step 5",
    "ManyGames": "expected one game, got 4 at once",
    "Unbounded": "expected finite bounds for every axis",
    "LargestInts": "expected finite bounds for every axis",
    "NestedActions": "expected an action space of Discrete",
}


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """What gymnasium thinks of these games it may say; it is not the claim here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def made(name: str, picture: str = "", number: int = 0) -> tuple[explore.EnvFacts, Clips]:
    facts = explore.facts_of(f"odd/{name}-v0", {}, picture)
    spec = explore.EnvSpec(f"odd/{name}-v0", facts.height_px, facts.width_px, picture=picture)
    game = explore.open_env(spec.env_id, {}, picture)
    try:
        return facts, explore.shard(game, spec, facts.controls, number)
    finally:
        game.close()


def dot(frame: NDArray[np.uint8]) -> tuple[int, int]:
    """Row and column of the bright square's corner."""
    lit = np.argwhere(frame[..., 0] > 150)
    return int(lit[:, 0].min()), int(lit[:, 1].min())


@pytest.mark.parametrize("name", PLAYED)
def test_it_is_played_and_its_picture_is_the_one_that_is_drawn(name: str) -> None:
    facts, clips = made(name)
    check_clips(clips, [str(n) for n in range(facts.controls.condition_dim)], context=10)
    assert clips.frames.shape[1:] == (48, 48, 3)
    episode = clips.episodes()[0]
    lit = clips.frames[episode[0] + 10]
    assert {int(value) for value in np.unique(lit[..., 0])} == {40, 250}, "the brightness is the game's own"
    assert (lit[..., 0] > 150).sum() == 49
    moved = [dot(clips.frames[t]) != dot(clips.frames[t + 1]) for t in range(episode[0] + 10, episode[0] + 90)]
    assert any(moved)
    assert episode[1] - episode[0] <= (41 if name == "OldStepLimited" else 101)


@pytest.mark.parametrize("name", ["IntBox", "ByteBox", "BesideZero"])
def test_whole_axes_are_played_in_whole_steps_and_the_network_is_told_those(name: str) -> None:
    facts, clips = made(name)
    levels = np.unique(clips.conditions)
    assert 3 <= len(levels) <= 6
    controls = facts.controls
    for condition in np.unique(clips.conditions, axis=0):
        action = controls.environment_action(condition)
        assert np.issubdtype(action.dtype, np.integer)
        back = controls.environment_action(controls.condition(action))
        assert back.tolist() == action.tolist()


def test_the_dot_goes_where_the_action_says() -> None:
    facts, clips = made("IntBox")
    for start, end in clips.episodes():
        for t in range(start + 1, end):
            down, right = facts.controls.environment_action(clips.conditions[t])
            row, column = dot(clips.frames[t])
            before = dot(clips.frames[t - 1])
            assert row == np.clip(before[0] + 2 * down, 0, 41)
            assert column == np.clip(before[1] + 2 * right, 0, 41)


def test_a_whole_axis_is_stored_and_comes_back(tmp_path: Path) -> None:
    source = open_source(SourceOptions(env="odd/IntBox-v0")).source
    save_source(tmp_path, source)
    assert load_source(tmp_path) == source
    assert load_source(tmp_path).controls.environment_action(np.array([1, -1], np.float32)).tolist() == [2, -2]


@pytest.mark.parametrize(("name", "says"), REFUSED.items())
def test_it_is_refused_in_one_line_that_names_the_cause(name: str, says: str) -> None:
    with pytest.raises(NextframeError, match=says) as caught:
        made(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value) or name in {"Unbounded", "LargestInts"}


def test_a_game_that_is_over_at_once_has_nothing_to_learn_from() -> None:
    facts, clips = made("OverAtOnce")
    with pytest.raises(NextframeError, match="too little data"):
        check_clips(clips, list(facts.controls.space.buttons), context=10)


@pytest.mark.parametrize(
    ("name", "picture"),
    [("PictureGiven", "observation"), ("DictGiven", "observation:eye"), ("TupleGiven", "observation:0")],
)
def test_the_user_may_say_that_the_observation_is_the_picture(name: str, picture: str) -> None:
    facts, clips = made(name, picture)
    assert (facts.height_px, facts.width_px) == (32, 32)
    assert (clips.frames == 200).all()


@pytest.mark.parametrize(
    ("name", "picture", "says"),
    [
        ("Board", "observation", "whole numbers up to 2: codes"),
        ("IntBox", "observation", "an array of 2 "),
        ("DictGiven", "observation", "a dict of eye, speed"),
        ("DictGiven", "observation:ear", "expected that key in the observation, got eye, speed"),
        ("TupleGiven", "observation:7", "expected that key in the observation, got tuple"),
        ("IntBox", "renderer", "expected render, observation or observation:KEY"),
    ],
)
def test_an_observation_that_is_no_picture_is_refused(name: str, picture: str, says: str) -> None:
    with pytest.raises(NextframeError, match=says):
        made(name, picture)


def test_an_old_seed_gives_the_same_episode_again_and_another_seed_another() -> None:
    first, again, other = (made("OldSeed", number=n)[1] for n in (1, 1, 2))
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(first.frames[:50], other.frames[:50])


def test_fixed_starts_are_refused_of_a_game_that_takes_no_seed() -> None:
    with pytest.raises(NextframeError, match="expected a game whose reset takes a seed, odd/NoSeed-v0 takes none"):
        open_source(SourceOptions(env="odd/NoSeed-v0", env_seeds=1))
    open_source(SourceOptions(env="odd/OldSeed-v0", env_seeds=1))


def test_an_error_in_a_policy_names_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore, "POLICY_SHARE", 1.0)
    facts = explore.facts_of("odd/IntBox-v0", {})
    spec = explore.EnvSpec("odd/IntBox-v0", 48, 48, policy="tests.tools.train.test_games:clumsy")
    with pytest.raises(NextframeError, match=r"--policy .*:clumsy: KeyError in step 1 of an episode \(test_games"):
        explore.shard(explore.open_env(spec.env_id, {}), spec, facts.controls, 0)


def clumsy(observation: Any, rng: np.random.Generator) -> Any:
    return {}["no such thing"]


def test_a_refusal_inside_a_worker_process_reaches_the_user_in_one_line(tmp_path: Path) -> None:
    facts = explore.facts_of("odd/IntBox-v0", {})
    spec = explore.EnvSpec("tests.support.worlds.odd_games:odd/Boom-v0", 48, 48)
    controls = explore.facts_of("odd/FloatRender-v0", {}).controls
    with pytest.raises(NextframeError, match="engine lost connection") as caught:
        list(explore.collect(spec, controls, tmp_path, 4, workers=2, until=lambda: False))
    assert "\n" not in str(caught.value)
    assert facts.takes_seeds
