"""Commands that play: `play` in a window, `run` headless."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..core import NextframeError
from .options import (
    DEFAULT_WORLD,
    PLAYED,
    QUALITY,
    WRITTEN,
    AheadFlag,
    AsJson,
    BotName,
    ClockName,
    Device,
    Drift,
    Load,
    LoadSlot,
    MetricsPort,
    OutFolder,
    Overwrite,
    Processes,
    PromptText,
    Record,
    Saves,
    ScriptName,
    Seed,
    SideBySide,
    Stages,
    Steps,
    Trace,
    WorldName,
    flag,
    option,
)


def play(
    ctx: typer.Context,
    world: WorldName = DEFAULT_WORLD,
    *,
    side_by_side: SideBySide = False,
    seed: Seed = 0,
    steps: Steps = None,
    smooth: Annotated[bool, flag("--smooth", help="Smooth scaling, not crisp pixels.", panel=QUALITY)] = False,
    bindings: Annotated[Path | None, option(help="Your own key bindings.", metavar="FILE", panel=PLAYED)] = None,
    record: Record = None,
    overwrite: Overwrite = False,
    prompt: PromptText = None,
    ticks: Annotated[int | None, option(help="End after so many ticks.", metavar="N", min=1, panel=PLAYED)] = None,
    out: OutFolder = Path("out"),
    load: Load = None,
    trace: Trace = None,
    metrics_port: MetricsPort = None,
    saves: Saves = None,
    load_slot: LoadSlot = None,
    ahead: AheadFlag = False,
    drift: Drift = None,
    stages: Stages = None,
    processes: Processes = None,
    device: Device = None,
) -> int:
    """Open a window and play; without a display, play headless for 30 s into a video and a report."""
    from ..session.choices import PlayOptions
    from ..session.startup import StartUp
    from ..session.window.play import play_world

    options = PlayOptions(
        world,
        side_by_side=side_by_side,
        seed=seed,
        steps=steps,
        smooth=smooth,
        bindings=bindings,
        record=record,
        overwrite=overwrite,
        prompt=prompt,
        ticks=ticks,
        out=out,
        load=load,
        trace=trace,
        metrics_port=metrics_port,
        saves=saves,
        load_slot=load_slot,
        ahead=ahead,
        drift=drift,
        stages=stages,
        processes=processes,
        device=device,
    )
    return play_world(options, StartUp(ctx.obj))


def run(
    ctx: typer.Context,
    world: WorldName,
    *,
    ticks: Annotated[int, option(help="How many ticks to run.", metavar="N", min=1)],
    script: ScriptName = None,
    bot: BotName = None,
    idle: Annotated[bool, flag("--idle", help="Touch nothing.", panel=PLAYED)] = False,
    clock: Annotated[
        ClockName, option(help="real, or fixed: ignores wall time, one answer.", metavar="CLOCK", panel=QUALITY)
    ] = ClockName.REAL,
    deadline_ms: Annotated[
        float | None, option(help="Release to picture; else a tick period.", metavar="MS", panel=QUALITY)
    ] = None,
    max_miss_rate: Annotated[
        float | None,
        option(help="Exit with 1 if more of the ticks miss.", metavar="SHARE", min=0.0, max=1.0, panel=QUALITY),
    ] = None,
    ignore_clock_gaps: Annotated[
        bool, flag("--ignore-clock-gaps", help="Times the process was stopped count as no miss.", panel=QUALITY)
    ] = False,
    steps: Steps = None,
    seed: Seed = 0,
    prompt: PromptText = None,
    side_by_side: SideBySide = False,
    record: Record = None,
    overwrite: Overwrite = False,
    video: Annotated[
        Path | None, option(help="The video (default DIR/session.mp4).", metavar="F.mp4", panel=WRITTEN)
    ] = None,
    contact_sheet: Annotated[Path | None, option(help="The contact sheet.", metavar="F.png", panel=WRITTEN)] = None,
    report: Annotated[Path | None, option(help="The report.", metavar="F.json", panel=WRITTEN)] = None,
    no_video: Annotated[bool, flag("--no-video", help="Only the pictures that are named.", panel=WRITTEN)] = False,
    out: OutFolder = Path("out"),
    as_json: AsJson = False,
    warmup_ticks: Annotated[
        int, option(help="The first of the ticks, counted in no number.", metavar="N", min=0, panel=QUALITY)
    ] = 0,
    quality: Annotated[
        str | None,
        option(help="adaptive, fixed:STEPS or trace:FILE.", metavar="HOW", show_default="adaptive", panel=QUALITY),
    ] = None,
    load: Load = None,
    trace: Trace = None,
    metrics_port: MetricsPort = None,
    saves: Saves = None,
    load_slot: LoadSlot = None,
    save_slot: Annotated[
        str | None, option(help="Save the world there at the end.", metavar="SLOT", panel=WRITTEN)
    ] = None,
    ahead: AheadFlag = False,
    drift: Drift = None,
    stages: Stages = None,
    processes: Processes = None,
    device: Device = None,
) -> int:
    """Run a headless session and write a video, a contact sheet and a report."""
    from ..observe import report as reports
    from ..session.choices import SessionOptions
    from ..session.headless import run_session
    from ..session.outcome import print_outcome
    from ..session.startup import StartUp
    from ..session.terminal import INTERRUPTED

    if deadline_ms is not None and not 0.001 <= deadline_ms <= 60_000:
        raise NextframeError(f"--deadline-ms: expected 0.001 to 60000, got {deadline_ms}")
    options = SessionOptions(
        world,
        ticks=ticks,
        script=script,
        bot=bot,
        idle=idle,
        clock=clock.value,
        deadline_ms=deadline_ms,
        steps=steps,
        seed=seed,
        prompt=prompt,
        side_by_side=side_by_side,
        record=record,
        overwrite=overwrite,
        video=video,
        contact_sheet=contact_sheet,
        report=report,
        out=out,
        pictures=not no_video,
        warmup_ticks=warmup_ticks,
        quality=quality,
        load=load,
        trace=trace,
        metrics_port=metrics_port,
        saves=saves,
        load_slot=load_slot,
        save_slot=save_slot,
        ahead=ahead,
        drift=drift,
        stages=stages,
        processes=processes,
        device=device,
    )
    outcome = run_session(options, StartUp(ctx.obj))
    shortage = reports.shortage(outcome.report, max_miss_rate)
    met = reports.exit_code(outcome.report, max_miss_rate, ignore_clock_gaps=ignore_clock_gaps)
    code = INTERRUPTED if outcome.interrupted else met
    print_outcome(outcome.report, outcome.written, max_miss_rate)
    if outcome.interrupted:
        print(f"stopped after {outcome.report['ticks']} of {ticks} ticks; everything up to there is written")
    if shortage is not None:
        print(f"nextframe: {shortage}", file=sys.stderr)
    if as_json:
        print(json.dumps(outcome.report))
    return code
