"""Dynamics over a scene and slots: the next frame's latent from remembered frames, as a change of where things were.

The transformer is `nextframe.model.dynamics.transformer`'s. Tokens of a frame: the scene, then one per slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..base.devices import constant
from ..memory.rolling import MemorySpec
from ..tokenizers.scenes.still import SLOT_DIM
from .places import PLACE_DIM, PlaneConfig, Planes, place_features
from .transformer import Block, TokenTransformer

SLOT_FEATURES = SLOT_DIM + PLACE_DIM + 6
MOTION_GAIN = 10.0


class PoseRule(Protocol):
    """When slot 0 stays exactly where it is: a network's errors are small but never nothing, and what stands adds them
    up. The world says when; `Dynamics` holds the pose, in training as in play."""

    def holds_below(self, place: Tensor, before: Tensor, condition: Tensor) -> Tensor:
        """How little slot 0 must want to move to be held, `(..., 1)` in a place's units; 0 where it is free. `place`,
        `before`: its last two places `(..., 2)`."""
        ...

    def turns(self, condition: Tensor) -> Tensor:
        """Whether it may turn while it is held, bool `(..., 1)`."""
        ...


@dataclass(frozen=True)
class DynamicsConfig:
    """`condition_dim`: controls and prompt per frame. `window`: remembered frames. `ladder`: denoise step counts.

    `taus`: noise level before each denoise step; every rung is a prefix of them.
    `temperature`: scale of the first noise when sampling; below 1 samples lie nearer the likeliest frame.
    `coast`: a pose is predicted as a change of the last one (0), or of where its motion would carry it (1).
    `rolls`: where the scene says how fast slot 0 goes forwards and sideways, and its place's units a tick for one of
    each; its place is then carried by that. `settles`: how many of the scene's numbers a prompt pulls; all if None.
    `rests`: when slot 0 stands. `planes`: what a closed world has where, learned by heart (`Planes`).
    """

    scene_dim: int = 12
    slots: int = 2
    condition_dim: int = 11
    width: int = 128
    layers: int = 6
    heads: int = 4
    window: int = 32
    ladder: tuple[int, ...] = (1, 2, 4)
    taus: tuple[float, ...] = (0.0, 0.5, 0.75, 0.9)
    temperature: float = 0.3
    coast: float = 0.0
    rolls: tuple[int, int, float, float] | None = None
    settles: int | None = None
    rests: PoseRule | None = None
    planes: tuple[PlaneConfig, ...] = ()

    @property
    def tokens(self) -> int:
        return 1 + self.slots

    @property
    def latent_dim(self) -> int:
        return self.scene_dim + self.slots * SLOT_DIM

    def memory_spec(self, rows: int = 1) -> MemorySpec:
        return MemorySpec(self.layers, self.heads, self.width // self.heads, self.tokens, self.window, rows=rows)


def slot_features(slots: Tensor, before: Tensor) -> Tensor:
    """What a frame says of each slot: the six numbers, its place, and its motion since the frame before."""
    both = ((slots[..., 4:5] > 0) & (before[..., 4:5] > 0)).float()
    motion = ((slots[..., :4] - before[..., :4]) * MOTION_GAIN * both).clamp(-3, 3)
    return torch.cat([slots, place_features(slots), motion, both, before[..., 4:5]], -1)


class Known(NamedTuple):
    """What denoising knows before its first step and what stays the same in all of them, per frame.

    `scene_last` `(..., scene_dim)` and `slots_last` `(..., slots, 6)`: the last committed frame, its poses carried on
    by `coast`. `away`: how far its scene is from where the prompt would settle. `scene_token`, `slot_tokens`: their
    share of the noisy tokens. `stood` `(..., 4)`: slot 0's last pose; it stays there if it would move by less than
    `held_below` `(..., 1)`; `turns` `(..., 1)`: whether it may turn while it stands (`PoseRule`).
    """

    scene_last: Tensor
    slots_last: Tensor
    away: Tensor
    scene_token: Tensor
    slot_tokens: Tensor
    stood: Tensor
    held_below: Tensor
    turns: Tensor


class Dynamics(TokenTransformer[Known]):
    config: DynamicsConfig

    def __init__(self, config: DynamicsConfig) -> None:
        super().__init__(config)
        d, s = config.width, config.scene_dim
        self.clean_scene = nn.Linear(2 * s, d)
        self.clean_slot = nn.Linear(SLOT_FEATURES, d)
        self.noisy_scene = nn.Linear(5 * s, d)
        self.noisy_slot = nn.Linear(2 * SLOT_DIM + SLOT_FEATURES + PLACE_DIM, d)
        self.kind = nn.Parameter(torch.randn(2, config.tokens, d) * 0.02)
        self.condition = self.embedding()
        self.modulate = nn.Linear(d, 6 * d)
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.layers))
        self.scene_out = nn.Linear(d, s)
        self.slot_out = nn.Linear(d, SLOT_DIM)
        self.settled = nn.Sequential(nn.Linear(config.condition_dim, 64), nn.ReLU(), nn.Linear(64, s))
        self.pull = nn.Linear(d, 1)
        for layer in (self.modulate, self.scene_out, self.slot_out, self.pull):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        if config.planes:
            self.planes = Planes(config.planes)
            self.place_seen, self.place_coming, self.place_guessed = (
                nn.Linear(k * self.planes.dim, d, bias=False) for k in (1, 2, 1)
            )

    def split(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        s = self.config.scene_dim
        return latent[..., :s], latent[..., s:].unflatten(-1, (self.config.slots, SLOT_DIM))

    def clean_tokens(self, latent: Tensor, before: Tensor) -> Tensor:
        """`(..., latent_dim)` twice (a frame and the one before) to tokens `(..., tokens, width)`."""
        scene, slots = self.split(latent)
        scene_before, slots_before = self.split(before)
        scene_token = self.clean_scene(torch.cat([scene, (scene - scene_before) * MOTION_GAIN], -1))
        slot_tokens = self.clean_slot(slot_features(slots, slots_before))
        if self.config.planes:
            slot_tokens = slot_tokens + self.place_seen(self.planes(slots))
        return torch.cat([scene_token[..., None, :], slot_tokens], -2) + self.kind[0]

    def known(self, last: Tensor, before: Tensor, condition: Tensor) -> Known:
        """What the last two committed frames and the condition say of the coming frame: once a tick."""
        c = 2 * self.config.scene_dim
        (scene_last, slots_last), (scene_before, slots_before) = self.split(last), self.split(before)
        away = self.settled(condition) - scene_last
        if self.config.settles is not None:
            away = torch.cat([away[..., : self.config.settles], torch.zeros_like(away[..., self.config.settles :])], -1)
        parts = torch.cat([scene_last, (scene_last - scene_before) * MOTION_GAIN, away], -1)
        scene_token = F.linear(parts, self.noisy_scene.weight[:, c:], self.noisy_scene.bias)
        features = slot_features(slots_last, slots_before)
        weight = self.noisy_slot.weight[:, 2 * SLOT_DIM : 2 * SLOT_DIM + SLOT_FEATURES]
        slot_tokens = F.linear(features, weight, self.noisy_slot.bias)
        kind = self.kind[1]
        base = self.carried(scene_last, slots_last, slots_before) if self.config.coast else slots_last
        if self.config.planes:
            here, there = self.planes(slots_last), self.planes(base)
            slot_tokens = slot_tokens + self.place_coming(torch.cat([there, there - here], -1))
        rule, place = self.config.rests, slots_last[..., 0, :2]
        held_below = turns = torch.zeros_like(place[..., :1])
        if rule is not None:
            held_below, turns = rule.holds_below(place, slots_before[..., 0, :2], condition), rule.turns(condition)
        tokens = (scene_token + kind[0])[..., None, :], slot_tokens + kind[1:]
        return Known(scene_last, base, away, *tokens, slots_last[..., 0, :4], held_below, turns)

    def carried(self, scene: Tensor, slots: Tensor, before: Tensor) -> Tensor:
        """Slots with their poses where motion alone would carry them by the coming frame."""
        poses = slots[..., :4] + self.config.coast * (slots - before)[..., :4]
        if self.config.rolls is not None:
            forwards, sideways, unit, side_unit = self.config.rolls
            ahead, aside = scene[..., forwards] * unit, scene[..., sideways] * side_unit
            cos, sin = slots[..., 0, 2], slots[..., 0, 3]
            place = slots[..., 0, :2] + torch.stack([ahead * cos - aside * sin, ahead * sin + aside * cos], -1)
            first = torch.cat([place, poses[..., 0, 2:]], -1)[..., None, :]
            poses = torch.cat([first, poses[..., 1:, :]], -2)
        return torch.cat([poses, slots[..., 4:]], -1)

    def noisy_tokens(self, noisy: Tensor, estimate: Tensor, known: Known) -> Tensor:
        """Tokens of the coming frame: its noisy latent and the estimate so far, upon what is known."""
        c = 2 * self.config.scene_dim
        (scene, slots), (scene_guess, guess) = self.split(noisy), self.split(estimate)
        scene_token = F.linear(torch.cat([scene, scene_guess], -1)[..., None, :], self.noisy_scene.weight[:, :c])
        moved = (guess - known.slots_last).clamp(-2, 2)
        features = torch.cat([slots, moved, place_features(guess)], -1)
        weight = self.noisy_slot.weight
        weight = torch.cat([weight[:, : 2 * SLOT_DIM], weight[:, 2 * SLOT_DIM + SLOT_FEATURES :]], -1)
        slot_tokens = F.linear(features, weight)
        if self.config.planes:
            slot_tokens = slot_tokens + self.place_guessed(self.planes(guess))
        return torch.cat([scene_token + known.scene_token, slot_tokens + known.slot_tokens], -2)

    def latent_of(self, tokens: Tensor, known: Known) -> Tensor:
        """The predicted clean latent: scene and poses as a change of the last frame, the rest outright.

        The scene moves by what the network says and by a share of the way to where the prompt would settle.
        """
        tokens = F.layer_norm(tokens.float(), tokens.shape[-1:])
        scene_token = tokens[..., 0, :]
        share = 0.2 * torch.sigmoid(self.pull(scene_token))
        scene = known.scene_last + 0.2 * self.scene_out(scene_token) + share * known.away.float()
        out = self.slot_out(tokens[..., 1:, :])
        slots = torch.cat([known.slots_last[..., :4] + 0.2 * out[..., :4], out[..., 4:]], -1)
        if self.config.rests is not None:
            scene, slots = self.rested(scene, slots, known)
        return torch.cat([scene, slots.flatten(-2)], -1)

    def rested(self, scene: Tensor, slots: Tensor, known: Known) -> tuple[Tensor, Tensor]:
        """Scene and slots with slot 0 where it stood, and no speed, where the rule holds it."""
        moved = (slots[..., 0, :2] - known.stood[..., :2]).norm(dim=-1, keepdim=True)
        stands = moved < known.held_below
        place = torch.where(stands, known.stood[..., :2], slots[..., 0, :2])
        heading = torch.where(stands & ~known.turns, known.stood[..., 2:], slots[..., 0, 2:4])
        pose = torch.cat([place, heading], -1)
        first = torch.cat([pose, slots[..., 0, 4:]], -1)[..., None, :]
        if self.config.rolls is not None:
            kept = tuple(float(k not in self.config.rolls[:2]) for k in range(self.config.scene_dim))
            scene = torch.where(stands, scene * constant(kept, scene.device), scene)
        return scene, torch.cat([first, slots[..., 1:, :]], -2)
