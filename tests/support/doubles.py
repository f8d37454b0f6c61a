"""Test doubles for a session: each does one thing and keeps what it saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from nextframe.runtime.core import Action, Clock, Frame, ManualClock, PlayedTick
from nextframe.runtime.governor.adaptive import FixedGovernor
from nextframe.runtime.loop import Governor, Interlude, Loop
from nextframe.runtime.tick.controls import SessionControls
from nextframe.runtime.tick.events import events_to_text
from nextframe.runtime.tick.probe import NullProbe, Probe
from nextframe.runtime.tick.record import TickRecord
from nextframe.worlds.toy.world import ToyWorld

MS = 1_000_000
PERIOD_NS = 50 * MS
IDLE = Action()


class ListedController:
    """Plays a list of actions, then stays idle; `polled_at_ns` says when it was asked."""

    def __init__(self, clock: Clock, actions: Sequence[Action] = ()) -> None:
        self._clock, self._actions = clock, actions
        self.polled_at_ns: list[int] = []
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        self.polled_at_ns.append(self._clock.now_ns())
        return self._actions[tick] if tick < len(self._actions) else IDLE

    def close(self) -> None:
        pass


class ListDisplay:
    """Keeps every frame and when it came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.frames: list[Frame] = []
        self.presented_ns: list[int] = []

    def present(self, frame: Frame) -> int:
        self.frames.append(frame.copy())
        self.presented_ns.append(self._clock.now_ns())
        return self.presented_ns[-1]

    def close(self) -> None:
        pass


class ListRecorder:
    """Keeps what it is told; `events` as text."""

    problem = ""

    def __init__(self) -> None:
        self.ticks: list[PlayedTick] = []
        self.actions: list[Action] = []
        self.steps: list[int] = []
        self.checksums: dict[int, int] = {}
        self.events: dict[int, str] = {}

    def record_tick(self, tick: int, played: PlayedTick) -> None:
        self.ticks.append(played)
        self.actions.append(played.action)
        self.steps.append(played.steps_applied)
        if played.checksum is not None:
            self.checksums[tick] = played.checksum
        if (text := events_to_text(played.events)) is not None:
            self.events[tick] = text

    def close(self) -> None:
        pass


class ListObserver:
    def __init__(self) -> None:
        self.records: list[TickRecord] = []

    def observe(self, record: TickRecord) -> None:
        self.records.append(record)


class Costs:
    """Charges a simulated cost to each stage of each tick: `by_tick(tick)` -> ns by stage."""

    def __init__(self, clock: ManualClock, by_tick: Callable[[int], Mapping[str, int]]) -> None:
        self._clock, self._by_tick = clock, by_tick
        self.tick = 0

    def __call__(self, stage: str) -> None:
        self._clock.advance_ns(self._by_tick(self.tick).get(stage, 0))
        if stage == "commit":
            self.tick += 1


class KnownStops(NullProbe):
    """Says that the process did not run in these spans of time, each (from, to) in ns of the session's clock."""

    def __init__(self, *spans_ns: tuple[int, int]) -> None:
        self._spans_ns = spans_ns

    def stopped_ns(self, since_ns: int, until_ns: int) -> int:
        return sum(max(0, min(until_ns, end_ns) - max(since_ns, start_ns)) for start_ns, end_ns in self._spans_ns)


class Session:
    """A toy session on a manual clock, with everything it saw at hand."""

    def __init__(
        self,
        by_tick: Callable[[int], Mapping[str, int]] = lambda tick: {},
        *,
        actions: Sequence[Action] = (),
        governor: Callable[[ManualClock], Governor] | None = None,
        period_ns: Fraction | int = PERIOD_NS,
        deadline_ns: int = PERIOD_NS,
        seed: int = 0,
        checksum_every: int = 1,
        clock: ManualClock | None = None,
        probe: Probe | None = None,
        interlude: Interlude | None = None,
    ) -> None:
        self.clock = clock or ManualClock()
        self.world = ToyWorld(self.clock, Costs(self.clock, by_tick))
        self.world.reset(seed)
        self.controller = ListedController(self.clock, actions)
        self.display = ListDisplay(self.clock)
        self.recorder = ListRecorder()
        self.observer = ListObserver()
        self.controls = SessionControls()
        self.loop = Loop(
            self.world,
            self.controller,
            self.display,
            governor(self.clock) if governor else FixedGovernor(2),
            self.clock,
            tick_period_ns=period_ns,
            deadline_ns=deadline_ns,
            observer=self.observer,
            recorder=self.recorder,
            controls=self.controls,
            seed=seed,
            checksum_every=checksum_every,
            probe=probe,
            interlude=interlude,
        )

    @property
    def records(self) -> list[TickRecord]:
        return self.observer.records
