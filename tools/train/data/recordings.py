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
    from ....runtime.recording.reader import read_replay
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
    from ....runtime.recording.playback import Playback, ReplayVerifier, check_fits, check_steps, go_to_start, span_of
    from ....runtime.recording.reader import read_replay
    from ....runtime.session.playback import open_recorded

    replay = read_replay(path)
    span = span_of(replay, path)
    opened = open_recorded(replay.header, None)
    try:
        check_fits(replay, opened.info)
        check_steps(replay, path)
        go_to_start(opened.world, replay, span, path)
        frames: list[Frame] = []
        prompts: list[str] = []
        verifier = ReplayVerifier(replay, span.start, span.last)
        playback = Playback(replay, opened.world, verifier, span.start)
        while playback.tick < span.last:
            frames += map(resize, playback.advance())
            prompts.append(opened.world.prompt)
    finally:
        opened.world.close()
    if verifier.first_difference is not None:
        raise NextframeError(f"{path}: the session does not come out as recorded: {verifier.first_difference}")
    if len(frames) != len(replay.ticks):
        raise NextframeError(f"{path}: expected a frame for each of {len(replay.ticks)} ticks, got {len(frames)}")
    told = Prompts(controls.space, opened.found.synonyms)
    conditions = [told.condition(tick.action, prompt) for tick, prompt in zip(replay.ticks, prompts, strict=True)]
    resets = [tick.reset_seed is not None for tick in replay.ticks]
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

    def condition(self, action: Action, prompt: str) -> NDArray[np.float32]:
        """`prompt`: in force in this tick, with what its action asks for."""
        self._say(prompt)
        self._say(action.prompt)
        values = [action.axis(axis) for axis in self._space.axes]
        values += [float(button in action.buttons) for button in self._space.buttons]
        for group, words in self._space.prompts.items():
            values += [float(self._now[group] == word) for word in words]
        assert len(values) == len(condition_names(self._space))
        return np.array(values, np.float32)
