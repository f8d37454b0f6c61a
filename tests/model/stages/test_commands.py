"""Claims about commands over stage processes and on devices: they do what they do in one process, or say why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import Action, ConfigError, FixedClock
from nextframe.runtime.session.parts.device import device_choice, device_environment
from nextframe.runtime.session.parts.place import AS_ITS_FILE_SAYS, PlaceOptions, placement
from nextframe.runtime.session.registry import find_world
from nextframe.tools.audit.command import subject_of

TWO = "denoise:0-3@cpu:0, denoise:3-6@cpu:1"
APART = "denoise:0-6@cpu:0, decode@cpu:1"
NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


def test_synctest_of_the_circuit_with_its_decoder_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["synctest", "circuit", "--ticks", "6", "--depth", "2", "--stages", APART, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"]
    assert found["resimulated_ticks"] >= 8


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    """What an audit says of frames and state; how long things took is another question on every machine."""
    next_frame = {key: value for key, value in document["next_frame"].items() if key != "response_ms"}
    actions = [{key: value for key, value in row.items() if key != "response_ms"} for row in next_frame["per_action"]]
    parts = {key: document[key] for key in ("target", "tick_hz", "state", "source", "notes", "missing")}
    return {**parts, "next_frame": {**next_frame, "per_action": actions}}


@pytest.mark.slow
def test_an_audit_of_the_circuit_over_two_processes_is_that_of_one(tmp_path: Path) -> None:
    documents = []
    for name, more in (("one", []), ("two", ["--stages", TWO])):
        out = tmp_path / name
        run_command(["audit", "circuit", "--quick", "--no-page", "--out", str(out), *more])
        documents.append(json.loads((out / "audit.json").read_text()))
    one, two = documents
    assert without_times(two) == without_times(one)
    assert two["next_frame"]["per_action"]


@pytest.mark.slow
def test_what_an_audit_opens_over_two_processes_is_the_world_and_ends_with_it() -> None:
    target = subject_of("circuit", FixedClock(), TWO).factory()
    alone = subject_of("circuit", FixedClock()).factory()
    try:
        shown = [
            (made.start(3).frame.tobytes(), made.step(Action(axes={"steer": 1.0})).frame.tobytes())
            for made in (target, alone)
        ]
        assert shown[0] == shown[1]
        world = target._world.inner
        pids = [*world.stages.processes.pids, *world.stages.processes.fork_server.pids]
    finally:
        target.close(), alone.close()
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_foreign_target_has_no_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["audit", "python:json:loads", "--stages", "auto", "--processes", "2"]) == 2
    assert "has no layers that could be placed" in capsys.readouterr().err


@pytest.mark.slow
def test_ticks_begun_ahead_over_two_processes_verify_in_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = str(tmp_path / "ahead.nfr")
    run = ["run", "circuit", "--ticks", "40", "--bot", "idle", "--no-video", "--record", recording, "--json"]
    assert run_command([*run, "--ahead", "--stages", TWO, "--out", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["stages"]["processes"] == 2
    assert sum(report["ahead"][outcome] for outcome in ("hit", "miss", "none")) == 40
    assert run_command(["replay", recording, "--verify"]) == 0
    assert "identical: 40 ticks" in capsys.readouterr().out


def test_a_layout_on_gpus_that_are_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = f"cuda:{torch.cuda.device_count()}"
    stages = f"denoise:0-6@cpu:0, decode@{missing}"
    run = ["run", "circuit", "--ticks", "2", "--idle", "--no-video", "--out", str(tmp_path), "--stages", stages]
    assert run_command(run) == 2
    error = capsys.readouterr().err
    assert f"--stages: {missing}: expected" in error
    assert len(error.splitlines()) == 1


# --- devices ----------------------------------------------------------------------------------------------------------


def test_the_processor_is_what_a_world_plays_on_unless_told() -> None:
    found = find_world("circuit")
    assert placement(AS_ITS_FILE_SAYS, found).device == "cpu"
    assert placement(PlaceOptions(device="cpu"), found).device == "cpu"
    assert device_environment("cpu") == {"device": "cpu"}


@pytest.mark.parametrize(
    "command", [["run", "circuit", "--ticks", "2", "--idle"], ["play", "circuit"], ["bench", "circuit"]]
)
@NO_GPU
def test_a_gpu_that_is_not_there_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*command, "--device", "cuda"]) == 2
    printed = capsys.readouterr()
    assert "--device cuda: expected a CUDA device, torch" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not printed.out


def test_of_several_gpus_only_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_choice("cuda:1", find_world("circuit")) == "cuda:1"
    with pytest.raises(ConfigError, match="expected cuda:0 to cuda:1, torch sees 2 CUDA devices"):
        device_choice("cuda:2", find_world("circuit"))


@pytest.mark.parametrize(
    ("device", "world", "more", "said"),
    [
        ("gpu", "circuit", {}, "expected cpu, cuda, or one of several GPUs"),
        ("cuda", "toy", {}, "toy plays on the processor"),
        ("cuda", "circuit", {"side_by_side": True}, "leave one out"),
        ("cuda", "circuit", {"staged": True}, "a layout names its devices itself"),
        ("cpu", "circuit", {"staged": True}, "a layout names its devices itself"),
    ],
)
def test_a_device_that_cannot_be_is_refused(device: str, world: str, more: dict[str, bool], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        device_choice(device, find_world(world), **more)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_session_on_a_gpu_says_so_and_verifies_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = str(tmp_path / "gpu.nfr")
    run = ["run", "circuit", "--ticks", "40", "--bot", "wander", "--clock", "fixed", "--no-video", "--json"]
    assert run_command([*run, "--device", "cuda", "--record", recording, "--out", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["env"]["device"] == "cuda"
    assert report["env"]["gpu"]
    assert run_command(["replay", recording, "--verify", "--device", "cuda"]) == 0
    assert "identical: 40 ticks" in capsys.readouterr().out
