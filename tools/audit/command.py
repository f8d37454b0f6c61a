"""`nextframe audit`: from a target's name to verdicts, files and an exit code. Composition root of the audit."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.core import ActionSpace, Clock, MonotonicClock, NextframeError
from ...runtime.session.parts.stages import StageChoice, load_staged, stage_choice
from ...runtime.session.python_world import PYTHON, call_factory, python_factory
from ...runtime.session.registry import source_of
from ...runtime.session.startup import WorldFolder, check_folder, cpu_name, load_world, prepare_torch
from .judge.claims import Claims, load_claims
from .judge.document import build_document, findings_of, write_document
from .judge.verdict import categorise, exit_code, judge, responds_later_than
from .measure import examine
from .page.html import write_page
from .page.pictures import pictures_json
from .page.words import answers_of, cards_of
from .questions.options import AuditOptions
from .targets.contract import Target, TargetFactory
from .targets.local import EnvTarget, WorldTarget
from .targets.process import ProcessTarget

PROCESS = "process:"

Say = Callable[[str], None]


@dataclass(frozen=True)
class AuditCommand:
    """What `nextframe audit` was asked for.

    `target`: a world's name or folder, `python:module:factory`, or `process:COMMAND`. `out`: a folder for audit.json
    and audit.html. `max_response_frames`: a response later than this frame is a failure (1: the next frame).
    `stages`, `processes`: a world over several processes, see `nextframe.runtime.session.parts.stages`.
    """

    target: str
    claims: Path | None = None
    out: Path = Path("out/audit")
    quick: bool = False
    seed: int = 0
    max_response_frames: int | None = None
    page: bool = True
    stages: str | None = None
    processes: int | None = None


@dataclass(frozen=True)
class Subject:
    """A target that can be opened, a simulator as truth where there is one, and what is said of the machine."""

    factory: TargetFactory
    truth: TargetFactory | None
    env: Mapping[str, object]


def run_audit(command: AuditCommand, say: Say = print, progress: Say = lambda text: None) -> int:
    """Audit the target, write the document and the page, say what was found; returns the exit code of docs/audit.md.

    `say`: lines of the result. `progress`: what is being done. NextframeError (exit code 2) for a claims file, a name
    or a target that is wrong; mistakes that can be seen without running anything are found first.
    """
    if command.max_response_frames is not None and command.max_response_frames < 1:
        raise NextframeError(
            f"--max-response-frames: expected at least 1, the next frame, got {command.max_response_frames}"
        )
    claims = load_claims(command.claims) if command.claims else Claims("", "", ())
    clock = MonotonicClock()
    subject = subject_of(command.target, clock, command.stages, command.processes)
    options = AuditOptions(quick=command.quick, seed=command.seed, clock=clock, truth=subject.truth)
    evidence = examine(subject.factory, options, progress)
    findings = findings_of(evidence)
    category = categorise(findings)
    verdicts = judge(claims.claims, findings, category)
    code = exit_code(category, verdicts, findings, command.max_response_frames)
    document = build_document(
        evidence, findings, category, verdicts,
        env=subject.env, max_response_frames=command.max_response_frames, exit_code=code,
    )  # fmt: skip
    written = [write_document(document, command.out / "audit.json")]
    if command.page:
        written.append(write_page(document, command.out / "audit.html", pictures_json(evidence)))
    for line in summary(document):
        say(line)
    if command.max_response_frames is not None and responds_later_than(findings, command.max_response_frames):
        say(f"the response is later than frame {command.max_response_frames}, which was asked for")
    for path in written:
        say(f"wrote {path}")
    return code


def summary(document: Mapping[str, Any]) -> list[str]:
    """The document in a dozen lines for a terminal."""
    lines = [document["category_sentence"], ""]
    lines += [f"  {card['label']}: {card['text']} {card['unit']}".rstrip() for card in cards_of(document)]
    lines.append("")
    lines += [f"  {answer['question']} {answer['short']}. {answer['long']}" for answer in answers_of(document)]
    if document["claims"]:
        lines.append("")
    for claim in document["claims"]:
        evidence = claim["evidence"]
        sure = f"; {evidence['uncertainty']}" if evidence["uncertainty"] else ""
        lines.append(f"  {claim['verdict']:13}{claim['claim']}: {evidence['measured']}{sure}")
    return lines


# --- targets by name ---------------------------------------------------------------------------------------------


def subject_of(name: str, clock: Clock, stages: str | None = None, processes: int | None = None) -> Subject:
    """From a name to something that can be opened. NextframeError for a name that means nothing."""
    if name.startswith((PYTHON, PROCESS)) and (stages is not None or processes is not None):
        raise NextframeError(f"--stages: expected a world, {name} has no layers that could be placed from here")
    machine: dict[str, object] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_name(),
    }
    if name.startswith(PYTHON):
        factory = python_factory(name)
        text = name.removeprefix(PYTHON)
        return Subject(lambda: as_target(call_factory(factory, clock), text, clock), None, machine)
    if name.startswith(PROCESS):
        return Subject(process_factory(name.removeprefix(PROCESS), clock), None, machine)
    found = check_folder(name)
    choice = stage_choice(stages, processes, found)
    if found.spec.weights:
        machine |= {"device": "cpu", **prepare_torch()}
    return Subject(lambda: WorldTarget(_warm(found, clock, choice), clock), truth_of(found, clock), machine)


def _warm(found: WorldFolder, clock: Clock, stages: StageChoice | None) -> Any:
    world = load_world(found, clock) if stages is None else load_staged(found, stages, clock)
    world.warm_up()
    return world


def truth_of(found: WorldFolder, clock: Clock) -> TargetFactory | None:
    """The world's simulator under the same controls and seeds, where it has one."""
    teacher = found.kind.teacher
    if teacher is None:
        return None
    return lambda: WorldTarget(teacher(source_of(found), clock), clock)


def process_factory(text: str, clock: Clock) -> TargetFactory:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise NextframeError(f"process:{text}: expected a command line: {error}") from error
    if not words:
        raise NextframeError("process: expected a command after the colon, such as process:'python my_wrapper.py'")
    return lambda: ProcessTarget(words, clock=clock)


def as_target(made: Any, name: str, clock: Clock) -> Target:
    """A `Target` as it is, a nextframe world as a white box, anything with `reset`, `step` and `actions` wrapped."""
    if callable(getattr(made, "start", None)) and callable(getattr(made, "step", None)):
        target: Target = made
        return target
    if callable(getattr(made, "advance", None)) and hasattr(made, "info"):
        return WorldTarget(made, clock)
    actions = getattr(made, "actions", None)
    if not isinstance(actions, ActionSpace):
        raise NextframeError(
            f"python:{name}: expected the object to name its controls as `actions`, a runtime.core.ActionSpace, got "
            f"{actions!r}; add it, or return an EnvTarget"
        )
    hz, act = getattr(made, "tick_hz", None), getattr(made, "act", None)
    return EnvTarget(made, actions, name=name, tick_hz=hz, act=act, clock=clock)
