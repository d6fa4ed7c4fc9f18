"""Spout: the adapter's calls against the real package's names, and its work on a SpoutGL in memory."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.core.errors import MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.transports import spout
from lcm_daemon.transports.base import Sink, Source
from lcm_daemon.transports.spout import SpoutSink, SpoutSource
from tests.rigs import native_names, standin_spoutgl
from tests.rigs.standin_spoutgl import Machine
from tests.rigs.transport_contract import LOOPBACKS

OWNERS = {
    "spout": "SpoutGL",
    "_library()": "SpoutGL",
    "spout.enums": "enums",
    "spout.helpers": "helpers",
    "receiver": "SpoutReceiver",
    "self._receiver": "SpoutReceiver",
    "_library().SpoutReceiver()": "SpoutReceiver",
    "native": "SpoutReceiver",
    "sender": "SpoutSender",
    "self._sender": "SpoutSender",
}


def picture(size: Size = (64, 48), seed: int = 1) -> Pixels:
    """Noise, so that every flip, swap or shift is seen."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine()
    monkeypatch.setitem(sys.modules, "SpoutGL", standin_spoutgl.package(machine))
    return machine


@pytest.fixture
def source(machine: Machine) -> Iterator[SpoutSource]:
    source = SpoutSource({"name": "other"})
    source.open()
    yield source
    source.close()


def read_published(machine: Machine, source: SpoutSource, pixels: Pixels) -> Frame:
    """Another program sends `pixels` until they come out as they are: the read-back is a frame late."""
    for _ in range(6):
        machine.publish("other", pixels)
        frame = source.read(0.0)
        if frame is not None and np.array_equal(frame.pixels, pixels):
            return frame
    raise AssertionError("the picture did not come out, or not as it is")


def test_every_call_is_one_that_the_real_package_takes() -> None:
    calls = list(native_names.uses(Path(spout.__file__), OWNERS))
    assert {call.name for call in calls} >= {"sendImage", "receiveImage", "isUpdated", "createOpenGL", "getSenderInfo"}
    assert native_names.mistakes(native_names.load("SpoutGL.json"), calls) == []


@pytest.mark.parametrize("name", ["SpoutSender", "SpoutReceiver"])
def test_the_stand_in_has_the_real_signatures(name: str) -> None:
    known = native_names.load("SpoutGL.json")["names"][name]
    methods = inspect.getmembers(getattr(standin_spoutgl, name), inspect.isfunction)
    for method, function in methods:
        if not method.startswith("_"):
            assert len(inspect.signature(function).parameters) - 1 == known[method]["required"], method


def test_a_wrong_call_would_be_seen() -> None:
    names = native_names.load("SpoutGL.json")
    wrong = [
        native_names.NativeCall(1, "SpoutReceiver", "receiveTextures", 0),
        native_names.NativeCall(2, "SpoutSender", "sendImage", 5),
        native_names.NativeCall(3, "SpoutSender", "sendImage", 5, ("hostFbo",)),
    ]
    assert len(native_names.mistakes(names, wrong)) == 3


def test_the_sink_sends_upright_with_its_colours(machine: Machine) -> None:
    sink, pixels = SpoutSink({"name": "lcm"}), picture()
    sink.open((64, 48), 30)
    sink.write(Frame(pixels, 0, 0.0))
    assert (machine.shown("lcm") == pixels).all()
    larger = picture((128, 96))
    sink.write(Frame(larger, 1, 0.0))
    assert (machine.shown("lcm") == larger).all()
    sink.close()
    assert machine.names == []


def test_the_source_receives_upright_with_its_colours(machine: Machine, source: SpoutSource) -> None:
    frame = read_published(machine, source, picture())
    assert frame.size == (64, 48)


def test_an_absent_sender_comes_goes_and_comes_back(machine: Machine, source: SpoutSource) -> None:
    assert source.read(0.01) is None
    for seed in (1, 2):
        read_published(machine, source, picture(seed=seed))
        machine.crash("other")
        assert source.read(0.0) is None
        assert source.read(0.0) is None


def test_a_sender_is_connected_while_it_sends_nothing_new(machine: Machine, source: SpoutSource) -> None:
    """As TouchDesigner does while it does not cook."""
    assert source.read(0.0) is None
    assert not source.is_connected
    read_published(machine, source, picture())
    for _ in range(3):
        assert source.read(0.0) is None
        assert source.is_connected
    machine.crash("other")
    assert source.read(0.0) is None
    assert not source.is_connected


def test_size_changes_are_followed(machine: Machine, source: SpoutSource) -> None:
    for size in ((64, 48), (128, 96), (32, 32)):
        assert read_published(machine, source, picture(size)).size == size


def test_the_unwritten_buffer_is_no_picture(machine: Machine, source: SpoutSource) -> None:
    machine.publish("other", picture())
    frames = [source.read(0.0) for _ in range(2)]  # the update, and the read that fills nothing
    assert frames == [None, None]


def test_black_and_transparent_pictures_come_through(machine: Machine, source: SpoutSource) -> None:
    read_published(machine, source, picture())
    black = np.zeros((48, 64, 4), np.uint8)
    for _ in range(2):
        machine.publish("other", black)
        frame = source.read(0.0)
    assert frame is not None
    assert not frame.pixels.any()


def test_a_frame_is_read_once_and_never_written_again(machine: Machine, source: SpoutSource) -> None:
    frame = read_published(machine, source, picture(seed=1))
    kept = frame.pixels.copy()
    assert source.read(0.0) is None
    following = read_published(machine, source, picture(seed=2))
    assert following.number > frame.number
    assert (frame.pixels == kept).all()


def test_only_the_exact_name_is_taken(machine: Machine, source: SpoutSource) -> None:
    machine.publish("another", picture())
    assert source.read(0.01) is None


def test_a_crashed_sender_leaves_the_name_free(machine: Machine) -> None:
    machine.publish("lcm", picture())
    machine.crash("lcm")
    sink = SpoutSink({"name": "lcm"})
    sink.open((64, 48), 30)
    sink.write(Frame(picture(), 0, 0.0))
    assert machine.names == ["lcm"]


def test_a_taken_name_is_refused(machine: Machine) -> None:
    machine.publish("lcm", picture())
    with pytest.raises(TransportError, match="a sender 'lcm' exists already"):
        SpoutSink({"name": "lcm"}).open((64, 48), 30)


def test_discovery_and_the_nameless_source(machine: Machine) -> None:
    for name in ("b", "a"):
        machine.publish(name, picture())
    assert SpoutSource.discover(0.0) == ["a", "b"]
    with pytest.raises(TransportError, match="available: 'a', 'b'"):
        SpoutSource({}).open()


def test_no_opengl_is_one_clear_line(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin_spoutgl.Common, "createOpenGL", lambda self: False)
    for end in (SpoutSource({"name": "a"}), SpoutSink({})):
        with pytest.raises(TransportError, match="no OpenGL here"):
            end.open() if isinstance(end, Source) else end.open((64, 48), 30)


@pytest.mark.parametrize("kind", [SpoutSource, SpoutSink])
def test_failed_open_closes_its_opengl_context(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, kind: type[SpoutSource] | type[SpoutSink],
) -> None:
    contexts: list[object] = []
    create, close = standin_spoutgl.Common.createOpenGL, standin_spoutgl.Common.closeOpenGL
    monkeypatch.setattr(standin_spoutgl.Common, "createOpenGL", lambda self: contexts.append(self) or create(self))
    monkeypatch.setattr(standin_spoutgl.Common, "closeOpenGL", lambda self: contexts.remove(self) or close(self))

    def refuse(self: object, name: str) -> None:
        if contexts:
            raise RuntimeError("lost")

    monkeypatch.setattr(standin_spoutgl.SpoutReceiver, "setReceiverName", refuse)
    monkeypatch.setattr(standin_spoutgl.SpoutSender, "setSenderName", refuse)
    endpoint = kind({"name": "a"})
    with pytest.raises(RuntimeError, match="lost"):
        endpoint.open() if isinstance(endpoint, Source) else endpoint.open((64, 48), 30)
    assert (contexts, endpoint.is_open) == ([], False)


def test_the_stand_in_sees_a_call_from_another_thread(machine: Machine, source: SpoutSource) -> None:
    seen: list[Exception] = []

    def read() -> None:
        try:
            source.read(0.0)
        except RuntimeError as error:
            seen.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(seen) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="SpoutGL may be here")
def test_elsewhere_it_says_where_spout_exists() -> None:
    probe = spout.probe()
    assert (probe.works, probe.detail) == (False, "Spout exists on Windows only")
    with pytest.raises(MissingIntegration, match=r"lcm-daemon\[spout\]"):
        SpoutSink({}).open((64, 48), 30)


@contextmanager
def loopback() -> Iterator[tuple[Sink, Source]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "SpoutGL", standin_spoutgl.package(Machine()))
        sink, source = SpoutSink({"name": "contract"}), SpoutSource({"name": "contract"})
        yield sink, source
        sink.close()
        source.close()


LOOPBACKS["spout"] = loopback
