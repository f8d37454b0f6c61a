"""Claims about stages over processes: the same bits, only their own weights, clear refusals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.stages.generator import StagedGenerator
from nextframe.model.stages.layout import Interval, LayoutError, StageCosts, balanced, parse_layout
from nextframe.model.stages.network import lane_from, layer_of, load_blocks, table_numbers
from nextframe.model.stages.process.processes import StageStartError
from nextframe.model.stages.ring import StageWeights
from tests.support.networks import finished, random_past
from tests.support.worlds.staged import APART, EACH, FOUR, THREE, TWO, staged_generator, store_weights, whole_generator


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> StageWeights:
    return store_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def of_four(weights: StageWeights) -> Iterator[StagedGenerator]:
    """One process for each layer; the last one decodes. Starting them takes seconds, so tests share them."""
    generator = staged_generator(weights, EACH)
    yield generator
    generator.close()


def play(generator: RollingGenerator, ticks: int, rows: int = 1, seed: int = 5) -> list[tuple[int, bytes]]:
    """Frame and checksum of every tick from a prefill on, with rungs that change."""
    latents, conditions = random_past(8, rows)
    generator.prefill(latents, conditions)
    return go_on(generator, ticks, conditions[:, -1], seed)


def go_on(generator: RollingGenerator, ticks: int, condition: Tensor, seed: int = 5) -> list[tuple[int, bytes]]:
    made = []
    for tick in range(ticks):
        latent = finished(generator.start(condition, seed, (1, 2, 4)[tick % 3]))
        frame = generator.decode(latent)
        generator.commit(latent, condition)
        made.append((generator.checksum(), frame.numpy().tobytes()))
    return made


# --- the same bits ----------------------------------------------------------------------------------------------------


@pytest.mark.bitexact
def test_four_processes_make_the_frames_and_checksums_of_one(of_four: StagedGenerator) -> None:
    assert play(of_four, 12) == play(whole_generator(), 12)


@pytest.mark.parametrize(
    ("text", "rows", "window"), [(TWO, 2, 3), (THREE, 1, None), (APART, 1, None)], ids=["two", "three", "apart"]
)
@pytest.mark.bitexact
def test_two_and_three_processes_do_too(weights: StageWeights, text: str, rows: int, window: int | None) -> None:
    generator = staged_generator(weights, text, rows=rows, window=window)
    one = whole_generator(rows=rows, window=window)
    try:
        assert play(generator, 12, rows) == play(one, 12, rows)
        assert repr(generator.snapshot()) == repr(one.snapshot())
        condition = random_past(8, rows)[1][:, -1]
        generator.restore(one.snapshot())
        assert go_on(generator, 2, condition) == go_on(one, 2, condition)
        if text == APART:
            read = [{key.partition("/")[0] for key in part["keys"]} for part in generator.processes.opened]
            assert "tokenizer" not in read[0]
            assert read[1] == {"tokenizer"}, "it only decodes"
    finally:
        generator.close()


@pytest.mark.bitexact
def test_snapshots_are_those_of_one_process_and_go_both_ways(of_four: StagedGenerator) -> None:
    one, condition = whole_generator(), random_past(8)[1][:, -1]
    assert play(of_four, 9) == play(one, 9)
    kept, expected = of_four.snapshot(), one.snapshot()
    assert repr(kept) == repr(expected)
    ahead = go_on(of_four, 4, condition)
    play(of_four, 3, seed=8)
    of_four.restore(expected)
    assert go_on(of_four, 4, condition) == ahead
    one.restore(kept)
    assert go_on(one, 4, condition) == ahead


def test_a_scene_cut_reaches_every_stage(of_four: StagedGenerator) -> None:
    one, condition = whole_generator(), random_past(8)[1][:, -1]
    for generator in (of_four, one):
        play(generator, 3)
        generator.memory.new_epoch()
    assert go_on(of_four, 3, condition) == go_on(one, 3, condition)


@pytest.mark.bitexact
def test_two_jobs_of_one_state_do_not_disturb_each_other(of_four: StagedGenerator) -> None:
    """A guess that is dropped: a pass brings along all it needs, so no stage remembers which job is under way."""
    condition = random_past(8)[1][:, -1]
    play(of_four, 2)
    alone = finished(of_four.start(condition, 5, 4))
    guess, real = of_four.start(condition + 1.0, 5, 4), of_four.start(condition, 5, 4)
    for _ in range(4):
        guess.step()
        real.step()
    assert torch.equal(real.finish(), alone)
    assert not torch.equal(guess.finish(), alone)


# --- only their own weights -------------------------------------------------------------------------------------------


def test_no_process_reads_the_weights_of_another(weights: StageWeights, of_four: StagedGenerator) -> None:
    stored = load_file(weights.dynamics)
    read = [list(of_four.opened.keys), *(part["keys"] for part in of_four.processes.opened)]
    layers = [{layer_of(key) for key in keys if not key.startswith("tokenizer/")} for keys in read]
    assert layers == [{None, 0}, {1}, {2}, {3}]
    of_dynamics = [key for keys in read for key in keys if not key.startswith("tokenizer/")]
    assert sorted(of_dynamics) == sorted(stored), "every tensor once"
    assert of_four.processes.opened[0]["bytes"] == sum(t.nbytes for k, t in stored.items() if layer_of(k) == 1)
    assert [any(key.startswith("tokenizer/") for key in keys) for keys in read[1:]] == [False, False, True]


def test_weights_of_another_network_are_refused_by_the_process_that_needs_them(
    weights: StageWeights, tmp_path: Path
) -> None:
    tensors = load_file(weights.dynamics)
    del tensors["blocks.3.up.weight"]
    save_file(tensors, tmp_path / "dynamics.safetensors")
    spoilt = StageWeights(tmp_path / "dynamics.safetensors", weights.tokenizer)
    load_blocks(FOUR, spoilt.dynamics, Interval(0, 2))  # the control: others do not even notice
    with pytest.raises(StageStartError, match=r"dynamics.safetensors: expected a tensor '1.up.weight'"):
        staged_generator(spoilt, TWO)


def test_a_slot_table_survives_the_wire(of_four: StagedGenerator) -> None:
    play(of_four, 9)
    lane = of_four.snapshot()["memory"]["lanes"][0]  # type: ignore[index]
    numbers = {name: value for name, value in lane.items() if name not in {"keys", "values"}}
    assert lane_from(table_numbers(lane), None, None) == {**numbers, "keys": None, "values": None}


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_a_layout_is_read_and_written() -> None:
    layout = parse_layout(THREE, 4)
    assert (layout.intervals, layout.decode) == ((Interval(0, 1), Interval(1, 2), Interval(2, 4)), 1)
    assert str(layout) == THREE
    assert str(parse_layout("denoise:0-1@cuda:0,denoise:1-4@cuda:0", 4)) == "denoise:0-4@cuda:0, decode@cuda:0"
    apart = parse_layout(APART, 4)
    assert (apart.processes, apart.ring, apart.decode, apart.own_decoder) == (3, 2, 2, 2)
    assert str(apart) == APART
    assert layout.own_decoder is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("denoise:0-3@cpu:0, denoise:4-6@cpu:1", "an interval from layer 3, got one from 4; the end is not included"),
        ("denoise:0-3@cpu:0, denoise:2-6@cpu:1", "an interval from layer 3, got one from 2"),
        ("denoise:0-3@cpu:0", "intervals up to layer 6, got up to 3"),
        ("denoise:0-8@cpu:0", "intervals up to layer 6, got up to 8"),
        ("denoise:0-0@cpu:0, denoise:0-6@cpu:1", "at least one layer"),
        ("denoise:0-6@gpu", "a device like cpu:0 or cuda:1, got 'gpu'"),
        ("denoise:0-6@cpu:0, decode@1", "a device like cpu:0 or cuda:1, got '1'"),
        ("denoise:0-2@cpu:0, denoise:2-4@cpu:1, denoise:4-6@cpu:0", "layers that do not touch these"),
        ("everything@cpu:0", "expected something like"),
        ("", "expected something like"),
    ],
)
def test_a_layout_that_does_not_run_every_layer_once_is_refused(text: str, said: str) -> None:
    with pytest.raises(LayoutError) as refusal:
        parse_layout(text, 6)
    assert said in str(refusal.value)


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_the_balanced_split_is_the_best_of_all(processes: int) -> None:
    costs = StageCosts((1.0, 3.0, 1.0, 2.0, 5.0, 1.0), front_ms=2.0, decode_ms=9.0, passes=3)
    devices = [f"cpu:{at}" for at in range(processes)]

    def busiest_ms(ends: tuple[int, ...], decode: int) -> float:
        busy = [3 * sum(costs.layer_ms[first:end]) for first, end in zip((0, *ends), ends, strict=False)]
        busy[0] += costs.front_ms
        busy[decode] += costs.decode_ms
        return max(busy)

    every = [
        busiest_ms((*ends, 6), decode)
        for ends in combinations(range(1, 6), processes - 1)
        for decode in range(processes)
    ]
    layout = balanced(costs, devices)
    assert busiest_ms(tuple(part.end for part in layout.intervals), layout.decode) == min(every)
    assert parse_layout(str(layout), 6) == layout


def test_more_processes_than_layers_are_refused() -> None:
    with pytest.raises(LayoutError, match="1 to 2 processes"):
        balanced(StageCosts((1.0, 1.0), 0.0, 0.0, 1), ["cpu:0", "cpu:1", "cpu:2"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="stages on a GPU need a CUDA device")
def test_stages_on_one_gpu_come_near_the_processor_and_equal_themselves(weights: StageWeights) -> None:
    text = "denoise:0-2@cuda:0, denoise:2-4@cpu:0"
    generator = staged_generator(weights, text)
    try:
        first = play(generator, 3)
        assert play(generator, 3) == first
    finally:
        generator.close()
