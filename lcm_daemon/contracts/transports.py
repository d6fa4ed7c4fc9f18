"""What every transport has to do, see `lcm_daemon.transports.base`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from lcm_daemon.contracts.refusals import check_refusal
from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, check_pixels, solid
from lcm_daemon.core.schema import Field, FieldKind, Fields
from lcm_daemon.transports.base import Endpoint, Probe, Sink, Source, Transport

CORNERS = {  # of the test picture: top left, top right, bottom left, bottom right
    (0, 0): (255, 0, 0, 255),
    (0, 1): (0, 255, 0, 200),
    (1, 0): (0, 0, 255, 128),
    (1, 1): (200, 180, 40, 64),
}
WIDTH, HEIGHT = 128, 96
WAIT = 20.0  # seconds until a sender must have been found


def check_transport(transport: Transport) -> None:
    """The transport has an endpoint, its probe answers in one line, and `check_endpoint` holds for its endpoints."""
    assert isinstance(transport, Transport), f"{transport!r} is not a Transport"
    assert transport.source or transport.sink, "a transport has a source or a sink"
    probe = transport.probe()
    assert isinstance(probe, Probe), f"{probe!r} is not a Probe"
    assert probe.detail, "the probe says nothing"
    assert "\n" not in probe.detail, "the probe says more than one line"
    for endpoint in (transport.source, transport.sink):
        if endpoint is not None:
            check_endpoint(endpoint)


def check_endpoint(endpoint: type[Source] | type[Sink]) -> None:
    """Its options are fields with help, unknown ones are refused, and it does nothing before it is open."""
    check_fields(endpoint.__name__, endpoint.fields)
    check_unknown_options(endpoint)
    check_before_open(endpoint)


def check_fields(owner: str, fields: Fields) -> None:
    """Every option has a name that is an identifier, a kind, and one line of help."""
    for option, field in fields.items():
        assert option.isidentifier(), f"{owner}: {option!r} is not an identifier"
        assert isinstance(field, Field), f"{owner}: option {option} is not a Field"
        assert isinstance(field.kind, FieldKind), f"{owner}: the kind of option {option} is not a FieldKind"
        assert field.help, f"{owner}: option {option} has no help"
        assert "\n" not in field.help, f"{owner}: the help of option {option} has more than one line"


def check_unknown_options(endpoint: type[Endpoint]) -> None:
    """An option that is not in `fields` is refused."""
    check_refusal(lambda: endpoint({"no_such_option": 1}), ValueError, "unknown option",
                  f"{endpoint.__name__} accepts an unknown option")


def check_before_open(endpoint: type[Source] | type[Sink]) -> None:
    """Before it is open, it can be closed, and it refuses to read or write."""
    made = endpoint({})
    assert not made.is_open, f"{endpoint.__name__} is open before `open`"
    made.close()
    call = (lambda: made.read(0.0)) if isinstance(made, Source) else (
        lambda: made.write(Frame(solid((16, 16)), 0, 0.0)))
    check_refusal(call, TransportError, "not open", f"{endpoint.__name__} reads or writes before `open`")


def check_source(source: Source) -> None:
    """A source without a sink delivers at least three frames, and opens and closes twice. It is not open yet."""
    source.open()
    source.open()
    check_stream(source, lambda: None)
    close_twice(source)


def check_loopback(sink: Sink, source: Source, tolerance: int = 0) -> None:
    """What goes into a sink comes out of the source that is connected with it. Both are not open yet.

    Args:
        sink: Opened first.
        source: What receives from it.
        tolerance: The largest channel error in the middle of a flat area, in steps of 255: 0, if the protocol does
            not compress.
    """
    check_colours(sink, source, tolerance)
    close_both(sink, source)
    check_numbers(sink, source)
    close_both(sink, source)
    check_reopening(sink, source)
    check_new_size(sink, source)
    close_both(sink, source)


def check_colours(sink: Sink, source: Source, tolerance: int = 0) -> None:
    """Each quarter of the picture has its colour and its alpha: nothing is flipped or swapped."""
    _open_both(sink, source)
    frame = exchange(sink, source, corners())
    for (row, column), rgba in CORNERS.items():
        got = frame.pixels[HEIGHT // 4 + row * HEIGHT // 2, WIDTH // 4 + column * WIDTH // 2]
        error = np.abs(got.astype(int) - rgba).max()
        assert error <= tolerance, f"quarter {row, column}: {got} instead of {rgba}"


def check_numbers(sink: Sink, source: Source) -> None:
    """The numbers and times of frames rise, and both ends close, also twice."""
    _open_both(sink, source)
    first = exchange(sink, source, corners())
    numbers = iter(range(1000, sys.maxsize))
    check_stream(source, lambda: sink.write(Frame(corners(), next(numbers), time.perf_counter())), first)
    close_twice(source)
    close_twice(sink)


def check_reopening(sink: Sink, source: Source) -> None:
    """Both ends can be opened again."""
    for round_ in range(2):
        _open_both(sink, source)
        exchange(sink, source, corners(), round_ * 10_000)
        close_both(sink, source)


def check_new_size(sink: Sink, source: Source) -> None:
    """The source follows when the sink sends another size."""
    _open_both(sink, source)
    exchange(sink, source, corners())
    larger = solid((WIDTH * 2, HEIGHT * 2), (10, 200, 30, 255))
    frame = exchange(sink, source, larger, 10_000)
    assert frame.size == (WIDTH * 2, HEIGHT * 2), f"the source stays at {frame.size}"


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


def check_stream(source: Source, feed: Callable[[], None], last: Frame | None = None) -> None:
    """Read three more frames: well formed, numbers and times rise, times are of this clock."""
    until = time.perf_counter() + WAIT
    for _ in range(3):
        frame = None
        while frame is None:
            assert time.perf_counter() < until, "the frames stopped"
            feed()
            frame = source.read(0.1)
        check_pixels(frame.pixels)
        assert abs(frame.time - time.perf_counter()) < 60, "the times of frames are not those of time.perf_counter"
        if last is not None:
            assert frame.number > last.number, "the numbers of frames do not rise"
            assert frame.time >= last.time, "the times of frames go back"
        last = frame


def close_twice(endpoint: Endpoint) -> None:
    """Closing is safe at any time."""
    for _ in range(2):
        endpoint.close()
        assert not endpoint.is_open, f"{type(endpoint).__name__} is open after `close`"


def close_both(sink: Sink, source: Source) -> None:
    """Close the source, then the sink."""
    source.close()
    sink.close()


def _open_both(sink: Sink, source: Source) -> None:
    sink.open((WIDTH, HEIGHT), 30.0)
    source.open()
