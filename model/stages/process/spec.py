"""What a stage process is told and what it says: lines of text between it and the front. Needs no torch."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict, dataclass
from typing import Any

BEAT_S = 0.1
BEAT, LOADED, READY, ERROR = "beat", "loaded", "ready", "error"
PEER_LOST, BAD_START = 75, 78
"""Exit codes: another process of the group is gone; the weights could not be loaded."""


@dataclass(frozen=True)
class StageSpec:
    """What a stage process is to be. `devices`: torch's names of all processes. `ring`: how many of them run layers.
    `config`: fields of `DynamicsConfig`; where it decodes `tokenizer` and `tokenizer_kind`: see
    `nextframe.model.stages.kinds`. `weights`, `tokenizer_weights`: paths. `port`: of the store where the group meets.
    `sessions`: how many have their own memory here. `own_device`: torch's name of its own on its host, where that is
    not the one in `devices`."""

    rank: int
    devices: tuple[str, ...]
    ring: int
    first: int
    end: int
    config: dict[str, Any]
    weights: str
    rows: int
    window: int | None
    threads: int
    port: int
    tokenizer: dict[str, Any] | None = None
    tokenizer_kind: str = ""
    tokenizer_weights: str = ""
    sessions: int = 1
    own_device: str = ""

    @property
    def device(self) -> str:
        return self.own_device or self.devices[self.rank]

    def as_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


def spec_from(line: bytes) -> StageSpec:
    fields = json.loads(line)
    return StageSpec(**{**fields, "devices": tuple(fields["devices"])})


_saying = threading.Lock()


def say(text: str) -> None:
    """One line on the output, at once and whole, from any thread."""
    line = text.encode() + b"\n"
    with _saying:
        while line:
            line = line[os.write(sys.stdout.fileno(), line) :]
