"""Claims about stage processes that die or hang: noticed, restarted, not a bit lost, nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from nextframe.model.stages.process import fork_server
from nextframe.model.stages.process.processes import DIED, HUNG, StageFault, StageLimits
from nextframe.model.stages.process.spec import StageSpec
from nextframe.model.stages.ring import StageWeights
from nextframe.runtime.session.supervisor import SupervisorLimits, TooManyFaults
from tests.support.paths import ROOT
from tests.support.worlds.staged import (
    APART,
    FOUR,
    THREE,
    TWO,
    lives,
    run_ticks,
    staged_generator,
    store_weights,
    strike,
    supervised_world,
    tick_of,
    whole_world,
)

MANY = SupervisorLimits(snapshot_every_ticks=5, deaths=1000)
WATCHFUL = StageLimits()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> StageWeights:
    return store_weights(tmp_path_factory.mktemp("weights"))


def rounds(weights: StageWeights, text: str, count: int, seed: int) -> list[dict[str, object]]:
    """Kill or stop a random stage before, or while, a random tick; every frame and checksum must be the twin's."""
    draw, found = random.Random(seed), []
    twin = whole_world()
    with supervised_world(weights, text, limits=WATCHFUL, supervision=MANY) as (world, generator):
        world.reset(3), twin.reset(3)
        tick = 0
        for number in range(count):
            ticks = draw.randint(1, 9)
            kill, stage = number % 2 == 0, draw.randint(1, len(generator.processes.pids))
            signal_number = signal.SIGKILL if kill else signal.SIGSTOP
            for _ in range(ticks):
                assert tick_of(world, tick) == tick_of(twin, tick)
                tick += 1
            struck_ns, old = time.monotonic_ns(), generator.processes.pids
            strike(generator, signal_number, stage)
            assert tick_of(world, tick) == tick_of(twin, tick), (number, signal_number, stage)
            tick += 1
            fault = world.faults[-1]
            assert len(world.faults) == number + 1
            assert not any(lives(pid) for pid in old), "a process of the broken group is left"
            assert (DIED if kill else HUNG) in fault.what
            found.append({
                "signal": signal_number.name, "stage": stage,
                "noticed_ms": (generator.ring.last_fault_ns - struck_ns) / 1e6,
                "restored_ms": fault.restored_ms, "ticks_again": fault.ticks_again,
            })  # fmt: skip
        left = [*generator.processes.pids, *generator.processes.fork_server.pids]
    assert left
    assert not any(lives(pid) for pid in left), "a process outlived its world"
    return found


def test_killed_and_stopped_stages_come_back_without_a_bit_lost(weights: StageWeights) -> None:
    assert len(rounds(weights, TWO, 5, seed=1)) == 5


@pytest.mark.slow
def test_a_process_that_only_decodes_comes_back_too(weights: StageWeights) -> None:
    assert {row["stage"] for row in rounds(weights, APART, 6, seed=3)} == {1, 2}


@pytest.mark.slow
def test_fifty_rounds_of_killing_and_stopping(weights: StageWeights) -> None:
    found = rounds(weights, THREE, 50, seed=2)
    for name in ("SIGKILL", "SIGSTOP"):
        noticed = sorted(float(str(row["noticed_ms"])) for row in found if row["signal"] == name)
        restored = sorted(float(str(row["restored_ms"])) for row in found if row["signal"] == name)
        middle = len(noticed) // 2
        print(
            f"{name}: {len(noticed)} rounds, noticed after p50 {noticed[middle]:.1f} max {noticed[-1]:.1f} ms, "
            f"picture held p50 {restored[middle]:.0f} max {restored[-1]:.0f} ms"
        )


@pytest.mark.slow
def test_a_third_death_within_a_minute_ends_the_session_with_a_clear_error(weights: StageWeights) -> None:
    with supervised_world(weights, supervision=SupervisorLimits()) as (world, generator):
        world.reset(0)
        for tick in range(2):
            strike(generator, signal.SIGKILL)
            tick_of(world, tick)
        strike(generator, signal.SIGKILL)
        with pytest.raises(TooManyFaults, match=r"3 faults within 60 s, the last: stage process 1 died: .*SIGKILL"):
            tick_of(world, 2)
        pids = generator.processes.pids
    assert not any(lives(pid) for pid in pids)


def test_without_a_supervisor_a_death_is_a_fault(weights: StageWeights) -> None:
    """The control: it is the supervisor that hides it."""
    generator = staged_generator(weights, TWO)
    try:
        strike(generator, signal.SIGKILL)
        with pytest.raises(StageFault, match="stage process 1 died: ended by SIGKILL"):
            generator.snapshot()
        with pytest.raises(StageFault):
            generator.snapshot()
    finally:
        generator.close()


NEWLY_IMPORTED = """
import sys
import nextframe.model.stages.worker
from nextframe.model.stages.serve import Stage
from nextframe.model.stages.process.spec import spec_from
import torch
before = set(sys.modules)
stage = Stage(spec_from(sys.argv[1].encode()))
tokens = torch.zeros(1, stage.config.tokens, stage.config.width)
stage.layers(0).commit(tokens, torch.zeros(1, 6 * stage.config.width))
stage.layers(0).denoise(tokens, torch.zeros(1, 6 * stage.config.width))
own = len(set(sys.modules) - before)
import nextframe.runtime.config
print(own, len(set(sys.modules) - before))
"""


def test_a_forked_stage_has_loaded_all_that_it_needs(weights: StageWeights) -> None:
    """Its first use of something may import hundreds of modules, for a second, while the picture is held; torch's
    device "meta" does. The control: what a library can bring."""
    spec = StageSpec(
        rank=1, devices=("cpu", "cpu"), ring=2, first=2, end=4, config=asdict(FOUR), weights=str(weights.dynamics),
        rows=1, window=None, threads=1, port=0,
    )  # fmt: skip
    command = [sys.executable, "-c", NEWLY_IMPORTED, spec.as_line().decode()]
    root = ROOT
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600, check=True)
    stage, control = map(int, done.stdout.split())
    assert stage < 10
    assert control > 50


def shared_memory() -> set[str]:
    """Names of what is in shared memory and of this library or torch."""
    return {path.name for path in Path("/dev/shm").glob("*") if "torch" in path.name or "gloo" in path.name}


ORPHAN = """
import signal
import sys
import time
from pathlib import Path
from nextframe.model.stages.ring import StageWeights
from tests.support.worlds.staged import TWO, staged_generator, strike
from nextframe.model.stages.process.processes import StageLimits
generator = staged_generator(StageWeights(Path(sys.argv[1]), Path(sys.argv[2])), TWO, limits=StageLimits(60.0))
strike(generator, signal.SIGSTOP)
print(*generator.processes.pids, *generator.processes.fork_server.pids, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a stopped process is ended with its parent on Linux only")
def test_no_stage_process_outlives_a_front_that_was_killed(weights: StageWeights) -> None:
    command = [sys.executable, "-c", ORPHAN, str(weights.dynamics), str(weights.tokenizer)]
    front = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert front.stdout is not None
    pids = [int(pid) for pid in front.stdout.readline().split()]
    assert len(pids) == 2, "a stopped stage and the fork server"
    assert all(lives(pid) for pid in pids)
    shared = shared_memory()
    front.kill()
    front.wait()
    front.stdout.close()
    until_s = time.monotonic() + 20
    while any(lives(pid) for pid in pids) and time.monotonic() < until_s:
        time.sleep(0.01)
    assert not any(lives(pid) for pid in pids)
    assert shared_memory() <= shared


def test_a_second_death_right_after_the_first_waits_for_no_torch_to_load(weights: StageWeights) -> None:
    """Both come from the process that loaded it once. The control: once that process is gone there has to be another,
    and the session lives on."""
    twin = whole_world()
    twin.reset(1)
    with supervised_world(weights, TWO, limits=WATCHFUL, supervision=MANY) as (world, generator):
        world.reset(1)
        server, seen = generator.processes.fork_server, []
        before = server.pids
        for tick in range(2):
            seen += generator.processes.pids
            strike(generator, signal.SIGKILL)
            assert tick_of(world, tick) == tick_of(twin, tick)
        seen += generator.processes.pids
        assert len(set(seen)) == 3
        assert server.pids == before
        os.kill(before[0], signal.SIGSTOP)
        os.kill(before[0], signal.SIGKILL)
        tick, until_s = 2, time.monotonic() + 20
        while server.pids == before and time.monotonic() < until_s:  # the kernel takes its time to end a process
            assert tick_of(world, tick) == tick_of(twin, tick)
            tick += 1
        assert server.pids != before
        assert not lives(before[0])
        assert len(world.faults) == 3


@pytest.mark.slow
def test_a_fork_server_that_does_not_answer_is_replaced(weights: StageWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "ANSWER_S", 0.5)
    with supervised_world(weights, TWO, supervision=MANY) as (world, generator):
        world.reset(1)
        before = generator.processes.fork_server.pids
        os.kill(before[0], signal.SIGSTOP)
        strike(generator, signal.SIGKILL)
        tick_of(world, 0)
        assert generator.processes.fork_server.pids != before
        assert not lives(before[0])


@pytest.mark.slow
def test_a_world_goes_on_from_a_snapshot_after_a_death(weights: StageWeights) -> None:
    """What was done since a restore is made again on top of it, and the snapshot itself can be taken after a death."""
    twin = whole_world()
    twin.reset(2)
    before = run_ticks(twin, 0, 4)
    with supervised_world(weights, supervision=MANY) as (world, generator):
        world.restore(twin.snapshot())
        after = run_ticks(world, 4, 7)
        strike(generator, signal.SIGKILL)
        snapshot = world.snapshot()
    assert before
    assert after == run_ticks(twin, 4, 7)
    twin.restore(snapshot)
    assert twin.checksum() == (again := whole_world(), again.restore(snapshot), again.checksum())[-1]
