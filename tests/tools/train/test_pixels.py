"""Claims about training worlds of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nextframe.model.generator.protocol import Inputs
from nextframe.runtime.core import NextframeError
from nextframe.tools.train.pixels.learn import LearnConfig, Learner, later, main, recall
from nextframe.tools.train.pixels.shards import Memory, Sequences, Shards, sizes_of
from tests.support.images import SMALL_UNET, image_generator, image_start, random_unet

CONFIG = LearnConfig(ticks=2, batch=4, micro=2, warmup_steps=1)
MEMORY = Memory(SMALL_UNET.window, SMALL_UNET.stride, SMALL_UNET.sink, SMALL_UNET.past)


def write_shard(folder: Path, name: str, lengths: tuple[int, ...] = (20, 30)) -> None:
    """Each frame's first pixel says episode and tick, its actions the tick."""
    n = sum(lengths)
    episodes = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    ticks = np.concatenate([np.arange(length) for length in lengths])
    frames = np.full((n, SMALL_UNET.height, SMALL_UNET.width, 3), 90, np.uint8)
    frames[:, 0, 0] = np.stack([episodes, ticks, ticks], 1)
    frames[np.arange(n), 1 + ticks % (SMALL_UNET.height - 1), :, 1] = 200  # a line that moves
    np.savez(folder / name, frames=frames, actions=np.stack([ticks, ticks], 1).astype(np.float32), episodes=episodes)


def shards(folder: Path) -> Shards:
    return Shards(folder, "train", ticks=SMALL_UNET.past + CONFIG.ticks, memory=MEMORY)


def learner(dtype: torch.dtype = torch.float32) -> Learner:
    return Learner(random_unet(), CONFIG, dtype=dtype, seed=3)


def test_a_sequence_never_crosses_an_episode_and_remembers_only_its_own(tmp_path: Path) -> None:
    write_shard(tmp_path, "train-0-000.npz")
    drawn = shards(tmp_path).draw(64, np.random.default_rng(0))
    where = drawn.frames[:, :, 0, 0].astype(int)
    assert (where[:, :, 0] == where[:, :1, 0]).all()
    assert (np.diff(where[:, :, 1], axis=1) == 1).all()
    assert (drawn.actions[:, :, 0] == where[:, :, 1]).all()
    first, held = where[:, SMALL_UNET.past, 1], drawn.remembered[:, :, 0, 0].astype(int)
    for row, slot in zip(*np.nonzero(drawn.ages), strict=True):
        assert held[row, slot, 0] == where[row, 0, 0]
        if slot >= SMALL_UNET.sink:  # the sink's age is held at the window's edge
            assert held[row, slot, 1] == first[row] - drawn.ages[row, slot]
    assert (drawn.ages <= MEMORY.reach).all()
    assert (held[:, 0, 1] == 0).all()


def test_new_shards_are_found_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    with pytest.raises(NextframeError, match="found none"):
        shards(tmp_path)
    write_shard(tmp_path, "train-0-000.npz")
    write_shard(tmp_path, "train-0-001.part.npz")
    data = shards(tmp_path)
    assert data.frames == 50
    write_shard(tmp_path, "train-1-000.npz", (40,))
    data.refresh()
    assert data.frames == 90


def test_sizes_are_those_of_the_data(tmp_path: Path) -> None:
    with pytest.raises(NextframeError, match="found none"):
        sizes_of(tmp_path, "train")
    write_shard(tmp_path, "train-0-000.npz")
    assert sizes_of(tmp_path, "train") == (SMALL_UNET.height, SMALL_UNET.width, SMALL_UNET.condition_dim)


def test_a_run_stops_after_its_steps_and_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path, "train-0-000.npz", (100,))

    def steps_after(steps: int) -> int:
        sizes = ["--pack", "2", "--channels", "16", "16", "16", "--batch", "2", "--micro", "2"]
        folders = ["--data", str(tmp_path), "--out", str(tmp_path / "run")]
        monkeypatch.setattr("sys.argv", ["learn", *folders, *sizes, "--steps", str(steps)])
        main()
        state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
        return int(state["steps"])

    assert steps_after(2) == 2
    assert steps_after(3) == 3


def test_training_sees_the_memory_that_play_sees() -> None:
    """The same frames at the same ages give the same keys, through the rolling memory and through a batch."""
    generator, start = image_generator(), image_start(5, ticks=9)
    generator.begin(0, start)
    assert start.frames is not None
    table = generator.memory.lanes[0].table
    ages = [age for age in table.ages() if age]
    net = generator.net
    frames = torch.from_numpy(start.frames)
    positions = [slot.position for slot, age in zip(table.state.slots, table.ages(), strict=True) if age]
    keys, values = net.trunk.writer(net.pack(frames[positions]))
    trained = recall(net, keys[:, None], values[:, None], torch.tensor([ages]))
    phase = min(len(start.frames) - position for position in positions[SMALL_UNET.sink :]) - 1
    said = MEMORY.ages(len(start.frames), phase)
    assert sorted(said[said > 0].clip(max=MEMORY.reach).tolist()) == sorted(ages)
    played = generator._recall()
    for one, other in zip(trained, played, strict=True):
        assert other is not None
        torch.testing.assert_close(one.keys, other.keys)
        torch.testing.assert_close(one.values, other.values)


def test_a_tick_later_the_same_memory_is_a_tick_older() -> None:
    net, frames = random_unet(), torch.from_numpy(image_start(1, ticks=3).frames)
    keys, values = (part[:, None] for part in net.trunk.writer(net.pack(frames)))
    older = recall(net, keys, values, torch.tensor([[4, 6, 8]]))[0]
    turned = later(net, recall(net, keys, values, torch.tensor([[1, 3, 5]])), 3)[0]
    query = torch.randn(1, SMALL_UNET.heads, 5, older.keys.shape[-1])
    assert turned.turn is not None
    a, b = query.chunk(2, -1)
    cos, sin = turned.turn
    moved = torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
    torch.testing.assert_close(moved @ turned.keys.transpose(-1, -2), query @ older.keys.transpose(-1, -2))


def test_it_learns_a_line_that_moves(tmp_path: Path) -> None:
    write_shard(tmp_path, "train-0-000.npz")
    data, one, rng = shards(tmp_path), learner(), np.random.default_rng(0)
    losses = [one.step(data.draw(CONFIG.batch, rng)) for _ in range(60)]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path, dtype: torch.dtype) -> None:
    write_shard(tmp_path, "train-0-000.npz")
    rng = np.random.default_rng(0)
    data = shards(tmp_path)
    batches: list[Sequences] = [data.draw(CONFIG.batch, rng) for _ in range(4)]
    whole, first = learner(dtype), learner(dtype)
    for batch in batches:
        whole.step(batch)
    for batch in batches[:2]:
        first.step(batch)
    torch.save(first.state(), tmp_path / "checkpoint.pt")
    second = learner(dtype)
    second.load(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    for batch in batches[2:]:
        second.step(batch)
    for one, other in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_many_small_micro_batches_are_one_update(tmp_path: Path) -> None:
    write_shard(tmp_path, "train-0-000.npz")
    batch = shards(tmp_path).draw(CONFIG.batch, np.random.default_rng(0))
    one = learner()
    one.step(batch)
    assert one.steps == 1
    assert one.frames == CONFIG.batch * CONFIG.ticks
    assert all(parameter.grad is None for parameter in one.net.parameters())


def test_the_rate_rises_then_falls_at_the_end() -> None:
    one = Learner(random_unet(), LearnConfig(steps=100, warmup_steps=10), dtype=torch.float32, seed=0)
    shares = []
    for one.steps in range(100):
        shares.append(one.rate_share())
    assert shares[0] == pytest.approx(0.1)
    assert shares[20] == shares[60] == 1.0
    assert shares[-1] == pytest.approx(0.05)


def test_a_played_tick_follows_the_action_it_was_given() -> None:
    generator = image_generator()
    generator.begin(0, image_start(0))
    made = []
    for action in ((-1.0, 0.0), (1.0, 0.0)):
        job = generator.start(generator.condition(Inputs(action)), 1, 1)
        job.step()
        made.append(job.finish())
    assert not torch.equal(*made)
