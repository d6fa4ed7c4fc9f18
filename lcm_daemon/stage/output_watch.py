"""OutputWatch: raises an alarm if the output is black or frozen, or if a sink takes no pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Value
from lcm_daemon.render.silence import BLACK
from lcm_daemon.shows.care import Care
from lcm_daemon.stage.burn_in import BurnIn
from lcm_daemon.stage.output_faults import Intention, Lasting, OutputFaults, brightness, looks_black
from lcm_daemon.transports.runner import OFF, SinkRunner

if TYPE_CHECKING:
    from lcm_daemon.stage.stage import Stage

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two looks
SINK_SECONDS = 15.0  # for which a sink may take no pictures: one that is reopened takes a few
DIM = 0.07  # master below which a bright picture looks black, see `render.silence.BLACK`
_WORKING = ("running", OFF)  # states of a sink


class OutputWatch:
    """Looks at the pixels that go out, and at the sinks that they go to.

    Args:
        stage: The show.
        care: What is watched.
        burn_in: Moves and dims the output.
    """

    name = "watching the output"

    def __init__(self, stage: Stage, care: Care, burn_in: BurnIn) -> None:
        self._stage, self._burn_in = stage, burn_in
        self._picture = OutputFaults(care.black, care.frozen, care.failsafe)
        self._sinks: dict[SinkRunner, Lasting] = {}
        self._looked_at = 0.0
        self._said: dict[str, str] = {}

    def step(self, now: float) -> None:
        if now - self._looked_at < INTERVAL or self._stage.output is None:
            return
        self._looked_at = now
        self._say("output", self._look(now))
        self._say("sinks", "; ".join(self._look_at_sinks(now)))

    def status(self) -> Mapping[str, Value]:
        return {}

    def stop(self) -> None:
        """Nothing to end."""

    def _look(self, now: float) -> str:
        stage, burn_in = self._stage, self._burn_in
        assert stage.output is not None
        source, picture = stage.source.newest, stage.picture
        input_pixels = source.pixels if source else None
        means = intention(stage.values, picture.is_closed or picture.covered > 0.0, burn_in.level)
        if stage.audience.shows_visitors:  # their pictures, of what they show to their cameras
            means = Intention(False, False, means.picture)
        elif not stage.loading and means.light and input_pixels is not None and stage.values["mode"] != "text":
            means = Intention(not looks_black(input_pixels), means.motion, means.picture)
        if means.light and picture.undimmed is not None:
            means = Intention(not is_dimmed(picture.undimmed, stage.values, burn_in.level), means.motion, means.picture)
        in_failsafe = picture.failsafe.is_active(picture.shown_age)
        means = Intention(means.light, means.motion, means.picture and not stage.loading)
        return self._picture.look(stage.output.pixels, input_pixels, means, in_failsafe, now, burn_in.given)

    def _look_at_sinks(self, now: float) -> list[str]:
        sinks = self._stage.outputs.sinks
        self._sinks = {sink: self._sinks.get(sink) or Lasting() for sink in sinks}
        found = []
        for sink, lasting in self._sinks.items():
            fails = sink.is_on and (sink.is_stuck or sink.state not in _WORKING)
            if lasting.seconds(fails, now) >= SINK_SECONDS:
                found.append(f"{sink.label}: {'it does not answer' if sink.is_stuck else sink.state}")
        return found

    def _say(self, cause: str, text: str) -> None:
        if text and text != self._said.get(cause):
            log.warning("%s", text)
        self._said[cause] = text
        self._stage.alarms.set(cause, text)


def is_dimmed(undimmed: Pixels, values: Mapping[str, Value | Blend], level: float) -> bool:
    """Whether a dark picture looks black because the master or the night dims it: it would not without them.

    Args:
        undimmed: The picture before that, uint8 (H, W, 4).
        values: Those of the tick.
        level: Brightness to which the output is dimmed for the night.
    """
    master = values["master"]
    assert isinstance(master, float)
    dim = master * level
    if dim >= 1.0:
        return False
    brightest = brightness(undimmed)
    return brightest > BLACK >= int(brightest * dim)


def intention(values: Mapping[str, Value | Blend], is_closed: bool, level: float) -> Intention:
    """What the show means, by its values.

    Args:
        values: Those of the tick.
        is_closed: Whether the show is closed.
        level: Brightness to which the output is dimmed for the night.
    """
    master, strength = values["master"], values.get("strength", 0.0)
    assert isinstance(master, float)
    is_dark = bool(values["blackout"]) or master * level < DIM
    is_held = is_closed or bool(values["freeze"])
    ignores_input = values["mode"] == "text" or (isinstance(strength, float) and strength >= 1.0)
    skips = bool(values.get("similarity_skip"))
    return Intention(not is_dark and not is_held, not (is_dark or is_held or ignores_input or skips), not is_held)
