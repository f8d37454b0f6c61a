"""Claims about the wheel that the checkout makes: one name, everything a user needs, nothing of the lab."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.projects import make_project, python
from tests.support.paths import ROOT

FOLDERS = ("runtime", "controllers", "worlds", "model", "tools")
CODE = {".py", ".pyc"}
NOT_SHIPPED = ("tools/lab/", "runtime/public/")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy of the checkout, so that nothing is left in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), str(source)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (found,) = out.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what installing the wheel adds, and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    asked = ["install", "-q", "--no-deps", "--no-compile", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *asked], check=True, capture_output=True)
    return target


def members(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def test_it_adds_one_name_and_its_record(installed: Path) -> None:
    added = sorted(path.name for path in installed.iterdir() if path.name != "bin")
    assert len(added) == 2
    assert added[0] == "nextframe"
    assert added[1].startswith("nextframe-")
    assert added[1].endswith(".dist-info")


def test_the_lab_is_not_in_it(wheel: Path) -> None:
    assert not [name for name in members(wheel) if name.startswith("nextframe/tools/lab/")]


def test_every_module_and_data_file_of_a_package_is_in_it(wheel: Path) -> None:
    held = set(members(wheel))
    tracked = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a checkout of git")
    wanted = [name for name in tracked.stdout.split() if not name.startswith(NOT_SHIPPED) and (ROOT / name).is_file()]
    assert len(wanted) > 200
    assert [name for name in wanted if f"nextframe/{name}" not in held] == []
    assert {f"nextframe/{path.name}" for path in (ROOT / "runtime" / "public").iterdir() if path.is_file()} <= held


def test_it_names_the_command_and_the_plugin(installed: Path) -> None:
    (record,) = installed.glob("*.dist-info")
    points = (record / "entry_points.txt").read_text(encoding="utf-8")
    assert "nextframe = nextframe.runtime.cli.app:main" in points
    assert "nextframe = nextframe.runtime.testing.plugin" in points


def test_commands_work_from_it_in_a_folder_with_modules_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    root = make_project(tmp_path / "project", packages=True)
    where = python(root, ["-c", "import nextframe; print(nextframe.__file__)"], packages_at=installed)
    assert where.stdout.startswith(str(installed)), "the test must use what was installed, not the checkout"
    listed = python(root, ["-m", "nextframe", "worlds"], packages_at=installed)
    assert listed.returncode == 0, listed.stderr
    assert all(world in listed.stdout for world in ("toy", "circuit", "drive"))
    asked = ["-m", "nextframe", "run", "toy", "--bot", "wander", "--ticks", "10", "--no-video"]
    ran = python(root, asked, packages_at=installed)
    assert ran.returncode == 0, ran.stderr
    drawn = python(root, ["-m", "nextframe", "report", "out/report.json"], packages_at=installed)
    assert drawn.returncode == 0, drawn.stderr
    (page,) = root.glob("out/*.html")
    assert "toy" in page.read_text(encoding="utf-8")
    assert json.loads((root / "out" / "report.json").read_text(encoding="utf-8"))["ticks"] == 10
