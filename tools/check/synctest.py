"""`nextframe synctest`: opens a world, finds it busy input, runs the SyncTest and says in words what came out.

Exit codes: 0 the same, 1 differs, 2 could not measure. The test itself is in `nextframe.runtime.timeline.synctest`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...runtime.core import FixedClock, NextframeError
from ...runtime.session.choices import make_controller
from ...runtime.session.parts.stages import stage_choice
from ...runtime.session.startup import StartUp, check_folder, open_world, patience
from ...runtime.session.terminal import progress_bar
from ...runtime.timeline.synctest import (
    Actions,
    Coverage,
    Mismatch,
    SyncTestResult,
    busy_actions,
    mixed_plans,
    synctest,
)

SCHEMA = "nextframe.synctest/1"
PARTS_NAMED = 8
REPLAYED_TICKS_PER_SECOND = 60
"""About what the shipped world plays: only to decide whether a bar is worth showing."""


@dataclass(frozen=True)
class SyncTestOptions:
    """What `nextframe synctest` was asked for. At most one of `script` and `bot`; neither is the bot `wander`.

    With a script the actions are the script's alone; with a bot, prompts and resets are added to its actions.
    `stages`, `processes`: over several processes, see `nextframe.runtime.session.parts.stages`.
    """

    world: str
    depth: int = 7
    ticks: int = 100
    seed: int = 0
    script: str | None = None
    bot: str | None = None
    stride: int = 1
    as_json: bool = False
    idle: bool = False
    prompt: str | None = None
    stages: str | None = None
    processes: int | None = None


def run_synctest(options: SyncTestOptions) -> int:
    """0 the same, 1 differs. Raises `NextframeError`, whose exit code is 2, where nothing can be measured."""
    found = check_folder(options.world)
    if options.ticks <= options.depth:
        raise NextframeError(f"--ticks: expected more than the depth of {options.depth}, got {options.ticks}")
    if options.script is None and options.bot is None:
        options = replace(options, bot="wander")
    controller = make_controller(options, found)
    stages = stage_choice(options.stages, options.processes, found)
    with patience(f"loading {found.name}"):
        opened = open_world(found, StartUp(), clock=FixedClock(), seed=options.seed, stages=stages)
    actions: Actions = controller.poll
    if options.bot is not None:
        actions = busy_actions(actions, opened.info.actions, options.seed)
    played = options.ticks * (1 + options.depth / options.stride)
    with progress_bar(f"synctest {found.name}", options.ticks, played / REPLAYED_TICKS_PER_SECOND) as advance:
        try:
            result = synctest(
                opened.world,
                actions,
                depth=options.depth,
                ticks=options.ticks,
                plans=mixed_plans(opened.info.ladder, options.seed),
                seed=options.seed,
                stride=options.stride,
                on_tick=advance,
            )
        finally:
            controller.close()
            opened.world.close()
    return print_result(result, found.name, options.seed, as_json=options.as_json)


def print_result(result: SyncTestResult, world: str, seed: int, *, as_json: bool = False) -> int:
    """Say what came out, in words or as one JSON document; returns the exit code."""
    if as_json:
        print(json.dumps(document(result, world, seed)))
    else:
        print("\n".join(describe(result, world)))
    return 0 if result.same else 1


def document(result: SyncTestResult, world: str, seed: int) -> dict[str, Any]:
    """The result as JSON: the fields of `SyncTestResult`, and whether it is the same."""
    return {"schema": SCHEMA, "world": world, "seed": seed, "same": result.same, **asdict(result)}


def describe(result: SyncTestResult, world: str) -> list[str]:
    """Lines for people."""
    plays = f"{result.ticks} ticks, {result.rollbacks} rollbacks of {result.depth}, {result.resimulated_ticks} replayed"
    if result.mismatch is not None:
        return [*_describe_mismatch(result.mismatch, world), f"{plays} until then"]
    return [f"{world}: the same bits both times. {plays}", *_describe_coverage(result.coverage)]


def _describe_mismatch(mismatch: Mismatch, world: str) -> list[str]:
    what = {
        "restore": f"the state before tick {mismatch.tick} did not come back from its own snapshot",
        "tick": f"tick {mismatch.tick} came out different when it was played again",
    }[mismatch.phase]
    lines = [f"{world}: differs. {what} (seen after tick {mismatch.found_after_tick})"]
    lines += [f"  {part}" for part in mismatch.parts[:PARTS_NAMED]]
    if len(mismatch.parts) > PARTS_NAMED:
        lines.append(f"  and {len(mismatch.parts) - PARTS_NAMED} parts more")
    if not mismatch.checksum_noticed:
        lines.append("  the checksum did not notice: a recording of this world would verify all the same")
    return lines


def _describe_coverage(coverage: Coverage) -> list[str]:
    rungs = ", ".join(f"{steps} denoise steps {ticks}x" for steps, ticks in coverage.rungs.items())
    size = sum(part.bytes for part in coverage.state)
    lines = [
        f"  put to the test: {coverage.prompts} prompts, {coverage.resets} resets, {rungs}, "
        f"{coverage.cut_ticks} ticks cut short",
        f"  state: {size / 1e3:.1f} kB in {len(coverage.state)} parts",
    ]
    if coverage.unchanged_parts:
        lines.append(f"  never changed, so compared but hardly proven: {', '.join(coverage.unchanged_parts)}")
    return lines
