"""The look at whether a world answers: which controls get a row, and that a deaf world is told from one that hears."""

from __future__ import annotations

import numpy as np
import torch

from nextframe.model.dynamics.grid import GridConfig, GridDynamics
from nextframe.model.dynamics.grid_linear import Normal
from nextframe.model.generator.grid_generator import GridGenerator
from nextframe.model.tokenizers.frames import FrameConfig, FrameTokenizer
from nextframe.runtime.core import ActionSpace
from nextframe.tools.train.answers import answers, rows_of, sheet
from nextframe.tools.train.data.clips import Clips
from nextframe.tools.train.data.controls import Controls
from nextframe.tools.train.evaluate import HeldOut, long_loop, right

CAR = Controls("box", ActionSpace(axes=("steer", "gas")), low=(-1.0, 0.0), high=(1.0, 1.0), shape=(2,))
WINDOW, TICKS = 3, 9


def world(*, hears: bool) -> tuple[FrameTokenizer, GridDynamics]:
    """Flat grey frames; with `hears`, steering makes them brighter or darker each tick."""
    torch.manual_seed(0)
    tokenizer = FrameTokenizer(FrameConfig(16, 16, 8, 2, 4, 1)).eval().requires_grad_(False)
    tokenizer.mean.fill_(0.5)
    tokenizer.basis.fill_(0.1)
    dynamics = GridDynamics(GridConfig(2, 2, 2, 2, width=16, layers=1, heads=2, window=WINDOW, base="ridge"))
    dynamics.requires_grad_(False).eval()
    return tokenizer, steered(dynamics) if hears else dynamics


def steered(dynamics: GridDynamics) -> GridDynamics:
    """Every number of a latent moves with the first axis."""
    shape = dynamics.config.linear_shape
    last = torch.randn(64, shape.tokens * shape.channels)
    condition = torch.rand(64, 2) * 2 - 1
    normal = Normal(dynamics.base)
    normal.add(last, last, condition, last + 0.2 * condition[:, :1])
    dynamics.base.weight.copy_(normal.solve(1e-4))
    return dynamics


def start() -> HeldOut:
    return HeldOut(
        torch.zeros(1, WINDOW, 16, 16, 3, dtype=torch.uint8), torch.zeros(1, WINDOW, 8), torch.zeros(1, WINDOW, 2)
    )


def test_an_axis_gets_a_row_for_each_end_that_it_has() -> None:
    assert [row.name for row in rows_of(CAR)] == ["idle", "steer -1", "steer +1", "gas +1"]


def test_a_range_beside_zero_is_spread_over_both_sides() -> None:
    pump = Controls("box", ActionSpace(axes=("flow",)), low=(2.0,), high=(5.0,), shape=(1,))
    assert [row.name for row in rows_of(pump)] == ["idle", "flow -1", "flow +1"]


def test_every_button_gets_a_row_until_there_are_enough() -> None:
    pad = Controls("binary", ActionSpace(buttons=tuple("abcdefghij")), shape=(10,))
    rows = rows_of(pad)
    assert [row.name for row in rows] == ["idle", *"abcdefg"]
    assert [row.condition.sum() for row in rows] == [0, *[1] * 7]


def test_a_world_that_hears_its_player_is_told_from_a_deaf_one() -> None:
    for hears in (True, False):
        tokenizer, dynamics = world(hears=hears)
        rows, made, figures = answers(
            lambda count, pair=(tokenizer, dynamics): GridGenerator(*pair, rows=count), CAR, start(), ticks=TICKS
        )
        assert made.shape == (len(rows), TICKS, 16, 16, 3)
        assert list(figures) == ["steer -1", "steer +1", "gas +1"]
        assert figures["gas +1"][str(TICKS)] == 0, "which does nothing in either"
        assert figures["steer -1"][str(TICKS)] == figures["steer +1"][str(TICKS)] == float(hears)
        brightness = made[:, -1].mean(axis=(1, 2, 3))
        assert (brightness[1] < brightness[0] < brightness[2]) == hears


def test_the_sheet_has_a_row_for_each_control_and_white_between() -> None:
    picture = sheet(np.zeros((3, 20, 16, 16, 3), np.uint8), most=5)
    assert picture.shape == (3 * 18 - 2, 5 * 18 - 2, 3)
    assert picture[16].min() == 255
    assert picture[0, 0].max() == 0


# --- how long it stays with the game ------------------------------------------------------------------------------


def test_a_frame_is_the_games_own_up_to_a_few_pixels() -> None:
    real = torch.zeros(4, 64, 64, 3, dtype=torch.uint8)
    made = real.clone()
    made[1] += 40  # everywhere a little
    made[2, :2, :4] = 255  # 8 of 4096 pixels
    made[3, :4, :4] = 255  # 16
    assert right(made, real).tolist() == [True, True, True, False]


def still_clips(episodes: int, ticks: int, *, changes: bool) -> Clips:
    """Grey; where it changes, white from the tenth tick after the start on."""
    episode = np.full((ticks, 16, 16, 3), 128, np.uint8)
    if changes:
        episode[WINDOW + 10 :] = 255
    frames = np.concatenate([episode] * episodes)
    starts = np.arange(0, len(frames), ticks, dtype=np.int64)
    return Clips(frames, np.zeros((len(frames), 2), np.float32), starts)


def test_a_world_is_right_for_as_long_as_it_stays_with_the_game() -> None:
    tokenizer, dynamics = world(hears=False)
    found = [long_loop(tokenizer, dynamics, still_clips(6, WINDOW + 64, changes=changes)) for changes in (False, True)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0]["right"] == {"8": 1.0, "16": 1.0, "32": 1.0, "64": 1.0}
    assert found[1]["right"] == {"8": 1.0, "16": 0.0, "32": 0.0, "64": 0.0}


def test_short_episodes_have_no_long_measure() -> None:
    tokenizer, dynamics = world(hears=False)
    assert long_loop(tokenizer, dynamics, still_clips(6, WINDOW + 63, changes=False)) is None
    assert long_loop(tokenizer, dynamics, still_clips(5, WINDOW + 64, changes=False)) is None
