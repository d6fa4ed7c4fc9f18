"""NVIDIA's management library: temperature and memory of graphics cards. Wraps pynvml, of the package nvidia-ml-py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lcm_daemon.core.errors import MissingIntegration

HOT = 0x20 | 0x40  # nvmlClocksEventReasonSwThermalSlowdown and ...HwThermalSlowdown, of nvml.h
INSTALL = 'pip install "lcm-daemon[gpu]"'


@dataclass(frozen=True)
class GpuState:
    """One graphics card.

    Attributes:
        name: "0 (NVIDIA RTX A4000)".
        temperature: Degrees Celsius; None if the card does not say.
        memory: Percent of its memory that is in use, by all programs; None if it does not say.
        slowed: Whether it runs slower than it could because it is hot.
    """

    name: str
    temperature: int | None
    memory: float | None
    slowed: bool


class Gpus:
    """Every card that the driver shows. Raises MissingIntegration without the library, or without a driver."""

    def __init__(self) -> None:
        try:
            import pynvml
        except (ImportError, OSError) as error:
            raise MissingIntegration("gpu", "nvidia-ml-py is not installed", INSTALL) from error
        self._nvml: Any = pynvml
        self._reasons = getattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", None)  # its name since 12.535
        if self._reasons is None:
            self._reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise MissingIntegration("gpu", f"the NVIDIA driver does not answer ({error})", "") from error

    def read(self) -> Sequence[GpuState]:
        """The present state of every card. A card that is lost is left out."""
        nvml, found = self._nvml, []
        for number in range(self._ask(nvml.nvmlDeviceGetCount) or 0):
            handle = self._ask(nvml.nvmlDeviceGetHandleByIndex, number)
            if handle is not None:
                found.append(self._read(number, handle))
        return found

    def _read(self, number: int, handle: Any) -> GpuState:
        nvml = self._nvml
        name = self._ask(nvml.nvmlDeviceGetName, handle) or ""
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        reasons = self._ask(self._reasons, handle) or 0
        return GpuState(
            f"{number} ({name.decode() if isinstance(name, bytes) else name})",
            self._ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            100.0 * memory.used / memory.total if memory and memory.total else None, bool(reasons & HOT))

    def _ask(self, function: Any, *arguments: Any) -> Any:
        """The answer; None where the card has none."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None
