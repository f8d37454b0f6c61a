"""A generator of vectors over the rolling memory: one tick of a token transformer as a job of denoise steps.

It holds the session state of one or more rows (parallel sessions on the same tick). The caller of a job decides before
each further step whether it still fits, and may finish early at any rung of the ladder.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import TypeVar

from ..base import rng
from ..dynamics.transformer import TokenTransformer, TransformerConfig
from ..memory.past import FixedPast, Past, gather
from ..memory.rolling import MemorySpec, RollingKVMemory
from ..tokenizers.latent import LatentTokenizer, SceneCode
from .kernel import Drawn, LevelGates, by_level, coming, committed, gate_table, shares, stepped, through
from .protocol import (
    Capabilities,
    Conditioning,
    DenoiseJob,
    GeneratorSpec,
    Inputs,
    Size,
    Start,
    StartError,
    StatePiece,
)

TokenizerT = TypeVar("TokenizerT", bound=LatentTokenizer, default=Any)
# Left out where a caller asks for nothing but the contract. What a tick knows before its first step is the dynamics'
# own type: a generator only hands it back.
DynamicsT = TypeVar("DynamicsT", bound=TokenTransformer[Any], default=Any)


class Told(NamedTuple):
    """What all denoise steps of a tick are told. `known`: what the dynamics knows before the first. `gates`: by
    level."""

    known: Any
    gates: list[LevelGates]
    past: Past


class Question(NamedTuple):
    """What the network is told for one denoise step; see `RollingGenerator.predict`."""

    noisy: Tensor
    estimate: Tensor
    known: Any
    gates: LevelGates
    past: Past


Predict: TypeAlias = Callable[[Tensor, Tensor, Any, LevelGates, Past], Tensor]


class FlowJob:
    """The denoising of one coming frame. `step()` while `can_step`; `finish()` once. Reads memory, never writes it."""

    def __init__(
        self,
        tokenizer: LatentTokenizer,
        taus: Sequence[float],
        told: Told,
        noise: Tensor,
        steps: int,
        *,
        predict: Predict,
    ) -> None:
        self._tokenizer, self._shares, self._told = tokenizer, shares(taus), told
        self._predict, self._steps = predict, steps
        self._drawn = Drawn(noise, torch.zeros_like(noise))
        self.steps_done = 0

    @property
    def can_step(self) -> bool:
        return self.steps_done < self._steps

    @torch.inference_mode()
    def step(self) -> None:
        self.take(self._predict(*self.question))

    @property
    def question(self) -> Question:
        """What the network is asked next."""
        drawn, told = self._drawn, self._told
        return Question(drawn.noisy, drawn.estimate, told.known, told.gates[self.steps_done], told.past)

    def take(self, answer: Tensor) -> None:
        """The rest of a step, once the network has answered: `(rows, latent_dim)`."""
        self._drawn = stepped(self._tokenizer, self._drawn, answer, self._shares[self.steps_done])
        self.steps_done += 1

    def finish(self) -> Tensor:
        """The latent, `(rows, latent_dim)`, as it will be decoded."""
        assert self.steps_done > 0, "finish() needs at least one step()"
        return self._drawn.estimate


class RollingGenerator(Generic[TokenizerT, DynamicsT]):
    """Session state of `rows` parallel sessions: memory, the last two latents, the tick.

    `prefill` starts a session from true latents; then per tick `start` a job, step it, `decode`, and `commit` once.
    `window`: see no further back than so many ticks. `memory_spec`: another memory than the config's, of clean
    history. `fixed_shape`: read the memory at fixed shapes and addresses, to be captured; a job then lasts until the
    next commit.
    """

    def __init__(
        self,
        tokenizer: TokenizerT,
        dynamics: DynamicsT,
        rows: int = 1,
        window: int | None = None,
        *,
        memory_spec: MemorySpec | None = None,
        fixed_shape: bool = False,
    ) -> None:
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.dynamics = dynamics.eval().requires_grad_(False)
        self.config: TransformerConfig = dynamics.config
        self.device = next(dynamics.parameters()).device
        self.window = self.config.window if window is None else window
        spec = memory_spec or self.config.memory_spec(rows)
        if spec.history != "clean":
            raise ValueError(
                f"generator: expected a clean history, got {spec.history}: it remembers finished frames only"
            )
        self._full_limit = window
        self.memory = RollingKVMemory(spec, self.device, limit=window, fixed_shape=fixed_shape)
        self._fixed_past = FixedPast(self.memory, self.dynamics.rotary) if fixed_shape else None
        self.last = torch.zeros(rows, self.config.latent_dim, device=self.device)
        self.before = torch.zeros_like(self.last)
        self.tick = 0
        self._conditioned: tuple[Tensor, list[LevelGates]] | None = None

    @property
    def spec(self) -> GeneratorSpec:
        config, frames, memory = self.config, self.tokenizer.config, self.memory.spec
        return GeneratorSpec(
            frames_per_tick=1,
            frame=Size(frames.height_px, frames.width_px),
            ladder=config.ladder,
            noise_levels=tuple(1.0 - tau for tau in config.taus),
            conditioning=Conditioning(controls=config.condition_dim),
            history=memory.history,
            # A layer attends `window` ticks back to what the layer below made, which looked as far back again.
            memory_ticks=config.window * config.layers,
            memory_bytes=memory.bytes,
        )

    @property
    def can(self) -> Capabilities[Tensor]:
        return Capabilities(
            place=self,
            see_less=self if self.can_see_less else None,
            watch=self,
            mend=None if self.tokenizer.scene_code is None else self,
        )

    def to(self, device: torch.device | str) -> None:
        """Networks, memory and latents to another device. Modifies; the state stays the same."""
        state, limit = self.snapshot(), self._full_limit
        self.device = torch.device(device)
        self.tokenizer.to(self.device)
        self.dynamics.to(self.device)
        self.memory = RollingKVMemory(self.memory.spec, self.device, limit=limit, fixed_shape=self.memory.fixed_shape)
        if self._fixed_past is not None:
            self._fixed_past = FixedPast(self.memory, self.dynamics.rotary)
        self._conditioned = None
        self.restore(state)

    def begin(self, seed: int, start: Start) -> None:
        """`seed` decides nothing here: the past is given. Raises StartError."""
        config = self.config
        latents, controls = start.latents, start.controls
        wanted = (config.latent_dim,), (config.condition_dim,)
        found = tuple(None if part is None else tuple(part.shape[1:]) for part in (latents, controls))
        if latents is None or controls is None or found != wanted or not 0 < len(latents) == len(controls):
            raise StartError(
                f"generator: expected a start of latents (ticks, {config.latent_dim}) and controls (ticks, "
                f"{config.condition_dim}), got {_shape(latents)} and {_shape(controls)}"
            )
        rows = len(self.last)
        self.prefill(latents.expand(rows, -1, -1), controls.expand(rows, -1, -1))

    @torch.inference_mode()
    def prefill(self, latents: Tensor, conditions: Tensor) -> None:
        """Start a session from a short true past, `(rows, time, latent_dim)` and `(rows, time, condition_dim)`."""
        self.memory.limit = self._full_limit
        self.memory.reset()
        latents, conditions = latents.to(self.device), conditions.to(self.device)
        self.tick = 0
        self.last = self.before = latents[:, 0].clone()
        for t in range(latents.shape[1]):
            self.commit(latents[:, t], conditions[:, t])
        self.tick = 0

    @torch.inference_mode()
    def start(self, condition: Tensor, seed: int, steps: int) -> DenoiseJob:
        """A job for the coming frame. `condition`: `(rows, condition_dim)`. Noise by address of (seed, tick)."""
        return self.job(condition, self.noise(seed), steps)

    @torch.inference_mode()
    def job(self, condition: Tensor, noise: Tensor, steps: int) -> FlowJob:
        """The same from this noise, `(rows, latent_dim)`."""
        past, gates = self.read_memory(), self.conditioning(condition)
        told = Told(self.known(condition), gates, past)
        return FlowJob(self.tokenizer, self.config.taus, told, noise, steps, predict=self.predict)

    def noise(self, seed: int) -> Tensor:
        """The first noise of the coming tick: so few numbers are made on the host, the same for every device."""
        numbers = rng.normal(tuple(self.last.shape), seed=seed, tick=self.tick)
        return numbers.to(self.device) * self.config.temperature

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        """Frames `(rows, height, width, 3)` uint8."""
        return self.tokenizer.decode(latent)

    @torch.inference_mode()
    def commit(self, latent: Tensor, condition: Tensor) -> None:
        """Write the frame into memory, once, as the nearest latent that a frame can have."""
        latent, tokens = committed(self.tokenizer, self.dynamics, latent, self.last, self.window)
        gates, past = self.conditioning(condition)[-1], self.read_memory()
        self.memory.write(*through(self.dynamics.blocks, tokens, gates, past).remembered)
        self.before, self.last = self.last, latent
        self.tick += 1

    def skip(self) -> None:
        """A tick whose latent was of no use: it counts, so that the next one has other noise, and nothing else does."""
        self.last = self.last.clone()  # a tick that was begun on the state before is stale
        self.tick += 1

    def condition(self, inputs: Inputs) -> Tensor:
        """The same condition for every row, `(rows, condition_dim)`. Raises ValueError for another number of
        controls."""
        if len(inputs.controls) != self.config.condition_dim:
            raise ValueError(
                f"generator: expected {self.config.condition_dim} controls (axes, buttons, prompt words), got "
                f"{len(inputs.controls)}"
            )
        return torch.tensor([list(inputs.controls)] * len(self.last), dtype=torch.float32).to(self.device)

    def snapshot(self) -> dict[str, object]:
        """All session state as numpy arrays and plain numbers; later ticks do not change it."""
        return {
            "memory": self.memory.snapshot(),
            "last": self.last.cpu().numpy().copy(),
            "before": self.before.cpu().numpy().copy(),
            "tick": self.tick,
            **({"limit": self.memory.limit} if self.sees_less else {}),
        }

    def inventory(self) -> list[StatePiece]:
        return [
            StatePiece("memory", self.spec.memory_ticks),
            StatePiece("last", horizon_ticks=2),
            StatePiece("before", horizon_ticks=1),
            StatePiece("tick", horizon_ticks=None),  # with the seed: the address of the noise
            *([StatePiece("limit", horizon_ticks=None)] if self.sees_less else []),
        ]

    def restore(self, snapshot: dict[str, Any]) -> None:
        self.memory.limit = snapshot.get("limit", self._full_limit)
        self.memory.restore(snapshot["memory"])
        last, before = (torch.from_numpy(snapshot[name].copy()) for name in ("last", "before"))
        self.last, self.before = last.to(self.device), before.to(self.device)
        self.tick = snapshot["tick"]

    def checksum(self, crc: int = 0) -> int:
        """CRC-32 of the session state: everything that decides the future besides the inputs."""
        if self.sees_less:
            crc = zlib.crc32(struct.pack("<q", self.memory.limit), crc)
        return state_checksum(self.memory, (self.last, self.before), self.tick, crc)

    # --- what a drift monitor watches -----------------------------------------------------------------------------

    @property
    def latent_dim(self) -> int:
        return self.config.latent_dim

    def watched(self, condition: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of the first row."""
        return self.last[0].cpu().numpy(), condition[0].cpu().numpy()

    @property
    def scene_code(self) -> SceneCode:
        code = self.tokenizer.scene_code
        assert code is not None, "the scene code of a latent that has none"
        return code

    @torch.inference_mode()
    def rewritten(
        self, snapshot: Mapping[str, Any], latents: Tensor, conditions: NDArray[np.float32]
    ) -> tuple[dict[str, object], NDArray[np.float32]]:
        self.restore(dict(snapshot))
        latents, given = latents.to(self.device), torch.from_numpy(conditions).to(self.device)
        next_position = self.memory.next_position
        committed = []
        self.memory.reset(max(0, next_position - len(latents)))
        self.last = self.before = self.tokenizer.canonical(latents[:1])
        for latent, condition in zip(latents, given, strict=True):
            self.commit(latent[None], condition[None])
            committed.append(self.last[0].cpu().numpy().copy())
        self.tick = snapshot["tick"]
        after = self.snapshot()
        self.restore(dict(snapshot))
        return after, np.stack(committed)

    # --- less memory in view, where the device has no room ----------------------------------------------------------

    @property
    def window_seen(self) -> int:
        """How many ticks back is seen now."""
        return self.memory.limit or self.config.window

    @property
    def sees_less(self) -> bool:
        """Less than at the session's beginning, until a reset or a restore. It decides the future, so it is state."""
        return self.memory.limit != self._full_limit

    @property
    def can_see_less(self) -> bool:
        """All of its memory is here."""
        return type(self.memory) is RollingKVMemory

    @property
    def narrower(self) -> list[int]:
        """Windows to try when there is no room, in ticks: ever half of the one before. None where a read takes the
        same room whatever it shows."""
        if not self.can_see_less or self.memory.fixed_shape:
            return []
        windows, ticks = [], self.window_seen
        while ticks > 1:
            ticks //= 2
            windows.append(ticks)
        return windows

    def see_less(self, ticks: int) -> None:
        """See no further back than so many ticks, from the next read on."""
        self.memory.see(ticks)

    @contextmanager
    def seeing(self, ticks: int) -> Iterator[None]:
        """The same for the jobs started inside, and no longer."""
        before = self.memory.limit
        self.memory.see(ticks)
        try:
            yield
        finally:
            self.memory.see(before)

    # --- the network over memory ----------------------------------------------------------------------------------

    def read_memory(self) -> Past:
        """Remembered keys and values as attention wants them."""
        if self._fixed_past is not None:
            return self._fixed_past.read()
        return gather(self.memory, self.dynamics.rotary)

    def conditioning(self, condition: Tensor) -> list[LevelGates]:
        """The adaLN numbers of a tick: for each denoise step, then for the commit, which comes with the condition of
        its own denoising and finds them here."""
        if self._conditioned is None or self._conditioned[0] is not condition:
            self._conditioned = (condition, self.gates_at(condition, self.config.taus))
        return self._conditioned[1]

    def gates_at(self, condition: Tensor, taus: Sequence[float]) -> list[LevelGates]:
        """For each noise level in `taus`, then for the clean stream; all in one pass. `condition`: `(rows, ...)`."""
        return by_level(gate_table(self.dynamics, condition, taus))

    def known(self, condition: Tensor) -> Any:
        return coming(self.dynamics, self.last, self.before, condition, self.window)

    def predict(self, noisy: Tensor, estimate: Tensor, known: Any, gates: LevelGates, past: Past) -> Tensor:
        """One pass of the network: the clean latent as estimated now, `(rows, latent_dim)`."""
        tokens = self.dynamics.noisy_tokens(noisy, estimate, known)
        return self.dynamics.latent_of(through(self.dynamics.blocks, tokens, gates, past).tokens, known)


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def state_checksum(memory: RollingKVMemory, latents: Iterable[Tensor], tick: int, crc: int = 0) -> int:
    crc = zlib.crc32(struct.pack("<q", tick), crc)
    for part in memory.state_bytes():
        crc = zlib.crc32(part, crc)
    for latent in latents:
        crc = zlib.crc32(latent.contiguous().cpu().numpy().tobytes(), crc)
    return crc
