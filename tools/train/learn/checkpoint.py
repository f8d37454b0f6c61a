"""Training state on disk: whole or not at all, so that a killed run goes on from its last checkpoint."""

from __future__ import annotations

import json
import os
import pickle
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from ....runtime.core import NextframeError

EVERY_S = 120.0


def save(path: Path, state: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load(path: Path, device: str = "cpu") -> dict[str, Any] | None:
    """None where there is none. Only tensors and plain data are read, no code."""
    if not path.is_file():
        return None
    try:
        stored: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise NextframeError(f"{path}: expected a checkpoint of this run: {error}; delete it to train again") from error
    return stored


def write_json(path: Path, document: Any) -> Path:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    os.replace(part, path)
    return path


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise NextframeError(
            f"{path}: expected this run's notes as JSON: {error}; delete the folder {path.parent}"
        ) from error


class Every:
    """True once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last_s = seconds, time.monotonic()

    def __call__(self) -> bool:
        if time.monotonic() - self._last_s < self._seconds:
            return False
        self._last_s = time.monotonic()
        return True
