"""The evaluation of freedoom as a Markdown table, written into its model card and README.md between their markers.

python -m nextframe.worlds.freedoom.evaluation.table
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...drive.evaluation.table import put_between, table

BEGIN, END = "<!-- eval of freedoom: made by worlds/freedoom/evaluation/table.py -->", "<!-- /eval of freedoom -->"
NAMES = {
    "next_frame_below_ceiling_db": "next frame below the tokenizer's ceiling, dB",
    "gain_over_copy_last_db": "next frame better than copy-last, dB",
    "true_actions_beat_others_db": "true look better than the opposite, dB",
    "rungs_never_fall_by_db": "largest fall from one rung to the next, dB",
    "edge_energy_at_300": "free walking, tick 300: edge energy of the game's picture at that place (worst tenth)",
    "edge_energy_at_10000": "tick 10,000: the same",
    "agrees_with_its_own_pose_db_at_300": "tick 300: picture against the game's at the dreamt place, dB",
    "agrees_with_its_own_pose_db_at_10000": "tick 10,000: the same",
    "turning_gain_at_300": "after 300 free ticks: how far the view turns for what the game's turns",
    "turning_correlation_at_300": "the same: correlation with the look",
    "retrieval_inside_window": "turned away and back inside the window: retrieval@1",
    "retrieval_beyond_window": "turned away and back by 96, 184, 360 degrees, beyond the window: retrieval@1, worst",
    "same_place_after_going_away": "walked out of sight and back: retrieval@1 of the place left",
    "lamp_in_next_frame": "a lamp switched is visible in the very next frame, and only then (share)",
    "lamp_remembered_when_back": "walked away from a room darkened, or not, and back: as it was left (share)",
    "in_walls": "walked by somebody who never looks: more than 2 units inside a wall (share of ticks)",
    "idle_drift_units": "hands off for 10 s: farthest anybody moved, units",
    "idle_turn_degrees": "the same: farthest anybody turned, degrees",
    "key_flip_in_next_frame": "look flip visible in the very next frame (share)",
}


def block(report: dict[str, Any]) -> str:
    rows = [
        "",
        "Turned away and back, 16 places (chance 0.06):",
        "",
        "| degrees | ticks | retrieval@1 | dB | the game, dB |",
    ]
    rows.append("|---|---|---|---|---|")
    for part in report["turn_around"]:
        rows.append(
            f"| {part['degrees']:.0f} | {part['ticks']} | {part['retrieval_at_1']:.2f} | {part['psnr_db']:.1f} | "
            f"{part['game_psnr_db']:.1f} |"
        )
    away, lamps = report["away_and_back"], report["lamps"]
    rows += [
        "",
        f"Walked out of sight and back: {away['ticks']} ticks, {away['arrived']:.0%} of {away['rows']} arrived. Lamps: "
        f"{lamps['ticks_away']} ticks, {lamps['rows']} walks. The memory of frames is {away['window_ticks']} ticks.",
    ]
    return table(report, NAMES) + "\n" + "\n".join(rows)


def main() -> None:
    report = json.loads(Path("worlds/freedoom/eval.json").read_text())
    put_between(BEGIN, END, table(report, NAMES), [Path("README.md")])
    put_between(BEGIN, END, block(report), [Path("worlds/freedoom/MODEL_CARD.md")])


if __name__ == "__main__":
    main()
