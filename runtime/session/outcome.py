"""What is left of a session: its report, its files, and the lines that say so."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import NextframeError


@dataclass(frozen=True)
class Outcome:
    """The report, where the artefacts are, and whether the session was stopped before its end."""

    report: dict[str, Any]
    written: dict[str, Path]
    interrupted: bool


def print_outcome(report: dict[str, Any], written: dict[str, Path], max_miss_rate: float | None = None) -> None:
    """The numbers of a session that a player asks for first, and where everything is."""

    def shown(value: float | None, digits: int = 1) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    response, rate = report["response_ms"], report["miss_rate"]
    missed = "-" if rate is None else f"{100 * rate:.2f} %"
    stood_still = report["clock_gaps"]
    gaps = f"{stood_still} clock gaps ({report['clock_gap_ms']:.0f} ms), " if stood_still else ""
    asked = "" if max_miss_rate is None else f" (at most {100 * max_miss_rate:g} % asked)"
    print(
        f"{report['world']}: {report['ticks']} ticks, {shown(report['fps'])} fps, "
        f"response p50 {shown(response['p50'])} p99 {shown(response['p99'])} ms of {report['deadline_ms']:g}, "
        f"missed {missed}{asked}, {gaps}"
        f"{shown(report['steps_mean'], 2)} denoise steps mean, {report['clock']} clock"
    )
    phases = ", ".join(f"{name} {ms:.0f}" for name, ms in report["ttff_ms"].items() if ms is not None)
    print(f"first frame after (ms): {phases}")
    if "ahead" in report:
        from ..ahead.counts import in_words

        print(in_words(report["ahead"]))
    if "drift" in report:
        from .parts.drift import summary

        print(summary(report["drift"]))
    if "stages" in report:
        from .parts.stages import summary as stages_summary

        print(stages_summary(report["stages"]))
    if "guards" in report:
        from .parts.guards import summary as guards_summary

        if guarded := guards_summary(report["guards"]):
            print(guarded)
    for kind, path in written.items():
        print(f"{kind.replace('_', ' ')}: {path}")


def write_report(path: Path, report: dict[str, Any]) -> Path:
    """One JSON document, whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise NextframeError(f"{path}: cannot write the report: {error.strerror or error}") from error
    return path
