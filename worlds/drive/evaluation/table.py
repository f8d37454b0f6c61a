"""The evaluation of drive as a Markdown table, written into its model card and README.md between their markers.

python -m nextframe.worlds.drive.evaluation.table
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- eval of drive: made by worlds/drive/evaluation/table.py -->", "<!-- /eval of drive -->"
NAMES = {
    "next_frame_below_ceiling_db": "next frame below the tokenizer's ceiling, dB",
    "gain_over_copy_last_db": "next frame better than copy-last, dB",
    "true_actions_beat_others_db": "true steering better than the opposite, dB",
    "rungs_never_fall_by_db": "largest fall from one rung to the next, dB",
    "edge_energy_at_300": "free driving, tick 300: edge energy of the real picture at that place (worst tenth)",
    "edge_energy_at_1000": "tick 1,000: the same",
    "agrees_with_its_own_pose_db_at_1000": "tick 1,000: picture against the simulator's at the dreamt poses, dB",
    "steering_correlation": "skyline shift under a held wheel against the simulator's, from pixels, correlation",
    "same_landmarks_after_a_lap": "second lap: of the first lap's pictures, the most alike is the same place's (share)",
    "beyond_fence_when_careless": "driven by somebody who never looks: more than 1 m beyond the fence (share of ticks)",
    "idle_drift_m": "hands off for 10 s at rest: farthest any car moved, m",
    "weather_in_next_frame": "weather switch visible in the very next frame (share)",
    "key_flip_in_next_frame": "key flip visible in the very next frame (share)",
}


def table(report: dict[str, Any], names_of: Mapping[str, str] = NAMES) -> str:
    lines = ["| | measured | wanted | |", "|---|---|---|---|"]
    for key, row in report["gates"].items():
        met = "met" if row["met"] else "**missed**"
        lines.append(f"| {names_of[key]} | {row['value']:.4g} | {row['bound']} | {met} |")
    forced = report["next_frame"]
    names = list(forced["psnr_db"])
    lines += ["", f"Next frame, {forced['frames']:,} frames:", ""]
    lines += ["| | " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    lines.append("| pooled PSNR, dB | " + " | ".join(f"{forced['psnr_db'][name]:.2f}" for name in names) + " |")
    lines.append("| mean SSIM | " + " | ".join(f"{forced['ssim'][name]:.4f}" for name in names) + " |")
    if below := forced.get("below_ceiling_db"):
        lines += [
            "",
            f"Of single frames, the median is {below['median']:.2f} dB below the ceiling, and "
            f"{below['share_within_1_db']:.0%} are within 1 dB.",
        ]
    return "\n".join(lines)


def main() -> None:
    report = json.loads(Path("worlds/drive/eval.json").read_text())
    put_between(BEGIN, END, table(report), [Path("README.md"), Path("worlds/drive/MODEL_CARD.md")])


def put_between(begin: str, end: str, block: str, paths: list[Path]) -> None:
    """Replace what stands between two markers in each file."""
    for path in paths:
        text = path.read_text()
        before, marked, rest = text.partition(begin)
        if marked:
            path.write_text(f"{before}{begin}\n{block}\n{end}{rest.partition(end)[2]}")
        print(f"{path}: {'written' if marked else 'has no place for it'}")


if __name__ == "__main__":
    main()
