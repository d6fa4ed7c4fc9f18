"""A process that is started before its work is known."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from lcm_daemon.processes.channel import ChildChannel, ChildEndpoint
from lcm_daemon.processes.child import Child
from lcm_daemon.processes.prestarted import Prestarted
from tests.rigs.daemon import wait_for

pytestmark = pytest.mark.slow  # each test starts a process


@pytest.fixture
def prestarted() -> Iterator[Prestarted]:
    process = Prestarted("test", ["json", "no_such_module"])
    yield process
    process.end_unused()
    process.process.kill()
    process.process.join()


def echo(endpoint: ChildEndpoint, text: str) -> None:
    """Send the text, and then what comes."""
    channel = ChildChannel(endpoint)
    channel.send((text, endpoint.size))
    while (message := channel.receive()) is not None:
        channel.send(message)
    channel.close()


def received(child: Child) -> list[object]:
    """The next messages; what the process has said of its imports is none."""
    messages: list[object] = []
    while not messages:
        assert child.channel.pipe.poll(30)
        messages = child.channel.receive()
    return messages


def test_it_does_its_work_in_the_process_that_runs_already(prestarted: Prestarted) -> None:
    pid = prestarted.process.pid
    child = Child("other", echo, (64, 48), "hello", prestarted=prestarted)
    assert child.pid == pid
    assert received(child) == [("hello", (64, 48))]
    child.channel.send_without_credit("again")
    assert received(child) == ["again"]
    prestarted.end_unused()
    assert psutil.pid_exists(pid or 0), "a process that works is not unused"
    child.kill()
    assert child.wait(10)


def test_one_without_work_ends_with_its_parent_and_on_request(prestarted: Prestarted) -> None:
    prestarted.pipe.close()  # as the system does when the parent dies
    wait_for(lambda: not prestarted.process.is_alive(), 30, "its end")
    assert prestarted.process.exitcode == 0
    other = Prestarted("test", [])
    other.end_unused()
    assert not other.process.is_alive()


def test_a_dead_one_is_found_as_any_dead_child_is(prestarted: Prestarted) -> None:
    prestarted.process.kill()
    prestarted.process.join()
    child = Child("other", echo, (64, 48), "hello", prestarted=prestarted)
    with pytest.raises((EOFError, OSError)):
        child.channel.receive()
    child.kill()
