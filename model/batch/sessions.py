"""Many sessions in one generator: they join and leave at any time and share the passes of the network.

Blocks of rows, and which session has which row. The caller decides which sessions start a tick, when a tick is cut, and
when a shared pass is made. docs/sessions.md says what is equal to what, and what it gains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from ..dynamics.slots import Dynamics
from ..memory.rolling import MemorySpec
from ..tokenizers.scenes.still import SlotTokenizer
from .rows import Phase, RowBlock, Session, SessionError

BLOCK_ROWS = 8
"""Rows that are always computed together. The bits of a session depend on this number, on its own row in the block, on
the number of threads and on the instruction set; never on the sessions in the other rows."""
ROW_STEP = 4
"""Blocks are multiples of this: with 5 rows a product's last rows were seen to round unlike its first ones. On some
CPUs they do so at any size (MKL with AVX2: the last two of 8), so this makes fewer rows differ and promises nothing."""


@dataclass(frozen=True)
class TickRequest:
    """What one session does in its coming tick. `condition`: `(condition_dim,)`."""

    condition: Tensor
    denoise_steps: int


class SessionBatch:
    """Room for `rows` sessions, allocated once, in blocks of `block_rows`; the last block may be larger than needed.

    `advance` is the simple way: a whole tick of some sessions. `Session.start` and `forward` are the way for sessions
    that do not tick together. `memory_spec`: of one session, if not the one of the dynamics' config.
    """

    def __init__(
        self,
        tokenizer: SlotTokenizer,
        dynamics: Dynamics,
        rows: int = BLOCK_ROWS,
        *,
        block_rows: int = BLOCK_ROWS,
        memory_spec: MemorySpec | None = None,
    ) -> None:
        if rows < 1 or block_rows < 1 or block_rows % ROW_STEP:
            raise ValueError(
                f"session batch: expected at least 1 row, in blocks of a multiple of {ROW_STEP}, got {rows} rows in "
                f"blocks of {block_rows}"
            )
        self.tokenizer = tokenizer.eval().requires_grad_(False)
        self.dynamics = dynamics.eval().requires_grad_(False)
        self.config = dynamics.config
        self.block_rows = block_rows
        spec = memory_spec or self.config.memory_spec()
        self._blocks = [
            RowBlock(self.tokenizer, self.dynamics, block_rows, spec) for _ in range(-(-rows // block_rows))
        ]

    @property
    def sessions(self) -> list[Session]:
        return [session for block in self._blocks for session in block.sessions if session is not None]

    @property
    def rows(self) -> int:
        return len(self._blocks) * self.block_rows

    # --- joining --------------------------------------------------------------------------------------------------

    def join(
        self, seed: int, latents: Tensor, conditions: Tensor, *, wait: bool = True, row: int | None = None
    ) -> Session:
        """A new session from a short true past, `(time, latent_dim)` and `(time, condition_dim)`.

        With `wait` it is ready on return, and the others have not moved. Without, its past is committed by the coming
        shared passes, beside the others' ticks. `row`: of its block, `Session.row`; the same session in the same row
        is the same bit for bit. Raises SessionError if no such row is free.
        """
        session = self._take_row(seed, row)
        try:
            session.begin(seed, latents, conditions)
        except SessionError:
            session.leave()
            raise
        while wait and session.phase is Phase.JOINING:
            self._forward_alone(session)
        return session

    def join_snapshot(self, seed: int, snapshot: dict[str, Any], *, row: int | None = None) -> Session:
        """A new session from a snapshot, of a `Session` or of a `Generator` with one row: no pass is needed. `row` and
        errors: see `join`."""
        session = self._take_row(seed, row)
        try:
            session.restore(snapshot)
        except (ValueError, AssertionError):
            session.leave()
            raise
        return session

    def _take_row(self, seed: int, wanted: int | None) -> Session:
        """The first free row: few blocks are then at work, and those are full."""
        for block in self._blocks:
            for row, session in enumerate(block.sessions):
                if session is None and wanted in {None, row}:
                    return block.join(row, seed)
        if wanted is None:
            raise SessionError(f"session batch: expected a free row, got {self.rows} sessions in {self.rows} rows")
        raise SessionError(
            f"session batch: expected row {wanted} to be free in a block of {self.block_rows} rows, got none of "
            f"{len(self._blocks)}; leave the row out to take any"
        )

    def _forward_alone(self, session: Session) -> None:
        block = next(block for block in self._blocks if session in block.sessions)
        block.forward(only=session)

    # --- ticks ----------------------------------------------------------------------------------------------------

    def forward(self) -> int:
        """One shared pass: the next denoise step, or the commit, of every session that has work. How many moved."""
        return sum(block.forward() for block in self._blocks)

    def advance(self, requests: Mapping[Session, TickRequest]) -> dict[Session, Tensor]:
        """A whole tick of these sessions, committed; returns the latents, `(1, latent_dim)` each.

        As many passes as the longest tick needs: a session with fewer steps commits while others still denoise. If a
        request does not fit, SessionError is raised and nothing has begun.
        """
        for session, request in requests.items():
            if session.phase is not Phase.READY:
                raise SessionError(f"session in row {session.row}: expected it to be ready, got {session.phase.value}")
            session.check_request(request.condition, request.denoise_steps)
        for session, request in requests.items():
            session.start(request.condition, request.denoise_steps)
        latents: dict[Session, Tensor] = {}
        while any(session.has_work for session in requests):
            self.forward()
            for session in requests:
                if session.phase is Phase.DONE:
                    latents[session] = session.latent()
                    session.commit()
        return {session: latents[session] for session in requests}

    # --- frames ---------------------------------------------------------------------------------------------------

    def frames(self, requests: Mapping[Session, TickRequest]) -> dict[Session, Tensor]:
        """A whole tick of these sessions, committed; returns their frames, `(1, height, width, 3)` uint8 each."""
        latents = self.advance(requests)
        return dict(zip(latents, self.decode(list(latents.values())).split(1), strict=True)) if latents else {}

    @torch.inference_mode()
    def decode(self, latents: Sequence[Tensor]) -> Tensor:
        """Frames `(n, height, width, 3)` uint8 of latents `(1, latent_dim)`.

        On a CPU one by one: hidden objects are left out and patches are views, and a larger batch gained nothing. On
        other devices in blocks of rows.
        """
        if latents[0].device.type == "cpu":
            return torch.cat([self.tokenizer.decode(latent) for latent in latents])
        batch = torch.cat(list(latents))
        padded = F.pad(batch, (0, 0, 0, -len(batch) % self.block_rows))
        return torch.cat([self.tokenizer.decode(part) for part in padded.split(self.block_rows)])[: len(batch)]
