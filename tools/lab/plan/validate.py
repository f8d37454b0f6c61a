"""How accurate is the planner? Measured runs of stage processes beside what the simulation says of them.

    python -m nextframe.tools.lab.plan.validate FILE [FILE ...]      runs measured elsewhere, such as by
    tools.stages.bench python -m nextframe.tools.lab.plan.validate --measure OUT.json   measures small pipelines of gloo
    processes here, then compares

A run is `{"layout": [[0, 3], [3, 6]], "sessions": S, "denoise_steps": n, "stage_ms": {...}, "link": {"latency_ms": ...,
"bytes": ...}, "fps": ..., "latency_ms": ...}`; a file holds one or a list. `stage_ms`: `layers` and `commit_layers`, ms
of one pass and of a commit through the layers of each stage (no commit: zeros); and where there are any `condition`,
`step`, `decode`, `commit`. `decodes_on`: the stage that makes the picture when the first asks it to; if not given, the
last does before it answers. `at_once`: ticks under way at once, where that is not all sessions. `beside`: commits are
made beside the pictures, as sessions over stages do it; and with `unshown` 1 the next tick of a session begins before
its picture is there. Latency runs from the beginning of a tick to its picture at the first process. Stage costs must
have been measured apart from the run: costs taken from the run would hold its waiting too, and prove nothing.

Exit codes: 0 every rate and latency is predicted within `TOLERANCE`, 1 not, 2 nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from ....runtime.core import NextframeError
from ...plan.formula import length_ms
from ...plan.profile import Count, NotBelowZero, PlanError, PlanModel
from ...plan.simulate import Branch, Cycle, Traffic, Visit, simulate

TOLERANCE = 0.15
MAX_RUNS_BYTES = 1 << 22


class StageMs(PlanModel):
    layers: tuple[NotBelowZero, ...]
    commit_layers: tuple[NotBelowZero, ...]
    condition: NotBelowZero = 0.0
    step: NotBelowZero = 0.0
    decode: NotBelowZero = 0.0
    commit: NotBelowZero = 0.0


class Hop(PlanModel):
    """`latency_ms`: of a message of `bytes`, one way, wire included."""

    latency_ms: NotBelowZero
    bytes: NotBelowZero = 0.0


class Run(PlanModel):
    """`fps`: pictures a second of all sessions together."""

    layout: tuple[tuple[int, int], ...] = Field(min_length=1)
    sessions: Count
    denoise_steps: Count = 1
    decodes_on: int | None = Field(None, ge=0)
    at_once: Count | None = None
    beside: bool = False
    unshown: Literal[0, 1] = 0
    stage_ms: StageMs
    link: Hop = Hop(latency_ms=0.0)
    fps: float = Field(gt=0)
    latency_ms: float = Field(gt=0)
    device: str = ""
    schema_name: str = Field("", alias="schema")

    @model_validator(mode="after")
    def _one_cost_per_stage(self) -> Run:
        stages = len(self.layout)
        for name in ("layers", "commit_layers"):
            if (got := len(getattr(self.stage_ms, name))) != stages:
                raise ValueError(f"stage_ms: expected {name} of {stages} stages, got {got}")
        if self.decodes_on is not None and self.decodes_on > stages:
            raise ValueError(
                f"decodes_on: expected one of {stages} stages, counted from 0, or {stages} for a process of its own, "
                f"got {self.decodes_on}"
            )
        if self.unshown and not (self.beside and self.decodes_on):
            raise ValueError("unshown: expected beside, and decodes_on another stage than the first")
        return self


@dataclass(frozen=True)
class Compared:
    run: Run
    fps: float
    latency_ms: float

    @property
    def rate_error(self) -> float:
        return self.fps / self.run.fps - 1

    @property
    def latency_error(self) -> float:
        return self.latency_ms / self.run.latency_ms - 1

    @property
    def within(self) -> bool:
        return max(abs(self.rate_error), abs(self.latency_error)) <= TOLERANCE


def cycle_of_run(run: Run) -> Cycle:
    """All passes through the stages, decode, then the commit pass.

    A hop occupies who receives: gloo fetches a message when it is asked for, so a process that computes first and asks
    then waits for the whole of it. (Messages that arrive beside the work, as over NVLink, occupy none.) A pass ends
    with the latent at the first process, which has the picture made. Where the last stage makes it before it answers,
    its hop stands right before the session's next tick, since that is when it is received. A commit is sent off by the
    first process, which goes on; the later stages do theirs beside its next tick.
    """
    cost, visits = run.stage_ms, list[Visit]()
    hop_ms = run.link.latency_ms if len(run.layout) > 1 else 0.0

    def through(times_ms: Sequence[float]) -> list[Visit]:
        return [Visit(stage, time_ms + (hop_ms if stage else 0.0)) for stage, time_ms in enumerate(times_ms)]

    asked = run.decodes_on is not None
    for step in range(run.denoise_steps):
        before = cost.step + (cost.condition if step == 0 else 0.0) + (0.0 if asked and step == 0 else hop_ms)
        visits += [Visit(0, before), *through(cost.layers)]
    if run.beside:
        return _beside(run, visits, through(cost.commit_layers), hop_ms)
    if run.decodes_on is None:
        visits.append(Visit(len(run.layout) - 1, cost.decode))
    elif run.decodes_on == 0:
        visits.append(Visit(0, hop_ms + cost.decode))
    else:
        visits += [Visit(0, hop_ms), Visit(run.decodes_on, hop_ms + cost.decode), Visit(0, hop_ms)]
    visits = _joined([*visits[:-1], replace(visits[-1], shows=True)])
    if not any(cost.commit_layers):
        return Cycle(tuple(visits))
    first, *later = through(cost.commit_layers)
    visits.append(Visit(0, (0.0 if asked else hop_ms) + cost.commit + first.service_ms))
    return Cycle(tuple(visits), (Branch(len(visits) - 1, tuple(later)),) if later else ())


def _beside(run: Run, passes: Sequence[Visit], commit: Sequence[Visit], hop_ms: float) -> Cycle:
    """The commit goes before a picture that the first process makes, and after one that is sent off to be made."""
    cost, decoder = run.stage_ms, run.decodes_on or 0
    first = cost.commit + commit[0].service_ms
    if decoder == 0:
        main = _joined([*passes, Visit(0, hop_ms + first)])
        return _branched([*main, Visit(0, cost.decode, shows=True)], (len(main) - 1, commit[1:]))
    main = _joined([*passes, Visit(0, hop_ms)])
    sent, picture = len(main) - 1, [Visit(decoder, hop_ms + cost.decode), Visit(0, hop_ms, shows=True)]
    if run.unshown:
        return _branched([*main, Visit(0, first)], (sent, picture), (sent + 1, commit[1:]))
    return _branched([*main, *picture], (sent, [Visit(0, first), *commit[1:]]))


def _branched(main: Sequence[Visit], *branches: tuple[int, Sequence[Visit]]) -> Cycle:
    return Cycle(tuple(main), tuple(Branch(after, tuple(visits)) for after, visits in branches if visits))


def _joined(visits: Sequence[Visit]) -> list[Visit]:
    """Work that follows on the same process is not interrupted."""
    joined: list[Visit] = []
    for visit in visits:
        last = joined[-1] if joined else None
        if last and last.resource == visit.resource and not last.shows:
            joined[-1] = Visit(visit.resource, last.service_ms + visit.service_ms, shows=visit.shows)
        else:
            joined.append(visit)
    return joined


def compare(run: Run) -> Compared:
    """With all sessions always under way, a tick takes sessions over rate (Little's law); what comes after its picture
    is no part of the latency. One process does one tick after the other. Where things are done beside each other, the
    simulated latency is taken."""
    cycle, one = cycle_of_run(run), len(run.layout) == 1
    under_way = min(run.sessions, run.at_once or (1 if one else run.sessions))
    if run.beside:
        found = simulate(cycle, Traffic(run.sessions, under_way, under_way + run.sessions * run.unshown))
        return Compared(run, found.latents_per_s, found.latency_p50_ms)
    rate = simulate(cycle, Traffic(run.sessions, under_way, under_way)).latents_per_s
    shown = next(at for at, visit in enumerate(cycle.main) if visit.shows)
    return Compared(run, rate, under_way / rate * 1e3 - length_ms(cycle.main[shown + 1 :]))


def read_runs(path: Path) -> list[Run]:
    try:
        if path.stat().st_size > MAX_RUNS_BYTES:
            raise PlanError(f"{path}: expected at most {MAX_RUNS_BYTES} bytes of measured runs")
        found = json.loads(path.read_text(encoding="utf-8"))
        runs = [Run.model_validate(run) for run in (found if isinstance(found, list) else [found])]
    except OSError as error:
        raise PlanError(f"{path}: expected measured runs, cannot read them: {error.strerror}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"{path}: expected measured runs in JSON: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PlanError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not runs:
        raise PlanError(f"{path}: expected at least one measured run, got none")
    return runs


def print_comparison(compared: Sequence[Compared]) -> None:
    print("| Device | Stages | Sessions | FPS measured | FPS predicted | Latency measured ms | Latency predicted ms |")
    print("|---|---|---|---|---|---|---|")
    for one in compared:
        run = one.run
        layout = ", ".join(f"{first}-{end - 1}" for first, end in run.layout)
        rate = f"{one.fps:.1f} ({100 * one.rate_error:+.0f} %)"
        latency = f"{one.latency_ms:.1f} ({100 * one.latency_error:+.0f} %)"
        what = f"{run.device or '-'} | {layout} | {run.sessions}"
        print(f"| {what} | {run.fps:.1f} | {rate} | {run.latency_ms:.1f} | {latency} |")
    good = sum(one.within for one in compared)
    print(f"\n{good} of {len(compared)} within {100 * TOLERANCE:.0f} % in rate and in latency")


CPU_LAYOUTS: tuple[tuple[tuple[int, int], ...], ...] = (((0, 8),), ((0, 5), (5, 8)))
WAITING_LAYOUTS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 8),), ((0, 5), (5, 8)), ((0, 3), (3, 8)), ((0, 3), (3, 6), (6, 8)), ((0, 2), (2, 5), (5, 7), (7, 8)),
)  # fmt: skip
WAIT_MS, SESSIONS = 4.0, (1, 2, 3, 6)


def measured_runs(*, cpu: bool) -> list[dict[str, Any]]:
    """Pipelines of one to four stages that wait for their devices, with one to six sessions; with `cpu` of one and two
    that compute, for which two cores must be free."""
    from .rig import RigSpec, measure_rig

    waiting = [RigSpec(layout, layer_wait_ms=WAIT_MS, ticks=30, warm_ticks=4) for layout in WAITING_LAYOUTS]
    computing = [RigSpec(layout) for layout in CPU_LAYOUTS] if cpu else []
    return [run for spec in [*waiting, *computing] for run in measure_rig(spec, SESSIONS)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m nextframe.tools.lab.plan.validate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("files", nargs="*", type=Path, help="measured runs")
    parser.add_argument("--measure", type=Path, metavar="OUT.json", help="measure here first")
    parser.add_argument("--cpu", action="store_true", help="with --measure: stages that compute, too")
    options = parser.parse_args(arguments)
    try:
        if options.measure:
            options.measure.parent.mkdir(parents=True, exist_ok=True)
            options.measure.write_text(json.dumps(measured_runs(cpu=options.cpu), indent=1), encoding="utf-8")
        paths = [*options.files, *([options.measure] if options.measure else [])]
        if not paths:
            raise PlanError("expected a file of measured runs, or --measure OUT.json")
        compared = [compare(run) for path in paths for run in read_runs(path)]
    except (NextframeError, OSError) as error:
        print(f"validate: {error}", file=sys.stderr)
        return 2
    print_comparison(compared)
    return 0 if all(one.within for one in compared) else 1


if __name__ == "__main__":
    sys.exit(main())
