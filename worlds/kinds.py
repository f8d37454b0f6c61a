"""What a kind of world can do, stated by the world itself; and the table from `kind:` in a `world.yaml` to it.

Generic code asks a `WorldKind` what it can do and never compares names. Stating it costs no framework: a world's
`kind.py` imports its networks, its teacher and its evaluation inside the functions that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..runtime.core import Clock, ConfigError, World, WorldInfo

if TYPE_CHECKING:
    from .evaluation.subjects import Pair
    from .neural.staged import StagedParts

MODULES = {
    "circuit": ".circuit.kind",
    "drive": ".drive.kind",
    "freedoom": ".freedoom.kind",
    "pixels": ".neural.kind",
    "racer": ".racer.kind",
    "toy": ".toy.kind",
}
"""Beside this package, or by full name from elsewhere; each has a `KIND`."""


@dataclass(frozen=True)
class WorldSource:
    """A world's folder, read and checked. `weights`: its files by name; `parameters`: as `world.yaml` has them."""

    info: WorldInfo
    folder: Path
    weights: tuple[str, ...]
    synonyms: Mapping[str, str]
    parameters: Mapping[str, Any]


class Gates(Protocol):
    """A world's own evaluation, usually a module."""

    def evaluate(self, folder: Path, out: Path, quick: bool) -> dict[str, Any]:
        """Measure the weights in `folder`, write the report to `out`, return it. With `met` and `gates`."""
        ...

    def print_summary(self, report: dict[str, Any]) -> None: ...

    def card(self, report: dict[str, Any]) -> str:
        """The report as Markdown, for the model card."""
        ...


@dataclass(frozen=True)
class WorldKind:
    """What worlds of one kind can do; a function that is None names something they cannot.

    `build(source, clock, device)`: the world. `weights_sha256(folder, names)`: one hash over its weights.
    `teacher(source, clock)`: the simulator that knows the truth, started by the same seeds and actions.
    `staged_parts(folder)`: what it is made of over several processes. `on_gpu`: its networks can be on a GPU.
    `mends_drift`: renoising and reanchoring mean something in its latents. `gates()`: its own evaluation.
    `pair(source)`: it and its teacher as subjects of the evaluation.
    """

    build: Callable[[WorldSource, Clock | None, str], World]
    weights_sha256: Callable[[Path, tuple[str, ...]], str] = lambda folder, names: ""
    teacher: Callable[[WorldSource, Clock | None], World] | None = None
    staged_parts: Callable[[Path], StagedParts] | None = None
    on_gpu: bool = False
    mends_drift: bool = False
    gates: Callable[[], Gates] | None = None
    pair: Callable[[WorldSource], Pair] | None = None


def kind_named(name: str, file: Path) -> WorldKind:
    """What `kind: NAME` means. Raises ConfigError for a name that means nothing, said in `file`."""
    if name not in MODULES:
        *others, last = sorted(MODULES)
        raise ConfigError(f"{file}: kind: expected {', '.join(others)} or {last}, got {name!r}")
    kind: WorldKind = import_module(MODULES[name], __package__).KIND
    return kind


def latent_kind(package: str, *, teacher: bool = False, mends_drift: bool = False) -> WorldKind:
    """A world of our own recipes: `package` has `world`, `evaluation.gates`, `evaluation.pair` and, with `teacher`, a
    `teacher.world`; each is imported when it is asked for."""

    def part(name: str) -> Any:
        return import_module(f"{package}.{name}")

    def make_teacher(source: WorldSource, clock: Clock | None) -> World:
        origins = part("world").origins(source.folder)
        world: World = part("teacher.world").TeacherWorld(source.info, source.synonyms, clock, origins)
        return world

    return WorldKind(
        lambda source, clock, device: part("world").build(
            source.info, source.folder, source.synonyms, clock, device=device
        ),
        lambda folder, names: part("world").weights_sha256(folder),
        teacher=make_teacher if teacher else None,
        staged_parts=lambda folder: part("world").staged_parts(folder),
        on_gpu=True,
        mends_drift=mends_drift,
        gates=lambda: part("evaluation.gates"),
        pair=lambda source: part("evaluation.pair").pair(source.folder),
    )
