"""NDI with its real runtime, between processes in a network namespace; failures with a stand-in."""

from __future__ import annotations

import atexit
import ctypes
import functools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.errors import MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Size, solid
from lcm_daemon.transports import ndi, ndi_library
from lcm_daemon.transports.base import Sink, Source
from lcm_daemon.transports.ndi import NdiSink, NdiSource, SenderSearch, frame_rate, matching_senders, sender_part
from lcm_daemon.transports.ndi_library import NdiSender
from tests.conftest import need
from tests.rigs.ndi_children import CORNERS, FOUND, grow, middles, open_nameless, read_slowly, receive, send
from tests.rigs.network import Child, Network, namespace
from tests.rigs.transport_contract import LOOPBACKS, TOLERANCES

PEER = str(Path(__file__).parents[1] / "rigs" / "ndi_peer.py")
TOLERANCE = 3  # of a flat area, in the range of 255
RUNTIME_TOLERANCE = 16  # where the runtime itself converts to RGB: full blue comes as 243


def ready() -> None:
    try:
        import NDIlib  # noqa: F401
    except ImportError as error:
        need(False, f"NDI is not here: {error}")


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    ready()
    with namespace() as network:
        yield network


def start_sender(net: Network, name: str, picture: str = "corners", size: Size = (128, 96), fps: float = 30) -> Child:
    child = net.start(send, {"name": name}, picture, size, fps)
    assert child.receive(90) == "sending"
    return child


def start_source(net: Network, **options: Any) -> Child:
    child = net.start(receive, options)
    assert child.receive(90) == "open"
    return child


def start_peer(net: Network, name: str, size: Size = (160, 120)) -> subprocess.Popen[str]:
    peer = net.popen([sys.executable, PEER, "send", name, *map(str, size), "30"], stdout=subprocess.PIPE, text=True)
    assert peer.stdout is not None
    assert peer.stdout.readline() == "sending\n"
    return peer


def read(source: Child, seconds: float = FOUND) -> Frame | None:
    source.pipe.send(("read", seconds))
    frame: Frame | None = source.receive(seconds + 2)
    return frame


def read_size(source: Child, size: Size) -> Frame:
    until = time.perf_counter() + FOUND
    while time.perf_counter() < until:
        frame = read(source, 1.0)
        if frame is not None and frame.size == size:
            return frame
    raise AssertionError(f"no picture of {size}")


def silence(source: Child) -> None:
    """Read what is left on its way; then half a second must bring nothing."""
    for _ in range(8):
        if read(source, 0.5) is None:
            return
    raise AssertionError("the pictures go on")


@pytest.mark.slow
def test_orientation_colours_and_alpha(net: Network) -> None:
    sender, source = start_sender(net, "corners"), start_source(net, name="corners")
    frame = read(source)
    assert frame is not None
    assert frame.size == (128, 96)
    for got, rgba in zip(middles(frame.pixels), CORNERS, strict=True):
        assert np.abs(got - rgba).max() <= TOLERANCE, f"{got} instead of {rgba}"
    assert abs(frame.time - time.perf_counter()) < 5
    sender.pipe.send("receivers")
    assert sender.receive(5) == 1
    following = read(source)
    assert following is not None
    assert (following.number, following.time > frame.time) == (frame.number + 1, True)
    sender.stop()


@pytest.mark.slow
def test_size_change_is_followed(net: Network) -> None:
    sender, source = start_sender(net, "sizes"), start_source(net, name="sizes")
    read_size(source, (128, 96))
    sender.pipe.send((250, 130))
    frame = read_size(source, (250, 130))
    for got, rgba in zip(middles(frame.pixels), CORNERS, strict=True):
        assert np.abs(got - rgba).max() <= TOLERANCE
    sender.stop()


@pytest.mark.slow
def test_without_alpha(net: Network) -> None:
    sender = net.start(send, {"name": "opaque", "alpha": False}, "corners", (128, 96), 30)
    frame = read(start_source(net, name="opaque"))
    assert frame is not None
    assert (frame.pixels[..., 3] == 255).all()
    sender.stop()


@pytest.mark.slow
def test_a_plain_receiver_sees_the_sink(net: Network) -> None:
    start_sender(net, "to others")
    peer = net.popen([sys.executable, PEER, "receive", "(to others)", "20"], stdout=subprocess.PIPE, text=True)
    assert peer.stdout is not None
    width, height, *rgba = map(int, peer.stdout.readline().split())
    assert (width, height) == (128, 96)
    assert np.abs(np.subtract(rgba, CORNERS[3])).max() <= RUNTIME_TOLERANCE  # the last quarter begins there


@pytest.mark.slow
def test_absent_then_there_then_killed_then_there_again(net: Network) -> None:
    source = start_source(net, name="late")
    assert read(source, 1.5) is None
    for size in ((160, 120), (320, 240)):
        peer = start_peer(net, "late", size)
        read_size(source, size)
        peer.kill()
        silence(source)


@pytest.mark.slow
def test_a_sender_that_is_back_at_once(net: Network) -> None:
    """Its name never leaves the list."""
    source = start_source(net, name="quick")
    start_peer(net, "quick").kill()
    for size in ((160, 120), (320, 240), (640, 360)):
        peer = start_peer(net, "quick", size)
        read_size(source, size)
        peer.kill()


@pytest.mark.slow
def test_the_exact_sender_among_several(net: Network) -> None:
    start_peer(net, "cam two", (320, 240))
    one = start_peer(net, "cam", (160, 120))
    source = start_source(net, name="cam")
    read_size(source, (160, 120))
    ambiguous = start_source(net, name="cam t")
    read_size(ambiguous, (320, 240))
    one.kill()
    silence(source)
    start_peer(net, "cam", (480, 270))
    read_size(source, (480, 270))


@pytest.mark.slow
def test_a_part_that_two_have_takes_none(net: Network) -> None:
    for name in ("twin a", "twin b"):
        start_peer(net, name)
    assert read(start_source(net, name="twin"), 5.0) is None


@pytest.mark.slow
def test_discovery_and_the_nameless_source(net: Network) -> None:
    start_peer(net, "visible")
    source = start_source(net, name="visible")
    assert read(source) is not None
    source.pipe.send(("discover", 2.0))
    full = [name for name in source.receive(5) if name.endswith("(visible)")]
    assert len(full) == 1
    assert read(start_source(net, name=full[0])) is not None
    error = net.call(open_nameless)
    assert "needs the name of a sender; available: " in error
    assert full[0] in error


@pytest.mark.slow
def test_a_slow_reader_gets_the_newest(net: Network) -> None:
    start_sender(net, "clock", "clock", (320, 240), 60)
    ages = net.call(read_slowly, {"name": "clock"})
    assert sorted(ages)[len(ages) // 2] < 0.1, ages
    assert sorted(ages)[-2] < 0.2, ages


@pytest.mark.slow
def test_memory_stays(net: Network) -> None:
    start_sender(net, "memory", "corners", (320, 240), 200)
    assert net.call(grow, {"name": "memory"}, seconds=120) < 30e6  # 300 frames are 92 MB


@pytest.mark.slow
def test_without_discovery_by_address() -> None:
    """First the receivers, then the sender. Killed and started again it may get another port: its name finds it."""
    ready()
    with namespace(discovery=False) as net:
        bare = start_source(net, address="127.0.0.1:5961")
        asked = start_source(net, name="there", address="127.0.0.1")
        assert read(bare, 0.5) is None
        peer = start_peer(net, "there", (160, 120))
        read_size(bare, (160, 120))
        read_size(asked, (160, 120))
        peer.kill()
        start_peer(net, "there", (320, 240))
        read_size(asked, (320, 240))


class FailingNdi(SimpleNamespace):
    """A runtime whose objects are counted, and whose function `failing` fails."""

    def __init__(self, failing: str, result: Any) -> None:
        super().__init__()
        self.open: list[str] = []
        for kind in ("find", "recv", "send"):
            setattr(self, f"{kind}_create", lambda *arguments, kind=kind: self.open.append(kind) or kind)
            setattr(self, f"{kind}_destroy", self.open.remove)
        self.recv_connect = lambda *arguments: None

        def fail(*arguments: Any) -> Any:
            if isinstance(result, Exception):
                raise result
            return result

        setattr(self, failing, fail)


@pytest.mark.parametrize(("failing", "result", "options"), [
    ("find_create", None, {"name": "cam"}),
    ("find_create", RuntimeError("no discovery"), {"name": "cam"}),
    ("recv_create", None, {"name": "cam"}),
    ("recv_connect", RuntimeError("no route"), {"address": "127.0.0.1:5961"}),
])
def test_source_that_fails_to_open_keeps_no_native_object(
    monkeypatch: pytest.MonkeyPatch, failing: str, result: Any, options: dict[str, Any],
) -> None:
    library = FailingNdi(failing, result)
    monkeypatch.setattr(ndi_library, "_loaded", [library])
    source = NdiSource(options)
    for _ in range(3):
        with pytest.raises((TransportError, RuntimeError)):
            source.open()
        assert (library.open, source.is_open) == ([], False)
    source.close()


def test_sink_that_fails_to_open_keeps_no_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FailingNdi("none", None)
    monkeypatch.setattr(ndi_library, "_loaded", [library])
    with pytest.raises(ValueError, match="NaN"):
        NdiSink({}).open((64, 64), float("nan"))
    assert library.open == []


def test_a_sender_that_is_refused_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndi_library, "_loaded", [FailingNdi("send_create", None)])
    with pytest.raises(TransportError, match="cannot create the sender 'lcm'; another one may have that name"):
        NdiSink({}).open((64, 64), 30)


@pytest.mark.parametrize("alpha", ["straight", "ignore"])
def test_alpha_is_sent_from_the_first_transparent_frame_on(monkeypatch: pytest.MonkeyPatch, alpha: str) -> None:
    sent: list[tuple[int, int, int, int]] = []

    def send_video(sender: Any, video: Any) -> None:
        lines = (ctypes.c_uint8 * (video.stride * video.yres)).from_address(video.data)
        first_alpha = 0
        if video.four_cc == ndi_library.UYVA:
            size = video.xres * video.yres
            plane = (ctypes.c_uint8 * size).from_address(video.data + video.stride * video.yres)
            assert video.stride == 2 * video.xres
            assert len(set(plane)) == 1
            first_alpha = plane[0]
        sent.append((video.xres, video.yres, lines[video.stride * (video.yres - 1) + 1], first_alpha))

    library = FailingNdi("send_get_no_connections", 0)
    library.send_video = send_video
    monkeypatch.setattr(ndi_library, "_loaded", [library])
    sink = NdiSink({"alpha": alpha})
    sink.open((64, 36), 30)
    for number, (size, opacity) in enumerate([((64, 36), 255), ((51, 37), 255), ((64, 36), 100), ((64, 36), 255)]):
        sink.write(Frame(solid(size, (128, 128, 128, opacity)), number, 0.0))
    sink.close()
    seen = [0, 0, 100, 255] if alpha == "straight" else [0] * 4
    assert [each[:2] for each in sent] == [(64, 36), (50, 36), (64, 36), (64, 36)]
    assert all(abs(each[2] - 126) <= 1 for each in sent), "the last line's luma"
    assert [each[3] for each in sent] == seen


def test_failing_search_keeps_no_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FailingNdi("senders", RuntimeError("lost"))
    with pytest.raises(RuntimeError):
        ndi._find_names(library, 0.0)
    assert library.open == []


def test_receiver_is_destroyed_even_if_the_finder_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FailingNdi("find_destroy", RuntimeError("lost"))
    monkeypatch.setattr(ndi_library, "_loaded", [library])
    source = NdiSource({"name": "cam"})
    source.open()
    with pytest.raises(RuntimeError):
        source.close()
    assert library.open == ["find"]


def test_a_port_and_a_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndi_library, "_loaded", [object()])
    with pytest.raises(TransportError, match="without name and commas"):
        NdiSource({"name": "a", "address": "127.0.0.1:5961"}).open()


NAMES = ["STAGE (lcm)", "STAGE (lcm preview)", "BOOTH (OBS (2))"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("STAGE (lcm)", NAMES[:1]),
        ("lcm", NAMES[:1]),
        ("LCM", NAMES[:2]),
        ("preview", NAMES[1:2]),
        ("OBS (2)", NAMES[2:]),
        ("booth", NAMES[2:]),
        ("camera", []),
    ],
)
def test_match(wanted: str, found: list[str]) -> None:
    assert matching_senders(wanted, NAMES) == found


def chosen(wanted: str, *listings: list[str]) -> list[str | None]:
    search = SenderSearch(wanted)
    return [search.choose(names) for names in listings]


def test_a_full_name_is_taken_at_once() -> None:
    assert chosen("A (cam)", ["A (cam)"]) == ["A (cam)"]


def test_a_part_is_taken_when_it_has_meant_the_same_twice() -> None:
    assert chosen("cam", ["A (cam 2)"], ["A (cam 2)", "A (cam)"], ["A (cam 2)", "A (cam)"]) == [None, None, "A (cam)"]


def test_once_found_no_other_is_taken() -> None:
    both, others = ["A (cam)", "B (cam)"], ["B (cam)", "BA (cam)"]  # the last one's name contains the first one's
    assert chosen("cam", both[:1], both[:1], others, others, both) == [None, "A (cam)", None, None, "A (cam)"]


def test_none_of_several_is_taken_and_that_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    both = ["A (cam)", "B (cam)"]
    assert chosen("cam", *[both] * ndi.QUIET_CHECKS) == [None] * ndi.QUIET_CHECKS
    assert caplog.messages == []
    assert chosen("cam", *[both] * 9) == [None] * 9
    assert caplog.messages == ["ndi: 'cam' may mean 'A (cam)', 'B (cam)'; none is received: give the full name"]


def test_a_sender_that_moved_or_fell_silent_is_connected_again() -> None:
    calls: list[str] = []
    alive = {"connections": 1}
    source = NdiSource({"name": "cam"})
    source._connected, source._unconnected = None, 0
    source._ndi = SimpleNamespace(
        recv_get_no_connections=lambda receiver: alive["connections"],
        recv_connect=lambda receiver, name, address: calls.append(address),
    )
    for port in (1, 1, 2, 2):
        source._connect("A (cam)", NdiSender("A (cam)", f"10.0.0.1:{port}", b"A (cam)"))
    assert calls == ["10.0.0.1:1", "10.0.0.1:2"]
    alive["connections"] = 0
    for _ in range(ndi.RECONNECT_AFTER):
        source._connect("A (cam)", NdiSender("A (cam)", "10.0.0.1:2", b"A (cam)"))
    assert calls == ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:2"]


def test_sender_part() -> None:
    assert [sender_part(name) for name in [*NAMES, "odd"]] == ["lcm", "lcm preview", "OBS (2)", ""]


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(30, (30, 1)), (60.0, (60, 1)), (29.97, (30000, 1001)), (59.94, (60000, 1001)), (12.5, (25, 2)), (24, (24, 1))],
)
def test_frame_rate(fps: float, rate: tuple[int, int]) -> None:
    assert frame_rate(fps) == rate


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndi_library, "_loaded", [])
    monkeypatch.setitem(sys.modules, "NDIlib", None)
    with pytest.raises(MissingIntegration, match=r'pip install "lcm-daemon\[ndi\]"'):
        NdiSink({}).open((64, 64), 30)
    probe = ndi.probe()
    assert not probe.works
    assert probe.install == 'pip install "lcm-daemon[ndi]"'


@pytest.mark.slow
def test_missing_system_library() -> None:
    error = ndi_library.missing(ImportError("libavahi-client.so.3: cannot open shared object file"))
    assert error.install == "apt install libavahi-client3"


@functools.cache
def lasting_network() -> Network:
    """One for the whole of this process: libdbus reads the bus's address once."""
    ending = ExitStack()
    atexit.register(ending.close)
    return ending.enter_context(namespace())


@contextmanager
def loopback() -> Iterator[tuple[Sink, Source]]:
    ready()
    with lasting_network().inside():
        sink, source = NdiSink({"name": "contract"}), NdiSource({"name": "contract"})
        try:
            yield sink, source
        finally:
            sink.close()
            source.close()


LOOPBACKS["ndi"] = loopback
TOLERANCES["ndi"] = TOLERANCE
