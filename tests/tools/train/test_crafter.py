"""Crafter without what no picture shows, its explorer, and worlds of tiles: each token is one that was seen."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextframe.runtime.core import Action, NextframeError, TickPlan
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.tools.train.base.budget import parse_budget, plan_for
from nextframe.tools.train.data.clips import Clips

torch = pytest.importorskip("torch")
pytest.importorskip("gymnasium", reason="the Crafter game is a Gymnasium environment")

from safetensors.torch import save_file  # noqa: E402

from nextframe.model.tokenizers.frames import (  # noqa: E402
    FrameConfig,
    FrameTokenizer,
    distinct_patches,
    fill,
    fill_tiles,
    fit_patches,
)
from nextframe.tools.train.data import crafter, drivers  # noqa: E402
from nextframe.tools.train.evaluate import tiles_alike  # noqa: E402
from nextframe.tools.train.learn.frames import MAX_DISTINCT, learn_tiles  # noqa: E402
from nextframe.tools.train.learn.motion import Lessons  # noqa: E402
from nextframe.tools.train.learn.own_runs import put_back  # noqa: E402
from tests.support.grids import FRAMES, random_grid, world_document, write_world  # noqa: E402

NAMES = dict(zip(crafter.ACTION_NAMES, range(len(crafter.ACTION_NAMES)), strict=True))
TILE_PX = 8


@pytest.fixture(scope="module")
def game() -> Any:
    pytest.importorskip("crafter", reason="the game itself is not installed: nextframe[crafter]")
    env = crafter.Crafter(bag=False)
    yield env
    env.close()


def played(env: Any, actions: list[int], seed: int = 0) -> list[Any]:
    env.reset(seed=seed)
    frames = [env.render()]
    for action in actions:
        env.step(action)
        frames.append(env.render())
    return frames


def stand(env: Any, kind: str, **carried: int) -> None:
    """Before a tile of this kind, looking up at it, with these things."""
    env.reset(seed=0)
    world, player = env._game._world, env._game._player
    x, y = (int(v) for v in player.pos)
    y = y if y > 0 else 1
    world[x, y] = "grass"
    if int(player.pos[1]) != y:
        world.move(player, (x, y))
    world[x, y - 1], player.facing = kind, (0, -1)
    player.inventory.update(carried)


def carried(env: Any, name: str) -> int:
    return int(env._look()["carried"][crafter.CARRIED.index(name)])


# --- the game -----------------------------------------------------------------------------------------------------


def test_a_missing_package_is_refused_in_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crafter", None)
    with pytest.raises(NextframeError, match=r"pip install 'nextframe\[crafter\]'"):
        crafter.Crafter()


def test_a_place_that_is_too_small_is_refused() -> None:
    with pytest.raises(NextframeError, match="area=4: expected 9 to 64"):
        crafter.Crafter(area=4)


def test_the_same_seed_and_actions_give_the_same_pictures_and_another_seed_others(game: Any) -> None:
    actions = np.random.default_rng(0).integers(0, len(crafter.ACTIONS), 40).tolist()
    first, again, other = played(game, actions), played(game, actions), played(game, actions, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_the_picture_is_whole_tiles_with_a_row_for_what_is_carried(game: Any) -> None:
    game.reset(seed=0)
    assert game.render().shape == (8 * crafter.TILE_PX, 7 * crafter.TILE_PX, 3)


def test_who_waits_sees_a_still_picture_however_long(game: Any) -> None:
    frames = played(game, [0] * 320)
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


def test_with_the_night_who_waits_sees_the_picture_change() -> None:
    pytest.importorskip("crafter", reason="the game itself is not installed: nextframe[crafter]")
    frames = played(crafter.Crafter(night=True), [0] * 250)
    assert not np.array_equal(frames[0], frames[-1])


def test_with_creatures_something_moves_and_without_nothing_stands_about() -> None:
    pytest.importorskip("crafter", reason="the game itself is not installed: nextframe[crafter]")
    wild, calm = crafter.Crafter(area=32, creatures=True), crafter.Crafter(area=32)
    for env, most in ((wild, 10**6), (calm, 1)):
        env.reset(seed=0)
        assert (len(env._game._world.objects) > 1) is (env is wild)
        assert len(env._game._world.objects) <= most


@pytest.mark.parametrize(("steps", "ends"), [(5, [False] * 4 + [True]), (0, [False] * 5)])
def test_an_episode_ends_after_its_steps_or_never(steps: int, ends: list[bool]) -> None:
    pytest.importorskip("crafter", reason="the game itself is not installed: nextframe[crafter]")
    env = crafter.Crafter(steps=steps)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(5)] == ends


def test_walking_scrolls_the_view_by_one_tile(game: Any) -> None:
    stand(game, "grass")
    before, tile = game.render(), crafter.TILE_PX
    game.step(NAMES["up"])
    after = game.render()
    assert np.array_equal(after[tile : 3 * tile], before[: 2 * tile])
    assert not np.array_equal(after[: 2 * tile], before[: 2 * tile])


def test_a_tree_gives_wood_and_a_full_pocket_takes_no_more(game: Any) -> None:
    stand(game, "tree", wood=8)
    for _ in range(3):
        game.step(NAMES["use"])
    assert carried(game, "wood") == 9


def test_stone_is_broken_with_a_pickaxe_only(game: Any) -> None:
    stand(game, "stone")
    game.step(NAMES["use"])
    assert carried(game, "stone") == 0
    stand(game, "stone", wood_pickaxe=1)
    game.step(NAMES["use"])
    assert carried(game, "stone") == 1


def test_grass_always_gives_its_sapling_and_the_planted_one_stays_as_it_is(game: Any) -> None:
    stand(game, "grass")
    game.step(NAMES["use"])
    assert carried(game, "sapling") == 1
    game.step(NAMES["plant"])
    assert carried(game, "sapling") == 0
    frames = [game.render()]
    for _ in range(310):
        game.step(0)
    assert np.array_equal(game.render(), frames[0])


def test_a_table_costs_wood_and_lets_a_pickaxe_be_made(game: Any) -> None:
    stand(game, "grass", wood=1)
    game.step(NAMES["table"])
    assert carried(game, "wood") == 1
    stand(game, "grass", wood=4)
    game.step(NAMES["pickaxe"])
    assert carried(game, "wood_pickaxe") == 0
    game.step(NAMES["table"])
    game.step(NAMES["pickaxe"])
    assert carried(game, "wood_pickaxe") == 1


def test_the_place_is_always_the_same_one_unless_asked_otherwise() -> None:
    pytest.importorskip("crafter", reason="the game itself is not installed: nextframe[crafter]")
    for place, same in ((4, True), (-1, False)):
        env = crafter.Crafter(place=place)
        maps = []
        for seed in (0, 1):
            env.reset(seed=seed)
            maps.append(env._game._world._mat_map.copy())
        assert np.array_equal(*maps) is same


# --- its explorer -------------------------------------------------------------------------------------------------


def test_the_explorer_walks_cuts_builds_and_rests(game: Any) -> None:
    rng, done, places, had = np.random.default_rng(0), Counter[int](), set(), Counter[str]()
    observation, _ = game.reset(seed=3)
    for _ in range(1500):
        action = drivers.crafter(observation, rng)
        done[action] += 1
        observation, _, _, _, info = game.step(action)
        places.add(info["place"])
        had.update(n for n, c in zip(crafter.CARRIED, observation["carried"], strict=True) if c)
    assert len(places) > 60
    assert all(done[NAMES[name]] > 3 for name in ("noop", "use", "stone", "table", "plant", "pickaxe"))
    assert all(had[name] for name in ("wood", "stone", "sapling", "wood_pickaxe"))


def test_a_random_player_gets_less_far(game: Any) -> None:
    rng, places = np.random.default_rng(0), set()
    game.reset(seed=3)
    for _ in range(400):
        places.add(game.step(int(rng.integers(len(crafter.ACTIONS))))[4]["place"])
    explored = set()
    observation, _ = game.reset(seed=3)
    for _ in range(400):
        observation, _, _, _, info = game.step(drivers.crafter(observation, rng))
        explored.add(info["place"])
    assert len(explored) > len(places)


# --- worlds of tiles ----------------------------------------------------------------------------------------------


def tiled_frames(count: int = 60, kinds: int = 6) -> Any:
    """`(count, 16, 24, 3)` uint8 of squares of 8 px, six kinds of them."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (kinds, TILE_PX, TILE_PX, 3), dtype=np.uint8)
    picture = tiles[rng.integers(0, kinds, (count, 2, 3))]
    return torch.from_numpy(picture.swapaxes(2, 3).reshape(count, 16, 24, 3).copy())


def tiled() -> tuple[FrameTokenizer, Any]:
    frames = tiled_frames()
    patches = distinct_patches(frames, TILE_PX, 100)
    assert patches is not None
    tokenizer = FrameTokenizer(FrameConfig(16, 24, TILE_PX, 16, 4, 0, len(patches)))
    fill_tiles(tokenizer, patches)
    return tokenizer.eval().requires_grad_(False), frames


def test_different_squares_are_counted_and_a_picture_of_no_tiles_has_too_many() -> None:
    patches = distinct_patches(tiled_frames(), TILE_PX, 6)
    assert patches is not None
    assert len(patches) == 6
    assert distinct_patches(tiled_frames(), TILE_PX, 5) is None


def test_the_same_tile_is_the_same_token_wherever_it_lies() -> None:
    tokenizer, frames = tiled()
    codes = tokenizer.encode(frames[:1].roll((TILE_PX, TILE_PX), (1, 2))).view(2, 3, -1)
    assert torch.allclose(codes, tokenizer.encode(frames[:1]).view(2, 3, -1).roll((1, 1), (0, 1)), atol=1e-4)


def test_about_the_mean_frame_it_is_not() -> None:
    frames = tiled_frames()
    tokenizer = FrameTokenizer(FrameConfig(16, 24, TILE_PX, 5, 4, 0))
    fill(tokenizer, fit_patches(frames, TILE_PX), frames)
    codes = tokenizer.encode(frames[:1].roll((TILE_PX, TILE_PX), (1, 2))).view(2, 3, -1)
    assert not torch.allclose(codes, tokenizer.encode(frames[:1]).view(2, 3, -1).roll((1, 1), (0, 1)), atol=1e-2)


def test_a_wrong_token_becomes_the_nearest_tile_and_a_right_one_stays() -> None:
    tokenizer, frames = tiled()
    codes = tokenizer.encode(frames)
    settled = tokenizer.canonical(codes + 0.1 * torch.randn(codes.shape, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(settled, codes, atol=1e-4)
    assert torch.equal(tokenizer.canonical(settled), settled)


def test_a_token_between_two_tiles_is_shown_as_one_of_them() -> None:
    tokenizer, frames = tiled()
    a, b = tokenizer.encode(frames[:2])
    shown = tokenizer.decode((0.6 * a + 0.4 * b)[None])
    assert (shown.int() - frames[:1].int()).abs().max() <= 1
    mixed = 0.6 * frames[0].float() + 0.4 * frames[1].float()
    assert (shown[0].float() - mixed).abs().max() > 20


def test_without_tiles_a_tokenizer_has_no_new_weights_and_keeps_to_its_bounds() -> None:
    plain = FrameTokenizer(FrameConfig(16, 24, TILE_PX, 5, 4, 0))
    assert "tiles" not in plain.state_dict()
    latent = torch.tensor([[-9.0, 0.25] * 15])
    assert torch.equal(plain.canonical(latent), latent.clamp(-4, 4))


def test_a_world_folder_of_tiles_plays_and_shows_nothing_but_tiles(tmp_path: Path) -> None:
    frames = tiled_frames()
    patches = distinct_patches(frames, TILE_PX, 100)
    assert patches is not None
    tokenizer = FrameTokenizer(replace(FRAMES, tiles=len(patches)))
    fill_tiles(tokenizer, patches)
    sizes = {**world_document()["parameters"]["sizes"], "tiles": len(patches)}
    folder = write_world(tmp_path / "squares", world_document(sizes=sizes))
    save_file(tokenizer.state_dict(), folder / "tokenizer.safetensors")
    restless = random_grid()
    torch.nn.init.normal_(restless.out.weight, std=1.0, generator=torch.Generator().manual_seed(0))
    save_file(restless.state_dict(), folder / "dynamics.safetensors")
    world = load_world(find_world(str(folder)))
    shown = [world.reset(0)]
    for _ in range(12):
        result = world.advance(Action({"steer": 1.0}), TickPlan(1, deadline_ns=0))
        result.commit()
        shown.append(result.frames[0])
    assert len({frame.tobytes() for frame in shown}) > 1, "this network changes what it sees"
    found = distinct_patches(torch.from_numpy(np.stack(shown)), TILE_PX, 100)
    assert found is not None
    known = {patch.numpy().tobytes() for patch in patches}
    assert {patch.numpy().tobytes() for patch in found} <= known


@pytest.mark.parametrize("tiles", [-1, True, "many"])
def test_a_world_file_with_a_wrong_number_of_tiles_is_refused_by_its_key(tmp_path: Path, tiles: Any) -> None:
    sizes = {**world_document()["parameters"]["sizes"], "tiles": tiles}
    folder = write_world(tmp_path / "squares", world_document(sizes=sizes))
    with pytest.raises(NextframeError, match=r"parameters\.sizes\.tiles: expected 0 to"):
        load_world(find_world(str(folder)))


def clips_of(frames: Any) -> Clips:
    return Clips(frames.numpy(), np.zeros((len(frames), 1), np.float32), np.zeros(1, np.int64))


def test_learning_tiles_shows_every_held_out_frame_as_it_is(tmp_path: Path) -> None:
    plan = plan_for(parse_budget("30m"), 16, 24, tile_px=TILE_PX)
    tokenizer = learn_tiles(clips_of(tiled_frames(200)), plan, tmp_path, "cpu")
    frames = tiled_frames(260)[200:]
    assert (tokenizer.decode(tokenizer.encode(frames)).int() - frames.int()).abs().max() <= 1


def test_a_picture_of_no_tiles_is_refused_with_the_reason(tmp_path: Path) -> None:
    plan = plan_for(parse_budget("30m"), 16, 24, tile_px=TILE_PX)
    noise = np.random.default_rng(0).integers(0, 256, (MAX_DISTINCT // 4, 16, 24, 3), dtype=np.uint8)
    with pytest.raises(NextframeError, match="no picture of such tiles"):
        learn_tiles(clips_of(torch.from_numpy(noise)), plan, tmp_path, "cpu")


@pytest.mark.parametrize(("tile_px", "size"), [(12, (64, 64)), (10, (100, 100)), (4, (64, 64))])
def test_tiles_that_do_not_fit_the_frame_are_refused(tile_px: int, size: tuple[int, int]) -> None:
    with pytest.raises(NextframeError, match=f"--tiles {tile_px}: expected"):
        plan_for(parse_budget("30m"), *size, tile_px=tile_px)


def test_a_run_that_left_the_recorded_one_is_put_back_and_one_with_a_wrong_tile_is_not() -> None:
    tokenizer, frames = tiled()
    true = tokenizer.encode(frames).view(2, 30, -1)
    own = true.clone()
    own[0, 10:, : 16 * 3] = true[1, 10:, : 16 * 3]
    assert torch.equal(put_back(tokenizer, own, true), true)
    several = FrameTokenizer(FrameConfig(32, 48, TILE_PX, 16, 4, 0, tokenizer.config.tiles))
    several.load_state_dict(tokenizer.state_dict() | {"mean": several.mean, "ground": several.ground})
    true = true.view(1, 15, -1)
    own = true.clone()
    own[0, 5, :16] = tokenizer.tiles[0] if not torch.equal(true[0, 5, :16], tokenizer.tiles[0]) else tokenizer.tiles[1]
    assert torch.equal(put_back(several, own, true), own)
    assert not torch.equal(own, true)


def test_a_tile_with_one_wrong_pixel_is_not_alike() -> None:
    frames = tiled_frames(2)
    other = frames.clone()
    other[0, 3, 9, 1] ^= 1
    alike = tiles_alike(other, frames, TILE_PX)
    assert alike.shape == (2, 2, 3)
    assert not alike[0, 0, 1]
    assert int(alike.sum()) == 11


def test_lessons_of_tiles_remember_tiles_and_others_get_noise() -> None:
    tokenizer, frames = tiled()
    clips = clips_of(frames)
    latents = tokenizer.encode(frames)
    lessons, plain = Lessons.of(latents, clips, 4, tokenizer), Lessons.of(latents, clips, 4)
    assert (lessons.change, plain.settle) == (0.0, None)
    assert plain.change > 0
    assert lessons.settle is not None
    assert torch.equal(lessons.settle(latents + 0.1), lessons.settle(latents))
