"""Run the queue: `bash tools/lab/gpu/run.sh`, or `python -m nextframe.tools.lab.gpu` with a Python that has torch.

Exit code 0 if every step was done or says why it could not be; 1 if one failed or ran out of time; 2 for bad input.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import torch

from .machine import short_name
from .queue import ROOT, QueueOptions, run_queue
from .step import STEPS
from .table import print_table


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/lab/gpu/run.sh", description="Checks and measurements on one GPU.")
    parser.add_argument("--minutes", type=float, default=25.0, help="for everything together")
    parser.add_argument("--steps", default=",".join(STEPS), help=f"which of {','.join(STEPS)}")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rehearse", action="store_true", help="all of it at tiny sizes on the CPU")
    parser.add_argument("--out", type=Path, help="where the JSON document goes")
    options = parser.parse_args()
    steps = [name.strip() for name in options.steps.split(",") if name.strip()]
    unknown = [name for name in steps if name not in STEPS]
    device = torch.device("cpu" if options.rehearse else options.device)
    if unknown:
        return _refuse(f"--steps: expected some of {', '.join(STEPS)}, got {', '.join(unknown)}")
    if device.type == "cuda" and not torch.cuda.is_available():
        return _refuse(
            f"expected a CUDA device, torch {torch.__version__} of {sys.executable} sees none; "
            "run with --rehearse to try everything at tiny sizes on the CPU"
        )
    out = options.out or default_out(device, rehearse=options.rehearse)
    document = run_queue(QueueOptions(options.minutes, steps, device.type, options.rehearse, out))
    print_table(document)
    print(out)
    return 0 if all(status in ("ok", "skipped") for status in document["statuses"].values()) else 1


def default_out(device: torch.device, *, rehearse: bool) -> Path:
    """`$OUT` if that is a folder; else the results of this repository. A rehearsal never lies among results."""
    name = f"{datetime.now(UTC).strftime('%Y-%m-%d-%H%M')}-{short_name(device)}.json"
    given = os.environ.get("OUT")
    if given and Path(given).is_dir():
        return Path(given) / f"{'rehearsal-' if rehearse else ''}{name}"
    return ROOT / "out" / "gpu-rehearsal" / name if rehearse else Path(__file__).parent / "results" / name


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
