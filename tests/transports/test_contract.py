"""Contract tests: every transport in the table keeps the promises of lcm_daemon.transports.base."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, check_pixels, solid
from lcm_daemon.core.schema import Field, FieldKind
from lcm_daemon.transports import TRANSPORTS, load
from lcm_daemon.transports.base import Endpoint, Probe, Sink, Source, Transport
from tests.rigs.transport_contract import LOOPBACKS, SOURCES, TOLERANCES

MODULES = {name: f"test_{module.rpartition('.')[2]}" for name, module in TRANSPORTS.items()}
TESTED = [name for name in TRANSPORTS if Path(__file__).with_name(f"{MODULES[name]}.py").exists()]
for _name in TESTED:
    importlib.import_module(f"tests.transports.{MODULES[_name]}")

ENDPOINTS = [(name, endpoint) for name in TRANSPORTS for endpoint in (load(name).source, load(name).sink) if endpoint]
ENDPOINT_IDS = [f"{name}-{endpoint.__name__}" for name, endpoint in ENDPOINTS]
NATIVE = ("av", "NDIlib", "SpoutGL", "syphon", "cv2", "OpenGL", "objc", "Metal", "torch")
CORNERS = {  # of the test picture: top left, top right, bottom left, bottom right
    (0, 0): (255, 0, 0, 255),
    (0, 1): (0, 255, 0, 200),
    (1, 0): (0, 0, 255, 128),
    (1, 1): (200, 180, 40, 64),
}
WIDTH, HEIGHT = 128, 96
WAIT = 20.0  # seconds until a sender must have been found


def corners() -> Pixels:
    """Four different quarters, so that a flip, swapped channels or a lost alpha channel are seen."""
    pixels = solid((WIDTH, HEIGHT))
    for (row, column), rgba in CORNERS.items():
        pixels[row * HEIGHT // 2 :, column * WIDTH // 2 :] = rgba
    return pixels


def exchange(sink: Sink, source: Source, pixels: Pixels, first: int = 0) -> Frame:
    """Write `pixels` repeatedly until a frame of that size can be read."""
    until = time.perf_counter() + WAIT
    for number in range(first, sys.maxsize):
        sink.write(Frame(pixels, number, time.perf_counter()))
        frame = source.read(0.05)
        if frame is not None and frame.pixels.shape == pixels.shape:
            return frame
        if time.perf_counter() > until:
            raise AssertionError(f"no frame of {pixels.shape} within {WAIT} s")
    raise AssertionError


@pytest.mark.parametrize("name", TRANSPORTS)
def test_every_transport_has_a_test_module(name: str) -> None:
    assert name in TESTED, f"tests/transports/{MODULES[name]}.py is missing"
    transport = load(name)
    if transport.source and transport.sink:
        assert name in LOOPBACKS
    elif transport.source:
        assert name in SOURCES


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSPORTS)
def test_loads_without_its_native_library(name: str) -> None:
    check = (
        f"import sys; from lcm_daemon.transports import load; load({name!r});"
        f" found = sorted(set({NATIVE!r}) & set(sys.modules)); sys.exit(f'imported {{found}}' if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TRANSPORTS)
def test_has_an_endpoint_and_a_probe(name: str) -> None:
    transport = load(name)
    assert isinstance(transport, Transport)
    assert transport.source or transport.sink
    probe = transport.probe()
    assert isinstance(probe, Probe)
    assert probe.detail
    assert "\n" not in probe.detail


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS, ids=ENDPOINT_IDS)
def test_every_option_is_a_field_with_help(name: str, endpoint: type[Endpoint]) -> None:
    for option, field in endpoint.fields.items():
        assert option.isidentifier()
        assert isinstance(field, Field)
        assert isinstance(field.kind, FieldKind)
        assert field.help, f"{name}: option {option} has no help"
        assert "\n" not in field.help


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS, ids=ENDPOINT_IDS)
def test_refuses_unknown_options(name: str, endpoint: type[Endpoint]) -> None:
    with pytest.raises(ValueError, match="unknown option"):
        endpoint({"no_such_option": 1})


@pytest.mark.parametrize(("name", "endpoint"), ENDPOINTS, ids=ENDPOINT_IDS)
def test_before_open(name: str, endpoint: type[Source] | type[Sink]) -> None:
    made = endpoint({})
    assert not made.is_open
    made.close()
    with pytest.raises(TransportError, match="not open"):
        made.read(0.0) if isinstance(made, Source) else made.write(Frame(solid((16, 16)), 0, 0.0))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_source_alone(name: str) -> None:
    with SOURCES[name]() as source:
        source.open()
        source.open()
        check_stream(source, lambda: None)
        close_twice(source)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_what_goes_in_comes_out(name: str) -> None:
    with LOOPBACKS[name]() as (sink, source):
        sink.open((WIDTH, HEIGHT), 30.0)
        source.open()
        frame = exchange(sink, source, corners())
        for (row, column), rgba in CORNERS.items():
            got = frame.pixels[HEIGHT // 4 + row * HEIGHT // 2, WIDTH // 4 + column * WIDTH // 2]
            error = np.abs(got.astype(int) - rgba).max()
            assert error <= TOLERANCES.get(name, 0), f"quarter {row, column}: {got} instead of {rgba}"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_numbers_rise_and_endpoints_close(name: str) -> None:
    with LOOPBACKS[name]() as (sink, source):
        sink.open((WIDTH, HEIGHT), 30.0)
        source.open()
        first = exchange(sink, source, corners())
        numbers = iter(range(1000, sys.maxsize))
        check_stream(source, lambda: sink.write(Frame(corners(), next(numbers), time.perf_counter())), first)
        close_twice(source)
        close_twice(sink)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_endpoints_reopen(name: str) -> None:
    with LOOPBACKS[name]() as (sink, source):
        for round_ in range(2):
            sink.open((WIDTH, HEIGHT), 30.0)
            source.open()
            exchange(sink, source, corners(), round_ * 10_000)
            source.close()
            sink.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LOOPBACKS))
def test_size_changes_while_open(name: str) -> None:
    """The source follows when the sink sends another size."""
    with LOOPBACKS[name]() as (sink, source):
        sink.open((WIDTH, HEIGHT), 30.0)
        source.open()
        exchange(sink, source, corners())
        larger = solid((WIDTH * 2, HEIGHT * 2), (10, 200, 30, 255))
        frame = exchange(sink, source, larger, 10_000)
        assert frame.size == (WIDTH * 2, HEIGHT * 2)


def check_stream(source: Source, feed, last: Frame | None = None) -> None:
    """Read three more frames: well formed, numbers and times rise, times are of this clock."""
    until = time.perf_counter() + WAIT
    for _ in range(3):
        frame = None
        while frame is None:
            assert time.perf_counter() < until, "the frames stopped"
            feed()
            frame = source.read(0.1)
        check_pixels(frame.pixels)
        assert abs(frame.time - time.perf_counter()) < 60
        if last is not None:
            assert frame.number > last.number
            assert frame.time >= last.time
        last = frame


def close_twice(endpoint: Endpoint) -> None:
    endpoint.close()
    assert not endpoint.is_open
    endpoint.close()
    assert not endpoint.is_open
