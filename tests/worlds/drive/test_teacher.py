"""Claims about the drive world's teacher, its tokenizer and its measures. None needs the trained weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nextframe.model.tokenizers.scenes.chase import LEAN, POSITION_SCALE_M, SCENE_DIM, ChaseConfig, ChaseTokenizer
from nextframe.worlds.drive.evaluation.gates import _alike, skyline_shift_px
from nextframe.worlds.drive.recipe.data import Drivers, Pilot, condition, drive, latents_of, none_of, random_states
from nextframe.worlds.drive.recipe.on_policy import seen, unstopped
from nextframe.worlds.drive.recipe.tokenizer import fresh_tokenizer
from nextframe.worlds.drive.teacher.camera import (
    CAMERA_BEHIND_M,
    CAMERA_HEIGHT_M,
    FOCAL_PX,
    GAUGE_PX,
    HEIGHT_PX,
    HORIZON_PX,
    MAP_LEFT_PX,
    MAP_SCALE,
    MAP_TOP_PX,
    NEAR_M,
    WIDTH_PX,
)
from nextframe.worlds.drive.teacher.render import Renderer
from nextframe.worlds.drive.teacher.simulator import TOP_SPEED, Controls, Simulator, States, wrap
from nextframe.worlds.drive.teacher.track import CELL_M, HEIGHT_M, LANDMARK_SIZES_M, WALL_M, WIDTH_M, load_track
from nextframe.worlds.recipe.clips import OwnEpisodes


@pytest.fixture(scope="module")
def simulator() -> Simulator:
    return Simulator()


@pytest.fixture(scope="module")
def renderer(simulator: Simulator) -> Renderer:
    return Renderer(simulator)


def driven(simulator: Simulator, rows: int, ticks: int, *, careless: float = 0.0) -> list[States]:
    states, drivers = simulator.reset(list(range(rows))), Drivers(simulator, rows, 3, careless=careless)
    found = [states]
    for _ in range(ticks):
        states = simulator.step(states, drivers.controls(states))
        found.append(states)
    return found


# --- the teacher ----------------------------------------------------------------------------------------------------


def test_the_same_seed_and_controls_give_the_same_states(simulator: Simulator) -> None:
    one, two = (driven(simulator, 3, 60)[-1] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(vars(one).values(), vars(two).values(), strict=True))


def test_a_session_drives_the_same_alone_and_among_others(simulator: Simulator) -> None:
    together, alone = simulator.reset([4, 5, 6]), simulator.reset([5])
    controls = Controls(
        *(np.array(v, float) for v in ([0.3, -1, 1], [1, 1, 0], [0, 0, 1])), np.full(3, -1), np.full(3, -1)
    )
    for _ in range(40):
        together = simulator.step(together, controls)
        alone = simulator.step(alone, Controls.of(-1, 1, 0))
    assert np.array_equal(together.row(1).x, alone.x)


def test_no_driver_gets_past_the_fence(simulator: Simulator) -> None:
    for states in driven(simulator, 32, 300, careless=1.0):
        _, _, side = simulator.track.locate(states.x, states.y)
        assert np.abs(side).max() < WALL_M + 0.6  # the line's own corners leave some centimetres


def test_a_car_driven_head_on_into_the_fence_comes_along_it(simulator: Simulator) -> None:
    at = simulator.reset([1], weather=0)
    index, _, _ = simulator.track.locate(at.x, at.y)
    tangent = simulator.track.tangent[index]
    states = replace(at, heading=tangent + np.pi / 2 - 0.2, speed=np.array([1.5]))
    for _ in range(80):
        states = simulator.step(states, Controls.of(0, 1, 0))
    assert states.speed[0] > 0.4


class _OtherFence(Simulator):
    """A fence that turns any car that touches it by `turn`, of how far the nose is off the way of the race."""

    def turn(self, off: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _fence(self, states: States) -> States:
        index, _, side = self.track.locate(states.x, states.y)
        turned = states.heading + self.turn(wrap(self.track.tangent[index] - states.heading))
        fenced = super()._fence(states)
        return replace(fenced, heading=np.where(np.abs(side) > WALL_M, turned, fenced.heading))


class _Jumping(_OtherFence):
    """By a seventh of the way."""

    def turn(self, off: np.ndarray) -> np.ndarray:
        return 0.15 * off


class _Steep(_OtherFence):
    """Along itself, whichever way that is: it flips in front."""

    def turn(self, off: np.ndarray) -> np.ndarray:
        return 0.1 * np.arctan2(np.sin(2 * off), 1.1 + np.cos(2 * off))


def apart_after_a_crash(simulator: Simulator) -> float:
    """How far two cars come out of one tick that went into it a hair's breadth from each other, at most: headings."""
    rng, n = np.random.default_rng(3), 4000
    states = simulator.reset([1] * n, weather=0)
    at = rng.integers(len(simulator.track.line), size=n)
    tangent, side = simulator.track.tangent[at], rng.choice([-1, 1], n) * rng.uniform(WALL_M - 1, WALL_M, n)
    place = simulator.track.line[at] + np.stack([-np.sin(tangent), np.cos(tangent)], 1) * side[:, None]
    states = replace(
        states, x=place[:, 0], y=place[:, 1], heading=rng.uniform(-np.pi, np.pi, n), speed=rng.uniform(0, 2, n),
        rival_along=(states.rival_along + 200) % simulator.track.length_m,
    )  # fmt: skip
    beside = replace(states, x=states.x + 1e-3)
    ways = [simulator.step(cars, none_of(n)).heading for cars in (states, beside)]
    return float(np.abs(wrap(ways[0] - ways[1])).max())


def test_a_hairs_breadth_makes_no_other_crash(simulator: Simulator) -> None:
    assert apart_after_a_crash(simulator) < 0.01
    assert apart_after_a_crash(_Jumping(simulator.track)) > 0.1


def parted_by_the_fence(simulator: Simulator) -> float:
    """Two cars a degree apart press against the fence: by how many times as much they are apart after one tick."""
    way = np.linspace(-np.pi, np.pi, 720)
    states = simulator.reset([1] * len(way), weather=0)
    index, _, _ = simulator.track.locate(states.x, states.y)
    tangent = simulator.track.tangent[index]
    out = simulator.track.line[index] + np.stack([-np.sin(tangent), np.cos(tangent)], 1) * (WALL_M + 1)
    pressed = replace(states, x=out[:, 0], y=out[:, 1], speed=np.full(len(way), 0.5), slip=np.zeros(len(way)),
                      rival_along=(states.rival_along + 200) % simulator.track.length_m)  # fmt: skip
    ways = [
        simulator.step(replace(pressed, heading=wrap(tangent + way + shift)), none_of(len(way))).heading
        for shift in (0, np.radians(1))
    ]
    return float(np.degrees(np.abs(wrap(ways[0] - ways[1]))).max())


def test_a_crash_can_be_foreseen_from_a_heading_known_to_a_degree(simulator: Simulator) -> None:
    assert parted_by_the_fence(simulator) < 1.2
    assert parted_by_the_fence(_Steep(simulator.track)) > 2


def test_a_key_changes_the_very_next_state_and_the_picture(simulator: Simulator, renderer: Renderer) -> None:
    states = replace(simulator.reset([1], weather=0, time=0), speed=np.array([1.2]))
    left, right = (simulator.step(states, Controls.of(side, 1)) for side in (-1, 1))
    assert left.heading[0] < states.heading[0] < right.heading[0]
    assert (renderer.draw(left) != renderer.draw(right)).any()


def test_a_car_that_hardly_rolls_comes_to_rest(simulator: Simulator) -> None:
    states = simulator.reset([4, 5, 6], weather=0, time=0)
    rolling = replace(states, speed=np.array([0.039, -0.03, 0.05]), slip=np.zeros(3))
    after = simulator.step(rolling, none_of(3))
    assert list(after.speed == 0) == [True, True, False]


def test_a_car_that_stands_stays(simulator: Simulator) -> None:
    states = replace(simulator.reset([2]), speed=np.zeros(1), slip=np.zeros(1))
    after = states
    for _ in range(50):
        after = simulator.step(after, none_of(1))
    assert (after.x[0], after.y[0]) == (states.x[0], states.y[0])


def test_weather_comes_true_over_half_a_second_and_shows_at_once(simulator: Simulator) -> None:
    states = simulator.reset([1], weather=0, time=0)
    states = simulator.step(states, Controls.of(weather=2))
    assert states.weather[0, 2] == pytest.approx(0.1)
    for _ in range(12):
        states = simulator.step(states, none_of(1))
    assert states.weather[0, 2] == pytest.approx(1.0)
    assert states.time[0, 0] == pytest.approx(1.0)


def test_the_pilot_laps_the_course_on_the_road(simulator: Simulator) -> None:
    pilot = Pilot(simulator.track, np.linspace(-2.5, 2.5, 4))
    states = simulator.reset([1, 2, 3, 4], weather=0)
    far, lap_m = np.zeros(4), simulator.track.length_m
    _, before, _ = simulator.track.locate(states.x, states.y)
    for _ in range(1000):
        states = simulator.step(states, pilot.controls(states))
        _, along, _ = simulator.track.locate(states.x, states.y)
        far += (along - before + lap_m / 2) % lap_m - lap_m / 2
        before = along
    assert far.min() > lap_m


def test_landmarks_stand_off_the_road_and_every_kind_is_there() -> None:
    track = load_track()
    assert {mark.kind for mark in track.landmarks} == set(LANDMARK_SIZES_M)
    x, y = (np.array([getattr(mark, name) for mark in track.landmarks]) for name in ("x_m", "y_m"))
    inside = (x > 0) & (x < WIDTH_M) & (y > 0) & (y < HEIGHT_M)
    _, _, side = track.locate(x[inside], y[inside])
    assert np.abs(side).min() > WALL_M


# --- latents --------------------------------------------------------------------------------------------------------


def test_the_teacher_can_be_put_where_a_latent_shows_the_cars(simulator: Simulator) -> None:
    """Relabelled targets are only true if nothing is lost on the way: the same next state from the read one."""
    found = driven(simulator, 16, 80)
    before, now = (torch.from_numpy(latents_of(simulator, states)) for states in found[-2:])
    read = seen(simulator, found[-1], now, before)
    controls = replace(none_of(16), steer=np.linspace(-1, 1, 16), throttle=np.ones(16))
    expected, got = (latents_of(simulator, simulator.step(states, controls)) for states in (found[-1], read))
    away = np.abs(expected - got)[:, :-1]  # but for the rival's lamp: whether it lifts hangs on the last bit
    assert away.max() < 5e-3


@pytest.fixture(scope="module")
def ghosts(simulator: Simulator) -> OwnEpisodes:
    return unstopped(simulator, 7, 256, 16)


def test_ghosts_are_along_the_whole_fence_on_both_sides(simulator: Simulator, ghosts: OwnEpisodes) -> None:
    beyond = ghosts.astray > 0.5
    assert 0.05 < float(beyond.float().mean()) < 0.5
    places = ghosts.histories[..., SCENE_DIM : SCENE_DIM + 2].numpy() * POSITION_SCALE_M
    _, along, side = simulator.track.locate(places[..., 0].ravel() + WIDTH_M / 2, places[..., 1].ravel() + HEIGHT_M / 2)
    stretch = (along[beyond.numpy().ravel()] / simulator.track.length_m * 8).astype(int)
    sides = np.sign(side[beyond.numpy().ravel()])
    assert {(int(k), int(s)) for k, s in zip(stretch % 8, sides, strict=True)} == {
        (k, s) for k in range(8) for s in (-1, 1)
    }


def test_the_teachers_answer_to_a_ghost_leads_back(simulator: Simulator, ghosts: OwnEpisodes) -> None:
    """Of a history beyond the fence the next target is nearer; the ghosts themselves need not be."""

    def aside(latents: torch.Tensor) -> NDArray:
        places = latents[..., SCENE_DIM : SCENE_DIM + 2].numpy().astype(float) * POSITION_SCALE_M
        side = simulator.track.locate(places[..., 0].ravel() + WIDTH_M / 2, places[..., 1].ravel() + HEIGHT_M / 2)[2]
        return np.abs(side).reshape(places.shape[:-1])

    before, answer, went = aside(ghosts.histories[:, :-1]), aside(ghosts.targets[:, 1:]), aside(ghosts.histories[:, 1:])
    out = (before > WALL_M + 1) & (before < WALL_M + 5)
    assert (answer[out] < before[out]).mean() > 0.97
    assert (went[out] < before[out]).mean() < 0.9


def test_a_condition_names_controls_and_the_prompt_asked_for(simulator: Simulator) -> None:
    states = simulator.step(simulator.reset([1], weather=0, time=0), Controls.of(-0.5, 1, 0, weather=3, time=2))
    row = condition(Controls.of(-0.5, 1, 0), states)[0].tolist()
    assert row == pytest.approx([-0.5, 1, 0, 0, 0, 0, 1, 0, 0, 1])


def test_episodes_follow_from_their_seed(simulator: Simulator) -> None:
    one, two = (drive(simulator, 2, 30, 9)[0] for _ in range(2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, drive(simulator, 2, 30, 10)[0])


# --- the tokenizer --------------------------------------------------------------------------------------------------


def test_the_network_looks_through_the_teachers_camera() -> None:
    c = ChaseConfig()
    assert (c.height_px, c.width_px, c.horizon_px, c.focal_px) == (HEIGHT_PX, WIDTH_PX, HORIZON_PX, FOCAL_PX)
    assert (c.camera_height_m, c.camera_behind_m, c.near_m) == (CAMERA_HEIGHT_M, CAMERA_BEHIND_M, NEAR_M)
    assert c.land_m == (WIDTH_M, HEIGHT_M)
    assert c.cell_m == CELL_M
    assert c.map_px == (MAP_LEFT_PX, MAP_TOP_PX, MAP_SCALE)
    assert c.gauge_px == GAUGE_PX
    assert c.top_speed == TOP_SPEED
    assert (c.landmarks, c.kinds) == (len(load_track().landmarks), len(LANDMARK_SIZES_M))


def test_canonical_latents_are_what_frames_can_have_and_stay_so() -> None:
    tokenizer = ChaseTokenizer()
    latent = torch.randn(5, tokenizer.config.latent_dim) * 3
    once = tokenizer.canonical(latent).detach()
    scene, slots = tokenizer.split(once)
    assert scene[:, :7].abs().max() <= 1
    assert torch.equal(scene[:, 7:], latent[:, 7:SCENE_DIM])
    assert torch.allclose(slots[..., 2:4].norm(dim=-1), torch.ones(5, 2))
    assert set(slots[..., 5].unique().tolist()) <= {-1.0, 1.0}
    assert torch.equal(slots[..., 4], torch.ones(5, 2))
    assert torch.allclose(tokenizer.canonical(once), once)


@torch.inference_mode()
def test_a_frame_is_the_same_alone_and_in_a_batch(simulator: Simulator) -> None:
    tokenizer = fresh_tokenizer().eval()
    latents = torch.from_numpy(latents_of(simulator, random_states(simulator, 3, 1)))
    together = tokenizer.decode(latents)
    for k in range(3):
        alone = tokenizer.decode(latents[k : k + 1])[0]
        assert (together[k].int() - alone.int()).abs().max() <= 1  # a sum in another order may round otherwise


@torch.inference_mode()
def test_lean_lamp_speed_and_rival_are_drawn_and_nothing_else_moves_with_them(simulator: Simulator) -> None:
    tokenizer = fresh_tokenizer().eval()
    states = replace(simulator.reset([3], weather=0, time=0), speed=np.array([1.0]))
    base = torch.from_numpy(latents_of(simulator, states))
    left, top, wide, high = GAUGE_PX

    def changed(at: int, to: float) -> torch.Tensor:
        other = base.clone()
        other[0, at] = to
        return (tokenizer.draw(other) - tokenizer.draw(base)).abs().sum(-1)[0] > 1e-4

    assert not changed(8, 0.5).any()  # the slip shows only in where the car goes
    lean = changed(LEAN, 0.7)
    assert lean.any()
    assert not lean[:HORIZON_PX].any()
    with torch.no_grad():
        tokenizer.gauge[1, ..., :3] = 1
    speed = changed(7, 2.0)
    speed[top : top + high, left : left + wide] = False
    assert not speed.any()


def test_what_is_learned_reaches_every_part(simulator: Simulator) -> None:
    tokenizer = fresh_tokenizer()
    latents = torch.from_numpy(latents_of(simulator, random_states(simulator, 2, 1)))
    loss = (
        tokenizer.draw(latents).square().mean() + tokenizer.read(torch.rand(1, 3, HEIGHT_PX, WIDTH_PX)).square().mean()
    )
    loss.backward()
    silent = [name for name, p in tokenizer.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


# --- measures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turn_px", [-6, 0, 3, 9])
def test_the_skyline_shift_is_read_from_pictures(simulator: Simulator, renderer: Renderer, turn_px: int) -> None:
    states = simulator.reset([8], weather=0, time=0)
    turned = replace(states, heading=states.heading + turn_px / FOCAL_PX)
    assert skyline_shift_px(renderer.draw(states), renderer.draw(turned)) == pytest.approx(turn_px, abs=1.0)


def test_a_place_is_more_like_itself_than_like_another(simulator: Simulator, renderer: Renderer) -> None:
    track, n = simulator.track, len(simulator.track.line)
    start = simulator.reset([1], weather=0, time=0)

    def at(index: int, side_m: float) -> np.ndarray:
        angle = track.tangent[index]
        x = track.line[index, 0] - np.sin(angle) * side_m
        y = track.line[index, 1] + np.cos(angle) * side_m
        return renderer.draw(replace(start, x=np.array([x]), y=np.array([y]), heading=np.array([angle])))

    places = [n * k // 8 for k in range(8)]
    first = [at(place, 0.0) for place in places]
    for k, place in enumerate(places):
        likeness = [_alike(at(place, 1.0), frame) for frame in first]
        assert int(np.argmax(likeness)) == k
