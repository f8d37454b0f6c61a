"""Data from recorded sessions: each `.nfr` is played again, and its frames and actions are kept.

A recording holds no frames, only inputs and checksums; its world makes them again, bit for bit, and a recording that
does not come out the same is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....runtime.core import Action, ActionSpace, Frame, NextframeError
from .clips import Clips, Resizer, as_clips, condition_names
from .controls import Controls


@dataclass(frozen=True)
class Sessions:
    """What recordings of one world have in common."""

    controls: Controls
    tick_hz: Any
    height_px: int
    width_px: int
    world: str


def sessions_of(paths: Sequence[Path]) -> Sessions:
    """Read the headers; all must be of one world."""
    from ....runtime.recording.facade import read_replay
    from ....runtime.session.startup import check_folder

    headers = [read_replay(path).header for path in paths]
    names = sorted({header.world for header in headers})
    if len(names) != 1:
        raise NextframeError(f"--from-recordings: expected recordings of one world, got {', '.join(names)}")
    spec = check_folder(names[0]).spec
    controls = Controls("recorded", spec.action_space())
    return Sessions(controls, headers[0].tick_hz, spec.height_px, spec.width_px, names[0])


def recording_clips(paths: Sequence[Path], sessions: Sessions, size_px: tuple[int, int]) -> Iterator[Clips]:
    """One `Clips` per recording; a reset inside begins a new episode."""
    for path in paths:
        yield _played(path, sessions.controls, Resizer(*size_px))


def _played(path: Path, controls: Controls, resize: Resizer) -> Clips:
    from ....runtime.core import FixedClock
    from ....runtime.recording.facade import ReplayVerifier, check_fits, read_replay
    from ....runtime.session.playback import PlaybackOptions, check_steps, go_to_start, open_recorded, playing, span_of

    replay, clock = read_replay(path), FixedClock()
    span = span_of(replay, PlaybackOptions(path))
    opened = open_recorded(replay.header, None, clock)
    try:
        check_fits(replay, opened.info)
        check_steps(replay, path)
        go_to_start(opened.world, replay, span, path)
        frames: list[Frame] = []
        said: list[str] = []

        def keep(frame: Frame) -> None:
            frames.append(resize(frame))
            said.append(str(getattr(opened.world, "prompt", "")))  # in force before this tick

        verifier = ReplayVerifier(replay, span.start, span.last)
        loop = playing(replay, opened.world, clock, sinks=[keep], recorder=verifier)
        loop.tick = span.start
        loop.run(span.ticks)
    finally:
        opened.world.close()
    if verifier.first_difference is not None:
        raise NextframeError(f"{path}: the session does not come out as recorded: {verifier.first_difference}")
    if len(frames) != len(replay.ticks):
        raise NextframeError(f"{path}: expected a frame for each of {len(replay.ticks)} ticks, got {len(frames)}")
    prompts = Prompts(controls.space, opened.found.synonyms)
    pairs = zip(replay.ticks, said, strict=True)
    conditions = [prompts.condition(tick.action, before) for tick, before in pairs]
    resets = [bool(tick.event and "reset" in tick.event) for tick in replay.ticks]
    return as_clips(_episodes(frames, conditions, resets))


def _episodes(
    frames: list[Frame], conditions: list[NDArray[np.float32]], resets: list[bool]
) -> Iterator[dict[str, list[Any]]]:
    begins = [0, *(at for at in range(1, len(frames)) if resets[at])]
    for a, b in zip(begins, [*begins[1:], len(frames)], strict=True):
        if b - a > 1:
            yield {"frames": frames[a:b], "conditions": conditions[a:b]}


class Prompts:
    """Conditions of a session in the order of `nextframe.worlds.neural.world`, with the prompt in force."""

    def __init__(self, space: ActionSpace, synonyms: Any) -> None:
        self._space, self._synonyms = space, synonyms
        self._now = {group: words[0] for group, words in space.prompts.items()}

    def _say(self, text: str | None) -> None:
        from ....worlds.prompts.words import parse_prompt

        if text:
            self._now |= parse_prompt(text, self._space.prompts, self._synonyms).chosen

    def condition(self, action: Action, before: str) -> NDArray[np.float32]:
        """`before`: the prompt in force before this tick."""
        self._say(before)
        self._say(action.prompt)
        values = [action.axis(axis) for axis in self._space.axes]
        values += [float(button in action.buttons) for button in self._space.buttons]
        for group, words in self._space.prompts.items():
            values += [float(self._now[group] == word) for word in words]
        assert len(values) == len(condition_names(self._space))
        return np.array(values, np.float32)
