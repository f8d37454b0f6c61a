"""Where clips to learn from are drawn: around what the network still says wrong, and from anywhere."""

from __future__ import annotations

import pytest
import torch

from model.dynamics import Dynamics
from tools import hard_clips
from tools.freedoom.train_walk import objective
from tools.freedoom.walks import walks
from tools.hard_clips import CLIP_TICKS, SETTLED_TICKS, draw_clips, unjudged, wrongness
from worlds.freedoom.walk import Walk
from worlds.freedoom.world import dynamics_config


def test_the_tick_that_nobody_could_foresee_is_the_most_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_clips, "JUDGED", 3)
    torch.manual_seed(0)
    dynamics = Dynamics(dynamics_config())
    latents, conditions = (torch.from_numpy(part) for part in walks(Walk(), 4, 2 * CLIP_TICKS + 3, seed=1))
    torch.manual_seed(0)
    before = wrongness(dynamics, objective, latents, conditions)
    latents[2, CLIP_TICKS + 9 :, -6:-4] += 0.5  # from then on somewhere else
    torch.manual_seed(0)
    wrong = wrongness(dynamics, objective, latents, conditions)
    assert wrong.shape == (3, latents.shape[1])
    assert divmod(int((wrong - before).argmax()), wrong.shape[1]) == (2, CLIP_TICKS + 9)
    assert not wrong[:, 2 * CLIP_TICKS :].any(), "what is left over makes no clip"
    assert not wrong[:, CLIP_TICKS : CLIP_TICKS + 2].any(), "a clip knows nothing at first"


@pytest.mark.parametrize("tick", [0, 30, 79])
def test_clips_are_drawn_around_what_is_wrong(tick: int) -> None:
    wrong = torch.zeros(6, 80)
    wrong[3, tick] = 1.0
    rows, ticks = draw_clips(wrong, 6, 64, hard=1.0)
    assert (rows == 3).all()
    assert ticks.shape == (64, CLIP_TICKS)
    assert ((ticks >= 0) & (ticks < 80)).all()
    place = tick - ticks[:, 0]
    assert ((place >= min(tick, SETTLED_TICKS)) & (place < CLIP_TICKS)).all()


def test_the_others_are_drawn_from_anywhere_also_from_episodes_that_nobody_judged() -> None:
    wrong = torch.zeros(6, 80)
    wrong[3, 30] = 1.0
    torch.manual_seed(0)
    rows, ticks = draw_clips(wrong, 40, 400, hard=0.5)
    assert 160 < (rows == 3).sum() < 240
    assert rows.max() > 30
    assert len(ticks[:, 0].unique()) > 40


def test_before_there_is_a_network_all_ticks_are_alike() -> None:
    torch.manual_seed(0)
    rows, ticks = draw_clips(unjudged(torch.zeros(6, 80, 5)), 6, 400, hard=1.0)
    assert len(rows.unique()) == 6
    assert len(ticks[:, 0].unique()) > 40
