"""Claims about the `python -m` lines of the docs: the module is there, and it says how it is used."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("worlds/*/*.md"), *ROOT.glob("tools/**/*.md")]
PROGRAM = re.compile(r"python3? -m\s+(nextframe[\w.]*|(?:runtime|model|worlds|tools|controllers)\.[\w.]+)")


def programs(text: str) -> set[str]:
    return {name.rstrip(".") for name in PROGRAM.findall(text)}


NAMED = sorted({name for page in PAGES for name in programs(page.read_text(encoding="utf-8"))})


def test_lines_that_are_broken_in_two_and_old_names_are_found() -> None:
    assert programs("`python -m\nnextframe.tools.lab.soak`, python -m tools.soak.") == {
        "nextframe.tools.lab.soak",
        "tools.soak",
    }
    assert len(NAMED) > 20


@pytest.mark.parametrize("name", NAMED)
def test_a_program_named_in_the_docs_is_there(name: str) -> None:
    path = ROOT / name.removeprefix("nextframe").lstrip(".").replace(".", "/")
    if name == "nextframe":
        path = ROOT / "runtime" / "public"
    assert name.startswith("nextframe"), "programs are named by the installed package"
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED)
def test_a_program_named_in_the_docs_says_how_it_is_used(name: str) -> None:
    ran = subprocess.run([sys.executable, "-m", name, "--help"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert "usage" in ran.stdout.lower()
