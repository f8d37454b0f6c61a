"""A Gymnasium action space as named buttons and axes, and back.

Owns names, quantisation and the order of the numbers that the network is told: axes, then buttons (the order of
`nextframe.worlds.neural.world`). Knows gymnasium only by the names of its spaces, so the package is not needed to read
a data set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....controllers.bindings import load_bindings
from ....runtime.core import AXIS_LEVELS, ActionSpace, NextframeError, quantise_axis

MAX_CONTROLS = 64
UNBOUNDED = 1e6
"""Bounds from here on mean that there is none: the largest float, or the largest whole number, of a kind."""
REST_WORDS = ("noop", "no_op", "none", "nothing", "idle", "stay", "still")
KNOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "CarRacing": ("steer", "throttle", "brake"),
    "CarRacing/discrete": ("noop", "right", "left", "throttle", "brake"),
    "CartPole": ("left", "right"),
    "MountainCar": ("left", "noop", "right"),
    "LunarLander": ("noop", "left_engine", "main_engine", "right_engine"),
    "Acrobot": ("back", "noop", "forward"),
    "Pendulum": ("torque",),
    "MountainCarContinuous": ("push",),
    "BipedalWalker": ("hip_1", "knee_1", "hip_2", "knee_2"),
    "MiniGrid": ("left", "right", "forward", "pick_up", "drop", "toggle", "noop"),
}


@dataclass(frozen=True)
class Controls:
    """`kind`: discrete, box or binary. `options`: for discrete, the names of each group's choices, all of them.

    `rest`: for discrete, which choice of each group no button means. `low`, `high`: of each axis, for box.
    `shape`: of the environment's action. `starts`: of a discrete space's numbering. `dtype`: of the numbers of a box;
    whole ones are rounded.
    """

    kind: str
    space: ActionSpace
    options: tuple[tuple[str, ...], ...] = ()
    rest: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    dtype: str = "float32"
    descriptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def condition_dim(self) -> int:
        return len(self.space.axes) + len(self.space.buttons) + sum(map(len, self.space.prompts.values()))

    @property
    def exclusive(self) -> tuple[tuple[str, ...], ...]:
        """Groups of buttons of which one at a time counts."""
        groups = (tuple(n for i, n in enumerate(g) if i != r) for g, r in zip(self.options, self.rest, strict=True))
        return tuple(group for group in groups if len(group) > 1)

    def condition(self, action: Any) -> NDArray[np.float32]:
        """What the network is told of an environment's action, `(condition_dim,)`; an axis is quantised once."""
        if self.kind == "box":
            values = np.asarray(action, np.float64).reshape(-1)
            pairs = zip(values, self.low, self.high, strict=True)
            return np.array([quantise_axis(_to_axis(*pair)) / AXIS_LEVELS for pair in pairs], np.float32)
        if self.kind == "binary":
            return np.asarray(action, np.float32).reshape(-1)
        numbers = np.asarray(action).reshape(-1) - self.starts
        groups = zip(numbers, self.options, self.rest, strict=True)
        return np.array([float(i == n) for n, g, r in groups for i in range(len(g)) if i != r], np.float32)

    def environment_action(self, condition: NDArray[np.float32]) -> Any:
        """The environment's action that a condition stands for."""
        if self.kind == "box":
            pairs = zip(condition.tolist(), self.low, self.high, strict=True)
            return self._as_box(np.array([_from_axis(*pair) for pair in pairs]))
        if self.kind == "binary":
            return (condition > 0.5).astype(np.int8).reshape(self.shape)
        numbers: list[int] = []
        at = 0
        for group, rest, start in zip(self.options, self.rest, self.starts, strict=True):
            others = [index for index in range(len(group)) if index != rest]
            held = np.flatnonzero(condition[at : at + len(others)] > 0.5)
            numbers.append((others[int(held[0])] if len(held) else rest) + start)
            at += len(others)
        return np.array(numbers, np.int64).reshape(self.shape) if self.shape else numbers[0]

    def possible(self, condition: NDArray[np.float32]) -> NDArray[np.float32]:
        """The nearest condition that an action of the environment stands for: a whole-numbered axis has few."""
        return self.condition(self.environment_action(condition))

    def _as_box(self, values: NDArray[np.float64]) -> NDArray[Any]:
        """As the space holds them; a rounding may not carry one outside."""
        dtype = np.dtype(self.dtype)
        whole = np.rint(values) if np.issubdtype(dtype, np.integer) else values
        bounds = (np.array(part, dtype) for part in (self.low, self.high))
        return np.clip(whole.astype(dtype), *bounds).reshape(self.shape)


def one_sided(low: float, high: float) -> bool:
    return low >= 0 or high <= 0


def _to_axis(value: float, low: float, high: float) -> float:
    """Zero stays zero where the range holds it; a range beside zero is spread over -1..1."""
    if low <= 0 <= high:
        bound = high if value > 0 else -low
        return value / bound if bound else 0.0
    return 2 * (value - low) / (high - low) - 1


def _from_axis(axis: float, low: float, high: float) -> float:
    if low <= 0 <= high:
        return axis * high if axis > 0 else axis * -low
    return low + (axis + 1) / 2 * (high - low)


def controls_of(action_space: Any, env_id: str = "", meanings: Sequence[str] = ()) -> Controls:
    """The controls of a Gymnasium action space. NextframeError for one that has no buttons or axes."""
    kind = type(action_space).__name__
    family = env_id.rpartition(":")[2].rpartition("/")[2].rpartition("-v")[0]
    if kind == "Discrete":
        families = (f"{family}/discrete", family, family.partition("-")[0])
        known = tuple(meanings) or next((KNOWN_NAMES[name] for name in families if name in KNOWN_NAMES), ())
        return _discrete([int(action_space.n)], (), [int(action_space.start)], known)
    if kind == "MultiDiscrete":
        sizes = np.asarray(action_space.nvec)
        starts = np.broadcast_to(np.asarray(getattr(action_space, "start", 0)), sizes.shape).reshape(-1)
        return _discrete([int(n) for n in sizes.reshape(-1)], sizes.shape, [int(s) for s in starts], ())
    if kind == "MultiBinary":
        shape = tuple(np.atleast_1d(action_space.shape).tolist())
        names = unique_names(list(meanings) or [f"button_{i}" for i in range(int(np.prod(shape)))])
        return Controls("binary", ActionSpace(buttons=_few(names)), shape=shape)
    if kind == "Box":
        return _box(action_space, list(meanings) or list(KNOWN_NAMES.get(family, ())))
    raise NextframeError(
        f"{env_id}: expected an action space of Discrete, MultiDiscrete, MultiBinary or Box, got {kind}; wrap the "
        "environment so that its actions are one of these"
    )


def _box(action_space: Any, names: list[str]) -> Controls:
    low, high = (np.asarray(part, np.float64).reshape(-1) for part in (action_space.low, action_space.high))
    if not ((np.abs([low, high]) < UNBOUNDED).all() and (high > low).all()):
        raise NextframeError(
            f"expected finite bounds for every axis of the actions, got {low.tolist()} to {high.tolist()}; "
            "wrap the environment in gymnasium.wrappers.RescaleAction, or leave out an axis that has one value"
        )
    names = names if len(names) == len(low) else [f"axis_{i}" for i in range(len(low))]
    axes = _few(unique_names(names))
    dtype = np.dtype(getattr(action_space, "dtype", None) or np.float32)
    whole = "whole numbers " if np.issubdtype(dtype, np.integer) else ""
    words = {n: f"{whole}{a:g} to {b:g} in the environment" for n, a, b in zip(axes, low, high, strict=True)}
    return Controls(
        "box", ActionSpace(axes=axes), low=tuple(low.tolist()), high=tuple(high.tolist()),
        shape=tuple(action_space.shape), dtype=dtype.name, descriptions=words,
    )  # fmt: skip


def _discrete(sizes: list[int], shape: tuple[int, ...], starts: list[int], known: Sequence[str]) -> Controls:
    single = len(sizes) == 1
    groups: list[tuple[str, ...]] = []
    for at, size in enumerate(sizes):
        plain = [f"action_{i}" if single else f"action_{at}_{i}" for i in range(size)]
        groups.append(unique_names(list(known) if single and len(known) == size else plain))
    rest = tuple(next((i for i, n in enumerate(g) if n in REST_WORDS), 0) for g in groups)
    buttons = unique_names([n for g, r in zip(groups, rest, strict=True) for i, n in enumerate(g) if i != r])
    words = dict.fromkeys(buttons, "")
    return Controls(
        "discrete", ActionSpace(buttons=_few(buttons)), tuple(groups), rest, shape=shape, starts=tuple(starts),
        descriptions=words,
    )  # fmt: skip


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """As a world file allows them: lower case, a letter first, each once."""
    out: list[str] = []
    for name in names:
        clean = re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_") or "control"
        clean = (clean if clean[0].isalpha() else f"n_{clean}")[:56]
        again = 2
        while (shown := clean if again == 2 else f"{clean}_{again - 1}") in out:
            again += 1
        out.append(shown)
    return tuple(out)


def _few(names: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(names) <= MAX_CONTROLS:
        raise NextframeError(f"expected 1 to {MAX_CONTROLS} controls, got {len(names)}")
    return names


# --- keys ---------------------------------------------------------------------------------------------------------

WORD_KEYS = {"left": "left", "right": "right", "up": "up", "down": "down", "noop": "q", "forward": "up", "back": "down",
             "left_engine": "left", "right_engine": "right", "main_engine": "up", "toggle": "space", "pick_up": "x",
             "drop": "c"}  # fmt: skip
AXIS_KEYS = (("left", "right"), ("down", "up"), ("a", "d"), ("s", "w"), ("j", "l"), ("k", "i"))
BUTTON_KEYS = ("left", "right", "up", "down", "space", "z", "x", "c", "v", "a", "d", "w", "s", "q", "e", "f", "g", "i",
               "j", "k", "l", "m", "n", "o", "u", "y", "1", "2", "3", "4", "5", "6", "7", "8", "9", "0")  # fmt: skip


def keys_of(controls: Controls) -> list[tuple[str, str, float]]:
    """Keys for controls that have no usual ones: (control, key, scale). Controls beyond the keyboard get none."""
    usual = load_bindings(controls.space)
    used = (*(binding.control for binding in usual.bindings), *usual.prompts, *usual.commands)
    taken = {control.removeprefix("key:") for control in used}
    bound = {binding.action for binding in usual.bindings}
    out: list[tuple[str, str, float]] = []
    for axis in controls.space.axes:
        pair = next((pair for pair in AXIS_KEYS if not taken & set(pair)), None)
        if axis in bound or pair is None:
            continue
        taken |= set(pair)
        out += [(axis, pair[0], -1.0), (axis, pair[1], 1.0)]
    free = [name for name in controls.space.buttons if name not in bound]
    for name in sorted(free, key=lambda name: name not in WORD_KEYS):
        wanted = WORD_KEYS.get(name, "")
        key = wanted if wanted and wanted not in taken else next((k for k in BUTTON_KEYS if k not in taken), None)
        if key is not None:
            taken.add(key)
            out.append((name, key, 1.0))
    return out
