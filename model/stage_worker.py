"""A stage process: holds its layers, their memory and perhaps the decoder, and serves the messages of the ring.

    python -m model.stage_worker        what it is to be comes as one JSON line on its input

Owns the process: its start, its heartbeat, its end. It ends when its input is closed (whoever started it is gone), when
a link breaks (somebody else is gone), or when told to stop. Says `loaded` once it has torch and waits, then
`ready {...}` or `error ...`, and `beat`, on its output.
Knows no world, no clock and no deadline.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading

from model.stage_spec import BEAT, BEAT_S, LOADED, say, spec_from

_PR_SET_PDEATHSIG = 1


def end_with_the_parent() -> None:
    """Linux ends this process with the thread that started it, even while it is stopped and cannot see its input."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def beat_until_orphaned() -> None:
    """In a thread of its own: a beat every `BEAT_S`; a closed input ends the process at once."""
    while True:
        say(BEAT)
        ready, _, _ = select.select([sys.stdin.fileno()], [], [], BEAT_S)
        if ready and not os.read(sys.stdin.fileno(), 1):
            os._exit(0)


def main() -> int:
    end_with_the_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it, which then ends it
    from model.stage_link import guest_store  # torch: seconds, which a spare has spent before it is needed
    from model.stage_serve import run_stage

    say(LOADED)
    line = _read_line()
    if not line:
        return 0
    spec = spec_from(line)
    if os.getppid() != spec.parent:  # gone before it could be said who must not be outlived
        return 0
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


if __name__ == "__main__":
    sys.exit(main())
