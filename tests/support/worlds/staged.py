"""A small neural world over real stage processes, its twin in one process, and what can be done to processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.stages.generator import StagedGenerator
from nextframe.model.stages.layout import parse_layout
from nextframe.model.stages.process.processes import StageFault, StageLimits
from nextframe.model.stages.ring import StageWeights
from nextframe.model.tokenizers.scenes.still import SlotTokenizer, TokenizerConfig
from nextframe.runtime.config import world_info
from nextframe.runtime.core import Action, ManualClock, TickPlan, World, WorldInfo
from nextframe.runtime.session.registry import find_world
from nextframe.runtime.session.supervisor import SupervisedWorld, SupervisorLimits
from nextframe.worlds.neural.staged import StagedWorld
from nextframe.worlds.neural.world import NeuralWorld, SeedClips
from tests.support.networks import SMALL, random_dynamics, random_past

FOUR = replace(SMALL, layers=4)
WIDTH_PX, HEIGHT_PX = 128, 96
TWO = "denoise:0-2@cpu:0, denoise:2-4@cpu:1"
THREE = "denoise:0-1@cpu:0, denoise:1-2@cpu:1, denoise:2-4@cpu:2, decode@cpu:1"
EACH = "denoise:0-1@cpu:0, denoise:1-2@cpu:1, denoise:2-3@cpu:2, denoise:3-4@cpu:3, decode@cpu:3"
APART = "denoise:0-3@cpu:0, denoise:3-4@cpu:1, decode@cpu:2"
"""The decoder in a process that runs no layers."""
PATIENT = StageLimits(hang_s=60.0)
"""For what is no test of faults, on a machine that may be busy."""
PERIOD_NS = 50_000_000


def colourful_tokenizer() -> SlotTokenizer:
    """Every number of the scene code is seen in the picture."""
    torch.manual_seed(1)
    tokenizer = SlotTokenizer(TokenizerConfig(HEIGHT_PX, WIDTH_PX))
    with torch.no_grad():
        tokenizer.mean.fill_(0.5)
        tokenizer.basis.normal_(std=0.1)
    return tokenizer


def store_weights(folder: Path) -> StageWeights:
    paths = StageWeights(folder / "dynamics.safetensors", folder / "tokenizer.safetensors")
    save_file(random_dynamics(FOUR).state_dict(), paths.dynamics)
    save_file(colourful_tokenizer().state_dict(), paths.tokenizer)
    return paths


def staged_generator(
    weights: StageWeights,
    text: str,
    *,
    rows: int = 1,
    window: int | None = None,
    sessions: int = 1,
    limits: StageLimits = PATIENT,
) -> StagedGenerator:
    layout = parse_layout(text, FOUR.layers)
    return StagedGenerator(
        colourful_tokenizer(), FOUR, weights, layout, rows=rows, window=window, sessions=sessions, limits=limits
    )


def whole_generator(*, rows: int = 1, window: int | None = None) -> RollingGenerator:
    return RollingGenerator(colourful_tokenizer(), random_dynamics(FOUR), rows, window)


def _info() -> WorldInfo:
    info = world_info(find_world("circuit").spec, config_text="", weights_sha256="0" * 64)
    return replace(info, width_px=WIDTH_PX, height_px=HEIGHT_PX)


def _seeds() -> SeedClips:
    return SeedClips(*random_past(8, rows=5))


def whole_world() -> NeuralWorld:
    return NeuralWorld(_info(), whole_generator(), _seeds(), {}, ManualClock())


@contextmanager
def supervised_world(
    weights: StageWeights,
    text: str = TWO,
    *,
    sessions: int = 1,
    limits: StageLimits = PATIENT,
    supervision: SupervisorLimits | None = None,
) -> Iterator[tuple[SupervisedWorld, StagedGenerator]]:
    generator = staged_generator(weights, text, sessions=sessions, limits=limits)
    try:
        staged = StagedWorld(_info(), generator, _seeds(), {}, ManualClock())
        world = SupervisedWorld(staged, StageFault, staged.restart, period_ns=PERIOD_NS, limits=supervision)
        yield world, generator
    finally:
        generator.close()


def strike(generator: StagedGenerator, number: signal.Signals, stage: int = 1) -> int:
    """Send a signal to a stage process; its process id."""
    pid = generator.processes.pids[stage - 1]
    os.kill(pid, number)
    return pid


def lives(pid: int) -> bool:
    """Whether there is a process of that id, ended but not yet waited for included."""
    return Path(f"/proc/{pid}").exists()


def action_at(tick: int) -> Action:
    """Turns and prompts that change, so that a lost or doubled tick shows."""
    prompt = {3: "rain", 9: "night"}.get(tick)
    return Action(axes={"steer": ((tick * 7) % 11 - 5) / 5, "throttle": 1.0}, prompt=prompt)


def tick_of(world: World, tick: int) -> tuple[bytes, int]:
    """One tick of a quality that changes: its frame, and the checksum after the commit."""
    steps = (1, 2, 4)[tick % 3]
    result = world.advance(action_at(tick), TickPlan(steps, deadline_ns=0))
    result.commit()
    return result.frames[0].tobytes(), world.checksum()


def run_ticks(world: World, first: int, end: int, before: Callable[[int], Any] = lambda tick: None) -> list[Any]:
    made = []
    for tick in range(first, end):
        before(tick)
        made.append(tick_of(world, tick))
    return made
