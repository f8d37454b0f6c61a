"""Adaptive against fixed top quality, on a real world, while other programs take the cores.

One process, one script, the same seed, blocks in turn (A B A B ...), so that whatever else the machine does falls on
both.

The deadline, when none is given, is what the lowest rung can just keep under this antagonist: the p99 of its response
in a block of its own before the contest, and a tenth more, but never more than the tick period. Below that no choice
of quality could help, and far above it none would be needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ....controllers.scripted import Script, ScriptedController, load_script
from ....runtime.core import Controller, MonotonicClock
from ....runtime.governor.adaptive import FixedGovernor
from ....runtime.loop import Governor, period_ns
from ....runtime.observe import metrics
from ....runtime.session.choices import script_path
from ....runtime.session.startup import OpenWorld, StartUp, check_folder, open_world
from ....runtime.tick.probe import HostProbe
from ....runtime.tick.record import TickRecord
from .antagonist import Antagonist
from .measure import LEAST_TICKS, Row, Verdict, adaptive, play, summary
from .shaped import Progress

ADAPTIVE_MAX = 0.02
FIXED_MIN = 0.20
DEADLINE_ROOM = 1.1


@dataclass(frozen=True)
class ContestOptions:
    """`deadline_ms` None: found as the module says. `blocks`: of each kind. `processes`: cores the antagonist wants."""

    world: str = "circuit"
    script: str = "benchmark"
    deadline_ms: float | None = None
    processes: int = 4
    memory_mb: int = 0
    blocks: int = 3
    block_ticks: int = 400
    probe_ticks: int = 200
    seed: int = 0


class Arena:
    """The world, the script and the clock that all blocks share."""

    def __init__(self, opened: OpenWorld, script: Script, seed: int, probe: HostProbe) -> None:
        self.opened, self.script, self.seed, self.probe = opened, script, seed, probe
        self.clock = MonotonicClock()
        self.period_ns = period_ns(opened.info.tick_hz)

    def block(self, governor: Governor, ticks: int, deadline_ns: int) -> list[TickRecord]:
        """One drive from the start, with a governor that knows nothing yet."""
        self.opened.world.reset(self.seed)
        controller: Controller = ScriptedController(self.script, self.opened.info.actions)
        return play(
            self.opened.world,
            governor,
            self.clock,
            ticks,
            period_ns=self.period_ns,
            deadline_ns=deadline_ns,
            controller=controller,
            probe=self.probe,
        )

    def fixed(self, steps: int, ticks: int, deadline_ns: int) -> list[TickRecord]:
        return self.block(FixedGovernor(steps), ticks, deadline_ns)

    def adaptive(self, ticks: int, deadline_ns: int) -> list[TickRecord]:
        governor = adaptive(self.opened.world, self.clock, period_ns=self.period_ns, deadline_ns=deadline_ns)
        return self.block(governor, ticks, deadline_ns)


def contest(options: ContestOptions, say: Progress) -> list[Row]:
    """The top alone, the lowest rung under the antagonist, then both sides in turn: four rows, the last one judged.

    `options.script`: a file, or the name of one of the world's own scripts.
    """
    found = check_folder(options.world)
    script = load_script(script_path(options.script, found), found.spec.action_space())
    with ExitStack() as stack:
        opened = open_world(found, StartUp(), clock=MonotonicClock(), seed=options.seed)
        stack.callback(opened.world.close)
        probe = HostProbe()
        stack.callback(probe.close)
        return _contest(Arena(opened, script, options.seed, probe), options, say)


def _contest(arena: Arena, options: ContestOptions, say: Progress) -> list[Row]:
    lowest, top = arena.opened.info.ladder[0], arena.opened.info.ladder[-1]
    whole_ns = int(arena.period_ns)
    say("the top alone")
    alone = arena.fixed(top, options.probe_ticks, whole_ns)
    adaptive_blocks: list[list[TickRecord]] = []
    fixed_blocks: list[list[TickRecord]] = []
    with Antagonist(options.processes, memory_mb=options.memory_mb) as antagonist:
        began_ns = arena.clock.now_ns()
        say("the lowest rung under the antagonist")
        low = arena.fixed(lowest, options.probe_ticks, whole_ns)
        deadline_ns = deadline_for(low, whole_ns) if options.deadline_ms is None else round(options.deadline_ms * 1e6)
        for number in range(options.blocks):
            say(f"block {number + 1} of {options.blocks}, deadline {deadline_ns / 1e6:.1f} ms")
            adaptive_blocks.append(arena.adaptive(options.block_ticks, deadline_ns))
            fixed_blocks.append(arena.fixed(top, options.block_ticks, deadline_ns))
        wall_s = (arena.clock.now_ns() - began_ns) / 1e9
    shared: dict[str, float | str | None] = {
        "deadline_ms": deadline_ns / 1e6,
        "antagonist_processes": options.processes,
        "antagonist_cores": antagonist.cpu_s / wall_s,
        "top_alone_past_the_deadline": sum(record.response_ns > deadline_ns for record in alone) / max(1, len(alone)),
    }
    world = arena.opened.info.name
    against = f"{world}, {options.processes} burning"
    fixed = _row(against, f"fixed:{top}", fixed_blocks, shared)
    rival = _row(against, "adaptive", adaptive_blocks, shared)
    goal = f"miss < {100 * ADAPTIVE_MAX:g} % where fixed:{top} misses > {100 * FIXED_MIN:g} %"
    return [
        _row(f"{world} alone", f"fixed:{top}", [alone], {"deadline_ms": whole_ns / 1e6}),
        _row(against, f"fixed:{lowest}", [low], {"deadline_ms": whole_ns / 1e6}),
        fixed,
        replace(rival, goal=goal, verdict=judge(rival, fixed)),
    ]


def deadline_for(lowest: Sequence[TickRecord], whole_ns: int) -> int:
    """p99 of the lowest rung's response and a tenth more, at most the period."""
    p99_ns = metrics.percentile([record.response_ns for record in lowest if not record.clock_gap], 99)
    return whole_ns if p99_ns is None else min(whole_ns, round(DEADLINE_ROOM * p99_ns))


def judge(rival: Row, fixed: Row) -> Verdict:
    """Not judged where the load was too weak to make fixed top quality miss, or the blocks too short."""
    if min(rival.ticks, fixed.ticks) < LEAST_TICKS or fixed.miss_rate <= FIXED_MIN:
        return "not judged"
    return "met" if rival.miss_rate < ADAPTIVE_MAX else "missed"


def _row(name: str, governor: str, blocks: Sequence[Sequence[TickRecord]], more: dict[str, float | str | None]) -> Row:
    waits_ms = [record.host.run_delay_ns / 1e6 for block in blocks for record in block]
    waits = {f"waited_for_a_core_{name}_ms": value for name, value in metrics.percentiles(waits_ms, 50, 99).items()}
    return replace(summary(name, "real", governor, *blocks), more={**more, **waits})
