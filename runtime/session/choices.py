"""What a session was asked for, and what it is made of: controller, quality, recorder, deadline, checked early."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from ...controllers.bots import IdleController, make_bot
from ...controllers.scripted import ScriptedController, load_script
from ..core import Action, ConfigError, Controller, ReplayError, Snapshot
from ..governor.choice import ADAPTIVE, QualityChoice, governor_choice
from ..loop import NullRecorder, Recorder
from .registry import WorldFolder
from .startup import OpenWorld, checked_prompt

SNAPSHOT_EVERY_S = 10
"""Between the snapshots in a recording: playing from any tick costs at most so much of the session again."""


@dataclass(frozen=True)
class PlayedOptions:
    """What `run` and `play` both take.

    `steps`: denoise steps of every tick, adaptive when not given. `load`: cost to put into every tick, as
    `nextframe.runtime.load.text` reads it. `ahead`: begin ticks on guessed input while waiting. `drift`: off, log,
    renoise or reanchor; log where there is a drift bank when not given. `stages`, `processes`: over several processes,
    see `nextframe.runtime.session.parts.stages`. `device`: see `nextframe.runtime.session.parts.device`.
    """

    world: str
    _: KW_ONLY
    seed: int = 0
    steps: int | None = None
    prompt: str | None = None
    side_by_side: bool = False
    record: Path | None = None
    overwrite: bool = False
    out: Path = Path("out")
    load: str | None = None
    trace: Path | None = None
    metrics_port: int | None = None
    saves: Path | None = None
    load_slot: str | None = None
    ahead: bool = False
    drift: str | None = None
    stages: str | None = None
    processes: int | None = None
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class SessionOptions(PlayedOptions):
    """What `nextframe run` was asked for. Exactly one of `script`, `bot` and `idle` is set.

    `quality`: adaptive, fixed:STEPS or trace:FILE; `steps` is short for fixed.
    """

    ticks: int
    script: str | None = None
    bot: str | None = None
    idle: bool = False
    clock: Literal["real", "fixed"] = "real"
    deadline_ms: float | None = None
    video: Path | None = None
    contact_sheet: Path | None = None
    report: Path | None = None
    pictures: bool = True
    warmup_ticks: int = 0
    quality: str | None = None
    save_slot: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlayOptions(PlayedOptions):
    """What `nextframe play` was asked for. `ticks`: end after so many. `smooth`: linear scaling of the picture."""

    smooth: bool = False
    bindings: Path | None = None
    ticks: int | None = None


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

    `live`: the clock does not wait, so the ticks must not wait for the disk.
    """
    if path is None:
        return NullRecorder()
    from ..recording.format import header_for
    from ..recording.writer import ReplayWriter

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
