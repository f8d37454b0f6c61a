"""How views of the circuit are left and come back: a car under a roof, and a place a lap later.

The camera never moves, so what can be forgotten is the cars: where one is that no roof shows, and whether the picture
still has one where it should. Under a roof a car is unseen for less than the network can see back, so the case beyond
its window is the same weights with a window of 4 ticks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....runtime.core import Frame
from ...evaluation.subjects import Frames, Pair, Return
from ..recipe.data import HELD_OUT_SEED, Episode, drive
from ..teacher.simulator import Car, Controls, State
from .passages import hidden_spans
from .rig import PAST_TICKS, Bench
from .rows import CircuitDream, Drivers

TUNNEL_SEED = HELD_OUT_SEED + 30_000
EPISODE_TICKS = 420
AFTER_TICKS = 2
"""The view is taken so long after the car should be out: half a car in a doorway is no place."""
OTHER_TICKS = 5
"""Views of the same drive that lie so far apart are different ones: two ticks late is still on time for the circuit's
own gate."""
SHORT_WINDOW = 4
PLACES = 48
LAP_TICKS = 260
LOOK_EVERY_TICKS = 24


def circuit_returns(pair: Pair, quick: bool) -> Iterator[Return]:
    """Both ways. Tunnels with the full window, then with a short one; then laps."""
    dream = pair.world
    assert isinstance(dream, CircuitDream)
    events = tunnels(dream.bench, 8 if quick else 60)
    for window in (None, SHORT_WINDOW):
        yield from come_back(CircuitDream(dream.bench, window=window), events)
    yield from laps(pair, dream, 3 if quick else 16)


@dataclass(frozen=True)
class Tunnel:
    """A passage of the teacher's player: unseen from tick `gone` to before `back`."""

    episode: Episode
    gone: int
    back: int


def tunnels(bench: Bench, episodes: int) -> list[Tunnel]:
    found = []
    for k in range(episodes):
        episode = drive(bench.simulator, TUNNEL_SEED + k, EPISODE_TICKS, prompt_rate=0.0)
        spans = hidden_spans(bench, episode, 0)
        found += [Tunnel(episode, a, b) for a, b in spans if b + AFTER_TICKS < len(episode.states)]
    return found


def come_back(dream: CircuitDream, events: Sequence[Tunnel]) -> Iterator[Return]:
    """True history up to the tick before the car vanishes, then the true actions until it is out again."""
    if not events:
        return
    pasts = [e.episode.states[e.gone - PAST_TICKS : e.gone] for e in events]
    told = np.stack([e.episode.conditions[e.gone - PAST_TICKS : e.gone] for e in events])
    dream.start_from(pasts, told)
    looks = [e.back + AFTER_TICKS - e.gone for e in events]
    for step in range(max(looks) + 1):
        dream.step_controls([controls_at(e.episode, e.gone + step) for e in events])
        for row, event in enumerate(events):
            if looks[row] == step:
                true, others = views(dream.bench, event)
                away = event.back - event.gone
                yield Return("under a roof", dream.frame(row), true, others, away, dream.window_ticks)


def controls_at(episode: Episode, tick: int) -> Controls:
    """What led into the state of the tick, as the drive was told; the last is held."""
    steer, throttle, brake, handbrake = episode.conditions[min(tick, len(episode.conditions) - 1)][:4].tolist()
    return Controls(steer, throttle, brake, handbrake > 0.5)


def views(bench: Bench, event: Tunnel) -> tuple[Frame, Frames]:
    """What the teacher shows when the car is out, and at other ticks of the drive: near ones, and all along it."""
    states, at = event.episode.states, event.back + AFTER_TICKS
    near = [at + sign * OTHER_TICKS * k for k in range(1, 9) for sign in (1, -1)]
    far = np.linspace(0, len(states) - 1, PLACES - len(near)).astype(int).tolist()
    ticks = sorted({t for t in [*near, *far] if 0 <= t < len(states) and abs(t - at) >= OTHER_TICKS})
    return bench.renderer.draw(states[at]), bench.frames([states[t] for t in ticks])


def laps(pair: Pair, dream: CircuitDream, sessions: int) -> Iterator[Return]:
    """The dream is driven round by what it shows. Once it has been everywhere: is the player's car to be seen at the
    place where it should be, rather than at another? The place is read from the latent, the view from the picture."""
    seeds = [210_000 + k for k in range(sessions)]
    player = Drivers(dream, seeds)
    dream.start(seeds)
    for tick in range(2 * LAP_TICKS):
        dream.step(player.actions(tick))
        if tick < LAP_TICKS or tick % LOOK_EVERY_TICKS:
            continue
        for row, state in enumerate(dream.states):
            if dream.bench.renderer.visible(state.player) > 0.8:
                others = elsewhere(dream.bench, state)
                true = dream.bench.renderer.draw(state)
                yield Return("a lap later", dream.frame(row), true, others, LAP_TICKS, pair.window_ticks)


def elsewhere(bench: Bench, state: State) -> Frames:
    """The teacher's picture of the same situation with the player at other places around the lap."""
    track = bench.simulator.track
    count = len(track.line)
    frames = []
    for index in range(0, count, math.ceil(count / PLACES)):
        x, y = track.line[index].tolist()
        if track.cover_at(index) or math.hypot(x - state.player.x, y - state.player.y) < 12:
            continue
        car = Car(x, y, float(track.tangent[index]))
        frames.append(bench.renderer.draw(replace(state, player=car)))
    return np.stack(frames)
