"""Checkpoints: whole, safe and fitting, or refused in one clear line."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nextframe.model.base.checkpoint import PICKLES, CheckpointError, half, load_into, load_tensors, sha256
from nextframe.runtime.core import WeightsError
from nextframe.worlds.circuit import world as circuit
from nextframe.worlds.drive import world as drive
from nextframe.worlds.freedoom import world as freedoom


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def stored(folder: Path, **changes: Tensor | None) -> Path:
    """A checkpoint of `network()`, with tensors (dots written as __) replaced, added, or left out if None."""
    tensors = dict(network().state_dict())
    for name, tensor in changes.items():
        tensors.pop(name.replace("__", "."), None)
        if tensor is not None:
            tensors[name.replace("__", ".")] = tensor
    path = folder / "weights.safetensors"
    save_file(tensors, path)
    return path


def refusal(path: Path) -> str:
    """The one line that a refused checkpoint gives; the network is left as it was."""
    fresh = network()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(fresh, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_a_whole_checkpoint_fills_the_network(tmp_path: Path) -> None:
    torch.manual_seed(9)
    bias = torch.randn(4)
    fresh = network()
    load_into(fresh, stored(tmp_path, **{"0__bias": bias}))
    assert torch.equal(fresh.state_dict()["0.bias"], bias)


def test_a_missing_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    assert "no such file; see the world's model card" in refusal(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 40, -60, -1])
def test_a_truncated_file_is_refused_wherever_it_was_cut(tmp_path: Path, keep: int) -> None:
    path = stored(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    assert "not a whole safetensors file" in refusal(path)


def test_a_file_with_more_behind_it_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path)
    path.write_bytes(path.read_bytes() + b"\0" * 16)
    assert "not a whole safetensors file" in refusal(path)


def test_a_tensor_of_another_shape_is_refused_with_both_shapes(tmp_path: Path) -> None:
    message = refusal(stored(tmp_path, **{"1__weight": torch.zeros(2, 5)}))
    assert "'1.weight': expected shape (2, 4), got (2, 5)" in message


def test_a_missing_tensor_is_refused_by_name(tmp_path: Path) -> None:
    assert "expected a tensor '1.bias', none is there" in refusal(stored(tmp_path, **{"1__bias": None}))


def test_a_tensor_too_many_is_refused_by_name(tmp_path: Path) -> None:
    assert "tensor 'more' is not part of the network" in refusal(stored(tmp_path, more=torch.zeros(1)))


# --- pickles ------------------------------------------------------------------------------------------------------


class Bomb:
    """Unpickling this creates a file: what a hostile checkpoint could do with any code."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("suffix", [*PICKLES, ".safetensors"])
def test_a_pickle_is_refused_and_never_run_under_any_name(tmp_path: Path, suffix: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Bomb(marker)))
    message = refusal(path)
    assert not marker.exists()
    assert ("pickles and can run any code" in message) == (suffix in PICKLES)


def test_the_pickle_above_would_have_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists()


def test_a_pickle_is_not_even_hashed(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pickles"):
        sha256([tmp_path / "weights.pt"])


# --- hashes and small files ---------------------------------------------------------------------------------------


def test_the_hash_changes_with_any_byte_and_with_the_order(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    whole = sha256([first, second])
    assert sha256([first, second]) == whole
    assert sha256([second, first]) != whole
    second.write_bytes(b"twp")
    assert sha256([first, second]) != whole


def test_tensors_stored_in_half_precision_come_back_as_float32(tmp_path: Path) -> None:
    tensors = {"map": torch.randn(5), "field": torch.randn(5), "count": torch.tensor([3])}
    path = tmp_path / "weights.safetensors"
    save_file(half(tensors, ("map",)), path)
    back = load_tensors(path)
    assert back["map"].dtype == back["field"].dtype == torch.float32
    assert back["count"].dtype == torch.int64
    assert torch.equal(back["field"], tensors["field"])
    assert torch.allclose(back["map"], tensors["map"], atol=2e-3)
    assert not torch.equal(back["map"], tensors["map"])


# --- at the world's boundary --------------------------------------------------------------------------------------

KINDS = pytest.mark.parametrize("kind", [circuit, drive, freedoom], ids=["circuit", "drive", "freedoom"])


@KINDS
def test_a_world_without_its_weights_says_so_as_a_weights_error(kind: ModuleType, tmp_path: Path) -> None:
    for read in (kind.weights_sha256, kind.load_networks, kind.staged_parts, kind.load_seeds):
        with pytest.raises(WeightsError, match="no such file"):
            read(tmp_path)


@KINDS
def test_weights_of_another_network_are_a_weights_error(kind: ModuleType, tmp_path: Path) -> None:
    stored(tmp_path).rename(tmp_path / kind.TOKENIZER)
    for read in (kind.load_networks, kind.staged_parts):
        with pytest.raises(WeightsError, match="tensor"):
            read(tmp_path)


def test_seeds_without_their_conditions_are_a_weights_error_that_names_them(tmp_path: Path) -> None:
    save_file({"latents": torch.zeros(1, 8, 24)}, tmp_path / circuit.SEEDS)
    with pytest.raises(WeightsError, match="conditions"):
        circuit.load_seeds(tmp_path)
    assert circuit.origins(tmp_path) == []
