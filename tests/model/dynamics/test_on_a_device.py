"""Every shipped world on a device that is not the processor, emulated: nothing is mixed, the pictures are the same."""

from __future__ import annotations

from contextlib import nullcontext
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from nextframe.runtime.core import Action, ManualClock, TickPlan
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.worlds.neural.world import NeuralWorld
from tests.support.worlds.elsewhere import THERE, Elsewhere, MixedError, back, elsewhere, moved

STEPS = (1, 4, 2)


def neural_world(name: str, monkeypatch: pytest.MonkeyPatch, *, there: bool) -> NeuralWorld:
    """As the registry loads it, with its networks elsewhere."""
    module: Any = import_module(f"nextframe.worlds.{name}.world")
    load = module.load_networks
    if there:
        monkeypatch.setattr(module, "load_networks", lambda *given: tuple(moved(net) for net in load(*given)))
    world = load_world(find_world(name), ManualClock())
    monkeypatch.undo()
    assert isinstance(world, NeuralWorld)
    return world


def session(world: NeuralWorld) -> tuple[list[np.ndarray], list[int]]:
    """Frames and checksums of some ticks, back to a snapshot, and the same ticks again."""
    frames, sums = [world.reset(1)], []
    actions = [Action(axes={axis: 100}) for axis in world.info.actions.axes]
    actions += [Action(frozenset({button})) for button in world.info.actions.buttons]
    start = world.snapshot()
    for _ in range(2):
        world.restore(start)
        for tick, action in enumerate(actions):
            result = world.advance(action, TickPlan(STEPS[tick % len(STEPS)], 0))
            frames.append(result.frames[-1])
            result.commit()
        sums.append(world.checksum())
    return frames, sums


@pytest.mark.parametrize("name", ["circuit", "drive", "freedoom"])
def test_a_session_elsewhere_mixes_nothing_and_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_world(name).kind.on_gpu
    played = []
    for there in (False, True):
        with elsewhere() if there else nullcontext():
            world = neural_world(name, monkeypatch, there=there)
            assert world.generator.device == (THERE if there else torch.device("cpu"))
            played.append(session(world))
    (frames, sums), (frames_there, sums_there) = played
    # Elsewhere, torch takes its operations apart in another way, so a sum may be rounded otherwise.
    off = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(frames, frames_there, strict=True))
    assert off <= 1
    assert sums[0] == sums[1]
    assert sums_there[0] == sums_there[1], "the same ticks from the same snapshot"


def test_a_tensor_that_was_left_behind_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere():
        world = neural_world("freedoom", monkeypatch, there=True)
        world.generator.last = back(world.generator.last)
        with pytest.raises(MixedError, match="from the processor"):
            world.advance(Action(), TickPlan(1, 0))


def test_what_is_elsewhere_is_no_array_and_becomes_one_by_copying() -> None:
    with elsewhere():
        there = torch.ones(3).to(THERE)
        assert isinstance(there, Elsewhere)
        assert isinstance(torch.zeros(2, device=THERE), Elsewhere)
        with pytest.raises(MixedError):
            there + torch.ones(3)
        with pytest.raises((TypeError, RuntimeError)):
            there.numpy()
        assert (2 * there).cpu().tolist() == [2, 2, 2]
