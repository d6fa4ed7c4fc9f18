"""The desk: real processes that listen for OSC and serve the panel."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace

import pytest

from lcm_daemon.controllers.osc.sender import parse_argument
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.moving_values import MovingValues
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Value
from lcm_daemon.core.refusals import Refusal
from lcm_daemon.core.requests import Change, CommandRequest, RequestQueue
from lcm_daemon.core.tempo import Tempo
from lcm_daemon.desk.desk import DeskConfig
from lcm_daemon.desk.desk_supervisor import DeskSupervisor
from lcm_daemon.processes.channel import Channel, ChildChannel
from lcm_daemon.processes.protocol import Credit, Ready
from tests.rigs.daemon import free_port, wait_for

SIZE = (64, 48)
VALUES = Parameters().targets()


@pytest.fixture
def port() -> int:
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture
def desk(port: int) -> Iterator[DeskSupervisor]:
    config = DeskConfig("test", TABLE, VALUES, {"osc": {"port": port}}, ("ink", "sd-turbo"))
    supervisor = DeskSupervisor(config, SIZE, Metrics())
    supervisor.open(VALUES, time.perf_counter())
    yield supervisor
    supervisor.stop()


def serve(
    desk: DeskSupervisor, until: Callable[[list[RequestQueue]], object], seconds: float = 20.0,
    values: Mapping[str, Value] = VALUES, ahead: float = 0.0,
) -> list[RequestQueue]:
    """Step until the condition holds. ahead: by how many seconds the desk's clock is ahead of the test's."""
    asked: list[RequestQueue] = []
    end = time.perf_counter() + seconds
    while not until(asked):
        assert time.perf_counter() < end
        asked += desk.step(values, time.perf_counter() + ahead)
        time.sleep(0.001)
    return asked


@pytest.mark.slow
def test_what_osc_asks_for_arrives_coerced(desk: DeskSupervisor, port: int) -> None:
    send("/lcm/strength", ["7"], "127.0.0.1", port)
    (pending,) = serve(desk, bool)
    assert pending.changes["strength"].value == 1.0
    assert pending.changes["strength"].origin.startswith("osc/127.0.0.1")


@pytest.mark.slow
def test_a_recipe_is_asked_for_by_its_name(desk: DeskSupervisor, port: int) -> None:
    send("/lcm/recipe", ["oil"], "127.0.0.1", port)
    send("/lcm/recipe", ["sd-turbo"], "127.0.0.1", port)
    (pending,) = serve(desk, bool)
    ((name, arguments),) = [(call.name, call.arguments) for call in pending.commands]
    assert (name, arguments) == ("recipe", ("sd-turbo",))
    assert isinstance(pending.commands[0], CommandRequest)


def send(address: str, arguments: list[str], host: str, port: int) -> None:
    """Send one message, and wait for no answer: here, no stage gives one by itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(encode(address, [parse_argument(argument) for argument in arguments]), (host, port))


@pytest.mark.slow
def test_refusals_and_receipts_reach_the_desk(desk: DeskSupervisor, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.bind(("127.0.0.1", 0))
        sock.sendto(encode("/lcm/cue/goto", ["nowhere"]), ("127.0.0.1", port))
        sock.sendto(encode("/lcm/sync", [7]), ("127.0.0.1", port))
        received = serve(desk, lambda queues: any(queue.receipt for queue in queues))
        origin = f"osc/127.0.0.1:{sock.getsockname()[1]}"
        desk.tell_refusals([Refusal(origin, "no cue 'nowhere'")])
        for queue in received:
            desk.acknowledge(queue)
        sock.setblocking(False)
        packets: list[bytes] = []

        def answered(queues: list[RequestQueue]) -> bool:
            with contextlib.suppress(BlockingIOError):
                packets.append(sock.recv(999))
            return len(packets) == 2

        serve(desk, answered)
    assert packets == [encode("/lcm/error", ["no cue 'nowhere'"]), encode("/lcm/sync", [7])]


@pytest.mark.slow
def test_another_table_reaches_this_desk_and_the_next(desk: DeskSupervisor, port: int) -> None:
    ink = {**TABLE, "lora/ink": Parameter("lora/ink", "float", 0.5, "", -2.0, 2.0)}
    values = {**VALUES, "lora/ink": 0.5}

    def moved(asked: list[RequestQueue]) -> bool:
        send("/lcm/lora/ink", ["1.5"], "127.0.0.1", port)
        return any("lora/ink" in pending.changes for pending in asked)

    desk.replace_table(ink)
    serve(desk, moved, values=values)
    os.kill(desk.pid, signal.SIGKILL)
    first = desk.pid
    serve(desk, lambda _: desk.ready and desk.pid not in (0, first), values=values)
    serve(desk, moved, values=values)


def test_a_change_that_waits_has_the_value_of_the_table_that_is_sent_with_it() -> None:
    """Panic, and in the same turn another recipe, to whose start value the parameter moves on."""
    desk = DeskSupervisor(DeskConfig("test", TABLE, VALUES), SIZE, Metrics())
    channel = Channel(SIZE)
    child = ChildChannel(channel.child_endpoint())
    desk.child, desk.ready = SimpleNamespace(channel=channel, pid=1), True  # type: ignore[assignment]
    child.send(Credit())
    desk.tell([Change("strength", 0.6, "osc"), Change("gone", 1.0, "osc")])
    desk.replace_table(TABLE)
    desk.step({**VALUES, "strength": 0.9}, time.perf_counter())
    update = child.receive()
    assert update.values["strength"] == 0.9
    assert update.changes == [Change("strength", 0.9, "osc")]
    child.close()
    channel.close()


def test_the_tempo_is_sent_when_it_has_changed() -> None:
    desk = DeskSupervisor(DeskConfig("test", TABLE, VALUES), SIZE, Metrics())
    channel = Channel(SIZE)
    child = ChildChannel(channel.child_endpoint())
    desk.child, desk.ready = SimpleNamespace(channel=channel, pid=1), True  # type: ignore[assignment]
    for _ in range(3):
        child.send(Credit())
    for bpm in (100.0, 100.0, 140.0):
        desk.tell_tempo(Tempo(bpm))
        desk.step(VALUES, time.perf_counter())
    assert [child.receive().tempo, child.receive().tempo] == [Tempo(100.0), Tempo(140.0)]
    child.close()
    channel.close()


def test_a_list_is_sent_when_it_has_changed() -> None:
    desk = DeskSupervisor(DeskConfig("test", TABLE, VALUES), SIZE, Metrics())
    channel = Channel(SIZE)
    child = ChildChannel(channel.child_endpoint())
    desk.child, desk.ready = SimpleNamespace(channel=channel, pid=1), True  # type: ignore[assignment]
    for _ in range(3):
        child.send(Credit())
    for name in ("dawn", "dawn", "dusk"):
        desk.tell_list("looks", ({"name": name},))
        desk.step(VALUES, time.perf_counter())
    assert [child.receive().lists, child.receive().lists] == [
        {"looks": ({"name": "dawn"},)}, {"looks": ({"name": "dusk"},)}]
    child.close()
    channel.close()


@pytest.mark.slow
def test_a_killed_desk_is_open_again_at_the_same_port(desk: DeskSupervisor, port: int) -> None:
    first = desk.pid
    os.kill(first, signal.SIGKILL)
    serve(desk, lambda _: desk.ready and desk.pid not in (0, first))
    send("/lcm/steps", ["4"], "127.0.0.1", port)
    (pending,) = serve(desk, bool)
    assert pending.changes["steps"].value == 4


@pytest.mark.slow
def test_a_new_desk_knows_the_subscribers_of_the_old(desk: DeskSupervisor, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as subscriber:
        subscriber.bind(("127.0.0.1", 0))
        subscriber.settimeout(20)
        send("/lcm/subscribe", [str(subscriber.getsockname()[1])], "127.0.0.1", port)
        subscriber.recv(4096)
        serve(desk, lambda _: desk.kept)
        first = desk.pid
        os.kill(first, signal.SIGKILL)
        serve(desk, lambda _: desk.ready and desk.pid not in (0, first))
        desk.tell([Change("steps", 5, "test")])
        desk.step(VALUES, time.perf_counter())
        while subscriber.recv(4096) != b"/lcm/steps\0\0,i\0\0\0\0\0\5":
            desk.step(VALUES, time.perf_counter())


@pytest.mark.slow
def test_a_hung_desk_never_blocks_the_stage_and_is_replaced(desk: DeskSupervisor) -> None:
    serve(desk, lambda _: desk.child is not None and desk.child.channel.accepts_frame)
    first = desk.pid
    os.kill(first, signal.SIGSTOP)
    picture = Frame(solid(SIZE), 0, 0.0)
    now = time.perf_counter()
    for i in range(10_000):  # far more than a pipe holds
        desk.tell([Change("strength", i / 10_000, "test")], {"fps": i})
        desk.show(picture, now)
        desk.step(VALUES, now)
    desk.step(VALUES, now + 6.0)  # the picture has been unanswered for too long
    serve(desk, lambda _: desk.ready and desk.pid not in (0, first), ahead=6.0)


@pytest.mark.slow
def test_a_desk_that_hangs_over_news_is_replaced_too(desk: DeskSupervisor) -> None:
    serve(desk, lambda _: desk.child is not None and desk.child.channel.accepts_frame)
    first, now = desk.pid, time.perf_counter()
    os.kill(first, signal.SIGSTOP)
    for value in (0.1, 0.2, 0.3):
        desk.tell([Change("strength", value, "test")])
        desk.step(VALUES, now)
    desk.step(VALUES, now + 6.0)
    serve(desk, lambda _: desk.ready and desk.pid not in (0, first), ahead=6.0)


@pytest.mark.slow
def test_a_desk_that_was_slow_to_start_is_not_taken_for_hung(desk: DeskSupervisor) -> None:
    """Ready has come, its first wants have not."""
    assert desk.child is not None
    first, late = desk.pid, time.perf_counter() + 20.0
    desk.ready = False
    desk.child.channel.receive = lambda: [Ready()]  # type: ignore[method-assign]
    desk.child.channel._credits = 0
    desk.step(VALUES, late)
    assert (desk.pid, desk.ready) == (first, True)


@pytest.mark.slow
def test_a_system_without_room_for_a_desk_is_asked_again(
    desk: DeskSupervisor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    os.kill(desk.pid, signal.SIGKILL)
    with monkeypatch.context() as without:
        without.setattr("lcm_daemon.desk.desk_supervisor.Child", full)
        serve(desk, lambda _: "desk: cannot be started" in caplog.text)
        assert desk.pid == 0
    desk.step(VALUES, time.perf_counter() + 6.0)
    serve(desk, lambda _: desk.ready and desk.pid != 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /dev/shm")
def test_a_desk_whose_pictures_have_no_room_controls_without_them(
    desk: DeskSupervisor, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("lcm_daemon.processes.frame_slots._room", lambda: 0)
    os.kill(desk.pid, signal.SIGKILL)
    serve(desk, lambda _: "/dev/shm is full" in caplog.text and desk.ready)
    desk.show(Frame(solid(SIZE), 1, 0.0), time.perf_counter())
    send("/lcm/strength", ["0.25"], "127.0.0.1", port)
    serve(desk, lambda asked: any("strength" in each.changes for each in asked))


@pytest.mark.slow
def test_values_that_move_are_sent_to_a_desk_that_wants_them(port: int) -> None:
    options = {"osc": {"port": port, "report": "live"}}
    supervisor = DeskSupervisor(DeskConfig("test", TABLE, VALUES, options), SIZE, Metrics())
    supervisor.moving_values = lambda now: MovingValues({}, {"mix": now % 1.0})
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.settimeout(0.01)
    heard: list[bytes] = []

    def hears(_: object) -> bool:
        with contextlib.suppress(TimeoutError):
            heard.append(peer.recv(4096))
        return len({message for message in heard if message.startswith(b"/lcm/mix")}) > 3

    try:
        supervisor.open(VALUES, time.perf_counter())
        peer.sendto(encode("/lcm/subscribe", []), ("127.0.0.1", port))
        serve(supervisor, hears)
    finally:
        supervisor.stop()
        peer.close()


@pytest.mark.slow
def test_a_desk_that_cannot_open_says_why_in_one_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        supervisor = DeskSupervisor(DeskConfig("test", TABLE, VALUES, {"osc": {"port": port}}), SIZE, Metrics())
        with pytest.raises(LcmDaemonError, match=str(port)) as caught:
            supervisor.open(VALUES, time.perf_counter())
        supervisor.stop()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_what_is_sent_while_no_desk_runs_is_received_by_the_next() -> None:
    """By UDP, and by a connection that is made then."""
    udp, tcp = free_port(socket.SOCK_DGRAM), free_port()
    config = DeskConfig("test", TABLE, VALUES, {"osc": {"port": udp, "tcp": tcp}})
    supervisor = DeskSupervisor(config, SIZE, Metrics())
    try:
        supervisor.open(VALUES, time.perf_counter())
        os.kill(supervisor.pid, signal.SIGKILL)
        wait_for(lambda: supervisor.child and not supervisor.child.process.is_alive(), 10, "its end")
        for number in range(20):
            send("/lcm/adjust", ["seed", str(number)], "127.0.0.1", udp)
        packet = encode("/lcm/steps", [3])
        with socket.create_connection(("127.0.0.1", tcp)) as connection:
            connection.sendall(len(packet).to_bytes(4, "big") + packet)
            asked = serve(supervisor, lambda queues: any(queue.changes for queue in queues) and len(
                [call for queue in queues for call in queue.commands]) >= 20)
    finally:
        supervisor.stop()
    assert [call.arguments[1] for queue in asked for call in queue.commands] == list(range(20))
    assert [queue.changes["steps"].value for queue in asked if queue.changes] == [3]


@pytest.mark.slow
def test_a_desk_that_is_recycled_leaves_nothing_behind(desk: DeskSupervisor, port: int) -> None:
    first, sent = desk.pid, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(20)
        peer.connect(("127.0.0.1", port))
        peer.send(encode("/lcm/subscribe", []))
        peer.recv(4096)

        def sends_until_there_is_another(_: object) -> bool:
            nonlocal sent
            if desk._leaving_at is not None or not desk.ready:  # while one takes over from the other
                peer.send(encode("/lcm/adjust", ["seed", sent]))
                sent += 1
                time.sleep(0.002)
            return desk.ready and desk.pid != first

        asked = serve(desk, lambda _: desk.kept)
        desk.recycle(time.perf_counter())
        asked += serve(desk, sends_until_there_is_another, seconds=60.0)
        asked += serve(desk, lambda queues: sum(len(each.commands) for each in [*asked, *queues]) >= sent)
        desk.tell([Change("steps", 5, "test")])
        desk.step(VALUES, time.perf_counter())
        while peer.recv(4096) != b"/lcm/steps\0\0,i\0\0\0\0\0\5":
            desk.step(VALUES, time.perf_counter())
    assert [call.arguments[1] for queue in asked for call in queue.commands] == list(range(sent))
    assert sent > 0
    assert not desk.recycles
    assert desk.metrics.total("desk/recycled") == 1
    assert desk.metrics.total("desk/replaced") == 0


@pytest.mark.slow
def test_a_stopped_desk_is_replaced_by_the_spare_at_once(desk: DeskSupervisor, port: int) -> None:
    serve(desk, lambda _: desk._spare_at is not None)
    desk._spare_at = 0.0
    serve(desk, lambda _: desk._spare.is_warm)
    first, spare = desk.pid, desk._spare._process
    assert spare is not None
    os.kill(first, signal.SIGSTOP)
    begun = time.perf_counter()
    while desk.pid == first:
        desk.tell([Change("strength", time.perf_counter() % 1.0, "test")])
        desk.step(VALUES, time.perf_counter())
        time.sleep(0.001)
    assert 0.2 < time.perf_counter() - begun < 5.0  # 0.3 s on an idle machine
    serve(desk, lambda _: desk.pid != 0)
    assert desk.pid == spare.process.pid


@pytest.mark.slow
def test_the_wait_for_the_first_desk_can_be_ended() -> None:
    supervisor = DeskSupervisor(DeskConfig("test", TABLE, VALUES, {}), SIZE, Metrics())
    supervisor.begin(VALUES, 0.0)
    os.kill(supervisor.pid, signal.SIGSTOP)
    begun = time.perf_counter()
    supervisor.wait_until_open(0.0, lambda: time.perf_counter() > begun + 0.2)
    assert not supervisor.ready
    supervisor.stop()
    assert time.perf_counter() < begun + 5.0


def test_a_desk_that_was_open_for_long_is_replaced_without_a_pause() -> None:
    """However often: only those that fail at their start are limited."""
    desk = DeskSupervisor(DeskConfig("test", TABLE, VALUES), SIZE, Metrics())
    desk._spare.keep = lambda now, **_: None  # type: ignore[method-assign]
    for ready, pauses in ((True, 0), (False, 1)):
        for number in range(5):
            now = 100.0 * ready + 10.0 * number
            desk.ready, desk._ready_at, desk.error = ready, now - 5.0, ""
            desk.on_failure("died", now)
            pauses -= desk._retry_at > now
        assert pauses == 0
