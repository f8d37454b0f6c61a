"""What must hold on a GPU before its numbers mean anything. The same checks run on the CPU, so that they can fail here.

The checks themselves are in `tools/lab/gpu/steps/checks.py`, where they also run without pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nextframe.model.base import rng
from nextframe.model.generator.graphs import GraphedGenerator
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.tools.lab.gpu import sessions
from nextframe.tools.lab.gpu.large.generator import LargeGenerator
from nextframe.tools.lab.gpu.precision import EightBitLinear
from nextframe.tools.lab.gpu.steps import checks
from nextframe.tools.lab.gpu.steps.checks import CHECKS

Check = Callable[[torch.device], None]


def by_name(check: Check) -> str:
    return check.__name__


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("check", CHECKS, ids=by_name)
def test_on_a_gpu(check: Check) -> None:
    check(torch.device("cuda"))


@pytest.mark.parametrize("check", CHECKS, ids=by_name)
def test_on_the_cpu(check: Check) -> None:
    check(torch.device("cpu"))


# --- each check can fail ------------------------------------------------------------------------------------------


NORMAL = rng.normal


def other_noise(shape: tuple[int, ...], *, device: Any = "cpu", **address: Any) -> Tensor:
    """Wrong on purpose: off by a little on the device, which the check names by more than a word."""
    noise = NORMAL(shape, **address)
    return noise if device == "cpu" else noise * (1 + 2**-22)


class StaleCondition(GraphedGenerator):
    """Wrong on purpose: what is captured never sees a new condition."""

    def _begin(self) -> None:
        self._room.condition.zero_()
        super()._begin()


class ForgetsOnRestore(RollingGenerator):
    """Wrong on purpose: a snapshot does not bring back the last latent."""

    def restore(self, snapshot: dict[str, Any]) -> None:
        last = self.last
        super().restore(snapshot)
        self.last = last


class CommitsTwice(LargeGenerator):
    """Wrong on purpose: a merged commit writes to the slot of another frame."""

    def _slot_of(self, frame: int) -> int:
        return super()._slot_of(frame + (self.kind.commit == "merged"))


def test_noise_that_differs_in_the_last_bit_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rng, "normal", other_noise)
    with pytest.raises(AssertionError, match="noise of"):
        checks.noise_is_the_same_bytes(torch.device("cpu:0"))


def test_a_capture_that_misses_an_input_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "GraphedGenerator", StaleCondition)
    with pytest.raises(AssertionError, match="captured tick"):
        checks.a_captured_tick_is_the_eager_one(torch.device("cpu"))


def test_a_restore_that_forgets_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "RollingGenerator", ForgetsOnRestore)
    with pytest.raises(AssertionError, match="snapshot"):
        checks.a_session_moves_between_host_and_device(torch.device("cpu"))


def test_a_world_that_plays_otherwise_on_the_device_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    played, calls = checks.played, iter(range(2))

    def later(name: str, device: torch.device) -> list[Tensor]:
        shift = next(calls)
        return [picture.roll(shift, 1) for picture in played(name, device)]

    monkeypatch.setattr(checks, "played", later)
    with pytest.raises(AssertionError, match="is another one on cpu"):
        checks.every_shipped_world_plays(torch.device("cpu"))


def test_a_merged_commit_in_the_wrong_slot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "LargeGenerator", CommitsTwice)
    with pytest.raises(AssertionError, match="remembers other keys"):
        checks.large_ways_to_remember_agree(torch.device("cpu"))


def test_eight_bit_weights_of_the_wrong_scale_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shrunk(EightBitLinear):
        def __init__(self, linear: torch.nn.Linear) -> None:
            super().__init__(linear)
            self.scale *= 0.9

    monkeypatch.setattr(checks, "EightBitLinear", Shrunk)
    with pytest.raises(AssertionError, match="off by"):
        checks.eight_bits_are_near(torch.device("cpu"))


def scaled_product(columns: int) -> torch.Size:
    """Of an eight-bit layer that asks for the product a GPU has; without numbers, but with all its checks."""
    layer = EightBitLinear(torch.nn.Linear(256, 128).to(torch.bfloat16)).to("meta")
    layer._has_product = True
    layer.scale = layer.scale[:columns]
    return layer(torch.empty(2, 78, 256, dtype=torch.bfloat16, device="meta")).shape


def test_a_gpu_is_asked_for_a_scaled_product_that_it_accepts() -> None:
    assert scaled_product(128) == (2, 78, 128)
    with pytest.raises(RuntimeError, match="scal"):
        scaled_product(64)
