"""Pictures that pages have sent: what is stored of them, and what is refused."""

from __future__ import annotations

import errno
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core import picture_store
from lcm_daemon.core.picture_store import LONGEST_SIDE, MOST_FILE_BYTES, MOST_PICTURES, PictureStore
from lcm_daemon.core.pictures import Picture, PictureError


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    return PictureStore(tmp_path / "pictures")


def encoded(kind: str = "PNG", size: tuple[int, int] = (40, 30), colour: tuple[int, ...] = (200, 90, 20)) -> bytes:
    out = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour).save(out, kind)
    return out.getvalue()


def test_a_picture_is_stored_under_a_number_shown_small_and_removed(store: PictureStore) -> None:
    assert (store.add(encoded()), store.add(encoded("WEBP", (60, 20)))) == (1, 2)
    first, second = store.pictures()
    assert (first.number, first.size, second.number, second.size) == (1, (40, 30), 2, (60, 20))
    assert np.abs(Picture(first.path).pixels[10, 10, :3].astype(int) - (200, 90, 20)).max() <= 3
    small = store.thumbnail(2)
    assert small is not None
    assert Image.open(io.BytesIO(small)).format == "JPEG"
    assert store.thumbnail(2) is small, "it is made once, however often a page asks"
    assert store.remove(1)
    assert not store.remove(1)
    assert store.thumbnail(1) is None
    assert store.add(encoded()) == 1  # the lowest free number


def test_a_transparent_picture_stays_so(store: PictureStore) -> None:
    store.add(encoded(colour=(10, 20, 30, 100)))
    (stored,) = store.pictures()
    assert Picture(stored.path).pixels[5, 5].tolist() == [10, 20, 30, 100]
    assert store.thumbnail(1)


def test_a_large_picture_is_made_smaller_and_nothing_that_was_sent_is_kept(store: PictureStore) -> None:
    image = Image.new("RGB", (3 * LONGEST_SIDE, 600))
    exif = Image.Exif()
    exif[0x010E] = "secret words"
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif, comment=b"secret words")
    store.add(out.getvalue() + b"secret words")
    (stored,) = store.pictures()
    assert stored.size == (LONGEST_SIDE, 200)
    assert b"secret" not in stored.path.read_bytes()


def png_head(width: int, height: int) -> bytes:
    """A PNG that says it is large, and has next to no data."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def gif_bomb(frames: int, side: int) -> bytes:
    """Many frames, each of the largest size, in a few bytes."""
    image = Image.new("L", (64, 64))
    out = io.BytesIO()
    image.save(out, "GIF", save_all=True, append_images=[Image.new("L", (64, 64), n % 250) for n in range(frames)])
    data = bytearray(out.getvalue())
    data[6:10] = struct.pack("<HH", side, side)  # the canvas
    return bytes(data)


REFUSED = {
    "text": (b"hello", "not a picture"),
    "nothing": (b"", "not a picture"),
    "a page": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    "half a picture": (encoded("JPEG", (400, 400))[:500], "cannot be read"),
    "damaged": (encoded()[:40] + b"x" * 60, "cannot be read|not a picture"),
    "a png bomb": (png_head(60_000, 60_000), "too many"),
    "a large canvas": (gif_bomb(3, 20_000), "20000 x 20000 pixels are too many; at most 50 million"),
    "a large file": (b"x" * (MOST_FILE_BYTES + 1), "too large: at most 32 MiB"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_picture_or_too_large_is_refused_in_one_line(store: PictureStore, name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(PictureError, match=reason) as error:
        store.add(data)
    assert "\n" not in str(error.value)
    assert store.files() == {}


def test_of_an_animation_the_first_frame_is_read_only(store: PictureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL.GifImagePlugin import GifImageFile

    monkeypatch.setattr(GifImageFile, "n_frames", property(lambda image: pytest.fail("the frames were counted")))
    store.add(gif_bomb(200, 64))
    assert store.pictures()[0].size == (64, 64)


def test_number_and_size_of_all_are_limited(store: PictureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MOST_PICTURES):
        assert store.add(encoded(size=(8, 8))) == number + 1
    with pytest.raises(PictureError, match="24 pictures already; remove one"):
        store.add(encoded())
    store.remove(7)
    monkeypatch.setattr(picture_store, "MOST_STORED_BYTES", 10_000)
    with pytest.raises(PictureError, match="take 0 MiB already"):
        store.add(encoded("PNG", (2000, 2000)))


def test_a_full_disk_is_one_line_and_leaves_nothing(store: PictureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(picture_store, "write_atomically", full)
    with pytest.raises(PictureError, match="cannot be stored: No space left on device"):
        store.add(encoded())
    assert store.files() == {}


def test_other_files_of_the_folder_are_no_pictures(store: PictureStore) -> None:
    store.folder.mkdir()
    names = ("picture-0.jpg", "picture-1.jpg.new", "picture-../x.jpg", "picture-1.gif", "other.png", "picture-2.png")
    for name in names:
        with (store.folder / name.replace("/", "_")).open("wb"):
            pass  # picture-2.png is empty: the disk was full
    assert store.files() == {}
    assert store.pictures() == []
