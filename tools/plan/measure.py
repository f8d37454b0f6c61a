"""Measures the stage costs of a shipped world on this machine: its profile, ready to plan with.

Whole ticks are run as a session runs them, with one row, two, four and eight in turn, so that a disturbance of the
machine touches all of them alike. Each turn has a tick that is not timed first: caches hold what the last tick left,
as in a session, and not what another number of rows left. Medians. A layer is a denoise step less its ends, divided by
the layers. The commit pass runs the same layers, so the same cost is taken for them and the rest is its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime.core import MonotonicClock
from ...runtime.session.startup import OpenWorld, StartUp, check_folder, open_world, patience
from .profile import Cost, Link, PlanError, Profile, Sizes, StageCosts

if TYPE_CHECKING:
    from ...model.generator.ticks import RollingGenerator

ROWS = (1, 2, 4, 8)
ROUNDS, WARM_ROUNDS = 60, 8
PROCESS_MEMORY_BYTES = 2 * 10**9
"""What a stage process may use unless `--devices` says otherwise: half of a small machine."""
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Timed:
    """Median ms by part, for one number of rows."""

    condition: float
    ends: float
    forward: float
    decode: float
    commit: float


def measure_world(name: str, *, rounds: int = ROUNDS) -> Profile:
    """Raises `PlanError` for a world without a network."""
    found = check_folder(name)
    if not found.spec.weights:
        raise PlanError(f"{name} has no network, so it has no stages to plan; built in are wan-1.3b and wan-14b")
    with patience(f"measuring {name}"):
        opened = open_world(found, StartUp(), clock=MonotonicClock())
        try:
            timed = time_rows(opened, rounds)
        finally:
            opened.world.close()
        return profile_from(opened, timed, measured_link())


def time_rows(opened: OpenWorld, rounds: int) -> dict[int, Timed]:
    generators = {rows: _generator(opened, rows) for rows in ROWS}
    samples: dict[int, dict[str, list[float]]] = {rows: {} for rows in ROWS}
    warm = min(WARM_ROUNDS, rounds)
    for turn in range(warm + rounds):
        for rows, generator in generators.items():
            _tick(generator)
            for name, times_ms in _tick(generator).items():
                if turn >= warm:
                    samples[rows].setdefault(name, []).extend(times_ms)
    return {
        rows: Timed(**{name: float(np.median(values)) for name, values in named.items()})
        for rows, named in samples.items()
    }


def _generator(opened: OpenWorld, rows: int) -> RollingGenerator:
    """The world's own networks with so many rows and a full memory."""
    import torch

    from ...model.generator.ticks import RollingGenerator
    from ...worlds.neural.world import NeuralWorld

    if not isinstance(opened.world, NeuralWorld):
        raise PlanError(f"{opened.info.name}: expected a world around a generator, got {type(opened.world).__name__}")
    own = opened.world.generator
    generator = RollingGenerator(own.tokenizer, own.dynamics, rows=rows)
    ticks = own.config.window + 1
    latents = own.last[:1, None].expand(rows, ticks, -1).contiguous()
    generator.prefill(latents, torch.zeros(rows, ticks, own.config.condition_dim))
    return generator


def _tick(generator: RollingGenerator) -> dict[str, list[float]]:
    """One tick at the highest rung; ms by part, one number for each denoise step."""
    import torch

    from ...model.generator.protocol import Inputs

    dynamics, steps = generator.dynamics, generator.config.ladder[-1]
    condition = generator.condition(Inputs((0.0,) * generator.config.condition_dim))
    with torch.inference_mode():
        known, noisy = generator.known(condition), torch.zeros_like(generator.last)
        job, started_ms = _timed(lambda: generator.start(condition, 0, steps))
        steps_ms = [_timed(job.step)[1] for _ in range(steps)]
        _, ends_ms = _timed(lambda: dynamics.latent_of(dynamics.noisy_tokens(noisy, noisy, known), known))
        latent = job.finish()
        _, decode_ms = _timed(lambda: generator.decode(latent))
        _, commit_ms = _timed(lambda: generator.commit(latent, condition))
    return {
        "condition": [started_ms], "ends": [ends_ms], "forward": steps_ms, "decode": [decode_ms], "commit": [commit_ms],
    }  # fmt: skip


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began_ns = time.perf_counter_ns()
    result = work()
    return result, (time.perf_counter_ns() - began_ns) / 1e6


def measured_cost(by_rows: Mapping[int, float]) -> Cost:
    """The times as they are; where noise made more rows quicker, as long as fewer."""
    times_ms = np.maximum.accumulate([by_rows[rows] for rows in sorted(by_rows)])
    return Cost(points=tuple(zip(sorted(by_rows), times_ms.tolist(), strict=True)))


def profile_from(opened: OpenWorld, timed: Mapping[int, Timed], link: Link) -> Profile:
    from ...worlds.neural.world import NeuralWorld

    assert isinstance(opened.world, NeuralWorld), "checked when it was timed"
    generator, info = opened.world.generator, opened.info
    config, layers = generator.config, generator.config.layers
    layer = {rows: max(0.0, one.forward - one.ends) / layers for rows, one in timed.items()}
    blocks_bytes = _weights_bytes(generator.dynamics.blocks)
    spec = config.memory_spec()
    return Profile(
        name=info.name,
        source=f"measured here on {opened.environment['cpu']}, {opened.environment['threads']} thread",
        device="cpu",
        device_memory_bytes=PROCESS_MEMORY_BYTES,
        layers=layers,
        denoise_steps=info.ladder[-1],
        frame_hz=float(info.tick_hz),
        costs=StageCosts(
            condition=measured_cost({rows: one.condition for rows, one in timed.items()}),
            layer=measured_cost(layer),
            step=measured_cost({rows: one.ends for rows, one in timed.items()}),
            decode=measured_cost({rows: one.decode for rows, one in timed.items()}),
            commit_layer=measured_cost(layer),
            commit=measured_cost({rows: max(0.0, one.commit - layers * layer[rows]) for rows, one in timed.items()}),
        ),
        sizes=Sizes(
            hop_row_bytes=config.tokens * config.width * FLOAT_BYTES,
            latent_row_bytes=2 * config.latent_dim * FLOAT_BYTES,
            layer_weights_bytes=blocks_bytes // layers,
            front_weights_bytes=_weights_bytes(generator.dynamics) - blocks_bytes,
            decode_weights_bytes=_weights_bytes(generator.tokenizer),
            kv_layer_bytes=spec.bytes // layers,
            session_bytes=3 * config.latent_dim * FLOAT_BYTES,
            work_row_bytes=info.width_px * info.height_px * 3 * (FLOAT_BYTES + 1),
        ),
        link=link,
        max_rows=max(ROWS),
    )


def _weights_bytes(module: Any) -> int:
    return sum(int(tensor.nbytes) for tensor in [*module.parameters(), *module.buffers()])


def measured_link() -> Link:
    """Between two processes of this machine, over torch.distributed with gloo."""
    from .gloo import link_between_processes

    return link_between_processes()
