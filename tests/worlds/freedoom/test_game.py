"""The keep in the game itself: the twin walks as it does, pictures are taken where they are asked for, lamps go out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

pytest.importorskip("vizdoom", reason="needs ViZDoom: pip install 'nextframe[freedoom]'")

from nextframe.runtime.session.registry import find_world
from nextframe.worlds.evaluation.measures import edge_energy, psnr_db, squared_error
from nextframe.worlds.freedoom import world as keep
from nextframe.worlds.freedoom.evaluation.bench import KeepBench, shown_in
from nextframe.worlds.freedoom.evaluation.returns import lamps_remembered
from nextframe.worlds.freedoom.evaluation.twin import compare
from nextframe.worlds.freedoom.recipe.shots import shoot
from nextframe.worlds.freedoom.recipe.walks import anywhere
from nextframe.worlds.freedoom.teacher.keep_game import KeepGame
from nextframe.worlds.freedoom.teacher.plan import LAMPS, load_grid
from nextframe.worlds.freedoom.teacher.walk import Floats, Steps, Walk

COURT = (400.0, 330.0)


@pytest.fixture(scope="module")
def game() -> Iterator[KeepGame]:
    made = KeepGame()
    yield made
    made.close()


def asked(look: float, aside: float, ahead: float) -> Steps:
    return Steps(*(np.array([value]) for value in (look, aside, ahead)))


def together(game: KeepGame, place: tuple[float, float, float], steps: list[Steps]) -> tuple[float, float]:
    """How far the game went, and how far the twin is from it then, in units."""
    walk = Walk()
    game.put(*place)
    start = w = game.walkers()
    for step in steps:
        game.step(step)
        w = walk.step(w, step)
    now = game.walkers()
    went = float(np.hypot(now.x - start.x, now.y - start.y)[0])
    return went, float(np.hypot(now.x - w.x, now.y - w.y)[0])


def test_in_the_open_the_twin_walks_as_the_game_does(game: KeepGame) -> None:
    # The game cuts moves to whole twenty-fifths; these are.
    steps = [asked(-0.6, 0.0, 0.6), asked(0.3, 0.4, 0.2), asked(0.0, 0.0, 0.0), asked(1.0, -0.4, -0.4)] * 2
    went, apart = together(game, (*COURT, 0.0), steps)
    assert went > 8
    assert apart < 0.1


def test_a_wall_stops_both_at_the_same_place(game: KeepGame) -> None:
    went, apart = together(game, (*COURT, np.pi), [asked(0, 0, 1)] * 30)
    assert went < 200, "the wall is nearer than thirty ticks"
    assert apart < 1.0


class Slippery(Walk):
    """Walls that take nothing of the speed along them."""

    def _along(self, x: Floats, y: Floats, by_x: Floats, by_y: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        free_x = ~self.blocked(x + by_x, y)
        x = x + np.where(free_x, by_x, 0.0)
        free_y = ~self.blocked(x, y + by_y)
        return x, y + np.where(free_y, by_y, 0.0), np.where(free_x, by_x, 0.0), np.where(free_y, by_y, 0.0)


def test_walls_met_at_any_angle_are_slid_along_as_in_the_game(game: KeepGame) -> None:
    found = compare(game, 40, 30)
    assert found["beyond_half_a_unit"] < 0.01
    assert found["one_tick_units"]["p90"] < 0.05
    # The control: how much of the speed along a wall is kept is noticed.
    slippery = compare(game, 40, 30, Slippery())
    assert slippery["beyond_half_a_unit"] > 2 * found["beyond_half_a_unit"] + 0.01


def test_another_turn_would_be_noticed(game: KeepGame) -> None:
    """The control: the twin under other keys is somewhere else."""
    walk = Walk()
    game.put(*COURT, 0.0)
    w = game.walkers()
    for _ in range(8):
        game.step(asked(0.5, 0.0, 1.0))
        w = walk.step(w, asked(-0.5, 0.0, 1.0))
    assert np.hypot(game.walkers().x - w.x, game.walkers().y - w.y)[0] > 20


def test_a_player_is_put_where_and_as_asked_for(game: KeepGame) -> None:
    where = anywhere(Walk(), np.random.default_rng(3), 12)
    for k in range(12):
        x, y = where.x[k] + (k % 2) * 0.4, where.y[k] + (k % 3) * 0.3
        if Walk().blocked(np.array([x]), np.array([y]))[0]:
            continue
        game.put(x, y, where.angle[k])
        now = game.walkers()
        assert np.hypot(now.x - x, now.y - y)[0] < 0.4
        assert abs(np.angle(np.exp(1j * (now.angle[0] - where.angle[k])))) < 0.002


def room_latents(lamp: int) -> torch.Tensor:
    row, column = np.argwhere((load_grid().lamps == lamp) & ~load_grid().walls)[0]
    w = anywhere(Walk(), np.random.default_rng(0), 4)
    there = [np.full(4, (part + 0.5) * 32.0) for part in (column, row)]
    return torch.from_numpy(keep.latents_of(type(w)(*there, np.arange(4) * 1.5, w.vx, w.vy)))


def test_a_lamp_that_is_out_darkens_its_room_and_no_other(game: KeepGame) -> None:
    red, wood = LAMPS.index("r"), LAMPS.index("w")
    dark = KeepGame([red])
    try:
        pairs = [
            (np.stack(shown_in(game, room_latents(lamp))), np.stack(shown_in(dark, room_latents(lamp))))
            for lamp in (red, wood)
        ]
    finally:
        dark.close()
    assert pairs[0][1].mean() < 0.8 * pairs[0][0].mean()
    assert np.abs(pairs[1][1].astype(int) - pairs[1][0]).mean() < 1


def test_pictures_and_latents_are_of_the_same_places() -> None:
    """Drawn by the shipped network from the latent, a picture is the game's; from the next one's it is not."""
    frames, latents = shoot(8, seed=77)
    tokenizer, _ = keep.load_networks(find_world("freedoom").path)
    with torch.inference_mode():
        made = tokenizer.decode(torch.from_numpy(latents)).numpy()
    own = [psnr_db(squared_error(a, b)) for a, b in zip(made, frames, strict=True)]
    other = [psnr_db(squared_error(a, b)) for a, b in zip(np.roll(made, 1, 0), frames, strict=True)]
    assert np.median(own) > 28
    assert np.median(other) < 20
    assert np.median([edge_energy(a) / edge_energy(b) for a, b in zip(made, frames, strict=True)]) > 0.5


@pytest.mark.slow
def test_a_lamp_is_remembered_by_the_shipped_world_and_not_by_a_forgetful_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = KeepBench(find_world("freedoom").path, 4)
    try:
        with torch.inference_mode():
            found = lamps_remembered(bench, 1)
            assert found["remembered"] >= 0.9
            assert found["in_next_frame"] >= 0.9
            canonical = keep.PlaceTokenizer.canonical

            def forgetful(self: keep.PlaceTokenizer, latent: torch.Tensor) -> torch.Tensor:
                whole = canonical(self, latent).clone()
                whole[..., 2:-6] = 1.0
                return whole

            monkeypatch.setattr(keep.PlaceTokenizer, "canonical", forgetful)
            assert lamps_remembered(bench, 1)["remembered"] <= 0.6, "right only where no button was pressed"
    finally:
        bench.game.close()
