"""Several players of one neural world: they share the passes of the network, or fill the stages it is laid over.

A player is a controller, a prompt in force and a number of denoise steps. For a server: `join` and `leave` at any time,
`tick` for the players that have an input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ....model.batch.rows import Session, SessionError
from ....model.batch.sessions import BLOCK_ROWS, SessionBatch, TickRequest
from ....model.stages.generator import StagedGenerator
from ....model.stages.sessions import StagedSession, StagedSessions
from ....runtime.core import Action, Controller, Frame, NextframeError, WorldInfo
from ....worlds.neural.world import NeuralWorld
from ....worlds.prompts.words import parse_prompt


@dataclass
class Player:
    """`denoise_steps`: of its ticks, an entry of the world's ladder. `frame`: the newest one."""

    session: Session | StagedSession
    controller: Controller
    denoise_steps: int
    frame: Frame
    prompt: dict[str, str] = field(default_factory=dict)


class MultiSession:
    """Room for `rows` players of `world`. The world itself is used to start sessions and is not played.

    `synonyms`: of its prompt words. Each player sees the same frames as playing alone in the same row of equal blocks.
    Over stage processes they are exactly those of playing alone, and there is room for as many as the stages have
    memories.
    """

    def __init__(
        self, world: NeuralWorld, rows: int, synonyms: Mapping[str, str], *, block_rows: int = BLOCK_ROWS
    ) -> None:
        self._world, self._synonyms = world, synonyms
        generator = world.generator
        self.batch: SessionBatch | StagedSessions
        if isinstance(generator, StagedGenerator):
            self.batch = StagedSessions(generator)
        else:
            self.batch = SessionBatch(generator.tokenizer, generator.dynamics, rows, block_rows=block_rows)
        self.players: list[Player] = []

    @property
    def info(self) -> WorldInfo:
        return self._world.info

    @property
    def how(self) -> str:
        """How the sessions share the model, for the summary line."""
        if isinstance(self.batch, SessionBatch):
            return "in one batch"
        return f"over {self.batch.layout}"

    def close(self) -> None:
        """The world with its processes, if it has any."""
        self._world.close()

    def join(self, seed: int, controller: Controller, denoise_steps: int) -> Player:
        """A new player. Raises NextframeError where there is no room, or for a step count that is not in the ladder."""
        if denoise_steps not in self.info.ladder:
            raise NextframeError(
                f"world {self.info.name}: expected denoise steps of {self.info.ladder}, got {denoise_steps}"
            )
        frame = self._world.reset(seed)
        state: dict[str, Any] = dict(self._world.snapshot())
        try:
            session = self.batch.join_snapshot(seed, state["generator"])
        except SessionError as error:
            raise NextframeError(f"{error}; let a player leave, or open the world with more rows") from error
        player = Player(session, controller, denoise_steps, frame, dict(state.get("prompt", {})))
        self.players.append(player)
        return player

    def leave(self, player: Player) -> None:
        player.controller.close()
        player.session.leave()
        self.players.remove(player)

    def tick(self, players: Sequence[Player] | None = None) -> list[Frame]:
        """One tick of these players, or of all: inputs polled, frames made, memory committed."""
        chosen = self.players if players is None else players
        requests: dict[Any, TickRequest] = {player.session: self._request(player) for player in chosen}
        frames: dict[Any, Any] = self.batch.frames(requests)
        for player in chosen:
            player.frame = frames[player.session][0].cpu().numpy()
        return [player.frame for player in chosen]

    def _request(self, player: Player) -> TickRequest:
        action: Action = player.controller.poll(player.session.tick)
        if action.prompt is not None:
            said = parse_prompt(action.prompt, self.info.actions.prompts, self._synonyms)
            player.prompt = {**player.prompt, **said.chosen}
        return TickRequest(self._world.condition(action, player.prompt)[0], player.denoise_steps)
