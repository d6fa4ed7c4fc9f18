"""The history of prompts."""

from __future__ import annotations

from lcm_daemon.core.requests import Change
from lcm_daemon.stage.prompt_history import PROMPTS_KEPT, PromptHistory

PAGE, OSC = "panel/1", "osc/127.0.0.1:9"


class Bench:
    def __init__(self) -> None:
        self.history, self.now = PromptHistory(), 0.0

    def send(self, *texts: str, by: str = PAGE, name: str = "prompt", every: float = 2.0) -> None:
        for text in texts:
            self.now += every
            self.history.note([Change(name, text, by)], by, self.now)

    @property
    def texts(self) -> list[str]:
        return [str(row["text"]) for row in self.history.rows()]


def test_newest_first_and_each_text_once() -> None:
    bench = Bench()
    bench.send("ocean", "lava")
    bench.send("ocean", by=OSC, name="prompt_b")
    assert bench.history.rows() == ({"text": "ocean", "name": "prompt_b", "by": "osc 127.0.0.1"},
                                    {"text": "lava", "name": "prompt", "by": "page"})
    bench.send("")
    bench.history.note([Change("strength", 0.5, PAGE)], PAGE, bench.now)
    assert bench.texts == ["ocean", "lava"]


def test_typing_is_one_prompt() -> None:
    bench = Bench()
    bench.send("lava")
    bench.send("o", "oc", "ocea", "oceanx", "ocean", "blue ocean", every=0.3)
    assert bench.texts == ["blue ocean", "lava"]
    bench.send("stars", "sta", every=0.3)  # deleting
    assert bench.texts == ["sta", "blue ocean", "lava"]
    bench.send("star", by=OSC, every=0.1)
    bench.send("star", "stars", by=OSC, every=2.0)
    assert bench.texts == ["stars", "star", "sta", "blue ocean", "lava"]


def test_the_newest_ones_are_kept() -> None:
    bench = Bench()
    bench.send(*map(str, range(100_000, 110_000)))
    assert bench.texts == [str(109_999 - place) for place in range(PROMPTS_KEPT)]
