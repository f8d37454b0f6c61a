"""Signals as commands take them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from nextframe.runtime.session.terminal import STOPS, Signals, ended_like_ctrl_c, heeded


@pytest.fixture(autouse=True)
def nothing_ignored() -> Iterator[None]:
    """Also where the tests themselves run under nohup or in the background."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOPS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_closed_terminal_is_no_stop_where_that_is_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert heeded() == [number for number in STOPS if number != signal.SIGHUP]


@pytest.mark.parametrize("number", STOPS)
def test_a_stop_ends_a_command_as_ctrl_c_does_and_what_it_began_is_closed(number: int) -> None:
    before, closed = signal.getsignal(number), ExitStack()
    done: list[str] = []
    closed.callback(done.append, "closed")
    with pytest.raises(KeyboardInterrupt), ended_like_ctrl_c(), closed:
        os.kill(os.getpid(), number)
    assert done == ["closed"]
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", STOPS)
def test_a_session_stops_at_the_first_and_is_interrupted_by_the_second(number: int) -> None:
    with Signals() as signals:
        os.kill(os.getpid(), number)
        assert signals.received
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
