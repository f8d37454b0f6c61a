"""What a tick costs: C(k) = F + k*S, learned from stage timings one tick late (no device is ever waited for).

docs/governor.md says what was measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from ..tick.record import TickRecord

WINDOW_TICKS = 64
RECENT_TICKS = 4


class CostSample(NamedTuple):
    """What one tick cost, in ns.

    `fixed_ns`: start to picture, less steps times `step_ns`; a hiccup in a denoise step is in here. `head_ns`: before
    the first denoise step. `tail_ns`: after the last one (decode, present). `commit_ns`: after the picture.
    """

    fixed_ns: float
    step_ns: float
    head_ns: float
    tail_ns: float
    commit_ns: float

    def response_ns(self, steps: int) -> float:
        return self.fixed_ns + steps * self.step_ns


def sample_of(record: TickRecord) -> CostSample:
    """The costs in a record. A step costs the lower median of the tick's steps: one hiccup is not multiplied by k.

    Counted from when the loop was free for the tick, so waking late is a cost and waiting for a commit is not. What was
    made ahead of the release is a cost like any other: the next guess may be wrong.
    """
    ahead_ns = record.ahead.made_ns
    denoise_ns = sum(record.step_ns) or record.stage_ns.get("denoise", 0)
    decode_ns = record.stage_ns.get("decode", 0)
    each_ns: list[float] = [*sorted(record.step_ns)] or [denoise_ns / record.steps_applied]
    step_ns = each_ns[(len(each_ns) - 1) // 2]
    return CostSample(
        fixed_ns=max(0.0, record.present_ns - record.start_ns + ahead_ns - record.steps_applied * step_ns),
        step_ns=step_ns,
        head_ns=max(0.0, record.emit_ns - record.poll_ns + ahead_ns - denoise_ns - decode_ns),
        tail_ns=max(0.0, record.present_ns - record.emit_ns + decode_ns),
        commit_ns=record.stage_ns.get("commit", 0),
    )


def high_mark(values: Sequence[float]) -> float:
    """The value that one sample in twenty exceeds, and at least one where there are two or more; 0 for none."""
    if len(values) < 2:
        return max(values, default=0.0)
    return sorted(values)[-1 - max(1, len(values) // 20)]


def expected_ns(values: Sequence[float]) -> float:
    """The worse of the window's high mark and the second worst of the last four.

    One hiccup moves neither; two dear ticks of four are a load that rose.
    """
    return max(high_mark(values), high_mark(values[-RECENT_TICKS:]))


class CostModel:
    """C(k) = F + k*S over the last 64 ticks, by sample, so that F and S need not be bad in the same tick to count."""

    def __init__(self) -> None:
        self._samples: deque[CostSample] = deque(maxlen=WINDOW_TICKS)
        self.head_ns = self.step_ns = self.tail_ns = 0.0

    def learn(self, sample: CostSample) -> None:
        self._samples.append(sample)
        self.head_ns = high_mark([known.head_ns for known in self._samples])
        self.step_ns = high_mark([known.step_ns for known in self._samples])
        self.tail_ns = high_mark([known.tail_ns for known in self._samples])

    def forget_all_but(self, ticks: int) -> None:
        """The load has changed: only the last ticks say anything of the next."""
        while len(self._samples) > ticks:
            self._samples.popleft()

    @property
    def samples(self) -> tuple[CostSample, ...]:
        """Oldest first."""
        return tuple(self._samples)

    def go_on_with(self, samples: Sequence[CostSample], marks_ns: Sequence[float]) -> None:
        """Know these, and no others. `marks_ns`: head, step and tail, which may remember more than the samples."""
        self._samples = deque(samples, maxlen=WINDOW_TICKS)
        self.head_ns, self.step_ns, self.tail_ns = marks_ns

    def expected_ns(self, steps: int, last_ticks: int = WINDOW_TICKS) -> tuple[float, float]:
        """Picture after start, and picture and commit together, to expect at this rung."""
        samples = list(islice(self._samples, max(0, len(self._samples) - last_ticks), None))
        pictures_ns = [sample.fixed_ns + steps * sample.step_ns for sample in samples]
        wholes_ns = [picture + sample.commit_ns for picture, sample in zip(pictures_ns, samples, strict=True)]
        return expected_ns(pictures_ns), expected_ns(wholes_ns)

    def typical(self) -> CostSample | None:
        """Medians, to start the next session with; None while nothing is known."""
        if not self._samples:
            return None
        return CostSample(*(sorted(column)[len(column) // 2] for column in zip(*self._samples, strict=True)))
