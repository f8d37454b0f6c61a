"""Checkpoints: safetensors in, checked networks out. Pickles are refused: loading one can run any code.

Owns file checks (kind, header, names, shapes) and hashes. Every refusal is a `CheckpointError` with file and remedy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pt2", ".bin")
MAX_TENSORS = 4096


class CheckpointError(Exception):
    """A checkpoint that is missing, damaged, unsafe or does not fit the network."""


def sha256(paths: list[Path]) -> str:
    """One hash over the files, in order."""
    digest = hashlib.sha256()
    for path in paths:
        _check_file(path)
        digest.update(path.read_bytes())
    return digest.hexdigest()


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file, floats as float32."""
    _check_file(path)
    try:
        with safe_open(path, framework="pt") as stored:
            names = list(stored.keys())
            if len(names) > MAX_TENSORS:
                raise CheckpointError(f"{path}: expected at most {MAX_TENSORS} tensors, got {len(names)}")
            tensors = {name: stored.get_tensor(name) for name in names}
    except SafetensorError as error:
        size = path.stat().st_size
        raise CheckpointError(
            f"{path}: not a whole safetensors file ({size} bytes: {error}); fetch or train it again"
        ) from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def load_into(network: nn.Module, path: Path) -> None:
    """Fill the network; names and shapes must match exactly."""
    fill_exactly(network, load_tensors(path), str(path))


def fill_exactly(network: nn.Module, tensors: dict[str, Tensor], path: str) -> None:
    """Fill the network; `path` is what a refusal names."""
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise CheckpointError(
                f"{path}: expected a tensor {name!r}, none is there; these weights are for another network"
            )
        if name not in wanted:
            raise CheckpointError(
                f"{path}: tensor {name!r} is not part of the network; these weights are for another one"
            )
        if tensors[name].shape != wanted[name].shape:
            expected, got = tuple(wanted[name].shape), tuple(tensors[name].shape)
            raise CheckpointError(f"{path}: tensor {name!r}: expected shape {expected}, got {got}")
    network.load_state_dict(tensors)


def half(tensors: dict[str, Tensor], names: tuple[str, ...]) -> dict[str, Tensor]:
    """The tensors with those whose name starts with one of `names` stored as float16, to keep files small."""
    return {k: v.to(torch.float16).contiguous() if k.startswith(names) else v.contiguous() for k, v in tensors.items()}


def _check_file(path: Path) -> None:
    if path.suffix in PICKLES:
        raise CheckpointError(
            f"{path}: expected a .safetensors file; {path.suffix} files are pickles and can run any code: refused"
        )
    if not path.is_file():
        raise CheckpointError(
            f"{path}: expected weights here, no such file; see the world's model card for how to make them"
        )
