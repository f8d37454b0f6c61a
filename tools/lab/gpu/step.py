"""One step of the queue in a process of its own: its context, its budget, its results as they come.

    python -m nextframe.tools.lab.gpu.step NAME --out FILE.json --seconds 120 --device cuda [--rehearse]

A crash or a kill takes only the step, and only what it had not written.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

STEPS = {
    "machine": "nextframe.tools.lab.gpu.steps.ceilings",
    "checks": "nextframe.tools.lab.gpu.steps.checks",
    "agreement": "nextframe.tools.lab.gpu.steps.agreement",
    "circuit": "nextframe.tools.lab.gpu.steps.circuit",
    "large": "nextframe.tools.lab.gpu.steps.large",
    "throughput": "nextframe.tools.lab.gpu.steps.throughput",
    "training": "nextframe.tools.lab.gpu.steps.training",
    "freedoom": "nextframe.tools.lab.gpu.steps.freedoom",
}
"""By name, in the order of the queue: the module whose `run(context)` does it."""


class SkippedError(Exception):
    """The step cannot be done here; its message says why."""


@dataclass
class Context:
    """What a step is given, and where it puts what it finds. `folder`: for the few files it leaves beside the JSON."""

    device: torch.device
    seconds: float
    rehearse: bool
    folder: Path
    out: Path
    began_s: float = field(default_factory=time.monotonic)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        return self.seconds - (time.monotonic() - self.began_s)

    def note(self, **found: Any) -> None:
        """Keep results: written at once, so that a kill cannot take them."""
        self.results.update(found)
        self.write("running")

    def attempt(self, name: str, work: Callable[[], Any]) -> Any:
        """One part of the step. Whatever it raises is kept beside its name, and the parts after it go on."""
        print(f"{name} ({self.left_s:.0f} s left)", flush=True)
        try:
            found = work()
        except SkippedError as reason:
            found = {"status": "skipped", "reason": str(reason)}
        except Exception as error:  # noqa: BLE001 - one of many measurements: it is reported, and the others must go on
            traceback.print_exc()
            found = {"status": "failed", "error": f"{type(error).__name__}: {error}"[:2000]}
        self.note(**{name: found})
        return found

    def write(self, status: str, **more: Any) -> None:
        document = {"status": status, "seconds": round(time.monotonic() - self.began_s, 1), **more, **self.results}
        part = self.out.with_suffix(".part")
        part.write_text(json.dumps(document, indent=1) + "\n")
        part.replace(self.out)


def failures(found: Any, at: str = "") -> list[str]:
    """Where in nested results a part says that it failed, or that it did not meet its bound."""
    if not isinstance(found, dict):
        return []
    own = [at] if found.get("status") == "failed" or found.get("met") is False else []
    return own + [line for key, part in found.items() for line in failures(part, f"{at}/{key}" if at else str(key))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=tuple(STEPS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, for a CPU")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    context = Context(device, options.seconds, options.rehearse, options.out.parent, options.out)
    context.write("running")
    try:
        import_module(STEPS[options.name]).run(context)
    except SkippedError as reason:
        context.write("skipped", reason=str(reason))
        return 0
    bad = failures(context.results)
    context.write("failed" if bad else "ok", **({"failures": bad} if bad else {}))
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(
        import_module("nextframe.tools.lab.gpu.step").main()
    )  # the module that steps know, not its copy __main__
