"""Which device a world's networks are on: what `--device` asks for, checked before anything loads."""

from __future__ import annotations

import re

from ...core import ConfigError
from ..registry import WorldFolder

CPU, CUDA = "cpu", "cuda"
_NAME = re.compile(r"cpu|cuda(?::(\d{1,3}))?")


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
    if not found.kind.on_gpu:
        raise ConfigError(
            f"--device {wanted}: expected a world whose networks can be on a GPU, {found.name} plays on the processor; "
            "leave --device out"
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
