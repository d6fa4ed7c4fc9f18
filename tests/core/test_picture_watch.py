"""A picture file that changes is read again, and the old picture stays until the new one can be read."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.picture_watch import PictureFollower, PictureWatch
from lcm_daemon.core.pictures import Picture, PictureError

RED, GREEN, BLUE, GREY = (250, 0, 0), (0, 250, 0), (0, 0, 250), (200, 200, 200)


def colour(pixels: Pixels) -> list[int]:
    return [int(value) for value in pixels[5, 5, :3]]


class Looks:
    """A watch, and the newest picture that it has returned."""

    def __init__(self, path: Path) -> None:
        self.picture = Picture(path)
        self._watch = PictureWatch(self.picture)

    def look(self) -> bool:
        found = self._watch.look()
        self.picture = found or self.picture
        return found is not None


def write(path: Path, colour: tuple[int, int, int], at: int) -> bytes:
    """Write a picture with a modification time."""
    Image.new("RGB", (64, 36), colour).save(path)
    os.utime(path, (at, at))
    return path.read_bytes()


def test_a_changed_file_is_read_once_it_is_at_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write(path, RED, 1000)
    watch = Looks(path)
    assert not any(watch.look() for _ in range(3))
    write(path, GREEN, 1001)
    assert [watch.look() for _ in range(3)] == [False, True, False]
    assert colour(watch.picture.pixels) == list(GREEN)
    write(path, BLUE, 1002)
    assert not watch.look()
    write(path, GREY, 1003)  # still being written
    assert [watch.look(), watch.look()] == [False, True]
    assert colour(watch.picture.pixels) == list(GREY)


def test_a_file_replaced_by_an_older_one_of_the_same_size_is_read(tmp_path: Path) -> None:
    write(tmp_path / "a.bmp", RED, 1000)
    watch = Looks(tmp_path / "a.bmp")
    write(tmp_path / "b.bmp", BLUE, 1000)
    (tmp_path / "b.bmp").replace(tmp_path / "a.bmp")
    assert [watch.look(), watch.look()] == [False, True]
    assert colour(watch.picture.pixels) == list(BLUE)


def test_the_old_picture_stays_until_the_new_one_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write(path, RED, 1000)
    watch = Looks(path)
    path.unlink()
    assert not any(watch.look() for _ in range(3))
    data = write(path, GREEN, 1001)
    path.write_bytes(data[:-30])
    assert not watch.look()
    with pytest.raises(PictureError, match="cannot read"):
        watch.look()
    assert not any(watch.look() for _ in range(3))  # once a content
    assert colour(watch.picture.pixels) == list(RED)
    path.write_bytes(data)
    assert [watch.look(), watch.look()] == [False, True]
    assert colour(watch.picture.pixels) == list(GREEN)


def test_a_file_that_another_program_has_open_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to open it."""
    path = tmp_path / "a.png"
    write(path, RED, 1000)
    watch = Looks(path)
    write(path, GREEN, 1001)
    watch.look()
    with monkeypatch.context() as patch:
        def refuse(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        patch.setattr(Path, "read_bytes", refuse)
        for _ in range(2):
            with pytest.raises(PictureError, match="Permission denied"):
                watch.look()
    assert watch.look()
    assert colour(watch.picture.pixels) == list(GREEN)


class Receiver:
    """Keeps the colours that a follower reports."""

    def __init__(self) -> None:
        self.colours: list[list[int]] = []
        self.arrived = threading.Event()

    def take(self, pixels: Pixels) -> None:
        self.colours.append(colour(pixels))
        self.arrived.set()


def test_a_follower_reports_changes_on_its_own_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, receiver, wait = tmp_path / "a.png", Receiver(), threading.Event()
    write(path, RED, 1000)
    follower = PictureFollower(Picture(path), "slate of a test")
    follower.start(receiver.take, seconds=0.01)
    path.write_bytes(b"half a file")
    while "slate of a test: cannot read" not in caplog.text:
        assert not wait.wait(0.005)
    write(path, GREEN, 1001)
    assert receiver.arrived.wait(5.0)
    assert receiver.colours == [list(GREEN)]
    assert caplog.text.count("the picture before it stays") == 1
    follower.stop()
    join("slate of a test")


def test_a_follower_ends_with_the_object_that_it_reports_to(tmp_path: Path) -> None:
    write(tmp_path / "a.png", RED, 1000)
    receiver = Receiver()
    PictureFollower(Picture(tmp_path / "a.png"), "lonely").start(receiver.take, seconds=0.01)
    del receiver
    gc.collect()
    join("lonely")


def join(name: str) -> None:
    """Wait for the end of a thread."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(5.0)
            assert not thread.is_alive()
