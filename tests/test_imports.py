"""Claims about who may know whom: DESIGN section 1 as floors of packages, read from the source, never by importing.

A package may import itself, packages on lower floors of its house, what its row names, and the standard library.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOUSES = ("runtime", "controllers", "worlds", "model", "tools")
ANYTHING = "*"
MAX_MODULES = 14
"""In one folder, beside `__init__.py`: about a dozen."""


@dataclass(frozen=True)
class Room:
    """A package, or a module on top of its house, and what it may import beside its own house's lower floors."""

    name: str
    floor: int
    may: tuple[str, ...] = ()


CONTRACTS = ("runtime.core",)
BELOW_TOOLS = ("runtime", "controllers", "model", "worlds")
"""What a program may be made of."""
ROOMS = {
    room.name: room
    for room in (
        # runtime: from the ground. numpy is everywhere; one framework where it is named.
        Room("runtime.core", 0),
        Room("runtime.tick", 1),
        Room("runtime.config", 1, ("yaml", "pydantic", "pydantic_core")),
        Room("runtime.loop", 2),
        Room("runtime.load", 2),
        Room("runtime.governor", 3),
        Room("runtime.observe", 3, ("msgpack", "prometheus_client")),
        Room("runtime.recording", 3, ("msgpack", "crc32c")),
        Room("runtime.ahead", 3),
        Room("runtime.timeline", 4, ("msgpack", "safetensors")),
        Room("runtime.display", 4, ("pygame", "moderngl", "av")),
        Room("runtime.session", 5, (ANYTHING,)),
        Room("runtime.session.parts", 5, (ANYTHING,)),
        Room("runtime.session.window", 5, (ANYTHING,)),
        Room("runtime.testing", 6, (ANYTHING,)),
        Room("runtime.cli", 6, (ANYTHING,)),
        Room("runtime.public", 7, (ANYTHING,)),
        # controllers
        Room("controllers", 0, ("runtime.core", "runtime.tick.latch", "runtime.config", "pydantic")),
        # model
        Room("model.base", 0, ("torch", "safetensors")),
        Room("model.memory", 1, ("torch",)),
        Room("model.tokenizers.latent", 0, ("torch",)),
        Room("model.diffusion", 1, ("torch",)),
        Room("model.tokenizers", 1, ("torch",)),
        Room("model.tokenizers.scenes", 1, ("torch",)),
        Room("model.dynamics", 2, ("torch",)),
        Room("model.generator", 3, ("torch", "typing_extensions")),
        Room("model.batch", 4, ("torch",)),
        Room("model.drift", 4, ("torch", "safetensors")),
        Room("model.stages.process", 4, ("torch", "safetensors")),
        Room("model.stages", 5, ("torch", "safetensors")),
        # worlds
        Room("worlds.curves", 0),
        Room("worlds.inventory", 0, CONTRACTS),
        Room("worlds.prompts", 0, (*CONTRACTS, "safetensors", "tokenizers")),
        Room("worlds.toy", 1, CONTRACTS),
        Room("worlds.neural.rest", 0, ("torch",)),
        Room("worlds.neural", 1, (*CONTRACTS, "model", "typing_extensions")),
        Room("worlds.recipe", 2, (*CONTRACTS, "model", "torch", "safetensors", "rich")),
        Room("worlds.evaluation", 3, (*CONTRACTS, "model", "torch", "rich", "runtime.display.stills")),
        Room("worlds.kinds", 4, CONTRACTS),
        Room("worlds.side_by_side", 0, CONTRACTS),
        *(
            Room(f"worlds.{world}.kind", 6, CONTRACTS)
            for world in ("circuit", "drive", "freedoom", "neural", "racer", "toy")
        ),
        Room("worlds.circuit.teacher", 2, CONTRACTS),
        Room("worlds.drive.teacher", 2, CONTRACTS),
        Room("worlds.freedoom.teacher", 2, (*CONTRACTS, "vizdoom")),
        Room("worlds.racer.teacher", 2, (*CONTRACTS, "gymnasium")),
        Room("worlds.circuit", 3, (*CONTRACTS, "model")),
        Room("worlds.drive", 3, (*CONTRACTS, "model")),
        Room("worlds.freedoom", 3, (*CONTRACTS, "model")),
        Room("worlds.racer", 3, (*CONTRACTS, "model", "torch")),
        *(
            Room(f"worlds.{world}.{part}", floor, (*CONTRACTS, "model", "torch", "rich", *more))
            for world in ("circuit", "drive", "freedoom", "racer")
            for part, floor, more in (
                ("recipe", 4, ("runtime.session", "controllers", "safetensors")),
                ("evaluation", 5, ()),
            )
        ),
        # tools: programs, from what they share up to their commands. The lab is on top: no product imports it.
        Room("tools.pages", 0, ("runtime.core", "runtime.display", "jinja2", "markupsafe")),
        Room("tools.report", 1, ("runtime.core", "runtime.observe", "jinja2", "markupsafe", "pydantic")),
        Room("tools.plan", 1, (*BELOW_TOOLS, "torch", "pydantic", "rich")),
        Room("tools.audit.targets", 1, ("runtime.core", "msgpack")),
        Room("tools.audit.questions", 2, ("runtime.core",)),
        Room("tools.audit.judge", 3, ("runtime.core", "runtime.config", "pydantic")),
        Room("tools.audit.page", 4, ("runtime.core", "markupsafe")),
        Room("tools.audit", 5, BELOW_TOOLS),
        Room("tools.check", 1, (*BELOW_TOOLS, "torch", "rich", "pygame", "av")),
        Room("tools.evaluate.measures", 2, ("runtime.core", "worlds.evaluation", "torch")),
        Room("tools.evaluate", 3, (*BELOW_TOOLS, "markupsafe", "rich")),
        Room("tools.train.base", 1, ("runtime.core", "runtime.display", "rich")),
        Room("tools.train.data", 2, (*BELOW_TOOLS, "av", "gymnasium", "crafter")),
        Room("tools.train.learn", 3, ("runtime.core", "model", "torch")),
        Room("tools.train.pixels", 3, ("runtime.core", "model", "torch")),
        Room("tools.train", 4, (*BELOW_TOOLS, "torch", "safetensors", "yaml")),
        Room("tools.lab", 9, (ANYTHING,)),
    )
}
LAB = "tools.lab"
"""Not installed, so nothing outside it may import it."""
NEVER_BEHIND_THE_LOOP = ("torch", "moderngl", "glcontext", "pygame")
TO_MEND: set[tuple[str, str]] = set()
"""Arrows that still run back up."""
PACKAGE_CIRCLES_TO_MEND: list[set[str]] = [
    {"model.stages", "model.stages.process"},
    {"runtime.session", "runtime.session.parts"},
]  # fmt: skip
"""Packages that still reach each other."""


def room_of(module: str) -> Room | None:
    """The room whose name is the longest beginning of the module's."""
    parts = module.split(".")
    return next((ROOMS[name] for i in range(len(parts), 0, -1) if (name := ".".join(parts[:i])) in ROOMS), None)


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of every import, also those inside functions; ours without the leading `nextframe.`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.removeprefix("nextframe.")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])]).removeprefix("nextframe.")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def matches(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def allowed(room: Room, module: str) -> bool:
    top = module.split(".", maxsplit=1)[0]
    if top in sys.stdlib_module_names or top == "numpy" or any(matches(module, prefix) for prefix in room.may):
        return True
    if top not in HOUSES:
        return ANYTHING in room.may
    there = room_of(module)
    if there is None or there.name == room.name or (room.name, there.name) in TO_MEND:
        return there is not None
    if matches(there.name, LAB):
        return False
    if top == room.name.split(".")[0]:
        return there.floor < room.floor or (ANYTHING in room.may and there.floor <= room.floor)
    return ANYTHING in room.may


def violations(path: str, source: str) -> list[str]:
    """One line for each import that the room of `path` does not allow."""
    module = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    room = room_of(module)
    if room is None:
        return [] if path.endswith("__init__.py") else [f"{path} is in no room: give its package a row"]
    package = path.rpartition("/")[0].replace("/", ".")
    return [
        f"{path}:{line} imports {name}: not on a lower floor than {room.name} ({room.floor}), nor among {room.may}"
        for line, name in imported_modules(source, package)
        if not allowed(room, name)
    ]


def sources() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for folder in HOUSES
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """For each module of ours the modules of ours that it imports; packages themselves are left out."""
    modules = {path.removesuffix(".py").replace("/", "."): path for path in files if not path.endswith("__init__.py")}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        names = {name for _, name in imported_modules(files[path], module.rpartition(".")[0])}
        targets = {target for name in names for target in (name, name.rpartition(".")[0]) if target in modules}
        found[module] = targets - {module}
    return found


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes that reach each other."""

    def reach(start: str) -> set[str]:
        seen, waiting = set(), [start]
        while waiting:
            for target in arrows.get(waiting.pop(), set()) - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    reached = {node: reach(node) for node in arrows}
    groups = {
        tuple(sorted(other for other in reached[node] if node in reached.get(other, set())))
        for node in arrows
        if node in reached[node]
    }
    return sorted(map(list, groups))


def package_graph(modules: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same for packages. A module with a row of its own stands for itself."""

    def package(module: str) -> str:
        return module if module in ROOMS else module.rpartition(".")[0]

    found: dict[str, set[str]] = {package(module): set() for module in modules}
    for module, targets in modules.items():
        found[package(module)] |= {package(target) for target in targets} - {package(module)}
    return found


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
                waiting += [module] if module.split(".")[0] in HOUSES else []
    return found


def test_every_file_imports_only_what_its_room_may_know() -> None:
    found = [line for path, source in sources().items() for line in violations(path, source)]
    assert not found, "\n" + "\n".join(found)


def test_no_module_imports_itself_over_others() -> None:
    assert circles(graph(sources())) == []


def test_no_package_imports_itself_over_others_but_those_still_open() -> None:
    found = circles(package_graph(graph(sources())))
    assert [circle for circle in found if not any(open_ >= set(circle) for open_ in PACKAGE_CIRCLES_TO_MEND)] == []


def test_a_circle_of_packages_would_be_found() -> None:
    files = {
        "tools/a/one.py": "from ..b.one import x",
        "tools/b/one.py": "y = 1",
        "tools/b/two.py": "from ..a.two import z",
        "tools/a/two.py": "z = 1",
        "tools/c/one.py": "from ..a.one import x",
    }
    assert circles(graph(files)) == [], "no module is in a circle, yet the packages are"
    assert circles(package_graph(graph(files))) == [["tools.a", "tools.b"]]


def test_a_circle_would_be_found() -> None:
    files = {
        "runtime/a.py": "from .b import x",
        "runtime/b.py": "def f():\n    from nextframe.runtime import c",
        "runtime/c.py": "from .a import y",
        "runtime/d.py": "from .a import z",
    }
    assert circles(graph(files)) == [["runtime.a", "runtime.b", "runtime.c"]]


def test_the_loop_reaches_no_torch_no_gl_and_no_pygame() -> None:
    behind = reachable("runtime.loop")
    assert "runtime.core" in behind, "the walk must follow our own modules"
    assert not {module for module in behind if module.split(".")[0] in NEVER_BEHIND_THE_LOOP}


def test_no_folder_of_code_holds_more_than_about_a_dozen_modules() -> None:
    folders = [path.rpartition("/")[0] for path in sources() if not path.endswith("__init__.py")]
    crowded = {folder: folders.count(folder) for folder in folders if folders.count(folder) > MAX_MODULES}
    assert not crowded


def test_every_package_is_installed_but_the_lab() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    there = {path.rpartition("/")[0].replace("/", ".") for path in sources()}
    wanted = {f"nextframe.{name}" for name in there if not matches(name, "tools.lab") and name != "runtime.public"}
    assert listed == wanted | {"nextframe"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("runtime/loop.py", "import torch"),
        ("runtime/loop.py", "def f():\n    import pygame"),
        ("runtime/recording/writer.py", "import yaml"),
        ("runtime/observe/report.py", "import moderngl"),
        ("worlds/toy/world.py", "import torch"),
        ("runtime/loop.py", "from nextframe.worlds.toy.world import ToyWorld"),
        ("runtime/tick/latch.py", "from ..display import window"),
        ("controllers/keyboard.py", "from ..runtime.loop import Loop"),
        ("controllers/keyboard.py", "from ..runtime.display import window"),
        ("worlds/toy/world.py", "from nextframe.runtime.loop import Loop"),
        ("worlds/toy/world.py", "from ...runtime import loop"),
        ("model/base/net.py", "import yaml"),
        ("model/base/net.py", "from ...runtime.core import Clock"),
        ("model/base/net.py", "from ..memory.rolling import RollingKVMemory"),
        ("model/new/net.py", "import torch"),
        ("tools/audit/command.py", "from ..lab import readme_picture"),
        ("tools/audit/targets/player.py", "from ..questions.frames import differs"),
        ("tools/train/data/clips.py", "from ..learn.checkpoint import write_json"),
        ("tools/pages/svg.py", "from ..report import words"),
        ("worlds/toy/world.py", "from ...tools.lab.soak import measure"),
        ("worlds/freedoom/evaluation/gates.py", "from ....tools.lab.freedoom_pixels import measure"),
    ],
)
def test_the_check_notices_what_is_not_allowed(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("runtime/loop.py", "import time\nfrom .core import Clock"),
        ("runtime/cli/play.py", "import torch\nimport nextframe.worlds.toy.world"),
        ("runtime/config.py", "import yaml"),
        ("controllers/keyboard.py", "from ..runtime import core"),
        ("worlds/toy/world.py", "from .art import draw\nfrom nextframe.runtime.core import World"),
        ("model/memory/net.py", "import torch.nn.functional as F\nfrom ..base.rng import normal"),
    ],
)
def test_the_check_allows_what_is_allowed(path: str, source: str) -> None:
    assert not violations(path, source)
