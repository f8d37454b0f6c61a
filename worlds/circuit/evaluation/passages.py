"""Passages under a roof: does a car that vanished come back when it should?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rich.progress import track

from ....model.tokenizers.scenes.still import SLOT_DIM
from ...recipe.rollout import denoised
from ..recipe.data import HELD_OUT_SEED, Episode, drive
from .rig import PAST_TICKS, Bench


def passages(bench: Bench, episodes: int, window: int | None = None, steps: int = 4) -> dict[str, Any]:
    """True history up to the tick before a car vanishes, then a free run under the true actions until it is back."""
    events = []
    for k in range(episodes):
        episode = drive(bench.simulator, HELD_OUT_SEED + 5000 + k, 420, prompt_rate=0.0)
        for slot in range(2):
            events += [(episode, slot, a, b) for a, b in hidden_spans(bench, episode, slot)]
    events = events[:160]
    generator = bench.generator(len(events), window)
    pasts, conditions = [], []
    for episode, _, a, _ in track(events, "tunnel histories"):
        pasts.append(bench.encode(generator, bench.frames(episode.states[a - PAST_TICKS : a])))
        conditions.append(torch.from_numpy(episode.conditions[a - PAST_TICKS : a]))
    generator.prefill(torch.stack(pasts), torch.stack(conditions))
    back = [0] * len(events)
    gone = [False] * len(events)
    ghosts, watched = 0, 0
    for t in range(45):
        given = torch.stack(
            [torch.from_numpy(e.conditions[min(a + t, len(e.conditions) - 1)]) for e, _, a, _ in events]
        )
        latent = denoised(generator, given, steps)
        generator.commit(latent, given)
        for k, (_, slot, a, b) in enumerate(events):
            if abs(t - (b - a)) <= 4:
                watched += 1
                ghosts += bool(abs(float(latent[k][-(2 - slot) * SLOT_DIM + 4])) < 0.7)
            hidden = bool(generator.last[k][-(2 - slot) * SLOT_DIM + 4] < 0)
            gone[k] |= hidden
            if gone[k] and not hidden and not back[k]:
                back[k] = t
    late = [back[k] - (b - a) if back[k] else 99 for k, (_, _, a, b) in enumerate(events)]
    on_time = [abs(x) <= 2 for x in late]
    player = [ok for ok, (_, slot, _, _) in zip(on_time, events, strict=True) if slot == 0]
    return {
        "passages": len(events), "on_time": float(np.mean(on_time)), "player_on_time": float(np.mean(player)),
        "median_late_ticks": float(np.median(np.abs(late))),
        "hidden_ticks_mean": float(np.mean([b - a for _, _, a, b in events])),
        "half_transparent_share": ghosts / max(watched, 1),
    }  # fmt: skip


def hidden_spans(bench: Bench, episode: Episode, slot: int) -> list[tuple[int, int]]:
    """First hidden and first visible tick again, of each whole passage with enough past."""
    cars = [s.player if slot == 0 else s.rival for s in episode.states]
    seen = [bench.simulator.covered(c) is None or bench.renderer.visible(c) > 0.10 for c in cars]
    spans, began = [], None
    for t, visible in enumerate(seen):
        if not visible and began is None:
            began = t
        if visible and began is not None:
            if began > PAST_TICKS and t - began <= 40:
                spans.append((began, t))
            began = None
    return spans
