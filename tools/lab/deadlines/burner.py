"""The antagonist's process: burns one core until its standard input ends. Run by path, by `antagonist`.

Imports nothing of this project, so that it starts at once.

The parent holds the other end of the input's pipe. However the parent ends, SIGKILL included, the system closes that
end and the burner goes. A time limit is there for a parent that goes on without ending it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from types import ModuleType

LOOPS = 20_000
"""Turns between two looks at the clock, about a millisecond."""


def leave_when_input_ends() -> None:
    """Reports the CPU seconds burnt, if still read, and ends the process wherever its main thread is."""
    sys.stdin.buffer.read()
    report = f"{time.process_time():.3f}\n".encode()
    with suppress(BrokenPipeError):  # the parent is gone
        os.write(sys.stdout.fileno(), report)
    os._exit(0)


def burn(limit_s: float, memory_mb: int) -> None:
    """Arithmetic, or copies between two buffers of that size, which take memory bandwidth and cache as well."""
    end_s = time.monotonic() + limit_s
    numpy = _numpy() if memory_mb else None
    source = target = None
    if numpy is not None:
        source = numpy.ones(memory_mb * 1024 * 1024 // 8)
        target = numpy.empty_like(source)
    os.write(sys.stdout.fileno(), b"burning\n")
    while time.monotonic() < end_s:
        if numpy is not None:
            numpy.copyto(target, source)
        else:
            for _ in range(LOOPS):
                pass


def _numpy() -> ModuleType:
    import numpy

    return numpy


def main() -> None:
    limit_s, memory_mb = float(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=leave_when_input_ends, daemon=True).start()
    burn(limit_s, memory_mb)


if __name__ == "__main__":
    main()
