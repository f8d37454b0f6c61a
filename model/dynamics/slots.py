"""The dynamics: a block-causal transformer that denoises the next frame's latent, given remembered frames.

Two streams share one set of weights. The clean stream reads committed latents and leaves keys and values in the
memory; the noisy stream reads a noisy latent of the coming frame, attends to remembered clean frames and to itself,
and predicts the clean latent (x-prediction; flow-matching noise as in Dreamer 4, section 3). Rotary positions in
ticks, no position table. Conditions (controls, prompt, noise level) enter by adaLN with one shared projection, as
in PixArt-alpha. The last estimate is fed back (self-conditioning, Chen et al. 2022), so later denoise steps refine.

Tokens of a frame: the scene, then one per slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..base.devices import constant
from ..memory.rolling import MemorySpec
from ..tokenizers.scenes.still import SLOT_DIM
from .places import PLACE_DIM, PlaneConfig, Planes, place_features

SLOT_FEATURES = SLOT_DIM + PLACE_DIM + 6
MOTION_GAIN = 10.0
UNTOUCHED = 0.05
"""A pedal pressed less than this is not pressed."""


class RestRule(NamedTuple):
    """Slot 0 keeps its pose exactly while the condition's numbers from `first` to before `last`, the pedals, are
    untouched, and it would move by less than `place` units; or by less than `parked`, where it hardly moved in the tick
    before either. A network's errors are small but never nothing, and what stands adds them up.

    `turns`: numbers of the condition that turn it on the spot; its heading is kept only while they are untouched too.
    """

    first: int
    last: int
    place: float
    parked: float = 0.0
    turns: tuple[int, int] | None = None


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
    rests: RestRule | None = None
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


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of the last dimension, halves paired."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Known(NamedTuple):
    """What denoising knows before its first step and what stays the same in all of them, per frame.

    `scene_last` `(..., scene_dim)` and `slots_last` `(..., slots, 6)`: the last committed frame, its poses carried on
    by `coast`. `away`: how far its scene is from where the prompt would settle. `scene_token`, `slot_tokens`: their
    share of the noisy tokens. `stood` `(..., 4)`: slot 0's last pose; it stays there if it would move by less than
    `rests_below` `(..., 1)`, the rule of rest; `turns` `(..., 1)`: whether it may turn while it stands.
    """

    scene_last: Tensor
    slots_last: Tensor
    away: Tensor
    scene_token: Tensor
    slot_tokens: Tensor
    stood: Tensor
    rests_below: Tensor
    turns: Tensor


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.modulation = nn.Parameter(torch.zeros(6 * width))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each `(batch, heads, n, head_dim)`."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def mix(self, x: Tensor, attended: Tensor, gates: tuple[Tensor, ...]) -> Tensor:
        """Add the attention's result, `(batch, heads, n, head_dim)`, then the MLP's. `gates`: of the attention, then
        shift, scale and gate of the MLP."""
        attention_gate, shift, scale, gate = gates
        x = torch.addcmul(x, attention_gate, self.out(attended.transpose(1, 2).flatten(2)))
        hidden = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), scale)
        return torch.addcmul(x, gate, self.down(F.relu(self.up(hidden)).square()))


class Dynamics(nn.Module):
    def __init__(self, config: DynamicsConfig) -> None:
        super().__init__()
        self.config = config
        d, s = config.width, config.scene_dim
        self.clean_scene = nn.Linear(2 * s, d)
        self.clean_slot = nn.Linear(SLOT_FEATURES, d)
        self.noisy_scene = nn.Linear(5 * s, d)
        self.noisy_slot = nn.Linear(2 * SLOT_DIM + SLOT_FEATURES + PLACE_DIM, d)
        self.kind = nn.Parameter(torch.randn(2, config.tokens, d) * 0.02)
        self.condition = nn.Sequential(nn.Linear(config.condition_dim + 34, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU())
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

    # --- pieces shared by training and play -----------------------------------------------------------------------

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
        rests_below = self.rests_below(slots_last[..., 0, :2], slots_before[..., 0, :2], condition)
        tokens = (scene_token + kind[0])[..., None, :], slot_tokens + kind[1:]
        turns = self.turns(condition)
        return Known(scene_last, base, away, *tokens, slots_last[..., 0, :4], rests_below, turns)

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

    def gates(self, condition: Tensor, tau: Tensor, clean: Tensor) -> Tensor:
        """adaLN numbers `(..., 6 * width)` from controls and prompt `(..., condition_dim)`, noise level `(...)`, and
        whether the stream is the clean one, `(...)` 0 or 1."""
        angles = tau[..., None] * torch.pi * torch.arange(1, 17, device=tau.device)
        level = torch.cat([angles.sin(), angles.cos(), tau[..., None], clean[..., None]], -1)
        return self.modulate(self.condition(torch.cat([condition, level], -1)))

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

    def rests_below(self, place: Tensor, before: Tensor, condition: Tensor) -> Tensor:
        """How little slot 0 must want to move to stand, `(..., 1)`; 0 while a pedal is touched, or without the rule."""
        rule = self.config.rests or RestRule(0, 0, 0.0)
        untouched = (condition[..., rule.first : rule.last].abs() < UNTOUCHED).all(-1, keepdim=True)
        parked = (place - before).norm(dim=-1, keepdim=True) < rule.place
        return untouched * (rule.place + max(rule.parked - rule.place, 0.0) * parked)

    def turns(self, condition: Tensor) -> Tensor:
        """Whether the condition turns slot 0 on the spot, bool `(..., 1)`."""
        first, last = (self.config.rests or RestRule(0, 0, 0.0)).turns or (0, 0)
        return (condition[..., first:last].abs() > 0).any(-1, keepdim=True)

    def rested(self, scene: Tensor, slots: Tensor, known: Known) -> tuple[Tensor, Tensor]:
        """Scene and slots with slot 0 where it stood, and no speed, where the rule of rest holds."""
        moved = (slots[..., 0, :2] - known.stood[..., :2]).norm(dim=-1, keepdim=True)
        stands = moved < known.rests_below
        place = torch.where(stands, known.stood[..., :2], slots[..., 0, :2])
        heading = torch.where(stands & ~known.turns, known.stood[..., 2:], slots[..., 0, 2:4])
        pose = torch.cat([place, heading], -1)
        first = torch.cat([pose, slots[..., 0, 4:]], -1)[..., None, :]
        if self.config.rolls is not None:
            kept = tuple(float(k not in self.config.rolls[:2]) for k in range(self.config.scene_dim))
            scene = torch.where(stands, scene * constant(kept, scene.device), scene)
        return scene, torch.cat([first, slots[..., 1:, :]], -2)

    def rotary(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines `(n, head_dim / 2)` of positions in ticks `(n,)`."""
        half = self.config.width // self.config.heads // 2
        frequency = torch.pi / 2 * (1 / 100.0) ** (torch.arange(half, device=positions.device) / half)
        angle = positions[:, None].float() * frequency
        return angle.cos(), angle.sin()

    # --- training: a whole sequence, both streams in one pass -----------------------------------------------------

    def forward(  # noqa: PLR0917 - tensors, in the order they flow
        self, clean: Tensor, noisy: Tensor, estimate: Tensor, condition: Tensor, tau: Tensor, window: Tensor
    ) -> Tensor:
        """Predict every frame of a sequence from the frames before it.

        `clean`, `noisy`, `estimate`: `(batch, time, latent_dim)`. `condition`: `(batch, time, condition_dim)`, leading
        into each frame. `tau`: `(batch, time)`, 0 pure noise, 1 clean. `window`: `(batch,)` remembered frames; 1 also
        hides the motion. Returns predictions `(batch, time, latent_dim)`; the first has no past and means nothing.
        """
        time = clean.shape[1]
        last = torch.cat([clean[:, :1], clean[:, :-1]], 1)
        before = torch.cat([last[:, :1], last[:, :-1]], 1)
        blind = (window == 1)[:, None, None]
        before = torch.where(blind, last, before)
        clean_before = torch.where(blind, clean, last)
        x = self.clean_tokens(clean, clean_before).flatten(1, 2)
        known = self.known(last, before, condition)
        y = self.noisy_tokens(noisy, estimate, known).flatten(1, 2)
        n = self.config.tokens
        one, zero = torch.ones_like(tau), torch.zeros_like(tau)
        gates_x = self.gates(condition, one, one).repeat_interleave(n, 1)
        gates_y = self.gates(condition, tau, zero).repeat_interleave(n, 1)
        ticks = torch.arange(time, device=clean.device).repeat_interleave(n)
        cos, sin = self.rotary(ticks)
        age = (ticks[:, None] - ticks[None, :])[None]
        seen = (age >= 0) & (age <= window[:, None, None])
        mask_x = torch.where(seen, 0.0, -1e4)[:, None]
        mask_y = torch.where(seen & (age > 0), 0.0, -1e4)[:, None]
        for block in self.blocks:
            x, y = self._both(cast(Block, block), x, y, gates_x, gates_y, cos, sin, mask_x, mask_y)
        return self.latent_of(y.unflatten(1, (time, n)), known)

    def _both(  # noqa: PLR0917 - tensors, in the order they flow
        self,
        block: Block,
        x: Tensor,
        y: Tensor,
        gates_x: Tensor,
        gates_y: Tensor,
        cos: Tensor,
        sin: Tensor,
        mask_x: Tensor,
        mask_y: Tensor,
    ) -> tuple[Tensor, Tensor]:
        n = self.config.tokens
        scale = (self.config.width // self.config.heads) ** -0.5
        a_x, a_y = (gates + block.modulation for gates in (gates_x, gates_y))
        shift_x, scale_x, gate_x, *mlp_x = a_x.chunk(6, -1)
        shift_y, scale_y, gate_y, *mlp_y = a_y.chunk(6, -1)
        q_x, k_x, v_x = block.project(F.layer_norm(x, x.shape[-1:]) * (1 + scale_x) + shift_x)
        q_y, k_y, v_y = block.project(F.layer_norm(y, y.shape[-1:]) * (1 + scale_y) + shift_y)
        q_x, k_x, q_y, k_y = (rotate(part.float(), cos, sin).to(v_x.dtype) for part in (q_x, k_x, q_y, k_y))
        weight = (q_x @ k_x.transpose(-1, -2) * scale + mask_x.to(q_x.dtype)).softmax(-1)
        attended_x = weight @ v_x
        # The noisy stream: remembered clean frames, and the tokens of its own frame.
        past = q_y @ k_x.transpose(-1, -2) * scale + mask_y.to(q_y.dtype)
        q_own, k_own, v_own = (part.unflatten(2, (-1, n)) for part in (q_y, k_y, v_y))
        own = (q_own @ k_own.transpose(-1, -2) * scale).flatten(2, 3)
        weight = torch.cat([past, own], -1).softmax(-1)
        attended_y = weight[..., :-n] @ v_x
        attended_y = attended_y + (weight[..., -n:].unflatten(2, (-1, n)) @ v_own).flatten(2, 3)
        x = block.mix(x, attended_x, (1 + gate_x, mlp_x[0], 1 + mlp_x[1], 1 + mlp_x[2]))
        y = block.mix(y, attended_y, (1 + gate_y, mlp_y[0], 1 + mlp_y[1], 1 + mlp_y[2]))
        return x, y
