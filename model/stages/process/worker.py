"""A stage process: holds its layers, their memory and perhaps the decoder, and serves the messages of the ring.

It is forked (`nextframe.model.stages.process.mother`); what it is to be comes as one JSON line on its input. Owns its
start, its heartbeat, its end. It ends when its input is closed (whoever started it is gone), when a link breaks
(somebody else is gone), or when told to stop. Says `ready {...}` or `error ...`, and `beat`, on its output. Knows no
world, no clock and no deadline.
"""

from __future__ import annotations

import os
import select
import sys
import threading

from ..link import guest_store
from ..serve import run_stage
from .spec import BEAT, BEAT_S, say, spec_from


def beat_until_orphaned() -> None:
    """In a thread of its own: a beat every `BEAT_S`; a closed input ends the process at once."""
    while True:
        say(BEAT)
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], BEAT_S)
        if ready and not os.read(sys.stdin.fileno(), 1):
            os._exit(0)


def live() -> int:
    """From the line that says what it is to the end; the exit code."""
    line = _read_line()
    if not line:
        return 0
    spec = spec_from(line)
    threading.Thread(target=beat_until_orphaned, name="beat", daemon=True).start()
    return run_stage(spec, lambda: guest_store(spec.port), tell=lambda word, text: say(f"{word} {text}"))


def _read_line() -> bytes:
    """One line of the input, byte by byte: what follows belongs to the thread that watches for its end."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return b""
        line += byte
    return line
