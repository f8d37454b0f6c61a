"""What `--stages` adds to a session: the world over several processes, supervised, and a part of the report."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...core import Clock, ConfigError, NextframeError
from ..registry import WorldFolder, source_of
from ..supervisor import SupervisedWorld, SupervisorLimits
from .device import check_gpu
from .part import SessionPart

if TYPE_CHECKING:
    from ....model.dynamics.slots import DynamicsConfig
    from ....model.stages.kinds import AnyTokenizer
    from ....model.stages.layout import StageLayout
    from ....model.stages.process.processes import StageLimits

AUTO = "auto"


@dataclass(frozen=True)
class StageChoice:
    """`text`: a layout as `nextframe.model.stages.layout` reads it, or auto. `processes`: how many, for auto."""

    text: str
    processes: int | None = None


def stage_choice(
    wanted: str | None, processes: int | None, found: WorldFolder, *, side_by_side: bool = False
) -> StageChoice | None:
    """`--stages` and `--processes`, else what the world's file says; None for everything in this process."""
    text = wanted or found.spec.stages
    if text is None:
        if processes is not None:
            raise ConfigError(f"--processes {processes}: expected --stages auto beside it; it says how many for auto")
        return None
    if (text == AUTO) != (processes is not None) and (processes is not None or wanted is not None):
        raise ConfigError(
            f"--stages {text}: expected --processes with auto and only there, got {processes}; "
            "a layout names its devices itself"
        )
    if found.kind.staged_parts is None:
        raise ConfigError(f"--stages: expected a world of transformer layers, {found.name} has none; leave it out")
    if side_by_side:
        raise ConfigError("--stages: the simulator beside the network runs in one process; leave one of them out")
    return StageChoice(text, processes or 2)


def load_staged(
    found: WorldFolder,
    choice: StageChoice,
    clock: Clock,
    *,
    sessions: int = 1,
    limits: StageLimits | None = None,
    supervision: SupervisorLimits | None = None,
) -> SupervisedWorld:
    """The world over its stage processes. `sessions`: see `build_staged`. Raises ConfigError for a layout that does not
    fit, NextframeError when the processes do not come up."""
    from ....model.stages.process.processes import StageFault, StageStartError
    from ....worlds.neural.staged import build_staged

    source = source_of(found)
    assert found.kind.staged_parts is not None, "stage_choice comes first"
    try:
        staged = build_staged(
            source.info, found.kind.staged_parts(found.path), source.synonyms,
            lambda config, tokenizer: layout_for(choice, config, tokenizer), clock,
            sessions=sessions, limits=limits,
        )  # fmt: skip
    except (StageFault, StageStartError) as error:
        raise NextframeError(f"stages: {error}") from error

    def restart() -> None:
        try:
            staged.restart()
        except StageStartError as error:
            raise NextframeError(f"stages: a restart failed: {error}") from error

    period_ns = int(Fraction(1_000_000_000) / found.spec.tick_hz)
    return SupervisedWorld(staged, StageFault, restart, period_ns=period_ns, limits=supervision)


def layout_for(choice: StageChoice, config: DynamicsConfig, tokenizer: AnyTokenizer) -> StageLayout:
    """The layout asked for; for auto the one that is best balanced by costs measured now. Raises ConfigError."""
    from ....model.stages.costs import measured_costs
    from ....model.stages.layout import LayoutError, balanced, parse_layout

    try:
        if choice.text != AUTO:
            layout = parse_layout(choice.text, config.layers)
            _check_devices(layout)
            return layout
        processes = choice.processes or 2
        if not 1 <= processes <= config.layers:
            raise LayoutError(f"stages: expected 1 to {config.layers} processes, one a layer at most, got {processes}")
        return balanced(measured_costs(config, tokenizer), auto_devices(processes))
    except LayoutError as error:
        raise ConfigError(str(error)) from error


def _check_devices(layout: StageLayout) -> None:
    """That this machine has the GPUs that are named; of launched processes each sees its own host's."""
    from ....model.stages.process.hosts import launched

    for device in layout.devices:
        kind, _, index = device.partition(":")
        if kind == "cuda" and launched() is None:
            check_gpu(f"--stages: {device}", int(index))


def auto_devices(processes: int) -> list[str]:
    """A GPU for each process where there are so many, else the processor for all. Of launched processes each takes one
    of its own host."""
    import torch

    from ....model.stages.process.hosts import launched

    kind = "cuda" if torch.cuda.device_count() >= (processes if launched() is None else 1) else "cpu"
    return [f"{kind}:{at}" for at in range(processes)]


class StagesPart(SessionPart):
    """The report of a world over several processes. `world`: as `load_staged` gave it."""

    def __init__(self, world: SupervisedWorld) -> None:
        self._world = world

    def as_report(self) -> dict[str, Any]:
        inner: Any = self._world.inner
        layout = inner.stages.layout
        return {"stages": {"layout": str(layout), "processes": layout.processes, **self._world.as_report()}}


def summary(stages: dict[str, Any]) -> str:
    """The `stages` of a report in one line."""
    count = stages["fault_count"]
    text = f"stages: {stages['layout']}; {count or 'no'} fault{'' if count == 1 else 's'}"
    return text if not count else f"{text}, picture held for {stages['held_frames']} frames"
