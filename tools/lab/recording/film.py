"""What film, contact sheet, recording and trace cost a tick: `python -m nextframe.tools.lab.recording.film`.

Sessions with and without them in turns, in processes of their own; medians of the present stage and of the runtime's
own time, in ms, and the difference. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

WAYS = {
    "none": ["--no-video"],
    "film": [],
    "recording": ["--no-video", "--record", "{out}/s.nfr"],
    "trace": ["--no-video", "--trace", "{out}/t.json"],
    "all": ["--record", "{out}/s.nfr", "--trace", "{out}/t.json"],
}


def session(world: str, ticks: int, more: list[str]) -> tuple[float, float]:
    """Medians over the ticks, in ms: the present stage, and everything but the world's own stages."""
    with tempfile.TemporaryDirectory() as out:
        arguments = [argument.format(out=out) for argument in more]
        command = [sys.executable, "-m", "nextframe", "run", world, "--bot", "wander", "--ticks", str(ticks)]
        subprocess.run([*command, "--out", out, *arguments], check=True, capture_output=True, cwd=out)
        report = json.loads((Path(out) / "report.json").read_text(encoding="utf-8"))
    return report["stage_ms"]["present"]["p50"], report["overhead_ms"]["p50"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="circuit")
    parser.add_argument("--ticks", type=int, default=440)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seen: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way, more in WAYS.items():
            seen[way].append(session(options.world, options.ticks, more))
    found = {
        way: {"present_ms": median(p for p, _ in runs), "overhead_ms": median(o for _, o in runs)}
        for way, runs in seen.items()
    }
    print(f"{'':10} {'present p50':>12} {'more':>7} {'overhead p50':>13} {'more':>7}   ms")
    for way, row in found.items():
        more_ms = {name: row[name] - found["none"][name] for name in row}
        print(
            f"{way:10} {row['present_ms']:12.3f} {more_ms['present_ms']:7.3f} "
            f"{row['overhead_ms']:13.3f} {more_ms['overhead_ms']:7.3f}"
        )
    print(json.dumps({"world": options.world, "ticks": options.ticks, "rounds": options.rounds, **found}))


if __name__ == "__main__":
    main()
