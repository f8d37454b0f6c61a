"""A target in another process: small msgpack messages over its stdin and stdout. docs/audit_protocol.md has it all.

The other side is not trusted: lengths are checked before anything is allocated, and every wait ends.
"""

from __future__ import annotations

import math
import os
import select
import shlex
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np

from ....runtime.core import Action, ActionSpace, Clock, MonotonicClock
from .contract import Shown, TargetError

VERSION = 1
MOST_BYTES = 64 * 1024 * 1024
MOST_NAMES = 256
MOST_NAME_CHARS = 200
PRINTED_S = 0.2
"""For the rest of a line that was printed where a message was expected."""
OPEN_S, ANSWER_S, CLOSE_S = 600.0, 120.0, 5.0
"""Loading weights may take minutes; a frame that takes two is none."""


class ProcessTarget:
    """Starts `command` and asks it over the protocol. A string is split as a shell would, but no shell runs it."""

    def __init__(
        self,
        command: str | Sequence[str],
        clock: Clock | None = None,
        *,
        open_s: float = OPEN_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._command = shlex.split(command) if isinstance(command, str) else list(command)
        self._clock, self._answer_s = clock or MonotonicClock(), answer_s
        self.name = " ".join(self._command)[:MOST_NAME_CHARS]
        if not self._command:
            raise TargetError("process target: expected a command, got nothing")
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0
            )
        except OSError as error:
            self._stderr.close()
            raise TargetError(f"process target: cannot run {self._command[0]!r}: {error.strerror}") from error
        try:
            self._greet(self._ask({"do": "hello", "version": VERSION}, open_s))
        except TargetError:
            self.close()
            raise

    def start(self, seed: int) -> Shown:
        return self._frame({"do": "start", "seed": seed})

    def step(self, action: Action) -> Shown:
        return self._frame(message_of(action))

    def close(self) -> None:
        """Ask it to end, then end it."""
        if self._stderr.closed:
            return
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(_packed({"do": "close"}))
        except OSError:
            pass  # it has ended already, which is what was asked
        finally:
            process.stdin.close()
        try:
            process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._stderr.close()

    # --- messages -----------------------------------------------------------------------------------------------

    def _greet(self, reply: Mapping[str, Any]) -> None:
        name, tick_hz = reply.get("name", self.name), reply.get("tick_hz")
        if not isinstance(name, str) or len(name) > MOST_NAME_CHARS:
            raise self._broken(f"hello: expected name to be a short string, got {type(name).__name__}")
        if tick_hz is not None and not (isinstance(tick_hz, int | float) and 0 < tick_hz <= 1000):
            raise self._broken(f"hello: expected tick_hz to be nil or in 0..1000, got {tick_hz!r}")
        prompts = reply.get("prompts", {})
        if not isinstance(prompts, dict) or len(prompts) > MOST_NAMES:
            raise self._broken("hello: expected prompts to map groups to lists of words")
        self.name = name
        self.tick_hz = None if tick_hz is None else float(tick_hz)
        self.actions = ActionSpace(
            buttons=self._names(reply, "buttons"),
            axes=self._names(reply, "axes"),
            prompts={str(group): self._names(prompts, group) for group in prompts},
        )

    def _names(self, reply: Mapping[str, Any], key: str) -> tuple[str, ...]:
        names = reply.get(key, [])
        if not isinstance(names, list) or len(names) > MOST_NAMES or not all(isinstance(name, str) for name in names):
            raise self._broken(f"hello: expected {key} to be a list of at most {MOST_NAMES} strings")
        return tuple(names)

    def _frame(self, message: Mapping[str, Any]) -> Shown:
        reply: dict[str, Any] = self._ask(message, self._answer_s)
        at_ns = self._clock.now_ns()
        width: Any = reply.get("width")
        height: Any = reply.get("height")
        pixels: Any = reply.get("frame")
        shape = (height, width, 3)
        sized = isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0
        if sized and isinstance(pixels, bytes) and len(pixels) == math.prod(shape):
            return Shown(np.frombuffer(pixels, np.uint8).reshape(shape), at_ns)
        got = f"{len(pixels)} bytes" if isinstance(pixels, bytes) else type(pixels).__name__
        raise self._broken(
            f"{message['do']}: expected width, height and a frame of width * height * 3 bytes, got "
            f"width {width!r}, height {height!r}, frame {got}"
        )

    def _ask(self, message: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        until_s = time.monotonic() + limit_s
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(_packed(message))
        except OSError as error:
            raise self._broken(f"{message['do']}: expected it to listen, but it has ended") from error
        head = self._read(4, until_s, str(message["do"]))
        (size,) = struct.unpack("<I", head)
        if size > MOST_BYTES:
            got = self._text_after(head) or f"{size}"
            raise self._broken(f"{message['do']}: expected a message of at most {MOST_BYTES} bytes, got {got}")
        try:
            reply = msgpack.unpackb(self._read(size, until_s, str(message["do"])), strict_map_key=True)
        except (ValueError, msgpack.UnpackException) as error:
            raise self._broken(f"{message['do']}: expected a msgpack map, got something else ({error})") from error
        if not isinstance(reply, dict):
            raise self._broken(f"{message['do']}: expected a msgpack map, got {type(reply).__name__}")
        if "error" in reply:
            raise self._broken(f"{message['do']}: it says {str(reply['error'])[:300]!r}")
        return reply

    def _read(self, size: int, until_s: float, doing: str) -> bytes:
        assert self._process.stdout is not None
        parts: list[bytes] = []
        left = size
        while left:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until_s - time.monotonic()))
            part = os.read(self._process.stdout.fileno(), min(left, 1 << 20)) if ready else b""
            if not part:
                why = "expected an answer, but its output ended" if ready else "expected an answer in time, got none"
                text = self._text_after(b"".join(parts))
                raise self._broken(f"{doing}: {why}" + (f" after {text}" if text else ""))
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _text_after(self, head: bytes) -> str:
        """The line that was printed where a message was expected, as far as it is there; nothing if it is no text."""
        assert self._process.stdout is not None
        said = head
        while len(said) < MOST_NAME_CHARS and b"\n" not in said.strip():
            ready, _, _ = select.select([self._process.stdout], [], [], PRINTED_S)
            part = os.read(self._process.stdout.fileno(), MOST_NAME_CHARS) if ready else b""
            if not part:
                break
            said += part
        line = said.decode("utf-8", "replace").strip().partition("\n")[0].rstrip()[:MOST_NAME_CHARS]
        start = head.decode("utf-8", "replace").strip()
        text = bool(start) and start.replace("\n", "").isprintable()
        return f"the text {line!r}; stdout carries the messages, print to stderr instead" if text else ""

    def _broken(self, what: str) -> TargetError:
        """The message, with the last thing it said on stderr: usually that is the reason."""
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 2000))
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        last = f"; its last words: {lines[-1][:300]}" if lines else ""
        return TargetError(f"process target {self._command[0]!r}, {what}{last} (docs/audit_protocol.md)")


def message_of(action: Action) -> dict[str, Any]:
    """Axes as the numbers in [-1, 1] that a world of ours sees."""
    axes = {name: action.axis(name) for name in action.axes}
    return {"do": "step", "buttons": sorted(action.buttons), "axes": axes, "prompt": action.prompt}


def _packed(message: Mapping[str, Any]) -> bytes:
    body = msgpack.packb({**message, "sent_ns": time.monotonic_ns()})
    return struct.pack("<I", len(body)) + body
