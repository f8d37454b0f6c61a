"""What a session is made of: controller, governor, recorder, deadline, report; chosen from options and checked early.

Owns the choices. Knows nothing of windows or of what is done with the parts. Part of the composition root.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ...controllers.bots import IdleController, make_bot
from ...controllers.scripted import ScriptedController, load_script
from ..core import Action, ConfigError, Controller, NextframeError, ReplayError, Snapshot
from ..governor.choice import ADAPTIVE, QualityChoice, governor_choice
from ..loop import NullRecorder, Recorder, period_ns
from .registry import WorldFolder
from .startup import OpenWorld, checked_prompt

SNAPSHOT_EVERY_S = 10
"""Between the snapshots in a recording: playing from any tick costs at most so much of the session again."""


class ControllerOptions(Protocol):
    """Exactly one of `script`, `bot` and `idle` is set."""

    @property
    def script(self) -> str | None: ...

    @property
    def bot(self) -> str | None: ...

    @property
    def idle(self) -> bool: ...

    @property
    def seed(self) -> int: ...

    @property
    def prompt(self) -> str | None: ...


class FirstPrompt:
    """Another controller, with a prompt said on the first tick."""

    def __init__(self, controller: Controller, prompt: str) -> None:
        self._controller, self._prompt = controller, prompt
        self.last_input_ns: int | None = None

    def poll(self, tick: int) -> Action:
        action = self._controller.poll(tick)
        return replace(action, prompt=self._prompt) if tick == 0 and action.prompt is None else action

    def close(self) -> None:
        self._controller.close()


def make_controller(options: ControllerOptions, found: WorldFolder) -> Controller:
    """The source of actions asked for, checked before anything is loaded."""
    actions = found.spec.action_space()
    if (options.script is not None) + (options.bot is not None) + options.idle != 1:
        raise ConfigError("expected exactly one of --script FILE, --bot NAME and --idle")
    controller: Controller = IdleController()
    if options.script is not None:
        controller = ScriptedController(load_script(script_path(options.script, found), actions), actions)
    elif options.bot is not None:
        controller = make_bot(options.bot, actions, options.seed)
    if options.prompt is None:
        return controller
    return FirstPrompt(controller, checked_prompt(options.prompt, found))


def script_path(name: str, found: WorldFolder) -> Path:
    """A file, or the name of one of the world's own scripts."""
    own = found.path / "scripts" / f"{name}.yaml"
    return own if own.is_file() and not Path(name).is_file() else Path(name)


def quality_choice(
    quality: str | None, steps: int | None, ladder: Sequence[int], *, timeless: bool = False
) -> QualityChoice:
    """`--quality` or `--steps`, held against the ladder. `timeless`: the clock costs nothing, so top quality is it."""
    if quality is not None and steps is not None:
        raise ConfigError("--quality and --steps exclude each other: --steps K is short for --quality fixed:K")
    if steps is not None:
        if steps not in ladder:
            rungs = ", ".join(map(str, ladder))
            raise ConfigError(f"--steps: this world was trained for {rungs} denoise steps, got {steps}")
        return QualityChoice(f"fixed:{steps}", "fixed", (steps,))
    choice = ADAPTIVE if quality is None else governor_choice(quality)
    if timeless and choice.kind == "adaptive":
        return QualityChoice(f"fixed:{ladder[-1]}", "fixed", (ladder[-1],))
    choice.check(ladder)
    return choice


def make_recorder(
    path: Path | None,
    opened: OpenWorld,
    seed: int,
    *,
    overwrite: bool = False,
    live: bool = True,
    initial_snapshot: Snapshot | None = None,
) -> Recorder:
    """A recording whose first tick follows a reset with `seed`, or the snapshot; a null recorder without a path.

    `live`: the clock waits for nobody, so neither may the ticks for the disk.
    """
    if path is None:
        return NullRecorder()
    from ..recording.facade import ReplayWriter, header_for

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    header = header_for(opened.info, seed=seed, environment=opened.environment, created_utc=now)
    return ReplayWriter(
        path,
        header,
        overwrite=overwrite,
        initial_snapshot=initial_snapshot,
        take_snapshot=opened.world.snapshot,
        snapshot_every_ticks=round(SNAPSHOT_EVERY_S * opened.info.tick_hz),
        live=live,
    )


def check_recording_path(path: Path | None, *, overwrite: bool) -> None:
    """Before the weights load: an earlier recording is not lost by accident."""
    if path is not None and path.exists() and not overwrite:
        raise ReplayError(f"{path}: a file is there already; choose another name, or add --overwrite")


def deadline_of(found: WorldFolder, deadline_ms: float | None) -> int:
    """In ns from release; a whole tick period unless given."""
    return int(period_ns(found.spec.tick_hz)) if deadline_ms is None else round(deadline_ms * 1e6)


def write_report(path: Path, report: dict[str, Any]) -> Path:
    """One JSON document, whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise NextframeError(f"{path}: cannot write the report: {error.strerror or error}") from error
    return path
