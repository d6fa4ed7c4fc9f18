"""GpuWatch: raises an alarm if a graphics card is too hot, slows down for it, or has no memory left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.parameters import Value
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.background_poll import BackgroundPoll
from lcm_daemon.stage.gpu import Gpus, GpuState

log = logging.getLogger(__name__)

INTERVAL = 5.0  # seconds between two looks
COOLER = 3  # degrees below the limit at which the alarm ends
LESS = 2.0  # percent of memory below the limit at which the alarm ends


class GpuWatch:
    """Asks the cards on a thread of its own. Without a card of NVIDIA, or without the library, it does nothing.

    Args:
        temperature: Degrees Celsius that a card may reach; None for any.
        memory: Percent of its memory that may be in use; None for any.
        alarms: Where to report.
        connect: Connects to the cards. Raises MissingIntegration.
    """

    name = "watching the graphics cards"

    def __init__(
        self, temperature: float | None, memory: float | None, alarms: Alarms, connect: Callable[[], Gpus] = Gpus
    ) -> None:
        self._temperature, self._memory, self._alarms, self._connect = temperature, memory, alarms, connect
        self._gpus: Gpus | None = None
        self._states: BackgroundPoll[Sequence[GpuState]] = BackgroundPoll("graphics cards", self._ask, INTERVAL)
        self._hot: set[str] = set()
        self._full: set[str] = set()
        self._said = ""

    def step(self, now: float) -> None:
        self._states.start()
        text = "; ".join(self._problems(self._states.answer or ()))
        if text and text != self._said:
            log.warning("%s", text)
        self._said = text
        self._alarms.set("gpu", text)

    def status(self) -> Mapping[str, Value]:
        states = self._states.answer or ()
        hottest = max((gpu.temperature for gpu in states if gpu.temperature is not None), default=None)
        fullest = max((gpu.memory for gpu in states if gpu.memory is not None), default=None)
        found: dict[str, Value] = {} if hottest is None else {"gpu_temperature": hottest}
        return found if fullest is None else {**found, "gpu_memory": round(fullest)}

    def stop(self) -> None:
        self._states.stop()

    def _ask(self) -> Sequence[GpuState] | None:
        if self._gpus is None:
            try:
                self._gpus = self._connect()
            except MissingIntegration as error:
                log.info("graphics cards are not watched: %s", error)
                return None
        return self._gpus.read()

    def _problems(self, states: Iterable[GpuState]) -> Iterable[str]:
        for gpu in states:
            if _beyond(gpu.name, gpu.temperature, self._temperature, COOLER, self._hot):
                yield f"graphics card {gpu.name} is hotter than {self._temperature:g} °C"
            elif gpu.slowed and self._temperature is not None:
                yield f"graphics card {gpu.name} slows down because it is hot"
            if _beyond(gpu.name, gpu.memory, self._memory, LESS, self._full):
                yield f"graphics card {gpu.name} uses more than {self._memory:g} % of its memory"


def _beyond(name: str, value: float | None, limit: float | None, margin: float, beyond: set[str]) -> bool:
    """Whether a value is beyond its limit. It stays so until it is below it by a margin; `beyond` remembers it."""
    if value is None or limit is None:
        return False
    if value > limit or (name in beyond and value > limit - margin):
        beyond.add(name)
        return True
    beyond.discard(name)
    return False
