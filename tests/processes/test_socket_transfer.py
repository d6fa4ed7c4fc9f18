"""Sockets that another process takes over."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from lcm_daemon.core.held_sockets import HeldSockets
from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.prestarted import Prestarted
from lcm_daemon.processes.socket_transfer import (
    MOST,
    NONE_PASSED,
    Passed,
    SocketsUsed,
    SocketTransfer,
    StageSockets,
    transfer_ends,
)


@pytest.fixture
def ends() -> Iterator[list[SocketTransfer]]:
    made = [SocketTransfer(end) for end in transfer_ends()]
    yield made
    for end in made:
        end.close()


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(5)
        yield bound


def test_what_waits_in_a_socket_is_read_from_its_copy(ends: list[SocketTransfer], udp: socket.socket) -> None:
    passed = ends[0].send({"osc": udp}, os.getpid())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"hello", udp.getsockname())
    taken = ends[1].receive(passed)["osc"]
    udp.close()
    assert (taken.recv(99), taken.getblocking(), taken.get_inheritable()) == (b"hello", False, False)
    taken.close()


def test_none_more_than_fit_and_none_at_all_are_sent(ends: list[SocketTransfer], udp: socket.socket) -> None:
    assert ends[0].send({}, os.getpid()) == NONE_PASSED
    assert ends[1].receive(NONE_PASSED) == {}
    received = ends[1].receive(ends[0].send({str(n): udp for n in range(MOST + 6)}, os.getpid()))
    assert list(received) == [str(n) for n in range(MOST)]
    for each in received.values():
        each.close()


def test_an_end_without_the_other_sends_and_receives_nothing(ends: list[SocketTransfer], udp: socket.socket) -> None:
    ends[1].close()
    assert ends[0].send({"osc": udp}, os.getpid()) == NONE_PASSED
    assert ends[0].receive(Passed(("osc",))) == {}
    assert SocketTransfer().receive(Passed(("osc",))) == {}


def test_a_socket_is_given_once_and_one_that_is_new_is_kept_open(udp: socket.socket) -> None:
    before = HeldSockets({"osc": udp})
    assert before.take("osc") is udp
    assert before.take("osc") is None
    assert before.take("web") is None
    before.keep("web", udp)
    (copy,) = before.new.values()
    udp.close()
    assert copy.getsockname()[1] > 0
    assert before.taken == ["osc"]
    before.close()
    assert copy.fileno() == -1


def test_the_other_end_holds_what_is_used_and_closes_the_rest(ends: list[SocketTransfer], udp: socket.socket) -> None:
    stage, sockets = StageSockets(), HeldSockets()
    for name in ("osc", "osc from a", "osc from b"):
        sockets.keep(name, udp)
    passed = ends[0].send(sockets.new, os.getpid())
    sockets.mark_passed(passed.names)
    stage.on_ready(SocketsUsed((), passed), ends[1])
    assert len(stage) == 3
    sockets.drop("osc from a")
    stage.on_ready(SocketsUsed(tuple(sockets.taken), NONE_PASSED), ends[1])
    following = HeldSockets(ends[1].receive(stage.send(ends[0], os.getpid())))
    assert [name for name, _ in following.take_all("osc from ")] == ["osc from b"]
    assert following.take("osc") is not None
    stage.close()
    following.close()


def listen(endpoint: ChildEndpoint, passed: Passed) -> None:
    """Send what the socket receives."""
    channel = ChildChannel(endpoint)
    assert endpoint.transfer is not None
    udp = endpoint.transfer.receive(passed)["osc"]
    udp.settimeout(10)
    channel.send(udp.recv(99))
    channel.receive()


@pytest.mark.slow
def test_a_child_that_was_started_before_takes_a_socket_over(udp: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.sendto(b"sent before", udp.getsockname())
    spare = Prestarted("test", ["json"], in_background=True)
    assert spare.pipe.poll(30)
    assert spare.is_warm
    passed = spare.transfer.send({"osc": udp}, spare.process.pid or 0)
    child = Child("test", listen, (16, 16), passed, prestarted=spare)
    assert child.channel.pipe.poll(30)
    assert child.channel.receive() == [b"sent before"]
    child.kill()
    assert child.wait(10)
