"""Action following: a network that learned on the teacher to read the controls from pictures reads them in the world.

The experiment: real pairs to learn from, real ones to be examined on, the world's pictures under the same actions, and
another session's actions as chance. A key whose reader fails the examination gets no number, and the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import Action
from ....worlds.evaluation.players import Player, Recorder, Tape, Turns, Wanderer, keys_of
from ....worlds.evaluation.subjects import Pair, Subject, play
from .eye import Clip, Eye
from .inverse import (
    NEEDED_ACCURACY,
    NEEDED_CORRELATION,
    NEEDED_COVERAGE,
    AxisScore,
    InverseDynamics,
    KeyScore,
    Labels,
    Readings,
    axis_score,
    key_score,
    labels_of,
    read,
    train,
)

TRAIN_SEED, EXAM_SEED = 40_000, 60_000


@dataclass(frozen=True)
class Effort:
    """How much is spent on the judge. Sessions of `ticks` each; `width`: of its network."""

    train_sessions: int = 60
    exam_sessions: int = 16
    ticks: int = 120
    epochs: int = 14
    width: int = 32


FULL = Effort()
QUICK = Effort(train_sessions=24, exam_sessions=8, ticks=100, epochs=10)


@dataclass(frozen=True)
class Watched:
    """Clips and the actions that were given in their middle, and whose session each is."""

    clips: Clip
    actions: list[Action]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Judge:
    """A reader that has learned on the teacher, and the examination it took there.

    `tape`: what the teacher was told in the examination; `real`: what was read in its pictures; `truth`, `wrong`: what
    was to be read, and the actions of another session. `lessons`: clips it learned from.
    """

    net: InverseDynamics
    seeds: tuple[int, ...]
    tape: Tape
    real: Readings
    truth: Labels
    wrong: Labels
    lessons: int
    ticks: int


def learn(pair: Pair, effort: Effort) -> Judge:
    """Train a reader on the teacher and examine it on other sessions of the teacher."""
    keys, axes = keys_of(pair.palette), list(pair.palette.space.axes)
    lessons, _ = watch(pair.teacher, _seeds(TRAIN_SEED, effort.train_sessions), pair, effort.ticks)
    labels = labels_of(lessons.actions, keys, axes)
    net = train(lessons.clips, labels, epochs=effort.epochs, width=effort.width)
    seeds = _seeds(EXAM_SEED, effort.exam_sessions)
    exam, tape = watch(pair.teacher, seeds, pair, effort.ticks)
    truth, wrong = labels_of(exam.actions, keys, axes), labels_of(_rolled(exam), keys, axes)
    return Judge(net, tuple(seeds), tape, read(net, exam.clips), truth, wrong, len(lessons.clips), effort.ticks)


def following(pair: Pair, effort: Effort) -> dict[str, Any]:
    """F1 by key, gain and correlation by axis, for the world, for the teacher (the ceiling) and for wrong actions."""
    return judged(learn(pair, effort), pair)


def judged(judge: Judge, pair: Pair) -> dict[str, Any]:
    """The world of the pair under the actions of the judge's examination."""
    generated, _ = watch(pair.world, judge.seeds, pair, judge.ticks, judge.tape)
    made = read(judge.net, generated.clips)
    keys, axes = keys_of(pair.palette), pair.palette.space.axes
    return {
        "judge": {
            "train_clips": judge.lessons, "exam_clips": len(judge.truth.keys), "needed_accuracy": NEEDED_ACCURACY,
            "needed_correlation": NEEDED_CORRELATION, "needed_coverage": NEEDED_COVERAGE,
        },
        "notes": list(pair.notes),
        "keys": {key.name: _key_row(k, judge, made) for k, key in enumerate(keys)},
        "axes": {axis: _axis_row(k, judge, made) for k, axis in enumerate(axes)},
    }  # fmt: skip


def _seeds(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


def watch(
    subject: Subject, seeds: Sequence[int], pair: Pair, ticks: int, tape: Tape | None = None
) -> tuple[Watched, Tape]:
    """Play the sessions and keep a clip for each tick that has its four pictures; `tape`: the actions, if given."""
    eye = Eye(subject)
    player: Player = tape or _teaching(pair, subject, seeds)
    recorder = Recorder(player)
    clips: list[Clip] = []

    def see(tick: int) -> None:
        clip = eye.look()
        if clip is not None:
            clips.append(clip)

    play(subject, seeds, recorder, ticks, see)
    # Pictures 0, 1, 2, 3 are there after tick 3; the action of their middle led into picture 2: it is that of tick 1.
    taken = recorder.tape.ticks[1 : 1 + len(clips)]
    actions = [action for tick in taken for action in tick]
    return Watched(np.concatenate(clips), actions, np.tile(np.arange(len(seeds)), len(clips))), recorder.tape


def _teaching(pair: Pair, subject: Subject, seeds: Sequence[int]) -> Player:
    """Half wander; half know their way, where a player can, with a wanderer's hands a part of the time."""
    wanderer = Wanderer(pair.palette, seeds)
    if pair.explorer is None:
        return wanderer
    return Turns((wanderer, Interrupted(pair.explorer(subject, seeds), Wanderer(pair.palette, seeds))))


class Interrupted:
    """One player, and for every second stretch of `stretch_ticks` another: so sessions stay where they are playable
    and actions still say nothing of places."""

    def __init__(self, player: Player, other: Player, stretch_ticks: int = 14) -> None:
        self._player, self._other, self._stretch_ticks = player, other, stretch_ticks

    def actions(self, tick: int) -> list[Action]:
        both = self._player.actions(tick), self._other.actions(tick)
        return both[tick // self._stretch_ticks % 2]


def _rolled(watched: Watched) -> list[Action]:
    """For each clip the action of another session at the same tick."""
    sessions = int(watched.rows.max()) + 1
    at = np.arange(len(watched.actions)).reshape(-1, sessions)
    return [watched.actions[k] for k in np.roll(at, 1, 1).ravel()]


def _key_row(k: int, judge: Judge, made: Readings) -> dict[str, Any]:
    truth, wrong = judge.truth.keys[:, k], judge.wrong.keys[:, k]
    exam = key_score(judge.real.down[:, k], truth)
    row: dict[str, Any] = {"judge": _plain(exam), "judged": exam.may_judge}
    if not exam.may_judge:
        return row | {"refused": _key_refusal(exam)}
    world, other = key_score(made.down[:, k], truth), key_score(made.down[:, k], wrong)
    return row | {"world": _plain(world), "other_actions": _plain(other)}


def _axis_row(k: int, judge: Judge, made: Readings) -> dict[str, Any]:
    truth, wrong = judge.truth.axes[:, k], judge.wrong.axes[:, k]
    exam = axis_score(judge.real.level[:, k], judge.real.spread[:, k], truth)
    row: dict[str, Any] = {"judge": _plain(exam), "judged": exam.may_judge}
    if not exam.may_judge:
        return row | {"refused": _axis_refusal(exam)}
    world, other = (axis_score(made.level[:, k], made.spread[:, k], labels) for labels in (truth, wrong))
    return row | {"world": _plain(world), "other_actions": _plain(other)}


def _plain(score: KeyScore | AxisScore) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in vars(score).items()}


def _key_refusal(score: KeyScore) -> str:
    if score.accuracy is None:
        return f"sure of too few real clips: {score.clips}"
    if score.coverage < NEEDED_COVERAGE:
        return f"sure of {score.coverage:.0%} of the real clips only, {NEEDED_COVERAGE:.0%} wanted"
    return f"reads {score.accuracy:.1%} of the real clips right, {NEEDED_ACCURACY:.0%} wanted"


def _axis_refusal(score: AxisScore) -> str:
    if score.correlation is None:
        return f"sure of too few real clips: {score.clips}"
    if score.coverage < NEEDED_COVERAGE:
        return f"sure of {score.coverage:.0%} of the real clips only, {NEEDED_COVERAGE:.0%} wanted"
    return f"correlates {score.correlation:.3f} with the real levels, {NEEDED_CORRELATION:.2f} wanted"
