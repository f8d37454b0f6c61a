"""Options that several commands share: name, help, and what shows in place of a value. Values stay as typed.

At 80 columns a help screen has room for a name, a short word for the value and a sentence, so flags show no type and
no range has more digits than a person reads.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_WORLD = "drive"
MAX_SEED = (1 << 63) - 1
PLAYED, QUALITY, WRITTEN, PLACE = "What is played", "Time and quality", "What is written", "Where it runs"


class ClockName(StrEnum):
    REAL = "real"
    FIXED = "fixed"


class DriftName(StrEnum):
    OFF = "off"
    LOG = "log"
    RENOISE = "renoise"
    REANCHOR = "reanchor"


def flag(*names: str, help: str, panel: str | None = None) -> Any:
    """An option without a value."""
    return typer.Option(*names, help=help, metavar="", rich_help_panel=panel)


def option(*names: str, help: str, metavar: str, panel: str | None = None, **more: Any) -> Any:
    """An option with a value that `metavar` stands for. `more`: `min`, `max`, `show_default`, `callback`."""
    return typer.Option(*names, help=help, metavar=metavar, rich_help_panel=panel, **more)


def check_seed(seed: int) -> int:
    """A seed fits a recording's 63 bits."""
    if not 0 <= seed <= MAX_SEED:
        raise typer.BadParameter(f"expected 0 to {MAX_SEED}, got {seed}")
    return seed


WorldName = Annotated[
    str, typer.Argument(help="A world's name, its folder, or python:MODULE:FACTORY.", metavar="WORLD")
]
Seed = Annotated[
    int, option(help="Where the world starts, and its noise.", metavar="N", callback=check_seed, panel=PLAYED)
]
PromptText = Annotated[str | None, option(help='A prompt to begin with: "rainy night".', metavar="TEXT", panel=PLAYED)]
SideBySide = Annotated[bool, flag("--side-by-side", help="Show the simulator beside the network.", panel=PLAYED)]
ScriptName = Annotated[str | None, option(help="A script; or the name of the world's own.", metavar="F", panel=PLAYED)]
BotName = Annotated[str | None, option(help="A bot: wander or idle.", metavar="NAME", panel=PLAYED)]
LoadSlot = Annotated[str | None, option(help="Go on from this save slot.", metavar="SLOT", panel=PLAYED)]
Saves = Annotated[Path | None, option(help="The folder of save slots (your data folder).", metavar="DIR", panel=PLAYED)]

Steps = Annotated[
    int | None, option(help="Denoise steps of every tick; else adaptive.", metavar="N", min=1, panel=QUALITY)
]
Load = Annotated[
    str | None, option(help="Cost put into ticks: step:ms=15,from=5,to=15", metavar="SHAPE", panel=QUALITY)
]
AheadFlag = Annotated[bool, flag("--ahead", help="Begin ticks on guessed input while waiting.", panel=QUALITY)]
Drift = Annotated[
    DriftName | None,
    option(
        help="When pictures leave the known: off, log, renoise, reanchor.",
        metavar="HOW",
        show_default="log where it can",
        panel=QUALITY,
    ),
]

Record = Annotated[Path | None, option(help="Record the session to this file.", metavar="F.nfr", panel=WRITTEN)]
Overwrite = Annotated[bool, flag("--overwrite", help="Let --record replace a file.", panel=WRITTEN)]
OutFolder = Annotated[Path, option(help="Where artefacts go.", metavar="DIR", panel=WRITTEN)]
AsJson = Annotated[bool, flag("--json", help="The last line is the report as JSON.", panel=WRITTEN)]
Trace = Annotated[Path | None, option(help="Write a Chrome/Perfetto trace.", metavar="F.json", panel=WRITTEN)]
MetricsPort = Annotated[
    int | None,
    option(help="Serve Prometheus metrics; 0: any port.", metavar="PORT", min=0, max=65535, panel=WRITTEN),
]

Stages = Annotated[
    str | None, option(help="Layers over processes (docs/stages.md), or auto.", metavar="LAYOUT", panel=PLACE)
]
Processes = Annotated[int | None, option(help="How many, for --stages auto.", metavar="N", min=1, max=64, panel=PLACE)]
Device = Annotated[str | None, option(help="cpu (the default) or cuda.", metavar="NAME", panel=PLACE)]
