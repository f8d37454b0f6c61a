"""A neural world small enough to test with: random networks behind the circuit's controls and prompts."""

from __future__ import annotations

from dataclasses import replace

import torch

from nextframe.model.generator.ticks import RollingGenerator
from nextframe.model.tokenizers.scenes.still import SlotTokenizer, TokenizerConfig
from nextframe.runtime.config import world_info
from nextframe.runtime.core import ManualClock
from nextframe.runtime.session.registry import find_world
from nextframe.worlds.neural.world import NeuralWorld, SeedClips
from tests.support.networks import SMALL, random_dynamics, random_past

SMALL_WINDOW_TICKS = SMALL.window
WIDTH_PX, HEIGHT_PX = 128, 96
_CLIPS, _CLIP_TICKS = 5, 8


def small_neural() -> NeuralWorld:
    """6 remembered ticks, 128x96 px, about 2 ms a tick. Every call makes networks of its own, to be broken freely."""
    info = world_info(find_world("circuit").spec, config_text="", weights_sha256="0" * 64)
    latents, conditions = random_past(_CLIP_TICKS, rows=_CLIPS)
    generator = RollingGenerator(_colourful_tokenizer(), random_dynamics())
    return NeuralWorld(
        replace(info, width_px=WIDTH_PX, height_px=HEIGHT_PX), generator, SeedClips(latents, conditions), {},
        ManualClock(),
    )  # fmt: skip


def _colourful_tokenizer() -> SlotTokenizer:
    """Every number of the scene code is seen in the picture; a new tokenizer would draw black until it is trained."""
    torch.manual_seed(1)
    tokenizer = SlotTokenizer(TokenizerConfig(HEIGHT_PX, WIDTH_PX))
    with torch.no_grad():
        tokenizer.mean.fill_(0.5)
        tokenizer.basis.normal_(std=0.1)
    return tokenizer
