"""The command's terminal: output that any encoding can carry and that outlives its reader, and what a crash leaves."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
import tempfile
import traceback
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

CRASHED = 70
"""EX_SOFTWARE of sysexits.h: a fault of the program; 1 means that a target was missed."""
GONE = frozenset({errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF, errno.ESHUTDOWN, errno.ECONNRESET})
"""The reader of a pipe has ended, or the terminal was closed."""
PLAIN = {
    "×": "x", "·": "-", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "←": "<-", "↑": "^", "↓": "v",
    "‘": "'", "’": "'", "“": '"', "”": '"', "≤": "<=", "≥": ">=", "±": "+-", "µ": "u", "σ": "sigma", "█": "#",
    "✓": "ok", "✗": "x", "•": "*",
}  # fmt: skip
HANDLER = "nextframe.plain"


class LastingOutput(io.FileIO):
    """A file descriptor that swallows what is written after its reader has gone.

    `nextframe run … | head -1` goes on to its report and its own exit code, and so does a session whose terminal was
    closed. Any other failure, such as a full disk, is raised.
    """

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes


def plain(error: UnicodeError) -> tuple[str, int]:
    """For codecs: characters that the terminal's encoding lacks, in its nearest letters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    words = (PLAIN.get(letter) or unicodedata.normalize("NFKD", letter) for letter in lost)
    return "".join(word.encode("ascii", "ignore").decode() or "?" for word in words), error.end


def lasting(stream: TextIO) -> TextIO:
    """The stream over a `LastingOutput`; itself where it stands for no file, as under a test's capture."""
    try:
        number = stream.fileno()
    except (AttributeError, ValueError, OSError):
        return stream
    stream.flush()
    codecs.register_error(HANDLER, plain)
    raw = LastingOutput(number, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding or "ascii",
        errors=HANDLER,
        line_buffering=stream.line_buffering if isinstance(stream, io.TextIOWrapper) else True,
        write_through=False,
    )


def use_lasting_output() -> None:
    """Put `lasting` streams in place of stdout and stderr; a program started without one of them gets none."""
    sys.stdout, sys.stderr = (lasting(stream) if stream is not None else stream for stream in (sys.stdout, sys.stderr))


def keep_crash(error: BaseException) -> str:
    """Write the traceback to a file; its path, or the traceback itself where no file can be written."""
    text = "".join(traceback.format_exception(error))
    for folder in (Path("out"), Path(tempfile.gettempdir())):
        path = folder / f"crash-{os.getpid()}.txt"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{' '.join(sys.argv)}\nPython {sys.version}\n\n{text}", encoding="utf-8")
        except OSError:
            continue
        return str(path)
    return text
