"""Claims about a commit that runs beside decode and present: the same bits, and never read half-written."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch

from nextframe.model.generator.overlap import HostCopy, SideWork
from nextframe.runtime.core import Action, TickPlan
from tests.support.worlds.small import small_neural

LEFT = Action(axes={"steer": -100}, prompt="rain")
PLAN = TickPlan(2, 0)
CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.bitexact
def test_a_world_that_commits_beside_its_decode_has_the_same_frames_and_states() -> None:
    plain, beside = small_neural(), small_neural()
    beside.overlap = True
    for tick in range(40):
        results = [world.advance(LEFT if tick % 3 else Action(), PLAN) for world in (plain, beside)]
        assert np.array_equal(results[0].frames[0], results[1].frames[0])
        for result in results:
            result.commit()
        assert plain.checksum() == beside.checksum()
    beside.close()


def test_the_commit_runs_on_another_thread_and_has_ended_when_the_tick_is_committed() -> None:
    world = small_neural()
    world.overlap = True
    commit, threads = world.generator.commit, []

    def watched(*arguments: torch.Tensor) -> None:
        threads.append(threading.current_thread())
        commit(*arguments)

    world.generator.commit = watched  # type: ignore[method-assign,assignment]
    before = world.generator.tick
    world.advance(LEFT, PLAN).commit()
    assert world.generator.tick == before + 1
    assert threads
    assert threads[0] is not threading.current_thread()
    world.close()


@pytest.mark.parametrize("way", ["reset", "restore"])
def test_a_tick_that_is_never_committed_is_forgotten(way: str) -> None:
    plain, beside = small_neural(), small_neural()
    beside.overlap = True
    before = beside.snapshot()
    beside.advance(LEFT, PLAN)
    beside.restore(before) if way == "restore" else beside.reset(0)
    for world in (plain, beside):
        world.advance(LEFT, PLAN).commit()
    assert plain.checksum() == beside.checksum()
    beside.close()


def test_a_commit_that_fails_says_so_where_it_is_waited_for() -> None:
    world = small_neural()
    world.overlap = True

    def broken(*arguments: torch.Tensor) -> None:
        raise RuntimeError("no memory left")

    world.generator.commit = broken  # type: ignore[method-assign,assignment]
    result = world.advance(LEFT, PLAN)
    with pytest.raises(RuntimeError, match="no memory left"):
        result.commit()


def test_side_work_is_done_after_join_and_not_before_it_may_be() -> None:
    side, may_end = SideWork(), threading.Event()
    done: list[str] = []

    def work() -> None:
        may_end.wait()
        done.append("beside")

    side.begin(work, CPU)
    assert done == []
    may_end.set()
    side.join()
    assert done == ["beside"]
    side.join()
    side.close()


def test_only_one_piece_of_side_work_at_a_time() -> None:
    side = SideWork()
    side.begin(lambda: None, CPU)
    with pytest.raises(AssertionError, match="once the piece before is joined"):
        side.begin(lambda: None, CPU)
    side.close()


def test_a_frame_on_the_cpu_is_not_copied() -> None:
    frame = torch.zeros(2, 2, 3, dtype=torch.uint8)
    assert np.shares_memory(HostCopy()(frame), frame.numpy())


@pytest.mark.gpu
@needs_gpu
def test_a_frame_on_a_gpu_arrives_whole_and_stays_what_it_was() -> None:
    copy = HostCopy()
    frames = [torch.full((64, 64, 3), value, dtype=torch.uint8, device="cuda") for value in (3, 200)]
    arrived = [copy(frame) for frame in frames]
    assert [int(frame.min()) for frame in arrived] == [int(frame.max()) for frame in arrived] == [3, 200]


@pytest.mark.gpu
@needs_gpu
def test_side_work_on_a_gpu_sees_what_was_computed_before_and_is_seen_after() -> None:
    device, side = torch.device("cuda"), SideWork()
    for value in range(50):
        source = torch.full((1 << 20,), float(value), device=device)
        target = torch.zeros_like(source)
        side.begin(_copying(source, target), device)
        side.join()
        assert float((target - value).abs().max()) == 0.0
    side.close()


def _copying(source: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    def work() -> None:
        target.copy_(source * 2 - source)

    return work
