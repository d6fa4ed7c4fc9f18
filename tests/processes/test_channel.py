"""Frame slots and the pipe: what goes in comes out, nothing queues, nothing leaks."""

from __future__ import annotations

import os
import sys
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from types import SimpleNamespace

import numpy as np
import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.processes.channel import CLOSED, Channel, ChildChannel, ChildEndpoint
from lcm_daemon.processes.frame_slots import SLOTS
from lcm_daemon.processes.protocol import Credit, FrameRequest, FrameResult, Ready
from tests.conftest import need

SIZE = (64, 48)


def invert(arguments: ChildEndpoint, jobs: int) -> None:
    """A child that inverts so many frames, and then ends."""
    port = ChildChannel(arguments)
    port.say(Ready("invert"))
    for _ in range(jobs):
        port.say(Credit())
        job = port.receive()
        np.subtract(255, port.slots.taken[job.slot], out=port.slots.given[job.slot])
        port.say(FrameResult(job.slot, job.number, job.time, {"render": 0.0}))
    port.close()


@pytest.fixture
def pair() -> tuple[Channel, ChildChannel]:
    """Both ends in one process."""
    link = Channel(SIZE)
    port = ChildChannel(link.port())
    yield link, port
    port.close()
    link.close()


def frame(number: int, value: int = 7) -> Frame:
    return Frame(solid(SIZE, (value, value, value, 255)), number, float(number))


def test_a_frame_goes_over_and_comes_back_from_another_process() -> None:
    link = Channel(SIZE)
    child = get_context("spawn").Process(target=invert, args=(link.port(), 2))
    child.start()
    link.started()
    back = []
    for number in (0, 1):
        while not link.wanted:
            assert link.pipe.poll(20)
            link.receive()
        assert link.submit(frame(number, 10 + number), {"strength": 0.5}, 1.0)
        while not (done := [m for m in link.receive() if isinstance(m, FrameResult)]):
            assert link.pipe.poll(20)
        back.append(link.take(done[0]))
    assert [(f.number, int(f.pixels[0, 0, 0])) for f in back] == [(0, 245), (1, 244)]
    child.join(20)
    with pytest.raises(CLOSED):
        link.receive()
    link.close()


def test_nothing_is_handed_over_before_it_is_wanted(pair: tuple[Channel, ChildChannel]) -> None:
    link, port = pair
    assert not link.submit(frame(0), {}, 0.0)
    assert not link.send("news")
    port.say(Credit())
    link.receive()
    assert link.submit(frame(1), {"steps": 2}, 0.0)
    assert not link.submit(frame(2), {}, 0.0), "one Want is one frame"
    job = port.receive()
    assert (job.number, job.values) == (1, {"steps": 2})
    assert np.array_equal(port.slots.taken[job.slot], frame(1).pixels)


def test_a_guide_rides_in_a_plane_of_its_own() -> None:
    link = Channel(SIZE, guided=True)
    port = ChildChannel(link.port())
    for guide in (None, frame(5, 200)):
        port.say(Credit())
        link.receive()
        assert link.submit(frame(1, 10), {}, 0.0, guide)
        job = port.receive()
        assert job.guided is (guide is not None)
        assert int(port.slots.taken[job.slot][0, 0, 0]) == 10
    assert np.array_equal(port.slots.guides[job.slot], frame(5, 200).pixels)
    port.slots.given[job.slot][:] = 3
    assert int(port.slots.guides[job.slot][0, 0, 0]) == 200
    port.close()
    link.close()


def test_there_are_only_so_many_slots_and_each_comes_back(pair: tuple[Channel, ChildChannel]) -> None:
    link, port = pair
    for _ in range(SLOTS + 1):
        port.say(Credit())
    link.receive()
    assert [link.submit(frame(n), {}, float(n)) for n in range(SLOTS + 1)] == [True] * SLOTS + [False]
    assert sorted(link.unanswered.values()) == [0.0, 1.0, 2.0]
    job = port.receive()
    port.say(FrameResult(job.slot, job.number, job.time))
    (done,) = link.receive()
    link.release(done)
    assert link.submit(frame(9), {}, 9.0)


def test_a_closed_link_leaves_no_shared_memory() -> None:
    link = Channel(SIZE)
    name = link.port().memory
    port = ChildChannel(link.port())
    held = port.slots.taken[0]  # somebody still looks at a slot
    port.close()
    link.close()
    link.close()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
    assert held.shape == (48, 64, 4)


def test_pictures_that_do_not_fit_are_an_error_and_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    need(sys.platform == "linux", "only Linux gives more shared memory than there is")
    before = set(os.listdir("/dev/shm"))
    room = SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    with pytest.raises(OSError, match="do not fit into /dev/shm"):
        Channel(SIZE)
    assert set(os.listdir("/dev/shm")) <= before


def test_a_child_that_has_lost_its_stage_reads_none(pair: tuple[Channel, ChildChannel]) -> None:
    link, port = pair
    link.pipe.close()
    assert port.receive() is None
    port.say(Ready())  # and may speak without harm


def test_a_copy_is_taken_before_the_slot_is_given_back(pair: tuple[Channel, ChildChannel]) -> None:
    link, port = pair
    port.say(Credit())
    link.receive()
    link.submit(frame(0), {}, 0.0)
    job: FrameRequest = port.receive()
    port.slots.given[job.slot][:] = 50
    port.say(FrameResult(job.slot, job.number, job.time))
    taken = link.take(link.receive()[0])
    port.slots.given[job.slot][:] = 99
    assert int(taken.pixels.max()) == 50
