"""SyncTest: play, roll back, play again, compare. The proof that a snapshot is everything and a tick is a function.

The first tick and state part that differ are named. The idea is that of GGPO's and ggrs's
sync-test sessions: a state that was forgotten shows as soon as the past is played a second time.

At most depth + 1 snapshots are held, so a run may be as long as one likes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from ..core import Action, ActionSpace, Frame, NextframeError, PlayedTick, Snapshot, StatePart, TickPlan, World
from ..recording.compare import Difference, belongs_to, differences, leaves, same
from ..tick.again import Replayed, again, play

PROMPT_EVERY_TICKS = 7
RESET_EVERY_TICKS = 29
"""Primes, so that prompts and resets meet every phase of depths and strides."""

Actions: TypeAlias = Callable[[int], Action]
"""The action of a tick. Asked once per tick, in order; what it said is what is played again."""

Plans: TypeAlias = Callable[[int], TickPlan]
"""The plan of a tick, as a governor would give it. Played again is what was applied, not what was planned."""


@dataclass(frozen=True)
class Mismatch:
    """The first thing that was not the same twice.

    `tick`: of phase "restore", the state before this tick did not come back from its own snapshot; of phase "tick",
    playing this tick again came out different. `found_after_tick`: the newest tick played when it showed.
    """

    tick: int
    found_after_tick: int
    phase: Literal["restore", "tick"]
    parts: tuple[Difference, ...]

    @property
    def checksum_noticed(self) -> bool:
        return any(part.path == "checksum" for part in self.parts)


@dataclass(frozen=True)
class Coverage:
    """What the run put to the test. A part that never changed (`unchanged_parts`) was compared, and proves little."""

    prompts: int
    resets: int
    cut_ticks: int
    rungs: Mapping[int, int]
    state: tuple[StatePart, ...]
    unchanged_parts: tuple[str, ...]


@dataclass(frozen=True)
class SyncTestResult:
    """`ticks`: played once; fewer than asked for if a mismatch ended the run. `checksum`: of the last of them."""

    ticks: int
    depth: int
    stride: int
    rollbacks: int
    resimulated_ticks: int
    checksum: int
    coverage: Coverage
    mismatch: Mismatch | None

    @property
    def same(self) -> bool:
        return self.mismatch is None


@dataclass(frozen=True)
class _Seen:
    """One tick as it was first played, with its checksum: what came out, and the world after it."""

    tick: int
    played: PlayedTick
    frames: Sequence[Frame]
    after: Snapshot

    @property
    def checksum(self) -> int:
        assert self.played.checksum is not None, "a synctest takes every checksum"
        return self.played.checksum


def synctest(
    world: World,
    actions: Actions,
    *,
    depth: int,
    ticks: int,
    plans: Plans,
    seed: int = 0,
    stride: int = 1,
    on_tick: Callable[[], None] = lambda: None,
) -> SyncTestResult:
    """Reset the world with `seed` and play `ticks`; after every `stride`-th, roll back `depth` and play those again.

    The run goes on from the state that was played again, so that what a rollback left behind adds up until it shows.
    A reset (`Action.reset`) starts the world anew with the next seed. Ends at the first mismatch.
    Raises `NextframeError` if nothing could be measured.
    """
    if depth < 1 or stride < 1:
        raise NextframeError(f"synctest: expected a depth and a stride of at least 1, got {depth} and {stride}")
    if ticks <= depth:
        raise NextframeError(
            f"synctest: nothing to measure: expected more ticks than the depth of {depth}, got {ticks}; give more ticks"
        )
    world.reset(seed)
    history: deque[_Seen] = deque(maxlen=depth + 1)
    history.append(_seen(world, -1, Replayed(PlayedTick(Action(), 0), [])))
    tested = _Tested(history[0].after)
    mismatch, rollbacks, resimulated = None, 0, 0
    for tick in range(ticks):
        action, plan = actions(tick), plans(tick)
        reset_seed = seed + tested.resets + 1 if action.reset else None
        history.append(_seen(world, tick, play(world, action, plan, reset_seed=reset_seed)))
        tested.note(plan, history[-1])
        on_tick()
        if len(history) <= depth or ((tick + 1 - depth) % stride and tick + 1 < ticks):
            continue
        rollbacks += 1
        mismatch = _roll_back(world, history)
        resimulated += depth if mismatch is None else mismatch.tick - history[0].tick - (mismatch.phase == "restore")
        if mismatch is not None:
            break
    coverage = tested.coverage(world.state_inventory())
    newest = history[-1]
    return SyncTestResult(newest.tick + 1, depth, stride, rollbacks, resimulated, newest.checksum, coverage, mismatch)


def _seen(world: World, tick: int, replayed: Replayed) -> _Seen:
    played = replace(replayed.played, checksum=world.checksum())
    return _Seen(tick, played, replayed.frames, world.snapshot())


def _roll_back(world: World, history: Sequence[_Seen]) -> Mismatch | None:
    """Go back to the oldest state of the history and play the rest of it again."""
    start, *rest = history
    newest = history[-1].tick
    world.restore(start.after)
    found = _compare(start, _seen(world, start.tick, Replayed(start.played, list(start.frames))))
    if found:
        return Mismatch(start.tick + 1, newest, "restore", found)
    for first in rest:
        found = _compare(first, _seen(world, first.tick, again(world, first.played, reason="synctest")))
        if found:
            return Mismatch(first.tick, newest, "tick", found)
    return None


def _compare(first: _Seen, second: _Seen) -> tuple[Difference, ...]:
    """State parts first, since they say where; then what a player would see; then the checksum over all of it."""
    found = differences(first.after, second.after)
    found += differences({"frames shown": list(first.frames)}, {"frames shown": list(second.frames)})
    steps = first.played.steps_applied, second.played.steps_applied
    found += differences({"steps applied": steps[0]}, {"steps applied": steps[1]})
    if first.checksum != second.checksum:
        found.append(Difference("checksum", f"{first.checksum:#010x} and {second.checksum:#010x}"))
    return tuple(found)


class _Tested:
    """What the run has put to the test so far."""

    def __init__(self, begun: Snapshot) -> None:
        self.resets = 0
        self._prompts = 0
        self._cut_ticks = 0
        self._rungs: Counter[int] = Counter()
        self._unchanged: dict[str, object] = dict(leaves(begun))
        self._paths: tuple[str, ...] = tuple(self._unchanged)

    def note(self, plan: TickPlan, seen: _Seen) -> None:
        played = seen.played
        self.resets += played.reset_seed is not None
        self._prompts += played.action.prompt is not None
        self._cut_ticks += played.steps_applied < plan.denoise_steps
        self._rungs[played.steps_applied] += 1
        if self._unchanged:
            now = dict(leaves(seen.after))
            self._unchanged = {
                path: value for path, value in self._unchanged.items() if path in now and same(value, now[path])
            }

    def coverage(self, state: Iterable[StatePart]) -> Coverage:
        state = tuple(state)
        changed = [path for path in self._paths if path not in self._unchanged]
        unchanged = [part.name for part in state if not any(belongs_to(path, part.name) for path in changed)]
        rungs = dict(sorted(self._rungs.items()))
        return Coverage(self._prompts, self.resets, self._cut_ticks, rungs, state, tuple(unchanged))


# --- input that leaves nothing out ---------------------------------------------------------------------------------


def busy_actions(poll: Actions, space: ActionSpace, seed: int = 0) -> Actions:
    """The actions of `poll`, with a word of each prompt group every 7 ticks and a reset every 29."""

    def action_of(tick: int) -> Action:
        action = poll(tick)
        if tick and tick % PROMPT_EVERY_TICKS == 0 and space.prompts:
            draws = _draws(seed, tick, len(space.prompts))
            words = [words[draw % len(words)] for words, draw in zip(space.prompts.values(), draws, strict=True)]
            action = replace(action, prompt=" ".join(words))
        return replace(action, reset=True) if tick and tick % RESET_EVERY_TICKS == 0 else action

    return action_of


def mixed_plans(ladder: Sequence[int], seed: int = 0) -> Plans:
    """Every rung in an order of the seed; some are planned as such, some are top quality cut short by the step gate."""

    def plan_of(tick: int) -> TickPlan:
        choice, cut = _draws(seed, tick, 2)
        rung = ladder[choice % len(ladder)]
        if cut % 2:
            return TickPlan(rung, deadline_ns=0, reason="mixed")
        return TickPlan(ladder[-1], deadline_ns=0, reason="mixed", gate=lambda steps_done: steps_done < rung)

    return plan_of


def _draws(seed: int, tick: int, count: int) -> list[int]:
    """Integers that belong to (seed, tick): the same in every run, whatever was drawn before. High bits are kept."""
    return [int(bits) >> 32 for bits in np.random.Philox(key=seed, counter=[0, 0, 0, tick]).random_raw(count)]
