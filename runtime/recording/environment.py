"""What a playback can be expected to keep here, and what a difference from the recording's environment means.

R0  bit for bit on the same machine and environment. R1  bit for bit expected on the same device model with the same
software. R2  elsewhere: the same inputs, quality and events; pictures close at first, then further and further apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .format import PROMISES, ReplayHeader

MEANINGS = {
    "rng": "the noise is another one, so pictures differ from the first tick",
    "device": "kernels differ: sums round differently",
    "cpu": "another processor may choose other kernels: sums may round differently",
    "instructions": "another instruction set has other kernels: sums may round differently",
    "gpu": "another graphics processor may choose other kernels: sums may round differently",
    "threads": "sums may round differently",
    "compile": "fused operations round differently",
    "torch": "another version may sum in another order",
    "cuda": "another version may sum in another order",
    "platform": "another system library may round differently",
    "python": "expected to change nothing",
}
"""By key of the environment, the strongest first. Keys that are not here say nothing about a playback."""
SAME_MODEL = ("rng", "device", "cpu", "instructions", "gpu", "threads", "compile", "torch", "cuda")
"""R1: what sums depend on. Where these agree, the same bits are expected."""
FOR_NETWORKS_ONLY = ("cpu", "platform", "python")
"""A world without a network computes with exactly rounded operations: these change nothing in it."""


@dataclass(frozen=True)
class EnvironmentDifference:
    """One thing that is not as it was when the recording was made."""

    name: str
    recorded: str | int | None
    here: str | int | None
    means: str

    def __str__(self) -> str:
        return f"recorded with {_said(self.name, self.recorded)}, here {_said(self.name, self.here)}: {self.means}"


@dataclass(frozen=True)
class Expectation:
    """`level`: the promise that holds for a playback here, never stronger than the recording's own."""

    level: str
    differences: tuple[EnvironmentDifference, ...]

    @property
    def sentence(self) -> str:
        """What to say of it, empty when the recording's full promise of bit for bit holds."""
        if not self.differences:
            return "" if self.level == PROMISES[0] else f"this recording promises {self.level}, {_promised(self.level)}"
        said = "; ".join(str(difference) for difference in self.differences)
        return f"{said}. Playback keeps {self.level} here, {_promised(self.level)}"


def expectation(header: ReplayHeader, here: Mapping[str, str | int]) -> Expectation:
    """Compare the environment of a recording with the one of a playback.

    A key that the recording does not have says nothing: an older version did not write it.
    """
    recorded = header.environment
    network = "torch" in recorded or "torch" in here
    names = [name for name in MEANINGS if network or name not in FOR_NETWORKS_ONLY]
    differences = tuple(
        EnvironmentDifference(name, recorded[name], here.get(name), MEANINGS[name])
        for name in names
        if name in recorded and recorded[name] != here.get(name)
    )
    level = PROMISES[0]
    if differences:
        level = PROMISES[2] if any(difference.name in SAME_MODEL for difference in differences) else PROMISES[1]
    return Expectation(max(level, header.promise), differences)


def differing_names(one: Mapping[str, str | int], other: Mapping[str, str | int]) -> Sequence[str]:
    """All keys in which two environments differ, also those that say nothing about a playback."""
    return [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]


def _promised(level: str) -> str:
    return {
        "R0": "bit for bit",
        "R1": "bit for bit expected, not promised",
        "R2": "pictures that are close: a difference is not a fault",
    }[level]


def _said(name: str, value: str | int | None) -> str:
    if value is None:
        return f"no {name} named"
    if name == "threads":
        return "1 thread" if value == 1 else f"{value} threads"
    return f"{name} {value}"
