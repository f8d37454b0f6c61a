"""What this machine can do and what is wrong with it, and which worlds can be played here."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from ...runtime.core import DisplayError, ManualClock, NextframeError
from ...runtime.observe.cores import cpu_quota_cores, usable_cores
from ...runtime.session.registry import find_world, world_names
from ...runtime.session.startup import (
    check_folder,
    cpu_name,
    default_threads,
    physical_cores,
    prefer_x11_without_a_session,
)

Status = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """`ok`: works. `note`: missing, but sessions run without it. `wrong`: must be fixed before anything runs."""

    name: str
    status: Status
    detail: str


def examine() -> list[Finding]:
    """Every check, in the order in which a session would fail."""
    checks = (_python, _pygame, _torch, _processor, _display, _offscreen, _gamepads, _video, _worlds)
    return [check() for check in checks]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _python() -> Finding:
    status: Status = "ok" if sys.version_info >= (3, 11) else "wrong"
    return Finding("python", status, f"{platform.python_version()} on {platform.platform()}")


def _pygame(installed: Callable[[str], str | None] = _installed) -> Finding:
    community, original = installed("pygame-ce"), installed("pygame")
    if community and original:
        return Finding(
            "pygame",
            "wrong",
            f"pygame {original} and pygame-ce {community} overwrite each other's files; "
            "run: pip uninstall pygame pygame-ce, then pip install pygame-ce",
        )
    if community is None:
        return Finding("pygame", "wrong", "expected pygame-ce, not installed; run: pip install pygame-ce")
    return Finding("pygame", "ok", f"pygame-ce {community}")


def _torch() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding("torch", "wrong", f"cannot be imported: {error}; worlds with weights need it")
    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append(f"cuda ({torch.cuda.get_device_name(0)})")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return Finding("torch", "ok", f"{torch.__version__}, devices: {', '.join(devices)}")


def _processor() -> Finding:
    detail = (
        f"{cpu_name()}, {os.cpu_count()} logical and {physical_cores()} physical cores, {default_threads()} threads"
    )
    quota, usable = cpu_quota_cores(), usable_cores()
    if quota is not None:
        detail += f"; the container allows {quota:g} cores"
    elif usable < (os.cpu_count() or 1):
        detail += f"; this process may use {usable:g} of them"
    few = usable < 2
    return Finding("processor", "note" if few else "ok", detail + ("; fewer than two: expect misses" if few else ""))


def _display() -> Finding:
    from ...runtime.display.gl import GLDisplay
    from ...runtime.display.window import Window
    from ...runtime.tick.latch import InputLatch

    prefer_x11_without_a_session()
    try:
        with Window("nextframe doctor", (64, 48), latch=InputLatch(), commands={}, scale=1) as window:
            GLDisplay(window, ManualClock(), (64, 48)).close()
            return Finding("window", "ok", f"OpenGL 3.3 core, vertical sync {'on' if window.vsync else 'off'}")
    except DisplayError as error:
        return Finding("window", "note", str(error))


def _offscreen() -> Finding:
    from ...runtime.display.gl import EGLDisplay

    try:
        EGLDisplay((64, 48), (64, 48), ManualClock()).close()
    except DisplayError as error:
        return Finding("offscreen", "note", str(error))
    return Finding("offscreen", "ok", "OpenGL 3.3 through EGL")


def _gamepads() -> Finding:
    import pygame

    from ...runtime.display.devices.pads import listed

    try:
        devices = listed()
    except pygame.error as error:
        return Finding("gamepads", "note", f"none can be used: {error}")
    status: Status = "ok" if all(device.known for device in devices) else "note"
    detail = "; ".join(device.how() for device in devices)
    return Finding("gamepads", status, detail or "none plugged in; they may be plugged in while playing")


def _video() -> Finding:
    import av
    import av.codec
    import av.error

    try:
        av.codec.Codec("libx264", "w")
    except (ValueError, av.error.FFmpegError):
        return Finding("video", "wrong", f"PyAV {av.__version__} has no H.264 encoder; run: pip install --upgrade av")
    return Finding("video", "ok", f"H.264 through PyAV {av.__version__}")


def _worlds() -> Finding:
    broken = []
    for name in world_names():
        try:
            check_folder(name)
        except NextframeError as error:
            broken.append(str(error))
    if broken:
        return Finding("worlds", "wrong", "; ".join(broken))
    return Finding("worlds", "ok", ", ".join(world_names()))


def print_findings(findings: Sequence[Finding], *, as_json: bool = False) -> int:
    """A line each; 2 if something must be fixed before anything runs."""
    marks = {"ok": "ok  ", "note": "note", "wrong": "WRONG"}
    for finding in findings:
        print(f"{marks[finding.status]:5}  {finding.name:10} {finding.detail}")
    if as_json:
        print(json.dumps({"schema": "nextframe.doctor/1", "findings": [asdict(finding) for finding in findings]}))
    return 2 if any(finding.status == "wrong" for finding in findings) else 0


def print_worlds(default: str) -> int:
    """The worlds that ship, what they are, and why one cannot be played. `default`: what plays when none is named."""
    for name in world_names():
        try:
            spec = find_world(name).spec
            size = f"{spec.width_px}x{spec.height_px} at {float(spec.tick_hz):g} Hz"
            print(f"{name:10} {spec.title} ({size}, {'/'.join(map(str, spec.ladder))} denoise steps)")
            print(f"{'':10} nextframe play{'' if name == default else f' {name}'}")
            words = " ".join(word for group in spec.action_space().prompts.values() for word in group)
            print(f"{'':10} actions: {', '.join(spec.action_space().names())}; prompts: {words or 'none'}")
            check_folder(name)
        except NextframeError as error:
            print(f"{name:10} cannot be played: {error}")
    return 0
