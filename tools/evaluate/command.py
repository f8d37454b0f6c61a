"""`nextframe eval WORLD --full`: adds the general sections to a world's own evaluation, and writes the page."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

from ...runtime.core import NextframeError
from ...runtime.session.registry import WorldFolder, load_world, source_of
from ...runtime.session.terminal import ended_like_ctrl_c
from ...worlds.evaluation.subjects import Pair
from .page import write_page
from .sections import FULL, QUICK, Films, evaluate_pair, gates, print_sections

SCHEMA = "nextframe.eval/1"


def evaluate_world(found: WorldFolder, out: Path | None, *, quick: bool, full: bool, html: Path | None) -> int:
    """The whole command; returns its exit code, 0 if every gate that was measured is met.

    Without `out` the report goes beside the weights; but a quick look is no evidence, so it goes where it cannot be
    taken for the one that ships. NextframeError: a world without an evaluation, or a file that cannot be written.
    """
    path = out or (Path("out/eval_quick.json") if quick else found.path / "eval.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ended_like_ctrl_c(), closing(pair_of(found)) if full else nullcontext() as pair:
        return _evaluate(found, path, pair, quick=quick, html=html)


def _evaluate(found: WorldFolder, path: Path, pair: Pair | None, *, quick: bool, html: Path | None) -> int:
    """`pair`: what the full sections measure; it is there before the gates, so that what is missing is said early."""
    own = found.kind.gates
    if own is None and pair is None:
        raise NextframeError(f"{found.name} has no gates of its own; ask for --full")
    if own is not None:
        program = own()
        report = program.evaluate(found.path, path, quick)
        program.print_summary(report)
    else:
        report = bare_report(found, quick)
    films: Films = {}
    if pair is not None:
        report, films = add_full(pair, report, path)
    return finish(report, films, html)


def add_full(pair: Pair, report: dict[str, Any], path: Path) -> tuple[dict[str, Any], Films]:
    """The report with the full sections, `full_gates` and `full_met`, written to `path`; and the pictures.

    A run that was stopped goes on with the drift sessions that are still to do: they are kept beside `path` until the
    report is written. NextframeError: a file that cannot be written.
    """
    kept = path.with_suffix(".drift.partial.json")
    sections, films = evaluate_pair(
        pair, QUICK if report["quick"] else FULL, kept=kept, identity=report["weights_sha256"], say=_say
    )
    full_gates = gates(sections)
    report |= sections | {
        "full_gates": full_gates,
        "full_met": all(row["met"] is not False for row in full_gates.values()),
    }
    save(report, path)
    kept.unlink(missing_ok=True)
    return report, films


def pair_of(found: WorldFolder) -> Pair:
    """The world and its teacher. NextframeError for a world without a teacher, or whose game is not installed;
    WeightsError for lost weights."""
    if found.kind.pair is None:
        raise NextframeError(
            f"{found.name}: expected a world with a teacher to measure it against, got a world of kind "
            f"{found.spec.kind}; its eval.json says what was measured when it was trained"
        )
    return found.kind.pair(source_of(found))


def bare_report(found: WorldFolder, quick: bool) -> dict[str, Any]:
    """What every report says, for a world that has no gates of its own."""
    world = load_world(found)
    sha256 = world.info.weights_sha256
    world.close()
    return {"schema": SCHEMA, "world": found.name, "quick": quick, "weights_sha256": sha256, "gates": {}, "met": True}


def save(report: Mapping[str, Any], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise NextframeError(f"{path}: expected a place to write the report: {error.strerror}") from error


def finish(report: Mapping[str, Any], films: Films, html: Path | None) -> int:
    """Print the full gates, write the page if asked, and say by the exit code whether all gates are met."""
    if "full_gates" in report:
        print_sections(report)
    if html is not None:
        print(f"page: {write_page(report, films, html)}")
    return 0 if report["met"] and report.get("full_met", True) else 1


def _say(text: str) -> None:
    print(f"eval: {text}", file=sys.stderr, flush=True)
