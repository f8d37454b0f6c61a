"""Numbers held against their bounds, as every evaluation writes and shows them; and the film beside the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

DYNAMICS, RENDERER = "dynamics", "renderer"
"""What a gate tests: how the latent goes on, or the picture that is drawn of it wherever it is."""
WORDS = {True: "yes", False: "NO", None: "not measured"}
FILM_COLUMNS = 6


@dataclass(frozen=True)
class Gate:
    """`sign`: `<=` or `>=`. `tests`: `DYNAMICS` or `RENDERER`. `text`: what is measured, for a card."""

    sign: str
    bound: float
    tests: str
    text: str


def judged_all(numbers: Mapping[str, float | None], gates: Mapping[str, Gate]) -> dict[str, dict[str, Any]]:
    """As a report has them, in the order of `numbers`."""
    return {name: judged(value, gates[name].sign, gates[name].bound) for name, value in numbers.items()}


def judged(value: float | None, sign: str, bound: float) -> dict[str, Any]:
    """`sign`: `<=` or `>=`. Without a value, `met` is None: neither met nor missed. NaN is missed."""
    met = None if value is None else bool(value <= bound if sign == "<=" else value >= bound)
    return {"value": None if value is None else round(float(value), 4), "bound": f"{sign} {bound:.4g}", "met": met}


def print_gates(title: str, gates: Mapping[str, Mapping[str, Any]], console: Console | None = None) -> None:
    table = Table(title=title)
    for heading in ("gate", "value", "bound", "met"):
        table.add_column(heading, justify="left" if heading == "gate" else "right")
    for name, row in gates.items():
        value = "-" if row["value"] is None else f"{row['value']:.4g}"
        table.add_row(name.replace("_", " "), value, row["bound"], WORDS[row["met"]])
    (console or Console()).print(table)


def print_head(report: Mapping[str, Any], console: Console) -> None:
    """The world, its weights and its gates."""
    title = f"{report['world']}, weights {report['weights_sha256'][:12]}{' (quick)' if report['quick'] else ''}"
    print_gates(title, report["gates"], console)


def write_report(path: Path, report: Mapping[str, Any], film: Sequence[NDArray[np.uint8]]) -> None:
    """The report as JSON, and its film beside it as one PNG, `FILM_COLUMNS` pictures wide; no more than whole rows."""
    from ...runtime.display.stills import write_png

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    whole = len(film) // FILM_COLUMNS * FILM_COLUMNS
    rows = [np.concatenate(film[k : k + FILM_COLUMNS], axis=1) for k in range(0, whole, FILM_COLUMNS)]
    if rows:
        write_png(path.with_suffix(".png"), np.ascontiguousarray(np.concatenate(rows, axis=0)))


def write_strip(path: Path, real: NDArray[np.uint8], made: NDArray[np.uint8]) -> None:
    """Of each clip a row of real frames over a row of made ones, `(clips, ticks, height, width, 3)` each, as a PNG."""
    from ...runtime.display.stills import write_png

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [np.concatenate(list(clip), axis=1) for pair in zip(real, made, strict=True) for clip in pair]
    write_png(path, np.ascontiguousarray(np.concatenate(rows, axis=0)))
