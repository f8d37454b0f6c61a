"""Commands that measure or examine: a world's state, its kind of interactivity, its speed, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    DEFAULT_WORLD,
    AsJson,
    BotName,
    Device,
    OutFolder,
    Processes,
    ScriptName,
    Seed,
    Stages,
    WorldName,
    flag,
    option,
)


def synctest(
    world: WorldName = DEFAULT_WORLD,
    *,
    depth: Annotated[int, option(help="How many ticks to roll back.", metavar="N", min=1)] = 7,
    ticks: Annotated[int, option(help="How many ticks to test.", metavar="N", min=1)] = 100,
    stride: Annotated[int, option(help="Roll back after every so many ticks.", metavar="N", min=1)] = 1,
    seed: Seed = 0,
    script: ScriptName = None,
    bot: BotName = None,
    stages: Stages = None,
    processes: Processes = None,
    as_json: AsJson = False,
) -> int:
    """Save, go on, roll back, do it again: name the first tick and part of the state that differ."""
    from ...tools.check.synctest import SyncTestOptions, run_synctest

    options = SyncTestOptions(
        world,
        depth=depth,
        ticks=ticks,
        seed=seed,
        script=script,
        bot=bot,
        stride=stride,
        as_json=as_json,
        stages=stages,
        processes=processes,
    )
    return run_synctest(options)


def audit(
    target: Annotated[
        str,
        typer.Argument(help="A world, python:MODULE:FACTORY, or process:COMMAND.", metavar="TARGET"),
    ] = DEFAULT_WORLD,
    *,
    claims: Annotated[Path | None, option(help="What its maker says of it.", metavar="F.yaml")] = None,
    out: OutFolder = Path("out/audit"),
    quick: Annotated[bool, flag("--quick", help="A minute instead of five.")] = False,
    seed: Seed = 0,
    max_response_frames: Annotated[
        int | None, option(help="Exit with 1 if input shows in a later frame.", metavar="N", min=1)
    ] = None,
    no_page: Annotated[bool, flag("--no-page", help="Only the JSON document.")] = False,
    stages: Stages = None,
    processes: Processes = None,
) -> int:
    """Is it interactive, streaming or batch? Three numbers and four answers, with evidence."""
    from ...tools.audit.command import AuditCommand, run_audit

    command = AuditCommand(
        target=target,
        claims=claims,
        out=out,
        quick=quick,
        seed=seed,
        max_response_frames=max_response_frames,
        page=not no_page,
        stages=stages,
        processes=processes,
    )
    return run_audit(command)


def worlds() -> int:
    """List the worlds that can be played here."""
    from ...tools.check.doctor import print_worlds

    return print_worlds(DEFAULT_WORLD)


def doctor(as_json: AsJson = False) -> int:
    """Say what this machine can do, and what is wrong."""
    from ...tools.check.doctor import examine, print_findings

    return print_findings(examine(), as_json=as_json)


def bench(
    world: WorldName = DEFAULT_WORLD,
    seconds: Annotated[float, option(help="How long to measure, in all.", metavar="S", min=1.0, max=3600.0)] = 20.0,
    as_json: Annotated[bool, flag("--json", help="Only the JSON document, no table.")] = False,
    device: Device = None,
) -> int:
    """Measure stages, rates and start-up; the last line is one JSON document."""
    from ...tools.check.bench import bench_world

    return bench_world(world, seconds, table=not as_json, device=device)
