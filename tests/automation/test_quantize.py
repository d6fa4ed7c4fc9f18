"""Calls that wait for the beat or the bar."""

from __future__ import annotations

from lcm_daemon.automation.quantize import GRIDS, QuantizedRequests
from lcm_daemon.core.requests import CommandRequest
from lcm_daemon.core.tempo import Tempo

GO, BACK = CommandRequest("cue/go", "a"), CommandRequest("cue/back", "b")
MIX = CommandRequest("next", "c", ("mix", "1"))
TEMPO = Tempo(bpm=120.0)  # a bar takes two seconds


def test_each_key_has_its_newest_call_and_its_own_grid() -> None:
    waiting = QuantizedRequests()
    waiting.put("cue", GO, GRIDS["bar"], TEMPO, 0.7)
    waiting.put("mix", MIX, GRIDS["beat"], TEMPO, 0.7)
    waiting.put("cue", BACK, GRIDS["bar"], TEMPO, 0.8)
    assert (waiting.peek("cue"), waiting.peek("steps")) == (BACK, None)
    assert waiting.pop_due(TEMPO, 0.99) == []
    assert waiting.pop_due(TEMPO, 1.0) == [MIX]
    assert waiting.pop_due(TEMPO, 1.99) == []
    assert waiting.pop_due(TEMPO, 2.0) == [BACK]
    assert waiting.pop_due(TEMPO, 4.0) == []


def test_it_waits_by_beats_and_not_by_the_clock() -> None:
    waiting = QuantizedRequests()
    waiting.put("cue", GO, GRIDS["bar"], TEMPO, 1.0)
    slower = TEMPO.at(60.0, 1.0)
    assert waiting.pop_due(slower, 2.9) == []
    assert waiting.pop_due(slower, 3.0) == [GO]


def test_music_that_goes_back_makes_the_next_bar_the_one() -> None:
    waiting = QuantizedRequests()
    waiting.put("cue", GO, GRIDS["bar"], Tempo(beat=101.0), 0.0)
    back = Tempo(beat=9.0)
    assert waiting.pop_due(back, 0.0) == []
    assert waiting.pop_due(back, 1.4) == []
    assert waiting.pop_due(back, 1.5) == [GO]


def test_nothing_waits_for_music_that_stands_and_what_is_dropped_is_gone() -> None:
    waiting = QuantizedRequests()
    waiting.put("cue", GO, GRIDS["bar"], TEMPO, 0.7)
    waiting.put("mix", MIX, GRIDS["bar"], TEMPO, 0.7)
    waiting.remove("mix")
    waiting.remove("mix")
    assert waiting.pop_due(Tempo(beat=1.4, running=False), 0.7) == [GO]
    waiting.put("mix", MIX, GRIDS["bar"], TEMPO, 0.7)
    waiting.clear()
    assert waiting.pop_due(TEMPO, 9.0) == []
