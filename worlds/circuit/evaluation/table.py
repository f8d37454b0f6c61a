"""The evaluation as a Markdown table, written into README.md and the model card between their markers.

python -m nextframe.worlds.circuit.evaluation.table
"""

from __future__ import annotations

import json
import re
from pathlib import Path

BEGIN, END = "<!-- eval: made by worlds/circuit/evaluation/table.py -->", "<!-- /eval -->"
NAMES = {
    "next_frame_below_ceiling_db": "next frame below the tokenizer's ceiling, dB",
    "moving_gain_over_copy_last_db": "moving pixels better than copy-last, dB",
    "true_actions_beat_others_db": "around the car, true steering better than another's, dB",
    "rungs_never_fall_by_db": "largest fall from one rung to the next on moving pixels, dB",
    "edge_energy_at_300": "free running, tick 300: edge energy of the real one (worst tenth)",
    "edge_energy_at_1000": "tick 1,000: edge energy (worst tenth)",
    "one_player_at_300": "tick 300: exactly one player's car, or hidden under a roof (share of 32)",
    "one_player_at_1000": "tick 1,000: the same",
    "colour_in_band_at_300": "tick 300: colour and contrast in the real band (share of 32)",
    "colour_in_band_at_1000": "tick 1,000: the same",
    "steering_correlation": "turn per steering input against the simulator, correlation",
    "tunnel_on_time": "back from under a roof within 2 ticks of the true time (share)",
    "deep_in_walls_when_careless": "driven by somebody who never looks: more than 2 px deep in a wall (share of ticks)",
    "idle_drift_px": "hands off for 12 s at rest: farthest any car moved, px",
    "weather_in_next_frame": "weather switch visible in the very next frame (share)",
    "key_flip_in_next_frame": "key flip visible in the very next frame (share)",
}  # fmt: skip


def table(report: dict) -> str:
    lines = ["| | measured | wanted | |", "|---|---|---|---|"]
    for key, row in report["gates"].items():
        lines.append(
            f"| {NAMES[key]} | {row['value']:.4g} | {row['bound']} | {'met' if row['met'] else '**missed**'} |"
        )
    forced = report["next_frame"]
    whole, moved = forced["psnr_db"], forced["moving_psnr_db"]
    lines += ["", f"Next frame, {forced['frames']:,} frames, pooled PSNR in dB and mean SSIM:", ""]
    names = list(whole)
    lines += ["| | " + " | ".join(n.replace("_", " ") for n in names) + " |", "|---" * (len(names) + 1) + "|"]
    lines.append("| whole frame | " + " | ".join(f"{whole[n]:.2f}" for n in names) + " |")
    lines.append("| whole frame, SSIM | " + " | ".join(f"{forced['ssim'][n]:.4f}" for n in names) + " |")
    lines.append("| moving pixels | " + " | ".join(f"{moved[n]:.2f}" for n in names) + " |")
    lines += ["", "Back from under a roof on time, by denoise steps and by remembered frames:", ""]
    lines += ["| denoise steps | on time |", "|---|---|"]
    for steps, row in report["tunnels_by_steps"].items():
        lines.append(f"| {steps} | {row['on_time']:.2f} |")
    lines += ["", "| remembered frames | moving pixels, dB | on time |", "|---|---|---|"]
    for window, row in report.get("memory", {}).items():
        lines.append(f"| {window} | {row['moving_psnr_db']:.2f} | {row['tunnel_on_time']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    report = json.loads(Path("worlds/circuit/eval.json").read_text())
    block = f"{BEGIN}\n{table(report)}\n{END}"
    for path in (Path("README.md"), Path("worlds/circuit/MODEL_CARD.md")):
        text = path.read_text().replace("@@EVAL@@", f"{BEGIN}\n{END}")
        path.write_text(re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: block, text, flags=re.DOTALL))
        print(f"{path}: written")


if __name__ == "__main__":
    main()
