"""Ableton Link: the stage gets the session's tempo, and the session gets changes of `bpm`; then with real peers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from lcm_daemon.controllers import ableton_link
from lcm_daemon.controllers.ableton_link import AbletonLink
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Parameter, table_of
from lcm_daemon.core.requests import Change
from lcm_daemon.core.tempo import BEATS, ExternalTempo, Tempo
from lcm_daemon.shows.reader import load_show
from tests.conftest import need_module
from tests.rigs import link_peer
from tests.rigs.link_peer import PATIENCE, newest
from tests.rigs.network import namespace
from tests.rigs.standin_aalink import Link

TABLE = table_of([Parameter("bpm", "float", 120.0, "Tempo.", 20.0, 400.0)])
USED = ("enabled", "force_beat", "tempo", "quantum", "start_stop_sync_enabled", "beat", "playing", "num_peers")


class Rig:
    """The controller with a control state. `published`: every tempo that the stage got."""

    def __init__(self, **options: Any) -> None:
        self.published: list[ExternalTempo] = []
        self.controls = ControlState(TABLE, {"bpm": 97.0}, Metrics(), lambda: None)
        keep = self.controls.keep_for_restart
        self.controls.keep_for_restart = lambda name, what: (keep(name, what), self.published.append(what))[0]  # type: ignore[method-assign]
        self.session: Any = None
        self.link = AbletonLink(self.controls, options, self._connect)

    def _connect(self, bpm: float) -> Any:
        self.session = Link(bpm)
        return self.session

    async def tempo(self, count: int) -> ExternalTempo:
        async with asyncio.timeout(PATIENCE):
            while len(self.published) < count:
                await asyncio.sleep(0.005)
        return self.published[count - 1]


@contextlib.asynccontextmanager
async def rig(**options: Any) -> AsyncIterator[Rig]:
    one = Rig(**options)
    with mock.patch.multiple(ableton_link, JOIN_DELAY=0.0, DISCOVERY_TIME=0.0):
        await one.link.start()
        try:
            yield one
        finally:
            await one.link.stop()


def test_the_stage_gets_the_tempo_once_and_then_only_changes() -> None:
    async def scenario() -> None:
        async with rig() as one:
            heard = await one.tempo(1)
            assert (heard.origin, heard.tempo.bpm, heard.tempo.running) == ("link", 97.0, True)
            assert heard.tempo.beat_at(time.perf_counter()) == pytest.approx(one.session.beat, abs=0.002)
            assert (one.session.enabled, one.session.quantum) == (True, BEATS)
            await asyncio.sleep(4 * ableton_link.SESSION_POLL)
            assert len(one.published) == 1
            one.session.tempo = 140.0
            assert (await one.tempo(2)).tempo.bpm == 140.0
            one.session.shift = 0.5
            tempo = (await one.tempo(3)).tempo
            assert tempo.beat_at(time.perf_counter()) == pytest.approx(one.session.beat, abs=0.005)
        assert not one.session.enabled
    asyncio.run(scenario())


def test_a_change_of_bpm_sets_the_session_but_its_own_changes_do_not() -> None:
    async def scenario() -> None:
        async with rig() as one:
            await one.tempo(1)
            one.controls.apply_update([Change("bpm", 150.0, "osc/127.0.0.1:1")], None)
            assert one.session.tempo == 150.0
            one.session.tempo = 133.337
            one.controls.apply_update([Change("bpm", 133.3, "link")], None)
            assert one.session.tempo == 133.337
    asyncio.run(scenario())


def test_the_show_leads_the_session() -> None:
    async def scenario() -> None:
        async with rig(source="show", start_stop=True) as one:
            one.controls.update_tempo(Tempo(150.0, 7.0, time.perf_counter()))
            async with asyncio.timeout(PATIENCE):
                while one.session.tempo != 150.0 or not one.session.playing:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(2 * ableton_link.SESSION_POLL)
            now = time.perf_counter()
            apart = math.remainder(one.controls.tempo.beat_at(now) - one.session.beat, BEATS)
            assert abs(apart) * 60.0 / 150.0 < 2 * ableton_link.LEAD_TOLERANCE
            one.session.tempo = 99.0  # another peer
            one.controls.apply_update([Change("bpm", 151.0, "osc/127.0.0.1:1")], None)  # the tempo comes with it
            one.controls.update_tempo(replace(one.controls.tempo, running=False))
            async with asyncio.timeout(PATIENCE):
                while one.session.tempo != 150.0 or one.session.playing:
                    await asyncio.sleep(0.005)
            assert not one.published
    asyncio.run(scenario())


def test_start_stop_pauses_with_the_session() -> None:
    async def scenario() -> None:
        async with rig(start_stop=True) as one:
            assert one.session.start_stop_sync_enabled
            assert not (await one.tempo(1)).tempo.running
            await asyncio.sleep(3 * ableton_link.SESSION_POLL)
            one.session.playing = True
            assert (await one.tempo(2)).tempo.running
    asyncio.run(scenario())


def test_a_tempo_outside_the_range_is_clamped() -> None:
    async def scenario() -> None:
        async with rig() as one:
            one.session.tempo = 999.0
            assert (await one.tempo(2 if one.published else 1)).tempo.bpm == 400.0
    asyncio.run(scenario())


def test_the_log_names_the_number_of_peers(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with rig() as one:
            one.session.others = 1
            async with asyncio.timeout(PATIENCE):
                while "Ableton Link: 1 other" not in caplog.text:
                    await asyncio.sleep(0.005)
    with caplog.at_level(logging.INFO):
        asyncio.run(scenario())


def test_a_missing_aalink_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        link = AbletonLink(Rig().controls, {})
        with mock.patch.dict(sys.modules, aalink=None):
            await link.start()
        await link.stop()
    asyncio.run(scenario())
    assert [record.getMessage() for record in caplog.records] == [
        'Ableton Link: aalink is not installed; install it with: pip install "lcm-daemon[link]"; the show keeps its '
        "own tempo"]


def test_a_show_has_one_source_of_the_tempo(tmp_path: Path) -> None:
    file = tmp_path / "show.yaml"
    file.write_text("tempo: {source: link}\nmidi: {map: []}")
    assert load_show(file, environment={}).desk_options["tempo"] == {"source": "link", "start_stop": False}
    file.write_text("tempo: {source: link}\nmidi: {clock: true}")
    with pytest.raises(DocumentError, match="cannot both set the tempo"):
        load_show(file, environment={})
    file.write_text("tempo: {source: show}\nmidi: {clock: {device: Drums}}")
    assert load_show(file, environment={}).desk_options["tempo"]["source"] == "show"
    file.write_text("tempo: {source: likn}")
    with pytest.raises(DocumentError, match="is not one of link"):
        load_show(file, environment={})


# The real library

def present() -> None:
    need_module("aalink")


def test_the_stand_in_has_the_names_of_the_real_library() -> None:
    present()
    import aalink

    assert all(hasattr(aalink.Link, name) for name in USED)
    assert all(hasattr(Link(120.0), name) for name in USED)


def ours(pipe: Connection) -> None:
    """The controller. It sends the tempo that it publishes, and receives changes of `bpm`."""
    async def follow() -> None:
        controls = ControlState(TABLE, {"bpm": 90.0}, Metrics(), lambda: None)
        link = AbletonLink(controls, {"start_stop": True})
        await link.start()
        while True:
            if pipe.poll():
                controls.apply_update([Change("bpm", pipe.recv(), "panel/1")], None)
            pipe.send(controls.kept.get("tempo"))
            await asyncio.sleep(0.02)
    asyncio.run(follow())


def leading(pipe: Connection) -> None:
    """The controller of a show that leads the session. It sends the show's tempo."""
    async def lead() -> None:
        controls = ControlState(TABLE, {"bpm": 90.0}, Metrics(), lambda: None)
        link = AbletonLink(controls, {"source": "show", "start_stop": True})
        await link.start()
        controls.update_tempo(Tempo(150.0, 1.5, time.perf_counter()))
        while True:
            pipe.send(controls.tempo)
            await asyncio.sleep(0.02)
    asyncio.run(lead())


def wait_for(what: str, true: Any) -> Any:
    end = time.perf_counter() + PATIENCE
    while not (found := true()):
        assert time.perf_counter() < end, what
    return found


@pytest.mark.slow
def test_two_real_peers_agree_upon_tempo_bar_start_and_stop() -> None:
    present()
    with namespace(discovery=False) as net:
        theirs = net.start(link_peer.play)
        wait_for("the other peer", lambda: newest(theirs))
        mine = net.start(ours)

        def tempo(bpm: float, running: bool) -> Tempo | None:
            heard = newest(mine)
            same = heard is not None and abs(heard.tempo.bpm - bpm) < 0.01 and heard.tempo.running == running
            return heard.tempo if same else None

        def apart() -> float:
            """Seconds between their bar and ours."""
            when, beat, bpm, _ = newest(theirs)
            off = (newest(mine).tempo.beat_at(when) - beat + BEATS / 2) % BEATS - BEATS / 2
            return abs(off) * 60.0 / bpm

        wait_for("the session's tempo", lambda: tempo(128.0, False))
        wait_for("that the other peer finds us", lambda: newest(theirs)[3] == 1)
        theirs.pipe.send({"playing": True})
        wait_for("start", lambda: tempo(128.0, True))
        worst = max(apart() for _ in range(20))
        theirs.pipe.send({"tempo": 100.0})
        wait_for("another tempo", lambda: tempo(100.0, True))
        worst = max(worst, *(apart() for _ in range(20)))
        mine.pipe.send(140.0)
        wait_for("the tempo of a change", lambda: abs(newest(theirs)[2] - 140.0) < 0.01 and tempo(140.0, True))
        worst = max(worst, *(apart() for _ in range(20)))
        print(f"bars apart by {1000 * worst:.2f} ms at most")
        assert worst < 0.005
        theirs.pipe.send({"playing": False})
        wait_for("stop", lambda: tempo(140.0, False))


@pytest.mark.slow
def test_a_real_peer_follows_the_show() -> None:
    present()
    with namespace(discovery=False) as net:
        theirs = net.start(link_peer.play)
        wait_for("the other peer", lambda: newest(theirs))
        mine = net.start(leading)

        def agree() -> bool:
            when, beat, bpm, _ = newest(theirs)
            apart = math.remainder(newest(mine).beat_at(when) - beat, BEATS) * 60.0 / bpm
            return abs(bpm - 150.0) < 0.01 and abs(apart) < 2 * ableton_link.LEAD_TOLERANCE

        wait_for("the show's tempo and bar", agree)
        theirs.pipe.send({"tempo": 100.0})
        wait_for("the other peer's change", lambda: not agree())
        wait_for("that the show sets it back", agree)
