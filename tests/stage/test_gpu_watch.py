"""Graphics cards that are hot or full raise an alarm, through a stand-in of pynvml."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.stage.alarms import Alarms
from lcm_daemon.stage.gpu import Gpus
from lcm_daemon.stage.gpu_watch import GpuWatch
from tests.rigs import standin_pynvml as nvml
from tests.rigs.standin_pynvml import CARDS, Card


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", nvml)
    CARDS[:] = [Card()]
    nvml.WITHOUT_DRIVER[0] = False
    yield
    CARDS.clear()


class Rig:
    def __init__(self, temperature: float | None = 87.0, memory: float | None = 97.0) -> None:
        self.alarms = Alarms()
        self.watch = GpuWatch(temperature, memory, self.alarms)
        self.watch._states.start = lambda: None  # type: ignore[method-assign]

    def alarm(self) -> str:
        """What is said after the thread has asked once more."""
        self.watch._states.answer = self.watch._ask()
        self.watch.step(0.0)
        return self.alarms.describe()


def test_a_cool_card_raises_no_alarm_and_is_in_the_status() -> None:
    rig = Rig()
    assert rig.alarm() == ""
    CARDS.append(Card(temperature=61, used=8 << 30))
    rig.alarm()
    assert rig.watch.status() == {"gpu_temperature": 61, "gpu_memory": 50}


def test_a_hot_card_raises_an_alarm_until_it_is_clearly_cooler() -> None:
    rig, card = Rig(), CARDS[0]
    said = []
    for temperature in (87, 88, 87, 85, 84, 87):
        card.temperature = temperature
        said.append(rig.alarm())
    text = "graphics card 0 (Stand-in) is hotter than 87 °C"
    assert said == ["", text, text, text, "", ""]


def test_a_card_that_slows_down_or_is_full_raises_an_alarm() -> None:
    rig, card = Rig(), CARDS[0]
    card.reasons = 0x40  # nvmlClocksEventReasonHwThermalSlowdown
    assert rig.alarm() == "graphics card 0 (Stand-in) slows down because it is hot"
    card.reasons, card.used = 0x1, card.total  # it is idle
    assert rig.alarm() == "graphics card 0 (Stand-in) uses more than 97 % of its memory"


def test_what_a_card_does_not_say_is_left_out() -> None:
    rig = Rig()
    CARDS[:] = [Card(refuses={"temperature", "total", "reasons"}), Card(refuses={"handle"})]
    assert rig.alarm() == ""
    assert rig.watch.status() == {}


def test_limits_that_are_off_raise_nothing() -> None:
    rig = Rig(None, None)
    CARDS[:] = [Card(temperature=120, used=16 << 30)]
    assert rig.alarm() == ""


def test_without_driver_or_library_nothing_is_watched(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    nvml.WITHOUT_DRIVER[0] = True
    assert Rig().watch._ask() is None
    assert "the NVIDIA driver does not answer (Driver Not Loaded)" in caplog.text
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    with pytest.raises(MissingIntegration, match=r"lcm-daemon\[gpu\]"):
        Gpus()
