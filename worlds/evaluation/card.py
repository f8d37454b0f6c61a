"""An evaluation as Markdown, for a model card: gates by what they test, and the next frame by rungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .gates import DYNAMICS, RENDERER, Gate

HEADS = {
    DYNAMICS: "Gates that test the dynamics (how the latent goes on under the controls):",
    RENDERER: "Gates that test the renderer (the picture drawn of the latent, wherever that is):",
}
LABELS = {"psnr_db": "pooled PSNR, dB", "moving_psnr_db": "of moving pixels, dB", "ssim": "mean SSIM"}


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def gate_tables(report: Mapping[str, Any], gates: Mapping[str, Gate]) -> list[str]:
    """One table for what each gate tests."""
    lines: list[str] = []
    for tests, head in HEADS.items():
        rows = [
            (gates[name].text, f"{row['value']:.4g}", row["bound"], "met" if row["met"] else "**missed**")
            for name, row in report["gates"].items()
            if gates[name].tests == tests
        ]
        lines += [head, "", *rows_of(("", "measured", "wanted", ""), rows), ""]
    return lines


def next_frame_table(forced: Mapping[str, Any]) -> list[str]:
    """The next frame after true histories, by rung, beside copying the last one and the tokenizer alone (ceiling)."""
    names = list(forced["psnr_db"])
    rows = [
        [label, *(f"{forced[key][name]:.{4 if key == 'ssim' else 2}f}" for name in names)]
        for key, label in LABELS.items()
        if key in forced
    ]
    lines = [f"Next frame, {forced['frames']:,} frames:", ""]
    lines += rows_of(["", *(name.replace("_", " ") for name in names)], rows)
    if below := forced.get("below_ceiling_db"):
        lines += [
            "",
            f"Of single frames, the median is {below['median']:.2f} dB below the ceiling, and "
            f"{below['share_within_1_db']:.0%} are within 1 dB.",
        ]
    return lines
