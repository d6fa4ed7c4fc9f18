"""Videos, images and folders play at their own rate; a broken file is one clear error line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import av
import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.transports import pyav
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.file import FileSource
from tests.conftest import ManualClock
from tests.rigs.transport_contract import SOURCES

COLOURS = [(250, 10, 10, 255), (10, 250, 10, 255), (10, 10, 250, 255), (240, 240, 20, 255), (20, 240, 240, 255)]


def write_video(path: Path, frames: int = 10, rate: int = 10, size: tuple[int, int] = (64, 48)) -> Path:
    """A video whose n-th picture is grey of 20 * n."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 4_000_000
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(solid(size, (20 * number,) * 3 + (255,)), format="rgba")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())
    return path


def write_pictures(folder: Path, suffix: str = "png") -> Path:
    folder.mkdir(exist_ok=True)
    for index, colour in enumerate(COLOURS):
        Image.fromarray(solid((40, 30), colour)).save(folder / f"{index}.{suffix}")
    return folder


@contextmanager
def alone() -> Iterator[Source]:
    with TemporaryDirectory() as folder:
        yield FileSource({"path": str(write_video(Path(folder) / "clip.mkv", rate=50))})


SOURCES["file"] = alone


def opened(clock: ManualClock, path: Path, **options) -> FileSource:
    source = FileSource({"path": str(path), **options}, clock)
    source.open()
    return source


def shade(frame: Frame | None) -> int:
    """Which picture of `write_video` this is."""
    assert frame is not None
    return round(frame.pixels[..., :3].mean() / 20)


def colour_of(frame: Frame | None) -> tuple[int, ...]:
    assert frame is not None
    return tuple(int(value) for value in frame.pixels[5, 5])


def test_video_plays_in_its_own_time(clock, tmp_path) -> None:
    start = clock.now()
    source = opened(clock, write_video(tmp_path / "clip.mkv"))
    frames = [source.read(1.0) for _ in range(10)]
    assert [shade(frame) for frame in frames] == list(range(10))
    assert [frame.number for frame in frames] == list(range(10))
    assert [frame.time - start for frame in frames] == pytest.approx([n / 10 for n in range(10)], abs=0.002)
    assert frames[0].pixels.shape == (48, 64, 4)
    assert (frames[0].pixels[..., 3] == 255).all()


def test_video_loops_without_a_hitch(clock, tmp_path) -> None:
    source = opened(clock, write_video(tmp_path / "clip.mkv", frames=3))
    frames = [source.read(1.0) for _ in range(9)]
    assert [shade(frame) for frame in frames] == [0, 1, 2] * 3
    assert [frame.number for frame in frames] == list(range(9))
    assert np.diff([frame.time for frame in frames]) == pytest.approx([0.1] * 8, abs=0.003)


def test_end_without_loop_holds(clock, tmp_path) -> None:
    source = opened(clock, write_video(tmp_path / "clip.mkv", frames=3), loop=False)
    assert [shade(source.read(1.0)) for _ in range(3)] == [0, 1, 2]
    before = clock.now()
    assert source.read(0.5) is None
    assert source.read(0.5) is None
    assert clock.now() == pytest.approx(before + 1.0)
    assert source.is_connected, "the last frame is held, and no failsafe replaces it"
    source.close()
    source.open()
    assert shade(source.read(1.0)) == 0


def test_fps_sets_another_rate(clock, tmp_path) -> None:
    source = opened(clock, write_video(tmp_path / "clip.mkv"), fps=50.0)
    frames = [source.read(1.0) for _ in range(12)]
    assert [shade(frame) for frame in frames] == [*range(10), 0, 1]
    assert np.diff([frame.time for frame in frames]) == pytest.approx([0.02] * 11)


def test_slow_reader_gets_the_newest_and_gaps(clock, tmp_path) -> None:
    source = opened(clock, write_video(tmp_path / "clip.mkv"))
    source.read(0.0)
    clock.sleep(0.65)
    frame = source.read(0.0)
    assert (shade(frame), frame.number) == (6, 6)
    assert source.read(0.2).number == 7


def test_after_a_stall_it_goes_on_from_there(clock, tmp_path) -> None:
    source = opened(clock, write_video(tmp_path / "clip.mkv"))
    source.read(0.0)
    clock.sleep(1000.0)
    frame = source.read(0.0)
    assert (frame.number, frame.time) == (1, pytest.approx(clock.now(), abs=0.001))
    assert source.read(0.2).number == 2


def test_read_waits_no_longer_than_its_timeout(clock, tmp_path) -> None:
    source = opened(clock, write_video(tmp_path / "clip.mkv"))
    source.read(0.0)
    before = clock.now()
    assert source.read(0.04) is None
    assert clock.now() == pytest.approx(before + 0.04)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tiff"])
def test_folder_in_the_order_of_names(clock, tmp_path, suffix) -> None:
    start = clock.now()
    (write_pictures(tmp_path / "pictures", suffix) / "notes.txt").write_text("no picture")
    source = opened(clock, tmp_path / "pictures")
    frames = [source.read(2.0) for _ in range(7)]
    tolerance = 6 if suffix == "webp" else 0
    for frame, colour in zip(frames, [*COLOURS, *COLOURS[:2]], strict=True):
        assert np.abs(np.subtract(colour_of(frame), colour)).max() <= tolerance
    assert [frame.time - start for frame in frames] == pytest.approx(list(range(7)))
    assert [frame.number for frame in frames] == list(range(7))


def test_single_picture_keeps_coming_with_its_alpha(clock, tmp_path) -> None:
    Image.fromarray(solid((33, 21), (9, 8, 7, 100))).save(tmp_path / "one.png")
    source = opened(clock, tmp_path / "one.png")
    frames = [source.read(1.0) for _ in range(3)]
    assert {colour_of(frame) for frame in frames} == {(9, 8, 7, 100)}
    assert np.diff([frame.time for frame in frames]) == pytest.approx([0.1, 0.1])


def test_pictures_stand_upright(clock, tmp_path) -> None:
    """A camera held on its side says so in the file."""
    pixels = solid((40, 20), (255, 255, 255, 255))
    pixels[:, :10] = (255, 0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is the right-hand side
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "side.jpg", exif=exif, quality=95)
    frame = opened(clock, tmp_path / "side.jpg").read(0.0)
    assert frame.size == (20, 40)
    assert np.abs(np.subtract(colour_of(frame), (255, 0, 0, 255))).max() < 12


def test_videos_stand_upright(clock, tmp_path) -> None:
    """A video whose left edge is its top: turned by a quarter on the way to the screen."""
    pixels = solid((64, 32), (255, 255, 255, 255))
    pixels[:, :16] = (255, 0, 0, 255)
    path = tmp_path / "side.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba").reformat(format="yuv420p")))
        container.mux(stream.encode())
    data = path.read_bytes()
    # The matrix of the track header, 90 degrees clockwise, in place of the identity (ISO/IEC 14496-12, 8.3.2).
    at = data.index(b"tkhd") + 4 + 40
    one, none, minus = b"\x00\x01\x00\x00", bytes(4), b"\xff\xff\x00\x00"
    assert data[at : at + 4] == one
    matrix = none + one + none + minus + none + none
    path.write_bytes(data[:at] + matrix + data[at + 24 :])
    frame = opened(clock, path).read(0.0)
    assert frame.size == (32, 64)
    assert frame.pixels[4, 16, 0] > 200
    assert frame.pixels[4, 16, 1] < 80
    assert frame.pixels[60, 16, 1] > 200


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("absent.mp4", None, "does not exist"),
        ("empty.mp4", b"", "cannot open"),
        ("noise.mp4", bytes(range(256)) * 40, "cannot open"),
        ("noise.png", b"\x89PNG\r\n\x1a\nnothing of the kind", "cannot read"),
        ("playlist.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n", "cannot|has no video"),
    ],
)
def test_broken_file_is_one_clear_line(clock, tmp_path, name, content, line) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    source = FileSource({"path": str(tmp_path / name)}, clock)
    with pytest.raises(TransportError, match=line) as error:
        source.open()
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)
    assert not source.is_open


def test_sound_alone_is_no_picture(clock, tmp_path) -> None:
    path = tmp_path / "tone.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(TransportError, match="has no video stream"):
        FileSource({"path": str(path)}, clock).open()


def test_empty_folder_is_one_clear_line(clock, tmp_path) -> None:
    with pytest.raises(TransportError, match="has no images"):
        FileSource({"path": str(tmp_path)}, clock).open()


def test_broken_picture_in_a_folder_is_left_out(clock, tmp_path, caplog) -> None:
    folder = write_pictures(tmp_path / "pictures")
    (folder / "2.png").write_bytes(b"broken")
    source = opened(clock, folder)
    assert [colour_of(source.read(2.0)) for _ in range(4)] == [COLOURS[n] for n in (0, 1, 3, 4)]
    assert "2.png" in caplog.text


def damage_reports(caplog) -> int:
    return sum("skipped" in message or "damaged" in message for message in caplog.messages)


def test_damaged_image_is_logged_once_until_it_changes(clock, tmp_path, caplog) -> None:
    folder = write_pictures(tmp_path / "pictures")
    (folder / "2.png").write_bytes(b"broken")
    source = opened(clock, folder)
    for _ in range(3):
        for _ in range(20):
            source.read(2.0)
        source.close()
        source.open()
    assert damage_reports(caplog) == 1
    (folder / "2.png").write_bytes(b"broken in another way")
    for _ in range(10):
        source.read(2.0)
    assert damage_reports(caplog) == 2


def test_unplayable_video_is_closed(clock, tmp_path, monkeypatch) -> None:
    closed: list[bool] = []
    container = SimpleNamespace(streams=SimpleNamespace(video=[]), close=lambda: closed.append(True))
    library = SimpleNamespace(open=lambda *_, **__: container, FFmpegError=av.FFmpegError)
    monkeypatch.setattr(pyav, "load", lambda _: library)
    (tmp_path / "clip.mkv").write_bytes(b"")
    with pytest.raises(TransportError, match="no video stream"):
        FileSource({"path": str(tmp_path / "clip.mkv")}, clock).open()
    assert closed == [True]


def test_cut_off_video_plays_as_far_as_it_goes(clock, tmp_path) -> None:
    path = write_video(tmp_path / "clip.mkv", frames=12, size=(320, 240))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    source = opened(clock, path)
    shades = [shade(source.read(1.0)) for _ in range(12)]
    again = shades.index(0, 1)
    assert 3 <= again < 12
    assert shades[:again] == list(range(again))


def noisy(size: tuple[int, int]) -> Pixels:
    return np.random.default_rng(2).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)


def test_pixels_are_exact_where_the_file_is(clock, tmp_path) -> None:
    pixels = noisy((50, 40))
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    assert (opened(clock, tmp_path / "noise.png").read(0.0).pixels == pixels).all()
