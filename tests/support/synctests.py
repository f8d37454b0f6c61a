"""SyncTests for tests: busy runs of small worlds, and one fault at a time put into the second playing of one tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from nextframe.controllers.bots import make_bot
from nextframe.runtime.core import Action, ManualClock, Snapshot, TickPlan, TickResult, World
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.runtime.timeline.synctest import Actions, Mismatch, SyncTestResult, busy_actions, mixed_plans, synctest
from nextframe.worlds.toy.world import Latent, ToyWorld

WHEN = 13
"""The tick at which faults are put in: between prompts and resets, so that only the fault can show."""
DEPTH = 4


def toy() -> ToyWorld:
    return ToyWorld(ManualClock())


@lru_cache(maxsize=1)
def circuit() -> World:
    """Loaded once: every SyncTest begins with a reset."""
    return load_world(find_world("circuit"), ManualClock())


def run(
    world: Any, *, depth: int = DEPTH, ticks: int = 24, stride: int = 1, seed: int = 1, actions: Actions | None = None
) -> SyncTestResult:
    """With prompts, resets and every rung, whatever the world."""
    busy = busy_actions(make_bot("wander", world.info.actions, seed).poll, world.info.actions, seed)
    plans = mixed_plans(world.info.ladder, seed)
    return synctest(world, actions or busy, depth=depth, ticks=ticks, plans=plans, seed=seed, stride=stride)


def mismatch_of(world: Any, **options: Any) -> Mismatch:
    mismatch = run(world, **options).mismatch
    assert mismatch is not None, "the fault was not noticed"
    return mismatch


def paths(mismatch: Mismatch) -> list[str]:
    return [part.path for part in mismatch.parts]


# --- faults --------------------------------------------------------------------------------------------------------

Fault = Callable[[Any, Action, TickPlan], tuple[Action, TickPlan]]


class Tampered:
    """A world in which `fault` happens when tick `WHEN` is played for the second time."""

    def __init__(self, world: Any, fault: Fault) -> None:
        self.inner, self.fault = world, fault
        self.at = 0
        self.played_before = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def snapshot(self) -> Snapshot:
        return {**self.inner.snapshot(), "at": self.at}

    def restore(self, snapshot: Snapshot) -> None:
        parts: dict[str, Any] = dict(snapshot)
        self.at = parts.pop("at")
        self.inner.restore(parts)

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        if self.at == WHEN and self.played_before:
            action, plan = self.fault(self.inner, action, plan)
        self.played_before |= self.at == WHEN
        self.at += 1
        result: TickResult = self.inner.advance(action, plan)
        return result


def nudge_a_weight(world: Any, by: float = 1e-5) -> None:
    """One weight of the first layer's keys, larger by this share; 0 is the smallest step there is."""
    weight = world.generator.dynamics.blocks[0].qkv.weight
    row = weight.shape[0] // 2
    column = int(weight[row].abs().argmax())
    old = weight[row, column].clone()
    weight[row, column] = old * (1 + by) if by else torch.nextafter(old, torch.tensor(torch.inf))
    assert weight[row, column] != old


def another_weight(world: Any, action: Action, plan: TickPlan) -> tuple[Action, TickPlan]:
    nudge_a_weight(world)
    return action, plan


def another_action(world: Any, action: Action, plan: TickPlan) -> tuple[Action, TickPlan]:
    axes = {**action.axes, "steer": action.axes.get("steer", 0) + 1}
    return replace(action, axes=axes), plan


def another_rung(world: Any, action: Action, plan: TickPlan) -> tuple[Action, TickPlan]:
    return action, replace(plan, denoise_steps=1 if plan.denoise_steps > 1 else 2)


def another_noise(world: Any, action: Action, plan: TickPlan) -> tuple[Action, TickPlan]:
    """Only the noise is that of the next tick; the counter itself is left as it was."""
    if isinstance(world, ToyWorld):
        noise = world._noise

        def once(step: int) -> Latent:
            world._tick += 1
            drawn = noise(step)
            world._tick -= 1
            return drawn

        world._noise = once  # type: ignore[method-assign]
        return action, plan
    start = world.generator.start

    def start_once(condition: Tensor, seed: int, steps: int) -> Any:
        world.generator.tick += 1
        job = start(condition, seed, steps)
        world.generator.tick -= 1
        return job

    world.generator.start = start_once
    return action, plan
