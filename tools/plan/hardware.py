"""Devices and links by name, and the small language of `--devices` and `--link`.

Speeds of other devices than the profile's own are the ratio of their dense bf16 rates: rough, and
`nextframe.tools.lab.plan.article` says how rough. Sources: the makers' data sheets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .profile import Link, PlanError, Profile

GB = 10**9
MAX_DEVICES = 4096


@dataclass(frozen=True)
class Chip:
    """`bf16_tflops`: dense, fp32 accumulation. `memory_gb_s`: bandwidth of its own memory."""

    bf16_tflops: float
    memory_gb: float
    memory_gb_s: float


CHIPS = {
    "h100": Chip(989.4, 80, 3350),
    "h200": Chip(989.4, 141, 4800),
    "a100": Chip(312, 80, 2039),
    "b200": Chip(2250, 180, 7700),
    "rtx4090": Chip(165.2, 24, 1008),
}
LINKS = {
    "nvlink": Link(name="nvlink", bandwidth_gb_s=450, latency_ms=0.01),
    "pcie": Link(name="pcie", bandwidth_gb_s=25, latency_ms=0.02),
    "ethernet": Link(name="ethernet", bandwidth_gb_s=12.5, latency_ms=0.05),
}
"""One direction. NVLink 4 as in an HGX H100; PCIe 4.0 x16; 100 Gbit/s. Latencies are assumptions of the right size."""


@dataclass(frozen=True)
class Device:
    """One device. `speed`: relative to the one the profile was made for."""

    name: str
    memory_bytes: int
    speed: float = 1.0


_DEVICE = re.compile(
    r"(?:(?P<count>\d{1,5})(?:x(?=[a-z])|$|(?=[*/])))?(?P<name>[a-z][a-z0-9_-]*)?"
    r"(?:\*(?P<speed>\d*\.?\d+))?(?:/(?P<memory>\d*\.?\d+)gb)?"
)


def parse_devices(text: str, profile: Profile) -> tuple[Device, ...]:
    """`4`, `4xh100`, `2xh100,2xa100`, `3xcpu*0.5/16GB`: count, name, speed against the profile's device, memory."""
    devices: list[Device] = []
    for part in text.lower().replace(" ", "").split(","):
        found = _DEVICE.fullmatch(part)
        if found is None or not part:
            raise PlanError(
                f"--devices {text!r}: expected [COUNTx]NAME[*SPEED][/MEMORYgb], such as 4xh100 or 2xcpu*0.5/16gb, "
                f"got {part!r}"
            )
        count = int(found["count"] or 1)
        if not 1 <= count + len(devices) <= MAX_DEVICES or count < 1:
            raise PlanError(f"--devices {text!r}: expected 1 to {MAX_DEVICES} devices in all, got {part!r}")
        devices += [_device(found, profile)] * count
    return tuple(devices)


def _device(found: re.Match[str], profile: Profile) -> Device:
    name = found["name"] or profile.device
    chip, own = CHIPS.get(name), CHIPS.get(profile.device)
    if found["speed"]:
        speed = float(found["speed"])
    elif name == profile.device:
        speed = 1.0
    elif chip and own:
        speed = chip.bf16_tflops / own.bf16_tflops
    else:
        raise PlanError(
            f"--devices: the costs of {profile.name} are for {profile.device!r} and say nothing of {name!r}; "
            f"measure there, or say its speed against {profile.device!r}: {name}*SPEED"
        )
    if found["memory"]:
        memory_bytes = round(float(found["memory"]) * GB)
    elif chip and name != profile.device:
        memory_bytes = round(chip.memory_gb * GB)
    else:
        memory_bytes = profile.device_memory_bytes
    if speed <= 0 or memory_bytes <= 0:
        raise PlanError(f"--devices: expected a speed and a memory above 0, got {found[0]!r}")
    return Device(name, memory_bytes, speed)


def parse_link(text: str | None, profile: Profile) -> Link:
    """A name in `LINKS`, or `GB_PER_S,MS`; the profile's own when not given, else NVLink."""
    if text is None:
        return profile.link or LINKS["nvlink"]
    if text in LINKS:
        return LINKS[text]
    numbers = text.split(",")
    try:
        bandwidth_gb_s, latency_ms = (float(number) for number in numbers)
        return Link(bandwidth_gb_s=bandwidth_gb_s, latency_ms=latency_ms)
    except ValueError:
        raise PlanError(
            f"--link {text!r}: expected {', '.join(LINKS)}, or GB_PER_S,MS such as 12.5,0.05 with a bandwidth above 0"
        ) from None
