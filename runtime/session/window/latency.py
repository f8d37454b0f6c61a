"""How long an input takes to the end of the flip that shows its frame."""

from __future__ import annotations

from array import array
from collections import deque

import numpy as np

from ...observe import metrics
from ...observe.telemetry import LIVE_TICKS
from ...tick.record import TickRecord

MAX_ID_PAIRS = 4_096


class WindowLatency:
    """From an input event to the end of the flip that shows its frame. An observer on one side, `shown` on the other.

    The loop says which frame was the first to know of an input, the window which frame it showed when; a frame that
    was replaced before it was shown counts at the next one shown.
    """

    def __init__(self) -> None:
        self._next_frame_id = 0
        self._inputs: deque[tuple[int, int]] = deque(maxlen=MAX_ID_PAIRS)
        self._shown: deque[tuple[int, int]] = deque(maxlen=MAX_ID_PAIRS)
        self._waits_ns = array("q")
        self._response_ms: deque[float] = deque(maxlen=LIVE_TICKS)

    def observe(self, record: TickRecord) -> None:
        self._response_ms.append(record.response_ns / 1e6)
        if record.input_event_ns is not None:
            self._inputs.append((self._next_frame_id, record.input_event_ns))
        self._next_frame_id += record.frames

    def shown(self, frame_id: int, presented_ns: int) -> None:
        """Called by the window's thread, as is everything below."""
        self._shown.append((frame_id, presented_ns))

    def responses_ms(self) -> tuple[float, ...]:
        """The last ticks from release to picture, oldest first: what the deadline is a limit of."""
        return tuple(self._response_ms.copy())

    def recent_ms(self, count: int = 60) -> float | None:
        """The median of the last waits, None before the first."""
        self._match()
        return metrics.percentile([wait / 1e6 for wait in self._waits_ns[-count:]], 50)

    def skip(self, frames: int) -> None:
        """Frames that no tick made: a rewind shows them, and no input is in them."""
        self._next_frame_id += frames

    def percentiles_ms(self) -> dict[str, float | None] | None:
        """p50 and p95 of the whole session; None if there was no input."""
        self._match()
        return metrics.percentiles(np.array(self._waits_ns) / 1e6, 50, 95) if self._waits_ns else None

    def _match(self) -> None:
        while self._inputs and self._shown:
            frame_id, input_ns = self._inputs[0]
            if self._shown[0][0] < frame_id:
                self._shown.popleft()
                continue
            self._waits_ns.append(self._shown[0][1] - input_ns)
            self._inputs.popleft()
