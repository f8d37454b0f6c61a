"""A full garbage collection in the middle of a session has only the session's own objects to look through."""

from __future__ import annotations

import gc

from nextframe.runtime.tick.heap import settled_heap


def collected_objects() -> int:
    """How many objects a full collection walks now."""
    return len(gc.get_objects())


def test_what_was_loaded_before_is_set_aside_and_given_back() -> None:
    loaded = [[number] for number in range(1000)]
    before = collected_objects()
    with settled_heap():
        assert collected_objects() < before / 2
        mine = [[number] for number in range(10)]
        assert any(thing is mine for thing in gc.get_objects())
        assert not any(thing is loaded for thing in gc.get_objects())
    assert collected_objects() > before / 2
    assert any(thing is loaded for thing in gc.get_objects())


def test_a_session_within_a_session_does_not_end_the_outer_ones_peace() -> None:
    with settled_heap():
        with settled_heap():
            pass
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_it_is_given_back_when_the_session_fails() -> None:
    try:
        with settled_heap():
            raise RuntimeError("a world broke")
    except RuntimeError:
        pass
    assert gc.get_freeze_count() == 0
