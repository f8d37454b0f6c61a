"""Videos on disk: frames go to an encoder in a process of its own, off the path from input to picture.

No half-written file stands under its final name. Enlarging repeats pixels (nearest neighbour), so that what is seen is
what the network made. Formats follow the file's name; see `formats.CONTAINERS`.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..core import Frame
from .formats import CONTAINERS, END, FRAME, NUMBER, Order
from .stills import VideoError, cannot_write

QUEUE_FRAMES = 32
"""Frames that may wait for the encoder, which needs half a second to start. Few: a killed process loses them."""
PIPE_BYTES = 1 << 20
"""Of the pipe to the encoder, where the system lets one choose: several frames a wake-up."""
ENCODER = [sys.executable, "-P", "-m", "nextframe.runtime.display.encoder"]
"""`-P`: a folder that a player starts from may have modules of any name."""


def check_video_name(path: Path, option: str = "video") -> None:
    """VideoError for a name whose suffix is no format that can be written."""
    if path.suffix.lower() not in CONTAINERS:
        raise VideoError(f"{option} {path}: expected a name ending in {', '.join(CONTAINERS)}, got '{path.suffix}'")


class VideoWriter:
    """Writes frames of `frame_size_px` (width, height) at `fps` in the format of the file's name.

    The file grows as `<name>.part.mp4` in fragments of a second, so a killed process leaves one that plays;
    `close` gives it its name. `live=False`: `add` waits for the encoder. `live=True`: `add` never waits; when the
    encoder is behind, the frame is dropped and counted, and the one before stays on screen for its time.
    `crf` is x264's quality, 0 (lossless) to 51.
    """

    def __init__(
        self,
        path: Path | str,
        fps: Fraction,
        frame_size_px: tuple[int, int],
        *,
        scale: int = 3,
        crf: int = 18,
        live: bool = False,
    ) -> None:
        self.path = Path(path)
        check_video_name(self.path)
        suffix = self.path.suffix.lower()
        self.part_path = self.path.with_suffix(".part" + CONTAINERS[suffix].suffix)
        self._finished_path = self.path.with_suffix(".part" + suffix)
        self.frames_added = 0
        self.dropped = 0
        width, height = frame_size_px
        self._frame_shape = (height, width, 3)
        self._live = live
        self._error: Exception | None = None
        self._closed = False
        # Live, the one that costs its sender a microsecond and not a switch of threads.
        self._queue: queue.SimpleQueue[tuple[int, Frame] | None] | queue.Queue[tuple[int, Frame] | None] = (
            queue.SimpleQueue() if live else queue.Queue(QUEUE_FRAMES)
        )
        order = Order(str(self.part_path), suffix, str(Fraction(fps)), width, height, scale, crf)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.part_path.open("ab").close()  # said now and not after the session, if it cannot be
            self._encoder = subprocess.Popen(
                ENCODER, stdin=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=PIPE_BYTES, start_new_session=True
            )
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._thread = threading.Thread(target=self._feed, args=(order,), name="video-writer", daemon=True)
        self._thread.start()

    @property
    def encoder_pid(self) -> int:
        return self._encoder.pid

    def add(self, frame: Frame) -> None:
        """Write the next frame. Raises VideoError for a frame of another size, or if the file cannot be written."""
        if frame.shape != self._frame_shape or frame.dtype != np.uint8:
            raise VideoError(
                f"frame does not fit the video {self.path}: expected uint8 of shape {self._frame_shape}, "
                f"got {frame.dtype} of shape {frame.shape}; open the video with the world's frame size"
            )
        if self._closed:
            raise VideoError(f"video {self.path}: expected an open file, got one already closed; open a new one")
        self._raise_failure()
        item = (self.frames_added, frame.copy())
        self.frames_added += 1
        if self._live and self._queue.qsize() >= QUEUE_FRAMES:
            self.dropped += 1
        else:
            self._queue.put(item)

    def close(self) -> Path | None:
        """Finish the file under its final name and return it; None, and no file, if there was no frame."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._raise_failure()
            if self.frames_added == 0:
                self._finished_path.unlink(missing_ok=True)
            else:
                os.replace(self._finished_path, self.path)
        return self.path if self.frames_added else None

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise cannot_write(self.path, self._error) from self._error

    def _feed(self, order: Order) -> None:
        """The thread: hands frames to the encoder until the None that `close` sends. After a failure it only empties
        the queue, so that `add` never waits for an encoder that is gone."""
        item: tuple[int, Frame] | None = None
        pipe, words = self._encoder.stdin, self._encoder.stderr
        assert pipe is not None
        assert words is not None
        try:
            pipe.write(order.line())
            while (item := self._queue.get()) is not None:
                self._send(*item)
            pipe.write(END)
            pipe.close()
        except OSError as error:
            self._error = error
        said = words.read().decode(errors="replace").strip()
        code = self._encoder.wait()
        words.close()
        if code != 0 and (self._error is not None or self.frames_added):
            last = said.splitlines()[-1] if said else f"the encoder ended with code {code}"
            self._error = OSError(last)  # raised by the next `add`, and by `close`
        with suppress(BrokenPipeError):  # what is left in it is for an encoder that is gone
            pipe.close()
        while item is not None:
            item = self._queue.get()

    def _send(self, number: int, frame: Frame) -> None:
        """The interpreter lock is free while the system copies the frame into the pipe."""
        assert self._encoder.stdin is not None
        self._encoder.stdin.write(FRAME + NUMBER.pack(number))
        self._encoder.stdin.write(np.ascontiguousarray(frame).data)
        self._encoder.stdin.flush()
