"""Pictures and folders as the file source plays them: order, durations, changed files."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.pictures import picture_suffixes
from lcm_daemon.transports.file import FileSource
from lcm_daemon.transports.stills import list_pictures, natural_key
from tests.conftest import ManualClock
from tests.core.test_pictures import without_heif

RED, GREEN, BLUE = (250, 0, 0), (0, 250, 0), (0, 0, 250)


def opened(clock: ManualClock, path: Path, **options) -> FileSource:
    source = FileSource({"path": str(path), **options}, clock)
    source.open()
    return source


def write(path: Path, *colours: tuple[int, int, int], **options) -> Path:
    images = [Image.new("RGB", (64, 36), colour) for colour in colours]
    images[0].save(path, **({"save_all": True, "append_images": images[1:]} if images[1:] else {}), **options)
    return path


def shown(source: FileSource, count: int) -> list[tuple[int, ...]]:
    """The next colours."""
    frames = [source.read(3.0) for _ in range(count)]
    return [tuple(int(value) for value in frame.pixels[5, 5, :3]) for frame in frames if frame is not None]


def times(source: FileSource, count: int) -> list[float]:
    frames = [source.read(3.0) for _ in range(count)]
    return [frame.time - frames[0].time for frame in frames]


def in_order(names: list[str]) -> list[str]:
    return [path.name for path in sorted(map(Path, names), key=natural_key)]


def test_names_are_in_natural_order() -> None:
    names = ["frame10.png", "Frame2.png", "frame1.png", "a.png", "frame1b.png", "frame01.png", "10.png", "9.png"]
    assert in_order(names) == [
        "9.png", "10.png", "a.png", "frame01.png", "frame1.png", "frame1b.png", "Frame2.png", "frame10.png"]


def test_numbers_count_after_equal_beginnings_only() -> None:
    names = ["shot 2 take 10", "shot 10 take 1", "shot 2 take 9", "été 3", "²", "a1", "a"]
    assert in_order(names) == [
        "a", "a1", "shot 2 take 9", "shot 2 take 10", "shot 10 take 1", "²", "été 3"]


def test_a_folder_plays_in_natural_order(clock, tmp_path) -> None:
    for number in (1, 2, 10, 11):
        write(tmp_path / f"frame{number}.png", (number, 0, 0))
    assert [red for red, *_ in shown(opened(clock, tmp_path), 5)] == [1, 2, 10, 11, 1]


def test_hidden_files_and_folders_are_no_pictures(clock, tmp_path, caplog) -> None:
    write(tmp_path / "x.jpg", RED)
    (tmp_path / "._x.jpg").write_bytes(b"\0\5\26\7 of a Mac")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert list_pictures(tmp_path) == [tmp_path / "x.jpg"]
    assert len(shown(opened(clock, tmp_path), 3)) == 3
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("suffix", [".avif", ".gif", ".tga", ".jp2", ".ppm", ".qoi", ".JPG", ".webp", ".ico"])
def test_every_kind_of_picture_counts(clock, tmp_path, suffix) -> None:
    write(tmp_path / f"a{suffix}", (120, 120, 120))
    assert np.abs(np.subtract(shown(opened(clock, tmp_path), 1)[0], 120)).max() <= 3


def test_what_is_skipped_is_said(clock, tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    write(tmp_path / "x.png", RED)
    (tmp_path / "clip.mp4").write_bytes(b"")
    opened(clock, tmp_path)
    assert "1 files are not images: clip.mp4" in caplog.text


def test_heic_without_its_package_is_said_once_a_folder(clock, tmp_path, caplog, monkeypatch) -> None:
    without_heif(monkeypatch)
    write(tmp_path / "x.png", RED)
    for name in "abc":
        (tmp_path / f"{name}.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    source = opened(clock, tmp_path)
    assert shown(source, 3) == [RED] * 3
    warnings = [message for message in caplog.messages if "lcm-daemon[heif]" in message]
    assert len(warnings) == 1
    (tmp_path / "x.png").unlink()
    source.close()
    with pytest.raises(TransportError, match=r"pillow-heif.*lcm-daemon\[heif\]"):
        source.open()


@pytest.mark.parametrize(("suffix", "options"), [
    (".webp", {"lossless": True}), (".gif", {}), (".png", {}), (".avif", {"quality": 100})])
def test_an_animation_plays_with_its_durations(clock, tmp_path, suffix, options) -> None:
    path = write(tmp_path / f"a{suffix}", RED, GREEN, BLUE, duration=[100, 200, 300], **options)
    source = opened(clock, path)
    assert times(source, 7) == pytest.approx([0, 0.1, 0.3, 0.6, 0.7, 0.9, 1.2])
    for colour, wanted in zip(shown(source, 3), [GREEN, BLUE, RED], strict=True):
        assert np.abs(np.subtract(colour, wanted)).max() <= 4
    assert times(opened(clock, path, fps=50.0), 4) == pytest.approx([0, 0.02, 0.04, 0.06])


def test_an_animation_ends_without_loop(clock, tmp_path) -> None:
    source = opened(clock, write(tmp_path / "a.gif", RED, GREEN, duration=100), loop=False)
    assert shown(source, 2) == [RED, GREEN]
    assert source.read(1.0) is None
    write(tmp_path / "a.gif", BLUE, RED, duration=100)
    assert [shown(source, 1) for _ in range(10)].count([(0, 0, 250)]) == 1
    write(tmp_path / "a.gif", GREEN)
    assert shown(source, 15)[-1] == GREEN


def test_pages_of_a_tiff_are_shown_for_a_second(clock, tmp_path) -> None:
    source = opened(clock, write(tmp_path / "a.tif", RED, GREEN))
    frames = [source.read(3.0) for _ in range(6)]
    changes = [b.time - frames[0].time for a, b in pairwise(frames)
               if (a.pixels[0, 0] != b.pixels[0, 0]).any()]
    assert changes == pytest.approx([1, 2])


def test_an_animation_in_a_folder_plays_once_and_at_least_a_second(clock, tmp_path) -> None:
    write(tmp_path / "1.gif", RED, GREEN, duration=[100, 200])
    write(tmp_path / "2.gif", RED, GREEN, duration=[600, 700])
    write(tmp_path / "3.png", BLUE)
    write(tmp_path / "4.tif", RED, GREEN)
    assert times(opened(clock, tmp_path), 8) == pytest.approx([0, 0.1, 1.0, 1.6, 2.3, 3.3, 4.3, 5.3])


def test_a_damaged_animation_plays_as_far_as_it_goes(clock, tmp_path, caplog) -> None:
    path = write(tmp_path / "a.png", RED, GREEN, BLUE, duration=100)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"fdAT") + 8 :] = bytes(40)
    path.write_bytes(data)
    assert shown(opened(clock, path), 5) == [RED, GREEN, RED, GREEN, RED]
    assert [message for message in caplog.messages if "plays up to there" in message] == [caplog.messages[0]]


@pytest.mark.parametrize("options", [{}, {"fps": 0.1}, {"fps": 60.0}, {"loop": False}], ids=str)
def test_a_replaced_still_is_seen_within_two_seconds(clock, tmp_path, options) -> None:
    path = write(tmp_path / "a.png", RED)
    source = opened(clock, path, **options)
    assert shown(source, 3) == [RED] * 3
    write(path, GREEN)
    end = clock.now() + 2.0
    while shown(source, 1) != [GREEN]:
        assert clock.now() < end
    write(path, RED, BLUE, duration=300)
    if not options:
        assert {RED, BLUE} <= set(shown(source, 15))
        write(path, GREEN)
        assert shown(source, 8)[-1] == GREEN


@pytest.mark.parametrize("seconds", [0.02, 10.0])
def test_a_replaced_animation_is_seen_within_two_seconds(clock, tmp_path, seconds) -> None:
    path = write(tmp_path / "a.gif", RED, BLUE, duration=seconds * 1000)
    source = opened(clock, path)
    shown(source, 3)
    write(path, GREEN)
    end = clock.now() + 2.0
    while shown(source, 1) != [GREEN]:
        assert clock.now() < end


def test_a_half_written_still_changes_nothing(clock, tmp_path, caplog) -> None:
    path = write(tmp_path / "a.png", RED)
    source = opened(clock, path)
    data = write(tmp_path / "b.png", GREEN).read_bytes()
    path.write_bytes(data[:60])
    assert shown(source, 20) == [RED] * 20
    assert len([message for message in caplog.messages if "the picture before it stays" in message]) == 1
    path.unlink()
    assert shown(source, 20) == [RED] * 20
    path.write_bytes(data)
    assert shown(source, 5)[-1] == GREEN


def test_a_folder_is_listed_and_read_at_each_pass(clock, tmp_path) -> None:
    write(tmp_path / "1.png", RED)
    write(tmp_path / "2.png", GREEN)
    source = opened(clock, tmp_path)
    assert shown(source, 2) == [RED, GREEN]
    write(tmp_path / "2.png", BLUE)
    write(tmp_path / "3.png", (9, 9, 9))
    assert shown(source, 4) == [RED, BLUE, (9, 9, 9), RED]
    (tmp_path / "2.png").unlink()  # the next picture is already read
    assert shown(source, 5)[1:] == [(9, 9, 9), RED, (9, 9, 9), RED]


def test_one_picture_in_a_folder_is_read_when_it_changes(clock, tmp_path) -> None:
    write(tmp_path / "1.png", RED)
    source = opened(clock, tmp_path)
    first, second = source.read(3.0), source.read(3.0)
    assert first.pixels is second.pixels
    write(tmp_path / "1.png", GREEN)
    os.utime(tmp_path / "1.png", (1000, 1000))
    assert shown(source, 3)[-1] == GREEN


def test_an_emptied_folder_keeps_its_last_picture(clock, tmp_path, caplog) -> None:
    write(tmp_path / "1.png", RED)
    source = opened(clock, tmp_path)
    shown(source, 2)
    (tmp_path / "1.png").unlink()
    assert shown(source, 5) == [RED] * 5
    assert len([message for message in caplog.messages if "the last image stays" in message]) == 1
    write(tmp_path / "2.png", GREEN)
    assert shown(source, 3)[-1] == GREEN


def test_a_folder_that_is_gone_for_a_while_keeps_its_last_picture(clock, tmp_path, caplog) -> None:
    """As with a network drive."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    write(folder / "1.png", RED)
    source = opened(clock, folder)
    shown(source, 2)
    folder.rename(tmp_path / "away")
    assert shown(source, 5) == [RED] * 5
    assert len([message for message in caplog.messages if "the last image stays" in message]) == 1
    write(tmp_path / "away" / "1.png", GREEN)
    (tmp_path / "away").rename(folder)
    assert shown(source, 3)[-1] == GREEN


def test_a_still_is_one_array_however_often_it_is_shown(clock, tmp_path) -> None:
    """The runner scales an array once."""
    source = opened(clock, write(tmp_path / "1.png", RED))
    assert len({id(source.read(1.0).pixels) for _ in range(20)}) == 1


def test_an_empty_folder_names_the_kinds(clock, tmp_path) -> None:
    with pytest.raises(TransportError, match=r"has no images \(.*\.avif.*\.gif.*\.heic.*\.tga"):
        opened(clock, tmp_path)
    assert ".mp4" not in picture_suffixes()
