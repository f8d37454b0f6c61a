"""The drift monitor: are the latents of a session still like real ones? Judged once a tick, at commit.

The running statistics of a session and the verdict. It changes nothing: what can be done about drift is in
`nextframe.model.drift.actions`, and what is real is in `nextframe.model.drift.bank`. A mood is a number, read from the
one-hot groups at the end of a condition.

Per latent channel three running numbers with exponential forgetting: mean, spread (standard deviation) and change (root
mean square of what a tick moves). Each is held against the band between the 1 % and 99 % quantiles of the same number
on real sessions in the same mood. Channel statistics against their running values are how Helios watches for drift
(arXiv 2603.04379); the bank of real bands is ours. docs/long_sessions.md says what it was measured to find.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ..tokenizers.scenes.still import SLOT_DIM
from .bank import STATISTICS, Array, DriftBank, Wide

BLOCK_TICKS = 8
"""Ticks are gathered and judged in blocks: an operation on a small array costs microseconds after a network has had the
caches, so twenty of them a tick would be 100 us and are 15."""
ALARM_AFTER_TICKS = 40
"""Two seconds at 20 Hz outside before it counts as drift: a collision or a long slide is over by then."""
KEYFRAME_EVERY_TICKS = 100


@dataclass(frozen=True)
class DriftReport:
    """The verdict on one tick.

    `score`: how far the worst statistic lies outside its band, in widths of that band; 0 while all are inside or none
    is judged yet. `channels`: what lies outside by more than the alarm allows, worst first, such as "scene 3 mean".
    `slots`: the slots among them. `outside_for_ticks`: for how long without a break. `judged`: channels that had
    gathered enough to be judged.
    """

    score: float = 0.0
    channels: tuple[str, ...] = ()
    slots: tuple[int, ...] = ()
    outside_for_ticks: int = 0
    judged: int = 0

    @property
    def drifting(self) -> bool:
        return self.outside_for_ticks >= ALARM_AFTER_TICKS


class Recent(NamedTuple):
    """The last committed ticks, oldest first: what a memory can be built from again.

    `latents`: `(ticks, latent_dim)`. `conditions`: `(ticks, condition_dim)`.
    """

    latents: Array
    conditions: Array


@dataclass
class DriftMonitor:
    """Watches one session. `observe` once per committed tick; `snapshot` and `restore` go with the session's own.

    `remember_ticks`: how much of the past is kept for the actions; the memory's window. Everything in here follows from
    the committed latents and conditions alone, so a replay that commits the same comes to the same verdicts.
    """

    bank: DriftBank
    remember_ticks: int
    report: DriftReport = field(default_factory=DriftReport, init=False)

    def __post_init__(self) -> None:
        bank, dim = self.bank, self.bank.latent_dim
        low, high = bank.low.astype(np.float64), bank.high.astype(np.float64)
        self._middle, self._per_width = (low + high) / 2, 1.0 / (high - low)
        self._names = channel_names(dim, bank.scene_dim)
        self._groups = (slice(0, bank.scene_dim), slice(bank.scene_dim, dim))
        self._prompt_at = -sum(bank.groups)
        rate = 1.0 / bank.window_ticks
        self._kept = (1.0 - rate) ** np.arange(BLOCK_TICKS + 1)  # of what was gathered n ticks ago
        self._remember = max(self.remember_ticks, BLOCK_TICKS + 1)
        self.reset()

    def reset(self) -> None:
        """A new session."""
        self._sums = np.zeros((len(STATISTICS) + 1, self.bank.latent_dim))  # last row: the mean of ones, the weight
        self._ages = [0, 0]
        self._pending = 0
        self._past: list[tuple[Array, Array]] = []
        self._mood = 0
        self._prompt = b""
        self._keyframe: tuple[int, Array] | None = None
        self._ticks = 0
        self.report = DriftReport()

    def observe(self, latent: Array, condition: Array) -> DriftReport:
        """Take in a tick: its canonical latent `(latent_dim,)` and condition `(condition_dim,)`, float32; both are
        copied."""
        self._follow_prompt(condition)
        self._past.append((latent.copy(), condition.copy()))
        if len(self._past) > self._remember:
            del self._past[0]
        self._ticks += 1
        self._pending += 1
        if self.report.outside_for_ticks:
            self.report = replace(self.report, outside_for_ticks=self.report.outside_for_ticks + 1)
        if self._pending == BLOCK_TICKS:
            self._gather()
        if self._ticks % KEYFRAME_EVERY_TICKS == 0 and self._is_good:
            self._keyframe = (self._mood, self.recent.latents)
        return self.report

    def _gather(self) -> None:
        """Take the ticks of the block into the running statistics and judge them."""
        count, rate = self._pending, 1.0 / self.bank.window_ticks
        if count == 0:
            return
        latents = np.array([latent for latent, _ in self._past[-count - 1 :]], np.float64)
        if len(latents) == count:  # the session's first tick has none before it
            latents = np.concatenate([latents[:1], latents])
        x, moved = latents[1:], latents[1:] - latents[:-1]
        block = (rate * self._kept[count - 1 :: -1]) @ np.concatenate((x, x * x, moved * moved), axis=1)
        first, last = self._span(-1)
        sums = self._sums[:, first:last]
        sums *= self._kept[count]
        sums[:-1] += block.reshape(len(STATISTICS), -1)[:, first:last]
        sums[-1] += 1.0 - self._kept[count]
        self._ages = [age + count for age in self._ages]
        self._pending = 0
        self._renew(self.report.outside_for_ticks)

    def _renew(self, outside_for_ticks: int) -> None:
        """Judge the statistics as they are; what is outside has been for so long, or begins to be."""
        self.report = self._judge()
        if self.report.channels:
            self.report = replace(self.report, outside_for_ticks=max(1, outside_for_ticks))

    def _span(self, age: int) -> tuple[int, int]:
        """The channels, from and to, of groups that have gathered for more ticks than that."""
        (scene, slots), scene_dim = (now > age for now in self._ages), self.bank.scene_dim
        return (0 if scene else scene_dim), (self.bank.latent_dim if slots else scene_dim)

    def _follow_prompt(self, condition: Array) -> None:
        """A new mood: the scene is on its way there, and what it was before says nothing of it."""
        prompt = condition[self._prompt_at :].tobytes()
        if prompt == self._prompt:
            return
        first, before = not self._prompt, self._mood
        self._gather()  # what came before belongs to the mood before
        self._prompt, self._mood = prompt, self.bank.mood_of(condition)
        if self._mood != before and not first:
            self._forget(0, -self.bank.settle_ticks)
            self._renew(self.report.outside_for_ticks)

    def _forget(self, group: int, age: int) -> None:
        self._sums[:, self._groups[group]] = 0.0
        self._ages[group] = age

    def statistics(self) -> tuple[Wide, int]:
        """The running statistics of the channels that have gathered enough to be judged, `(3, channels)`, and the
        first of these channels: they lie in a row."""
        first, last = self._span(self.bank.window_ticks - 1)
        sums = self._sums[:, first:last]
        found = sums[:3] / sums[3]
        found[1] -= found[0] * found[0]
        np.sqrt(np.maximum(found[1:], 0.0, out=found[1:]), out=found[1:])
        return found, first

    def _judge(self) -> DriftReport:
        first, last = self._span(self.bank.window_ticks - 1)
        if first >= last:
            return DriftReport()
        found, _ = self.statistics()
        found -= self._middle[self._mood, :, first:last]
        np.abs(found, out=found)
        found *= self._per_width[self._mood, :, first:last]
        worst = float(found.max()) - 0.5  # half a width away from the middle is the edge of the band
        if worst <= self.bank.alarm_score:
            return DriftReport(max(0.0, worst), judged=last - first)
        return self._outside(found - 0.5, first)

    def _outside(self, excess: Wide, first: int) -> DriftReport:
        """The report on `excess`, in widths of its bands, `(3, channels)` from channel `first` on."""
        excess = np.where(np.isnan(excess), np.inf, excess)  # no number at all is worst of all
        order = np.argsort(-excess, axis=None, kind="stable")
        count, dim, scene_dim = excess.shape[1], self.bank.latent_dim, self.bank.scene_dim
        outside = [divmod(int(at), count) for at in order if excess.flat[at] > self.bank.alarm_score]
        slots = {(first + at - scene_dim) // SLOT_DIM for _, at in outside if first + at >= scene_dim}
        names = tuple(self._names[statistic * dim + first + at] for statistic, at in outside)
        score = float(excess.flat[order[0]])
        return DriftReport(score, names, tuple(sorted(slots)), outside_for_ticks=1, judged=count)

    @property
    def _is_good(self) -> bool:
        """Inside all bands, all channels judged: worth going back to."""
        return self.report.judged == self.bank.latent_dim and self.report.score == 0.0

    # --- for the actions ------------------------------------------------------------------------------------------

    @property
    def recent(self) -> Recent:
        """Copies of the last ticks; at least one must have been observed."""
        latents, conditions = zip(*self._past[-self.remember_ticks :], strict=True)
        return Recent(np.stack(latents), np.stack(conditions))

    def anchor(self) -> Array:
        """Good latents in the mood asked for now, `(ticks, latent_dim)`: this session's last good keyframe, else the
        bank's clip whose slots end nearest to where they are."""
        assert self._past, "an anchor needs at least one observed tick"
        if self._keyframe is not None and self._keyframe[0] == self._mood:
            return self._keyframe[1].copy()
        clips, scene = self.bank.clips[self._mood], self.bank.scene_dim
        away = np.square(clips[:, -1, scene:] - self._past[-1][0][scene:]).sum(-1)
        return clips[int(away.argmin())].copy()

    def mended(self, recent: Recent) -> None:
        """An action put other ticks into memory: remember those, and gather anew before judging again."""
        self._past = [(latent.copy(), given.copy()) for latent, given in zip(*recent, strict=True)]
        self._pending = 0
        self._forget(0, 0)
        self._forget(1, 0)
        self.report = DriftReport()

    # --- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """Plain data; later ticks do not change it."""
        empty = np.zeros((0, 0), np.float32)
        keyframe: dict[str, object] = {}
        if self._keyframe is not None:
            keyframe = {"keyframe_mood": self._keyframe[0], "keyframe": self._keyframe[1].copy()}
        latents, conditions = map(np.stack, zip(*self._past, strict=True)) if self._past else (empty, empty)
        return {
            "sums": self._sums.copy(), "scene_age": self._ages[0], "slots_age": self._ages[1], "ticks": self._ticks,
            "pending": self._pending, "latents": latents, "conditions": conditions,
            "outside_for_ticks": self.report.outside_for_ticks, **keyframe,
        }  # fmt: skip

    def checksum(self, crc: int = 0) -> int:
        """CRC-32 of everything that decides later verdicts and actions."""
        for name, value in self.snapshot().items():
            said = f"{name} {value.shape}" if isinstance(value, np.ndarray) else f"{name} {value}"
            crc = zlib.crc32(said.encode(), crc)
            crc = zlib.crc32(value.tobytes(), crc) if isinstance(value, np.ndarray) else crc
        return crc

    def restore(self, snapshot: Mapping[str, Any]) -> None:
        """Continue as the monitor that the snapshot was taken of. ValueError for one that no such monitor has made."""
        if snapshot["sums"].shape != self._sums.shape:
            raise ValueError(f"drift: expected statistics of {self._sums.shape}, got {snapshot['sums'].shape}")
        self.reset()
        self._sums, self._ticks = snapshot["sums"].copy(), snapshot["ticks"]
        pairs = zip(snapshot["latents"], snapshot["conditions"], strict=True)
        self._past = [(latent.copy(), condition.copy()) for latent, condition in pairs]
        if self._past:
            self._follow_prompt(self._past[-1][1])
        self._ages, self._pending = [snapshot["scene_age"], snapshot["slots_age"]], snapshot["pending"]
        keyframe = snapshot.get("keyframe")
        self._keyframe = None if keyframe is None else (snapshot["keyframe_mood"], keyframe.copy())
        self.report = replace(self._judge(), outside_for_ticks=snapshot["outside_for_ticks"])


def channel_names(latent_dim: int, scene_dim: int) -> list[str]:
    """Of each statistic of each channel, flat, in the order of `(statistic, channel)`."""
    slot = ("x", "y", "cos", "sin", "presence", "lamp")
    channels = [f"scene {at}" for at in range(scene_dim)]
    channels += [f"slot {at // len(slot)} {slot[at % len(slot)]}" for at in range(latent_dim - scene_dim)]
    return [f"{channel} {statistic}" for statistic in STATISTICS for channel in channels]
