"""A layout: which layers sit on which device, what runs beside what, and the tick that follows from it.

Balances layers, adds up the memory each device needs, and translates a layout into a `Cycle`.

Modes. `serial`: one tick at a time, decode in line. `overlapped`: decode of tick N on a device of its own while tick
N+1 denoises. `pipeline`: several sessions fill the stages, none sees an older picture than alone. `stream-batch`:
several frames of one session fill them, each denoise step a row; a new input is that many latents late, and only
generators with history of the same noise level may do it (StreamDiffusionV2, arXiv 2511.07399).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import numpy as np

from .formula import demand_ms, length_ms, shown_after_ms
from .hardware import Device
from .profile import Link, Profile
from .simulate import Branch, Cycle, Traffic, Visit

Mode: TypeAlias = Literal["serial", "overlapped", "pipeline", "stream-batch"]
Interval: TypeAlias = tuple[int, int]
"""Layers `first` to `end - 1`."""


@dataclass(frozen=True)
class Layout:
    """One replica. `devices`: one per interval, and one more for the decoder where that has its own.

    `rows`: sessions in one forward. `sessions`: of this replica.
    """

    mode: Mode
    intervals: tuple[Interval, ...]
    devices: tuple[Device, ...]
    rows: int
    sessions: int

    @property
    def stages(self) -> int:
        return len(self.intervals)

    @property
    def own_decoder(self) -> bool:
        return len(self.devices) > len(self.intervals)

    @property
    def groups(self) -> int:
        return -(-self.sessions // self.rows)


def balance(loads: tuple[float, ...], extras: tuple[float, ...], speeds: tuple[float, ...]) -> tuple[Interval, ...]:
    """Contiguous intervals, none empty, with the smallest busiest stage, by dynamic programming.

    `loads`: of each layer. `extras`: what a stage does besides its layers. `speeds`: of the stages' devices. One more
    stage at a time: the best split of the first j layers is the best over where the last stage begins.
    """
    layers, stages = len(loads), len(extras)
    assert 1 <= stages <= layers, f"{stages} stages need as many layers, got {layers}"
    before = np.concatenate([[0.0], np.cumsum(loads)])
    span = before[None, :] - before[:, None]  # (first, end)
    span[np.tril_indices(layers + 1)] = np.inf
    best = np.full(layers + 1, np.inf)
    best[0] = 0.0
    firsts = []
    for extra, speed in zip(extras, speeds, strict=True):
        busiest = np.maximum(best[:, None], (span + extra) / speed)
        firsts.append(busiest.argmin(0))
        best = busiest.min(0)
    ends = [layers]
    for first in reversed(firsts):
        ends.append(int(first[ends[-1]]))
    edges = ends[::-1]
    return tuple(pairwise(edges))


def balanced(profile: Profile, mode: Mode, devices: tuple[Device, ...], own_decoder: bool, rows: int) -> Layout:
    """A layout for `rows` sessions with the layers where they keep the stages equally busy."""
    stages = len(devices) - own_decoder
    costs, steps = profile.costs, profile.denoise_steps
    wide = rows * steps if mode == "stream-batch" else rows
    passes = 1 if mode == "stream-batch" else steps
    layer_ms = passes * costs.layer.ms(wide) + costs.commit_layer.ms(rows)
    extras = [0.0] * stages
    extras[0] += costs.encode.ms(rows) + costs.condition.ms(rows) + passes * costs.step.ms(wide) + costs.commit.ms(rows)
    extras[-1] += 0.0 if own_decoder else costs.decode.ms(rows)
    loads = tuple(layer_ms * scale for scale in profile.scales)
    intervals = balance(loads, tuple(extras), tuple(device.speed for device in devices[:stages]))
    return Layout(mode, intervals, devices, rows, rows)


def memory_bytes(profile: Profile, layout: Layout) -> list[int]:
    """What each device must hold: its own weights, the memory of every session in its layers, and scratch."""
    sizes, stream = profile.sizes, layout.mode == "stream-batch"
    levels = profile.denoise_steps if stream else 1  # stream-batch keeps one history per denoise step
    per_layer = sizes.layer_weights_bytes + layout.sessions * levels * sizes.kv_layer_bytes
    work = layout.rows * levels * sizes.work_row_bytes
    need = [(end - first) * per_layer + work for first, end in layout.intervals]
    need[0] += sizes.front_weights_bytes + layout.sessions * sizes.session_bytes
    if layout.own_decoder:
        need.append(work)
    need[-1] += sizes.decode_weights_bytes + layout.sessions * sizes.decode_session_bytes
    return need


class _Line:
    """Visits one after the other; what follows on the same device is one visit, so it is not interrupted."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self._sealed = True

    def add(self, resource: int, service_ms: float, after_ms: float = 0.0) -> None:
        last = self.visits[-1] if self.visits else None
        if last is not None and not self._sealed and last.resource == resource and last.after_ms == 0:
            self.visits[-1] = Visit(resource, last.service_ms + service_ms, after_ms)
        else:
            self.visits.append(Visit(resource, service_ms, after_ms))
        self._sealed = False

    def mark(self, *, finishes: bool = False, shows: bool = False) -> int:
        """The last visit ends something: nothing is joined to it. Returns its number."""
        last = self.visits[-1]
        self.visits[-1] = Visit(
            last.resource, last.service_ms, last.after_ms, last.finishes or finishes, last.shows or shows
        )
        self._sealed = True
        return len(self.visits) - 1


@dataclass(frozen=True)
class _Parts:
    """Times of one layout's work on its own devices, ms, and the numbers of its resources."""

    profile: Profile
    layout: Layout
    link: Link

    def layers_ms(self, stage: int, rows: int, *, commit: bool = False) -> float:
        first, end = self.layout.intervals[stage]
        cost = self.profile.costs.commit_layer if commit else self.profile.costs.layer
        return cost.ms(rows) * sum(self.profile.scales[first:end]) / self.layout.devices[stage].speed

    def front_ms(self, milliseconds: float) -> float:
        return milliseconds / self.layout.devices[0].speed

    @property
    def decode_ms(self) -> float:
        return self.profile.costs.decode.ms(self.layout.rows) / self.layout.devices[-1].speed

    @property
    def decoder(self) -> int:
        return len(self.layout.devices) - 1

    def wire(self, line: _Line, number: int, size_bytes: float) -> None:
        """Link `number`: 0 to stages - 2 between stages, then back to the first, then to the decoder's device."""
        line.add(len(self.layout.devices) + number, self.link.wire_ms(size_bytes), self.link.latency_ms)

    def one_pass(self, line: _Line, rows: int, *, commit: bool = False) -> None:
        hop_bytes = rows * self.profile.sizes.hop_row_bytes
        for stage in range(self.layout.stages):
            line.add(stage, self.layers_ms(stage, rows, commit=commit))
            if stage + 1 < self.layout.stages:
                self.wire(line, stage, hop_bytes)

    def back(self, line: _Line, rows: int) -> None:
        if self.layout.stages > 1:
            self.wire(line, self.layout.stages - 1, rows * self.profile.sizes.latent_row_bytes)

    def decode_line(self) -> _Line:
        line = _Line()
        if self.layout.own_decoder:
            self.wire(line, self.layout.stages, self.layout.rows * self.profile.sizes.latent_row_bytes)
        line.add(self.decoder, self.decode_ms)
        line.mark(shows=True)
        return line


def cycle_of(profile: Profile, layout: Layout, link: Link) -> Cycle:
    """One tick of a group of `layout.rows` sessions."""
    parts, costs, rows = _Parts(profile, layout, link), profile.costs, layout.rows
    stream = layout.mode == "stream-batch"
    wide = rows * profile.denoise_steps if stream else rows
    main = _Line()
    main.add(0, parts.front_ms(costs.encode.ms(rows) + costs.condition.ms(rows)))
    for step in range(1 if stream else profile.denoise_steps):
        if step:
            parts.back(main, wide)
        main.add(0, parts.front_ms(costs.step.ms(wide)))
        parts.one_pass(main, wide)
    finish = main.mark(finishes=True)
    decode = parts.decode_line()
    if stream:
        parts.back(main, wide)
        return Cycle(tuple(main.visits), (Branch(finish, tuple(decode.visits)),))
    if layout.mode == "serial":
        for visit in decode.visits:
            main.add(visit.resource, visit.service_ms, visit.after_ms)
        main.mark(shows=True)
        _commit(parts, main)
        return Cycle(tuple(main.visits))
    return _beside(parts, main, finish, decode)


def _commit(parts: _Parts, line: _Line) -> None:
    """The pass that writes memory; the finished latent goes back to the first stage for it."""
    if parts.profile.history == "same_level":
        return
    rows = parts.layout.rows
    parts.back(line, rows)
    line.add(0, parts.front_ms(parts.profile.costs.commit.ms(rows)))
    parts.one_pass(line, rows, commit=True)


def _beside(parts: _Parts, main: _Line, finish: int, decode: _Line) -> Cycle:
    """Decode beside commit; the next tick follows the commit through the stages, never overtaking it."""
    branches = [Branch(finish, tuple(decode.visits))]
    commit = _Line()
    _commit(parts, commit)
    if commit.visits:
        first = next(at for at, visit in enumerate(commit.visits) if visit.resource == 0)
        main.visits += commit.visits[: first + 1]
        if rest := tuple(commit.visits[first + 1 :]):
            branches.append(Branch(len(main.visits) - 1, rest))
    return Cycle(tuple(main.visits), tuple(branches))


def traffic_of(profile: Profile, layout: Layout, cycle: Cycle) -> Traffic:
    """How much is under way: as many groups as keep the busiest device busy and no more, since further ones would only
    wait inside, with their input already read. Stream-batch has one payload for each stage, as its ring does."""
    groups, busiest_ms = layout.groups, max(demand_ms(cycle).values())
    if layout.mode == "stream-batch":
        payloads = max(1, -(-layout.stages // groups))
        return Traffic(groups, groups * payloads, groups * payloads + 1, profile.denoise_steps, payloads)

    def filling(span_ms: float) -> int:
        return max(1, int(np.ceil(span_ms / busiest_ms - 1e-9)))

    in_flight = min(groups, filling(length_ms(cycle.main))) if layout.mode == "pipeline" else 1
    unshown = max(in_flight, filling(shown_after_ms(cycle)))
    return Traffic(groups, in_flight, unshown if layout.mode == "pipeline" else min(2, unshown))
