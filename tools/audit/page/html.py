"""The audit as one page, for people who do not read code: it shows what the document says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ....runtime.core import NextframeError
from ...pages import page, words
from ..judge.document import SCHEMA
from . import figures
from .words import answers_of, cards_of

HERE = Path(__file__).parent

KINDS = (
    {"name": "batch", "title": "Fast batch", "words": "a clip is made, then shown"},
    {"name": "streaming", "title": "Streaming", "words": "output made ahead plays on; a control waits its turn"},
    {"name": "interactive", "title": "Interactive", "words": "every frame is made from the newest input"},
)
SCRIPT_WORDS = {"idle": "nothing pressed", "flips": "back and forth", "mashing": "everything"}
MOST_BARS = 60
"""More bars could not be told apart; what comes later is in the JSON."""
VERDICT_WORDS = {"proven": "proven", "refuted": "refuted", "insufficient": "not enough evidence"}
TONES = {"proven": "good", "refuted": "bad", "insufficient": "open"}
METHOD = (
    "Only what the target showed was used, timed by the audit's own clock. Nothing the target says of itself counts.",
    "Next frame: the same moment is played twice, once with an input and once without. What differs comes from the "
    "input. The noise floor is what differs between two runs with the same input.",
    "A display that only echoes what is pressed does not count: pixels that change with the key at the same place in "
    "every moment, and go back when it is let go, are left out.",
    "New pictures a second leave out copies of the frame before.",
    "Memory: an input is given some ticks back and everything since is the same; the pictures of now are compared. It "
    "says how long the past matters, not how well it is remembered.",
    "The audit sees the controls it knows of, on the seeds it tried, on this machine. A control that was not tried can "
    "be slower, and a rare failure can be missed: the number of trials stands beside each result.",
)


def write_page(document: Mapping[str, Any], path: Path, pictures: Mapping[str, Any] | None = None) -> Path:
    """Write the page of a `nextframe.audit/1` document; `pictures` as `pictures_json` makes them. Returns `path`.

    NextframeError: another schema, or the file cannot be written.
    """
    return page.write(render_page(document, pictures), path)


def render_page(document: Mapping[str, Any], pictures: Mapping[str, Any] | None = None) -> str:
    """The page as text. NextframeError for a document of another schema."""
    if document.get("schema") != SCHEMA:
        raise NextframeError(f"audit page: expected a document of schema {SCHEMA}, got {document.get('schema')!r}")
    return page.render(HERE, command="audit", schema=SCHEMA, **_context(document, pictures))


def _context(document: Mapping[str, Any], pictures: Mapping[str, Any] | None) -> dict[str, Any]:
    """Everything the template names."""
    state, strip = document["state"], (pictures or {}).get("strip")
    return {
        "target": document["target"],
        "sentence": document["category_sentence"],
        "category": document["category"],
        "kinds": KINDS,
        "cards": cards_of(document),
        "answers": answers_of(document),
        "claims": [_claim_row(claim) for claim in document["claims"]],
        "strip": _strip(strip, document["next_frame"]) if strip else None,
        "gallery": list((pictures or {}).get("gallery", [])),
        "plots": _plots(document),
        "controls": [_control_row(row) for row in document["next_frame"]["per_action"]],
        "inventory": [_part_row(part, document["tick_hz"]) for part in state["inventory"]],
        "method": [*METHOD, *document["notes"]],
        "missing": document["missing"],
        "environment": document.get("env", {}),
    }


def _claim_row(claim: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "claim": claim["claim"],
        "verdict": claim["verdict"],
        "tone": TONES[claim["verdict"]],
        "word": VERDICT_WORDS[claim["verdict"]],
        **claim["evidence"],
    }


def _part_row(part: Mapping[str, Any], tick_hz: float | None) -> dict[str, Any]:
    return {"name": part["name"], "bytes": part["bytes"], "reach": words.reach(part["horizon_ticks"], tick_hz)}


def _strip(strip: Mapping[str, Any], next_frame: Mapping[str, Any]) -> dict[str, Any]:
    """The pictures with titles; the column of the first changed frame is marked."""
    first = next_frame.get("first_changed_frame")
    moments = []
    for moment in strip["moments"]:
        frame = moment["frame"]
        title = "before" if frame == 0 else "next frame" if frame == 1 else f"frame {frame}"
        note = "no difference" if moment["largest"] == 0 else f"up to {moment['largest']} grey levels"
        moments.append({**moment, "title": title, "note": note, "first": frame == first})
    lead = (
        "Both rows start from the same moment. In A nothing is pressed, in B the input begins right after the first "
        "column and is held. Everything that lights up in the third row was changed by the input."
    )
    if next_frame.get("method") == "statistical":
        lead += " This target is not repeatable, so the third row also holds what differs between any two runs."
    return {**strip, "moments": moments, "lead": lead}


def _plots(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    plots = []
    next_frame = document["next_frame"]
    effect = [float(value) for value in next_frame["effect_by_frame"]][:MOST_BARS]
    if effect:
        floor = max(
            [float(value) for value in next_frame["noise_floor_by_frame"]] or [float(next_frame["noise_floor"])]
        )
        plots.append({
            "title": "How an input spreads",
            "lead": "Each bar is one frame after the input. Blue: it can be seen. Dashed: what differs by itself.",
            "picture": figures.effect_plot(effect, floor, next_frame["first_changed_frame"]),
        })  # fmt: skip
    rates = [(SCRIPT_WORDS.get(run["script"], run["script"]), float(run["fps"]), run["script"] == "idle")
             for run in document["sustained"]["scripts"] if not run["still"]]  # fmt: skip
    if rates:
        plots.append({
            "title": "The frame rate while a player steers",
            "lead": "Grey: nothing is pressed. Copies of a frame are not counted.",
            "picture": figures.rate_plot(rates),
        })  # fmt: skip
    state = document["state"]
    if state["curve"]:
        plots.append({
            "title": "How long an input stays visible",
            "lead": f"{state['control'] or 'An input'} was given so many ticks ago, with everything since the same. "
            "Above the dashed line the picture of now still shows it.",
            "picture": figures.memory_plot(_points(state["curve"])),
        })  # fmt: skip
    if state["reach_curve"]:
        plots.append({
            "title": "How far back memory is read",
            "lead": "One frame was erased from memory, so many ticks ago. Above the dashed line that changes the next.",
            "picture": figures.memory_plot(_points(state["reach_curve"])),
        })  # fmt: skip
    return plots


def _points(curve: Sequence[Mapping[str, Any]]) -> list[figures.Point]:
    return [figures.Point(float(p["ticks_back"]), float(p["effect"]), float(p["floor"])) for p in curve]


def _control_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One control: what it did, where it first showed, how long that took."""
    ms = row["response_ms"]
    changes = {True: "yes", False: "no", None: "not known"}[row["changes"]]
    worst = row["worst_frame"]
    frame = "–" if row["first_changed_frame"] is None else f"{row['first_changed_frame']}"
    return {
        "control": row["control"],
        "changes": changes,
        "answered": words.percent(row["answered"]),
        "frame": frame if worst in (None, row["first_changed_frame"]) else f"{frame}, at worst {worst}",
        "ms": "–" if ms is None else f"{words.shown(ms['p50'])} / {words.shown(ms['p95'])}",
        "effect": words.shown(row["effect"]),
    }
