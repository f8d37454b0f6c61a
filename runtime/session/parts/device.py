"""Where a world's networks are: what `--device` and `--stages` ask for, checked before anything is loaded.

Owns the names of devices, the refusals, and what is said of a device in reports and recordings. What a layout of stages
means is `stage_part`'s. Part of the composition root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from ...core import ConfigError
from ..registry import WorldFolder
from .stages import StageChoice, stage_choice

CPU, CUDA = "cpu", "cuda"
_NAME = re.compile(r"cpu|cuda(?::(\d{1,3}))?")
KINDS_ON_A_GPU = ("circuit", "drive", "freedoom")
"""Kinds of worlds whose networks can be on a GPU; the others play on the processor."""


@dataclass(frozen=True)
class Placement:
    """`device`: torch's name of it. `stages`: over several processes instead, whose devices the layout names."""

    device: str = CPU
    stages: StageChoice | None = None


class AsksForAPlace(Protocol):
    """Options of a command that has `--stages`, `--processes` and `--device`."""

    @property
    def stages(self) -> str | None: ...

    @property
    def processes(self) -> int | None: ...

    @property
    def device(self) -> str | None: ...


@dataclass(frozen=True)
class PlaceOptions:
    """The same for whoever has no other options; nothing is asked for when not given."""

    stages: str | None = None
    processes: int | None = None
    device: str | None = None


AS_ITS_FILE_SAYS = PlaceOptions()


def placement(wanted: AsksForAPlace, found: WorldFolder, *, side_by_side: bool = False) -> Placement:
    """What was asked for, else what the world's file says. Raises ConfigError for what cannot be."""
    stages = stage_choice(wanted.stages, wanted.processes, found, side_by_side=side_by_side)
    return Placement(device_choice(wanted.device, found, staged=stages is not None, side_by_side=side_by_side), stages)


def device_choice(wanted: str | None, found: WorldFolder, *, staged: bool = False, side_by_side: bool = False) -> str:
    """Torch's name of the device that was asked for; the processor when none was. Raises ConfigError in one line for a
    name that means nothing, a world that cannot be there, and a device that is not there."""
    if wanted is None:
        return CPU
    name = _NAME.fullmatch(wanted)
    if name is None:
        raise ConfigError(f"--device {wanted}: expected cpu, cuda, or one of several GPUs such as cuda:1")
    if staged:
        raise ConfigError(f"--device {wanted} with --stages: a layout names its devices itself; leave one of them out")
    if wanted == CPU:
        return CPU
    if side_by_side:
        raise ConfigError(f"--device {wanted}: the simulator beside the network plays on the processor; leave one out")
    if found.spec.kind not in KINDS_ON_A_GPU:
        raise ConfigError(
            f"--device {wanted}: expected a world of kind {' or '.join(KINDS_ON_A_GPU)}, {found.name} is of kind "
            f"{found.spec.kind} and plays on the processor; leave --device out"
        )
    check_gpu(f"--device {wanted}", int(name[1] or 0))
    return wanted


def check_gpu(asked: str, index: int = 0) -> None:
    """That torch sees a GPU of that number. Raises ConfigError, which begins with what was asked."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        why = "was built without CUDA" if torch.version.cuda is None else "sees none here"
        raise ConfigError(
            f"{asked}: expected a CUDA device, torch {torch.__version__} {why}; leave it out to play on the processor"
        )
    if index >= count:
        raise ConfigError(f"{asked}: expected cuda:0 to cuda:{count - 1}, torch sees {count} CUDA devices")


def device_environment(device: str) -> dict[str, str | int]:
    """What is said of a device: its kind, and of a GPU its model and the version of CUDA."""
    if device == CPU:
        return {"device": CPU}
    import torch

    return {"device": CUDA, "gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}
