"""The keep: its plan, the twin of the game's movement, who walks there, and the world that learned it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nextframe.runtime.core import WeightsError
from nextframe.runtime.session.registry import find_world
from nextframe.worlds.freedoom import world as keep
from nextframe.worlds.freedoom.recipe.pilot import Pilot, free_nodes, node_of, nodes_under, place_of, steps_to
from nextframe.worlds.freedoom.recipe.walks import (
    CONDITION_DIM,
    HELD_OUT_SEED,
    Players,
    anywhere,
    condition,
    ghosts,
    in_walls,
    walks,
)
from nextframe.worlds.freedoom.teacher.keep import keep_text
from nextframe.worlds.freedoom.teacher.plan import CELL_UNITS, DARK, LAMPS, PLAN, SPACES, load_grid, wall_texture
from nextframe.worlds.freedoom.teacher.walk import (
    FRICTION,
    LOOK_DEGREES,
    RADIUS_UNITS,
    STOP_SHORT,
    Steps,
    Walk,
    Walkers,
)

COURT = (400.0, 330.0)


def one(x: float, y: float, angle: float = 0.0, vx: float = 0.0, vy: float = 0.0) -> Walkers:
    return Walkers(*(np.array([value]) for value in (x, y, angle, vx, vy)))


def asked(look: float = 0.0, aside: float = 0.0, ahead: float = 0.0) -> Steps:
    return Steps(*(np.array([value]) for value in (look, aside, ahead)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))


# --- the plan -------------------------------------------------------------------------------------------------------


def test_the_plan_is_closed_and_every_room_can_be_walked_to() -> None:
    grid = load_grid()
    assert len({len(row) for row in PLAN}) == 1
    assert all(border.all() for border in (grid.solid[0], grid.solid[-1], grid.solid[:, 0], grid.solid[:, -1]))
    assert set(steps_to(node_of(*COURT))) == set(free_nodes())
    assert all(nodes_under(lamp) for lamp in range(len(LAMPS)))


def test_the_first_row_is_the_northernmost() -> None:
    letters = load_grid().letters
    assert "".join(letters[-1]) == PLAN[0]
    assert "".join(letters[1]) == PLAN[-2]


def test_a_panel_shows_its_own_texture_and_a_plain_wall_that_of_the_room() -> None:
    assert wall_texture("r", "1") != wall_texture("r", "#")
    assert wall_texture("r", "#") == SPACES["r"].wall_texture
    assert wall_texture("g", "C") == SPACES["C"].wall_texture


def test_every_border_between_two_letters_is_a_line_of_the_map() -> None:
    grid = load_grid()
    text = keep_text(grid)
    borders = 0
    for axis in (0, 1):
        a, b = (np.moveaxis(part, axis, 0) for part in (grid.letters, grid.solid))
        borders += int(((a[1:] != a[:-1]) & ~(b[1:] & b[:-1])).sum())
    assert text.count("linedef {") == borders
    assert text.count("sidedef {") == text.count("linedef {") + text.count("twosided = true")


def test_a_lamp_that_is_out_darkens_its_own_room_in_the_map() -> None:
    lit, dark = keep_text(load_grid()), keep_text(load_grid(), [LAMPS.index("r")])
    assert dark.count(f"lightlevel = {DARK};") == lit.count(f"lightlevel = {DARK};") + 1
    assert f'"CEIL3_5"; lightlevel = {DARK};' in dark


# --- walking --------------------------------------------------------------------------------------------------------


def test_a_full_look_turns_to_the_right_by_as_much_as_it_says() -> None:
    assert np.degrees(Walk().step(one(*COURT), asked(look=1)).angle[0]) == pytest.approx(-2 * LOOK_DEGREES)


def test_ahead_is_along_the_heading_and_aside_to_its_right() -> None:
    walk = Walk()
    north = one(*COURT, angle=np.pi / 2)
    ahead, aside = walk.step(north, asked(ahead=1)), walk.step(north, asked(aside=1))
    assert ahead.y[0] > COURT[1]
    assert ahead.x[0] == pytest.approx(COURT[0])
    assert aside.x[0] > COURT[0]
    assert aside.y[0] == pytest.approx(COURT[1])


def test_who_lets_go_rolls_on_by_friction_and_then_stands() -> None:
    walk, w = Walk(), one(*COURT, vx=4.0)
    after = walk.tic(w, asked())
    assert after.x[0] == pytest.approx(COURT[0] + 4.0)
    assert after.vx[0] == pytest.approx(4.0 * FRICTION)
    for _ in range(40):
        w = walk.step(w, asked())
    assert w.vx[0] == 0
    assert np.array_equal(walk.step(w, asked()).x, w.x)


def test_no_player_gets_into_a_wall_and_a_wall_is_slid_along() -> None:
    walk = Walk()
    latents, _ = walks(walk, 128, 120, seed=3)
    assert in_walls(walk, torch.from_numpy(latents), 0.01) == 0
    north_east = one(3 * 32.0, 20 * 32.0, angle=np.pi / 2 - 0.4)
    for _ in range(60):
        before, north_east = north_east, walk.step(north_east, asked(ahead=1))
    assert north_east.y[0] == before.y[0], "the wall stops it"
    assert north_east.x[0] != 3 * 32.0, "and it goes on along it"


def test_who_meets_a_wall_keeps_of_the_speed_along_it_what_was_left_of_the_tic() -> None:
    walk, edge = Walk(), 32.0 + RADIUS_UNITS  # two units before the west border
    x, y, vx, vy = (float(part[0]) for part in walk.slide(*(np.array([v]) for v in (edge + 2.0, 600.0, -4.0, 3.0))))
    assert x == pytest.approx(edge + 2.0 - 4.0 * (0.5 - STOP_SHORT))
    assert y == pytest.approx(600.0 + 3.0 * (0.5 - STOP_SHORT) + 3.0 * 0.5)
    assert (vx, vy) == (0.0, pytest.approx(1.5))


def test_a_nook_stops_who_runs_into_it() -> None:
    walk = Walk()
    nook = one(32.0 + RADIUS_UNITS + 0.5, 15 * 32.0 + RADIUS_UNITS + 0.5, angle=-3 * np.pi / 4)
    for _ in range(20):
        nook = walk.step(nook, asked(ahead=1))
    assert not walk.blocked(nook.x, nook.y)
    assert np.array_equal(walk.step(nook, asked(ahead=1)).x, nook.x)


def test_without_walls_the_same_walks_would_be_in_them() -> None:
    """The control of the one before."""
    walk = Walk()
    open_walk = Walk(replace(load_grid(), solid=np.zeros_like(load_grid().solid), floor=load_grid().floor * 0))
    assert in_walls(walk, torch.from_numpy(walks(open_walk, 128, 120, seed=3)[0]), 0.01) > 0.1


def test_who_is_inside_a_wall_comes_out_to_the_nearest_free_place() -> None:
    walk, rows = Walk(), 400
    free = anywhere(walk, rng(), rows)
    x, y = (part + rng(k + 1).uniform(-20, 20, rows) for k, part in enumerate((free.x, free.y)))
    inside = walk.blocked(x, y)
    assert inside.sum() > 50
    to_x, to_y = walk.ejected(x, y)
    moved = np.hypot(to_x - x, to_y - y)
    assert (moved[~inside] == 0).all()
    assert not walk.blocked(to_x, to_y)[moved < 11.9].any()
    assert (moved[inside] <= np.hypot(x - free.x, y - free.y)[inside] + 2).all(), "no farther than where it came from"


def test_a_walker_is_as_wide_as_the_game_says() -> None:
    walk, edge = Walk(), float(CELL_UNITS)  # the west border is solid up to here
    assert not walk.blocked(np.array([edge + RADIUS_UNITS]), np.array([600.0]))[0]
    assert walk.blocked(np.array([edge + RADIUS_UNITS - 0.5]), np.array([600.0]))[0]


def test_a_lamp_is_switched_by_who_is_in_its_room_and_stays_so() -> None:
    walk, button, red = Walk(), np.array([True]), LAMPS.index("r")
    inside, outside = one(2.5 * 32, 19.5 * 32), one(*COURT)
    dark = walk.step(inside, replace(asked(), dark=button))
    assert dark.lit[0].tolist() == [k != red for k in range(len(LAMPS))]
    assert walk.step(dark, asked(look=1)).lit[0].tolist() == dark.lit[0].tolist(), "it stays out"
    assert walk.step(dark, replace(asked(), light=button)).lit.all()
    assert walk.step(outside, replace(asked(), dark=button)).lit.all(), "the court has no lamp"


def test_ghosts_reach_into_walls_and_their_answers_lead_out() -> None:
    walk = Walk()
    made = ghosts(walk, 200, 20, seed=4)
    assert in_walls(walk, made.histories) > 0.03
    assert in_walls(walk, made.targets) < in_walls(walk, made.histories) / 4


def test_the_pilot_comes_through_the_whole_keep_and_back() -> None:
    walk, start = Walk(), one(*COURT)
    far = steps_to(node_of(*COURT))
    goal = (*place_of(max(far, key=lambda node: far[node])), 1.0)
    for ends in ([goal], [(*COURT, -2.0)]):
        pilot = Pilot(ends)
        for _ in range(400):
            start = walk.step(start, pilot.steps(start))
            if pilot.there(start)[0]:
                break
        assert pilot.there(start)[0], ends


# --- latents --------------------------------------------------------------------------------------------------------


def test_a_walker_comes_back_from_its_latent() -> None:
    w = anywhere(Walk(), rng(), 50)
    w = replace(w, vx=rng(1).uniform(-8, 8, 50), vy=rng(2).uniform(-8, 8, 50))
    w = replace(w, lit=rng(3).random((50, len(LAMPS))) < 0.5)
    back = vars(keep.walkers_of(keep.latents_of(w)))
    for name, was in vars(w).items():
        assert np.allclose(was, back[name], atol=1e-3), name


def test_the_dynamics_carries_a_latent_as_far_as_the_twin_rolls() -> None:
    """What the network is to correct is nothing in the open: the frame it starts from is the twin's own next."""
    walk, w = Walk(), one(*COURT, angle=0.5, vx=3.0, vy=-2.0)
    dynamics = keep.Dynamics(keep.dynamics_config())
    now, after = (torch.from_numpy(keep.latents_of(part)) for part in (w, walk.step(w, asked())))
    scene, slots = dynamics.split(now)
    carried = dynamics.carried(scene, slots, slots)
    assert torch.allclose(carried[0, 0, :2], dynamics.split(after)[1][0, 0, :2], atol=1e-4)


# --- the shipped world ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped() -> keep.Generator:
    return keep.new_generator(*keep.load_networks(find_world("freedoom").path), rows=64)


def free_walk(generator: keep.Generator, ticks: int, seed: int) -> None:
    start, players = anywhere(Walk(), rng(seed), 64), Players(64, rng(seed + 1))
    generator.prefill(torch.from_numpy(keep.latents_of(start))[:, None], torch.zeros(64, 1, CONDITION_DIM))
    for _ in range(ticks):
        given = torch.from_numpy(condition(players.steps()))
        job = generator.start(given, seed=5, steps=1)
        job.step()
        generator.commit(job.finish(), given)


def test_free_walks_stay_out_of_walls(shipped: keep.Generator) -> None:
    free_walk(shipped, 150, HELD_OUT_SEED)
    assert in_walls(Walk(), shipped.last, 2.0) <= 0.05


def test_the_world_walks_as_the_twin_does(shipped: keep.Generator) -> None:
    start, players, walk = anywhere(Walk(), rng(9), 64), Players(64, rng(10)), Walk()
    shipped.prefill(torch.from_numpy(keep.latents_of(start))[:, None], torch.zeros(64, 1, CONDITION_DIM))
    w, other = start, start
    for _ in range(10):
        steps = players.steps()
        w, other = walk.step(w, steps), walk.step(other, replace(steps, look=-steps.look, ahead=-steps.ahead))
        given = torch.from_numpy(condition(steps))
        job = shipped.start(given, seed=5, steps=2)
        job.step()
        shipped.commit(job.finish(), given)
    now = keep.walkers_of(shipped.last.numpy())
    right, wrong = (np.median(np.hypot(now.x - part.x, now.y - part.y)) for part in (w, other))
    assert right < 4.0
    assert wrong > 3 * right


def test_weights_of_another_network_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = find_world("freedoom").path
    for name in (keep.TOKENIZER, keep.DYNAMICS, keep.SEEDS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / keep.DYNAMICS).write_bytes((folder / keep.SEEDS).read_bytes())
    with pytest.raises(WeightsError, match="another"):
        keep.load_networks(tmp_path)
