"""The document of a run as a few lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_table(document: Mapping[str, Any]) -> None:
    if document["rehearsal"]:
        print("A rehearsal at tiny sizes: its times say nothing.")
    for name, step in document["steps"].items():
        why = step.get("reason") or step.get("error") or ", ".join(step.get("failures", []))
        print(f"{name:11} {step['status']:12} {step.get('seconds', 0):7.1f} s  {why}")
    for name, row in document["steps"].get("circuit", {}).items():
        if isinstance(row, dict) and "rungs" in row:
            rungs = "; ".join(f"{k} steps {r['input_to_picture_ms']['p50']:.2f} ms" for k, r in row["rungs"].items())
            print(f"circuit, {name}: input to picture {rungs}")
    for name, row in document["steps"].get("large", {}).items():
        if isinstance(row, dict) and "fps" in row:
            share = row["share_of_bf16_rate"]
            print(
                f"large, {name}: {row['fps']:.2f} FPS, input to picture {row['input_to_picture_ms']['p50']:.1f} ms, "
                f"{share:.0%} of the device's bf16 rate"
            )
