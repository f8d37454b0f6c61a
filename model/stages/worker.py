"""A stage process: it holds its layers, their memory and perhaps the decoder, and serves the messages of the ring.

Either forked by the fork server (`nextframe.model.stages.process.fork_server`), which calls `main` in the child: the
stage comes as one JSON line on the input, and the process says `ready {...}` or `error ...`, and `beat`, on its output.
It ends when its input is closed (the front is gone), when a link breaks (another process is gone), or when told to
stop. Or started by a launcher on some host: `serve_launched`.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from dataclasses import replace
from datetime import timedelta

from .process.hosts import MEET_S, NOTHING_TO_DO, Launch, meeting
from .process.link import guest_store
from .process.spec import BEAT, BEAT_S, ERROR, READY, say, spec_from
from .serve import run_stage


def main() -> int:
    """From the line that says what the process is to its end; the exit code."""
    line = _read_line()
    if not line:
        return 0
    spec = spec_from(line)
    threading.Thread(target=_beat_until_orphaned, name="beat", daemon=True).start()
    return run_stage(spec, lambda: guest_store(spec.port), tell=lambda word, text: say(f"{word} {text}"))


def _beat_until_orphaned() -> None:
    """In a thread of its own: a beat every `BEAT_S`; a closed input ends the process at once."""
    while True:
        say(BEAT)
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], BEAT_S)
        if ready and not os.read(sys.stdin.fileno(), 1):
            os._exit(0)


def _read_line() -> bytes:
    """One line of the input, byte by byte: what follows belongs to the thread that watches for its end."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return b""
        line += byte
    return line


def serve_launched(launch: Launch) -> int:
    """What a launched process other than the front does: wait to be told its stage, and run it. The exit code."""
    store, key = meeting(), f"stage/{launch.rank}"
    store.wait([key], timedelta(seconds=MEET_S))
    line = store.get(key)
    if line == NOTHING_TO_DO:
        return 0
    spec = spec_from(line)
    if spec.devices[launch.rank].startswith("cuda"):
        spec = replace(spec, own_device=f"cuda:{launch.local_rank}")

    def tell(word: str, text: str) -> None:
        if word in {READY, ERROR}:
            store.set(f"loaded/{launch.rank}", f"{word} {text}")

    return run_stage(spec, meeting, tell=tell, local=False)
