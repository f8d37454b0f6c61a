"""Claims about a user's own modules: whatever they are called, nextframe and the project each get their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.projects import AUDITED, GAME, POLICY, make_project, python

LAYOUTS = pytest.mark.parametrize("packages", [True, False], ids=["folders", "files"])
OWN_TEST = """
from runtime import STEP_PX
from model import WEIGHTS
from tools import helper


def test_the_projects_own_modules():
    assert (STEP_PX, WEIGHTS, helper()) == (1, "mine", "mine")
"""
DEADLINE_TEST = """

def test_on_time(deadline_session):
    report = deadline_session("toy", bot="wander", ticks=30, deadline_ms=2000)
    report.assert_on_time(max_miss_rate=0.05)
"""
OWN = {"model": "WEIGHTS = 'mine'\n", "tools": "def helper():\n    return 'mine'\n"}
QUIET = ("-m", "pytest", "-q", "-p", "no:cacheprovider")

MAKE_DATA = """
from pathlib import Path
from nextframe.tools.train.data.sources import SourceOptions, make_data, open_source

if __name__ == "__main__":
    opened = open_source(SourceOptions(env="game:Dot-v0", policy="tools:drive"))
    make_data(opened, Path("data"), frames=1024, seconds=60, workers=2)
    import nextframe.tools.train.world, nextframe.tools.train.learn.motion
    print("frames from", len(list(Path("data").glob("shard-*.npz"))), "shards")
"""


@LAYOUTS
def test_a_world_runs_and_plays_from_the_projects_folder(tmp_path: Path, packages: bool) -> None:
    root = make_project(tmp_path / "project", packages=packages)
    ran = python(root, ["-m", "nextframe", "run", "toy", "--bot", "wander", "--ticks", "10", "--clock", "fixed"])
    assert ran.returncode == 0, ran.stderr
    assert (root / "out" / "report.json").is_file()
    played = python(root, ["-m", "nextframe", "play", "toy", "--ticks", "3"])
    assert played.returncode == 0, played.stderr


def test_a_world_with_a_network_runs_from_the_projects_folder(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", packages=False)
    asked = ["-m", "nextframe", "run", "circuit", "--idle", "--ticks", "3", "--clock", "fixed", "--no-video"]
    ran = python(root, asked)
    assert ran.returncode == 0, ran.stderr


@LAYOUTS
def test_deadline_tests_run_beside_tests_of_the_projects_own_modules(tmp_path: Path, packages: bool) -> None:
    root = make_project(tmp_path / "project", packages=packages, own=OWN)
    (root / "test_project.py").write_text(OWN_TEST + DEADLINE_TEST, encoding="utf-8")
    ran = python(root, QUIET)
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr


def test_pytest_runs_in_a_project_that_never_uses_nextframe(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", packages=True, own=OWN)
    (root / "tests").mkdir()
    (root / "tests" / "__init__.py").touch()
    (root / "tests" / "test_mine.py").write_text(OWN_TEST, encoding="utf-8")
    ran = python(root, QUIET)
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


def test_a_trap_ends_a_project_that_imports_it(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", packages=True)
    assert "RuntimeError: model is the project's own" in python(root, ["-c", "import model"]).stderr


@pytest.mark.slow
@LAYOUTS
def test_an_object_of_the_projects_own_is_audited(tmp_path: Path, packages: bool) -> None:
    root = make_project(tmp_path / "project", packages=packages)
    (root / "target.py").write_text(AUDITED, encoding="utf-8")
    ran = python(root, ["-m", "nextframe", "audit", "python:target:make", "--quick", "--no-page"])
    assert ran.returncode == 0, ran.stderr
    assert "interactive" in ran.stdout


@pytest.mark.parametrize("module", ["tools", "worlds", "audit"])
def test_an_object_of_the_projects_own_is_found_whatever_its_module_is_called(tmp_path: Path, module: str) -> None:
    root = make_project(tmp_path / "project", packages=module == "worlds", own={module: AUDITED})
    found = (
        "from nextframe.runtime.core import ManualClock\n"
        "from nextframe.tools.audit.command import subject_of\n"
        f"target = subject_of('python:{module}:make', ManualClock()).factory()\n"
        "print('shown', target.start(3).frame.shape)"
    )
    ran = python(root, ["-c", found])
    assert "shown (24, 32, 3)" in ran.stdout, ran.stderr


def test_workers_make_data_with_a_policy_in_a_module_named_tools(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium", reason="needs Gymnasium: pip install 'nextframe[train]'")
    root = make_project(tmp_path / "project", packages=True, own={"tools": POLICY})
    (root / "game.py").write_text(GAME, encoding="utf-8")
    (root / "make_data.py").write_text(MAKE_DATA, encoding="utf-8")
    ran = python(root, ["make_data.py"])
    assert "frames from 2 shards" in ran.stdout, ran.stderr


@pytest.mark.slow
@LAYOUTS
def test_a_world_is_trained_from_the_projects_folder(tmp_path: Path, packages: bool) -> None:
    pytest.importorskip("gymnasium", reason="needs Gymnasium: pip install 'nextframe[train]'")
    root = make_project(tmp_path / "project", packages=packages, own={"tools": POLICY})
    (root / "game.py").write_text(GAME, encoding="utf-8")
    asked = "train --env game:Dot-v0 --policy tools:drive --workers 2 --budget 30s --no-compile --out dot --force"
    ran = python(root, ["-m", "nextframe", *asked.split()])
    assert ran.returncode == 0, ran.stderr
    assert (root / "dot" / "world.yaml").is_file()
