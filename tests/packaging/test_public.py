"""Claims about `import nextframe`: what it gives, that it loads nothing, and that the examples of docs/api.md run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import nextframe
from nextframe.runtime import core
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
HEAVY = ("torch", "pygame", "moderngl", "glcontext", "av", "numpy", "pydantic", "yaml", "typer", "rich", "jinja2")


def loaded_after(code: str) -> set[str]:
    told = "import sys\nbefore = set(sys.modules)\n" + code + "\nprint(*sorted(set(sys.modules) - before), sep='\\n')"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_nextframe_loads_nothing_but_itself() -> None:
    loaded = loaded_after("import nextframe")
    assert {name for name in loaded if name.startswith("nextframe")} == {"nextframe"}
    assert not loaded & set(HEAVY)


def test_a_contract_loads_no_torch_no_window_and_no_gl() -> None:
    loaded = loaded_after("import nextframe\nnextframe.World, nextframe.NextframeError")
    assert "nextframe.runtime.core" in loaded
    assert not loaded & {"torch", "pygame", "moderngl", "glcontext", "av"}


def test_a_small_world_opens_without_torch_a_window_or_gl() -> None:
    loaded = loaded_after("import nextframe\nnextframe.open_world('toy').close()")
    assert "nextframe.worlds.toy.world" in loaded
    assert not loaded & {"torch", "pygame", "moderngl", "glcontext"}


@pytest.mark.parametrize("name", nextframe.__all__)
def test_every_public_name_is_there_and_in_dir(name: str) -> None:
    assert getattr(nextframe, name) is not None
    assert name in dir(nextframe)


def test_the_contracts_are_those_of_the_runtime() -> None:
    assert nextframe.Action is core.Action
    assert nextframe.NextframeError is core.NextframeError


def test_all_errors_of_the_runtime_are_public() -> None:
    errors = {name for name, kind in vars(core).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert errors
    assert errors <= set(nextframe.__all__)


def test_a_name_that_is_not_public_is_said_so() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Wrold'; see nextframe\.__all__"):
        _ = nextframe.Wrold  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        exec("from nextframe import Wrold")


def test_every_public_name_stands_on_its_page() -> None:
    unnamed = [name for name in nextframe.__all__ if not re.search(rf"\b{name}\b", PAGE)]
    assert unnamed == []


def test_the_examples_of_its_page_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    named: dict[str, object] = {}
    assert len(EXAMPLES) >= 4
    for example in EXAMPLES:
        exec(compile(example, "docs/api.md", "exec"), named)
    said = capsys.readouterr().out
    assert "'throttle'" in said
    assert "unknown world 'tooy': did you mean 'toy'" in said
    assert (tmp_path / "out" / "report.json").is_file()


def test_its_types_are_shipped() -> None:
    assert (ROOT / "runtime" / "public" / "py.typed").is_file()
