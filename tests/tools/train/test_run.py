"""`nextframe train` as a whole: refusals in one line, a folder that plays, and a run that survives any kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")

import tests.support.worlds.games  # noqa: F401 - registers Dot-v0
from nextframe.runtime.cli.app import run_command
from nextframe.runtime.config import load_yaml
from nextframe.runtime.display.video import VideoWriter
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.tools.train import command
from nextframe.tools.train.base.budget import Plan, parse_budget, plan_for
from nextframe.tools.train.base.part import Part
from nextframe.tools.train.data import clips as clips_module
from nextframe.tools.train.data import explore
from nextframe.tools.train.data.clips import load_clips, load_source, split
from nextframe.tools.train.data.recordings import recording_clips, sessions_of
from nextframe.tools.train.data.sources import SourceOptions, make_data, open_source
from nextframe.tools.train.learn import checkpoint
from nextframe.tools.train.picture import played
from tests.support.paths import ROOT
from tests.support.replays import record_a_session

DOT = "tests.support.worlds.games:Dot-v0"


def train(out: Path, *options: str, env: str | None = DOT) -> int:
    source = [] if env is None else ["--env", env]
    return run_command(["train", "--out", str(out), "--workers", "1", "--threads", "1", *source, *options])


def small_plan(seconds: float = 20.0) -> Plan:
    plan = plan_for(parse_budget("20s"), 32, 32)
    return replace(plan, frames=1500, tokenizer_s=seconds * 0.03, dynamics_s=seconds * 0.1, width=32, layers=2,
                   refine_width=8, refine_blocks=1, max_channels=16, window=3, ticks=6)  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the budget, a network that is trained for a few seconds."""
    monkeypatch.setattr(command, "plan_for", lambda *_, **__: small_plan())


# --- refusals that need no data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "options", "said"),
    [
        ("w", [], "exactly one of --env ID"),
        ("w", ["--env", DOT, "--from-recordings", "a.nfr"], "exactly one of --env ID"),
        ("w", ["--from-video", "films"], "together with --actions"),
        ("w", ["--env", DOT, "--budget", "soon"], "--budget soon: expected a time"),
        ("w", ["--env", DOT, "--size", "big"], "--size big: expected WIDTHxHEIGHT"),
        ("w", ["--env", DOT, "--env-option", "deaf"], "expected KEY=VALUE"),
        ("w", ["--env", DOT, "--policy", "nowhere"], "--policy nowhere: expected"),
        ("w", ["--env", DOT, "--device", "cudda"], "did you mean cuda?"),
        ("w", ["--env", "Nowhere-v0"], "--env Nowhere-v0"),
        ("My World", ["--env", DOT], "a folder whose name is a world's name"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, options: list[str], said: str
) -> None:
    assert train(tmp_path / out, *options, env=None) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]
    assert sum(line.startswith("nextframe:") for line in lines) == 1
    assert not (tmp_path / out / "world.yaml").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_budget_without_a_gpu_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "w", "--budget", "gpu-5m") == 2
    assert "choose a budget without gpu-" in capsys.readouterr().err


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.txt").write_text("years of work", encoding="utf-8")
    for options in ([], ["--resume"]):
        assert train(tmp_path / "w", *options) == 2
        assert "expected a new or empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "w").iterdir()] == ["thesis.txt"]


# --- refusals that need data --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_game_that_stands_still_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "w", "--env-option", "still=true") == 2
    assert "the picture is constant" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_game_that_is_deaf_to_its_player_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "w", "--env-option", "deaf=true") == 2
    assert "the frames do not change with the actions" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_an_explorer_that_never_lets_go_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explore.Explorer, "next", lambda self: np.array([1, 0, 0, 0], np.float32))
    assert train(tmp_path / "w") == 2
    assert "the actions never change: left, right, up, down" in capsys.readouterr().err


# --- a whole run --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of the dot, hardly trained; made once."""
    out = tmp_path_factory.mktemp("worlds") / "dot"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "plan_for", lambda *_, **__: small_plan())
        assert train(out) == 0
    return out


def test_a_run_leaves_a_world_with_its_card_figures_keys_and_pictures(made: Path) -> None:
    spec = load_yaml(made / "world.yaml", type(find_world(str(made)).spec))
    assert spec.action_space().buttons == ("left", "right", "up", "down")
    figures = json.loads((made / "eval.json").read_text(encoding="utf-8"))
    table = figures["next_frame"]
    assert {"copy_last", "ridge", "ceiling", "steps_1", "steps_2", "steps_4", "shuffled"} <= set(table)
    assert table["ceiling"]["psnr_db"] > table["copy_last"]["psnr_db"]
    card = (made / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "licence of that environment" in card
    assert set(figures["answers"]) == {"left", "right", "up", "down"}
    assert {"strip.png", "answers.png", "bindings.yaml"} <= {path.name for path in made.iterdir()}
    assert list((made / ".train" / "strips").iterdir())
    assert all(path.stat().st_size < 16 << 20 for path in made.glob("*.safetensors"))


def test_the_world_runs_and_comes_back_bit_for_bit_after_rollbacks(made: Path, tmp_path: Path) -> None:
    record = tmp_path / "session.nfr"
    options = ["--ticks", "30", "--clock", "fixed", "--bot", "wander", "--no-video", "--out", str(tmp_path)]
    assert run_command(["run", str(made), *options, "--record", str(record)]) == 0
    assert run_command(["replay", str(record), "--verify", "--world", str(made)]) == 0
    assert run_command(["synctest", str(made), "--ticks", "24"]) == 0


def test_every_button_reaches_the_world_and_its_keys_are_free_of_conflicts(made: Path) -> None:
    from nextframe.controllers.bindings import load_bindings

    bindings = load_bindings(find_world(str(made)).spec.action_space(), find_world(str(made)).bindings)
    for button in ("left", "right", "up", "down"):
        assert f"key:{button}" in bindings.controls_of(button)
    world: Any = load_world(find_world(str(made)))
    assert world.exclusive == (("left", "right", "up", "down"),)


def test_a_picture_of_the_world_under_a_script_has_a_frame_a_tick(made: Path, tmp_path: Path) -> None:
    script = tmp_path / "push.yaml"
    entry = "{at: 1, hold: [left], for: 5}"
    script.write_text(f"version: 1\nname: push\nlength: 9\ntimeline:\n  - {entry}\n", encoding="utf-8")
    frames = list(played(str(made), script, 9, 0))
    assert [frame.shape for frame in frames] == [(32, 32, 3)] * 10


def test_a_finished_folder_is_not_overwritten(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (made / "dynamics.safetensors").read_bytes()
    assert train(made) == 2
    assert "add --resume to go on, or choose another name" in capsys.readouterr().err
    assert train(made, "--resume", "--env-option", "over=50") == 2
    assert "was begun with another env_options" in capsys.readouterr().err
    assert (made / "dynamics.safetensors").read_bytes() == before


# --- kills --------------------------------------------------------------------------------------------------------

CHILD = """
import sys
import tests.support.worlds.games
from dataclasses import replace
from nextframe.runtime.cli.app import run_command
from nextframe.tools.train import command
from nextframe.tools.train.learn import checkpoint
from tests.tools.train.test_run import small_plan
checkpoint.EVERY_S = 0.5
command.plan_for = lambda *_, **__: replace(small_plan(), dynamics_s=float(sys.argv[2]))
sys.exit(run_command(["train", "--env", "tests.support.worlds.games:Dot-v0", "--out", sys.argv[1], "--workers", "1",
"--threads", "1",
                      *sys.argv[3:]]))
"""


def child(out: Path, seconds: float, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(out), str(seconds), *options], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["data", "tokenizer", "dynamics"])
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, stage: str) -> None:
    out = tmp_path / "dot"
    awaited = {
        "data": out / ".train" / "data" / "shard-00000.npz",
        "tokenizer": out / ".train" / "tokenizer.checkpoint",
        "dynamics": out / ".train" / "dynamics.checkpoint",
    }[stage]
    first = child(out, 600.0)
    end_s = time.monotonic() + 300
    while not awaited.exists() and first.poll() is None and time.monotonic() < end_s:
        time.sleep(0.05)  # another process is waited for
    first.send_signal(signal.SIGKILL)
    _, errors = first.communicate()
    assert first.returncode == -signal.SIGKILL, errors
    assert awaited.exists()
    assert not (out / "world.yaml").exists()
    shards = {path.name: path.stat().st_mtime_ns for path in (out / ".train" / "data").glob("shard-*.npz")}
    second = child(out, 4.0, "--resume")
    _, errors = second.communicate(timeout=400)
    assert second.returncode == 0, errors
    if stage == "dynamics":
        assert "dynamics: goes on after" in errors
    kept = {path.name: path.stat().st_mtime_ns for path in (out / ".train" / "data").glob("shard-*.npz")}
    assert shards.items() <= kept.items()
    load_world(find_world(str(out))).close()


# --- parts --------------------------------------------------------------------------------------------------------


def test_a_run_in_parts_stores_what_it_has_and_ends_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = replace(small_plan(4.0), frames=600)
    monkeypatch.setattr(command, "plan_for", lambda *_, **__: replace(plan, dynamics_s=3600.0))
    out = tmp_path / "dot"
    assert train(out, "--part", "0.001s") == 0
    assert "this part is over" in capsys.readouterr().err
    assert (out / ".train" / "tokenizer.checkpoint").exists()
    assert not (out / "world.yaml").exists()

    class OnceDynamicsAreStored(Part):
        def over(self) -> bool:
            return (out / ".train" / "dynamics.checkpoint").exists()

    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    monkeypatch.setattr(command, "Part", OnceDynamicsAreStored)
    assert train(out, "--part", "1h", "--resume") == 0
    assert "this part is over" in capsys.readouterr().err
    assert not (out / "world.yaml").exists()
    monkeypatch.setattr(command, "Part", Part)
    monkeypatch.setattr(command, "plan_for", lambda *_, **__: plan)
    assert train(out, "--resume") == 0
    said = capsys.readouterr().err
    assert "dynamics: goes on after" in said
    assert "this part is over" not in said
    load_world(find_world(str(out))).close()


@pytest.mark.parametrize("text", ["soon", "8", "0s", "-3m"])
def test_what_is_no_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert train(tmp_path / "dot", "--part", text) == 2
    assert "expected a time such as 90s or 8m" in capsys.readouterr().err
    assert not (tmp_path / "dot").exists()


# --- recordings ---------------------------------------------------------------------------------------------------


def test_recorded_sessions_are_played_again_and_their_frames_kept(tmp_path: Path) -> None:
    paths = [tmp_path / "a.nfr", tmp_path / "b.nfr"]
    replays = [record_a_session(path) for path in paths]
    sessions = sessions_of(paths)
    parts = list(recording_clips(paths, sessions, (48, 64)))
    assert len(parts) == 2
    clips = parts[0]
    assert clips.frames.shape == (60, 48, 64, 3)
    assert clips.starts.tolist() == [0, 30]  # a reset begins an episode
    steer = [tick.action.axis("steer") for tick in replays[0].ticks]
    assert clips.conditions[:, sessions.controls.space.axes.index("steer")] == pytest.approx(steer)
    words = clips.conditions[:, -2:]
    assert words[10].tolist() == [1, 0]  # day, then night from tick 20 on
    assert words[25].tolist() == [0, 1]
    assert len(np.unique(clips.frames.reshape(60, -1), axis=0)) > 20


def test_recordings_of_two_worlds_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.support.replays import some_ticks, write

    record_a_session(tmp_path / "a.nfr")
    write(tmp_path / "b.nfr", some_ticks(12))
    options = ["--from-recordings", str(tmp_path / "a.nfr"), "--from-recordings", str(tmp_path / "b.nfr")]
    assert train(tmp_path / "w", *options, env=None) == 2
    assert "expected recordings of one world, got pond, toy" in capsys.readouterr().err


def test_videos_become_shards_and_a_source(tmp_path: Path) -> None:
    from fractions import Fraction

    films, table = tmp_path / "films", tmp_path / "actions.csv"
    lines = ["video,frame,go"]
    for name in ("a", "b"):
        writer = VideoWriter(films / f"{name}.mp4", Fraction(20), (32, 32), scale=1)
        for n in range(40):
            writer.add(np.full((32, 32, 3), 5 * n, np.uint8))
            lines += [f"{name}.mp4,{n},{n % 2}"] if n else []
        writer.close()
    table.write_text("\n".join(lines), encoding="utf-8")
    opened = open_source(SourceOptions(videos=films, actions=table, size="32x32"))
    make_data(opened, tmp_path / "data", frames=100, seconds=60, workers=1)
    clips = load_clips(tmp_path / "data")
    assert (len(clips), clips.starts.tolist()) == (80, [0, 40])
    assert load_source(tmp_path / "data").controls.space.buttons == ("go",)


# --- learning for real --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_dot_that_four_buttons_move_is_learned(tmp_path: Path) -> None:
    """About three minutes on one core: better than copying, better than any straight line, and it obeys."""
    out = tmp_path / "dot"
    assert train(out, "--budget", "240s") == 0
    figures = json.loads((out / "eval.json").read_text(encoding="utf-8"))
    assert figures["gain_over_copy_last_db"] > 1
    assert figures["gain_over_ridge_db"] > 0
    assert figures["action_effect_db"] > 1


def test_the_small_game_is_split_so_that_something_is_held_out(made: Path) -> None:
    clips = load_clips(made / ".train" / "data")
    kept, held = split(clips)
    assert min(len(kept), len(held)) >= clips_module.MIN_FRAMES // 10
