"""A block of rows: sessions that share every pass of the network, though each is at its own tick and denoise step.

In one pass some rows denoise, each at its own noise level, while others commit: the layers are the same, only the
tokens that enter, the adaLN numbers and what is done with the outcome differ. Rows without work are computed along with
the rest and thrown away, so that every pass has the same shapes: a matrix product may round otherwise at another size,
and a row must not depend on what the other rows hold. Two rows of one product may be rounded unlike each other too (the
last ones beside a kernel's tiles), so a session is compared with itself in the same row only. Iteration-level
scheduling of unlike rows is from Orca (Yu et al., OSDI 2022).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from ..base import rng
from ..dynamics.slots import Dynamics, DynamicsConfig, Known
from ..generator.kernel import Drawn, LevelGates, committed, gate_table, shares, stepped, through
from ..generator.ticks import state_checksum
from ..memory.rolling import MemorySpec
from ..tokenizers.scenes.still import SlotTokenizer
from .memory import MemoryPool


class SessionError(ValueError):
    """A session asked for what it cannot do now, or a batch that has no room."""


class Phase(Enum):
    JOINING = "joining"  # still committing its true past
    READY = "ready"
    DENOISING = "denoising"
    DONE = "done"  # the latent is there, not yet committed
    COMMITTING = "committing"
    LEFT = "left"


class Session:
    """One session in a block: a memory, the last two latents, a tick. `SessionBatch.join` makes it.

    Per tick `start`, shared passes until the phase is DONE, `latent`, `commit`, one more shared pass. The same bits as
    the session alone in the same `row`. Whatever does not fit the phase raises SessionError.
    """

    def __init__(self, block: RowBlock, row: int, seed: int) -> None:
        self._block, self.row = block, row
        self.memory = block.pool.memories[row]
        self.phase = Phase.READY
        self.seed = seed
        self.tick = self.steps = self.steps_done = 0
        self.past: deque[tuple[Tensor, Tensor]] = deque()
        self.changed = False

    @property
    def has_work(self) -> bool:
        return self.phase in {Phase.JOINING, Phase.DENOISING, Phase.COMMITTING}

    def begin(self, seed: int, latents: Tensor, conditions: Tensor) -> None:
        """Start anew from a short true past, `(time, latent_dim)` and `(time, condition_dim)`; it is committed by the
        coming passes, one frame in each."""
        self._expect(*(phase for phase in Phase if phase is not Phase.LEFT))
        config = self._block.dynamics.config
        found, right = (latents.shape[1:], conditions.shape[1:]), ((config.latent_dim,), (config.condition_dim,))
        if found != right or not 0 < len(latents) == len(conditions):
            raise SessionError(
                f"session: expected latents (time, {config.latent_dim}) and conditions (time, {config.condition_dim}), "
                f"got {tuple(latents.shape)} and {tuple(conditions.shape)}"
            )
        self._block.pool.reset(self.row)
        self._block.set_latents(self.row, latents[:1], latents[:1])
        self.seed, self.tick, self.phase = seed, 0, Phase.JOINING
        self.past = deque(zip(latents.split(1), conditions.split(1), strict=True))

    def start(self, condition: Tensor, steps: int) -> None:
        """A tick of at most `steps` denoise steps. `condition`: `(condition_dim,)`. Noise by (seed, tick)."""
        self._expect(Phase.READY)
        self.check_request(condition, steps)
        block = self._block
        noise = rng.normal((1, block.dynamics.config.latent_dim), seed=self.seed, tick=self.tick)
        block.start_row(self.row, noise * block.dynamics.config.temperature, condition)
        self.steps, self.steps_done, self.phase, self.changed = steps, 0, Phase.DENOISING, True

    def check_request(self, condition: Tensor, steps: int) -> None:
        check_request(self._block.dynamics.config, condition, steps)

    def cut(self) -> None:
        """No further denoise steps: the tick ends on the rung of the steps done."""
        self._expect(Phase.DENOISING)
        if not self.steps_done:
            raise SessionError("session: expected at least one denoise step before the tick is cut, got none")
        self.phase = Phase.DONE

    def latent(self) -> Tensor:
        """`(1, latent_dim)`, as it will be decoded and committed."""
        self._expect(Phase.DONE)
        return self._block.estimate[self.row : self.row + 1].clone()

    def commit(self) -> None:
        """Let the coming pass write the latent into memory."""
        self._expect(Phase.DONE)
        self.phase = Phase.COMMITTING

    def leave(self) -> None:
        """Give the row back; the session is of no use afterwards."""
        self._expect(*(phase for phase in Phase if phase is not Phase.LEFT))
        self.phase = Phase.LEFT
        self._block.sessions[self.row] = None

    # --- state ----------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, object]:
        """What `RollingGenerator.snapshot` of the session alone would be: the two may be exchanged."""
        self._expect(Phase.READY, Phase.DENOISING)
        last, before = (part.cpu().numpy().copy() for part in self._latents())
        return {"memory": self.memory.snapshot(), "last": last, "before": before, "tick": self.tick}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue from a snapshot; a tick under way is dropped. The seed is not part of it."""
        self._expect(*(phase for phase in Phase if phase is not Phase.LEFT))
        self._block.pool.restore(self.row, snapshot["memory"])
        self._block.set_latents(self.row, *(torch.from_numpy(snapshot[name].copy()) for name in ("last", "before")))
        self.tick, self.phase = snapshot["tick"], Phase.READY
        self.past.clear()

    def checksum(self) -> int:
        """As `RollingGenerator.checksum` of the same state."""
        self._expect(Phase.READY, Phase.DENOISING)
        return state_checksum(self.memory, self._latents(), self.tick)

    def _latents(self) -> tuple[Tensor, Tensor]:
        at = slice(self.row, self.row + 1)
        return self._block.last[at], self._block.before[at]

    def _expect(self, *phases: Phase) -> None:
        if self.phase not in phases:
            wanted = " or ".join(phase.value for phase in phases)
            raise SessionError(f"session in row {self.row}: expected it to be {wanted}, got {self.phase.value}")


def check_request(config: DynamicsConfig, condition: Tensor, steps: int) -> None:
    """Raises SessionError for a condition or a number of denoise steps that the dynamics cannot take."""
    if condition.numel() != config.condition_dim or not 1 <= steps <= len(config.taus):
        raise SessionError(
            f"session: expected a condition of {config.condition_dim} numbers and 1 to {len(config.taus)} denoise "
            f"steps, got {condition.numel()} and {steps}"
        )


class RowBlock:
    """`rows` rows that always pass through the network together. `sessions`: by row, None where it is free."""

    def __init__(self, tokenizer: SlotTokenizer, dynamics: Dynamics, rows: int, spec: MemorySpec) -> None:
        config, device = dynamics.config, next(dynamics.parameters()).device
        if config.window < 2:
            raise ValueError(f"session batch: expected a window of at least 2 ticks, got {config.window}")
        self.tokenizer, self.dynamics, self.device = tokenizer, dynamics, device
        self.sessions: list[Session | None] = [None] * rows
        self.pool = MemoryPool(spec, rows, dynamics.rotary, device)
        self.last, self.before, self.estimate, self._noisy, self._first = (
            torch.zeros(rows, config.latent_dim, device=device) for _ in range(5)
        )
        self._condition = torch.zeros(rows, config.condition_dim, device=device)
        self._shares = shares(config.taus)
        self._attend = attend_alike if device.type == "cpu" else F.scaled_dot_product_attention
        self._gates: Tensor | None = None
        self._known: Known | None = None

    def join(self, row: int, seed: int) -> Session:
        session = self.sessions[row] = Session(self, row, seed)
        return session

    def set_latents(self, row: int, last: Tensor, before: Tensor) -> None:
        """`(1, latent_dim)` each."""
        self.last[row], self.before[row] = last[0], before[0]

    def start_row(self, row: int, noise: Tensor, condition: Tensor) -> None:
        self._noisy[row] = noise[0]
        self.estimate[row] = 0.0
        self._condition[row] = condition.flatten()

    @torch.inference_mode()
    def forward(self, only: Session | None = None) -> int:
        """One pass for every row that has work, or for `only` one of them; returns how many moved."""
        waiting = self.sessions if only is None else [only]
        moving = [session for session in waiting if session is not None and session.has_work]
        if not moving:
            return 0
        denoising = [session for session in moving if session.phase is Phase.DENOISING]
        committing = [session for session in moving if session.phase is not Phase.DENOISING]
        for session in committing:
            self._next_of_past(session)
        self._prepare([session for session in moving if session.changed])
        tokens, latents = self._tokens(denoising, committing)
        gates = self._gates_now(moving)
        passed = through(self.dynamics.blocks, tokens, gates, self.pool.past, attend=self._attend)
        if denoising:
            self._after_denoise(denoising, passed.tokens)
        if committing:
            self._after_commit(committing, latents, *passed.remembered)
        return len(moving)

    # --- before the layers ----------------------------------------------------------------------------------------

    def _next_of_past(self, session: Session) -> None:
        if session.phase is Phase.JOINING:
            latent, condition = session.past.popleft()
            self.estimate[session.row] = latent[0]
            self._condition[session.row] = condition[0]
            session.changed = True

    def _prepare(self, changed: Sequence[Session]) -> None:
        """What stays the same for all passes of a tick. Rows in the middle of theirs get the same numbers again."""
        if changed:
            self.pool.read([session.row for session in changed])
            self._gates = gate_table(self.dynamics, self._condition, self.dynamics.config.taus)
            self._known = self.dynamics.known(self.last, self.before, self._condition)
        for session in changed:
            session.changed = False

    def _tokens(self, denoising: Sequence[Session], committing: Sequence[Session]) -> tuple[Tensor, Tensor]:
        """What enters the layers, `(rows, tokens, width)`, and the latents that commits will write."""
        dynamics, latents = self.dynamics, self.estimate
        if committing:
            latents, clean = committed(self.tokenizer, dynamics, self.estimate, self.last, None)
            if not denoising:
                return clean, latents
        noisy = dynamics.noisy_tokens(self._noisy, self.estimate, cast(Known, self._known))
        if committing:
            noisy = torch.where(self._mask(committing)[..., None], clean, noisy)
        return noisy, latents

    def _gates_now(self, moving: Sequence[Session]) -> LevelGates:
        """Each row's adaLN numbers at its own noise level, by layer."""
        clean = len(self.dynamics.config.taus)
        levels = [0] * len(self.sessions)
        for session in moving:
            levels[session.row] = session.steps_done if session.phase is Phase.DENOISING else clean
        own = {levels[session.row] for session in moving}
        table = cast(Tensor, self._gates)
        if len(own) == 1:
            chosen = table[own.pop()]
        else:
            rows = torch.arange(len(levels), device=self.device)
            chosen = table.movedim(2, 1)[torch.tensor(levels, device=self.device), rows].movedim(0, 1)
        return [tuple(layer.unbind(0)) for layer in chosen.movedim(2, 1)[..., None, :].unbind(0)]

    # --- after the layers -----------------------------------------------------------------------------------------

    def _after_denoise(self, denoising: Sequence[Session], tokens: Tensor) -> None:
        """As `FlowJob.step`, with each row's own share of the way."""
        answer = self.dynamics.latent_of(tokens, cast(Known, self._known))
        begun = self._mask([session for session in denoising if not session.steps_done])
        torch.where(begun, answer, self._first, out=self._first)
        parts = [0.0] * len(self.sessions)
        for session in denoising:
            parts[session.row] = self._shares[session.steps_done]
        share, moved = torch.tensor(parts, device=self.device)[:, None], self._mask(denoising)
        drawn = stepped(self.tokenizer, Drawn(self._noisy, self.estimate, self._first), answer, share)
        torch.where(moved, drawn.noisy, self._noisy, out=self._noisy)
        torch.where(moved, drawn.estimate, self.estimate, out=self.estimate)
        for session in denoising:
            session.steps_done += 1
            if session.steps_done == session.steps:
                session.phase = Phase.DONE

    def _after_commit(self, committing: Sequence[Session], latents: Tensor, keys: Tensor, values: Tensor) -> None:
        for session in committing:
            at = slice(session.row, session.row + 1)
            session.memory.write(keys[:, at], values[:, at])
            self.before[at] = self.last[at]
            self.last[at] = latents[at]
            if not session.past:
                session.tick = 0 if session.phase is Phase.JOINING else session.tick + 1
                session.phase = Phase.READY

    def _mask(self, sessions: Sequence[Session]) -> Tensor:
        """`(rows, 1)`: true in the rows of these sessions."""
        mask = [[False]] * len(self.sessions)
        for session in sessions:
            mask[session.row] = [True]
        return torch.tensor(mask, device=self.device)


def attend_alike(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Attention written out, `(rows, heads, n, head_dim)`: a row's bits do not depend on the thread that computes it.

    In the fused kernel of the CPU they do: with several threads equal rows came out unlike each other.
    """
    scores = torch.matmul(query * query.shape[-1] ** -0.5, keys.transpose(-1, -2)).add_(mask)
    return torch.matmul(scores.softmax(-1), values)
