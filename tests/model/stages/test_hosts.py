"""Claims about stages that a launcher starts, and about what a staged world shares with every other world."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.stages.network import layer_of
from nextframe.model.stages.process.hosts import Launch, LaunchedProcesses, launched
from nextframe.model.stages.process.processes import StageLimits, StageStartError
from nextframe.model.stages.ring import StageWeights
from nextframe.runtime.cli.app import run_command
from nextframe.worlds.neural.staged import StagedWorld
from tests.support.networks import finished, random_past
from tests.support.paths import ROOT
from tests.support.synctests import run as run_synctest
from tests.support.worlds.staged import (
    THREE,
    TWO,
    run_ticks,
    staged_generator,
    store_weights,
    supervised_world,
    whole_generator,
    whole_world,
)

TICKS = 4


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> StageWeights:
    return store_weights(tmp_path_factory.mktemp("weights"))


def played(generator: RollingGenerator, ticks: int = TICKS) -> list[tuple[int, Tensor]]:
    """Checksum and frame of every tick after a prefill."""
    latents, conditions = random_past(8)
    generator.prefill(latents, conditions)
    made = []
    for tick in range(ticks):
        latent = finished(generator.start(conditions[:, -1], 5, (1, 2, 4)[tick % 3]))
        frame = generator.decode(latent).cpu()
        generator.commit(latent, conditions[:, -1])
        made.append((generator.checksum(), frame))
    return made


# --- launched ---------------------------------------------------------------------------------------------------------

FRONT = """
import os
import signal
import sys
from pathlib import Path
from nextframe.model.stages.process.processes import StageFault, StageLimits, StageStartError
from nextframe.model.stages.ring import StageWeights
from tests.support.worlds.staged import TWO, staged_generator
from tests.model.stages.test_hosts import played
limits = StageLimits(stuck_s=1.0)
generator = staged_generator(StageWeights(Path(sys.argv[1]), Path(sys.argv[2])), TWO, limits=limits)
print(*(checksum for checksum, _ in played(generator)))
print(*sorted(generator.processes.opened[0]["keys"]))
try:
    if sys.argv[3] == "silent":
        os.kill(generator.processes.opened[0]["pid"], signal.SIGSTOP)
        generator.ping()
    elif sys.argv[3] == "restarted":
        generator.restart()
except (StageFault, StageStartError) as error:
    print(type(error).__name__, error)
finally:
    generator.close()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch_two(weights: StageWeights, then: str) -> tuple[list[str], int | None]:
    """A front and a stage with the environment that a launcher gives them; what the front says, and how the stage
    ended by itself."""
    shared = {
        **os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    stage = subprocess.Popen(
        [sys.executable, "-m", "nextframe.tools.lab.stages.hosts"], cwd=ROOT, env={**shared, "RANK": "1"}
    )
    try:
        command = [sys.executable, "-c", FRONT, str(weights.dynamics), str(weights.tokenizer), then]
        front = subprocess.run(
            command, cwd=ROOT, env={**shared, "RANK": "0"}, capture_output=True, text=True, timeout=240, check=False
        )
        assert front.returncode == 0, front.stderr
        code = None if then == "silent" else stage.wait(120)
    finally:
        stage.kill()
        stage.wait()
    return front.stdout.splitlines(), code


def test_launched_stages_make_the_checksums_of_one_process_from_their_own_weights(weights: StageWeights) -> None:
    (checksums, keys, *rest), code = launch_two(weights, "stopped")
    assert checksums.split() == [str(checksum) for checksum, _ in played(whole_generator())]
    assert {layer_of(key) for key in keys.split()} == {2, 3}
    assert rest == []
    assert code == 0


@pytest.mark.slow
def test_a_launched_stage_that_is_silent_is_a_fault(weights: StageWeights) -> None:
    (_, _, said), _ = launch_two(weights, "silent")
    assert said.startswith("StageFault stage process 0 lost")


@pytest.mark.slow
def test_launched_stages_are_not_restarted_from_here(weights: StageWeights) -> None:
    (_, _, said), _ = launch_two(weights, "restarted")
    assert said.startswith("StageStartError")


@pytest.mark.slow
def test_torchrun_verifies_a_recording_of_one_process(tmp_path: Path) -> None:
    one = str(tmp_path / "one.nfr")
    run = ["run", "circuit", "--ticks", "24", "--bot", "wander", "--clock", "fixed", "--steps", "2", "--no-video"]
    assert run_command([*run, "--record", one, "--out", str(tmp_path)]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "nextframe.tools.lab.stages.hosts", "replay", one, "--verify", "--stages"]
    for layout, works in ((TWO.replace("2-4", "2-6"), True), (TWO, False)):
        done = subprocess.run([*command, layout], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode == 0) == works, done.stdout + done.stderr
        assert ("identical: 24 ticks" in done.stdout) == works, done.stdout + done.stderr


def test_another_number_of_launched_processes_than_stages_is_refused() -> None:
    with pytest.raises(StageStartError, match="for each of the 1 stages, got 3"):
        LaunchedProcesses(Launch(0, 3, 0), StageLimits()).start([])


def test_a_process_that_was_not_launched_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert launched() is None
    monkeypatch.setenv("RANK", "3")
    assert launched() is None
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert launched() == Launch(3, 8, 0)


# --- as every other world ---------------------------------------------------------------------------------------------


def test_the_comparison_of_checksums_can_fail(weights: StageWeights, tmp_path: Path) -> None:
    """The control: one number of one layer that runs elsewhere, and every checksum from then on is another."""
    tensors = load_file(weights.dynamics)
    name = next(name for name in tensors if layer_of(name) == 3 and tensors[name].ndim == 2)
    tensors[name][0, 0] += 1.0
    save_file(tensors, tmp_path / "other.safetensors")
    generator = staged_generator(replace(weights, dynamics=tmp_path / "other.safetensors"), TWO)
    try:
        changed = played(generator)
    finally:
        generator.close()
    pairs = zip(changed, played(whole_generator()), strict=True)
    assert all(made != true for (made, _), (true, _) in pairs)


def test_a_snapshot_over_processes_is_everything_and_a_commit_beside_the_decode_changes_nothing(
    weights: StageWeights,
) -> None:
    """Save, roll back, play again, with prompts, resets and every rung; then ticks that commit on another thread while
    another process decodes."""
    with supervised_world(weights, THREE) as (world, _):
        assert run_synctest(world, ticks=12, depth=3).mismatch is None
        assert isinstance(world.inner, StagedWorld)
        world.inner.overlap = True
        twin = whole_world()
        world.reset(3), twin.reset(3)
        assert run_ticks(world, 0, 9) == run_ticks(twin, 0, 9)
        world.inner.overlap = False
        assert run_synctest(whole_world(), ticks=12, depth=3).mismatch is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="stages on a GPU need a CUDA device")
def test_a_gpu_and_a_processor_make_the_picture_of_one_processor(weights: StageWeights) -> None:
    near(weights, "denoise:0-2@cpu:0, denoise:2-4@cuda:0, decode@cuda:0")
    near(weights, "denoise:0-2@cuda:0, denoise:2-4@cpu:0")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="NCCL between stages needs two CUDA devices")
def test_two_gpus_make_the_picture_of_one_processor(weights: StageWeights) -> None:
    near(weights, "denoise:0-2@cuda:0, denoise:2-4@cuda:1, decode@cuda:1")


def near(weights: StageWeights, text: str) -> None:
    """On another kind of device the last bits differ."""
    generator = staged_generator(weights, text)
    try:
        pairs = zip(played(generator), played(whole_generator()), strict=True)
        for (_, made), (_, true) in pairs:
            assert np.abs(made.numpy().astype(int) - true.numpy().astype(int)).max() <= 2
    finally:
        generator.close()
