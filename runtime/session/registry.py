"""Worlds by name: find their folders, read `world.yaml`, check cheaply, then build. Part of the composition root.

Owns the table of kinds. Cheap failures come first: name, spec and files are checked before any network is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import WorldSpec, did_you_mean, load_yaml, read_text, world_info
from ..core import Clock, ConfigError, World, WorldInfo

WORLDS_FOLDER = Path(__file__).resolve().parents[2] / "worlds"


@dataclass(frozen=True)
class WorldFolder:
    """A world that could be played: its name, where it is, what its file says."""

    name: str
    path: Path
    spec: WorldSpec

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
    """By name, or by the path of a folder with a `world.yaml`."""
    folder = WORLDS_FOLDER / name if name in world_names() else Path(name)
    if not (folder / "world.yaml").is_file():
        raise ConfigError(
            f"unknown world {name!r}: {did_you_mean(name, world_names())}; or give a folder with a world.yaml"
        )
    return WorldFolder(folder.name, folder, load_yaml(folder / "world.yaml", WorldSpec))


def load_world(
    found: WorldFolder, clock: Clock | None = None, *, side_by_side: bool = False, device: str = "cpu"
) -> World:
    """Build the world; imports torch only for worlds that need it. `device`: as
    `nextframe.runtime.session.parts.device` checked it."""
    text = read_text(found.path / "world.yaml")
    if found.spec.kind == "toy":
        from ...worlds.toy.world import ToyWorld

        return ToyWorld(clock)
    if found.spec.kind == "circuit":
        return _load_circuit(found, text, clock, side_by_side, device)
    if found.spec.kind == "drive":
        return _load_drive(found, text, clock, side_by_side, device)
    if found.spec.kind == "freedoom":
        from ...worlds.freedoom import world as place

        info = world_info(found.spec, config_text=text, weights_sha256=place.weights_sha256(found.path))
        return place.build(info, found.path, found.synonyms, clock, device=device)
    if found.spec.kind == "pixels":
        from ...worlds.neural import pixels

        weights = pixels.weights_sha256(found.path, found.spec.weights)
        info = world_info(found.spec, config_text=text, weights_sha256=weights)
        return pixels.build(info, found.path, found.spec.weights, found.spec.parameters, clock)
    raise ConfigError(
        f"{found.path / 'world.yaml'}: kind: expected toy, circuit, drive, freedoom or pixels, got {found.spec.kind!r}"
    )


def own_bindings(name: str) -> Path | None:
    """The key bindings that a world brings for controls which have no usual keys."""
    path = find_world(name).path / "bindings.yaml"
    return path if path.is_file() else None


def _load_circuit(found: WorldFolder, text: str, clock: Clock | None, side_by_side: bool, device: str) -> World:
    from ...worlds.circuit import world as circuit

    info: WorldInfo = world_info(found.spec, config_text=text, weights_sha256=circuit.weights_sha256(found.path))
    neural = circuit.build(info, found.path, found.synonyms, clock, device=device)
    if not side_by_side:
        return neural
    from ...worlds.circuit.teacher.world import SideBySide, TeacherWorld

    return SideBySide(neural, TeacherWorld(info, found.synonyms, clock, circuit.origins(found.path)))


def _load_drive(found: WorldFolder, text: str, clock: Clock | None, side_by_side: bool, device: str) -> World:
    from ...worlds.drive import world as drive

    info: WorldInfo = world_info(found.spec, config_text=text, weights_sha256=drive.weights_sha256(found.path))
    neural = drive.build(info, found.path, found.synonyms, clock, device=device)
    if not side_by_side:
        return neural
    from ...worlds.circuit.teacher.world import SideBySide
    from ...worlds.drive.teacher.world import TeacherWorld

    return SideBySide(neural, TeacherWorld(info, found.synonyms, clock, drive.origins(found.path)))
