"""Worlds whose memory in view is what a tick's room goes into: many ticks of wide layers, in few numbers a frame."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch

from nextframe.model.generator.ticks import RollingGenerator
from nextframe.runtime.config import world_info
from nextframe.runtime.core import ManualClock
from nextframe.runtime.session.registry import find_world
from nextframe.worlds.drive.world import dynamics_config, new_generator
from nextframe.worlds.neural.world import NeuralWorld, SeedClips
from tests.support.networks import SMALL, random_dynamics, random_past
from tests.support.worlds.drive import random_chase, real_past
from tests.support.worlds.staged import colourful_tokenizer

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FULL_WINDOW = 1024
WIDE: dict[str, Any] = {"width": 384, "layers": 2, "heads": 2, "window": FULL_WINDOW}


def wide_world(kind: str) -> NeuralWorld:
    """A circuit or a drive world with random weights and a window of minutes, full from the first tick on."""
    info = world_info(find_world(kind).spec, config_text="", weights_sha256="0" * 64)
    if kind == "drive":
        generator = new_generator(random_chase(), random_dynamics(replace(dynamics_config(), **WIDE)))
        latents, conditions = real_past(1, 8)
    else:
        generator = RollingGenerator(colourful_tokenizer(), random_dynamics(replace(SMALL, **WIDE)))
        latents, conditions = random_past(8)
        info = replace(info, width_px=128, height_px=96)
    world = NeuralWorld(info, generator, SeedClips(latents, conditions), {}, ManualClock())
    fill(generator)
    return world


def fill(generator: RollingGenerator) -> None:
    """As after minutes of play, without playing them: keys and values from a fixed draw in every slot."""
    draw = torch.Generator().manual_seed(4)
    layers, rows, heads, slots, tokens, head_dim = generator.memory.keys.shape
    for _ in range(slots):
        keys, values = torch.randn(2, layers, rows, heads, tokens, head_dim, generator=draw).unbind(0)
        generator.memory.write(keys, values)
