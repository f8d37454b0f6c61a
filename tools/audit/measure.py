"""One audit: opens a target, asks all the questions in turn, and returns what was seen."""

from __future__ import annotations

from collections.abc import Callable

from .questions.evidence import Evidence, Ttff
from .questions.memory import memory_test
from .questions.next_frame import next_frame_test
from .questions.options import AuditOptions
from .questions.source import source_test
from .questions.sustained import sustained_test
from .targets.contract import TargetFactory, WhiteBox
from .targets.player import Player


def quiet(message: str) -> None:
    """For who wants no progress."""


def examine(
    target_factory: TargetFactory, options: AuditOptions | None = None, say: Callable[[str], None] = quiet
) -> Evidence:
    """All of the audit on one target, which is closed in the end. `say` is called with each step.

    Raises `TargetError` for a target that cannot be asked; everything else that goes unanswered is in the evidence.
    """
    options = options or AuditOptions()
    clock = options.clock
    began_ns = clock.now_ns()
    say("first frame")
    target = target_factory()
    opened_ns = clock.now_ns()
    try:
        player = Player(target, clock)
        ttff = _ttff(player, options, began_ns, opened_ns)
        seen = next_frame_test(player, options, say)
        sustained = sustained_test(player, options, seen.overlay, say)
        memory = memory_test(player, options, seen, say)
        delay = seen.evidence.first_changed_frame or 1
        copies = max(1, round(1 / max(sustained.unique_share or 1.0, 0.1)))
        source, frames = source_test(player, options, say, delay=delay - 1, copies=copies)
        inventory = tuple(target.inventory()) if isinstance(target, WhiteBox) else ()
        return Evidence(
            target=target.name,
            tick_hz=target.tick_hz,
            next_frame=seen.evidence,
            sustained=sustained,
            ttff=ttff,
            memory=memory,
            source=source,
            inventory=inventory,
            pictures=seen.pictures,
            gallery=frames,
            ticks=player.ticks,
            seconds=(clock.now_ns() - began_ns) / 1e9,
            quick=options.quick,
            notes=_notes(options, white_box=isinstance(target, WhiteBox)),
        )
    finally:
        target.close()


def _ttff(player: Player, options: AuditOptions, began_ns: int, opened_ns: int) -> Ttff:
    """From before the target exists to its first frame. What the auditor itself had loaded before does not count."""
    first_ns = player.start(options.seed_of(0)).at_ns
    again_from_ns = player.clock.now_ns()
    again_ns = player.start(options.seed_of(1)).at_ns
    return Ttff(
        {
            "open": (opened_ns - began_ns) / 1e6,
            "start": (first_ns - opened_ns) / 1e6,
            "total": (first_ns - began_ns) / 1e6,
            "again": (again_ns - again_from_ns) / 1e6,
        }
    )


def _notes(options: AuditOptions, *, white_box: bool) -> tuple[str, ...]:
    notes = [
        "Frames are compared as the target shows them. An answer smaller than a few pixels or a level is not seen.",
        "Responses in ms are at least what the target's own rate makes of their number of frames.",
        "Memory is what the picture still shows of a past input; it may be kept in memory or in the picture itself.",
        "Breadth is limited to the seeds, inputs and prompts that were tried.",
    ]
    if not white_box:
        notes.append("A black box: what it keeps inside could not be listed.")
    if options.quick:
        notes.append("A short audit: fewer moments, shorter scripts; the long one is more certain.")
    return tuple(notes)
