"""The functions of the public face, see docs/api.md. Imported when one of them is first used."""

from __future__ import annotations

from pathlib import Path

from nextframe.runtime.core import Clock, MonotonicClock, World
from nextframe.runtime.session import registry, startup
from nextframe.runtime.session.choices import SessionOptions
from nextframe.runtime.session.outcome import Outcome


def world_names() -> list[str]:
    """The worlds that ship."""
    return registry.world_names()


def open_world(name: str | Path, *, seed: int = 0, clock: Clock | None = None) -> World:
    """A world that is loaded, reset with `seed` and warm; close it when done.

    `name`: one that ships, or the folder of a world. `clock`: what its step gates are asked by; the real one when not
    given. NextframeError: no such world, or its files are wrong.
    """
    found = startup.check_folder(str(name))
    return startup.open_world(found, startup.StartUp(), clock=clock or MonotonicClock(), seed=seed).world


def run_session(options: SessionOptions) -> Outcome:
    """Run a headless session to its end; returns its report and where its files are.

    NextframeError: anything that is wrong with the options or the world; most of it before anything is loaded.
    """
    from nextframe.runtime.session.headless import run_session as run

    return run(options, startup.StartUp())
