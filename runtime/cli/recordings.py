"""Commands on what sessions left: recordings, save slots, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import DEFAULT_WORLD, Device, Processes, Stages, WorldName, flag, option

WHAT_IF = "What if"


def replay(
    path: Annotated[Path, typer.Argument(help="A recording.", metavar="F.nfr")],
    *,
    verify: Annotated[bool, flag("--verify", help="Only compare: every checksum must agree.")] = False,
    recover: Annotated[bool, flag("--recover", help="Play what a damaged file still holds.")] = False,
    video: Annotated[Path | None, option(help="The video (default out/replay.mp4).", metavar="F.mp4")] = None,
    world: Annotated[
        str | None, option(help="Its world, if that does not ship: a folder, python:…", metavar="WORLD")
    ] = None,
    from_tick: Annotated[int | None, option("--from", help="Start at this tick.", min=0, metavar="TICK")] = None,
    to_tick: Annotated[int | None, option("--to", help="Stop before this tick.", min=1, metavar="TICK")] = None,
    quality: Annotated[
        int | None, option(help="So many denoise steps instead.", metavar="N", min=1, panel=WHAT_IF)
    ] = None,
    weights: Annotated[
        str | None, option(help="The weights of that folder instead.", metavar="DIR", panel=WHAT_IF)
    ] = None,
    report: Annotated[Path | None, option(help="Differences by frame.", metavar="F.json", panel=WHAT_IF)] = None,
    diff: Annotated[Path | None, option(help="Compare with another recording.", metavar="F2.nfr")] = None,
    stages: Stages = None,
    processes: Processes = None,
    device: Device = None,
) -> int:
    """Play a recording back, bit for bit, and name the first tick that differs; or ask what if."""
    from ..recording.diff import print_diff
    from ..session.playback import PlaybackOptions, play_back

    if diff is not None:
        return print_diff(diff, path, recover=recover)
    options = PlaybackOptions(
        path=path,
        verify=verify,
        recover=recover,
        video=video,
        world=world,
        from_tick=from_tick,
        to_tick=to_tick,
        quality=quality,
        weights=weights,
        report=report,
        stages=stages,
        processes=processes,
        device=device,
    )
    return play_back(options)


def saves(
    world: WorldName = DEFAULT_WORLD,
    *,
    folder: Annotated[Path | None, option("--saves", help="The folder of save slots.", metavar="DIR")] = None,
    delete: Annotated[str | None, option(help="Delete this slot.", metavar="SLOT")] = None,
) -> int:
    """List a world's save slots, newest first, or delete one."""
    from ..session.startup import check_folder
    from ..timeline.saves import default_folder, delete_slot, list_slots

    name, where = check_folder(world).name, folder or default_folder()
    if delete is not None:
        delete_slot(where, name, delete)
        print(f"deleted: {delete}")
        return 0
    for slot in list_slots(where, name):
        print(f"{slot.slot:20} " + (f"damaged: {slot.problem}" if slot.problem else f"tick {slot.tick}, {slot.prompt}"))
    return 0


def report(
    path: Annotated[Path, typer.Argument(help="A session's report.", metavar="F.json")],
    out: Annotated[Path | None, option(help="The page (default: beside it).", metavar="F.html")] = None,
) -> int:
    """Render a report as one self-contained HTML page."""
    from ...tools.report.page import read_report, write_page

    print(f"page: {write_page(read_report(path), out or path.with_suffix('.html'))}")
    return 0
