"""The audit held against targets whose nature is known: references and traps, many seeds, and what each was taken for.

python -m nextframe.tools.lab.audit.confusion --seeds 20 [--only NAME] [--json F.json]

All runs are on a simulated clock: a tick costs `TICK_COST_NS`, so neither the machine nor its load decides anything.
Exit 0 if nothing was taken for something else, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ....runtime.core import ManualClock
from ....worlds.toy.world import ToyWorld
from ...audit.judge.claims import parse_claim
from ...audit.judge.document import findings_of
from ...audit.judge.verdict import CategoryName, categorise, judge_claim
from ...audit.measure import examine
from ...audit.questions.evidence import Evidence
from ...audit.questions.options import AuditOptions
from ...audit.targets.contract import Target
from ...audit.targets.local import WorldTarget
from .references import BatchTarget, InteractiveTarget, Maker, StreamingTarget
from .traps import (
    DelayedTarget,
    DuplicatingTarget,
    FaceTarget,
    ForgettingTarget,
    HudTarget,
    NoisyTarget,
    PausingTarget,
)

TICK_COST_NS = 5_000_000

Make = Callable[[ManualClock], Target]


@dataclass(frozen=True)
class Subject:
    """A target, the category it belongs to, and claims that must be found true or false of it.

    `open`: must not be proven; whether there is enough evidence to refute it depends on the seed.
    """

    name: str
    make: Make
    category: CategoryName
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


def _toy(kind: Callable[[Maker], Target]) -> Make:
    return lambda clock: kind(Maker(ToyWorld(clock), clock, TICK_COST_NS))


def _white_box(clock: ManualClock) -> Target:
    def cost(stage: str) -> None:
        if stage == "condition":
            clock.advance_ns(TICK_COST_NS)

    return WorldTarget(ToyWorld(clock, cost), clock)


LIVE = ("next-frame control", "responds within 100 ms", "19 FPS")
SUBJECTS = (
    Subject("interactive", _toy(lambda maker: InteractiveTarget(maker, "interactive")), "interactive",
            true=(*LIVE, "TTFF under 100 ms", "survives prompt changes", "no duplicate frames", "broad source")),
    Subject("white box", _white_box, "interactive", true=(*LIVE, "survives prompt changes")),
    Subject("streaming", _toy(StreamingTarget), "streaming",
            true=("19 FPS",), false=("next-frame control", "responds within 4 frames", "responds within 500 ms")),
    Subject("batch", _toy(BatchTarget), "batch", false=("next-frame control", "TTFF under 500 ms")),
    Subject("hud overlay", _toy(HudTarget), "streaming", false=("next-frame control", "responds within 500 ms")),
    Subject("noise", _toy(NoisyTarget), "batch", false=("next-frame control",)),
    Subject("duplicates", _toy(DuplicatingTarget), "interactive", true=("responds within 4 frames",),
            false=("60 FPS", "no duplicate frames"), open=("next-frame control",)),
    Subject("hidden pause", _toy(PausingTarget), "streaming", false=("responds within 500 ms",), open=("19 FPS",)),
    Subject("forgets on prompt", _toy(ForgettingTarget), "interactive",
            true=("next-frame control",), false=("survives prompt changes",)),
    Subject("delayed by 1", _toy(DelayedTarget), "interactive",
            true=("responds within 2 frames",), false=("next-frame control",)),
    Subject("face", lambda clock: FaceTarget(clock, TICK_COST_NS), "interactive",
            true=("next-frame control", "narrow source"), false=("broad source",)),
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One audit of one subject. `wrong`: what was found otherwise than it is, in words; empty if all was right."""

    subject: str
    seed: int
    category: str
    expected: str
    wrong: tuple[str, ...]


def try_subject(subject: Subject, seed: int) -> Trial:
    """Audit the subject with one seed, on a clock of its own."""
    return judge_trial(subject, seed, evidence_of(subject, seed))


def evidence_of(subject: Subject, seed: int) -> Evidence:
    clock = ManualClock()
    options = AuditOptions(quick=True, seed=seed, clock=clock)
    return examine(lambda: subject.make(clock), options, lambda text: None)


def judge_trial(subject: Subject, seed: int, evidence: Evidence) -> Trial:
    """What the evidence is taken for, held against what the subject is."""
    findings = findings_of(evidence)
    category = categorise(findings)
    wrong = [] if category.category == subject.category else [f"category {category.category}: {category.sentence}"]
    for expected, claims in (("proven", subject.true), ("refuted", subject.false)):
        for text in claims:
            verdict = judge_claim(parse_claim(text), findings, category)
            if verdict.outcome != expected:
                wrong.append(f"{text!r} {verdict.outcome}, not {expected}: {verdict.measured}, {verdict.uncertainty}")
    for text in subject.open:
        verdict = judge_claim(parse_claim(text), findings, category)
        if verdict.outcome == "proven":
            wrong.append(f"{text!r} proven: {verdict.measured}, {verdict.uncertainty}")
    return Trial(subject.name, seed, str(category.category), subject.category, tuple(wrong))


def matrix(trials: Iterable[Trial]) -> dict[str, Counter[str]]:
    """Subject -> how often it was taken for each category."""
    rows: dict[str, Counter[str]] = {}
    for trial in trials:
        rows.setdefault(trial.subject, Counter())[trial.category] += 1
    return rows


def as_text(trials: Sequence[Trial]) -> str:
    """The confusion matrix, and a line for each thing that was found otherwise than it is."""
    columns = ("interactive", "streaming", "batch", "None")
    expected = {trial.subject: trial.expected for trial in trials}
    lines = [f"{'is':20}{'of kind':14}" + "".join(f"{'taken for ' + column:>24}" for column in columns)]
    for subject, counts in matrix(trials).items():
        cells = "".join(f"{counts[column] or '·':>24}" for column in columns)
        lines.append(f"{subject:20}{expected[subject]:14}{cells}")
    for trial in trials:
        lines += [f"WRONG {trial.subject}, seed {trial.seed}: {line}" for line in trial.wrong]
    wrong = sum(bool(trial.wrong) for trial in trials)
    return "\n".join([*lines, f"{len(trials)} audits, {wrong} wrong"])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--only", choices=[subject.name for subject in SUBJECTS])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    trials = []
    for subject in SUBJECTS:
        if arguments.only in (None, subject.name):
            began_s = time.monotonic()
            trials += [try_subject(subject, seed) for seed in range(arguments.seeds)]
            print(f"{subject.name}: {time.monotonic() - began_s:.1f} s", flush=True)
    print(as_text(trials))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + "\n", encoding="utf-8")
    return int(any(trial.wrong for trial in trials))


if __name__ == "__main__":
    raise SystemExit(main())
