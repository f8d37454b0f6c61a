"""Which stage runs where: layer intervals and the decoder, placed on devices, as text and as a checked value.

    denoise:0-3@cpu:0, denoise:3-6@cpu:1, decode@cpu:1

The grammar is written down once, in docs/stages.md. One process per device name, in order of first appearance; a
decoder on a device without layers is the last one. The process of the first layers is the front: it also keeps
condition, sampler and tick, and decodes unless told else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

MAX_PROCESSES = 65
"""As many as `nextframe plan` lays out: 64 with layers, and a decoder."""
_DENOISE = re.compile(r"denoise:(\d+)-(\d+)@(\S+)")
_DECODE = re.compile(r"decode@(\S+)")
_DEVICE = re.compile(r"(cpu|cuda):\d+")
EXAMPLE = "denoise:0-3@cpu:0, denoise:3-6@cpu:1, decode@cpu:1"


class LayoutError(ValueError):
    """A placement that cannot be read, or that does not run every layer once."""


@dataclass(frozen=True)
class Interval:
    """Layers `first` up to `end` without it; none for a process that only decodes."""

    first: int
    end: int

    @property
    def layers(self) -> int:
        return self.end - self.first


@dataclass(frozen=True)
class StageLayout:
    """`intervals` and `devices` by process; process 0 is the front. `decode`: the process that decodes; if it has no
    layers it is the last one."""

    intervals: tuple[Interval, ...]
    devices: tuple[str, ...]
    decode: int = 0

    @property
    def processes(self) -> int:
        return len(self.devices)

    @property
    def ring(self) -> int:
        """How many processes run layers: they are the first ones, and a pass goes through them."""
        return sum(part.layers > 0 for part in self.intervals)

    @property
    def own_decoder(self) -> int | None:
        """The process that only decodes, if there is one."""
        return self.decode if self.ring < self.processes else None

    def torch_device(self, process: int) -> str:
        """The name torch knows: all of `cpu:0`, `cpu:1`, ... are the one processor."""
        device = self.devices[process]
        return "cpu" if device.startswith("cpu") else device

    def __str__(self) -> str:
        stages = [
            f"denoise:{part.first}-{part.end}@{device}"
            for part, device in zip(self.intervals, self.devices, strict=True)
            if part.layers
        ]
        return ", ".join([*stages, f"decode@{self.devices[self.decode]}"])


def parse_layout(text: str, layers: int) -> StageLayout:
    """A placement of a network with so many layers. Raises LayoutError: every layer must run once, in order."""
    placed: dict[str, Interval] = {}
    decode: str | None = None
    end = 0
    for part in (part.strip() for part in text.split(",")):
        if found := _DENOISE.fullmatch(part):
            interval, device = Interval(int(found[1]), int(found[2])), _checked(found[3])
            _follows(interval, end, part)
            if device in placed:
                if device != list(placed)[-1]:
                    raise LayoutError(f"stages: {part!r}: {device} already runs layers that do not touch these")
                interval = Interval(placed[device].first, interval.end)
            placed[device], end = interval, interval.end
        elif (found := _DECODE.fullmatch(part)) and decode is None:
            decode = _checked(found[1])
        else:
            raise LayoutError(f"stages: expected something like {EXAMPLE!r}, got {part!r}")
    if end != layers:
        raise LayoutError(f"stages: expected intervals up to layer {layers}, got up to {end}: {text!r}")
    if decode is not None:
        placed.setdefault(decode, Interval(layers, layers))
    return layout_of(tuple(placed.values()), tuple(placed), 0 if decode is None else list(placed).index(decode))


def layout_of(intervals: tuple[Interval, ...], devices: tuple[str, ...], decode: int = 0) -> StageLayout:
    """The same from its parts. Raises LayoutError for more processes than are sensible."""
    if len(devices) > MAX_PROCESSES:
        raise LayoutError(f"stages: expected at most {MAX_PROCESSES} processes, got {len(devices)}")
    return StageLayout(intervals, devices, decode)


def _checked(device: str) -> str:
    if not _DEVICE.fullmatch(device):
        raise LayoutError(f"stages: expected a device like cpu:0 or cuda:1, got {device!r}")
    return device


def _follows(interval: Interval, end: int, part: str) -> None:
    if interval.layers < 1:
        raise LayoutError(f"stages: {part!r}: expected at least one layer; 0-3 means layers 0, 1 and 2")
    if interval.first != end:
        raise LayoutError(
            f"stages: {part!r}: expected an interval from layer {end}, got one from {interval.first}; the end is not "
            "included, so 0-3 is followed by 3-6"
        )


# --- balanced by cost -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StageCosts:
    """Of one denoise pass or commit through each layer; of the front's share of a tick (condition, sampler), and of a
    decode. All in ms."""

    layer_ms: tuple[float, ...]
    front_ms: float
    decode_ms: float
    passes: int
    """Through the layers in a tick: its denoise steps and the commit."""


def balanced(costs: StageCosts, devices: Sequence[str]) -> StageLayout:
    """The split whose busiest process is as idle as can be; decode where that makes it least busy.

    Exact: the best end of every prefix of layers, by dynamic programming. Raises LayoutError for more processes than
    layers.
    """
    layers = len(costs.layer_ms)
    if not 1 <= len(devices) <= layers:
        raise LayoutError(f"stages: expected 1 to {layers} processes, one layer each at least, got {len(devices)}")
    best: tuple[float, tuple[int, ...], int] | None = None
    for decode in range(len(devices)):
        busiest, ends = _split(costs, len(devices), decode)
        if best is None or busiest < best[0]:
            best = (busiest, ends, decode)
    assert best is not None
    ends, decode = best[1], best[2]
    intervals = tuple(Interval(first, end) for first, end in zip((0, *ends), ends, strict=False))
    return layout_of(intervals, tuple(devices), decode)


def _split(costs: StageCosts, processes: int, decode: int) -> tuple[float, tuple[int, ...]]:
    """Busy ms of the busiest process and the end of each interval."""
    layers = len(costs.layer_ms)

    def busy_ms(process: int, first: int, end: int) -> float:
        own = costs.front_ms if process == 0 else 0.0
        return costs.passes * sum(costs.layer_ms[first:end]) + own + (costs.decode_ms if process == decode else 0.0)

    @cache
    def rest(process: int, first: int) -> tuple[float, tuple[int, ...]]:
        if process == processes - 1:
            return busy_ms(process, first, layers), (layers,)
        choices = []
        for end in range(first + 1, layers - (processes - 1 - process) + 1):
            later_ms, ends = rest(process + 1, end)
            choices.append((max(busy_ms(process, first, end), later_ms), (end, *ends)))
        return min(choices)

    return rest(0, 0)
