"""The simulator as a `World`: ground truth beside the network, under the same actions (`--side-by-side`).

Owns the adapter from actions to the simulator's controls. No network, no memory but the simulator's state.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ....runtime.core import Action, Clock, Frame, MonotonicClock, Snapshot, StatePart, TickPlan, TickResult, WorldInfo
from ...inventory import plain_bytes
from ...prompts.words import parse_prompt
from .render import Renderer
from .simulator import SEED_CONTROLS, TIMES, WEATHERS, Car, Simulator, State, controls_of

GROUPS = {"weather": WEATHERS, "time": TIMES}


class TeacherWorld:
    """The circuit's simulator behind the world contract. Denoise steps mean nothing here and cost nothing."""

    def __init__(
        self,
        info: WorldInfo,
        synonyms: Mapping[str, str],
        clock: Clock | None = None,
        origins: Sequence[Sequence[int]] = (),
    ) -> None:
        """`origins`: where each seed clip of the network came from (seed, weather, time, ticks), to start there too."""
        self.info = info
        self._origins = origins
        self._synonyms = synonyms
        self._clock = clock or MonotonicClock()
        self._simulator, self._renderer = Simulator(), Renderer()
        self._awaits_commit = False
        self.reset(0)

    @property
    def state(self) -> State:
        return self._state

    @property
    def prompt(self) -> str:
        return f"{self._state.weather_target} {self._state.time_target}"

    def reset(self, seed: int) -> Frame:
        if not self._origins:
            return self.start_from(self._simulator.reset(seed, weather="clear", time="day"))
        sim_seed, weather, time, ticks = self._origins[seed % len(self._origins)]
        state = self._simulator.reset(sim_seed, weather=WEATHERS[weather], time=TIMES[time])
        for _ in range(ticks):
            state = self._simulator.step(state, SEED_CONTROLS)
        return self.start_from(state)

    def start_from(self, state: State) -> Frame:
        """Continue from a state of the simulator; returns its picture."""
        self._state = state
        self._awaits_commit = False
        self._frame = self._renderer.draw(state)
        return self._frame.copy()

    def advance(self, action: Action, plan: TickPlan) -> TickResult:
        assert not self._awaits_commit, "advance before the commit of the tick before"
        began_ns = self._clock.now_ns()
        chosen = parse_prompt(action.prompt or "", GROUPS, self._synonyms).chosen
        axes = {name: action.axis(name) for name in self.info.actions.axes}
        controls = controls_of(
            axes, handbrake="handbrake" in action.buttons, weather=chosen.get("weather"), time=chosen.get("time")
        )
        state = self._simulator.step(self._state, controls)
        stepped_ns = self._clock.now_ns()
        frame = self._renderer.draw(state)
        drawn_ns = self._clock.now_ns()

        def commit() -> None:
            assert self._awaits_commit, "a tick is committed once"
            self._state, self._frame = state, frame
            self._awaits_commit = False

        self._awaits_commit = True
        stage_ns = {"condition": stepped_ns - began_ns, "denoise": 0, "decode": drawn_ns - stepped_ns}
        return TickResult([frame.copy()], plan.denoise_steps, stage_ns, (), commit)

    def snapshot(self) -> Snapshot:
        assert not self._awaits_commit, "snapshot between advance and commit"
        return {"state": plain_state(self._state), "frame": self._frame.copy()}

    def restore(self, snapshot: Snapshot) -> None:
        state: dict[str, Any] = dict(snapshot)
        self._state, self._frame = state_of(state["state"]), state["frame"].copy()
        self._awaits_commit = False

    def checksum(self) -> int:
        return zlib.crc32(self._frame.tobytes(), zlib.crc32(repr(self._state).encode()))

    def state_inventory(self) -> list[StatePart]:
        return [
            StatePart("state", plain_bytes(plain_state(self._state)), horizon_ticks=None),
            StatePart("frame", self._frame.nbytes, horizon_ticks=0),
        ]

    def warm_up(self) -> None:
        """Nothing compiles here."""

    def close(self) -> None:
        """Nothing is held open."""


def plain_state(state: State) -> dict[str, Any]:
    """A simulator state as plain data."""
    return asdict(state) | {"weather": list(state.weather), "time": list(state.time)}


def state_of(plain: Mapping[str, Any]) -> State:
    cars = {name: Car(**plain[name]) for name in ("player", "rival")}
    blends = {name: tuple(plain[name]) for name in ("weather", "time")}
    return State(**{**plain, **cars, **blends})
