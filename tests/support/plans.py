"""Profiles and devices to plan with: round numbers, so that what must come out can be said beforehand."""

from __future__ import annotations

from typing import Any

from nextframe.tools.plan.hardware import Device
from nextframe.tools.plan.predict import Request
from nextframe.tools.plan.profile import Cost, Link, Profile, Sizes, StageCosts

GB = 10**9
INSTANT = Link(name="instant", bandwidth_gb_s=1e9, latency_ms=0)
DEVICE = Device("box", 10 * GB)


def profile(**changes: Any) -> Profile:
    """Four layers of 10 ms, decode 20 ms, one denoise step, nothing else: a tick alone takes 60 ms."""
    given: dict[str, Any] = {
        "name": "four",
        "source": "made up",
        "device": "box",
        "device_memory_bytes": 10 * GB,
        "layers": 4,
        "denoise_steps": 1,
        "frame_hz": 10.0,
        "history": "same_level",
        "costs": StageCosts(layer=Cost(row_ms=10), decode=Cost(row_ms=20)),
        "sizes": Sizes(layer_weights_bytes=GB, kv_layer_bytes=GB // 10, decode_weights_bytes=GB // 2),
    }
    return Profile(**{**given, **changes})


def request(devices: int = 1, **changes: Any) -> Request:
    given: dict[str, Any] = {"profile": profile(), "devices": (DEVICE,) * devices, "link": INSTANT}
    return Request(**{**given, **changes})
