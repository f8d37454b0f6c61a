"""Claims about CarRacing as the racer's teacher, and about what is measured of its pictures."""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray

INSTALLED = find_spec("gymnasium") is not None and find_spec("Box2D") is not None
pytestmark = pytest.mark.skipif(not INSTALLED, reason="needs the extra 'train'")

if INSTALLED:
    with warnings.catch_warnings():  # of its SWIG types, which as errors would end the process
        warnings.simplefilter("ignore", DeprecationWarning)
        import Box2D  # noqa: F401
    from nextframe.worlds.evaluation.gates import judged_all
    from nextframe.worlds.racer.evaluation.gates import FILM_GATES, blurred, film_numbers, measure_film
    from nextframe.worlds.racer.evaluation.look import bend, edge_energy
    from nextframe.worlds.racer.evaluation.open_loop import road_overlap
    from nextframe.worlds.racer.evaluation.rollouts import Film, drive_the_game
    from nextframe.worlds.racer.recipe import data
    from nextframe.worlds.racer.teacher.driver import RoadDriver, road_aim, wheels_on_road
    from nextframe.worlds.racer.teacher.game import Game, Place, shrink


def driven(seed: int, ticks: int, place: Place | None = None) -> NDArray[np.uint8]:
    game, driver = Game(), RoadDriver(np.random.default_rng(0))
    frames = [game.reset(seed, place)]
    for _ in range(ticks):
        frames.append(game.tick(driver(frames[-1]))[0])
    return np.stack(frames)


@pytest.fixture(scope="module")
def film() -> Film:
    return drive_the_game([900_000_000, 900_000_001], ticks=60)


def test_the_same_seed_place_and_controls_give_the_same_pictures() -> None:
    place = Place(0.3, 2.0, 0.1)
    assert np.array_equal(driven(3, 12, place), driven(3, 12, place))
    assert not np.array_equal(driven(3, 2, place), driven(4, 2, place))


def test_pictures_are_shrunk_by_area() -> None:
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[:3, :3] = [[[90] * 3, [0] * 3, [0] * 3]] * 3
    small = shrink(picture)
    assert small.shape == (64, 64, 3)
    assert small[:2, :3, 0].tolist() == [[60, 0, 0], [60, 0, 0]]
    assert (shrink(np.full((96, 96, 3), 201, np.uint8)) == 201).all()


def test_the_driver_keeps_to_the_road_by_the_picture_alone(film: Film) -> None:
    assert film.on_road.mean() > 0.7


def test_a_car_put_beside_the_road_is_not_on_it() -> None:
    frame = Game().reset(5, Place(0.5, 14.0, 0.0))
    assert not wheels_on_road(frame)
    assert wheels_on_road(Game().reset(5, Place(0.5)))
    assert road_aim(Game().reset(5, Place(0.5))) is not None


def test_a_shard_holds_whole_ticks_of_numbered_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SHARD_FRAMES", 20)
    monkeypatch.setattr(data, "EPISODE_TICKS", (12, 13))
    shard, following = data.make_shard(0, 5)
    assert following == 7
    assert shard["episodes"].tolist() == [5] * 12 + [6] * 12
    assert shard["frames"].shape == (24, 64, 64, 3)
    assert shard["poses"].shape == (24, 5)
    again, _ = data.make_shard(0, 5)
    assert np.array_equal(shard["frames"], again["frames"])


def test_mush_fails_the_gates_of_a_free_run_and_the_game_itself_meets_them(film: Film) -> None:
    """The negative control: the game's own pictures, blurred, as a mean of futures is."""
    runs = {
        "game": measure_film(*film, None, None),
        "blurred": measure_film(blurred(film.frames), film.on_road, None, None),
    }
    game, mush = (judged_all(film_numbers(name, runs), FILM_GATES) for name in ("game", "blurred"))
    assert all(row["met"] for row in game.values())
    assert mush["edge_energy_apart"]["met"] is False


def test_edge_energy_sees_a_blurred_edge() -> None:
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    frame[:, :, 32:] = 200
    assert edge_energy(blurred(frame)) < 0.6 * edge_energy(frame)


def test_a_bend_has_the_sign_of_its_side_and_a_straight_has_none() -> None:
    def road(shift: float) -> NDArray[np.uint8]:
        frame = np.full((64, 64, 3), (100, 200, 100), np.uint8)
        for row in range(56):
            middle = int(32 + shift * ((row - 24) / 12) ** 2)
            frame[row, middle - 4 : middle + 5] = 100
        return frame

    left, straight, right = (bend(road(shift)) for shift in (-6.0, 0.0, 6.0))
    assert left is not None
    assert right is not None
    assert straight == pytest.approx(0, abs=0.6)
    assert np.sign(left) == -np.sign(right)


def test_the_overlap_of_roads_is_one_for_the_same_and_little_for_another(film: Film) -> None:
    one, other = film.frames[-1, :1], film.frames[-1, 1:2]
    assert road_overlap(one, one) == 1.0
    assert road_overlap(one, other) < 0.9
    assert road_overlap(one, np.zeros_like(one)) == 0.0
