"""An evaluation as one page: what was measured, curves, and film strips of the teacher's pictures over the world's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.core import NextframeError
from ...worlds.evaluation.subjects import Frames
from ..pages import page
from ..pages.pictures import averaged, data_uri
from ..pages.words import rounded, share
from .plots import Axes, chart
from .sections import refusals

HERE = Path(__file__).parent
SCHEMA = "nextframe.eval/1"
WIDEST_PX = 144
"""Wider pictures are averaged down to less than this: sixty of them must make a page that can be sent."""
MARKS = {True: "met", False: "missed", None: "not measured"}
TONES = {True: "good", False: "bad", None: "open"}
FILMS = {
    "open_loop": ("Open loop", "The teacher above, the world below, under the same actions from the same start; "
                  "ticks 1, 2, 4, 8, 16 and so on."),
    "drift": ("Left alone", "One session on its own pictures from the first tick to the last."),
    "memory_return": ("Left and come back to", "The teacher's view above, the world's below."),
    "idle": ("Nothing touched", "The teacher above, the world below."),
    "mash": ("Everything pressed", "One session of the world."),
}  # fmt: skip
METHOD = (
    "World and teacher are given the same seeds and actions. Starts and sessions are none that were trained on.",
    "Open loop: after a while two true runs would part too, wherever the future is a chance. It is read beside drift.",
    "Action following: a small network learns on the teacher's pictures to read the controls. It is examined on others "
    "of the teacher's, and where it fails it may not judge. F1 counts only pictures in which it is sure.",
    "Latency: the same moment twice, with the control and without. Only moments count in which the teacher answers.",
    "Drift: a session has failed once three chunks of 16 ticks in a row are out of the teacher's band for its prompt.",
    "Memory: of many of the teacher's views, is the true one the nearest to the world's? Inside: out of sight for no "
    "longer than the world sees back.",
)


def write_page(report: Mapping[str, Any], films: Mapping[str, Sequence[Frames]], path: Path) -> Path:
    """Write the page of a `nextframe.eval/1` document; returns `path`. NextframeError: it cannot be written."""
    return page.write(render_page(report, films), path)


def render_page(report: Mapping[str, Any], films: Mapping[str, Sequence[Frames]]) -> str:
    """The page as text. Sections that the document lacks are left out. NextframeError: another schema."""
    if report.get("schema") != SCHEMA:
        raise NextframeError(f"eval page: expected schema {SCHEMA}, got {report.get('schema')!r}")
    return page.render(HERE, command="eval", schema=SCHEMA, **_context(report, films))


def _context(report: Mapping[str, Any], films: Mapping[str, Sequence[Frames]]) -> dict[str, Any]:
    full = "full_gates" in report
    rows = [(name, row) for part in ("gates", "full_gates") for name, row in report.get(part, {}).items()]
    asked = [row for _, row in rows if row["met"] is not None]
    met = sum(row["met"] for row in asked)
    return {
        "world": report["world"], "quick": report["quick"], "weights": report["weights_sha256"][:12],
        "sentence": f"{report['world']}: {met} of {len(asked)} gates met",
        "cards": _cards(report) if full else [],
        "gates": [_gate_row(name, row) for name, row in rows],
        "plots": _plots(report) if full else [],
        "following": _following(report["following"]) if full else [],
        "refusals": [*report["following"]["notes"], *refusals(report["following"])] if full else [],
        "latency": _latency(report["latency"]) if full else [],
        "memory": _memory(report["memory_return"]) if full else [],
        "films": [_film(name, films[name]) for name in FILMS if films.get(name)],
        "method": METHOD,
    }  # fmt: skip


def _cards(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    open_, late, drift = report["open_loop"], report["latency"], report["drift"]
    memory = report["memory_return"]["inside"] or report["memory_return"]["beyond"]
    median = drift["median_ticks_to_failure"]
    above = open_["ticks_above_copy_start"]
    cards = [
        ("better than a still", f"{above}{'+' if above == open_['ticks'] else ''}", "ticks", "open loop, all pixels"),
        ("response", rounded(late["median_frames"], 0), "frames",
         f"{share(late['next_frame_share'])} of the answers in the very next frame"),
        ("until failure", f"> {drift['ticks']:,}" if median is None else f"{median:,.0f}", "ticks",
         f"median; {drift['survived']} of {drift['sessions']} sessions never failed"),
        ("comes back right", "–" if memory is None else share(memory["retrieval_at_1"]), "",
         "not measured" if memory is None else f"chance {share(memory['chance'])}; {memory['returns']} returns"),
    ]  # fmt: skip
    return [{"label": label, "text": text, "unit": unit, "note": note} for label, text, unit, note in cards]


def _gate_row(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name.replace("_", " "), "value": rounded(row["value"], 3), "bound": row["bound"],
        "mark": MARKS[row["met"]], "tone": TONES[row["met"]],
    }  # fmt: skip


def _plots(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    curves = report["open_loop"]["curves"]
    ticks = list(range(1, report["open_loop"]["ticks"] + 1))
    plots = []
    for title, end in (("All pixels", "psnr_db"), ("Pixels that have changed", "moved_psnr_db")):
        lines = {"the world": curves[end], "other actions": curves[f"other_actions_{end}"],
                 "a still": curves[f"copy_start_{end}"]}  # fmt: skip
        axes = Axes(title, "PSNR against the teacher, dB", "tick")
        plots.append(
            {"title": f"Open loop: {title.lower()}", "picture": chart(axes, ticks, lines), "legend": list(lines)}
        )
    edges = report["drift"]["edge_energy"]
    if len(edges["median"]) > 1:
        last = report["drift"]["ticks"]
        at = np.linspace(0, last, len(edges["median"])).tolist()
        axes = Axes("Sharpness", "edge energy, 1 is the teacher's", "tick", low=0.0)
        lines = {"median session": edges["median"]}
        picture = chart(axes, at, lines, band=(edges["low"], edges["high"]))
        plots.append({"title": "Drift: sharpness", "picture": picture, "legend": [*lines, "eight sessions of ten"]})
    return plots


def _following(section: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name, row in section["keys"].items():
        judge, world = row["judge"], row.get("world")
        rows.append([
            name, share(judge["accuracy"]), rounded(judge["f1"], 3), rounded(world and world["f1"], 3),
            rounded(row["other_actions"]["f1"] if world else None, 3), share(world and world["coverage"]),
        ])  # fmt: skip
    for name, row in section["axes"].items():
        judge, world = row["judge"], row.get("world")
        other = row["other_actions"]["correlation"] if world else None
        gain = f", gain {world['gain']:.2f}" if world and world["gain"] is not None else ""
        rows.append([
            f"{name} (axis)", "–", f"{rounded(judge['correlation'], 3)}",
            f"{rounded(world and world['correlation'], 3)}{gain}", rounded(other, 3),
            share(world and world["coverage"]),
        ])  # fmt: skip
    return rows


def _latency(section: Mapping[str, Any]) -> list[list[str]]:
    return [
        [name, f"{row['answered']} of {row['asked']}", rounded(row["median_frames"], 1),
         rounded(row["teacher_median_frames"], 1), rounded(row["excess_frames_mean"], 2)]
        for name, row in section["controls"].items()
    ]  # fmt: skip


def _memory(section: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for name in ("inside", "beyond"):
        row = section[name]
        if row is not None:
            kinds = ", ".join(f"{kind} {share(found['retrieval_at_1'])}" for kind, found in row["kinds"].items())
            rows.append([
                f"{name} the window", kinds, rounded(row["away_ticks_median"], 0), str(row["returns"]),
                f"{share(row['retrieval_at_1'])} ± {share(row['standard_error'])}", share(row["chance"]),
                rounded(row["psnr_db"], 1),
            ])  # fmt: skip
    return rows


def _film(name: str, film: Sequence[Frames]) -> dict[str, Any]:
    """Each entry of `film` is a column: its pictures from top to bottom."""
    title, lead = FILMS[name]
    columns = [np.concatenate([averaged(picture, WIDEST_PX) for picture in column]) for column in film]
    return {"title": title, "lead": lead, "columns": [data_uri(c) for c in columns]}
