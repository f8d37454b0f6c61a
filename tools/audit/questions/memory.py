"""What persists: for how long a past input shows, how far back memory is read, and what a new prompt leaves of it.

Four probes:

- Persistence, for every repeatable target: two runs differ in the inputs of a few ticks only, then come together
  again. For as long as the pictures differ, something carried the difference. It may be carried by memory, or by the
  picture itself (a car that stands elsewhere): this is what persists, not where it is kept.
- Reach, for white boxes that can forget one frame: the memory of the frame k ticks ago is erased and everything else
  left. The largest k that still changes what comes is how far back the target really reads.
- Prompt: after the same few ticks both runs get a new prompt. If the difference is gone, so is what had happened.
- Turn back: away for n ticks and back for n, against the picture before, and against a simulator where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from ....runtime.core import IDLE, Action
from ..targets.contract import Corruptible
from ..targets.controls import Control, opening, wander
from ..targets.player import Moment, Player, Run
from .evidence import Memory, MemoryPoint, TurnBack
from .frames import differs, effect, psnr_db
from .next_frame import NextFrameResult
from .options import AuditOptions

PULSE_TICKS = 4
MOMENTS = 3
MOST_CONTROLS = 2
REACH_FILL_TICKS = 64
REACH_TICKS = 64
REACH_LOOK_FRAMES = 3
"""After an erasure: what is read on one tick but not the next would be missed by one frame."""
AWAY_TICKS = 15
DENSE_TICKS = 16

Say = Callable[[str], None]


def memory_test(player: Player, options: AuditOptions, seen: NextFrameResult, say: Say) -> Memory:
    probe = _Probe(player, options, seen)
    reach = probe.reach(say)
    answered = [item for item in seen.answered() if item[0].kind != "prompt"] or seen.answered()
    if seen.evidence.changes is None or seen.levels:
        return replace(reach, reason="two runs with equal inputs differ, so a past input cannot be singled out")
    if not answered:
        return replace(reach, reason="no control changes the picture, so the past cannot be changed to see its trace")
    say("memory: for how long a past input shows")
    best: _Trace | None = None
    for control, response in answered[:MOST_CONTROLS]:
        trace = probe.persistence(control, response.worst_frame or 1)
        if best is None or trace.ticks > best.ticks:
            best = trace
    assert best is not None
    survives, prompt_reason = probe.survives_prompt(best, say)
    return replace(
        reach,
        effective_memory_ticks=best.ticks,
        at_least=best.ticks >= options.memory_ticks,
        curve=best.curve,
        control=best.control.name,
        survives_prompt_change=survives,
        prompt_reason=prompt_reason,
        turn_back=probe.turn_back(answered, best.delay, say),
    )


@dataclass(frozen=True)
class _Trace:
    """`delay`: frames that an answer may be late, over the very next; what is under way is not remembered."""

    control: Control
    delay: int
    ticks: int
    curve: tuple[MemoryPoint, ...]

    @property
    def pulse_ticks(self) -> int:
        """Long enough for a target that looks at the input only now and then."""
        return max(PULSE_TICKS, 2 * self.delay + 2)


class _Probe:
    def __init__(self, player: Player, options: AuditOptions, seen: NextFrameResult) -> None:
        self._player, self._options, self._seen = player, options, seen
        self._space = player.target.actions
        self._moments: list[Moment] = []

    def _moment(self, index: int) -> Moment:
        while len(self._moments) <= index:
            self._moments.append(self._player.moment(self._options.seed_of(300 + len(self._moments))))
        return self._moments[index]

    def _later(self, moment: Moment, ticks: int) -> list[Action]:
        """What both runs do after they have come together: something, so that nothing persists by standing still."""
        rng = np.random.default_rng([moment.seed, 0x7A1E])
        return list(islice(wander(self._space, rng), ticks))

    def _effect(self, a: Run, b: Run, at: int) -> float:
        """0 where nothing is visible."""
        first, second = a.frames[at], b.frames[at]
        return effect(first, second, self._seen.overlay) if self._differs(a, b, at) else 0.0

    def _differs(self, a: Run, b: Run, at: int) -> bool:
        return differs(a.frames[at], b.frames[at], overlay=self._seen.overlay)

    # --- persistence ------------------------------------------------------------------------------------------------

    def persistence(self, control: Control, worst_frame: int) -> _Trace:
        """The median over moments of the last tick at which the pulse still shows, less the delay of an answer."""
        delay, ticks = worst_frame - 1, self._options.memory_ticks
        trace = _Trace(control, delay, 0, ())
        lasts, effects, floors = [], [], []
        for index in range(MOMENTS):
            moment = self._moment(index)
            pulse = self._pulse(trace)
            later = self._later(moment, ticks + delay - 1)
            plain = moment.play([*[IDLE] * len(pulse), *later])
            again = moment.play([*[IDLE] * len(pulse), *later])
            pulsed = moment.play([*pulse, *later])
            # The last tick of the pulse lets go: one tick after the last input that differs.
            span = range(trace.pulse_ticks + delay, trace.pulse_ticks + delay + ticks)
            effects.append([self._effect(pulsed, plain, at) for at in span])
            floors.append([self._effect(again, plain, at) for at in span])
            felt = [at + 1 for at, value in enumerate(effects[-1]) if value > floors[-1][at]]
            lasts.append(max(felt, default=0))
        means, floor = np.mean(effects, axis=0), np.max(floors, axis=0)
        chosen = [k for k in range(1, ticks + 1) if k <= DENSE_TICKS or k % 4 == 0]
        curve = tuple(MemoryPoint(k, float(means[k - 1]), float(floor[k - 1])) for k in chosen)
        return replace(trace, ticks=int(np.median(lasts)), curve=curve)

    def _pulse(self, trace: _Trace) -> list[Action]:
        """The control for a while, and then, on one tick more, what takes it back."""
        return trace.control.pulse(trace.pulse_ticks, 1)

    # --- prompts ----------------------------------------------------------------------------------------------------

    def survives_prompt(self, trace: _Trace, say: Say) -> tuple[bool | None, str]:
        """None, and why, where it cannot be told."""
        words = next((words for words in self._space.prompts.values() if len(words) > 1), None)
        if words is None:
            return None, "the target has no prompts to change"
        if trace.control.kind == "prompt":
            return None, "only prompts change the picture, so nothing else could survive them"
        say("memory: across a change of prompt")
        settle = 2 * trace.delay + 6
        pulse = self._pulse(trace)
        gap = [IDLE] * (trace.delay + 1)
        kept, would = 0, 0
        for index in range(MOMENTS):
            moment = self._moment(index)
            without = self._ends_apart(moment, pulse, [*gap, *[IDLE] * settle])
            with_prompt = self._ends_apart(moment, pulse, [*gap, Action(prompt=words[1]), *[IDLE] * (settle - 1)])
            would += without
            kept += without and with_prompt
        if would == 0:
            return None, f"what an input changed is gone after {settle} ticks, with a new prompt or without"
        return kept * 2 > would, f"{kept} of {would} differences made before a new prompt were still seen after it"

    def _ends_apart(self, moment: Moment, pulse: Sequence[Action], later: Sequence[Action]) -> bool:
        plain = moment.play([*[IDLE] * len(pulse), *later])
        pulsed = moment.play([*pulse, *later])
        last = len(plain.frames)
        return any(self._differs(pulsed, plain, at) for at in range(last - 4, last))

    # --- reach ------------------------------------------------------------------------------------------------------

    def reach(self, say: Say) -> Memory:
        """Erase one frame of memory at a time; only what the target holds can be erased."""
        nothing = Memory(None)
        if not isinstance(self._player.target, Corruptible):
            return nothing
        seed = self._options.seed_of(350)
        rng = np.random.default_rng([seed, 0x4EAC])
        way = [opening(self._space), *islice(wander(self._space, rng), REACH_FILL_TICKS)]
        moment = self._player.moment(seed, way)
        plain = moment.play([IDLE] * REACH_LOOK_FRAMES)
        again = moment.play([IDLE] * REACH_LOOK_FRAMES)
        frames = range(REACH_LOOK_FRAMES)
        # Any bit that differs was caused by the erasure, seen or not: asked here is what is read, not what is seen.
        floor = max(effect(again.frames[at], plain.frames[at]) for at in frames)
        say("memory: how far back it is read")
        curve = []
        for ticks_back in range(1, REACH_TICKS + 1):
            other = moment.corrupted(ticks_back)
            if other is None:
                continue
            run = other.play([IDLE] * REACH_LOOK_FRAMES)
            changed = max(effect(run.frames[at], plain.frames[at]) for at in frames)
            curve.append(MemoryPoint(ticks_back, changed, floor))
        if not curve:
            return nothing
        reached = max((point.ticks_back for point in curve if point.felt), default=0)
        return replace(nothing, reach_ticks=reached, reach_at_least=reached == REACH_TICKS, reach_curve=tuple(curve))

    # --- turn away and back -----------------------------------------------------------------------------------------

    def turn_back(self, answered: Sequence[tuple[Control, object]], delay: int, say: Say) -> TurnBack | None:
        """The first axis of which both directions answer, one way and then the other; None without one."""
        names = {control.name: control for control, _ in answered if control.kind == "axis"}
        pairs = [(name[:-2], names[name], names[f"{name[:-2]} -"]) for name in names if f"{name[:-2]} -" in names]
        pair = next((pair for pair in pairs if pair[1].name.endswith("+")), None)
        if pair is None:
            return None
        say("memory: away and back")
        name, out, back = pair
        away_ticks = AWAY_TICKS + delay
        actions = [*out.held(away_ticks), *back.held(away_ticks)]
        moment = self._moment(0)
        run = moment.play(actions)
        away, returned = run.frames[away_ticks - 1], run.frames[-1]
        found = TurnBack(name, away_ticks, psnr_db(returned, moment.before), psnr_db(away, moment.before))
        if self._options.truth is None:
            return found
        truth = Player(self._options.truth(), self._player.clock)
        try:
            true_moment = truth.moment(moment.seed)
            true = true_moment.play(actions)
        finally:
            truth.target.close()
        if true.frames[-1].shape != returned.shape:
            return found
        return replace(
            found,
            truth=psnr_db(returned, true.frames[-1]),
            truth_away=psnr_db(away, true.frames[away_ticks - 1]),
            truth_returned=psnr_db(true.frames[-1], true_moment.before),
        )
