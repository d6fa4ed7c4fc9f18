"""Syphon: the adapter's calls against the real package's names, and its work on a syphon-python in memory."""

from __future__ import annotations

import inspect
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lcm_daemon.core.errors import MissingIntegration, TransportError
from lcm_daemon.core.frame import Frame, Pixels, Size
from lcm_daemon.transports import syphon
from lcm_daemon.transports.base import Sink, Source
from lcm_daemon.transports.syphon import SyphonSink, SyphonSource
from tests.rigs import native_names, standin_syphon
from tests.rigs.standin_syphon import RGBA8, RGBA16F, Mac
from tests.rigs.transport_contract import LOOPBACKS

OWNERS = {
    "library.syphon": "syphon",
    "self._library.syphon": "syphon",
    "self._library.raw": "syphon.utils.raw",
    "_state.directory": "SyphonServerDirectory",
    "client": "SyphonMetalClient",
    "self._client": "SyphonMetalClient",
    "self._server": "SyphonMetalServer",
    "metal_server": "SyphonMetalServer",
    "server": "SyphonServerDescription",
    "s": "SyphonServerDescription",
}


def picture(size: Size = (64, 48), seed: int = 1) -> Pixels:
    """Noise, so that every flip, swap or shift is seen."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)


@contextmanager
def on_a_mac() -> Iterator[Mac]:
    mac = Mac()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syphon, "_state", syphon._State())
        patch.setattr(syphon, "PUMP_INTERVAL", 0.0)
        patch.setattr(syphon, "LISTING_SECONDS", 0.01)
        for name, module in standin_syphon.modules(mac).items():
            patch.setitem(sys.modules, name, module)
        yield mac


@pytest.fixture
def mac() -> Iterator[Mac]:
    with on_a_mac() as made:
        yield made


def opened(**options: Any) -> SyphonSource:
    source = SyphonSource(options)
    source.open()
    SyphonSource.pump()
    return source


def test_every_call_is_one_that_the_real_package_takes() -> None:
    calls = list(native_names.uses(Path(syphon.__file__), OWNERS))
    assert {call.name for call in calls} >= {"SyphonServerDirectory", "SyphonMetalServer", "SyphonMetalClient"}
    assert {call.name for call in calls} >= {"servers", "new_frame_image", "publish_frame_texture", "device"}
    assert native_names.mistakes(native_names.load("syphon.json"), calls) == []


@pytest.mark.parametrize("name", ["SyphonServerDirectory", "SyphonMetalServer", "SyphonMetalClient"])
def test_the_stand_in_has_the_real_signatures(name: str) -> None:
    known = native_names.load("syphon.json")["names"][name]
    for member, value in vars(getattr(standin_syphon, name)).items():
        if isinstance(value, property):
            assert known[member] == {}, member
        elif inspect.isfunction(value):
            kinds = inspect.signature(value).parameters.values()
            names = [p.name for p in kinds if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
            assert names == known[member]["names"], member
            assert [p.name for p in kinds if p.kind is p.KEYWORD_ONLY] == known[member]["keywords"], member


def test_the_sink_publishes_upright_with_its_colours(mac: Mac) -> None:
    sink, pixels = SyphonSink({"name": "lcm"}), picture()
    sink.open((64, 48), 30)
    sink.write(Frame(pixels, 0, 0.0))
    assert (mac.shown("lcm") == pixels).all()
    larger = picture((128, 96))
    sink.write(Frame(larger, 1, 0.0))
    assert (mac.shown("lcm") == larger).all()
    sink.close()
    assert mac.servers == []


def test_one_texture_a_size(mac: Mac) -> None:
    sink = SyphonSink({})
    sink.open((64, 48), 30)
    for number in range(100):
        sink.write(Frame(picture(), number, 0.0))
    assert mac.textures == 1


@pytest.mark.parametrize("layout", [standin_syphon.BGRA8, RGBA8])
def test_the_source_receives_upright_with_its_colours(mac: Mac, layout: int) -> None:
    pixels = picture()
    mac.publish("out", "TouchDesigner", pixels, layout)
    frame = opened(name="out").read(0.0)
    assert frame is not None
    assert (frame.pixels == pixels).all()


def test_flip_turns_it_over(mac: Mac) -> None:
    pixels = picture()
    mac.publish("out", "TouchDesigner", pixels)
    frame = opened(name="out", flip=True).read(0.0)
    assert frame is not None
    assert (frame.pixels == pixels[::-1]).all()


def test_an_absent_server_comes_goes_and_comes_back(mac: Mac) -> None:
    source, numbers = opened(name="out"), []
    assert source.read(0.01) is None
    for seed in (1, 2):
        pixels = picture(seed=seed)
        server = mac.publish("out", "TouchDesigner", pixels)
        assert source.read(0.0) is None, "it cannot be known before the run loop was turned"
        SyphonSource.pump()
        frame = source.read(0.0)
        assert frame is not None
        assert (frame.pixels == pixels).all()
        numbers.append(frame.number)
        assert source.read(0.0) is None, "a frame is read once"
        mac.retire(server)
        SyphonSource.pump()
        assert source.read(0.0) is None
    assert numbers == [0, 1]


def test_a_server_is_connected_while_it_publishes_nothing_new(mac: Mac) -> None:
    source = opened(name="out")
    assert source.read(0.0) is None
    assert not source.is_connected
    server = mac.publish("out", "TouchDesigner", picture())
    SyphonSource.pump()
    assert source.read(0.0) is not None
    assert source.read(0.0) is None
    assert source.is_connected
    mac.retire(server)
    assert not source.is_connected


def test_a_server_that_is_gone_but_still_listed(mac: Mac) -> None:
    mac.retire(mac.publish("out", "TouchDesigner", picture()))
    mac.servers.append(standin_syphon.Server("out", "TouchDesigner", is_alive=False))
    with pytest.raises(TransportError, match="cannot connect to TouchDesigner: out"):
        opened(name="out").read(0.0)


def test_size_changes_are_followed(mac: Mac) -> None:
    mac.publish("out", "TouchDesigner", picture())
    source = opened(name="out")
    for size in ((64, 48), (128, 96), (30, 30)):
        pixels = picture(size)
        mac.publish("out", "TouchDesigner", pixels)
        frame = source.read(0.0)
        assert frame is not None
        assert (frame.pixels == pixels).all()


def test_name_and_app_must_both_fit(mac: Mac, caplog: pytest.LogCaptureFixture) -> None:
    for number, (name, app) in enumerate([("out", "Resolume"), ("out", "VDMX"), ("outer", "VDMX")]):
        mac.publish(name, app, picture(seed=number))
    frame = opened(name="out", app="VDMX").read(0.0)
    assert frame is not None
    assert (frame.pixels == picture(seed=1)).all()
    assert opened(app="Resolume").read(0.0) is not None
    with caplog.at_level(logging.WARNING):
        source = opened(name="out")
        assert source.read(0.01) is None
    assert caplog.messages == ["syphon: Resolume: out, VDMX: out all match; none is received: give name and app"]


def test_other_pixel_formats_are_refused(mac: Mac) -> None:
    mac.publish("out", "TouchDesigner", picture(), RGBA16F)
    with pytest.raises(TransportError, match="pixel format 115"):
        opened(name="out").read(0.0)


def test_discovery_and_the_nameless_source(mac: Mac) -> None:
    mac.publish("out", "TouchDesigner", picture())
    assert SyphonSource.discover(0.02) == ["TouchDesigner: out"]
    with pytest.raises(TransportError, match="available: TouchDesigner: out"):
        SyphonSource({}).open()


def test_once_in_a_process(mac: Mac) -> None:
    SyphonSource.pump()
    assert mac.directories == 0, "nothing is loaded where Syphon is not used"
    source, sink = opened(name="out"), SyphonSink({})
    sink.open((64, 48), 30)
    SyphonSource.pump()
    SyphonSink.pump()
    assert (mac.directories, mac.activities) == (1, ["live video"])
    source.close()


def test_the_pump_belongs_to_the_main_thread(mac: Mac) -> None:
    SyphonSource({"name": "out"}).open()
    thread = threading.Thread(target=SyphonSource.pump)
    thread.start()
    thread.join()
    assert mac.directories == 0


def test_the_pump_rests_between_turns(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syphon, "PUMP_INTERVAL", 3600.0)
    source = opened(name="out")
    mac.publish("out", "TouchDesigner", picture())
    SyphonSource.pump()
    assert source.read(0.0) is None


@pytest.mark.skipif(sys.platform == "darwin", reason="syphon-python may be here")
def test_elsewhere_it_says_where_syphon_exists() -> None:
    probe = syphon.probe()
    assert (probe.works, probe.detail) == (False, "Syphon exists on macOS only")
    with pytest.raises(MissingIntegration, match=r"lcm-daemon\[syphon\]"):
        SyphonSink({}).open((64, 48), 30)


class PumpedSource(SyphonSource):
    """The contract's tests have no stage that pumps."""

    def _read(self, timeout: float) -> Frame | None:
        self.pump()
        return super()._read(timeout)


@contextmanager
def loopback() -> Iterator[tuple[Sink, Source]]:
    with on_a_mac():
        sink, source = SyphonSink({"name": "contract"}), PumpedSource({"name": "contract"})
        yield sink, source
        sink.close()
        source.close()


LOOPBACKS["syphon"] = loopback
