"""A tick as recorded launches: captured once per denoise step, then replayed with new numbers in the same places.

A tick of a small network is hundreds of tiny operations, and starting each from Python costs more than the arithmetic.
A CUDA graph starts all of them at once. What is captured may not wait for the device, copy from the host, or move a
tensor: everything that changes from tick to tick is written into buffers whose addresses never do (`FixedPast` reads
the memory that way). `Recorder` does the capturing, so that the same code runs where there are no graphs. See
"Accelerating PyTorch with CUDA Graphs", PyTorch, 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, cast

import torch
from torch import Tensor

from ..memory.past import Past
from ..memory.rolling import MemorySpec
from .kernel import Drawn, LevelGates, committed, shares, stepped, through
from .protocol import Capabilities
from .ticks import DynamicsT, Predict, RollingGenerator, TokenizerT

Work: TypeAlias = Callable[[], None]


class Recorder(Protocol):
    def capture(self, work: Work) -> Work:
        """Run `work` until it is warm, record it, and return what repeats the record.

        `work` reads and writes tensors that stay where they are; a second run must do no harm.
        """
        ...


class CudaGraphs:
    """One CUDA graph per piece of work, each with memory of its own, so that they may run side by side.

    `warm_ups`: runs before the capture, on a stream of their own as CUDA asks, so that libraries have allocated their
    workspaces and compilers have compiled.
    """

    def __init__(self, device: torch.device | str = "cuda", warm_ups: int = 3) -> None:
        self._device = torch.device(device)
        self._warm_ups = warm_ups

    def capture(self, work: Work) -> Work:
        with torch.cuda.device(self._device):
            warming = torch.cuda.Stream()
            warming.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(warming):
                for _ in range(self._warm_ups):
                    work()
            torch.cuda.current_stream().wait_stream(warming)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                work()
        return cast(Work, graph.replay)


class NoGraphs:
    """Repeats the work itself: for devices without graphs, and to compare with."""

    def capture(self, work: Work) -> Work:
        work()
        return work


class Room:
    """The buffers that numbers enter and leave by: `(rows, latent_dim)`, the condition `(rows, condition_dim)`."""

    def __init__(self, like: Tensor, condition_dim: int) -> None:
        self.condition = torch.zeros(len(like), condition_dim, device=like.device)
        names = ("noise", "noisy", "estimate", "first", "last", "before", "latent", "committed", "drawn")
        self.noise, self.noisy, self.estimate, self.first, self.last, self.before, *rest = (
            torch.zeros_like(like) for _ in names
        )
        self.latent, self.committed, self.drawn = rest


class GraphedJob:
    """A `DenoiseJob` by replays. One at a time: starting another ends it."""

    def __init__(self, generator: GraphedGenerator[Any, Any], steps: int) -> None:
        self._generator = generator
        self._steps = steps
        self.steps_done = 0

    @property
    def can_step(self) -> bool:
        return self.steps_done < self._steps

    def step(self) -> None:
        self._generator.replay_step(self, self.steps_done)
        self.steps_done += 1

    def finish(self) -> Tensor:
        assert self.steps_done > 0, "finish() needs at least one step()"
        return self._generator.estimate_of(self)


class GraphedGenerator(RollingGenerator[TokenizerT, DynamicsT]):
    """A `RollingGenerator` whose tick is captured at its first use: begin, each denoise step, decode, commit.

    The same operations on the same numbers as `RollingGenerator(fixed_shape=True)`, so the same bits. `predict`:
    another way to compute `RollingGenerator.predict`, a compiled one say.
    """

    def __init__(
        self,
        tokenizer: TokenizerT,
        dynamics: DynamicsT,
        recorder: Recorder,
        rows: int = 1,
        window: int | None = None,
        *,
        memory_spec: MemorySpec | None = None,
        predict: Callable[[Predict], Predict] | None = None,
    ) -> None:
        super().__init__(tokenizer, dynamics, rows, window, memory_spec=memory_spec, fixed_shape=True)
        self._recorder = recorder
        self._predict = predict(self.predict) if predict else self.predict
        self._room = Room(self.last, self.config.condition_dim)
        self._captured: dict[str, Work] = {}
        self._job: GraphedJob | None = None
        self._begun: Tensor | None = None
        self._level_gates: list[LevelGates] = []
        self._known_of_tick: object = None
        self._shares = shares(self.config.taus)
        self._frames: Tensor | None = None
        self._written: tuple[Tensor, Tensor] | None = None

    @property
    def can(self) -> Capabilities[Tensor]:
        """It stays where it was captured."""
        return replace(super().can, place=None)

    # --- what a session calls -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def start(self, condition: Tensor, seed: int, steps: int) -> GraphedJob:
        self._room.noise.copy_(self.noise(seed))
        self._begin_with(condition)
        self._job = GraphedJob(self, steps)
        return self._job

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        self._room.drawn.copy_(latent)
        self._replay("decode", self._decode)
        assert self._frames is not None
        return self._frames.clone()

    @torch.inference_mode()
    def commit(self, latent: Tensor, condition: Tensor) -> None:
        if self._begun is not condition:
            self._begin_with(condition)
        self._room.latent.copy_(latent)
        self._replay("commit", self._commit)
        assert self._written is not None
        self.memory.write(*self._written)
        self.before, self.last = self.last, self._room.committed.clone()
        self.tick += 1
        self._begun = self._job = None

    def restore(self, snapshot: dict[str, Any]) -> None:
        self._begun = self._job = None
        super().restore(snapshot)

    @torch.inference_mode()
    def replay_step(self, job: GraphedJob, step: int) -> None:
        assert job is self._job, "a job of a tick that is over, or that another start has ended"
        self._replay(f"step {step}", lambda: self._step(step))

    @torch.inference_mode()
    def estimate_of(self, job: GraphedJob) -> Tensor:
        assert job is self._job, "a job of a tick that is over, or that another start has ended"
        return self._room.estimate.clone()

    # --- what is captured -----------------------------------------------------------------------------------------

    def _begin_with(self, condition: Tensor) -> None:
        room = self._room
        room.condition.copy_(condition)
        room.last.copy_(self.last)
        room.before.copy_(self.last if self.window == 1 else self.before)
        self._replay("begin", self._begin)
        self._begun = condition

    def _replay(self, name: str, work: Work) -> None:
        if name not in self._captured:
            kept = [(part, part.clone()) for part in vars(self._room).values()]
            self._captured[name] = self._recorder.capture(work)
            for part, before in kept:  # the runs before the capture have moved them on
                part.copy_(before)
        self._captured[name]()

    def _begin(self) -> None:
        room = self._room
        self._level_gates = self.gates_at(room.condition, self.config.taus)
        self._known_of_tick = self.dynamics.known(room.last, room.before, room.condition)
        self.read_memory()
        room.noisy.copy_(room.noise)
        room.estimate.zero_()

    def _step(self, step: int) -> None:
        room, gates = self._room, self._level_gates[step]
        answer = self._predict(room.noisy, room.estimate, self._known_of_tick, gates, self._past)
        first = None if step == 0 else room.first
        drawn = stepped(self.tokenizer, Drawn(room.noisy, room.estimate, first), answer, self._shares[step])
        if step == 0:
            room.first.copy_(answer)
        room.noisy.copy_(drawn.noisy)
        room.estimate.copy_(drawn.estimate)

    def _decode(self) -> None:
        self._frames = self.tokenizer.decode(self._room.drawn)

    def _commit(self) -> None:
        room = self._room
        latent, tokens = committed(self.tokenizer, self.dynamics, room.latent, room.last, self.window)
        self._written = through(self.dynamics.blocks, tokens, self._level_gates[-1], self._past).remembered
        room.committed.copy_(latent)

    @property
    def _past(self) -> Past:
        assert self._fixed_past is not None
        return self._fixed_past.at()
