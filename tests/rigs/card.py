"""Card: a stand-in for a CUDA card. Tensors "on cuda" are computed on the CPU, but treated as torch treats CUDA's.

Test modules import this with `lazy_imports`: it imports torch.

What it does as torch 2.11 to 2.13 do it, by their sources:

- Streams run their work later. `Card.lazy` names streams that run nothing until they are waited for, and all other
  streams run as early as the events allow. So a missing event, or memory that the host writes too early, shows as a
  wrong picture.
- A graph records operations, with the tensors that they read and wrote. A replay runs them again on this memory. So a
  value that was baked in by mistake shows as a wrong picture.
- It refuses what torch refuses: `numpy` of a tensor on the device; reading a value, and copies from and to the host,
  while a graph is captured.
- It logs every operation, copy, replay and wait (`Entry`). A copy from or to memory that is neither pinned nor
  registered waits, and so does one without `non_blocking`. `torch.tensor` makes such a copy too.
- A call of the runtime that fails leaves its error to the next launch, which raises it.
- A replay spoils what the replay before it has allocated: all recordings share that memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.rigs.card_streams import (
    Card,
    CardEvent,
    CardGraph,
    CardStream,
    Entry,
    forced,
    is_free,
    place_of,
    put,
    quietly,
    tensors_in,
    unplugged,
)

__all__ = ["CUDA", "Card", "Entry", "plugged_in", "unplugged"]

CUDA = torch.device("cuda")
_ATEN = torch.ops.aten
_COPY = _ATEN.copy_.default
_READ = _ATEN._local_scalar_dense.default
_FROM_HOST = ("tensor", "as_tensor", "asarray")  # make a tensor on the device of numbers on the host
_DEVICE, _IS_CUDA = Tensor.device.__get__, Tensor.is_cuda.__get__  # type: ignore[attr-defined]


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation; runs or records it, and logs it."""

    def __init__(self, card: Card) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._card = card

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on_card = [tensor for tensor in tensors_in((args, kwargs)) if place_of(tensor) == "cuda"]
        if not on_card:
            return func(*args, **kwargs)
        if func is _COPY and {place_of(args[0]), place_of(args[1])} != {"cuda"}:
            return self._transfer(args[0], args[1], bool(args[2]) if len(args) > 2 else kwargs.get("non_blocking"))
        card = self._card
        if card.last_error and not func.is_view and not is_free(func):
            error, card.last_error = card.last_error, ""
            raise RuntimeError(error)
        if func is _READ:
            refuse_in_capture(card, "reading a value from the device")
            card.note("wait", "reading a value")
            with forced():
                card.current.run(len(card.current.queue))
        if card.capture is not None:
            result = card.capture.record(func, args, kwargs)
        else:
            if not func.is_view:
                with forced():
                    card.current.run(len(card.current.queue))
            result = func(*args, **kwargs)
            if not func.is_view and not is_free(func) and func is not _READ:
                card.note("launch", func.name().removeprefix("aten::"))
        for tensor in tensors_in(result):
            put(tensor, "cuda")
        return result

    def _transfer(self, target: Tensor, source: Tensor, non_blocking: bool | None) -> Tensor:
        card = self._card
        kind = "upload" if place_of(target) == "cuda" else "download"
        refuse_in_capture(card, f"an {kind}")
        host = source if kind == "upload" else target
        waits = not non_blocking or not card.is_pinned(host)
        card.note(kind, f"{host.numel() * host.element_size()} bytes{'' if card.is_pinned(host) else ', pageable'}")
        card.current.add(quietly(lambda: _COPY(target, source)))
        if waits:
            card.note("wait", f"for an {kind} of {host.numel() * host.element_size()} bytes")
            with forced():
                card.current.run(len(card.current.queue))
        return target


def refuse_in_capture(card: Card, what: str) -> None:
    if card.capture is not None:
        raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({what})")


class Places(TorchFunctionMode):
    """Lets tensors on the CPU be on the card, by a label on their memory, which their `device` reads."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self._card = card

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        owner = args[0] if args and isinstance(args[0], Tensor) else None
        if owner is not None and name in _METHODS:
            return _METHODS[name](func, owner, *args[1:], **kwargs)
        if name == "__get__" and func in (_DEVICE, _IS_CUDA) and place_of(args[0]) == "cuda":
            return torch.device("cuda", 0) if func == _DEVICE else True
        if name == "_parse_to":
            return func(*args, **kwargs)
        device = kwargs.get("device")
        pinned = kwargs.pop("pin_memory", False)
        if device is not None and torch.device(device).type == "cuda":
            del kwargs["device"]
            made = put(func(*args, **kwargs), "cuda")
            if name in _FROM_HOST:
                refuse_in_capture(self._card, f"torch.{name}")
                self._card.note("upload", f"{made.numel() * made.element_size()} bytes, pageable")
                self._card.note("wait", f"for torch.{name}")
            return made
        result = func(*args, **kwargs)
        return put(result, "pinned") if pinned else result


def _to(func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    target = [each for each in (*args, kwargs.get("device")) if isinstance(each, str | torch.device)]
    wanted = torch.device(target[0]).type if target else ""
    other = next((each for each in args if isinstance(each, Tensor)), None)
    wanted = place_of(other) if other is not None else wanted
    rest = [each for each in args if isinstance(each, torch.dtype)]  # not the device, and no `non_blocking`
    kwargs = {name: each for name, each in kwargs.items() if name != "device" and each is not None}
    is_on_card = place_of(tensor) == "cuda"
    if not wanted or (wanted == "cuda") == is_on_card:
        return func(tensor, *rest, **kwargs) if rest or kwargs else tensor
    moved = torch.empty_like(tensor)
    put(moved, "cuda" if wanted == "cuda" else "")
    moved.copy_(tensor, non_blocking=kwargs.pop("non_blocking", False))
    return func(moved, *rest, **kwargs) if rest or kwargs else moved


def _numpy(func: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    if place_of(tensor) == "cuda":
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                        "memory first.")
    return func(tensor, *args, **kwargs)


_METHODS: dict[str, Callable[..., Any]] = {
    "to": _to, "numpy": _numpy, "__array__": _numpy,
    "cpu": lambda func, tensor: _to(Tensor.to, tensor, "cpu"),
    "cuda": lambda func, tensor, *rest: _to(Tensor.to, tensor, "cuda"),
    "tolist": lambda func, tensor: func(_to(Tensor.to, tensor, "cpu")),
    "is_pinned": lambda func, tensor: place_of(tensor) == "pinned",
    "pin_memory": lambda func, tensor: put(tensor.clone(), "pinned"),
}


class _Runtime:
    """The CUDA runtime's functions that torch binds."""

    def __init__(self, card: Card) -> None:
        self._card = card

    def cudaHostRegister(self, ptr: int, size: int, flags: int) -> int:  # noqa: N802 - the driver's name
        if self._card.refuses_registration:
            self._card.last_error = "CUDA error: out of memory"
            return 2
        self._card.registered[ptr] = size
        return 0

    def cudaHostUnregister(self, ptr: int) -> int:  # noqa: N802 - the driver's name
        del self._card.registered[ptr]
        return 0


@contextmanager
def plugged_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    """A machine with this card, for the current thread, until the block ends."""
    card = Card()

    @contextmanager
    def stream(stream: CardStream) -> Iterator[None]:
        before, card.current = card.current, stream
        try:
            yield
        finally:
            card.current = before

    @contextmanager
    def graph(cuda_graph: CardGraph, pool: Any = None, stream: Any = None,
              capture_error_mode: str = "global") -> Iterator[None]:
        with forced():
            card.drain()
        before, card.current, card.capture = card.current, stream, cuda_graph
        try:
            yield
        finally:
            card.current, card.capture = before, None
            cuda_graph.end()

    for name, stand_in in {
        "CUDAGraph": lambda: CardGraph(card), "graph": graph, "Stream": lambda device: CardStream(card),
        "Event": lambda enable_timing=False, blocking=False: CardEvent(card, enable_timing, blocking),
        "stream": stream, "current_stream": lambda device=None: card.current, "graph_pool_handle": object,
        "cudart": lambda: _Runtime(card), "is_available": lambda: True, "device_count": lambda: 1,
        "get_device_name": lambda device=None: "stand-in", "get_device_capability": lambda device=None: (9, 0),
        "mem_get_info": lambda device=None: (60 << 30, 80 << 30), "max_memory_reserved": lambda device=None: 1 << 30,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    with Places(card), Launches(card):
        yield card
