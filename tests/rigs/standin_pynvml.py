"""Stands where pynvml does: the functions that `stage/gpu.py` calls, and cards that a test sets.

Names, arguments and results are those of the package nvidia-ml-py 13.
"""

# ruff: noqa: N802 - the library's names
from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

NVML_TEMPERATURE_GPU = 0


class NVMLError(Exception):
    pass


@dataclass
class Card:
    temperature: int = 50
    used: int = 4 << 30
    total: int = 16 << 30
    reasons: int = 0
    refuses: set[str] = field(default_factory=set)  # functions that this card does not have


CARDS: list[Card] = []
WITHOUT_DRIVER = [False]


def _ask(card: Card, what: str) -> Any:
    if what in card.refuses:
        raise NVMLError("Not Supported")
    return getattr(card, what)


def nvmlInit() -> None:
    if WITHOUT_DRIVER[0]:
        raise NVMLError("Driver Not Loaded")


def nvmlDeviceGetCount() -> int:
    return len(CARDS)


def nvmlDeviceGetHandleByIndex(index: int) -> Card:
    card = CARDS[index]
    if "handle" in card.refuses:
        raise NVMLError("GPU is lost")
    return card


def nvmlDeviceGetName(handle: Card) -> str:
    return "Stand-in"


def nvmlDeviceGetTemperature(handle: Card, sensor: int) -> int:
    assert sensor == NVML_TEMPERATURE_GPU
    return int(_ask(handle, "temperature"))


def nvmlDeviceGetMemoryInfo(handle: Card) -> Any:
    return SimpleNamespace(total=_ask(handle, "total"), used=handle.used, free=handle.total - handle.used)


def nvmlDeviceGetCurrentClocksEventReasons(handle: Card) -> int:
    return int(_ask(handle, "reasons"))
