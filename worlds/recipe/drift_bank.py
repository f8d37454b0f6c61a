"""Drift banks: bands of latent statistics on real sessions, by mood, and the alarm that none of those held out raises.

Which sessions are real is each world's own; see `nextframe.model.drift.monitor` for what is done with a bank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from ...model.drift.bank import DriftBank, Wide, quantile_bands, save_bank
from ...model.drift.monitor import ALARM_AFTER_TICKS, DriftMonitor
from ...model.tokenizers.scenes.still import SLOT_DIM

BANK = "drift_bank.safetensors"
WINDOW_TICKS, SETTLE_TICKS = 64, 40
KEEP_EVERY_TICKS = 8
CLIPS, FIRST_CUT_TICK, CUT_EVERY_TICKS = 4, 100, 150
FLOOR_LAMP = 2.0
"""Brake lamps do as the driver says and are never drift: any lamp is inside."""
LEAST_ALARM_SCORE = 0.25

Session: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Latents `(ticks, latent_dim)` and conditions `(ticks, condition_dim)`."""


def open_bank(latent_dim: int, scene_dim: int, groups: tuple[int, ...]) -> DriftBank:
    """A bank that finds nothing, for gathering statistics. `groups`: the words of each prompt group."""
    shape = (int(np.prod(groups)), 3, latent_dim)
    low, high = np.full(shape, -1e9, np.float32), np.full(shape, 1e9, np.float32)
    clips = np.zeros((shape[0], 1, 1, latent_dim), np.float32)
    return DriftBank(low, high, clips, groups, scene_dim, WINDOW_TICKS, SETTLE_TICKS, 0.0)


def statistics_of(bank: DriftBank, latents: NDArray[np.float32], conditions: NDArray[np.float32]) -> Iterator[Wide]:
    """The running statistics of one session, every few ticks, once all channels are judged."""
    monitor = DriftMonitor(bank, remember_ticks=1)
    for tick, (latent, given) in enumerate(zip(latents, conditions, strict=True)):
        monitor.observe(latent, given)
        if tick % KEEP_EVERY_TICKS == 0 and monitor.report.judged == bank.latent_dim:
            yield monitor.statistics()[0]


def scores_of(bank: DriftBank, latents: NDArray[np.float32], conditions: NDArray[np.float32]) -> list[float]:
    monitor = DriftMonitor(bank, remember_ticks=1)
    return [monitor.observe(latent, given).score for latent, given in zip(latents, conditions, strict=True)]


def filled(
    empty: DriftBank,
    moods: Iterable[tuple[Sequence[Session], Sequence[Session]]],
    floor: Wide,
    held_out: Iterable[Session],
    *,
    clip_ticks: int,
) -> DriftBank:
    """The bank of real sessions. `moods`: of each, sessions that clips are cut from too, and more that none are.
    `floor`: the least reach of each band, `(3, latent_dim)`."""
    lows, highs, clips = [], [], []
    for sessions, more in moods:
        samples = [np.stack(list(statistics_of(empty, *session))) for session in (*sessions, *more)]
        cuts = [
            latents[tick : tick + clip_ticks]
            for latents, _ in sessions
            for tick in range(FIRST_CUT_TICK, len(latents) - clip_ticks, CUT_EVERY_TICKS)
        ]
        low, high = quantile_bands(samples, floor)
        lows.append(low)
        highs.append(high)
        clips.append(chosen_clips(torch.from_numpy(np.stack(cuts)), empty.scene_dim))
    bank = replace(empty, low=np.stack(lows), high=np.stack(highs), clips=np.stack(clips))
    return replace(bank, alarm_score=alarm_of(bank, held_out))


def alarm_of(bank: DriftBank, sessions: Iterable[Session]) -> float:
    """The lowest alarm that none of these real sessions raises: the highest score that one of them stays above for as
    long as an alarm needs. Prints how the sessions lie."""
    worst = []
    for session in sessions:
        scores = scores_of(bank, *session)
        worst.append(float(np.lib.stride_tricks.sliding_window_view(scores, ALARM_AFTER_TICKS).min(1).max()))
    quantiles = ", ".join(f"{q:g}: {np.quantile(worst, q):.3f}" for q in (0.5, 0.9, 0.95, 0.99, 1.0))
    print(f"score held for {ALARM_AFTER_TICKS} ticks, by session: {quantiles}")
    return max(LEAST_ALARM_SCORE, *worst)


def chosen_clips(cuts: torch.Tensor, scene_dim: int) -> NDArray[np.float32]:
    """A few clips, `(clips, ticks, latent_dim)`: both cars in sight at the end, ends far from each other."""
    ends = cuts[:, -1, scene_dim:].unflatten(-1, (2, SLOT_DIM))
    usable = cuts[(ends[..., 4] > 0).all(-1)]
    ends = usable[:, -1, scene_dim:]
    picked = [0]
    while len(picked) < CLIPS:
        away = torch.cdist(ends, ends[picked]).min(1).values
        picked.append(int(away.argmax()))
    return usable[picked].numpy().copy()


def store(bank: DriftBank, path: Path) -> None:
    save_file(save_bank(bank), path)
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB, alarm above {bank.alarm_score:.2f}")
