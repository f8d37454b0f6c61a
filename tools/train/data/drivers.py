"""Players to learn from, as examples for `--policy MODULE:FUNCTION`. A random player seldom leaves the start of a race.

A policy is a function of (observation, rng) that returns the environment's action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY_LEVELS = 25
"""Road is where the three colours of a pixel are so close to each other."""


def car_racing(observation: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """Follow the road of CarRacing (continuous actions, 96x96 observations), not too fast, with an unsteady hand."""
    view = observation.astype(np.int16)
    road = np.ptp(view, axis=2) < GREY_LEVELS
    road &= view[..., 0] > 40  # beyond the field all is black
    seen = [(share, np.flatnonzero(road[row])) for share, row in ((0.5, 60), (0.3, 50), (0.2, 40))]
    aims = [(share, float(columns.mean()) - 47.5) for share, columns in seen if len(columns)]
    if not aims:  # lost: round in a small circle until there is a road again
        return np.array([0.7, 0.2, 0.0], np.float32)
    aim = sum(share * offset for share, offset in aims) / sum(share for share, _ in aims)
    speed_px = int((view[84:94, 13].min(axis=-1) > 200).sum())
    steer = np.clip(aim / 14 + rng.normal(0, 0.2), -1, 1)
    throttle = 0.0 if speed_px > 1 or abs(steer) > 0.8 else rng.choice([0.2, 0.5, 1.0])
    brake = 0.3 if speed_px > 2 and abs(steer) > 0.4 else 0.0
    return np.array([steer, throttle, brake], np.float32)


WALL, DOOR, KEY, GOAL = 2, 4, 5, 8
"""Kinds of things in MiniGrid's own picture of what its agent sees."""
LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, REST = range(7)


def minigrid(observation: Mapping[str, Any], rng: np.random.Generator) -> int:
    """Wander through a MiniGrid room and use what lies ahead: keys, doors, seldom the goal, which ends the episode."""
    view = np.asarray(observation["image"])  # (column, row, kind-colour-state), the agent below the middle, looking up
    middle, bottom = view.shape[0] // 2, view.shape[1] - 1
    ahead, state = int(view[middle, bottom - 1, 0]), int(view[middle, bottom - 1, 2])
    carries = int(view[middle, bottom, 0]) == KEY
    drawn = float(rng.random())
    if ahead == KEY and not carries and drawn < 0.6:
        return PICK_UP
    if ahead == DOOR and drawn < 0.75:
        locked_out = state == 2 and not carries
        return TOGGLE if state != 0 and (not locked_out or drawn < 0.2) else FORWARD
    if drawn < {WALL: 0.85, KEY: 0.85, DOOR: 0.85, GOAL: 0.4}.get(ahead, 0.0):
        return int(rng.choice([LEFT, RIGHT]))
    if drawn < 0.7:
        return FORWARD
    choices = (LEFT, RIGHT, FORWARD, PICK_UP, DROP, TOGGLE, REST)
    return int(rng.choice(choices, p=(0.3, 0.3, 0.1, 0.05, 0.05, 0.05, 0.15)))


OUTSIDE, WATER, GRASS, STONE, PATH, SAND, TREE, COAL, IRON, TABLE = 0, 1, 2, 3, 4, 5, 6, 8, 9, 11
"""Kinds of tiles in `nextframe.tools.train.data.crafter`."""
STEPS = {(-1, 0): 1, (1, 0): 2, (0, -1): 3, (0, 1): 4}
USE, PUT_STONE, PUT_TABLE, PUT_PLANT, MAKE_PICKAXE, MAKE_STONE_PICKAXE = range(5, 11)
NOOP = 0


def crafter(observation: Mapping[str, Any], rng: np.random.Generator) -> int:
    """Walk about in Crafter and use what lies ahead: cut trees, break stone, build; seldom what cannot work there."""
    around, facing = np.asarray(observation["around"]), tuple(int(v) for v in observation["facing"])
    drawn = float(rng.random())
    if drawn < 0.12:
        return NOOP if drawn < 0.06 else int(rng.integers(11))
    sapling, wood, stone, _, _, pickaxe, _ = (int(count) for count in observation["carried"])
    middle = len(around) // 2
    ahead = int(around[middle + facing[0], middle + facing[1]])
    at_table = bool((around[middle - 1 : middle + 2, middle - 1 : middle + 2] == TABLE).any())
    ground = ahead in {GRASS, PATH, SAND}
    chances = (  # what may be done, where, and up to which number drawn; the first that fits
        (MAKE_PICKAXE, at_table and wood > 0 and pickaxe == 0, 0.6),
        (USE, ahead == TREE, 0.6),
        (USE, ahead in {STONE, COAL}, 0.75 if pickaxe else 0.2),
        (PUT_TABLE, ground and wood > 1, 0.15 if TABLE in around else 0.3),
        (PUT_STONE, ground and stone > 0, 0.2),
        (PUT_PLANT, ahead == GRASS and sapling > 0, 0.18),
        (USE, ahead == GRASS, 0.24),
        (PUT_STONE if stone else USE, ahead == WATER, 0.3),
    )
    found = next((action for action, fits, most in chances if fits and drawn < most), None)
    return _stroll(around, (facing[0], facing[1]), middle, rng) if found is None else found


def _stroll(around: NDArray[Any], facing: tuple[int, int], middle: int, rng: np.random.Generator) -> int:
    """Mostly on, as long as the way is free; else another way, towards a tree or stone in view if there is one."""
    free = {step: int(around[middle + step[0], middle + step[1]]) in {GRASS, PATH, SAND} for step in STEPS}
    if facing in free and free[facing] and rng.random() < 0.8:
        return STEPS[facing]
    aims = np.argwhere(np.isin(around, (TREE, STONE, COAL)))
    if len(aims) and rng.random() < 0.4:
        away = aims[int(rng.integers(len(aims)))] - middle
        axis = int(np.abs(away).argmax())
        step = (int(np.sign(away[0])), 0) if axis == 0 else (0, int(np.sign(away[1])))
        return STEPS.get(step, NOOP)
    ways = [step for step, is_free in free.items() if is_free] or list(STEPS)
    return STEPS[ways[int(rng.integers(len(ways)))]]
