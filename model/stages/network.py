"""The share of the networks that one stage process holds: its layers with their memory, its part of the weights.

Only the tensors of a checkpoint that belong to the stage are read, and what is read is counted. A layer's arithmetic is
the generator's own (`nextframe.model.generator.kernel.through`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..base.checkpoint import CheckpointError, fill_exactly
from ..dynamics.slots import Dynamics, DynamicsConfig
from ..dynamics.transformer import Block
from ..generator.kernel import Passed, modulated, through
from ..memory.past import Past, gather
from ..memory.rolling import MemorySpec, RollingKVMemory
from ..memory.slot_table import GAP, RING, SINK, VACANT, Slot
from .layout import Interval

BLOCKS = "blocks."


@dataclass(frozen=True)
class Opened:
    """What was read of a checkpoint: names of tensors, and their bytes in the file."""

    keys: tuple[str, ...]
    bytes: int


def read_tensors(path: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, Tensor], Opened]:
    """Only the wanted tensors of a safetensors file, floats as float32; the others are never touched."""
    if path.suffix != ".safetensors" or not path.is_file():
        raise CheckpointError(f"{path}: expected a .safetensors file here; see the world's model card")
    tensors, read_bytes = {}, 0
    try:
        with safe_open(path, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - no mapping, though it has keys
                if wanted(name):
                    tensor = stored.get_tensor(name)
                    read_bytes += tensor.nbytes
                    tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); fetch or train it again") from error
    return tensors, Opened(tuple(sorted(tensors)), read_bytes)


def layer_of(name: str) -> int | None:
    """Which layer a tensor of the dynamics belongs to; None for those around the layers."""
    return int(name.split(".")[1]) if name.startswith(BLOCKS) else None


def load_blocks(config: DynamicsConfig, path: Path, interval: Interval) -> tuple[nn.ModuleList, Opened]:
    """The layers of an interval, filled from the checkpoint of all of them."""
    tensors, opened = read_tensors(path, lambda name: _within(layer_of(name), interval))
    blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(interval.layers))
    fill_exactly(blocks, {_renumbered(name, interval): tensor for name, tensor in tensors.items()}, str(path))
    return blocks.eval().requires_grad_(False), opened


def load_front(config: DynamicsConfig, path: Path) -> tuple[Dynamics, Opened]:
    """The dynamics without any layer: what is around them. Its `config` still counts them all."""
    tensors, opened = read_tensors(path, lambda name: layer_of(name) is None)
    dynamics = Dynamics(replace(config, layers=0))
    fill_exactly(dynamics, tensors, str(path))
    dynamics.config = config
    return dynamics.eval().requires_grad_(False), opened


def _within(layer: int | None, interval: Interval) -> bool:
    return layer is not None and interval.first <= layer < interval.end


def _renumbered(name: str, interval: Interval) -> str:
    _, layer, rest = name.split(".", 2)
    return f"{int(layer) - interval.first}.{rest}"


class StageLayers:
    """The layers of one stage over their own memory. `commit` modifies; `denoise` only reads.

    `gates`: `nextframe.model.generator.kernel.shared_gates` of one noise level, `(rows, 6 * width)`; each layer adds
    its own modulation, element by element, so the numbers are those of all layers together.
    """

    def __init__(
        self, blocks: nn.ModuleList, memory: RollingKVMemory, rotary: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> None:
        assert len(blocks) == memory.spec.layers, (len(blocks), memory.spec.layers)
        self.blocks, self.memory, self._rotary = blocks, memory, rotary
        self._past: Past | None = None

    def past(self) -> Past:
        """What the layers remember now; gathered once for all passes of a tick."""
        if self._past is None:
            self._past = gather(self.memory, self._rotary)
        return self._past

    def forget_past(self) -> None:
        """The memory was changed from outside."""
        self._past = None

    @torch.inference_mode()
    def denoise(self, x: Tensor, gates: Tensor) -> Tensor:
        """Tokens `(rows, tokens, width)` through the layers."""
        return self._through(x, gates).tokens

    @torch.inference_mode()
    def commit(self, x: Tensor, gates: Tensor) -> Tensor:
        """The clean tokens of a finished frame through the layers; their keys and values are remembered."""
        passed = self._through(x, gates)
        self.memory.write(*passed.remembered)
        self.forget_past()
        return passed.tokens

    def _through(self, x: Tensor, gates: Tensor) -> Passed:
        # (1, layers, rows, 6, width) -> per layer and number (rows, 1, width)
        table = modulated(gates[None], self.blocks)[0][..., None, :]
        return through(self.blocks, x, [layer.unbind(1) for layer in table], self.past())


# --- the slot table as numbers, to be sent --------------------------------------------------------------------------

_KINDS = (VACANT, SINK, RING, GAP)


def table_shape(spec: MemorySpec) -> tuple[int, int]:
    """One row per slot and one for the rest; see `table_numbers`."""
    return (spec.slots + 1, len(Slot._fields))


def table_numbers(lane: dict[str, Any]) -> Tensor:
    """The table in a memory snapshot's lane, int64 of `table_shape`."""
    rows = [[_KINDS.index(value) if isinstance(value, str) else value for value in slot] for slot in lane["slots"]]
    return torch.tensor([*rows, [lane["next_position"], lane["epoch"], lane["epoch_start"], lane["level"], 0]])


def lane_from(table: Tensor, keys: Any, values: Any) -> dict[str, Any]:
    """The other way round: a lane of a memory snapshot."""
    *rows, (next_position, epoch, epoch_start, level, _) = table.tolist()
    kind = Slot._fields.index("kind")
    slots = [[*row[:kind], _KINDS[row[kind]], *row[kind + 1 :]] for row in rows]
    return {
        "keys": keys, "values": values, "slots": slots, "level": level,
        "next_position": next_position, "epoch": epoch, "epoch_start": epoch_start,
    }  # fmt: skip
