"""Worlds by name: find their folders, read `world.yaml`, check cheaply, then build.

Cheap failures come first: name, spec and files are checked before any network is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...worlds.kinds import WorldKind, WorldSource, kind_named
from ...worlds.side_by_side import SideBySide
from ..config import WorldSpec, did_you_mean, load_yaml, read_text, world_info
from ..core import Clock, ConfigError, MonotonicClock, World
from .python_world import PYTHON, PythonWorld

WORLDS_FOLDER = Path(__file__).resolve().parents[2] / "worlds"


@dataclass(frozen=True)
class WorldFolder:
    """A world that could be played: its name, where it is, what its file says.

    `python`: what makes it where that is a function of the user's; `path` is then its module's folder and `spec` what
    the world says of itself.
    """

    name: str
    path: Path
    spec: WorldSpec
    python: PythonWorld | None = None

    @property
    def kind(self) -> WorldKind:
        """What it can do. Raises ConfigError for a kind that there is not."""
        if (python := self.python) is not None:
            return WorldKind(build=lambda source, clock, device: python.make(clock or MonotonicClock()))
        return kind_named(self.spec.kind, self.path / "world.yaml")

    @property
    def bindings(self) -> Path | None:
        """The key bindings that it brings for controls which have no usual keys."""
        path = self.path / "bindings.yaml"
        return path if path.is_file() else None

    @property
    def synonyms(self) -> Mapping[str, str]:
        synonyms: Any = self.spec.parameters.get("synonyms", {})
        if not isinstance(synonyms, Mapping):
            raise ConfigError(
                f"{self.path / 'world.yaml'}: parameters.synonyms: expected words with meanings, got {synonyms!r}"
            )
        return {str(word): str(meaning) for word, meaning in synonyms.items()}


def world_names() -> list[str]:
    """The worlds that ship."""
    return sorted(path.parent.name for path in WORLDS_FOLDER.glob("*/world.yaml"))


def find_world(name: str) -> WorldFolder:
    """By name, by the path of a folder with a `world.yaml`, or by `python:MODULE:FACTORY`."""
    if name.startswith(PYTHON):
        python = PythonWorld(name)
        return WorldFolder(python.spec.name, python.folder, python.spec, python)
    folder = WORLDS_FOLDER / name if name in world_names() else Path(name)
    if not (folder / "world.yaml").is_file():
        raise ConfigError(
            f"unknown world {name!r}: {did_you_mean(name, world_names())}; or give a folder with a world.yaml, or "
            "python:MODULE:FACTORY"
        )
    return WorldFolder(folder.name, folder, load_yaml(folder / "world.yaml", WorldSpec))


def source_of(found: WorldFolder) -> WorldSource:
    """The folder as its kind builds from it. Raises WeightsError for weights that are missing or unsafe."""
    sha256 = found.kind.weights_sha256(found.path, found.spec.weights)
    info = world_info(found.spec, config_text=read_text(found.path / "world.yaml"), weights_sha256=sha256)
    return WorldSource(info, found.path, found.spec.weights, found.synonyms, found.spec.parameters)


def load_world(
    found: WorldFolder, clock: Clock | None = None, *, side_by_side: bool = False, device: str = "cpu"
) -> World:
    """Build the world; imports torch only for worlds that need it. `device`: as
    `nextframe.runtime.session.parts.device` checked it. `side_by_side`: with its teacher, which its kind must have."""
    if found.python is not None:
        return found.python.make(clock or MonotonicClock())
    source = source_of(found)
    world = found.kind.build(source, clock, device)
    if not side_by_side:
        return world
    assert found.kind.teacher is not None, "check_folder comes first"
    return SideBySide(world, found.kind.teacher(source, clock))
