"""Claims about kinds of worlds: what each can do is stated by itself, cheaply, and generic code asks no name."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextframe.runtime.core import ConfigError
from nextframe.runtime.session.registry import find_world, world_names
from nextframe.worlds.kinds import MODULES, kind_named

ROOT = Path(__file__).resolve().parents[2]
TO_CONVERT = {f"runtime/session/parts/{part}.py" for part in ("device", "drift", "stages")}
"""They still hold lists of kinds of their own."""


def test_every_shipped_world_is_of_a_kind_that_states_what_it_can_do() -> None:
    for name in world_names():
        assert find_world(name).kind is kind_named(find_world(name).spec.kind, Path("world.yaml"))


def test_what_the_shipped_worlds_can_do() -> None:
    kinds = {name: kind_named(name, Path("world.yaml")) for name in MODULES}

    def able(capability: str) -> set[str]:
        return {name for name, kind in kinds.items() if getattr(kind, capability)}

    shipped = {"circuit", "drive", "freedoom"}
    assert able("teacher") == {"circuit", "drive"}
    assert able("staged_parts") == shipped
    assert able("on_gpu") == able("gates") == shipped | {"racer"}
    assert able("mends_drift") == {"circuit"}
    assert able("pair") == shipped | {"toy"}


def test_an_unknown_kind_is_refused_with_the_file_and_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"here/world\.yaml: kind: expected circuit, .* or toy, got 'cicuit'"):
        kind_named("cicuit", Path("here/world.yaml"))


def test_asking_what_a_world_can_do_imports_no_framework() -> None:
    program = (
        "import sys; from pathlib import Path; from nextframe.worlds.kinds import MODULES, kind_named\n"
        "for name in MODULES: kind_named(name, Path('world.yaml'))\n"
        "print(*{'torch', 'vizdoom', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def comparisons_of_kinds(source: str) -> Iterator[int]:
    """Lines that compare something with the name of a kind, or a world's `spec.kind` with anything."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        parts = [part for side in (node.left, *node.comparators) for part in ast.walk(side)]
        names = {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        of_a_spec = any(
            isinstance(part, ast.Attribute) and part.attr == "kind" and ast.unparse(part.value).endswith("spec")
            for part in parts
        )
        if of_a_spec or names & set(MODULES):
            yield node.lineno


def test_generic_code_asks_for_no_world_by_name() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("runtime", "controllers", "model", "tools")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in comparisons_of_kinds(path.read_text(encoding="utf-8"))
    ]
    assert not found, "ask found.kind what it can do: " + ", ".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "found.spec.kind not in KINDS_ON_A_GPU",
        "spec.kind == other",
        "if name == 'drive': pass",
        "kind in ('toy', 'x')",
        "kind in {'circuit'}",
    ],
)
def test_a_world_asked_for_by_name_would_be_found(source: str) -> None:
    assert list(comparisons_of_kinds(source)) == [1]
