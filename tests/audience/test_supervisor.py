"""The supervisor of the visitors' server: start, pictures and frames in their slots, a server that dies or hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lcm_daemon.audience.config import ServerConfig
from lcm_daemon.audience.messages import AudienceReport, Performer, SeatTaken, SharedTable
from lcm_daemon.audience.supervisor import AudienceSupervisor, CameraFrame
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from tests.rigs import fake_audience

SIZE = (16, 16)
pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[AudienceSupervisor]:
    supervisor = AudienceSupervisor(ServerConfig("mirror"), SIZE, Metrics(), fake_audience.run)
    supervisor.share(SharedTable({}, {}))
    supervisor.begin(time.perf_counter())
    supervisor.wait_until_open(time.perf_counter())
    yield supervisor
    supervisor.stop()


def serve(server: AudienceSupervisor, until: Callable[[list[Any]], object], seconds: float = 30.0) -> list[Any]:
    """Step until something holds for the messages that came."""
    found: list[Any] = []
    end = time.perf_counter() + seconds
    while not until(found):
        assert time.perf_counter() < end, found
        found += server.step(time.perf_counter())
        time.sleep(0.002)
    return found


def texts(messages: list[Any]) -> list[str]:
    return [message.text for message in messages if isinstance(message, AudienceReport)]


def picture(level: int) -> Frame:
    return Frame(solid(SIZE, (level, level, level, 255)), level, 0.0)


def test_frames_and_pictures_cross_in_their_slots_and_the_newest_picture_wins(server: AudienceSupervisor) -> None:
    assert server.address == "http://10.0.0.5:8001/join"
    found = serve(server, lambda found: "frame read 0" in texts(found))
    [frame] = [message for message in found if isinstance(message, CameraFrame)]
    assert (frame.seat, frame.session, int(frame.frame.pixels.min())) == (0, 1, 41)
    server.show(0, 1, picture(5))
    assert texts(serve(server, texts)) == ["picture 1 5 5"]
    server.show(0, 1, picture(6))
    server.show(0, 1, picture(7))  # before the slot is written
    assert texts(serve(server, texts)) == ["picture 1 7 7"]
    server.show(1, 2, picture(8))
    server.forget(1)  # its session has left
    server.show(0, 1, picture(3))
    assert texts(serve(server, texts)) == ["picture 1 3 3"]


def test_a_server_that_dies_is_replaced_at_once_and_the_next_one_has_what_it_kept(server: AudienceSupervisor) -> None:
    serve(server, lambda found: "frame read 0" in texts(found))
    first = server.pid
    server.perform(Performer("skip", 1))
    serve(server, lambda found: server.pid not in (0, first), 5.0)  # started; its imports take their time
    found = serve(server, lambda found: "frame read 0" in texts(found))
    [taken] = [message for message in found if isinstance(message, SeatTaken)]
    assert taken.session == 2
    [frame] = [message for message in found if isinstance(message, CameraFrame)]
    assert int(frame.frame.pixels.min()) == 42
    assert server.metrics.total("audience/replaced") == 1


def test_a_server_that_hangs_is_replaced_and_never_holds_the_stage_up(server: AudienceSupervisor) -> None:
    serve(server, lambda found: "frame read 0" in texts(found))
    first, longest, start = server.pid, 0.0, time.perf_counter()
    server.perform(Performer("block", 1))
    ahead = 0.0
    while server.pid in (0, first):
        server.show(0, 1, picture(1))
        server.perform(Performer("extend", 1, 30.0))
        before = time.perf_counter()
        server.step(before + ahead)
        longest = max(longest, time.perf_counter() - before)
        if before - start > 0.5 and server.pid == first:
            ahead += 0.3
        assert before - start < 20
    assert longest < 1.0
    assert server.metrics.total("audience/replaced") == 1


def test_a_stage_that_was_busy_does_not_take_it_for_the_silence_of_the_server(server: AudienceSupervisor) -> None:
    serve(server, lambda found: "frame read 0" in texts(found))
    now, first = time.perf_counter(), server.pid
    for ahead in (20.0, 40.0, 43.5):
        server.step(now + ahead)
    assert server.pid == first
    assert server.metrics.total("audience/replaced") == 0


def test_a_server_that_cannot_listen_ends_the_start_of_the_show_with_its_reason() -> None:
    supervisor = AudienceSupervisor(ServerConfig(fake_audience.FAILS), SIZE, Metrics(), fake_audience.run)
    supervisor.begin(0.0)
    with pytest.raises(LcmDaemonError, match="cannot listen on"):
        supervisor.wait_until_open(0.0)
    supervisor.stop()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="signals of POSIX")
def test_a_stopped_server_is_replaced_at_once(server: AudienceSupervisor) -> None:
    first, begun = server.pid, time.perf_counter()
    os.kill(first, signal.SIGSTOP)
    serve(server, lambda _: server.pid != first)
    assert time.perf_counter() - begun < 3.0  # 0.3 s on an idle machine
    serve(server, lambda _: server.ready)
