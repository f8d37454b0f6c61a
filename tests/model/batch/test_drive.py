"""Claims about several sessions of the drive world in one batch; its weights here are random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nextframe.controllers.bots import make_bot
from nextframe.model.batch.sessions import BLOCK_ROWS, SessionBatch, TickRequest
from nextframe.runtime.core import Frame, NextframeError
from nextframe.tools.lab.sessions import demo
from nextframe.tools.lab.sessions.many import MultiSession, Player
from nextframe.worlds.drive.world import new_generator
from tests.model.stages.test_guards import small_drive
from tests.support.networks import finished, random_dynamics
from tests.support.worlds.drive import SHORT, drive_folder, random_chase, real_past

TICKS = 5


def join(many: MultiSession, seed: int) -> Player:
    return many.join(seed, make_bot("wander", many.info.actions, seed), many.info.ladder[seed % 3])


def frames_of(seeds: tuple[int, ...], kept: tuple[int, ...] | None = None) -> list[list[Frame]]:
    """By tick, a frame for each of these players, or of those that are kept: the others leave their rows again."""
    many = MultiSession(small_drive(), BLOCK_ROWS, {})
    players = [join(many, seed) for seed in seeds]
    for seed, player in zip(seeds, players, strict=True):
        if kept is not None and seed not in kept:
            many.leave(player)
    return [many.tick() for _ in range(TICKS)]


@pytest.mark.bitexact
def test_every_player_of_the_drive_world_sees_the_frames_of_playing_alone() -> None:
    together = frames_of((0, 1, 2))
    for at in range(3):
        alone = frames_of((0, 1, 2), kept=(at,))
        for frames, (expected,) in zip(together, alone, strict=True):
            assert np.array_equal(frames[at], expected)
    assert not np.array_equal(together[-1][0], together[-1][1]), "players must differ, or this proves nothing"


@pytest.mark.parametrize("steps", [1, 4])
def test_a_session_in_a_batch_is_the_generator_s_up_to_rounding(steps: int) -> None:
    latents, conditions = real_past(2)
    tokenizer: Any = random_chase()
    batch = SessionBatch(tokenizer, random_dynamics(SHORT), BLOCK_ROWS)
    sessions = [batch.join(5 + at, latents[at], conditions[at]) for at in range(2)]
    one = new_generator(tokenizer, random_dynamics(SHORT))
    one.prefill(latents[:1], conditions[:1])
    for tick in range(TICKS):
        given = conditions[:, tick]
        made = batch.advance({session: TickRequest(given[at], steps) for at, session in enumerate(sessions)})
        latent = finished(one.start(given[:1], 5, steps))
        one.commit(latent, given[:1])
        torch.testing.assert_close(made[sessions[0]], latent, rtol=0, atol=1e-4)


def test_bots_play_any_world_of_latents_in_the_demo_and_no_other(tmp_path: Path) -> None:
    folder = drive_folder(tmp_path / "course")
    many = demo.open_sessions(2, [1, 2], "wander", str(folder.path))
    assert [player.denoise_steps for player in many.players] == [1, 2]
    assert many.tick()[0].shape == (192, 256, 3)
    with pytest.raises(NextframeError, match="toy has none"):
        demo.open_sessions(2, [1], "wander", "toy")
