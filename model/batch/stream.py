"""Stream-batching: the denoise steps of consecutive frames of one session in one pass, for generators trained for it.

Row r of a pass holds the frame that is at denoise step r. Each row sees the history that its own step has written
(`MemorySpec.history == "same_level"`), so that a frame need not wait until the one before is finished. That is what
makes the rate grow with rows and stages, and what makes control late: with n steps on W stages n * W - 1 frames come
out between an input and the first frame that shows it. Owns which frame is where, and counts exactly. Knows no network.
After StreamDiffusionV2 (arXiv 2511.07399), whose layer pipeline is the one of `StreamBatch(stages=W)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..memory.rolling import MemorySpec


class HistoryError(ValueError):
    """A generator asked to be run in a way that its memory was not trained for."""


class StreamNetwork(Protocol):
    """What a stream batch drives. An item is whatever the network carries for one frame on its way."""

    memory_spec: MemorySpec

    def enter(self, frame: int, action: Any) -> Any:
        """A new frame, pure noise, with the newest input."""
        ...

    def visit(self, stage: int, items: Sequence[Any | None]) -> None:
        """The stage's layers for all rows at once. Item r is at denoise step r, None where no frame is yet; it reads
        the history of level r, then adds itself to it."""
        ...

    def end_of_step(self, step: int, item: Any) -> Any:
        """After the last stage: the item as it goes into its next denoise step, or the frame after the last one."""
        ...


@dataclass(frozen=True)
class Emitted:
    """`frame` came out of the micro-step in which frame `newest_frame` entered."""

    frame: int
    newest_frame: int
    picture: Any

    @property
    def lag_frames(self) -> int:
        return self.newest_frame - self.frame


def lag_frames(denoise_steps: int, stages: int) -> int:
    """Frames that come out after an input is read and do not show it: they have been committed to another one."""
    return denoise_steps * stages - 1


class StreamBatch:
    """A ring of `stages` payloads of `denoise_steps` rows: frame f is in payload f mod W, and in micro-step
    f + r * W + w it is in row r at stage w. `step` is one micro-step; all its visits may run at the same time.
    """

    def __init__(self, network: StreamNetwork, stages: int = 1) -> None:
        spec = network.memory_spec
        if spec.history != "same_level":
            raise HistoryError(
                f"stream batch: expected a generator with a same_level history, got one with a {spec.history} history: "
                "it remembers finished frames, so the next one cannot start before; run it tick by tick, or fill the "
                "rows and stages with other sessions"
            )
        if stages < 1:
            raise ValueError(f"stream batch: expected at least 1 stage, got {stages}")
        self._network, self.stages, self.denoise_steps = network, stages, spec.levels
        self.frames_entered = 0
        self._items: dict[int, Any] = {}

    @property
    def lag_frames(self) -> int:
        return lag_frames(self.denoise_steps, self.stages)

    def step(self, action: Any) -> Emitted | None:
        """One micro-step: a frame enters with this input, every stage works once, and the oldest frame comes out.
        None for the first `lag_frames` steps of a session."""
        newest = self.frames_entered
        self.frames_entered += 1
        self._items[newest] = self._network.enter(newest, action)
        for stage in range(self.stages):
            rows = [self._items.get(newest - stage - row * self.stages) for row in range(self.denoise_steps)]
            if any(item is not None for item in rows):
                self._network.visit(stage, rows)
        emitted = None
        for row in range(self.denoise_steps):
            frame = newest - (row + 1) * self.stages + 1
            if frame >= 0:
                self._items[frame] = self._network.end_of_step(row, self._items[frame])
                emitted = frame
        if emitted is None or emitted != newest - self.lag_frames:
            return None
        return Emitted(emitted, newest, self._items.pop(emitted))
