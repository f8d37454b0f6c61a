"""Several players of one neural world, stepped together in a `SessionBatch`.

Owns what a player is: a controller, a prompt in force, a number of denoise steps. Knows no clock and no window. The
seam for a server: `join` and `leave` at any time, `tick` for whoever has an input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model.batch import BLOCK_ROWS, SessionBatch, TickRequest
from model.batch_rows import Session, SessionError
from runtime.core import Action, Controller, Frame, NextframeError, WorldInfo
from worlds.neural import NeuralWorld
from worlds.prompts import parse_prompt


@dataclass
class Player:
    """`denoise_steps`: of its ticks, an entry of the world's ladder. `frame`: the newest one."""

    session: Session
    controller: Controller
    denoise_steps: int
    frame: Frame
    prompt: dict[str, str] = field(default_factory=dict)


class MultiSession:
    """Room for `rows` players of `world`. The world itself is used to start sessions and is not played.

    `synonyms`: of its prompt words. Each player sees the same frames as playing alone in a batch with equal blocks.
    """

    def __init__(
        self, world: NeuralWorld, rows: int, synonyms: Mapping[str, str], *, block_rows: int = BLOCK_ROWS
    ) -> None:
        self._world, self._synonyms = world, synonyms
        generator = world.generator
        self.batch = SessionBatch(generator.tokenizer, generator.dynamics, rows, block_rows=block_rows)
        self.players: list[Player] = []

    @property
    def info(self) -> WorldInfo:
        return self._world.info

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
            raise NextframeError(f"{error}; let somebody leave, or open the world with more rows") from error
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
        requests = {player.session: self._request(player) for player in chosen}
        latents = self.batch.advance(requests)
        frames = self.batch.decode([latents[player.session] for player in chosen]).cpu().numpy()
        for player, frame in zip(chosen, frames, strict=True):
            player.frame = frame
        return [player.frame for player in chosen]

    def _request(self, player: Player) -> TickRequest:
        action: Action = player.controller.poll(player.session.tick)
        if action.prompt is not None:
            said = parse_prompt(action.prompt, self.info.actions.prompts, self._synonyms)
            player.prompt = {**player.prompt, **said.chosen}
        return TickRequest(self._world.condition(action, player.prompt)[0], player.denoise_steps)
