"""The command `plan`: stage layouts on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, flag, option


def plan(
    world: Annotated[str, typer.Argument(help="A world, or wan-1.3b, wan-14b (-480p).", metavar="WORLD")] = "circuit",
    *,
    devices: Annotated[str, option(help="Such as 4, 4xh100 or 2xcpu*0.5/8gb.", metavar="LIST")] = "1",
    sessions: Annotated[int, option(help="How many play at once.", metavar="N")] = 1,
    goal: Annotated[str, option(help="latency, throughput or sessions.", metavar="GOAL")] = "latency",
    fps: Annotated[float | None, option(help="Pictures a second that each session needs.", metavar="HZ")] = None,
    max_latency_ms: Annotated[float | None, option(help="Input read to picture, at most.", metavar="MS")] = None,
    link: Annotated[str | None, option(help="nvlink, pcie, ethernet or GB_PER_S,MS.", metavar="LINK")] = None,
    denoise_steps: Annotated[int | None, option(help="Instead of the profile's.", metavar="N")] = None,
    lossy: Annotated[bool, flag("--lossy", help="Stream-batch may be chosen: late by whole latents.")] = False,
    profile: Annotated[Path | None, option(help="Stage costs from this file.", metavar="F.json")] = None,
    measure: Annotated[bool, flag("--measure", help="Measure the stage costs here, now.")] = False,
    save_profile: Annotated[Path | None, option(help="Keep the costs there.", metavar="F.json")] = None,
    as_json: AsJson = False,
) -> int:
    """Predict rates, latency and memory of stage layouts on paper, and recommend one."""
    from ...tools.plan.command import PlanOptions, run_plan

    options = PlanOptions(
        world=world,
        devices=devices,
        sessions=sessions,
        goal=goal,
        fps=fps,
        max_latency_ms=max_latency_ms,
        link=link,
        denoise_steps=denoise_steps,
        lossy=lossy,
        profile=profile,
        measure=measure,
        save_profile=save_profile,
        as_json=as_json,
    )
    return run_plan(options)
