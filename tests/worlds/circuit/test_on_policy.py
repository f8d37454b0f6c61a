"""The network's own episodes: the teacher answers to what the world shows, and walls that do not hold are counted."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.tokenizers.scenes.still import POSITION_SCALE_PX
from nextframe.worlds.circuit.recipe.clips import CLIP_TICKS, Dreams, Latents
from nextframe.worlds.circuit.recipe.on_policy import (
    PUSH_PX,
    Careless,
    depth_px,
    gently,
    make,
    seen,
)
from nextframe.worlds.circuit.teacher.simulator import State
from nextframe.worlds.circuit.teacher.track import HEIGHT_PX, WALL_PX, WIDTH_PX
from nextframe.worlds.recipe.clips import Clips, OwnEpisodes, last_replaced
from tests.support.networks import shipped_dynamics, shipped_tokenizer, simulator

ROWS, TICKS = 6, CLIP_TICKS + 4


@lru_cache(maxsize=1)
def own() -> OwnEpisodes:
    generator = RollingGenerator(shipped_tokenizer(), shipped_dynamics(), rows=ROWS)
    return make(generator, Latents(generator.tokenizer).of, simulator(), 3, TICKS)


def beside_the_road(side_px: float) -> State:
    state, track = simulator().reset(5), simulator().track
    index = track.locate(state.player.x, state.player.y)[0]
    angle = float(track.tangent[index])
    x = float(track.line[index, 0] - math.sin(angle) * side_px)
    y = float(track.line[index, 1] + math.cos(angle) * side_px)
    return replace(state, player=replace(state.player, x=x, y=y, vx=0.0, vy=0.0))


def places(latents: torch.Tensor) -> torch.Tensor:
    """The player's middle in pixels, NaN while hidden, `(..., 2)`."""
    slot = latents[..., 12:18]
    middle = slot[..., :2] * POSITION_SCALE_PX + torch.tensor([WIDTH_PX / 2, HEIGHT_PX / 2])
    return torch.where(slot[..., 4:5] > 0, middle, torch.nan)


def test_a_careless_driver_is_a_function_of_its_seed() -> None:
    state = simulator().reset(1)
    drives = [[Careless(simulator(), seed).controls(state) for _ in range(3)] for seed in (4, 4, 5)]
    assert drives[0] == drives[1]
    assert drives[0] != drives[2]


def test_depth_is_zero_at_the_wall_and_grows_beyond_it() -> None:
    assert depth_px(simulator(), beside_the_road(0.0)) < -WALL_PX + 1
    assert abs(depth_px(simulator(), beside_the_road(WALL_PX))) < 1
    assert abs(depth_px(simulator(), beside_the_road(WALL_PX + 6)) - 6) < 1


def test_a_car_thrown_out_of_a_wall_comes_back_in_steps_that_can_be_followed() -> None:
    state = beside_the_road(WALL_PX + 20)
    shadow = simulator().step(state, Careless(simulator(), 0).controls(state))
    jump = math.hypot(shadow.player.x - state.player.x, shadow.player.y - state.player.y)
    assert jump > PUSH_PX  # the teacher alone does it at once
    soft = gently(state, shadow)
    assert math.hypot(soft.player.x - state.player.x, soft.player.y - state.player.y) <= PUSH_PX + 1e-6
    assert depth_px(simulator(), soft) < depth_px(simulator(), state)
    near = simulator().step(simulator().reset(2), Careless(simulator(), 0).controls(state))
    assert gently(simulator().reset(2), near) == near


def test_the_teacher_goes_on_from_where_the_world_shows_the_cars() -> None:
    shadow = simulator().reset(3)
    latents = Latents(shipped_tokenizer())
    elsewhere = latents.of([simulator().reset(8)])[0]
    state = seen(simulator(), shadow, elsewhere, elsewhere)
    shown = simulator().reset(8)
    for car, true in ((state.player, shown.player), (state.rival, shown.rival)):
        assert math.hypot(car.x - true.x, car.y - true.y) < 0.01
    assert state.weather == shadow.weather
    on_line = simulator().track.line[int(state.rival_index)]
    assert math.hypot(on_line[0] - shown.rival.x, on_line[1] - shown.rival.y) < WALL_PX
    hidden = elsewhere.clone()
    hidden[..., [16, 22]] = -1.0
    assert seen(simulator(), shadow, hidden, hidden) == shadow


def test_targets_are_one_tick_from_the_histories_and_lead_out_of_walls() -> None:
    episodes = own()
    assert episodes.histories.shape == episodes.targets.shape == (ROWS, TICKS, 24)
    moved = (places(episodes.targets)[:, 1:] - places(episodes.histories)[:, :-1]).norm(dim=-1)
    assert float(moved.nan_to_num(0.0).max()) <= PUSH_PX + 0.01
    deep = episodes.astray[:, :-1] > 3
    assert deep.any(), "some of the starts are off the road"
    line = torch.from_numpy(simulator().track.line)
    after = places(episodes.targets)[:, 1:].double()
    distance = torch.stack([torch.cdist(row, line).min(1).values for row in after]) - WALL_PX
    assert float((distance < episodes.astray[:, :-1])[deep].float().mean()) > 0.95


def test_a_part_of_the_batch_is_the_networks_own() -> None:
    zeros = torch.zeros(6, CLIP_TICKS, 24)
    teacher = Clips(zeros, zeros, torch.zeros(6, CLIP_TICKS, 11), torch.zeros(6, dtype=torch.bool))
    mixed = last_replaced(teacher, own(), 1 / 3)
    assert mixed.dreamt.tolist() == [False] * 4 + [True] * 2
    assert torch.all(mixed.targets[:4] == 0)
    for row in (4, 5):
        pairs = [
            torch.equal(mixed.targets[row], own().targets[e, k : k + CLIP_TICKS])
            and torch.equal(mixed.histories[row], own().histories[e, k : k + CLIP_TICKS])
            and torch.equal(mixed.conditions[row], own().conditions[e, k : k + CLIP_TICKS])
            for e in range(ROWS)
            for k in range(TICKS - CLIP_TICKS + 1)
        ]
        assert sum(pairs) == 1


def test_the_pool_is_filled_at_once_and_refreshed_as_training_goes_on() -> None:
    dreams = Dreams(shipped_tokenizer(), shipped_dynamics())
    dreams.ROWS, dreams.TICKS, dreams.SETTLE_TICKS = 2, CLIP_TICKS + 1, 1
    first = dreams.at(100.0)
    assert [len(own.targets) for own in first] == [2, 2]
    assert dreams.at(100.0 + dreams.FRESH_S / 2) is first
    assert len(dreams.at(100.0 + dreams.FRESH_S)) == 3


def test_the_shipped_car_stays_within_walls_when_the_driver_does_not_look() -> None:
    generator = RollingGenerator(shipped_tokenizer(), shipped_dynamics(), rows=12)
    episodes = make(generator, Latents(generator.tokenizer).of, simulator(), 900, 120, off_road=False)
    assert float((episodes.astray > 2).float().mean()) < 0.02
    assert np.isfinite(episodes.astray.numpy()).all()
