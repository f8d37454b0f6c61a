"""Claims about waiting for messages of processes that may be gone: an end is always found."""

from __future__ import annotations

import threading

import pytest

from nextframe.model.stages.process import carrier as stage_carrier
from nextframe.model.stages.process.carrier import Carrier
from nextframe.model.stages.process.link import LinkError


def fails() -> None:
    raise LinkError("the other end is gone")


def test_what_was_carried_comes_back_and_so_does_what_went_wrong() -> None:
    carrier = Carrier()
    assert carrier.carry(lambda: 5, lambda: False) == 5
    with pytest.raises(LinkError, match="the other end is gone"):
        carrier.carry(fails, lambda: False)
    assert carrier.carry(lambda: 6, lambda: True) == 6
    carrier.close()


def test_a_wait_that_never_ends_is_left_once_the_group_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_carrier, "GRACE_S", 0.01)
    carrier, never = Carrier(), threading.Event()
    with pytest.raises(LinkError, match="still under way"):
        carrier.carry(never.wait, lambda: True)
    never.set()
    carrier.close()


def test_negative_control_while_the_group_lives_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_carrier, "LOOK_S", 0.001)
    carrier, arrived, looks = Carrier(), threading.Event(), []

    def gone() -> bool:
        looks.append(0)
        if len(looks) == 5:
            arrived.set()
        return False

    assert carrier.carry(arrived.wait, gone) is True
    assert len(looks) >= 5
    carrier.close()
