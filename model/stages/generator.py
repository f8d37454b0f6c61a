"""One session of a generator over several processes, bit for bit the frames and checksums of one process.

`StagedGenerator` is the front: condition, first layers, sampler, tick, and the decoder unless that is elsewhere. The
other layers run in stage processes with their own weights and memory. A denoise pass goes once around the ring and is
waited for; a commit is sent off and not waited for, since messages keep their order: it runs beside what the front does
next. A pass brings its gates along, so a stage keeps nothing between messages but its memories: one for each session.
More sessions over the same processes: `nextframe.model.stages.sessions`.

When a stage process is gone every call raises `StageFault`. `restart` then makes all of them anew with an empty memory,
and `restore` brings a session back. `nextframe.runtime.session.supervisor` keeps the snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..dynamics.slots import Dynamics, DynamicsConfig, Known
from ..generator.kernel import LevelGates, committed, shared_gates
from ..generator.protocol import Capabilities
from ..generator.ticks import FlowJob, RollingGenerator
from ..memory.past import Past
from ..memory.rolling import MemorySpec, RollingKVMemory
from ..memory.slot_table import EMPTY
from .kinds import AnyTokenizer
from .layout import StageLayout
from .network import Opened, StageLayers, load_blocks, load_front, table_numbers
from .process.hosts import LaunchedProcesses
from .process.link import Command
from .process.processes import StageFault, StageLimits, StageProcesses, StageStartError
from .ring import FRONT, StageRing, StageWeights


class StagedMemory(RollingKVMemory):
    """The front's layers of the memory; what is done to it as a whole is done in every stage.

    Slot tables are the same everywhere, so the front's says where things are. Snapshots and checksums are those of the
    memory in one process: keys and values come in from the stages, layer after layer.
    """

    def __init__(
        self, whole: MemorySpec, layout: StageLayout, ring: StageRing, device: torch.device, session: int
    ) -> None:
        if len(whole.layers_by_rule) != 1 or whole.history != "clean":
            raise ValueError("stages: expected a memory with one window for all layers and a clean history")
        super().__init__(replace(whole, layers=layout.intervals[FRONT].layers), device)
        self._whole, self._layout, self._ring, self._session = whole, layout, ring, session

    def reset(self, first_position: int = 0) -> None:
        super().reset(first_position)
        self._ring.tell(Command.RESET, first_position, session=self._session)

    def new_epoch(self) -> None:
        super().new_epoch()
        self._ring.tell(Command.NEW_EPOCH, session=self._session)

    def snapshot(self) -> dict[str, object]:
        own = cast(dict[str, Any], super().snapshot())["lanes"][0]
        keys, values = self._gathered()
        return {"lanes": [{**own, "keys": keys, "values": values}]}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        lane = cast(list[dict[str, Any]], snapshot["lanes"])[0]
        if len(lane["keys"]) != self._whole.layers:
            raise ValueError(f"memory snapshot: expected {self._whole.layers} layers, got {len(lane['keys'])}")
        first = self._layout.intervals[FRONT]
        super().restore({"lanes": [{**lane, **_cut(lane, first.first, first.end)}]})
        table = table_numbers(lane)
        with self._ring.hold():
            self._ring.tell(Command.RESTORE, session=self._session)
            for rank, interval in enumerate(self._layout.intervals):
                if rank != FRONT and interval.layers:
                    part = _cut(lane, interval.first, interval.end)
                    self._ring.give(rank, table, *(torch.from_numpy(part[name]) for name in ("keys", "values")))

    def state_bytes(self) -> Iterator[bytes]:
        state, ages = self.lanes[0].table.state, self.lanes[0].table.ages()
        seen = [slot.position if age else EMPTY for slot, age in zip(state.slots, ages, strict=True)]
        yield np.array([state.next_position, *seen], "<i8").tobytes()
        held = [at for at, position in enumerate(seen) if position != EMPTY]
        for stored in self._gathered():
            yield stored[:, :, :, held].tobytes()

    def _gathered(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values of all layers, `(layers, rows, heads, slots, tokens, head_dim)` each."""
        shapes = {
            rank: [(interval.layers, *self.keys.shape[1:])] * 2
            for rank, interval in enumerate(self._layout.intervals)
            if rank != FRONT and interval.layers
        }
        answers = self._ring.ask(Command.COLLECT, shapes, torch.float32, self._session)
        parts = [part.cpu().numpy() for part in answers]
        own = [stored.cpu().numpy() for stored in (self.keys, self.values)]
        keys, values = (np.concatenate([own[at], *parts[at::2]]) for at in (0, 1))
        return keys, values


def _cut(lane: Mapping[str, Any], first: int, end: int) -> dict[str, np.ndarray]:
    return {name: np.require(lane[name][first:end], np.float32, ["C", "W"]) for name in ("keys", "values")}


class StagedGenerator(RollingGenerator[AnyTokenizer, Dynamics]):
    """A `RollingGenerator` whose layers run in several processes. `dynamics`: without layers, see `load_front`.

    `close` when done. `opened`: what the front read of the weights; of the others `processes.opened` says. `sessions`:
    how many the processes have memories for; this one is number 0, and `beside` makes the others.
    """

    config: DynamicsConfig

    def __init__(
        self,
        tokenizer: AnyTokenizer,
        config: DynamicsConfig,
        weights: StageWeights,
        layout: StageLayout,
        *,
        rows: int = 1,
        window: int | None = None,
        sessions: int = 1,
        limits: StageLimits | None = None,
    ) -> None:
        front, around = load_front(config, weights.dynamics)
        device = torch.device(layout.torch_device(FRONT))
        super().__init__(tokenizer.to(device), front.to(device), rows, window)
        blocks, inside = load_blocks(config, weights.dynamics, layout.intervals[FRONT])
        self.opened = Opened((*around.keys, *inside.keys), around.bytes + inside.bytes)
        self.layout, self.sessions, self._rows, self._limit = layout, sessions, rows, window
        self.ring = StageRing(config, layout, weights, limits or StageLimits())
        self._play(0, blocks.to(device))
        try:
            self.ring.start(rows, window, tokenizer, sessions)
        except (StageFault, StageStartError):
            self.close()  # the caller never gets anything to close
            raise

    def beside(self, session: int) -> StagedGenerator:
        """Session number `session` over the same processes, 1 or more: a generator with a memory of its own in each of
        them. It ends with this one and is not closed itself."""
        assert 0 < session < self.sessions, (session, self.sessions)
        other = copy(self)
        RollingGenerator.__init__(other, self.tokenizer, self.dynamics, self._rows, self._limit)
        other._play(session, self.front_layers.blocks)
        return other

    def _play(self, session: int, blocks: nn.ModuleList) -> None:
        self.session = session
        self.memory = StagedMemory(self.config.memory_spec(self._rows), self.layout, self.ring, self.device, session)
        self.memory.limit = self._limit
        self.front_layers = StageLayers(blocks, self.memory, self.dynamics.rotary)

    @property
    def processes(self) -> StageProcesses | LaunchedProcesses:
        return self.ring.processes

    def restart(self) -> None:
        """All stage processes anew, with empty memories. Raises StageStartError; StageFault if one is gone again."""
        self.ring.close()
        self.ring.start(self._rows, self._limit, self.tokenizer, self.sessions)
        self.memory.reset()
        self.front_layers.forget_past()

    def close(self) -> None:
        self.ring.close()
        self.processes.close()

    @property
    def can(self) -> Capabilities[Tensor]:
        """It stays over its processes, each of which always sees all of its memory."""
        return replace(super().can, place=None, see_less=None)

    # --- what a tick does differently -------------------------------------------------------------------------------

    def read_memory(self) -> Past:
        self.front_layers.forget_past()  # a reset or a restore may have come between
        return self.front_layers.past()

    def gates_at(self, condition: Tensor, taus: Any) -> list[LevelGates]:
        """As everywhere, but what the layers have in common: every stage adds its own. One tensor for each level."""
        return [[(level,)] for level in shared_gates(self.dynamics, condition, taus)]

    def predict(self, noisy: Tensor, estimate: Tensor, known: Known, gates: LevelGates, past: Past) -> Tensor:
        y, shared = self._through_front(noisy, estimate, known, gates)
        return self.dynamics.latent_of(self.ring.through(y, shared, Command.DENOISE, self.session), known)

    @torch.inference_mode()
    def start(self, condition: Tensor, seed: int, steps: int) -> FlowJob:
        return self.job(condition, self.noise(seed), steps)

    @torch.inference_mode()
    def depart(self, job: FlowJob) -> None:
        """The next step of a job through the front's layers and off; `arrive` has the answer, and other sessions may be
        served meanwhile. Answers come in the order of departures, of all sessions."""
        asked = job.question
        y, shared = self._through_front(asked.noisy, asked.estimate, asked.known, asked.gates)
        self.ring.depart(y, shared, Command.DENOISE, self.session)

    @torch.inference_mode()
    def arrive(self, job: FlowJob) -> None:
        job.take(self.dynamics.latent_of(self.ring.arrive(), job.question.known))

    def depart_picture(self, latent: Tensor) -> None:
        """Off to be decoded elsewhere, if the layout says so; the ring's `arrive_picture` has the frames."""
        sizes = self.tokenizer.config
        self.ring.depart_picture(latent, (len(latent), sizes.height_px, sizes.width_px, 3), self.session)

    def _through_front(self, noisy: Tensor, estimate: Tensor, known: Known, gates: LevelGates) -> tuple[Tensor, Tensor]:
        shared = gates[0][0]
        return self.front_layers.denoise(self.dynamics.noisy_tokens(noisy, estimate, known), shared), shared

    @torch.inference_mode()
    def commit(self, latent: Tensor, condition: Tensor) -> None:
        """As everywhere. The later stages do their part of it beside whatever comes next here."""
        latent, tokens = committed(self.tokenizer, self.dynamics, latent, self.last, self.window)
        shared = self.conditioning(condition)[-1][0][0]
        self.front_layers.forget_past()
        self.ring.depart(self.front_layers.commit(tokens, shared), shared, Command.COMMIT, self.session)
        self.before, self.last = self.last, latent
        self.tick += 1

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        if self.layout.decode == FRONT:
            return super().decode(latent)
        with self.ring.hold():
            self.depart_picture(latent)
            return self.ring.arrive_picture(self.session)

    # --- measuring ----------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """A message once around the ring, with nothing done to it."""
        self.ring.through(self._blank(), self._blank_gates(), Command.PING)

    def stage_work(self) -> list[tuple[int, float]]:
        """For each stage process with layers: passes served and ms busy with them since it was last asked."""
        ranks = range(1, self.layout.ring)
        numbers = self.ring.ask(Command.STATS, {rank: [(2,)] for rank in ranks}, torch.int64)
        return [(int(passes), int(busy_ns) / 1e6) for passes, busy_ns in (tensor.tolist() for tensor in numbers)]

    def _blank(self) -> Tensor:
        return torch.zeros(self._rows, self.config.tokens, self.config.width, device=self.device)

    def _blank_gates(self) -> Tensor:
        return torch.zeros(self._rows, 6 * self.config.width, device=self.device)
