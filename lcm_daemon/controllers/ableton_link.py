"""Ableton Link: tempo and beat shared with Live, Resolume, TouchDesigner and other programs on the network.

    tempo: {source: link}                  # join the session; `start_stop: true` also follows its transport
    tempo: {source: show}                  # lead the session; `start_stop: true` also leads its transport

With `link`, the session's tempo is kept as "tempo" for the stage. A change of `bpm`, or a tap, changes the tempo of the
session. Bars are aligned with those of the other peers. With `show`, the session gets the show's tempo and beat: those
of taps, of `bpm` or of a MIDI clock; a tempo that another peer sets is set back. Without aalink, there is one line in
the log, and the show keeps its own tempo. Only this file imports aalink, which wraps Ableton's library.
"""

from __future__ import annotations

import asyncio
import logging
import math
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

LINK_ORIGIN = "link"
SHOW = "show"  # source of the tempo: the show leads the session
SESSION_POLL = 0.05  # seconds between two reads of the session
JOIN_DELAY = 2.0  # seconds before joining: if two peers start within one second, the later one's tempo may win
DISCOVERY_TIME = 2.0  # seconds to find other peers; until then the session's beat is only our own
BEAT_TOLERANCE = 0.001  # seconds that the beat may differ before the stage gets it again
TEMPO_TOLERANCE = 0.005  # beats a minute; Link rounds a beat to whole microseconds
LEAD_TOLERANCE = 0.008  # seconds that the session's beat may differ from the show's; each correction is heard


class LinkSession(Protocol):
    """The part of aalink.Link that is used. beat: quarter notes, aligned with the other peers by `quantum`."""

    enabled: bool
    tempo: float
    quantum: float
    start_stop_sync_enabled: bool
    playing: bool

    @property
    def beat(self) -> float: ...

    @property
    def num_peers(self) -> int: ...

    def force_beat(self, beat: float) -> None:
        """Make this the beat of now, for all peers."""
        ...


def open_session(bpm: float) -> LinkSession:
    """Open a session that is not joined yet. Raises MissingIntegration if aalink is not installed."""
    try:
        from aalink import Link  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise MissingIntegration("Ableton Link", "aalink is not installed", 'pip install "lcm-daemon[link]"') from error
    session: LinkSession = Link(bpm)
    return session


class AbletonLink(Controller):
    """The controller for the show's `tempo`. It polls the session and publishes the tempo when it has changed."""

    fields: ClassVar[Fields] = {
        "source": Field(Choice((LINK_ORIGIN, SHOW)), LINK_ORIGIN,
                        "what leads the Ableton Link session and the show: the session, or the show"),
        "start_stop": Field(Boolean(), False,
                            "pause while the session's transport is stopped; with `show` the reverse"),
    }

    def __init__(
        self, controls: ControlState, options: Mapping[str, Any],
        connect: Callable[[float], LinkSession] = open_session,
    ) -> None:
        super().__init__(controls, options)
        self._connect = connect
        self._session: LinkSession | None = None
        self._published: Tempo | None = None
        self._peers = 0
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the session. A missing aalink is only logged."""
        if self._polling is not None:
            return
        try:
            self._session = self._connect(float(self.controls.values.get("bpm", Tempo().bpm)))
        except MissingIntegration as missing:
            log.warning("%s; the show keeps its own tempo", missing)
            return
        self._session.quantum = float(BEATS)
        self._session.start_stop_sync_enabled = self.options["start_stop"]
        self._unsubscribe_controls = self.controls.subscribe(on_changes=self._on_changes)
        self._polling = asyncio.create_task(self._poll(self._session), name=LINK_ORIGIN)

    async def stop(self) -> None:
        """Leave the session."""
        polling, self._polling = self._polling, None
        if polling is None or self._session is None:
            return
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        self._unsubscribe_controls()
        self._session.enabled, self._session = False, None

    async def _poll(self, session: LinkSession) -> None:
        await asyncio.sleep(JOIN_DELAY)
        session.enabled, found = True, time.perf_counter() + DISCOVERY_TIME
        while True:
            now = time.perf_counter()
            self._count_peers(session)
            if self.options["source"] == SHOW:
                self._lead(session, now)
            elif session.num_peers or now >= found:
                self._publish(session, now)
            await asyncio.sleep(SESSION_POLL)

    def _publish(self, session: LinkSession, now: float) -> None:
        """Publish the session's tempo at `now`, unless the stage can extrapolate it from the last one."""
        running = session.playing or not self.options["start_stop"]
        tempo = Tempo(min(max(session.tempo, MIN_BPM), MAX_BPM), session.beat, now, running)
        if _differs(self._published, tempo):
            self._published = tempo
            self.controls.keep_for_restart("tempo", ExternalTempo(tempo, LINK_ORIGIN))

    def _lead(self, session: LinkSession, now: float) -> None:
        """Give the session the show's tempo, and its beat within a bar."""
        tempo = self.controls.tempo
        if abs(session.tempo - tempo.bpm) > TEMPO_TOLERANCE:
            session.tempo = tempo.bpm
        if self.options["start_stop"] and session.playing != tempo.running:
            session.playing = tempo.running
        offset = math.remainder(tempo.beat_at(now) - session.beat, BEATS)
        if tempo.running and abs(offset) * 60.0 / tempo.bpm > LEAD_TOLERANCE:
            session.force_beat(session.beat + offset)

    def _count_peers(self, session: LinkSession) -> None:
        if session.num_peers != self._peers:
            self._peers = session.num_peers
            log.info("Ableton Link: %d other peer%s in the session", self._peers, "" if self._peers == 1 else "s")

    def _on_changes(self, changes: list[Change]) -> None:
        for change in changes:
            leads = self.options["source"] == SHOW  # then `_lead` sets it
            if change.name == "bpm" and not leads and change.origin != LINK_ORIGIN and self._session is not None:
                self._session.tempo = float(change.value)


def _differs(published: Tempo | None, tempo: Tempo) -> bool:
    if published is None or (published.bpm, published.running) != (tempo.bpm, tempo.running):
        return True
    offset = tempo.beat - published.beat_at(tempo.time)
    return tempo.running and abs(offset) * 60.0 / tempo.bpm > BEAT_TOLERANCE
