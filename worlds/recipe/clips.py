"""What a dynamics learns from: clips of the teacher's episodes, of its own, and pools of both made anew as it trains.

A dream leaves the places where the teacher's own episodes are: a pixel too deep in a wall here, two there, and nothing
in them says where to go from there. So the network plays, and the teacher, put where the dream is, says what the next
latent would have been (DAgger, Ross et al. 2011). Targets that continued the teacher's own, undisturbed episode would
contradict what the history shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from ...model.generator.ticks import RollingGenerator
from .rollout import denoised

Made = TypeVar("Made")


@dataclass(frozen=True)
class Episodes:
    """The teacher's. `latents`: `(episodes, ticks, latent_dim)`. `conditions`: `(episodes, ticks, condition_dim)`."""

    latents: Tensor
    conditions: Tensor


@dataclass(frozen=True)
class OwnEpisodes:
    """`histories`, `targets`: `(episodes, ticks, latent_dim)`; the target of tick t continues the history before it.

    `conditions`: `(episodes, ticks, condition_dim)`. `astray`: `(episodes, ticks)`, how far the player is where the
    teacher's never is, such as in a wall, in the world's own unit; negative on the right side.
    """

    histories: Tensor
    targets: Tensor
    conditions: Tensor
    astray: Tensor

    @classmethod
    def of(cls, ticks: Sequence[tuple[Tensor, ...]]) -> OwnEpisodes:
        """From history, target, condition and astray of each tick, `(episodes, ...)` each."""
        return cls(*(torch.stack(part, 1).clone() for part in zip(*ticks, strict=True)))


class Clips(NamedTuple):
    """What a step learns from, `(batch, ticks, ...)` each. `dreamt` `(batch,)`: histories that the teacher answered to,
    rather than its own."""

    targets: Tensor
    histories: Tensor
    conditions: Tensor
    dreamt: Tensor

    def to(self, device: str) -> Clips:
        return Clips(*(part.to(device) for part in self))


def clips_at(episodes: Episodes, rows: Tensor, ticks: Tensor) -> Clips:
    """The teacher's own: its past is its history. `rows` `(batch, 1)`, `ticks` `(batch, clip_ticks)`."""
    latents = episodes.latents[rows, ticks]
    return Clips(latents, latents, episodes.conditions[rows, ticks], torch.zeros(len(rows), dtype=torch.bool))


def drawn(episodes: Tensor, count: int, clip_ticks: int) -> tuple[Tensor, Tensor]:
    """Where random clips lie in `(episodes, ticks, ...)`: rows `(count, 1)` and ticks `(count, clip_ticks)`."""
    rows = torch.randint(len(episodes), (count, 1))
    return rows, torch.randint(episodes.shape[1] - clip_ticks, (count, 1)) + torch.arange(clip_ticks)


def replaced(clips: Clips, own: OwnEpisodes, first: int, last: int) -> Clips:
    """The rows from `first` to before `last` drawn from `own`."""
    at = drawn(own.targets, last - first, clips.targets.shape[1])
    mixed = Clips(*(part.clone() for part in clips))
    for part, source in zip(mixed, (own.targets, own.histories, own.conditions), strict=False):
        part[first:last] = source[at]
    mixed.dreamt[first:last] = True
    return mixed


def last_replaced(clips: Clips, own: OwnEpisodes, share: float) -> Clips:
    """The last `share` of the rows drawn from `own`."""
    count = len(clips.targets)
    return replaced(clips, own, count - round(share * count), count)


class Pool(Generic[Made]):
    """The newest `most` of what `make(seed, number)` makes: `least` of them at once, one more every `every_s` of
    training."""

    def __init__(self, make: Callable[[int, int], Made], *, least: int, most: int, every_s: float) -> None:
        self._make, self._least, self._most, self._every_s = make, least, most, every_s
        self._kept: list[Made] = []
        self._number, self._due_s = 0, 0.0

    def at(self, spent_s: float) -> list[Made]:
        """All of them after `spent_s` of training."""
        while len(self._kept) < self._least or spent_s >= self._due_s:
            self._kept = [*self._kept, self._make(int(spent_s) + self._number, self._number)][-self._most :]
            self._number += 1
            self._due_s = spent_s + self._every_s
        return self._kept

    def any(self, spent_s: float) -> Made:
        kept = self.at(spent_s)
        return kept[int(torch.randint(len(kept), ()))]


class Answers(Protocol):
    """A teacher that answers to a dream, with a player who sees what the dream shows."""

    def begin(self) -> tuple[Tensor, Tensor]:
        """Where the sessions start, `(rows, latent_dim)`, and what led there, `(rows, condition_dim)`."""
        ...

    def answer(self) -> tuple[Tensor, Tensor]:
        """The next controls as conditions, and what the next latents would have been."""
        ...

    def see(self, generator: RollingGenerator) -> Tensor:
        """Go on from where the newest latents are; how far astray that is, `(rows,)`."""
        ...


@torch.inference_mode()
def own_episodes(
    generator: RollingGenerator, teacher: Answers, *, seed: int, ticks: int, settle_ticks: int = 0
) -> OwnEpisodes:
    """All rows of `generator` played for `settle_ticks`, which are dropped, and `ticks`, which are kept. Steps of one
    and two denoise steps take turns."""
    first, given = teacher.begin()
    generator.prefill(first[:, None], given[:, None])
    kept: list[tuple[Tensor, ...]] = []
    for tick in range(settle_ticks + ticks):
        given, target = teacher.answer()
        generator.commit(denoised(generator, given, 1 + tick % 2, seed), given)
        astray = teacher.see(generator)
        if tick >= settle_ticks:
            kept.append((generator.last.clone(), target, given, astray))
    return OwnEpisodes.of(kept)
