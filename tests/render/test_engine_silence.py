"""Which silence of an engine is a hang."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lcm_daemon.processes.progress import ASLEEP, RUNNABLE, STOPPED, ProcessState
from lcm_daemon.processes.starvation import RunTimes
from lcm_daemon.render import engine_silence
from lcm_daemon.render.engine_silence import EngineSilence
from lcm_daemon.render.policy import EngineTimeouts

Life = Callable[[float], tuple[str, float, float]]  # seconds of silence -> state, seconds run, seconds waited


@pytest.fixture
def hangs_after(monkeypatch: pytest.MonkeyPatch) -> Callable[..., float | None]:
    """Seconds from the request of a frame to the verdict; None for none within the time."""

    def measure(life: Life, usual: float | None = 0.05, on_cpu: bool = False, loading: bool = False,
                seconds: float = 120.0) -> float | None:
        silence, now = EngineSilence(EngineTimeouts()), 0.0
        monkeypatch.setattr(engine_silence, "look", lambda pid: ProcessState(life(now)[0], life(now)[1]))
        silence._starved._look = lambda pid: RunTimes(*life(now)[1:])
        monkeypatch.setattr(silence._cpu, "is_busy", lambda pid, now: life(now)[1] > life(now - 1.0)[1] + 0.1)
        while now < seconds:
            now += 0.05
            if silence.hangs_at_load(1, 0.0, now) if loading else silence.hangs_at_frame(1, 0.0, now, usual, on_cpu):
                return round(now, 1)
        return None

    return measure


@pytest.mark.parametrize(("life", "options", "expected"), [
    (lambda t: (STOPPED, 0.0, 0.0), {"usual": 3.0}, 2.0),
    (lambda t: (STOPPED, 0.0, 0.0), {"loading": True}, 2.0),
    (lambda t: (STOPPED if t % 3.0 < 0.9 else ASLEEP, 0.0, 0.0), {"usual": 3.0}, 96.0),
    (lambda t: (ASLEEP, 0.0, 0.0), {"usual": 3.0}, 96.0),
    (lambda t: (ASLEEP, 0.0, 0.0), {"usual": 3.0, "on_cpu": True}, 12.5),
    (lambda t: (ASLEEP, 0.0, 0.0), {}, 3.0),
    (lambda t: (ASLEEP, 0.0, 0.0), {"usual": None}, 30.0),
    (lambda t: (RUNNABLE, t, 0.0), {"on_cpu": True}, 30.0),
    (lambda t: (RUNNABLE, t, 0.0), {}, 3.0),
    (lambda t: (RUNNABLE, t / 50, t), {}, 100.0),
    (lambda t: (RUNNABLE, t / 500, t), {"on_cpu": True}, None),
    (lambda t: (RUNNABLE, t / 2, t / 2), {}, 5.0),
    (lambda t: (RUNNABLE, 0.0, min(t, 30.0)), {}, 32.0),
], ids=["stopped", "stopped while it loads", "stopped now and then", "waits for a card", "sleeps on the CPU",
        "sleeps, usually quick", "its first frame", "calculates on the CPU", "waits in a loop for a card", "starved",
        "starved on the CPU", "half starved", "starved, then sleeps"])
def test_what_the_process_does_decides(
    hangs_after: Callable[..., float | None], life: Life, options: dict[str, object], expected: float | None
) -> None:
    found = hangs_after(life, **options)
    assert found == (expected if expected is None else pytest.approx(expected, abs=1.1))
