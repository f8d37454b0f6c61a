"""The simulator as a `World`: ground truth beside the network, under the same actions (`--side-by-side`).

Owns the adapter from actions to the simulator's controls. No network, no memory but the simulator's state.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ....runtime.core import Action, Clock, Frame, MonotonicClock, Snapshot, StatePart, TickPlan, TickResult, WorldInfo
from ...inventory import plain_bytes
from ...prompts.words import parse_prompt
from .render import Renderer
from .simulator import TIMES, WEATHERS, Controls, Simulator, States

GROUPS = {"weather": WEATHERS, "time": TIMES}
SEED_THROTTLE = 0.5
"""What the driver did in the clips that sessions of the shipped world start from."""


class TeacherWorld:
    """The course's simulator behind the world contract. Denoise steps mean nothing here and cost nothing."""

    def __init__(
        self,
        info: WorldInfo,
        synonyms: Mapping[str, str],
        clock: Clock | None = None,
        origins: Sequence[Sequence[int]] = (),
    ) -> None:
        """`origins`: where each seed clip of the network came from (seed, weather, time, ticks), to start there too."""
        self.info = info
        self._origins, self._synonyms = origins, synonyms
        self._clock = clock or MonotonicClock()
        self._simulator = Simulator()
        self._renderer = Renderer(self._simulator)
        self._awaits_commit = False
        self.reset(0)

    @property
    def states(self) -> States:
        """The one session's."""
        return self._states

    @property
    def prompt(self) -> str:
        targets = {"weather": self._states.weather_target, "time": self._states.time_target}
        return " ".join(words[int(targets[name][0])] for name, words in GROUPS.items())

    def reset(self, seed: int) -> Frame:
        if not self._origins:
            return self.start_from(self._simulator.reset([seed], weather=0, time=0))
        sim_seed, weather, time, ticks = self._origins[seed % len(self._origins)]
        states = self._simulator.reset([sim_seed], weather=weather, time=time)
        for _ in range(ticks):
            states = self._simulator.step(states, Controls.of(throttle=SEED_THROTTLE))
        return self.start_from(states)

    def start_from(self, states: States) -> Frame:
        """Continue from a state of the simulator; returns its picture."""
        self._states, self._awaits_commit = states, False
        self._frame = self._renderer.draw(states)
        return self._frame.copy()

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        assert not self._awaits_commit, "advance before the commit of the tick before"
        began_ns = self._clock.now_ns()
        chosen = parse_prompt(action.prompt or "", GROUPS, self._synonyms).chosen
        asked = {name: words.index(chosen[name]) if name in chosen else -1 for name, words in GROUPS.items()}
        steer, throttle, brake = (action.axis(name) for name in ("steer", "throttle", "brake"))
        states = self._simulator.step(self._states, Controls.of(steer, max(throttle, 0), max(brake, 0), **asked))
        stepped_ns = self._clock.now_ns()
        frame = self._renderer.draw(states)
        drawn_ns = self._clock.now_ns()

        def commit() -> None:
            assert self._awaits_commit, "a tick is committed once"
            self._states, self._frame = states, frame
            self._awaits_commit = False

        self._awaits_commit = True
        stage_ns = {"condition": stepped_ns - began_ns, "denoise": 0, "decode": drawn_ns - stepped_ns}
        return TickResult([frame.copy()], plan.denoise_steps, stage_ns, (), commit)

    def snapshot(self) -> Snapshot:
        assert not self._awaits_commit, "snapshot between advance and commit"
        return {"states": {name: part.copy() for name, part in vars(self._states).items()}, "frame": self._frame.copy()}

    def restore(self, snapshot: Snapshot) -> None:
        state: dict[str, Any] = dict(snapshot)
        self._states = States(**{name: part.copy() for name, part in state["states"].items()})
        self._frame, self._awaits_commit = state["frame"].copy(), False

    def checksum(self) -> int:
        crc = 0
        for part in vars(self._states).values():
            crc = zlib.crc32(np.ascontiguousarray(part).tobytes(), crc)
        return zlib.crc32(self._frame.tobytes(), crc)

    def state_inventory(self) -> list[StatePart]:
        return [
            StatePart("states", plain_bytes(dict(vars(self._states))), horizon_ticks=None),
            StatePart("frame", self._frame.nbytes, horizon_ticks=0),
        ]

    def warm_up(self) -> None:
        """Nothing compiles here."""

    def close(self) -> None:
        """Nothing is held open."""
