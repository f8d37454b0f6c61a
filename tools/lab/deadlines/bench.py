"""`python -m nextframe.tools.lab.deadlines.bench`: are deadlines kept under load, and by how much? One table, one JSON
line.

Exit code 0: every goal is met; 1: one is missed; 2: one could not be judged (with `--quick`: none could). What is
measured is in `shaped` and `contest`; what is asserted is in the tests, on a manual clock.

Run it on a machine that does nothing else: whatever else runs is an antagonist too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ....runtime.core import NextframeError
from ....runtime.observe.report import environment
from .contest import ContestOptions, contest
from .measure import Row
from .shaped import drift, overload, shaped_rows

SCHEMA = "nextframe.deadlines/1"
TABLE_COLUMNS = 132
PARTS = ("shaped", "overload", "contest", "drift")


def parser() -> argparse.ArgumentParser:
    default = ContestOptions()
    arguments = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.deadlines.bench", description="Deadlines under load."
    )
    arguments.add_argument("--quick", action="store_true", help="seconds instead of minutes; too short to judge most")
    arguments.add_argument("--out", type=Path, help="write the JSON document here, too")
    arguments.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)} (default: all)")
    arguments.add_argument("--seconds", type=float, help="of each shape on the real clock (default 30, quick 6)")
    arguments.add_argument("--world", default=default.world, help="of the contest (default circuit)")
    arguments.add_argument("--script", default=default.script, help=f"what is driven (default {default.script})")
    arguments.add_argument("--deadline-ms", type=float, help="of the contest (default: what the lowest rung can keep)")
    arguments.add_argument("--processes", type=int, default=default.processes, help="cores the antagonist wants (4)")
    arguments.add_argument("--memory-mb", type=int, default=0, help="each copies a buffer of this size (default 0)")
    arguments.add_argument("--blocks", type=int, help="of each kind (default 3, quick 1)")
    arguments.add_argument("--block-ticks", type=int, help="ticks of a block (default 400, quick 40)")
    return arguments


def contest_options(options: argparse.Namespace) -> ContestOptions:
    blocks, ticks = (1, 40) if options.quick else (3, 400)
    return ContestOptions(
        world=options.world,
        script=options.script,
        deadline_ms=options.deadline_ms,
        processes=options.processes,
        memory_mb=options.memory_mb,
        blocks=blocks if options.blocks is None else options.blocks,
        block_ticks=ticks if options.block_ticks is None else options.block_ticks,
        probe_ticks=20 if options.quick else 200,
    )


def measure(options: argparse.Namespace) -> list[Row]:
    """Every part asked for, in order; NextframeError for a part there is none of."""
    wanted = [part for part in options.parts.split(",") if part]
    if not wanted or set(wanted) - set(PARTS):
        raise NextframeError(f"--parts: expected some of {', '.join(PARTS)}, got {options.parts!r}")
    if options.deadline_ms is not None and not options.deadline_ms > 0:
        raise NextframeError(f"--deadline-ms: expected more than 0, got {options.deadline_ms:g}")
    seconds = options.seconds or (6.0 if options.quick else 30.0)
    rows: list[Row] = []
    if "shaped" in wanted:
        rows += shaped_rows(seconds, _say)
    if "overload" in wanted:
        _say("three times as slow")
        rows += [overload(60, "manual"), overload(6 if options.quick else 60, "real")]
    if "contest" in wanted:
        rows += contest(contest_options(options), _say)
    if "drift" in wanted:
        _say("drift")
        rows.append(drift(3 if options.quick else 60))
    return rows


def exit_code(rows: Sequence[Row], *, quick: bool = False) -> int:
    """Never a pass from a run that could not measure; a quick one passes on what it could."""
    verdicts = {row.verdict for row in rows if row.goal}
    if "missed" in verdicts:
        return 1
    return 0 if "met" in verdicts and (quick or "not judged" not in verdicts) else 2


def table_of(rows: Sequence[Row]) -> Table:
    table = Table(title="deadlines under load")
    for heading in ("load", "clock", "quality", "ticks", "missed %", "run", "in 100", "steps", "response p50 / p99"):
        table.add_column(heading, justify="left" if heading in ("load", "clock", "quality") else "right")
    table.add_column("verdict")
    for row in rows:
        response = " / ".join("-" if value is None else f"{value:.1f}" for value in row.response_ms.values())
        table.add_row(
            row.name,
            row.clock,
            row.governor,
            str(row.ticks),
            f"{100 * row.miss_rate:.2f}",
            str(row.worst_miss_run),
            str(row.most_misses_in_100),
            f"{row.steps_mean:.2f}",
            response,
            row.verdict if row.goal else "",
        )
    return table


def notes_of(rows: Sequence[Row]) -> list[str]:
    """A line for each row with numbers of its own."""
    return [
        f"{row.name}, {row.clock} clock, {row.governor}: "
        + "; ".join(f"{name} {_shown(value)}" for name, value in row.more.items())
        + (f" (goal: {row.goal})" if row.goal else "")
        for row in rows
        if row.more
    ]


def _shown(value: float | str | None) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def document_of(rows: Sequence[Row], options: argparse.Namespace) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "quick": options.quick,
        "exit_code": exit_code(rows, quick=options.quick),
        "rows": [asdict(row) for row in rows],
        "env": environment(),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        rows = measure(options)
    except NextframeError as error:
        _say(str(error))
        return error.exit_code
    document = document_of(rows, options)
    console = Console()
    console.width = max(TABLE_COLUMNS, console.width)  # a file or a pipe says 80, and the table would be crushed
    console.print(table_of(rows))
    print("\n".join(notes_of(rows)))
    line = json.dumps(document)
    if options.out is not None:
        options.out.write_text(line + "\n", encoding="utf-8")
    print(line)
    return exit_code(rows, quick=options.quick)


if __name__ == "__main__":
    sys.exit(main())
