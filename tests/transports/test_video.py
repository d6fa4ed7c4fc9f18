"""Videos: damage, alpha, pixel aspect, display matrix, raw streams, and files that are replaced."""

from __future__ import annotations

import gc
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.transports.file import FileSource
from lcm_daemon.transports.video import VideoClip, plausible
from tests.conftest import ManualClock
from tests.rigs.videos import MATRICES, WHITE, damage, quarters, seen_quarters, shade_of, shades, write_video

CODECS = {  # container, encoder, pixel format, its options
    "H.264 mp4": ("mp4", "libx264", "yuv420p", {"g": "8"}),
    "H.264 mkv": ("mkv", "libx264", "yuv420p", {"g": "8"}),
    "H.264 ts": ("ts", "libx264", "yuv420p", {"g": "8"}),
    "VP9 webm": ("webm", "libvpx-vp9", "yuv420p", {"g": "8", "cpu-used": "8"}),
    "VP8 webm": ("webm", "libvpx", "yuv420p", {"g": "8", "cpu-used": "8"}),
    "MJPEG avi": ("avi", "mjpeg", "yuvj420p", {}),
    "MJPEG mov": ("mov", "mjpeg", "yuvj420p", {}),
    "ProRes mov": ("mov", "prores_ks", "yuv422p10le", {}),
    "PNG mov": ("mov", "png", "rgb24", {}),
    "FFV1 mkv": ("mkv", "ffv1", "yuv420p", {}),
    "MPEG-4 avi": ("avi", "mpeg4", "yuv420p", {"g": "8", "b": "8M"}),
    "raw H.264": ("h264", "libx264", "yuv420p", {"g": "8"}),
}
SLOW_CODECS = {"HEVC mp4": ("mp4", "libx265", "yuv420p", {"g": "8", "x265-params": "log-level=none"})}


def pass_of(path: Path, passes: int = 1, reports: list[str] | None = None) -> list[list[tuple[float, Pixels]]]:
    """The frames of some passes, and their times."""
    told = [] if reports is None else reports
    clip = VideoClip(path, 0.0, lambda _, text: told.append(text), lambda text: None)
    try:
        return [[(due, clip.pixels(frame)) for due, frame in clip.play()] for _ in range(passes)]
    finally:
        clip.close()


def encoded(tmp_path: Path, kind: str, count: int = 30) -> Path:
    suffix, codec, pix_fmt, options = {**CODECS, **SLOW_CODECS}[kind]
    return write_video(tmp_path / f"clip.{suffix}", codec, pix_fmt, shades(count), options=options)


@pytest.mark.parametrize("kind", [*CODECS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in SLOW_CODECS)])
def test_a_damaged_packet_is_a_glitch(tmp_path, kind) -> None:
    path, reports = damage(encoded(tmp_path, kind), [10]), []
    first, second = pass_of(path, 2, reports)
    seen = [shade_of(pixels) for _, pixels in first]
    assert seen[:6] == list(range(6))
    assert seen[-8:] == list(range(22, 30))
    assert [shade_of(pixels) for _, pixels in second][-8:] == list(range(22, 30))
    if not kind.startswith("raw"):
        assert first[-1][0] == pytest.approx(2.9)
    if kind not in ("H.264 ts", "raw H.264"):  # their demuxer finds the next start by itself
        assert "damaged part is skipped" in reports[0]


@pytest.mark.slow
def test_hevc_plays_on_after_damage_though_no_keyframe_comes(tmp_path) -> None:
    options = {"g": "250", "x265-params": "log-level=none:keyint=250"}
    path = write_video(tmp_path / "clip.mkv", "libx265", "yuv420p", shades(30), options=options)
    frames = pass_of(damage(path, [10]))[0]
    assert len(frames) > 25
    assert frames[-1][0] == pytest.approx(2.9)


def test_after_a_second_of_damage_a_good_keyframe_is_waited_for(tmp_path) -> None:
    """As with AV1, whose decoder fails from one damaged packet to the next keyframe."""
    options = {"g": "20", "b": "8M", "sc_threshold": "1000000000"}
    path = write_video(tmp_path / "clip.avi", "mpeg4", "yuv420p", shades(30), options=options)
    reports: list[str] = []
    frames = pass_of(damage(path, range(3, 16)), 1, reports)[0]
    assert [shade_of(pixels) for _, pixels in frames] == [0, 1, 2, *range(20, 30)]
    assert frames[3][0] == pytest.approx(2.0)
    assert "the damaged part is skipped" in reports[0]


def hap(path: Path, frames: int, alpha: int = 100) -> Path:
    """A HAP Alpha movie, uncompressed DXT5: red, with one alpha for the whole picture."""
    block = struct.pack("<BB6xHHI", alpha, alpha, 0xF800, 0xF800, 0)
    blocks = block * (64 // 4 * 36 // 4)
    data = len(blocks).to_bytes(3, "little") + b"\xae" + blocks
    with av.open(str(path), "w") as container:
        stream = container.add_stream("qtrle", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "argb"
        for number in range(frames):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 10)
            packet.is_keyframe = True
            container.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"rle ", b"Hap5"))
    return path


def test_hap_alpha_and_its_damage(tmp_path) -> None:
    path = hap(tmp_path / "clip.mov", 10)
    frames = pass_of(path)[0]
    assert len(frames) == 10
    assert frames[0][1][18, 32].tolist() == [255, 0, 0, 100]
    with av.open(str(path)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[positions[4] : positions[4] + 4] = b"\xff" * 4
    path.write_bytes(data)
    assert len(pass_of(path)[0]) == 9


def test_a_second_of_damage_ends_the_pass(tmp_path) -> None:
    reports: list[str] = []
    path = damage(encoded(tmp_path, "MJPEG avi"), range(10, 22))
    frames = pass_of(path, 1, reports)[0]
    assert [shade_of(pixels) for _, pixels in frames] == list(range(10))
    assert reports == [f"file: {path} is damaged after 0.9 s: Invalid data found when processing input; "
                       "it plays up to there"]


def test_less_than_a_second_of_damage_does_not(tmp_path) -> None:
    frames = pass_of(damage(encoded(tmp_path, "MJPEG avi"), range(10, 19)))[0]
    assert [shade_of(pixels) for _, pixels in frames] == [*range(10), *range(19, 30)]
    assert frames[10][0] == pytest.approx(1.9)


def test_damage_at_the_start_is_skipped_however_long(tmp_path) -> None:
    frames = pass_of(damage(encoded(tmp_path, "MJPEG avi"), range(20)))[0]
    assert [shade_of(pixels) for _, pixels in frames] == list(range(20, 30))
    assert frames[0][0] == 0.0


def test_a_video_of_damage_alone_is_one_error(tmp_path) -> None:
    path = damage(encoded(tmp_path, "MJPEG avi", 10), range(10))
    with pytest.raises(TransportError, match=r"cannot play .*clip.avi: Invalid data"):
        pass_of(path)


def test_damage_is_logged_once_a_file(clock, tmp_path, caplog) -> None:
    path = damage(encoded(tmp_path, "PNG mov", 10), [3, 6])
    for _ in range(2):  # the second is that of a live change
        source = FileSource({"path": str(path)}, clock)
        source.open()
        for _ in range(40):
            source.read(1.0)
    assert sum("is damaged" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(("suffix", "codec"), [("h264", "libx264"), ("m2v", "mpeg2video"), ("mjpeg", "mjpeg"),
                                               pytest.param("hevc", "libx265", marks=pytest.mark.slow)])
def test_raw_streams_loop(tmp_path, suffix, codec) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_video(tmp_path / f"clip.{suffix}", codec, pix_fmt, shades(25), rate=25, options=options)
    passes = pass_of(path, 3)
    for frames in passes:
        assert [shade_of(pixels) for _, pixels in frames] == list(range(25))
        assert frames[-1][0] == pytest.approx(24 / 25)


def test_an_absurd_rate_is_ignored(tmp_path) -> None:
    """The cover picture of a song took a whole core."""
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=90_000)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(64, 36, "yuvj420p")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == 90_000
    clip = VideoClip(path, 0.0, lambda path, text: None, lambda text: None)
    assert clip.interval == pytest.approx(1 / 30)
    clip.close()


@pytest.mark.parametrize("width", [854, 1366, 2, 101])
def test_every_width_plays(clock, tmp_path, width) -> None:
    path = write_video(tmp_path / "clip.mkv", "ffv1", "yuv444p", [solid((width, 36), WHITE)] * 2)
    source = FileSource({"path": str(path)}, clock)
    source.open()
    frame = source.read(1.0)
    assert frame is not None
    assert frame.size == (width, 36)
    assert np.abs(frame.pixels.astype(int) - WHITE).max() <= 3


def test_recordings_that_were_put_together_play_one_after_the_other(tmp_path) -> None:
    parts = [write_video(tmp_path / f"{colour[0]}.ts", "mpeg2video", "yuv420p", [solid((64, 48), colour)] * 10)
             for colour in (WHITE, (0, 0, 0, 255))]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = pass_of(path)[0]
    assert [pixels[24, 32, 0] > 128 for _, pixels in frames] == [True] * 10 + [False] * 10
    assert frames[-1][0] == pytest.approx(1.9, abs=0.15)


def test_a_raw_stream_has_the_rate_that_it_declares(tmp_path) -> None:
    path = write_video(tmp_path / "clip.h264", "libx264", "yuv420p", shades(50), rate=50)
    assert pass_of(path)[0][-1][0] == pytest.approx(49 / 50)


def gradient() -> Pixels:
    pixels = quarters((64, 32))
    pixels[..., 3] = np.linspace(0, 255, 64).astype(np.uint8)
    return pixels


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt", "options"),
    [("webm", "libvpx-vp9", "yuva420p", {}), ("mkv", "libvpx-vp9", "yuva420p", {}),
     ("webm", "libvpx", "yuva420p", {"auto-alt-ref": "0"}), ("mov", "prores_ks", "yuva444p10le", {"profile": "4444"}),
     ("mov", "png", "rgba", {}), ("mov", "qtrle", "argb", {}), ("avi", "utvideo", "gbrap", {}),
     ("mov", "cfhd", "gbrap12le", {}), ("mkv", "ffv1", "yuva420p", {})],
)
def test_alpha_is_kept(tmp_path, suffix, codec, pix_fmt, options) -> None:
    path = write_video(tmp_path / f"clip.{suffix}", codec, pix_fmt, [gradient()] * 3, options=options)
    for frames in pass_of(path, 2):
        assert len(frames) == 3
        for _, pixels in frames:
            assert np.abs(pixels[..., 3].astype(int) - gradient()[..., 3]).max() <= 6


def test_vp9_without_alpha_is_opaque(tmp_path) -> None:
    path = write_video(tmp_path / "clip.webm", "libvpx-vp9", "yuv420p", [gradient()] * 2)
    assert (pass_of(path)[0][0][1][..., 3] == 255).all()


def stretched(stream: Any) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(64, 45)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [("mp4", "libx264", "yuv420p"), ("mkv", "libx264", "yuv420p"), ("mov", "prores_ks", "yuv422p10le"),
     ("avi", "mpeg4", "yuv420p"), ("ts", "mpeg2video", "yuv420p"), ("h264", "libx264", "yuv420p")],
)
def test_pixel_aspect_is_read(clock, tmp_path, suffix, codec, pix_fmt) -> None:
    path = write_video(tmp_path / f"clip.{suffix}", codec, pix_fmt, [quarters((720, 576))] * 2, 25, prepare=stretched)
    frame = opened(clock, path).read(0.0)
    assert frame is not None
    assert frame.pixel_aspect == pytest.approx(64 / 45)
    assert frame.size == (720, 576)


def test_pixel_aspect_is_turned_with_the_picture(clock, tmp_path) -> None:
    def prepare(stream: Any) -> None:
        stretched(stream)
        stream.set_display_matrix(MATRICES["clockwise"][0])

    path = write_video(tmp_path / "clip.mp4", "libx264", "yuv420p", [quarters((64, 32))] * 2, prepare=prepare)
    frame = opened(clock, path).read(0.0)
    assert frame is not None
    assert (frame.size, frame.pixel_aspect) == ((32, 64), pytest.approx(45 / 64))


@pytest.mark.parametrize(
    ("aspect", "used"),
    [(None, 1.0), (Fraction(0), 1.0), (Fraction(1), 1.0), (Fraction(4, 3), 4 / 3), (Fraction(1, 99), 1.0)],
)
def test_an_absurd_pixel_aspect_is_ignored(aspect, used) -> None:
    assert plausible(aspect) == pytest.approx(used)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_display_matrix(tmp_path, name, suffix) -> None:
    matrix, expected = MATRICES[name]
    path = write_video(tmp_path / f"clip.{suffix}", "libx264", "yuv420p", [quarters((64, 32))] * 2,
                       prepare=lambda stream: stream.set_display_matrix(matrix))
    found = seen_quarters(pass_of(path)[0][0][1])
    assert np.abs(np.subtract(found, expected)).max() <= 6


def test_frames_do_not_wait_for_the_garbage_collector(tmp_path) -> None:
    path = encoded(tmp_path, "H.264 mp4", 50)
    gc.collect()
    gc.disable()
    try:
        pass_of(path)
        assert gc.collect() < 30
    finally:
        gc.enable()


def opened(clock: ManualClock, path: Path, **options: Any) -> FileSource:
    source = FileSource({"path": str(path), **options}, clock)
    source.open()
    return source


def grey(path: Path, level: int, suffix: str = "mkv") -> Path:
    pictures = [solid((64, 36), (level, level, level, 255))] * 5
    return write_video(path.with_name(f"{level}.{suffix}"), "libx264", "yuv420p", pictures).replace(path)


def level_of(source: FileSource) -> int | None:
    frame = source.read(0.1)
    return None if frame is None else round(float(frame.pixels[..., :3].mean()) / 10) * 10


@pytest.mark.parametrize("loop", [True, False])
def test_a_replaced_video_plays_within_two_seconds(clock, tmp_path, loop) -> None:
    path = grey(tmp_path / "clip.mkv", 50)
    source = opened(clock, path, loop=loop)
    while clock.now() < 1003:
        assert level_of(source) in (None, 50)
    grey(path, 200)
    start = clock.now()
    while (level_of(source) or 0) < 190:
        assert clock.now() - start < 2.0
    for _ in range(20):
        assert level_of(source) in (None, 200)


def test_a_half_written_video_does_not_stop_the_old_one(clock, tmp_path, caplog) -> None:
    path = grey(tmp_path / "clip.mp4", 50, "mp4")
    new = grey(tmp_path / "new.mp4", 200, "mp4").read_bytes()
    source = opened(clock, path)
    path.unlink()
    path.write_bytes(new[:500])
    for _ in range(40):
        level = level_of(source)
        assert level in (None, 50)
    assert sum("the file before it stays" in message for message in caplog.messages) == 1
    path.write_bytes(new)
    start = clock.now()
    while (level_of(source) or 0) < 190:
        assert clock.now() - start < 2.0


def test_a_video_overwritten_in_place_holds_until_it_is_whole(clock, tmp_path) -> None:
    path = grey(tmp_path / "clip.h264", 50, "h264")
    new = grey(tmp_path / "new.h264", 200, "h264").read_bytes()
    source = opened(clock, path)
    path.write_bytes(b"")
    for _ in range(30):
        source.read(0.1)
    path.write_bytes(new)
    start = clock.now()
    while (level_of(source) or 0) < 190:
        assert clock.now() - start < 2.0


def test_hdr_is_noted_once(clock, tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    frames = [av.VideoFrame(64, 36, "yuv420p10le") for _ in range(3)]
    for frame in frames:
        for plane, value in zip(frame.planes, (721, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())

    def prepare(stream: Any) -> None:
        context = stream.codec_context
        context.colorspace, context.color_trc, context.color_primaries, context.color_range = 9, 18, 9, 1

    path = write_video(tmp_path / "clip.mkv", "ffv1", "yuv420p10le", frames, prepare=prepare)
    for _ in range(2):  # the second is that of a live change
        source = opened(clock, path)
        for _ in range(8):
            frame = source.read(0.2)
            assert frame is not None
            assert frame.pixels.min() >= 250
    assert sum("HLG, BT.2020" in message for message in caplog.messages) == 1
