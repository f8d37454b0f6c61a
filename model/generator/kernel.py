"""The arithmetic of a tick, said once: a denoise step and a commit of a token transformer over its memory.

Everything that makes a tick calls it: `nextframe.model.generator.ticks` for rows that move together, `graphs` captured,
`nextframe.model.batch.rows` for rows at unlike steps, `nextframe.model.stages` for some of the layers at a time. They
differ in where tensors lie and who does the next piece, never in a number.

Euler steps of the flow from noise (tau 0) towards the latent (tau 1), along one schedule of noise levels for all rungs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from ..base.devices import constant
from ..dynamics.transformer import Block, TokenTransformer
from ..memory.past import Past
from ..tokenizers.latent import LatentTokenizer

KnownT = TypeVar("KnownT")

BlockGates: TypeAlias = tuple[Tensor, ...]
"""Shift, scale and gate of the attention, then of the MLP, `(rows, 1, width)` each; scales and gates around 1."""

LevelGates: TypeAlias = list[BlockGates]
"""One entry per layer, for one noise level."""

Attend: TypeAlias = Callable[..., Tensor]
"""As `scaled_dot_product_attention`: queries, keys, values, mask."""


class Drawn(NamedTuple):
    """A frame on its way from noise: `(rows, latent_dim)` each. `first`: the estimate of the first step, as the network
    gave it, or None before there is one."""

    noisy: Tensor
    estimate: Tensor
    first: Tensor | None = None


def shares(taus: Sequence[float]) -> tuple[float, ...]:
    """What share of the way from the noisy latent to its estimate each denoise step goes."""
    return tuple((after - tau) / (1 - tau) for tau, after in pairwise((*taus, 1.0)))


def stepped(tokenizer: LatentTokenizer, drawn: Drawn, answer: Tensor, share: float | Tensor) -> Drawn:
    """A denoise step, once the network has answered, `(rows, latent_dim)`. `share`: of `shares`, one number or one for
    each row, `(rows, 1)`."""
    first = answer if drawn.first is None else drawn.first
    estimate = tokenizer.with_presence(answer, first)
    return Drawn(drawn.noisy + (estimate - drawn.noisy) * share, estimate, first)


def coming(
    dynamics: TokenTransformer[KnownT], last: Tensor, before: Tensor, condition: Tensor, window: int | None
) -> KnownT:
    """What a tick knows before its first step. A window of one tick hides the motion."""
    return dynamics.known(last, last if window == 1 else before, condition)


def committed(
    tokenizer: LatentTokenizer, dynamics: TokenTransformer[KnownT], latent: Tensor, last: Tensor, window: int | None
) -> tuple[Tensor, Tensor]:
    """A finished latent as it will be remembered, `(rows, latent_dim)`, and its clean tokens, whose keys and values the
    layers then make."""
    latent = tokenizer.canonical(latent)
    return latent, dynamics.clean_tokens(latent, latent if window == 1 else last)


class Passed(NamedTuple):
    """Tokens `(rows, tokens, width)` after some layers, and what these made of them, by layer `(rows, heads, tokens,
    head_dim)`."""

    tokens: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    @property
    def remembered(self) -> tuple[Tensor, Tensor]:
        """Keys and values as a memory writes them, `(layers, rows, heads, tokens, head_dim)`."""
        return torch.stack(self.keys), torch.stack(self.values)


def through(
    blocks: Iterable[nn.Module],
    tokens: Tensor,
    gates: Sequence[BlockGates],
    past: Past,
    *,
    attend: Attend = F.scaled_dot_product_attention,
) -> Passed:
    """Tokens through these layers over what they remember. `gates`, `past`: by layer, of these layers."""
    keys, values = [], []
    for layer, block in enumerate(blocks):
        tokens, k, v = _through_block(cast(Block, block), layer, tokens, gates[layer], past, attend=attend)
        keys.append(k)
        values.append(v)
    return Passed(tokens, keys, values)


def _through_block(
    block: Block, layer: int, x: Tensor, gates: BlockGates, past: Past, *, attend: Attend
) -> tuple[Tensor, Tensor, Tensor]:
    shift, scale, *rest = gates
    q, k, v = block.project(torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), scale))
    past.own_keys[layer].copy_(k)
    past.own_values[layer].copy_(v)
    attended = attend(q, past.keys[layer], past.values[layer], past.masks[layer])
    return block.mix(x, attended, tuple(rest)), k, v


# --- adaLN numbers --------------------------------------------------------------------------------------------------


def gate_table(dynamics: TokenTransformer[KnownT], condition: Tensor, taus: Sequence[float]) -> Tensor:
    """All adaLN numbers, `(levels, layers, rows, 6, width)`: a level for each of `taus`, then the clean stream's."""
    return modulated(shared_gates(dynamics, condition, taus), dynamics.blocks)


def shared_gates(dynamics: TokenTransformer[KnownT], condition: Tensor, taus: Sequence[float]) -> Tensor:
    """What all layers have in common of `gate_table`, `(levels, rows, 6 * width)`."""
    device = condition.device
    tau = constant((*taus, 1.0), device)[:, None].expand(-1, len(condition))
    clean = constant((*([0.0] * len(taus)), 1.0), device)[:, None].expand(-1, len(condition))
    return dynamics.gates(condition.expand(len(tau), -1, -1), tau, clean)


def modulated(gates: Tensor, blocks: Iterable[nn.Module]) -> Tensor:
    """`shared_gates` and what each of these layers adds: `gate_table` of them."""
    modulation = torch.stack([cast(Block, block).modulation for block in blocks])
    table = (gates[:, None] + modulation[:, None]).unflatten(-1, (6, -1))
    return table + constant((0.0, 1.0, 1.0, 0.0, 1.0, 1.0), gates.device)[:, None]


def by_level(table: Tensor) -> list[LevelGates]:
    """A `gate_table` as layers take it: for each noise level, for each layer."""
    levels, layers = table.shape[:2]
    parts = table.movedim(3, 2)[..., None, :].flatten(0, 2).unbind(0)
    blocks = [parts[at : at + 6] for at in range(0, len(parts), 6)]
    return [blocks[at : at + layers] for at in range(0, levels * layers, layers)]
