"""What can be done about drift: log it, re-noise the history, or re-anchor it. Snapshot in, snapshot out.

The actions and their names. `DriftPolicy` says when one is due, the session carries it out after
the commit, and the recording stores its name at its tick, so that a replay does the same there without asking again.
Actions are made on the host and committed on the generator's device.

Both remedies write the memory anew from the last ticks' latents: keys and values cannot carry an error that is no
longer in the latents (Krea's realtime server recomputes its cache from a few clean latents for the same reason).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..base import rng
from ..generator.protocol import Mendable
from ..tokenizers.scenes.still import POSITION_SCALE_PX
from .bank import Array
from .monitor import ALARM_AFTER_TICKS, DriftMonitor, DriftReport, Recent

STREAM_DRIFT = 0x5D
"""Noise of its own: an action never uses numbers that a sampler will draw."""
NOISE_PLACE_PX, NOISE_HEADING, NOISE_SCENE_LEVELS = 0.4, 0.02, 0.2
"""The middle of what histories were corrupted with in training (`nextframe.worlds.circuit.recipe.dynamics.corrupt`)."""


@dataclass(frozen=True)
class Mended:
    """`snapshot`: of the generator, after the action. `recent`: the ticks its memory now holds, or None if the action
    changed nothing."""

    snapshot: Mapping[str, Any]
    recent: Recent | None


class DriftAction(Protocol):
    """`snapshot`: the generator's. `monitor`: only read. `seed`: the session's. Leaves the generator as it was."""

    def __call__(
        self, generator: Mendable, snapshot: Mapping[str, Any], monitor: DriftMonitor, seed: int
    ) -> Mended: ...


def log(generator: Mendable, snapshot: Mapping[str, Any], monitor: DriftMonitor, seed: int) -> Mended:
    """Changes nothing: the event in the recording is the whole of it."""
    return Mended(snapshot, None)


def renoise(generator: Mendable, snapshot: Mapping[str, Any], monitor: DriftMonitor, seed: int) -> Mended:
    """The memory again from the remembered latents, each with the measurement noise that training put into histories:
    the network has learnt to trust such a past less (context noise, as in Helios)."""
    recent = monitor.recent
    latents = torch.from_numpy(recent.latents)
    noise = rng.normal(tuple(latents.shape), seed=seed, tick=snapshot["tick"], stream=STREAM_DRIFT)
    scene, slots = generator.scene_code.split(latents)
    scene_noise, slot_noise = generator.scene_code.split(noise)
    seen = (slots[..., 4:5] > 0).float()
    strength = torch.tensor([NOISE_PLACE_PX / POSITION_SCALE_PX] * 2 + [NOISE_HEADING] * 2 + [0.0, 0.0])
    slots = slots + slot_noise * strength * seen
    scene = scene + scene_noise * _scene_strength(generator)
    return _rebuilt(generator, snapshot, torch.cat([scene, slots.flatten(-2)], -1), recent.conditions)


def reanchor(generator: Mendable, snapshot: Mapping[str, Any], monitor: DriftMonitor, seed: int) -> Mended:
    """The memory again from the remembered latents, with the scene of an anchor: the last good keyframe, or the bank's
    nearest clip in this mood. Slots stay where they are, so nothing jumps; only a slot that the alarm is about, or that
    has left the frame, comes from the anchor too."""
    recent, anchor = monitor.recent, torch.from_numpy(monitor.anchor())
    ticks = min(len(recent.latents), len(anchor))
    anchor, latents = anchor[-ticks:], torch.from_numpy(recent.latents[-ticks:])
    (anchor_scene, anchor_slots), (_, slots) = (generator.scene_code.split(part) for part in (anchor, latents))
    frame = generator.spec.frame
    limit = torch.tensor([frame.width_px, frame.height_px]) / (2 * POSITION_SCALE_PX)
    lost = (slots[-1, :, :2].abs() > limit).any(-1) | ~slots.isfinite().all(-1).all(0)
    lost[list(monitor.report.slots)] = True
    slots = torch.where(lost[None, :, None], anchor_slots, slots)
    latents = torch.cat([anchor_scene, slots.flatten(-2)], -1)
    return _rebuilt(generator, snapshot, latents, recent.conditions[-ticks:])


ACTIONS: dict[str, DriftAction] = {"log": log, "renoise": renoise, "reanchor": reanchor}


@dataclass(frozen=True)
class DriftPolicy:
    """When to act. `action`: a name in `ACTIONS`. A decision is a value: the caller carries it out and records it."""

    action: str = "log"

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"drift action: expected one of {', '.join(ACTIONS)}, got {self.action!r}")

    def due(self, report: DriftReport) -> str | None:
        """The action for this tick, None on almost every one. Once per alarm: a remedy restarts the statistics,
        so another can follow no sooner than they have gathered again and stayed outside again."""
        return self.action if report.outside_for_ticks == ALARM_AFTER_TICKS else None


def carry_out(name: str, generator: Mendable, monitor: DriftMonitor, seed: int) -> None:
    """Act on a live session between commit and the next advance. The same call live and on replay."""
    mended = ACTIONS[name](generator, generator.snapshot(), monitor, seed)
    if mended.recent is not None:
        generator.restore(dict(mended.snapshot))
        monitor.mended(mended.recent)


def _rebuilt(generator: Mendable, snapshot: Mapping[str, Any], latents: Tensor, conditions: Array) -> Mended:
    """Write the memory anew from latents `(ticks, latent_dim)`, at the positions they had."""
    after, committed = generator.rewritten(snapshot, latents, conditions)
    return Mended(after, Recent(committed, conditions))


def _scene_strength(generator: Mendable) -> Tensor:
    """The noise in units of the scene code, `(scene_dim,)`: `NOISE_SCENE_LEVELS` grey levels of 255 from each number;
    none for a number that no picture shows."""
    levels = generator.scene_code.scene_levels()
    return torch.where(levels > 0, NOISE_SCENE_LEVELS / levels.clamp(min=1e-6), 0.0)
