"""Claims about `python:MODULE:FACTORY`: a world that a user's function makes is taken wherever a world's name is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nextframe.runtime.cli.app import run_command
from nextframe.runtime.core import ConfigError, FixedClock, MonotonicClock
from nextframe.runtime.session.python_world import PythonWorld, call_factory
from nextframe.runtime.session.registry import find_world, load_world
from nextframe.worlds.toy.world import ToyWorld

MODULE = """
from nextframe.worlds.toy.world import ToyWorld

made = []

def make():
    made.append(ToyWorld())
    return made[-1]

def on_clock(clock):
    made.append(ToyWorld(clock))
    return made[-1]

def nothing():
    return 7

class Half:
    info = "what it is"
    def reset(self, seed): ...

def half():
    return Half()

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's module in the working folder; its name is its own in every test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"their_world_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    return name


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    document: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return document


def test_a_users_world_runs_records_and_verifies(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    world = f"python:{module}:make"
    session = ["run", world, "--ticks", "30", "--bot", "wander", "--clock", "fixed", "--no-video", "--record", "a.nfr"]
    assert run_command([*session, "--json"]) == 0
    assert last_json(capsys)["ticks"] == 30
    assert run_command(["replay", "a.nfr", "--verify", "--world", world]) == 0
    assert "identical: 30 ticks" in capsys.readouterr().out


def test_it_is_the_same_session_as_that_of_the_world_by_its_name(module: str) -> None:
    session = ["--ticks", "25", "--bot", "wander", "--clock", "fixed", "--no-video"]
    assert run_command(["run", f"python:{module}:make", *session, "--record", "theirs.nfr"]) == 0
    assert run_command(["run", "toy", *session, "--record", "ours.nfr"]) == 0
    assert run_command(["replay", "theirs.nfr", "--verify", "--world", "toy"]) == 0
    assert run_command(["replay", "ours.nfr", "--verify", "--world", f"python:{module}:on_clock"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["synctest", "WORLD", "--ticks", "20", "--depth", "3"],
        ["saves", "WORLD", "--saves", "saves"],
        ["run", "WORLD", "--ticks", "5", "--idle", "--no-video", "--save-slot", "here", "--saves", "saves"],
        ["play", "WORLD", "--ticks", "5", "--out", "played"],
        ["bench", "WORLD", "--seconds", "1", "--json"],
        ["audit", "WORLD", "--quick", "--no-page"],
    ],
)
def test_every_command_that_takes_a_world_takes_it(
    module: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    code = run_command([f"python:{module}:make" if word == "WORLD" else word for word in words])
    assert (code, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(
    "words", [["eval", "WORLD", "--quick"], ["plan", "WORLD"], ["run", "WORLD", "--device", "cuda"]]
)
def test_what_it_cannot_do_is_said_in_one_line(
    module: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--ticks", "3", "--idle"] if words[0] == "run" else []
    code = run_command([f"python:{module}:make" if word == "WORLD" else word for word in [*words, *more]])
    complaint = capsys.readouterr().err
    assert code == 2
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("python:", "expected python:MODULE:FACTORY"),
        ("python:MODULE", "expected python:MODULE:FACTORY"),
        ("python:no_such_module_at_all:make", "expected a module no_such_module_at_all that can be imported"),
        ("python:MODULE:mke", "which has none of that name"),
        ("python:MODULE:number", "got 3, which cannot be called"),
        ("python:MODULE:nothing", "expected it to make a World (nextframe.runtime.core); got int, which lacks info"),
        ("python:MODULE:half", "got Half, which lacks advance, snapshot"),
    ],
)
def test_mistakes_are_one_line_that_says_what_was_expected(
    module: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["run", name.replace("MODULE", module), "--ticks", "1", "--idle"]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert complaint.count("\n") == 1


def test_a_world_whose_info_is_none_is_refused() -> None:
    class NoInfo(ToyWorld):
        def __init__(self) -> None:
            super().__init__()
            self.info = "toy"  # type: ignore[assignment]

    sys.modules[__name__].__dict__["NoInfo"] = NoInfo
    with pytest.raises(ConfigError, match="expected the world's info to be a WorldInfo"):
        PythonWorld(f"python:{__name__}:NoInfo")


def test_the_factory_is_called_once_for_each_world(module: str) -> None:
    """A checkpoint takes seconds to load: the world that was looked at is the one that plays."""
    found = find_world(f"python:{module}:make")
    made = sys.modules[module].made
    assert load_world(found, MonotonicClock()) is made[0]
    assert load_world(found, MonotonicClock()) is not made[0]
    assert len(made) == 2


def test_a_factory_that_wants_the_clock_gets_the_sessions(module: str) -> None:
    clock = FixedClock()
    world = load_world(find_world(f"python:{module}:on_clock"), clock)
    assert isinstance(world, ToyWorld)
    assert sys.modules[module].made[-1] is world
    assert len(sys.modules[module].made) == 2, "made anew: the one to look at was on another clock"
    seen: list[object] = []
    call_factory(lambda clock=None: seen.append(clock), clock)
    call_factory(lambda: seen.append("none"), clock)
    call_factory(lambda size=3: seen.append(size), clock)
    assert seen == [clock, "none", 3]


def test_scripts_and_bindings_are_looked_for_beside_the_module(module: str, tmp_path: Path) -> None:
    (tmp_path / "bindings.yaml").write_text("{}\n", encoding="utf-8")
    found = find_world(f"python:{module}:make")
    assert found.bindings == tmp_path / "bindings.yaml"


def test_play_reads_the_bindings_that_a_world_brings(
    module: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bindings.yaml").write_text("no_such_key: 1\n", encoding="utf-8")
    assert run_command(["play", f"python:{module}:make"]) == 2
    assert "bindings.yaml" in capsys.readouterr().err
