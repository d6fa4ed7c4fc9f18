"""The streams, events and graphs of a stand-in of a CUDA card: see `tests.rigs.card`."""


from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

_FREE = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")  # allocations launch nothing


@dataclass(frozen=True)
class Entry:
    """What happened. kind: "launch", "upload", "download", "replay", "wait" (of the host), "order" (of streams)."""

    kind: str
    what: str
    stream: str = ""


class Card:
    """The card's streams, and what happened on it.

    Attributes:
        log: What happened, in order.
        lazy: Names of streams whose work does not run before it is waited for.
        current: The current stream.
        capture: The graph that is being captured.
        last_error: The runtime's, of a call that has returned it; the next launch reports it again.
    """

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.lazy: set[str] = set()
        self.registered: dict[int, int] = {}  # lengths of blocks of memory, by address
        self.streams: list[CardStream] = []
        self.current = CardStream(self)
        self.capture: CardGraph | None = None
        self.refuses_registration = False
        self.last_error = ""
        self.scratch: list[Any] = []  # memory that the last replay allocated

    def note(self, kind: str, what: str) -> None:
        if self.capture is None:
            self.log.append(Entry(kind, what, self.current.name))

    def counts(self) -> dict[str, int]:
        """Number of log entries by kind."""
        return {kind: sum(entry.kind == kind for entry in self.log) for kind in dict.fromkeys(e.kind for e in self.log)}

    def drain(self) -> None:
        """Run all work of all streams."""
        for stream in self.streams:
            stream.run(len(stream.queue))

    def is_pinned(self, tensor: Tensor) -> bool:
        """Whether the driver copies from or to this memory without a wait."""
        address, length = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        return place_of(tensor) == "pinned" or any(
            start <= address and address + length <= start + size for start, size in self.registered.items())


class CardStream:
    def __init__(self, card: Card) -> None:
        self.card, self.name = card, f"stream {len(card.streams)}"
        self.queue: list[Callable[[], bool]] = []  # work that has not run; False: its event has not happened
        card.streams.append(self)

    def add(self, work: Callable[[], bool]) -> None:
        self.queue.append(work)
        for stream in self.card.streams:  # what waited for this may run now
            if stream.name not in self.card.lazy:
                stream.run_ready()

    def run_ready(self) -> None:
        while self.queue and self.queue[0]():
            self.queue.pop(0)

    def run(self, count: int) -> None:
        """Run this much of the queue, and what it waits for."""
        for _ in range(count):
            if not self.queue[0]():
                raise RuntimeError(f"{self.name} waits for an event that was never recorded")
            self.queue.pop(0)

    def wait_event(self, event: CardEvent) -> None:
        self.card.note("order", f"{self.name} waits for an event")
        recorded = event.recorded
        if recorded is not None:
            self.add(lambda: recorded.happened or (self.must_run and recorded.force()))

    @property
    def must_run(self) -> bool:
        return _forcing[-1]

    def wait_stream(self, stream: CardStream) -> None:
        event = CardEvent(self.card)
        event.record(stream)
        self.wait_event(event)

    def synchronize(self) -> None:
        self.card.note("wait", f"for {self.name}")
        with forced():
            self.run(len(self.queue))


_forcing = [False]


@contextmanager
def forced() -> Iterator[None]:
    _forcing.append(True)
    try:
        yield
    finally:
        _forcing.pop()


class _Recorded:
    """One recording of an event, in a stream's order."""

    def __init__(self, stream: CardStream) -> None:
        self.happened, self._stream = False, stream

    def happen(self) -> bool:
        self.happened = True
        return True

    def force(self) -> bool:
        while not self.happened:
            self._stream.run(1)
        return True


class CardEvent:
    def __init__(self, card: Card, enable_timing: bool = False, blocking: bool = False) -> None:
        self.card, self._timed = card, enable_timing
        self.recorded: _Recorded | None = None

    def record(self, stream: CardStream | None = None) -> None:
        stream = stream or self.card.current
        self.recorded = _Recorded(stream)
        stream.add(self.recorded.happen)

    def synchronize(self) -> None:
        self.card.note("wait", "for an event")
        if self.recorded is not None:
            with forced():
                self.recorded.force()

    def query(self) -> bool:
        return self.recorded is None or self.recorded.happened

    def elapsed_time(self, end_event: CardEvent) -> float:
        if not (self._timed and end_event._timed):
            raise ValueError("both events must be created with argument 'enable_timing=True'")
        if not (self.query() and end_event.query()):
            raise RuntimeError("CUDA error: device not ready")
        return 1.0


class CardGraph:
    """Operations with their arguments and results.

    What a recording allocates is shared with all other recordings: the next replay, of whichever graph, spoils it.
    """

    def __init__(self, card: Card) -> None:
        self.card = card
        self.operations: list[tuple[Callable[..., Any], Any, Any, Any]] = []
        self._before: dict[int, tuple[Any, Any]] = {}
        self._scratch: dict[int, Any] = {}

    def record(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Run it, since the next operations need its result; at the end memory is as it was: nothing has run."""
        for tensor in tensors_in((args, kwargs)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._before and storage.data_ptr() not in self._scratch:
                self._before[storage.data_ptr()] = storage, storage.clone()  # type: ignore[no-untyped-call]
        result = func(*args, **kwargs)
        for tensor in tensors_in(result):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._before:
                self._scratch[storage.data_ptr()] = storage
        self.operations.append((func, args, kwargs, result))
        return result

    def end(self) -> None:
        with unplugged(), torch.inference_mode():
            for storage, before in self._before.values():
                storage.copy_(before)
        self._before.clear()

    def replay(self) -> None:
        self.card.note("replay", f"{sum(not is_free(each[0]) for each in self.operations)} operations")
        self.card.current.add(quietly(self._run))

    def _run(self) -> None:
        for storage in self.card.scratch:
            storage.fill_(255)  # NaN in every float format
        self.card.scratch = list(self._scratch.values())
        for func, args, kwargs, result in self.operations:
            for again, before in zip(tree_leaves(func(*args, **kwargs)), tree_leaves(result), strict=True):
                if isinstance(before, Tensor) and again.data_ptr() != before.data_ptr():
                    before.copy_(again)


def quietly(work: Callable[[], object]) -> Callable[[], bool]:
    """Work of a stream: the host's modes do not see it."""
    def run() -> bool:
        with unplugged(), torch.inference_mode():
            work()
        return True
    return run


@contextmanager
def unplugged() -> Iterator[None]:
    """Work in the block is the CPU's: faster, and not logged. Load no model here: torch's loaders use modes too."""
    with torch._C.DisableTorchFunction(), _disable_current_modes():
        yield


def place_of(tensor: Tensor) -> str:
    with torch._C.DisableTorchFunction():
        return str(getattr(tensor.untyped_storage(), "place", ""))


def put(tensor: Tensor, place: str) -> Tensor:
    with torch._C.DisableTorchFunction():
        tensor.untyped_storage().place = place  # type: ignore[attr-defined]
    return tensor


def tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def is_free(func: Any) -> bool:
    return func.is_view or func.name().removeprefix("aten::").split(".")[0] in _FREE
