"""Claims about a checkpoint that becomes a folder that plays."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from nextframe.runtime.core import Action, ManualClock, TickPlan, WeightsError
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.tools.train.pixels.learn import LearnConfig, Learner
from nextframe.worlds.racer.world import NETWORK, SEEDS, network_config
from tests.support.images import random_unet

INSTALLED = find_spec("gymnasium") is not None and find_spec("Box2D") is not None
pytestmark = pytest.mark.skipif(not INSTALLED, reason="needs the extra 'train'")

if INSTALLED:
    with warnings.catch_warnings():  # of its SWIG types, which as errors would end the process
        warnings.simplefilter("ignore", DeprecationWarning)
        import Box2D  # noqa: F401
    from nextframe.worlds.racer.recipe import data, export


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of random weights, by the way a trained one is made."""
    root = tmp_path_factory.mktemp("racer")
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (data, "SHARD_FRAMES", 60), (data, "EPISODE_TICKS", (30, 31)), (export, "MIN_SPEED_M_S", 0.0),
            (export, "CLIPS", 2),
        ):  # fmt: skip
            patch.setattr(module, name, value)
        np.savez(root / "held-1000-000.npz", **data.make_shard(1000, 0)[0])
        learner = Learner(random_unet(network_config()), LearnConfig(), dtype=torch.float32, seed=0)
        torch.save(learner.state(), root / "checkpoint.pt")
        export.export(root / "checkpoint.pt", root, root / "world")
    return root / "world"


def test_the_folder_plays_and_plays_the_same_again(folder: Path) -> None:
    def played() -> list[bytes]:
        world = load_world(find_world(str(folder)), ManualClock())
        world.reset(1)
        frames = []
        for steps in (1, 4, 2):
            result = world.advance(Action(axes={"steer": 60, "throttle": 127}), TickPlan(steps, 0))
            frames.append(result.frames[0].tobytes())
            result.commit()
        world.close()
        return frames

    assert played() == played()


def test_weights_that_are_missing_or_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("world.yaml", NETWORK, SEEDS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / SEEDS).write_bytes((folder / NETWORK).read_bytes())
    with pytest.raises(WeightsError, match=r"seeds\.safetensors: expected frames"):
        load_world(find_world(str(tmp_path)), ManualClock())
    (tmp_path / NETWORK).unlink()
    with pytest.raises(WeightsError, match="no such file"):
        load_world(find_world(str(tmp_path)), ManualClock())
