"""A captured tick makes the bits of an eager one; what could not be captured on a GPU is found without one.

`Tape` stands for a CUDA graph on a CPU: it writes down every operation with the tensors it touched and repeats them on
the same tensors, so a number that Python changed, or a tensor that moved, shows as a wrong result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nextframe.model.dynamics.slots import Dynamics
from nextframe.model.generator.graphs import GraphedGenerator, NoGraphs, Recorder, Work
from nextframe.model.generator.protocol import Inputs
from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.tokenizers.scenes.still import SlotTokenizer, TokenizerConfig
from nextframe.tools.lab.gpu.large.decoder import LargeDecoder
from nextframe.tools.lab.gpu.large.generator import LargeGenerator, TickKind
from nextframe.tools.lab.gpu.large.net import TINY, LargeConfig, LargeNet
from tests.support.networks import SMALL, finished, random_dynamics, random_generator, random_past, random_tokenizer

TICKS = 12


class Tape(TorchDispatchMode):
    """Records one run of operations. A constant copied from the host is refused, as a capture refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "lift_fresh" in str(func):
            raise RuntimeError("a constant comes from the host while work is captured")
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    @torch.inference_mode()
    def play(self) -> None:
        for func, args, kwargs, out in self.calls:
            held = {
                part.untyped_storage().data_ptr() for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)
            }
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage().data_ptr() not in held:
                    old.copy_(new)


class Tapes:
    """A `Recorder` by tape. `captures`: how many."""

    def __init__(self) -> None:
        self.captures = 0

    def capture(self, work: Work) -> Work:
        work()
        self.captures += 1
        with (tape := Tape()):
            work()
        return tape.play


def graphed(recorder: Recorder, rows: int = 1, window: int | None = None) -> GraphedGenerator:
    return GraphedGenerator(random_tokenizer(), random_dynamics(), recorder, rows=rows, window=window)


def session(generator: RollingGenerator, ticks: int = TICKS) -> tuple[Tensor, Tensor, int]:
    """Latents `(ticks, rows, latent_dim)` and frames of a session with 1, 2 or 4 steps a tick, and its checksum."""
    rows = len(generator.last)
    latents, conditions = random_past(ticks + 3, rows)
    generator.prefill(latents[:, :3], conditions[:, :3])
    made, frames = [], []
    for tick in range(ticks):
        condition = conditions[:, tick + 3].clone()
        latent = finished(generator.start(condition, 5, (1, 2, 4)[tick % 3]))
        frames.append(generator.decode(latent))
        generator.commit(latent, condition)
        made.append(latent)
    return torch.stack(made), torch.stack(frames), generator.checksum()


@pytest.mark.parametrize("window", [None, 1])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("recorder", [NoGraphs, Tapes])
@pytest.mark.bitexact
def test_a_captured_tick_makes_the_bits_of_an_eager_one(recorder: type, rows: int, window: int | None) -> None:
    eager = session(random_generator(rows=rows, window=window, fixed_shape=True))
    captured = session(graphed(recorder(), rows, window))
    for expected, got in zip(eager[:2], captured[:2], strict=True):
        assert torch.equal(expected, got)
    assert eager[2] == captured[2]


def test_each_piece_of_a_tick_is_captured_once() -> None:
    tapes = Tapes()
    session(graphed(tapes))
    assert tapes.captures == 3 + len(SMALL.taus), "begin, decode and commit, and each denoise step"


def test_a_job_may_be_dropped_and_the_tick_made_again() -> None:
    eager, captured = random_generator(fixed_shape=True), graphed(Tapes())
    latents, conditions = random_past(6)
    for generator in (eager, captured):
        generator.prefill(latents[:, :3], conditions[:, :3])
    dropped = captured.start(conditions[:, 4], 5, 4)
    dropped.step()
    expected, got = (finished(generator.start(conditions[:, 3], 5, 4)) for generator in (eager, captured))
    assert torch.equal(expected, got)
    with pytest.raises(AssertionError, match="a job of a tick that is over"):
        dropped.step()


def test_a_captured_session_goes_on_from_a_snapshot_of_an_eager_one() -> None:
    eager, captured = random_generator(fixed_shape=True), graphed(Tapes())
    session(eager)
    session(captured, ticks=5)
    captured.restore(eager.snapshot())
    condition = random_past(1)[1][:, 0]
    assert captured.checksum() == eager.checksum()
    for generator in (eager, captured):
        generator.commit(finished(generator.start(condition, 9, 2)), condition)
    assert captured.checksum() == eager.checksum()


class CountsInPython(GraphedGenerator):
    """Wrong on purpose: what a step does depends on a number that a capture does not see change."""

    calls = 0

    def _step(self, step: int) -> None:
        self.calls += 1
        super()._step(step)
        self._room.estimate.mul_(1 + 0.001 * self.calls)


class MovesTheMemory(GraphedGenerator):
    """Wrong on purpose: the memory's numbers are read into new tensors."""

    def commit(self, latent: Tensor, condition: Tensor) -> None:
        super().commit(latent, condition)
        lane = self.memory.lanes[0]
        lane.keys = lane.keys.clone()


@pytest.mark.parametrize("broken", [CountsInPython, MovesTheMemory])
def test_the_tape_notices_work_that_cannot_be_repeated(broken: type[GraphedGenerator]) -> None:
    eagerly, by_tape = (
        session(broken(random_tokenizer(), random_dynamics(), recorder)) for recorder in (NoGraphs(), Tapes())
    )
    assert not torch.equal(eagerly[0], by_tape[0])


def test_the_tape_refuses_a_constant_from_the_host() -> None:
    with pytest.raises(RuntimeError, match="comes from the host"):
        Tapes().capture(lambda: torch.zeros(2).add_(torch.tensor([1.0, 2.0])))


# --- devices ------------------------------------------------------------------------------------------------------


def tick_on(device: str, kind: type[RollingGenerator], **options: Any) -> RollingGenerator:
    """Two ticks of a small network that lives on the device."""
    with torch.device(device):
        tokenizer, dynamics = SlotTokenizer(TokenizerConfig(96, 128)), Dynamics(SMALL)
    generator = kind(tokenizer, dynamics, **options)
    latents, conditions = random_past(3)
    generator.prefill(latents, conditions)
    for _ in range(2):
        condition = generator.condition(Inputs(tuple(conditions[0, 0].tolist())))
        latent = finished(generator.start(condition, 1, 4))
        assert generator.decode(latent).device.type == device
        generator.commit(latent, condition)
    return generator


@pytest.mark.parametrize("kind", [RollingGenerator, GraphedGenerator])
def test_every_tensor_of_a_tick_is_where_the_network_is(kind: type[RollingGenerator]) -> None:
    """On the `meta` device tensors have no numbers: whatever is elsewhere, or is looked at on the way, raises."""
    options: dict[str, Any] = {"recorder": NoGraphs()} if kind is GraphedGenerator else {}
    generator = tick_on("meta", kind, **options)
    assert generator.last.device.type == generator.memory.keys.device.type == "meta"


class ForgetsTheDevice(RollingGenerator):
    def noise(self, seed: int) -> Tensor:
        return super().noise(seed).new_zeros(self.last.shape, device="cpu")


def test_a_tensor_left_on_the_host_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="device"):
        tick_on("meta", ForgetsTheDevice)


# --- the large network --------------------------------------------------------------------------------------------

WRAPS = replace(TINY, sink=2, window=3)


def large(kind: TickKind, recorder: Recorder, config: LargeConfig = TINY, **options: Any) -> LargeGenerator:
    torch.manual_seed(0)
    net, decoder = LargeNet(config).requires_grad_(False), LargeDecoder(config).requires_grad_(False)
    return LargeGenerator(net, decoder, kind, recorder, **options)


def large_session(generator: LargeGenerator, ticks: int = 16) -> tuple[Tensor, Tensor]:
    latents, frames = [], []
    for tick in range(ticks):
        generator.start([0.1 * tick] * generator.config.action_dim)
        generator.condition()
        for step in range(generator.kind.steps):
            generator.denoise(step)
        generator.finish()
        frames.append(generator.decode().clone())
        latents.append(generator.drawn.clone())
        generator.commit()
    return torch.stack(latents), torch.stack(frames)


@pytest.mark.parametrize("kind", [TickKind(2), TickKind(1, "merged"), TickKind(2, "same_level")])
@pytest.mark.bitexact
def test_a_captured_large_tick_makes_the_bits_of_an_eager_one(kind: TickKind) -> None:
    eager, captured = (large_session(large(kind, recorder)) for recorder in (NoGraphs(), Tapes()))
    assert torch.equal(eager[0], captured[0])
    assert torch.equal(eager[1], captured[1])


@pytest.mark.parametrize("config", [TINY, WRAPS])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_commit_merged_into_the_next_tick_remembers_what_a_pass_of_its_own_does(
    config: LargeConfig, steps: int
) -> None:
    alone, merged = (
        large_session(large(TickKind(steps, commit), NoGraphs(), config))[0] for commit in ("pass", "merged")
    )
    assert (alone - merged).abs().max() < 1e-5


@pytest.mark.parametrize("commit", ["pass", "merged", "same_level"])
def test_only_differences_of_positions_matter_so_a_session_has_no_horizon(commit: Any) -> None:
    early, late = (
        large_session(large(TickKind(1, commit), NoGraphs(), WRAPS, first_frame=first))[0] for first in (0, 10**7)
    )
    assert (early - late).abs().max() < 1e-4


class LeavesTheSinkBehind(LargeGenerator):
    """Wrong on purpose: sinks stay where they were, farther away with every frame."""

    def _sink_places(self, frame: int) -> list[int]:
        return list(range(self.config.sink))


class ForgetsTheAction(LargeGenerator):
    """Wrong on purpose: a frame is committed under the action of the next."""

    def condition(self) -> None:
        super().condition()
        self._clean_gates.copy_(self._gates[:, -1:])


@pytest.mark.parametrize("broken", [LeavesTheSinkBehind, ForgetsTheAction])
def test_what_is_wrong_in_the_memory_changes_the_frames(broken: type[LargeGenerator]) -> None:
    sound = large(TickKind(2, "merged"), NoGraphs(), WRAPS)
    other = broken(sound.net, sound.decoder, sound.kind, NoGraphs())
    assert (large_session(sound)[0] - large_session(other)[0]).abs().max() > 1e-3


def test_an_input_changes_the_very_next_latent() -> None:
    last = []
    for action in (0.0, 1.0):
        generator = large(TickKind(1, "merged"), NoGraphs())
        before = large_session(generator, 12)[0]
        generator.start([action] * generator.config.action_dim)
        generator.condition()
        generator.denoise(0)
        last.append((before, generator.estimate.clone()))
    assert torch.equal(last[0][0], last[1][0])
    assert not torch.equal(last[0][1], last[1][1])


@pytest.mark.bitexact
def test_decoding_one_latent_at_a_time_is_decoding_them_all_up_to_rounding() -> None:
    """One level of 255: three latents at once are other shapes than one. The control: frames that remember nothing."""
    torch.manual_seed(3)
    decoder = LargeDecoder(TINY).requires_grad_(False)
    for parameter in decoder.parameters():
        parameter.mul_(2)  # so that what is remembered shows by more than a level
    latents = torch.randn(3, *TINY.latent_shape)
    together = decoder(latents).int()
    decoder.forget()
    assert (together - torch.cat([decoder(latents[at : at + 1]) for at in range(3)]).int()).abs().max() <= 1
    forgetful = []
    for at in range(3):
        decoder.forget()
        forgetful.append(decoder(latents[at : at + 1]))
    assert (together - torch.cat(forgetful).int()).abs().max() > 10
