"""Devices "elsewhere:0" and "elsewhere:1" for machines without a GPU: tensors there refuse what those on a GPU refuse.

They compute on the CPU. An operation over tensors on different devices raises, as CUDA's does, but for indices and
single numbers on the CPU, which CUDA takes too; numpy cannot read them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

CPU = torch.device("cpu")


class _Quiet(torch._C._acc.PrivateUse1Hooks):
    """Nothing finds the devices that does not name them."""

    def is_available(self) -> bool:
        return False

    def has_primary_context(self, dev_id: int) -> bool:
        return True

    def is_built(self) -> bool:
        return True


_setup_privateuseone_for_python_backend("elsewhere", hook=_Quiet())


class Placed(Tensor):
    """A tensor on one of the devices; `held` is what it holds, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device | None = None, requires_grad: bool = False) -> Placed:
        if isinstance(held, Placed):  # as accelerate makes parameters
            return held
        like = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        placed = Tensor._make_wrapper_subclass(cls, held.size(), device=device, **like)
        placed.held = held
        return placed

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"{self.held} on {self.device}"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One operation: done on what the tensors hold, its results placed where theirs are."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    name = func.overloadpacket.__name__
    target = _target(name, args, kwargs)
    if target is None:
        mixing = tensors[:1] if name == "index" else tensors
        places = {t.device for t in tensors if isinstance(t, Placed)}
        if len(places | {t.device for t in mixing if t.ndim or isinstance(t, Placed)}) > 1 and places:
            raise RuntimeError(f"{func} found tensors on several devices: {[(t.device, *t.shape) for t in tensors]}.")
        target = next(iter(places), CPU)
    known = {id(t.held): t for t in tensors if isinstance(t, Placed)}
    made = func(*tree_map(_held, args), **tree_map(_held, kwargs))

    def place(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if target.type == "cpu":
            return x.clone() if id(x) in known else x
        return known[id(x)] if id(x) in known and known[id(x)].device == target else Placed(x, target)

    return tree_map(place, made)


def _target(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device | None:
    """Where an operation that makes, moves or fills tensors puts them; None for all others."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    if name == "to" and isinstance(args[1], torch.device):
        return args[1]
    if name == "to" and isinstance(args[1], Tensor):
        return args[1].device
    return args[0].device if name == "copy_" else None


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Placed) else CPU if isinstance(x, torch.device) else x


class _Operations(TorchDispatchMode):
    """Operations that make tensors out of nothing, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Making(TorchFunctionMode):
    """Tensors made of Python numbers, which torch places before any operation could be seen."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.tensor:
            device = kwargs.pop("device", None) or CPU
            numbers = tree_map(lambda x: x.item() if isinstance(x, Tensor) else x, args[0])
            return func(numbers, *args[1:], **kwargs).to(device)
        if func is Tensor.new_tensor and isinstance(args[0], Placed):
            return args[0].held.new_tensor(*args[1:], **kwargs).to(args[0].device)
        return func(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[None]:
    """Within, the devices are there."""
    with torch.inference_mode(), _Operations(), _Making():
        yield


def moved(core: nn.Module, device: str) -> nn.Module:
    """A copy of a model on a device; to be called within `elsewhere`."""
    core = copy.deepcopy(core)
    for module in core.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(weight.data.to(device), requires_grad=False))
        for name, values in list(module.named_buffers(recurse=False)):
            module._buffers[name] = values.to(device)
    return core
