"""Claims about who may know whom: the table of DESIGN section 1, read from the source, never by importing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("runtime", "controllers", "worlds", "model", "tools")
ANYTHING = "*"


@dataclass(frozen=True)
class Rule:
    """What a file may import besides the standard library: module prefixes, or `ANYTHING`."""

    allowed: tuple[str, ...]
    reason: str


RUNTIME = ("numpy", "runtime")
BY_FILE = {
    "runtime/cli.py": Rule((ANYTHING,), "the composition root puts the parts together"),
    "runtime/registry.py": Rule((ANYTHING,), "composition root: from a world's name to the class that plays it"),
    "runtime/startup.py": Rule(
        (ANYTHING,), "composition root: loads worlds, and imports torch only for those that need it"
    ),
    "runtime/session.py": Rule((ANYTHING,), "composition root: puts a headless session together"),
    "runtime/playback.py": Rule((ANYTHING,), "composition root: puts a playback together"),
    "runtime/whatif.py": Rule((ANYTHING,), "composition root: two playbacks side by side"),
    "runtime/play.py": Rule((ANYTHING,), "composition root: puts a windowed session together"),
    "runtime/panel.py": Rule((ANYTHING,), "composition root: what the HUD says, gathered from all the parts"),
    "runtime/roofline.py": Rule((ANYTHING,), "composition root: counts a network's operations"),
    "runtime/game.py": Rule((ANYTHING,), "composition root: one windowed session"),
    "runtime/screen.py": Rule((ANYTHING,), "composition root: frame and HUD on the window"),
    "runtime/device_part.py": Rule((ANYTHING,), "composition root: asks torch which devices are here"),
    "runtime/stage_part.py": Rule((ANYTHING,), "composition root: puts a world over several processes"),
    "runtime/drift_part.py": Rule((ANYTHING,), "composition root: puts a drift monitor beside a world"),
    "runtime/parts.py": Rule((ANYTHING,), "composition root: chooses a session's parts"),
    "runtime/album.py": Rule((ANYTHING,), "composition root: the pictures a session leaves"),
    "runtime/instruments.py": Rule((ANYTHING,), "composition root: everything that watches a session"),
    "runtime/terminal.py": Rule((ANYTHING,), "composition root: Ctrl-C and progress bars"),
    "runtime/testing.py": Rule((ANYTHING,), "composition root: a pytest plugin that runs sessions"),
    "runtime/deadline_session.py": Rule((ANYTHING,), "composition root: a session inside a test"),
    "runtime/deadline_evidence.py": Rule((ANYTHING,), "composition root: what a failed deadline test leaves"),
    "runtime/bench.py": Rule((ANYTHING,), "composition root: measures whole sessions"),
    "runtime/doctor.py": Rule((ANYTHING,), "composition root: looks at everything a session could need"),
    "runtime/config.py": Rule((*RUNTIME, "yaml", "pydantic"), "YAML becomes validated models here"),
    "controllers/bindings.py": Rule(
        ("numpy", "controllers", "runtime.core", "runtime.input", "runtime.config", "pydantic"),
        "its file format is a validated model beside what it configures",
    ),
    "controllers/scripted.py": Rule(
        ("numpy", "controllers", "runtime.core", "runtime.input", "runtime.config", "pydantic"),
        "its file format is a validated model beside what it configures",
    ),
    "worlds/encoder.py": Rule(
        ("numpy", "runtime.core", "safetensors", "tokenizers"), "reads the files of the sentence encoder's package"
    ),
    "runtime/replay_records.py": Rule((*RUNTIME, "msgpack", "crc32c"), "recordings are framed msgpack"),
    "runtime/plain.py": Rule((*RUNTIME, "msgpack"), "plain data is packed with msgpack"),
    "runtime/save_format.py": Rule((*RUNTIME, "msgpack", "safetensors"), "a save slot is one safetensors file"),
    "runtime/telemetry.py": Rule((*RUNTIME, "msgpack"), "traces are msgpack"),
    "runtime/window.py": Rule((*RUNTIME, "pygame"), "the only place that knows pygame's windows and events"),
    "runtime/hud.py": Rule((*RUNTIME, "pygame"), "text is drawn with pygame's fonts, on pygame's surfaces"),
    "runtime/video.py": Rule((*RUNTIME, "av"), "the only place that encodes video"),
    "runtime/display.py": Rule((*RUNTIME, "moderngl"), "the only place that knows GL"),
}
BY_FOLDER = {
    "runtime": Rule(RUNTIME, "time and deadlines know no framework"),
    "controllers": Rule(
        ("numpy", "controllers", "runtime.core", "runtime.input", "runtime.config"), "sources of actions"
    ),
    "worlds": Rule(("numpy", "worlds", "model", "runtime.core", "runtime.mishaps"), "adapters to worlds"),
    "model": Rule(("numpy", "torch", "safetensors", "model"), "networks know no clock, no window, no YAML"),
    "tools": Rule((ANYTHING,), "programs"),
}
NEVER_BEHIND_THE_LOOP = ("torch", "moderngl", "glcontext", "pygame")


def rule_of(path: str) -> Rule:
    return BY_FILE.get(path) or BY_FOLDER[path.partition("/")[0]]


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every import, also those inside functions; relative ones made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def matches(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def violations(path: str, source: str) -> list[str]:
    """One line for each import that the rule of `path` does not allow."""
    rule = rule_of(path)
    if ANYTHING in rule.allowed:
        return []
    package = path.rpartition("/")[0].replace("/", ".")
    return [
        f"{path}:{line} imports {module}; allowed: the standard library and {', '.join(rule.allowed)} ({rule.reason})"
        for line, module in imported_modules(source, package)
        if module.split(".")[0] not in sys.stdlib_module_names
        and not any(matches(module, prefix) for prefix in rule.allowed)
    ]


def sources() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in OURS
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def reachable(start: str) -> set[str]:
    """Every module of ours that importing `start` imports in turn, and every foreign one, by full name."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        file = ROOT / (waiting.pop().replace(".", "/") + ".py")
        if not file.exists():
            continue
        package = file.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for _, name in imported_modules(file.read_text(encoding="utf-8"), package):
            for module in {name, name.rpartition(".")[0]} - found - {""}:
                found.add(module)
                waiting += [module] if module.split(".")[0] in OURS else []
    return found


def test_every_file_imports_only_what_its_folder_may_know() -> None:
    found = [line for path, source in sources().items() for line in violations(path, source)]
    assert not found, "\n" + "\n".join(found)


def test_the_loop_reaches_no_torch_no_gl_and_no_pygame() -> None:
    behind = reachable("runtime.loop")
    assert "runtime.core" in behind, "the walk must follow our own modules"
    assert not {module for module in behind if module.split(".")[0] in NEVER_BEHIND_THE_LOOP}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("runtime/loop.py", "import torch"),
        ("runtime/loop.py", "def f():\n    import pygame"),
        ("runtime/replay.py", "import yaml"),
        ("runtime/hud.py", "import moderngl"),
        ("runtime/video.py", "def f():\n    import pygame"),
        ("worlds/toy/world.py", "import torch"),
        ("runtime/loop.py", "from worlds.toy.world import ToyWorld"),
        ("controllers/keyboard.py", "from runtime.loop import Loop"),
        ("controllers/keyboard.py", "from runtime import window"),
        ("worlds/toy/world.py", "from runtime.loop import Loop"),
        ("worlds/toy/world.py", "from ...runtime import loop"),
        ("model/net.py", "import yaml"),
        ("model/net.py", "from runtime.core import Clock"),
    ],
)
def test_the_check_notices_what_is_not_allowed(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("runtime/loop.py", "import time\nfrom runtime.core import Clock"),
        ("runtime/cli.py", "import torch\nimport worlds.toy.world"),
        ("runtime/config.py", "import yaml"),
        ("controllers/keyboard.py", "from runtime import core, input"),
        ("worlds/toy/world.py", "from .art import draw\nfrom runtime.core import World"),
        ("model/net.py", "import torch.nn.functional as F"),
    ],
)
def test_the_check_allows_what_is_allowed(path: str, source: str) -> None:
    assert not violations(path, source)


def test_every_rule_for_a_single_file_has_its_folder() -> None:
    assert {path.split("/")[0] for path in BY_FILE} <= set(BY_FOLDER) == set(OURS)
