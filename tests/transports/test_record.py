"""A recording holds the frames with their times, also after a kill; a full disk is one clear error line."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.transports import record
from lcm_daemon.transports.file import FileSource
from lcm_daemon.transports.record import (
    CODECS,
    RecordSink,
    available_encoders,
    choose_encoder,
    create_file,
    expand_path,
)
from tests.conftest import ManualClock, need

SPAWN = multiprocessing.get_context("spawn")
QUARTERS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 180, 40)]
SIZE = (128, 96)


def quarters() -> Pixels:
    pixels = solid(SIZE, (*QUARTERS[0], 255))
    pixels[:48, 64:, :3], pixels[48:, :64, :3], pixels[48:, 64:, :3] = QUARTERS[1:]
    return pixels


def noise(number: int, size: tuple[int, int] = SIZE) -> Frame:
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    return Frame(pixels, number, 100.0 + number / 30)


def times_of(path: Path) -> list[float]:
    """The time of every picture that can be decoded."""
    times: list[float] = []
    with av.open(str(path)) as container:
        try:
            for picture in container.decode(video=0):
                times.append(picture.time)
        except av.FFmpegError:
            assert times, "nothing can be decoded"
    return times


def recording(path: Path, **options: Any) -> RecordSink:
    return RecordSink({"path": str(path), "keep_free": 0.0, **options})


def is_here(codec: str) -> bool:
    return any(encoder.name in available_encoders(av) for encoder in CODECS[codec])


@pytest.mark.parametrize(("suffix", "codec"), [
    (suffix, codec) for codec, (encoder, *_) in CODECS.items() for suffix in encoder.suffixes if is_here(codec)
])
def test_pictures_come_back_as_they_were(tmp_path, suffix, codec) -> None:
    path = tmp_path / f"take{suffix}"
    sink = recording(path, codec=codec)
    sink.open(SIZE, 30.0)
    for number in range(10):
        sink.write(Frame(quarters(), number, 5.0 + number / 30))
    sink.close()
    source = FileSource({"path": str(path)}, ManualClock())
    source.open()
    frames = [source.read(1.0) for _ in range(10)]
    source.close()
    assert frames[-1].size == SIZE
    got = [frames[-1].pixels[y, x] for y in (24, 72) for x in (32, 96)]
    for found, colour in zip(got, QUARTERS, strict=True):
        assert found.tolist() == pytest.approx([*colour, 255], abs=10)


def test_times_are_those_of_the_frames(tmp_path) -> None:
    path = tmp_path / "take.mp4"
    sink = recording(path)
    sink.open(SIZE, 30.0)
    times = [0.0, 0.033, 0.066, 0.9, 0.9, 0.91, 2.5]  # a stall, and a frame that came twice
    for number, time in enumerate(times):
        sink.write(Frame(quarters(), number, 1000.0 + time))
    sink.close()
    assert times_of(path) == pytest.approx(times, abs=0.001)


def test_another_size_begins_another_file(tmp_path) -> None:
    sink = recording(tmp_path / "take.mkv")
    sink.open(SIZE, 30.0)
    for number, size in enumerate([SIZE, SIZE, (64, 64), SIZE]):
        sink.write(noise(number, size))
    sink.close()
    counts = {path.name: len(times_of(path)) for path in tmp_path.iterdir()}
    assert counts == {"take.mkv": 2, "take-2.mkv": 1, "take-3.mkv": 1}


def test_odd_sizes_lose_their_last_line(tmp_path) -> None:
    sink = recording(tmp_path / "take.mp4")
    sink.open((65, 49), 30.0)
    sink.write(noise(0, (65, 49)))
    sink.close()
    with av.open(str(tmp_path / "take.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (64, 48)


def test_quality_is_size(tmp_path) -> None:
    sizes = []
    for quality in (20.0, 60.0, 95.0):
        path = tmp_path / f"{quality}.mp4"
        sink = recording(path, quality=quality)
        sink.open(SIZE, 30.0)
        for number in range(8):
            sink.write(noise(number))
        sink.close()
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[2] > 1.5 * sizes[0]


def record_for_ever(path: str, codec: str, ready: Any) -> None:
    sink = RecordSink({"path": path, "codec": codec, "keep_free": 0.0})
    sink.open(SIZE, 30.0)
    for number in range(10_000):
        sink.write(Frame(quarters(), number, number / 30))
        if number == 300:  # ten seconds of picture
            ready.set()


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".mkv", "h264"), (".mov", "prores4444")])
def test_a_killed_recording_is_playable(tmp_path, suffix, codec) -> None:
    path = tmp_path / f"take{suffix}"
    ready = SPAWN.Event()
    process = SPAWN.Process(target=record_for_ever, args=(str(path), codec, ready))
    process.start()
    try:
        assert ready.wait(60)
    finally:
        process.kill()
        process.join(20)
    times = times_of(path)
    assert len(times) >= 200  # of 300 or more: the last parts may be missing
    assert times[:200] == pytest.approx([n / 30 for n in range(200)], abs=0.001)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 150 kB: the write fails half-way, as on a full disk."""
    resource = pytest.importorskip("resource", reason="file size limits are a Unix thing")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.usefixtures("small_files")
def test_a_failing_write_is_one_clear_line_and_keeps_what_was_written(tmp_path) -> None:
    path = tmp_path / "take.mp4"
    sink = recording(path, quality=90.0)
    sink.open(SIZE, 30.0)
    with pytest.raises(TransportError, match=r"^record: cannot write .*take.mp4: File too large$"):
        write_for_ever(sink)
    sink.close()
    sink.close()
    assert len(times_of(path)) > 2


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch, caplog) -> None:
    need(Path("/dev/full").exists(), "there is no /dev/full here")
    full = open("/dev/full", "wb")  # noqa: SIM115  # the sink closes it
    monkeypatch.setattr(record, "create_file", lambda path: (path, full))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no disk is behind it
    (tmp_path / "take.mp4").touch()
    sink = recording(tmp_path / "take.mp4")
    sink.open(SIZE, 30.0)
    with pytest.raises(TransportError, match=r"^record: cannot write .*take.mp4: No space left on device$"):
        write_for_ever(sink)
    sink.close()
    assert list(tmp_path.iterdir()) == [], "no empty file, however often it is tried"
    assert caplog.messages == [], "the runner logs the error, more and more rarely"


def write_for_ever(sink: RecordSink) -> None:
    for number in range(3000):
        sink.write(noise(number))


@pytest.mark.slow
def test_the_disk_is_never_filled(tmp_path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    free = iter([300, 300, 299, 255, 255])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, next(free) << 20))
    sink = RecordSink({"path": str(tmp_path / "take.mp4")})
    sink.open(SIZE, 30.0)
    line = r"^record: .*take.mp4: the disk has 255 MiB left, and keep_free is 256 MiB$"
    with pytest.raises(TransportError, match=line):
        write_for_ever(sink)
    sink.close()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 255 << 20))
    with pytest.raises(TransportError, match=r"keep_free is 256 MiB$"):
        sink.open(SIZE, 30.0)
    assert [path.name for path in tmp_path.iterdir()] == ["take.mp4"]


@pytest.mark.parametrize(
    ("folder", "line"), [("file", "is not a folder"), ("file/folder", "Not a directory|cannot find")]
)
def test_an_impossible_folder_is_one_clear_line(tmp_path, folder, line) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransportError, match=line) as error:
        recording(tmp_path / folder / "take.mp4").open(SIZE, 30.0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["take", "take.avi", "take.mp4.txt"])
def test_unknown_container_is_one_clear_line(tmp_path, name) -> None:
    with pytest.raises(TransportError, match=r"must end in one of .mkv, .mov, .mp4$"):
        recording(tmp_path / name).open(SIZE, 30.0)
    assert list(tmp_path.iterdir()) == []


def test_nothing_shown_leaves_no_file(tmp_path) -> None:
    sink = recording(tmp_path / "take.mp4")
    sink.open(SIZE, 30.0)
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_path_tells_when(tmp_path) -> None:
    path = tmp_path / "{date}" / "{time}_{other}.mp4"
    sink = RecordSink({"path": str(path), "keep_free": 0.0}, lambda: datetime(2026, 1, 2, 3, 4, 5))
    sink.open(SIZE, 30.0)
    sink.write(noise(0))
    sink.close()
    assert (tmp_path / "2026-01-02" / "03-04-05_{other}.mp4").exists()
    assert expand_path("{date.__class__}{0}", datetime(2026, 1, 2)) == "{date.__class__}{0}"


def test_failed_open_leaves_no_file(tmp_path, monkeypatch) -> None:
    def refuse(stream: Any, encoder: Any, size: Any, fps: float) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(record, "_configure", refuse)
    sink = recording(tmp_path / "take.mp4")
    with pytest.raises(OverflowError):
        sink.open(SIZE, 30.0)
    assert (list(tmp_path.iterdir()), sink.is_open) == ([], False)


def test_no_recording_is_ever_overwritten(tmp_path) -> None:
    names = []
    for _ in range(3):
        path, file = create_file(tmp_path / "a" / "take.mp4")
        file.close()
        names.append(path.name)
    assert names == ["take.mp4", "take-2.mp4", "take-3.mp4"]


def test_another_encoder_takes_the_place_of_a_missing_one(caplog) -> None:
    assert choose_encoder("h264", {"libx264", "mpeg4"}).name == "libx264"
    assert choose_encoder("h264", {"mpeg4"}).name == "mpeg4"
    assert "no libx264 here; mpeg4 is used instead" in caplog.text
    with pytest.raises(TransportError, match="none of libx264, mpeg4"):
        choose_encoder("h264", set())


def boxes(path: Path) -> list[str]:
    """The boxes of a QuickTime file, of the top level (ISO/IEC 14496-12, 4.2)."""
    data, found, place = path.read_bytes(), [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4]) or len(data) - place
        found.append(data[place + 4 : place + 8].decode("latin-1"))
        place += int.from_bytes(data[place + 8 : place + 16]) if size == 1 else size
    return found


@pytest.mark.parametrize(("codec", "name", "pixels"), [
    ("prores", "prores", ("HQ", "yuv422p10le")), ("prores4444", "prores", ("4444", "yuva444p12le")),
])
def test_prores_is_what_editing_programs_expect(tmp_path, codec, name, pixels) -> None:
    """Profile, pixel format and BT.709 are said, and a complete file has one index and no fragments."""
    path = tmp_path / "take.mov"
    sink = recording(path, codec=codec)
    sink.open(SIZE, 30.0)
    for number in range(40):
        sink.write(Frame(quarters(), number, 5.0 + number / 30))
    sink.close()
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.name == name
        assert (context.profile, context.format.name) == pixels
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert container.streams.video[0].frames == 40
    assert boxes(path) == ["ftyp", "wide", "mdat", "moov"]
    assert times_of(path) == pytest.approx([number / 30 for number in range(40)], abs=0.001)


def test_prores_4444_keeps_transparent_pixels(tmp_path) -> None:
    path, pixels = tmp_path / "take.mov", quarters()
    pixels[:, :32, 3], pixels[:, 32:64, 3] = 0, 128
    sink = recording(path, codec="prores4444")
    sink.open(SIZE, 30.0)
    for number in range(6):
        sink.write(Frame(pixels, number, number / 30))
    sink.close()
    with av.open(str(path)) as container:
        (*_, last) = container.decode(video=0)
    found = last.to_ndarray(format="rgba")
    assert found[48, [8, 48, 100], 3].tolist() == pytest.approx([0, 128, 255], abs=2)
    assert found[24, 100, :3].tolist() == pytest.approx(QUARTERS[1], abs=3)


@pytest.mark.parametrize(("options", "problem"), [
    ({"path": "take.avi"}, "take.avi must end in one of .mkv, .mov, .mp4"),
    ({"path": "take"}, "take must end in one of .mkv, .mov, .mp4"),
    ({"path": "take.mp4", "codec": "prores"}, "take.mp4: prores is written to .mkv or .mov, not to .mp4"),
    ({"path": "take.mkv", "codec": "hap"}, "take.mkv: hap is written to .mov, not to .mkv"),
    ({"path": "Take.MOV", "codec": "prores4444"}, ""),
    ({"codec": "hap_alpha"}, ""),
    ({}, ""),
])
def test_a_codec_and_a_file_that_do_not_go_together(options: dict[str, str], problem: str) -> None:
    sink = RecordSink(options)
    assert RecordSink.option_problems(sink.options).get("path", "") == problem
    if problem:
        with pytest.raises(TransportError, match=r"^record: "):
            sink.open(SIZE, 30.0)


def test_a_missing_hap_encoder_is_one_clear_line(tmp_path) -> None:
    with pytest.raises(TransportError, match=r"^record: PyAV has none of hap here$"):
        choose_encoder("hap", {"libx264"})
    names = ["hap", "hap_alpha", "hap_q"]
    assert [CODECS[name][0].options(75.0)["format"] for name in names] == names


def test_without_a_path_the_file_fits_the_codec(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = RecordSink({"codec": "prores", "keep_free": 0.0}, lambda: datetime(2026, 1, 2, 3, 4, 5))
    sink.open(SIZE, 30.0)
    sink.write(noise(0))
    sink.close()
    assert [path.name for path in (tmp_path / "recordings").iterdir()] == ["2026-01-02_03-04-05.mov"]


@pytest.mark.parametrize(("alpha", "red"), [("straight", 100), ("premultiplied", 200), ("ignore", 200)])
def test_without_alpha_the_picture_is_on_black(tmp_path, alpha: str, red: int) -> None:
    """A premultiplied frame comes multiplied, and one without alpha comes opaque: the runner has done it."""
    pixels = solid(SIZE, (200, 0, 0, 255 if alpha == "ignore" else 128))
    pixels[:, : SIZE[0] // 2, 3] = 255 if alpha == "ignore" else 0
    sink = recording(tmp_path / "a.mp4", alpha=alpha)
    sink.open(SIZE, 30.0)
    for number in range(3):
        sink.write(Frame(pixels, number, number / 30))
    sink.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert shown[SIZE[1] // 2, -8, 0] == pytest.approx(red, abs=6)
    assert shown[SIZE[1] // 2, 8, 0] == pytest.approx(0 if alpha == "straight" else 200, abs=6)
