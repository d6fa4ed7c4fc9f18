"""Frame slots and the pipe: what goes in comes out, nothing queues, nothing leaks."""

from __future__ import annotations

import gc
import os
import sys
import weakref
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from types import SimpleNamespace

import numpy as np
import pytest

from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.processes import frame_slots
from lcm_daemon.processes.channel import CLOSED, Channel, ChildChannel, ChildEndpoint
from lcm_daemon.processes.frame_slots import SLOTS, FrameSlots
from lcm_daemon.processes.protocol import Credit, FrameRequest, FrameResult, Ready
from tests.conftest import need

SIZE = (64, 48)


def invert(arguments: ChildEndpoint, requests: int) -> None:
    """A child that inverts so many frames, and then ends."""
    child_channel = ChildChannel(arguments)
    child_channel.send(Ready("invert"))
    for _ in range(requests):
        child_channel.send(Credit())
        request = child_channel.receive()
        np.subtract(255, child_channel.slots.inputs[request.slot], out=child_channel.slots.outputs[request.slot])
        child_channel.send(FrameResult(request.slot, request.number, request.time, {"render": 0.0}))
    child_channel.close()


@pytest.fixture
def pair() -> tuple[Channel, ChildChannel]:
    """Both ends in one process."""
    channel = Channel(SIZE)
    child_channel = ChildChannel(channel.child_endpoint())
    yield channel, child_channel
    child_channel.close()
    channel.close()


def test_pictures_between_two_results_come_with_the_second_and_free_their_slots(
    pair: tuple[Channel, ChildChannel]
) -> None:
    channel, child_channel = pair
    child_channel.send(Credit(9))
    channel.receive()
    for is_filled in (True, False, True):
        assert channel.send_frame(frame(0), {}, 0.0, between=9), "as many as there are slots"
        assert not channel.accepts_frame
        request = child_channel.receive()
        assert len({request.slot, *request.between}) == SLOTS
        for value, slot in enumerate((request.slot, *request.between)):
            child_channel.slots.outputs[slot][:] = value
        child_channel.send(FrameResult(request.slot, 0, 0.0, between=is_filled))
        found = channel.read_result(channel.receive()[0])
        assert [int(pixels[0, 0, 0]) for pixels in (found.pixels, *found.between)] == ([0, 1, 2] if is_filled else [0])
    assert channel.send_frame(frame(1), {}, 0.0)
    assert not channel.send_frame(frame(2), {}, 0.0, between=2), "two slots are free, three are needed"
    assert channel.accepts_frame


def frame(number: int, value: int = 7) -> Frame:
    return Frame(solid(SIZE, (value, value, value, 255)), number, float(number))


@pytest.mark.slow
def test_a_frame_goes_over_and_comes_back_from_another_process() -> None:
    channel = Channel(SIZE)
    child = get_context("spawn").Process(target=invert, args=(channel.child_endpoint(), 2))
    child.start()
    channel.close_child_pipe()
    back = []
    for number in (0, 1):
        while not channel.accepts_frame:
            assert channel.pipe.poll(20)
            channel.receive()
        assert channel.send_frame(frame(number, 10 + number), {"strength": 0.5}, 1.0)
        while not (result := [m for m in channel.receive() if isinstance(m, FrameResult)]):
            assert channel.pipe.poll(20)
        back.append(channel.read_result(result[0]))
    assert [(f.number, int(f.pixels[0, 0, 0])) for f in back] == [(0, 245), (1, 244)]
    child.join(20)
    with pytest.raises(CLOSED):
        channel.receive()
    channel.close()


def test_nothing_is_handed_over_before_it_is_wanted(pair: tuple[Channel, ChildChannel]) -> None:
    channel, child_channel = pair
    assert not channel.send_frame(frame(0), {}, 0.0)
    assert not channel.send("news")
    child_channel.send(Credit())
    channel.receive()
    assert channel.send_frame(frame(1), {"steps": 2}, 0.0)
    assert not channel.send_frame(frame(2), {}, 0.0), "one credit is one frame"
    request = child_channel.receive()
    assert (request.number, request.values) == (1, {"steps": 2})
    assert np.array_equal(child_channel.slots.inputs[request.slot], frame(1).pixels)


def test_a_guide_rides_in_a_plane_of_its_own() -> None:
    channel = Channel(SIZE, guided=True)
    child_channel = ChildChannel(channel.child_endpoint())
    for guide in (None, frame(5, 200)):
        child_channel.send(Credit())
        channel.receive()
        assert channel.send_frame(frame(1, 10), {}, 0.0, guide)
        request = child_channel.receive()
        assert request.guided is (guide is not None)
        assert int(child_channel.slots.inputs[request.slot][0, 0, 0]) == 10
    assert np.array_equal(child_channel.slots.guides[request.slot], frame(5, 200).pixels)
    child_channel.slots.outputs[request.slot][:] = 3
    assert int(child_channel.slots.guides[request.slot][0, 0, 0]) == 200
    child_channel.close()
    channel.close()


def test_there_are_only_so_many_slots_and_each_comes_back(pair: tuple[Channel, ChildChannel]) -> None:
    channel, child_channel = pair
    child_channel.send(Credit(SLOTS + 1))
    channel.receive()
    assert [channel.send_frame(frame(n), {}, float(n)) for n in range(SLOTS + 1)] == [True] * SLOTS + [False]
    assert sorted(channel.unanswered.values()) == [0.0, 1.0, 2.0]
    request = child_channel.receive()
    child_channel.send(FrameResult(request.slot, request.number, request.time))
    (result,) = channel.receive()
    assert sorted(channel.unanswered.values()) == [1.0, 2.0], "answered when it arrives, not when it is read"
    channel.free_slot(result)
    assert channel.send_frame(frame(9), {}, 9.0)


def test_a_closed_link_leaves_no_shared_memory() -> None:
    channel = Channel(SIZE)
    name = channel.child_endpoint().memory
    child_channel = ChildChannel(channel.child_endpoint())
    held = child_channel.slots.inputs[0]  # somebody still looks at a slot
    child_channel.close()
    channel.close()
    channel.close()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
    assert held.shape == (48, 64, 4)


def test_pictures_that_do_not_fit_are_an_error_and_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    need(sys.platform == "linux", "only Linux gives more shared memory than there is")
    created: list[object] = []  # other processes have shared memory too, so the folder proves nothing
    monkeypatch.setattr(frame_slots, "SharedMemory", lambda **how: created.append(how))
    room = SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    with pytest.raises(OSError, match="do not fit into /dev/shm"):
        Channel(SIZE)
    assert not created


def test_a_child_that_has_lost_its_stage_reads_none(pair: tuple[Channel, ChildChannel]) -> None:
    channel, child_channel = pair
    channel.pipe.close()
    assert child_channel.receive() is None
    child_channel.send(Ready())  # and may speak without harm


def test_a_copy_is_taken_before_the_slot_is_given_back(pair: tuple[Channel, ChildChannel]) -> None:
    channel, child_channel = pair
    child_channel.send(Credit())
    channel.receive()
    channel.send_frame(frame(0), {}, 0.0)
    request: FrameRequest = child_channel.receive()
    child_channel.slots.outputs[request.slot][:] = 50
    child_channel.send(FrameResult(request.slot, request.number, request.time))
    taken = channel.read_result(channel.receive()[0])
    child_channel.slots.outputs[request.slot][:] = 99
    assert int(taken.pixels.max()) == 50


def test_credits_are_counted(pair: tuple[Channel, ChildChannel]) -> None:
    channel, child_channel = pair
    child_channel.send(Credit(2))
    channel.receive()
    assert [channel.send_frame(frame(n), {}, 0.0) for n in range(3)] == [True, True, False]


def test_pixels_that_a_slot_holds_already_are_not_copied_again(
    pair: tuple[Channel, ChildChannel], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A still input, or none, is rendered again with other values."""
    channel, child_channel = pair
    copied: list[object] = []
    monkeypatch.setattr("lcm_daemon.processes.channel.np.copyto", lambda to, pixels: copied.append(pixels))
    still, other = frame(0), frame(9)
    for sent in (still, still, Frame(still.pixels, 5, 5.0), other, still):
        child_channel.send(Credit())
        channel.receive()
        assert channel.send_frame(sent, {}, 0.0)
        request = child_channel.receive()
        child_channel.send(FrameResult(request.slot, request.number, request.time))
        channel.free_slot(channel.receive()[0])
    assert [pixels is still.pixels for pixels in copied] == [True, False, True]


def test_a_slot_does_not_keep_a_frame_alive(pair: tuple[Channel, ChildChannel]) -> None:
    channel, child_channel = pair
    child_channel.send(Credit())
    channel.receive()
    sent = frame(0)
    alive = weakref.ref(sent.pixels)
    channel.send_frame(sent, {}, 0.0)
    del sent
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(("free", "slots"), [(100, 5), (5, 5), (4, 4), (2, 2)])
def test_short_memory_gives_fewer_slots(free: int, slots: int, monkeypatch: pytest.MonkeyPatch) -> None:
    need(sys.platform == "linux", "only Linux gives more shared memory than there is")
    room = SimpleNamespace(f_bavail=free, f_frsize=2 * SIZE[0] * SIZE[1] * 4)
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    channel = Channel(SIZE, slots=5)
    child_channel = ChildChannel(channel.child_endpoint())
    assert child_channel.slots.count == len(child_channel.slots.inputs) == slots
    child_channel.close()
    channel.close()


def test_the_memory_of_all_slots_is_one_block() -> None:
    slots = FrameSlots(SIZE, guided=True, count=4)
    memory = slots.memory()
    assert memory.size == 3 * 4 * SIZE[0] * SIZE[1] * 4
    memory[:] = 7
    assert all(int(pixels.min()) == 7 for pixels in (*slots.inputs, *slots.outputs, *slots.guides))
    del memory
    slots.close()
