"""Claims about pools and clips that all recipes share."""

from __future__ import annotations

import torch

from nextframe.worlds.recipe.clips import Clips, OwnEpisodes, Pool, last_replaced, replaced


def own(ticks: int = 9) -> OwnEpisodes:
    values = torch.arange(3 * ticks).view(3, ticks, 1).float()
    return OwnEpisodes(values + 1, values + 2, values + 3, values[..., 0])


def teachers(batch: int = 4, ticks: int = 5) -> Clips:
    zeros = torch.zeros(batch, ticks, 1)
    return Clips(zeros, zeros, zeros, torch.zeros(batch, dtype=torch.bool))


def test_a_pool_is_filled_at_once_made_anew_as_training_goes_on_and_forgets_the_oldest() -> None:
    made: list[tuple[int, int]] = []
    pool = Pool(lambda seed, number: made.append((seed, number)) or number, least=2, most=3, every_s=10.0)
    assert pool.at(100.0) == [0, 1]
    assert made == [(100, 0), (101, 1)]
    assert pool.at(109.9) == [0, 1]
    assert pool.at(110.0) == [0, 1, 2]
    assert pool.at(125.0) == [1, 2, 3]
    assert pool.any(125.0) in {1, 2, 3}


def test_replaced_rows_are_one_episode_at_the_same_ticks_and_the_others_stay() -> None:
    mixed = replaced(teachers(), own(), 1, 3)
    assert mixed.dreamt.tolist() == [False, True, True, False]
    assert not mixed.targets[[0, 3]].any()
    for row in (1, 2):
        assert torch.equal(mixed.targets[row], mixed.histories[row] + 1)
        assert torch.equal(mixed.conditions[row], mixed.histories[row] + 2)
        assert torch.equal(mixed.targets[row].diff(dim=0), torch.ones(4, 1))


def test_nothing_of_the_clips_that_were_given_is_changed() -> None:
    given = teachers()
    assert last_replaced(given, own(), 0.5).dreamt.tolist() == [False, False, True, True]
    assert not given.targets.any()
    assert not given.dreamt.any()
