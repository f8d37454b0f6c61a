"""Step `machine`: what it is, and what its matrix products and its memory reach."""

from __future__ import annotations

from ..machine import ceilings, describe
from ..step import Context


def run(context: Context) -> None:
    context.note(machine=describe(context.device))
    context.attempt("ceilings", lambda: ceilings(context.device, rehearse=context.rehearse))
