"""The network over the memory is the network over the sequence, whichever way the memory is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - as everybody calls it
from torch.utils._python_dispatch import TorchDispatchMode

from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.memory.past import FixedPast, Past, gather
from nextframe.model.memory.rolling import MemorySpec, RollingKVMemory
from nextframe.model.memory.rotary import rotate
from nextframe.model.memory.slot_table import EMPTY, GAP
from tests.support.memories import RING, SINKS, WINDOW, frame_of
from tests.support.networks import SMALL, finished, random_dynamics, random_generator, random_past, random_tokenizer

TOLERANCE = 1e-5

NETWORK = SMALL.memory_spec()
"""What the small network's memory can be: the shipped kind, then each option, then all of them."""
NETWORK_SPECS = {
    "ring": NETWORK,
    "sinks": replace(NETWORK, sink=3),
    "windows": replace(NETWORK, layer_windows=(6, 2)),
    "dilation": replace(NETWORK, layer_dilations=(1, 4)),
    "all": replace(NETWORK, sink=2, layer_windows=(3, 5), layer_dilations=(2, 1)),
}


# --- the network over memory is the network over the sequence -----------------------------------------------------


def predict(generator: RollingGenerator, noisy: Tensor, estimate: Tensor, condition: Tensor, tau: float) -> Tensor:
    gates = generator.gates_at(condition, [tau])[0]
    return generator.predict(noisy, estimate, generator.known(condition), gates, generator.read_memory())


@torch.inference_mode()
def prediction(generator: RollingGenerator, condition: Tensor) -> Tensor:
    """Of one noise for all."""
    noise = torch.randn(1, SMALL.latent_dim, generator=torch.Generator().manual_seed(5))
    return predict(generator, noise, torch.zeros_like(noise), condition, 0.0)


def both_ways(
    window: int, damage: Callable[[RollingGenerator], None] = lambda generator: None, **options: Any
) -> Tensor:
    """Largest difference per tick of the sequence network and the memory network, over three times the memory."""
    time = 3 * SMALL.window + 2
    generator = random_generator(window=window, **options)
    clean, conditions = random_past(time)
    noisy, estimate = torch.randn_like(clean), torch.randn_like(clean)
    tau = torch.rand(1, time)
    sequence = generator.dynamics(clean, noisy, estimate, conditions, tau, torch.tensor([window]))
    generator.prefill(clean[:, :1], conditions[:, :1])
    differences = []
    for t in range(1, time):
        sound = generator.snapshot()
        damage(generator)
        with torch.inference_mode():
            predicted = predict(generator, noisy[:, t], estimate[:, t], conditions[:, t], float(tau[0, t]))
        differences.append((predicted - sequence[:, t]).abs().max())
        generator.restore(sound)
        generator.commit(clean[:, t], conditions[:, t])
    return torch.stack(differences)


@pytest.mark.parametrize("fixed_shape", [False, True])
@pytest.mark.parametrize("window", [SMALL.window, 3, 1])
def test_memory_and_sequence_agree_far_beyond_the_window(window: int, fixed_shape: bool) -> None:
    assert both_ways(window, fixed_shape=fixed_shape).max() < TOLERANCE


def age_by_one(generator: RollingGenerator) -> None:
    table = generator.memory.lanes[0].table
    aged = (s._replace(position=s.position - 1) if s.position != EMPTY else s for s in table.state.slots)
    table.state = table.state._replace(slots=tuple(aged))


def blank_the_newest(generator: RollingGenerator) -> None:
    memory = generator.memory
    memory.values[:, :, :, memory.slot_for(memory.next_position - 1)] = 0


@pytest.mark.parametrize("damage", [age_by_one, blank_the_newest])
def test_a_memory_that_is_wrong_by_one_frame_does_not_agree(damage: Callable[[RollingGenerator], None]) -> None:
    assert both_ways(SMALL.window, damage).max() > 100 * TOLERANCE


@pytest.mark.parametrize("fixed_shape", [False, True])
def test_a_new_epoch_predicts_as_a_new_session_even_over_damaged_leftovers(fixed_shape: bool) -> None:
    clean, conditions = random_past(20)
    fresh, cut = (random_generator(fixed_shape=fixed_shape) for _ in range(2))
    for t in range(9):
        cut.commit(clean[:, t], conditions[:, t])
    cut.memory.keys[:], cut.memory.values[:] = torch.nan, torch.nan
    cut.memory.new_epoch()
    fresh.last = fresh.before = cut.last
    for t in range(10, 13):
        for generator in (fresh, cut):
            generator.commit(clean[:, t], conditions[:, t])
        fresh.before = cut.before
        assert torch.allclose(prediction(fresh, conditions[:, 13]), prediction(cut, conditions[:, 13]), atol=TOLERANCE)


class Concatenation:
    """Everything ever written, one frame after the other."""

    def __init__(self, spec: MemorySpec) -> None:
        self.spec = spec
        self.frames: list[tuple[Tensor, Tensor]] = []

    def reset(self) -> None:
        self.frames = []

    def write(self, keys: Tensor, values: Tensor) -> None:
        self.frames.append((keys, values))

    def seen(self, layer: int) -> dict[int, int]:
        """Index to age of the frames this layer sees; the rule again, from its words."""
        spec, now, ages = self.spec, len(self.frames), {}
        dilation = spec.layer_dilations[layer] if spec.layer_dilations else 1
        edge = dilation * (spec.layer_windows[layer] if spec.layer_windows else spec.window)
        for index in range(now):
            age = now - index
            if index < spec.sink or (age <= edge and (index - spec.sink) % dilation == 0):
                ages[index] = min(age, edge)
        return ages


class ConcatenatingGenerator(RollingGenerator):
    """Reads the whole past, cut to what each layer sees. `ring_order`: in the order of the slots, not of time."""

    def __init__(self, spec: MemorySpec, ring_order: bool = False) -> None:
        super().__init__(random_tokenizer(), random_dynamics())
        self.memory = Concatenation(spec)
        self.ring_order = ring_order

    def read_memory(self) -> Past:
        spec, keys, values = self.memory.spec, [], []
        room = torch.zeros(spec.rows, spec.heads, spec.tokens, spec.head_dim)
        for layer in range(spec.layers):
            seen = self.memory.seen(layer)
            order = sorted(seen, key=lambda index: index % spec.window if self.ring_order else index)
            frames = [self.memory.frames[index] for index in order]
            cos, sin = self.dynamics.rotary(torch.tensor([-seen[index] for index in order], dtype=torch.int64))
            rotated = [rotate(k[layer], cos[at], sin[at]) for at, (k, _) in enumerate(frames)]
            keys.append(torch.cat([*rotated, room], 2))
            values.append(torch.cat([*(v[layer] for _, v in frames), room], 2))
        own_keys, own_values = ([part[:, :, -spec.tokens :] for part in parts] for parts in (keys, values))
        return Past(tuple(keys), tuple(values), tuple(own_keys), tuple(own_values), (None,) * spec.layers)


def drive(generator: RollingGenerator, ticks: int) -> Tensor:
    """Latents of a session on given noise, `(ticks, latent_dim)`, each committed."""
    clean, conditions = random_past(ticks)
    generator.prefill(clean[:, :1], conditions[:, :1])
    draw, latents = torch.Generator().manual_seed(9), []
    for t in range(ticks):
        noise = 0.3 * torch.randn(1, SMALL.latent_dim, generator=draw)
        latents.append(finished(generator.job(conditions[:, t], noise, 2)))
        generator.commit(clean[:, t], conditions[:, t])
    return torch.cat(latents)


@pytest.mark.bitexact
def test_the_shipped_kind_of_memory_is_the_concatenation_bit_for_bit() -> None:
    assert torch.equal(drive(random_generator(), 40), drive(ConcatenatingGenerator(NETWORK, ring_order=True), 40))


@pytest.mark.parametrize("fixed_shape", [False, True])
@pytest.mark.parametrize("name", list(NETWORK_SPECS))
def test_every_kind_of_memory_is_the_concatenation_under_the_same_window(name: str, fixed_shape: bool) -> None:
    spec = NETWORK_SPECS[name]
    remembered = drive(random_generator(memory_spec=spec, fixed_shape=fixed_shape), 40)
    assert (remembered - drive(ConcatenatingGenerator(spec), 40)).abs().max() < TOLERANCE


@pytest.mark.parametrize("name", [name for name in NETWORK_SPECS if name != "ring"])
def test_each_option_of_the_memory_changes_what_is_predicted(name: str) -> None:
    """The control of the test above: were an option without effect, it would prove nothing."""
    plain, other = (drive(random_generator(memory_spec=spec), 40) for spec in (NETWORK, NETWORK_SPECS[name]))
    assert (plain - other).abs().max() > 100 * TOLERANCE


# --- same-level history -------------------------------------------------------------------------------------------

LEVELS = 3
SAME_LEVEL = replace(RING, layers=2, heads=2, head_dim=4, history="same_level", levels=LEVELS)


def rotary(positions: Tensor) -> tuple[Tensor, Tensor]:
    angle = positions[:, None].float() * torch.tensor([1.0, 0.1])
    return angle.cos(), angle.sin()


def attended(past: Past, layer: int, query: Tensor) -> Tensor:
    """Over the remembered frames alone."""
    tokens = RING.tokens
    return F.scaled_dot_product_attention(query, past.keys[layer][:, :, :-tokens], past.values[layer][:, :, :-tokens])


def concatenated(frames: Tensor, layer: int, query: Tensor) -> Tensor:
    """`frames`: `(n, 2, layers, rows, heads, tokens, head_dim)`, the history of one level, oldest first."""
    window = frames[-WINDOW:]
    cos, sin = rotary(torch.arange(-len(window), 0))
    keys = torch.cat([rotate(frame[0, layer], cos[at], sin[at]) for at, frame in enumerate(window)], 2)
    return F.scaled_dot_product_attention(query, keys, torch.cat([frame[1, layer] for frame in window], 2))


@pytest.mark.parametrize("delay", [0, 1])
def test_a_row_at_step_r_sees_the_history_written_at_step_r(delay: int) -> None:
    """`delay` 0: a frame passes all steps in its tick. 1: a stream batch, where row r is r frames behind."""
    draw = torch.Generator().manual_seed(3)
    shape = (SAME_LEVEL.layers, SAME_LEVEL.rows, SAME_LEVEL.heads, SAME_LEVEL.tokens, SAME_LEVEL.head_dim)
    frames = torch.randn(20, LEVELS, 2, *shape, generator=draw)
    query = torch.randn(1, 2, 2, 4, generator=draw)
    memory = RollingKVMemory(SAME_LEVEL)
    compared = 0
    for tick in range(20):
        for level in range(LEVELS):
            frame = tick - delay * level
            if frame > 0:
                past = gather(memory, rotary, level)
                for layer in range(SAME_LEVEL.layers):
                    right = concatenated(frames[:frame, level], layer, query)
                    wrong = concatenated(frames[:frame, (level + 1) % LEVELS], layer, query)
                    assert torch.allclose(attended(past, layer, query), right, atol=TOLERANCE)
                    assert not torch.allclose(attended(past, layer, query), wrong, atol=100 * TOLERANCE)
                    compared += 1
            if frame >= 0:
                memory.write(*frames[frame, level], level=level)
        memory.check_integrity()
    assert compared > 100


def test_a_frame_cut_short_leaves_a_gap_in_the_levels_it_never_reached() -> None:
    memory = RollingKVMemory(SAME_LEVEL)
    frame = torch.zeros(2, 1, 2, 2, 4)
    for position in range(6):
        for level in range(LEVELS):
            if position == 4 and level == 2:
                memory.skip(level)
            else:
                memory.write(frame, frame, level=level)
    memory.check_integrity()
    (full,), (cut,) = memory.lanes_at(1), memory.lanes_at(2)
    assert sorted(full.table.ages()) == [1, 2, 3, 4]
    assert sorted(cut.table.ages()) == [0, 1, 3, 4], "the gap is not seen and the others keep their ages"
    assert [slot.kind for slot in cut.table.state.slots].count(GAP) == 1


# --- fixed shapes -------------------------------------------------------------------------------------------------


def addresses(past: Past) -> list[tuple[int, torch.Size]]:
    return [(part.data_ptr(), part.shape) for parts in past for part in parts if part is not None]


@pytest.mark.parametrize("name", list(NETWORK_SPECS))
def test_a_fixed_shape_read_keeps_its_tensors_and_shapes_for_ever(name: str) -> None:
    clean, conditions = random_past(20)
    fixed, plain = (random_generator(memory_spec=NETWORK_SPECS[name], fixed_shape=fixed) for fixed in (True, False))
    seen, shapes = set(), set()
    for t in range(20):
        for generator in (fixed, plain):
            generator.commit(clean[:, t], conditions[:, t])
        seen.add(str(addresses(fixed.read_memory())))
        shapes.add(str([keys.shape for keys in plain.read_memory().keys]))
    assert len(seen) == 1
    assert len(shapes) > 1, "the other way must grow, or this could not fail"
    fixed.memory.check_integrity()


class NoWaiting(TorchDispatchMode):
    """Fails on every operation that brings a number from the device to the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "masked_select"}, name
        return func(*args, **(kwargs or {}))


def forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """These read a CPU tensor without an operation that a dispatch mode sees."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the host waits for the device")

    for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__"):
        monkeypatch.setattr(Tensor, name, refuse)


def test_a_fixed_shape_tick_never_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    clean, conditions = random_past(12)
    generator = random_generator(memory_spec=NETWORK_SPECS["all"], fixed_shape=True)
    generator.prefill(clean[:, :8], conditions[:, :8])
    with monkeypatch.context() as patch, NoWaiting():
        forbid_reading(patch)
        for t in range(8, 12):
            latent = finished(generator.start(conditions[:, t], seed=1, steps=4))
            generator.commit(latent, conditions[:, t])
    assert generator.memory.next_position == 12


@pytest.mark.parametrize("read", [lambda x: x.item(), lambda x: x.tolist(), lambda x: x.nonzero(), bool])
def test_the_watch_for_waiting_notices_each_way_to_wait(
    read: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, NoWaiting():
        forbid_reading(patch)
        with pytest.raises(AssertionError):
            read(torch.ones(1))


@pytest.mark.gpu
def test_a_captured_read_replays_what_was_written_after_the_capture() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    spec = replace(SINKS, head_dim=4)
    memory = RollingKVMemory(spec, "cuda", fixed_shape=True)
    reader = FixedPast(memory, lambda ages: tuple(part.to(ages.device) for part in rotary_on(ages)))
    past = reader.read()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        reader.read()
    for position in range(9):
        frame = frame_of(position + 1, spec).cuda()
        memory.write(frame, -frame)
        graph.replay()
        assert torch.equal(past.keys[0].sum(), reader.read().keys[0].sum())
        ages = memory.lanes[0].table.ages()
        written = past.values[0][0, 0, :: spec.tokens, 0].tolist()[:-1]
        positions = [-(slot.position + 1.0) if age else 0.0
                     for slot, age in zip(memory.lanes[0].table.state.slots, ages, strict=True)]  # fmt: skip
        assert written == positions


def rotary_on(ages: Tensor) -> tuple[Tensor, Tensor]:
    angle = ages[:, None].float() * torch.pow(0.1, torch.arange(2, device=ages.device))
    return angle.cos(), angle.sin()
