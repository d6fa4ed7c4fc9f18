"""Ableton Link: the tempo and the beat that Live, Resolume, TouchDesigner and others on this network agree upon.

    tempo: {source: link}                  # join the session on this network; `start_stop: true` stops with it as well

What the session says is kept as "tempo" for the stage, which lives by it; a hand that moves `bpm`, or taps, moves the
session. Bars agree with those of the others. Without aalink there is one line in the log, and the show goes on by its
own tempo. Nothing but this file touches aalink, which wraps Ableton's own library.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.requests import Change
from lcm_daemon.core.schema import Boolean, Choice, Field, Fields
from lcm_daemon.core.tempo import BEATS, MAX_BPM, MIN_BPM, ExternalTempo, Tempo

log = logging.getLogger(__name__)

ORIGIN = "link"
LOOK = 0.05  # seconds between two looks at the session
SETTLE = 2.0  # seconds before joining: of two peers that begin within one, the younger's tempo wins now and then
ALONE = 2.0  # seconds to find the others in; until then it is nobody's beat but ours
CLOSE = 0.001  # seconds that the beat may be off before the stage is told again


class Session(Protocol):
    """What is used of aalink.Link. beat: quarter notes, by `quantum` in step with the other peers; now."""

    enabled: bool
    tempo: float
    quantum: float
    start_stop_sync_enabled: bool

    @property
    def beat(self) -> float: ...

    @property
    def playing(self) -> bool: ...

    @property
    def num_peers(self) -> int: ...


def open_session(bpm: float) -> Session:
    """A session of our own, not joined with others yet. Raises MissingIntegration."""
    try:
        from aalink import Link  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingIntegration("Ableton Link", "aalink is not installed", 'pip install "lcm-daemon[link]"') from error
    session: Session = Link(bpm)
    return session


class AbletonLink(Controller):
    """The controller of the show's `tempo`. It looks at the session now and then, and speaks where it says another."""

    fields: ClassVar[Fields] = {
        "source": Field(Choice((ORIGIN,)), ORIGIN, "Whose beat it is: that of the Ableton Link session here."),
        "start_stop": Field(Boolean(), False, "Stand still while the session's transport is stopped."),
    }

    def __init__(
        self, controls: ControlState, options: Mapping[str, Any], connect: Callable[[float], Session] = open_session,
    ) -> None:
        super().__init__(controls, options)
        self._connect = connect
        self._session: Session | None = None
        self._told: Tempo | None = None
        self._peers = 0
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the session. A machine without aalink is a line in the log."""
        if self._looking is not None:
            return
        try:
            self._session = self._connect(float(self.controls.values.get("bpm", Tempo().bpm)))
        except MissingIntegration as missing:
            log.warning("%s; the show goes on by its own tempo", missing)
            return
        self._session.quantum = float(BEATS)
        self._session.start_stop_sync_enabled = self.options["start_stop"]
        self._unsubscribe = self.controls.subscribe(on_changes=self._hear)
        self._looking = asyncio.create_task(self._look_on(self._session), name=ORIGIN)

    async def stop(self) -> None:
        """Leave the session."""
        looking, self._looking = self._looking, None
        if looking is None or self._session is None:
            return
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        self._unsubscribe()
        self._session.enabled, self._session = False, None

    async def _look_on(self, session: Session) -> None:
        await asyncio.sleep(SETTLE)
        session.enabled, found = True, time.perf_counter() + ALONE
        while True:
            now = time.perf_counter()
            if session.num_peers or now >= found:
                self._look(session, now)
            await asyncio.sleep(LOOK)

    def _look(self, session: Session, now: float) -> None:
        """Tell the stage what the session says at `now`, where it would not have guessed it."""
        running = session.playing or not self.options["start_stop"]
        tempo = Tempo(min(max(session.tempo, MIN_BPM), MAX_BPM), session.beat, now, running)
        if _news(self._told, tempo):
            self._told = tempo
            self.controls.keep_for_restart("tempo", ExternalTempo(tempo, ORIGIN))
        if session.num_peers != self._peers:
            self._peers = session.num_peers
            log.info("Ableton Link: %d other%s", self._peers, "" if self._peers == 1 else "s")

    def _hear(self, changes: list[Change]) -> None:
        for change in changes:
            if change.name == "bpm" and change.origin != ORIGIN and self._session is not None:
                self._session.tempo = float(change.value)


def _news(told: Tempo | None, tempo: Tempo) -> bool:
    if told is None or (told.bpm, told.running) != (tempo.bpm, tempo.running):
        return True
    off = tempo.beat - told.beat_at(tempo.time)
    return tempo.running and abs(off) * 60.0 / tempo.bpm > CLOSE
