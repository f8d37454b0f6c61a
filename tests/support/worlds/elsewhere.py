"""A device that is not the processor, made of the processor: does any code mix tensors of two devices?

`Elsewhere` are tensors with real numbers that say they are on another device ("meta", whose tensors have none
otherwise). While `elsewhere()` is on, an operation on tensors of both devices raises `MixedError`. What a GPU allows is
allowed: copying from one to the other, and from the processor a number (a tensor without dimensions) or an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from nextframe.model.base import devices

THERE = torch.device("meta")
_COPIES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}


class MixedError(RuntimeError):
    """Tensors of two devices in one operation."""


class Elsewhere(Tensor):
    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Elsewhere:
        with torch.inference_mode(False):  # constants are made outside of it, and seen from inside
            made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
                device=THERE, requires_grad=False,
            )  # fmt: skip
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Elsewhere({self.inner!r})"


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
    there = [part for part in given if isinstance(part, Elsewhere)]
    here = [part for part in given if not isinstance(part, Elsewhere) and part.dim() > 0]
    assert not any(part.device == THERE for part in here), f"{func}: a tensor without numbers"
    if func is torch.ops.aten.index.Tensor and isinstance(args[0], Elsewhere):
        here = []
    if there and here and func not in _COPIES:
        raise MixedError(f"{func}: tensors of both devices, {[tuple(part.shape) for part in here]} from the processor")
    asked = kwargs.get("device")
    to_there = bool(there) if asked is None else torch.device(asked) == THERE
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if func is torch.ops.aten.copy_.default:
        to_there = isinstance(args[0], Elsewhere)
    by_inner = {id(part.inner): part for part in there}
    args, kwargs = tree_map(lambda part: part.inner if isinstance(part, Elsewhere) else part, (args, kwargs))
    found = func(*args, **kwargs)

    def wrapped(part: Any) -> Any:
        if not isinstance(part, Tensor) or not to_there:
            return part
        kept = by_inner.get(id(part))
        return Elsewhere(part) if kept is None else kept

    return tree_map(wrapped, found)


def _listed(index: Any) -> Any:
    if isinstance(index, list):
        return Elsewhere(torch.tensor(index))
    return tuple(_listed(part) for part in index) if isinstance(index, tuple) else index


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """`torch.tensor`, and a list as an index, become tensors before a mode is asked, and `tolist` asks none."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in {torch.tensor, torch.as_tensor} and torch.device(kwargs.get("device") or "cpu") == THERE:
            return Elsewhere(func(*args, **{**kwargs, "device": "cpu"}))
        if func is Tensor.new_tensor and isinstance(args[0], Elsewhere):
            return Elsewhere(args[0].inner.new_tensor(*args[1:], **kwargs))
        if func in {Tensor.__getitem__, Tensor.__setitem__} and isinstance(args[0], Elsewhere):
            args = (args[0], _listed(args[1]), *args[2:])
        if func is Tensor.tolist:
            return back(args[0]).tolist()
        return func(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[None]:
    devices._kept.cache_clear()  # constants of the same device, with numbers here and without them elsewhere
    try:
        with _Functions(), _Dispatch():
            yield
    finally:
        devices._kept.cache_clear()


def moved(module: Any, *, learns: bool = False) -> Any:
    """The module with all it holds elsewhere, in place. `learns`: its parameters are still parameters."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    there = Elsewhere(tensor.detach())
                    held[name] = torch.nn.Parameter(there) if learns and held is part._parameters else there
    return module


def back(tensor: Tensor) -> Tensor:
    return tensor.inner if isinstance(tensor, Elsewhere) else tensor
