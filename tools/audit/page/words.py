"""The three numbers and the four answers of the audit's page, in plain English.

Every figure comes from the document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pages.words import percent, plural, shown

AWAY_DB = 3.0
"""A view that hardly changes when turned away, as of a camera that stands still, tells nothing by coming back."""
UNKNOWN = {"short": "not known", "tone": "open"}


def _finding(document: Mapping[str, Any], name: str) -> Any:
    return document["findings"].get(name)


def _why(document: Mapping[str, Any], name: str) -> str:
    return str(document["missing"].get(name, "This audit did not measure it.")).rstrip(".") + "."


# --- the three numbers -------------------------------------------------------------------------------------------


def cards_of(document: Mapping[str, Any]) -> list[dict[str, str]]:
    return [_ttff_card(document), _fps_card(document), _memory_card(document)]


def _ttff_card(document: Mapping[str, Any]) -> dict[str, str]:
    found = _finding(document, "ttff_ms")
    label = "Time to first frame"
    if found is None:
        return {"label": label, "text": "–", "unit": "", "note": _why(document, "ttff_ms")}
    text, unit = _ms(found["value"])
    return {"label": label, "text": text, "unit": unit, "note": "From asking for a session to its first picture."}


def _fps_card(document: Mapping[str, Any]) -> dict[str, str]:
    found, idle = _finding(document, "fps_interacting"), _finding(document, "fps_idle")
    label = "Frame rate while interacting"
    if found is None:
        return {"label": label, "text": "–", "unit": "", "note": _why(document, "fps_interacting")}
    note = "New pictures only, while the controls change all the time."
    note += f" Left alone: {shown(idle['value'])} FPS." if idle else ""
    return {"label": label, "text": shown(found["value"]), "unit": "FPS", "note": note}


def _memory_card(document: Mapping[str, Any]) -> dict[str, str]:
    found = _finding(document, "memory_ticks")
    label = "What persists across frames"
    if found is None:
        return {"label": label, "text": "–", "unit": "", "note": _why(document, "memory_ticks")}
    ticks, hz = found["value"], document["tick_hz"]
    followed = found["high"] is not None
    beyond = "" if followed else "The past was not followed further. "
    seconds = f"{shown(ticks / hz)} s. " if hz else ""
    kept = document["state"].get("survives_prompt_change")
    prompt = (
        {True: "Survives a new prompt.", False: "Lost when the prompt changes."}.get(kept, "")
        if kept is not None
        else ""
    )
    note = f"{seconds}{beyond}So long what happened changes what is seen. {prompt}".strip()
    text = shown(ticks) if followed else f"≥ {shown(ticks)}"
    return {"label": label, "text": text, "unit": "tick" if ticks == 1 else "ticks", "note": note}


def _ms(value: float) -> tuple[str, str]:
    return (shown(value / 1000), "s") if value >= 1000 else (shown(value), "ms")


# --- the four answers --------------------------------------------------------------------------------------------


def answers_of(document: Mapping[str, Any]) -> list[dict[str, str]]:
    return [_next_frame(document), _sustained(document), _state(document), _source(document)]


def _next_frame(document: Mapping[str, Any]) -> dict[str, str]:
    question = {"question": "Does the next frame change when the input changes?"}
    responds, frames = _finding(document, "responds"), _finding(document, "response_frames")
    if responds is None:
        return {**question, **UNKNOWN, "long": _why(document, "responds")}
    if not responds:
        horizon = document["findings"].get("horizon_frames")
        overlay = " Only a display drawn over it does." if document["findings"].get("overlay_only") else ""
        long = f"In {plural(horizon, 'frame')} after an input the picture did not change." if horizon else ""
        return {**question, "short": "no", "tone": "bad", "long": long + overlay}
    if frames is None:
        return {**question, **UNKNOWN, "long": _why(document, "response_frames")}
    response = _finding(document, "response_ms")
    late = f" That took {' '.join(_ms(response['value']))}." if response else ""
    trials = f" Tried in {plural(frames['count'], 'moment')}." if frames["count"] > 1 else ""
    if frames["high"] <= 1:
        return {**question, "short": "yes", "tone": "good",
                "long": f"The first frame after the input is already different.{late}{trials}"}  # fmt: skip
    value, high = frames["value"], frames["high"]
    spread = f", up to {high:.0f}" if round(high) > round(value) else ""
    return {**question, "short": f"no: frame {value:.0f}", "tone": "bad",
            "long": f"The input shows {value:.0f} frames later{spread}.{late}{trials}"}  # fmt: skip


def _sustained(document: Mapping[str, Any]) -> dict[str, str]:
    question = {"question": "Does the frame rate hold while a player steers, not only in playback?"}
    steering, idle = _finding(document, "fps_interacting"), _finding(document, "fps_idle")
    if steering is None or idle is None:
        return {**question, **UNKNOWN, "long": _why(document, "fps_interacting")}
    share = steering["value"] / idle["value"] if idle["value"] else 0.0
    unique = _finding(document, "unique_share")
    copies = (
        f" {percent(1 - unique['value'])} of the frames shown were copies." if unique and unique["value"] < 0.99 else ""
    )
    misses = _finding(document, "miss_rate")
    late = f" {percent(misses['value'])} of the frames came late." if misses else ""
    held = share >= 0.9
    short = "yes" if held else f"no: {100 * share:.0f} % is left"
    return {**question, "short": short, "tone": "good" if held else "bad",
            "long": f"{shown(steering['value'])} new pictures a second while interacting, "
                    f"{shown(idle['value'])} left alone.{copies}{late}"}  # fmt: skip


def _state(document: Mapping[str, Any]) -> dict[str, str]:
    question = {"question": "What does it remember from frame to frame?"}
    memory, kept = _finding(document, "memory_ticks"), document["state"].get("survives_prompt_change")
    after = {True: " A new prompt does not wipe it out.", False: " A new prompt wipes everything out."}
    prompt = after[kept] if isinstance(kept, bool) else ""
    if memory is None:
        return {**question, **UNKNOWN, "long": _why(document, "memory_ticks") + prompt}
    ticks = memory["value"]
    if ticks <= 0:
        return {
            **question,
            "short": "nothing",
            "tone": "bad",
            "long": f"No change of the past reached the picture.{prompt}",
        }
    back = plural(round(ticks), "tick")
    short = back if memory["high"] is not None else f"at least {back}"
    away = _turned_away(document["state"].get("turn_back"))
    return {**question, "short": short, "tone": "bad" if kept is False else "good",
            "long": f"What happened up to {back} ago still changes what is seen.{prompt}{away}"}  # fmt: skip


def _turned_away(turn: Mapping[str, Any] | None) -> str:
    if not turn or turn["away"] > turn["returned"] - AWAY_DB:
        return ""
    text = (
        f" Away for {plural(turn['away_ticks'], 'tick')} by {turn['control']} and back, the picture is the old one to "
    )
    text += f"{shown(turn['returned'])} dB; while away it was {shown(turn['away'])} dB."
    return text + (
        f" The simulator itself returns to {shown(turn['truth_returned'])} dB." * bool(turn["truth_returned"])
    )


def _source(document: Mapping[str, Any]) -> dict[str, str]:
    question = {"question": "Is the source narrow, or broad?"}
    breadth = document["source"].get("breadth")
    if breadth is None:
        return {**question, **UNKNOWN, "long": _why(document, "breadth")}
    seen = document["source"]["evidence"]
    long = {
        "broad": "Seeds, prompts and controls lead to pictures that differ in many ways.",
        "narrow": "All sessions look much alike, whatever the seed, the prompt and the controls.",
    }[breadth]
    if {"active_share", "dimensions"} <= seen.keys():
        ways = plural(seen["dimensions"], "independent way")
        long += (
            f" {percent(seen['active_share'])} of the picture takes part, in {ways}"
            f" (broad: from {percent(seen['broad_from_active_share'])} and {seen['broad_from_dimensions']} ways on)."
        )
    return {**question, "short": breadth, "tone": "open", "long": long}
