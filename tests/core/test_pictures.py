"""Picture files: kinds, orientation, animations, limits and damage."""

from __future__ import annotations

import os
import random
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps

from lcm_daemon.core import pictures
from lcm_daemon.core.errors import MissingIntegration
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.pictures import Picture, PictureError, picture_suffixes
from tests.conftest import need_module
from tests.rigs.tiled import tiled

RED, GREEN, BLUE, GREY = (250, 0, 0), (0, 250, 0), (0, 0, 250), (200, 200, 200)


def corners(size: tuple[int, int] = (64, 36)) -> Image.Image:
    """Red, green, blue and grey quarters."""
    image = Image.new("RGB", size)
    width, height = size[0] // 2, size[1] // 2
    for number, colour in enumerate((RED, GREEN, BLUE, GREY)):
        left, top = number % 2 * width, number // 2 * height
        image.paste(colour, (left, top, left + width, top + height))
    return image


def is_corners(pixels: Pixels) -> bool:
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 4
    shown = pixels[[height, height, 3 * height, 3 * height], [width, 3 * width, width, 3 * width], :3]
    return bool(np.abs(shown.astype(int) - [RED, GREEN, BLUE, GREY]).max() <= 12)


def colour(pixels: Pixels) -> list[int]:
    return [int(value) for value in pixels[5, 5, :3]]


KINDS = [".apng", ".avif", ".bmp", ".dds", ".dib", ".gif", ".icns", ".j2k", ".jfif", ".jp2", ".jpeg", ".jpg",
         ".mpo", ".pcx", ".png", ".ppm", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"]


@pytest.mark.parametrize("suffix", KINDS)
def test_kinds(tmp_path: Path, suffix: str) -> None:
    assert suffix in picture_suffixes()
    corners((64, 64)).save(tmp_path / f"a{suffix}")
    picture = Picture(tmp_path / f"a{suffix}")
    assert is_corners(picture.pixels)
    assert not picture.is_animated
    assert [seconds for seconds, _ in picture.frames()] == [0.0]


def test_videos_documents_and_what_runs_programs_are_not_pictures() -> None:
    assert not picture_suffixes() & {".mpg", ".mpeg", ".eps", ".ps", ".pdf", ".wmf", ".h5", ".mp4", ""}
    assert {".heic", ".heif", ".hif"} <= picture_suffixes()


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_tiles_are_put_together(tmp_path: Path, kind: str) -> None:
    if kind == "HEIF":
        need_module("pillow_heif")
    picture_suffixes()  # loads the plug-in
    path = tmp_path / "tiled"
    path.write_bytes(tiled(corners((256, 128)), 2, 2, kind))
    picture = Picture(path)
    assert picture.pixels.shape == (128, 256, 4)
    assert is_corners(picture.pixels)


def without_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if pillow-heif was not installed."""
    library = SimpleNamespace(**vars(pictures._pillow()))
    library.ID = [kind for kind in library.ID if kind != "HEIF"]
    monkeypatch.setattr(pictures, "_pillow", lambda: library)


def test_heic_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_heif(monkeypatch)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))  # phones rename them
    with pytest.raises(MissingIntegration, match=r"a\.jpg: .*pillow-heif.*lcm-daemon\[heif\]"):
        Picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_pictures_are_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]  # what undoes it
    image = corners()
    for method in turned:
        image = image.transpose(method)
    image.save(tmp_path / f"a{suffix}", exif=exif)
    pixels = Picture(tmp_path / f"a{suffix}").pixels
    assert pixels.shape == (36, 64, 4)
    assert is_corners(pixels)
    with Image.open(tmp_path / f"a{suffix}") as again:
        assert ImageOps.exif_transpose(again).size == (64, 36)


def test_broken_exif_does_not_matter(tmp_path: Path) -> None:
    corners().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*rubbish")
    assert is_corners(Picture(tmp_path / "a.jpg").pixels)


def animate(path: Path, **options) -> Path:
    images = [Image.new("RGB", (64, 36), colour) for colour in (RED, GREEN, BLUE)]
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


@pytest.mark.parametrize(("suffix", "options"), [
    (".webp", {"lossless": True}), (".gif", {}), (".png", {}), (".apng", {}), (".avif", {}), (".avifs", {}),
])
def test_animations_have_their_durations(tmp_path: Path, suffix: str, options: dict) -> None:
    picture = Picture(animate(tmp_path / f"a{suffix}", duration=[100, 200, 300], **options))
    assert picture.is_animated
    for _ in range(2):
        frames = list(picture.frames())
        assert [seconds for seconds, _ in frames] == pytest.approx([0.1, 0.2, 0.3])
        assert np.abs(np.subtract([colour(pixels) for _, pixels in frames], [RED, GREEN, BLUE])).max() <= 4
    assert np.abs(np.subtract(colour(picture.pixels), RED)).max() <= 4


@pytest.mark.parametrize(("suffix", "options"), [(".gif", {}), (".webp", {"lossless": True})])
def test_frames_without_a_duration_last_as_long_as_in_browsers(tmp_path: Path, suffix: str, options: dict) -> None:
    picture = Picture(animate(tmp_path / f"a{suffix}", duration=[0, 10, 20], **options))
    assert [seconds for seconds, _ in picture.frames()] == pytest.approx([0.1, 0.1, 0.02])


def test_animation_keeps_alpha(tmp_path: Path) -> None:
    images = [Image.new("RGBA", (64, 36), (*RED, alpha)) for alpha in (255, 90)]
    images[0].save(tmp_path / "a.webp", save_all=True, append_images=images[1:], duration=100, lossless=True)
    assert [pixels[5, 5, 3] for _, pixels in Picture(tmp_path / "a.webp").frames()] == [255, 90]


def test_the_picture_for_programs_without_animation_is_not_played(tmp_path: Path) -> None:
    picture = Picture(animate(tmp_path / "a.png", duration=100, default_image=True))
    assert [colour(pixels) for _, pixels in picture.frames()] == [list(GREEN), list(BLUE)]


def test_pages_of_a_tiff_have_no_duration_and_previews_are_no_pages(tmp_path: Path) -> None:
    assert [seconds for seconds, _ in Picture(animate(tmp_path / "a.tif")).frames()] == [0.0] * 3
    corners().save(tmp_path / "b.tif", save_all=True, append_images=[corners((32, 18))])
    assert not Picture(tmp_path / "b.tif").is_animated


def test_the_second_picture_of_a_camera_is_not_played(tmp_path: Path) -> None:
    assert not Picture(animate(tmp_path / "a.mpo")).is_animated


def test_a_damaged_animation_plays_to_the_damage(tmp_path: Path) -> None:
    path = animate(tmp_path / "a.png", duration=100)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"fdAT") + 8 :] = bytes(40)
    path.write_bytes(data)
    frames = Picture(path).frames()
    assert [colour(next(frames)[1]) for _ in range(2)] == [list(RED), list(GREEN)]
    with pytest.raises(PictureError, match=r"cannot read .*a\.png"):
        next(frames)


@pytest.mark.parametrize(("suffix", "options"), [(".jpg", {}), (".png", {}), (".webp", {}), (".tif", {}), (".jp2", {})])
def test_a_large_picture_is_made_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, options: dict
) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 100 * 60)
    corners((1280, 640)).save(tmp_path / f"a{suffix}", **options)
    pixels = Picture(tmp_path / f"a{suffix}").pixels
    assert pixels.shape[0] * pixels.shape[1] <= 6000
    assert pixels.shape[1] > 50
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(2, rel=0.05)
    assert is_corners(pixels)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_too_large_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """By the memory that it takes; a JPEG is decoded to a smaller size."""
    monkeypatch.setattr(pictures, "MOST_BYTES", 4_000_000 if mode == "RGB" else 1_000_000)
    monkeypatch.setattr(pictures, "MOST_PIXELS", 200_000)
    image = Image.new(mode, (1100, 1000))
    image.save(tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"a\.png: 1100 x 1000 pixels are too many: .* 1 million"):
        Picture(tmp_path / "a.png")
    if mode == "RGB":
        image.save(tmp_path / "a.jpg")
        assert Picture(tmp_path / "a.jpg").pixels.shape == (250, 275, 4)


def test_400_megapixels_do_not_need_their_memory(tmp_path: Path) -> None:
    """Pillow itself refuses such a file as a decompression bomb."""
    with pytest.raises(PictureError, match="20000 x 20000 pixels are too many"):
        Picture(bomb(tmp_path / "a.png", 20_000))


def bomb(path: Path, side: int) -> Path:
    """A PNG that claims to be large."""
    Image.new("RGB", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def problem_of(path: Path) -> str:
    try:
        Picture(path)
    except PictureError as error:
        return str(error)
    return ""


def test_damaged_files_raise_one_error_of_one_line(tmp_path: Path) -> None:
    """A hundred files with wrong bytes, or cut off."""
    dice, path, texts = random.Random(7), tmp_path / "a", []
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TGA", "JPEG2000"):
        corners().save(path, kind)
        data = path.read_bytes()
        for _ in range(15):
            damaged = bytearray(data)
            for _ in range(4):
                damaged[dice.randrange(len(data))] = dice.randrange(256)
            path.write_bytes(damaged[: dice.choice([len(data), dice.randrange(len(data))])])
            texts.append(problem_of(path))
    assert all(text == "" or (text.startswith(f"cannot read {path}: ") and "\n" not in text) for text in texts)
    assert 20 < sum(map(bool, texts)) < 100


@pytest.mark.parametrize(("make", "text"), [
    (lambda path: None, "it does not exist"), (lambda path: path.mkdir(), "it is not a file"),
    (lambda path: path.write_bytes(b""), "it is not a picture"),
    (lambda path: path.write_bytes(b"text"), "it is not a picture"),
    (lambda path: os.mkfifo(path), "it is not a file"),
], ids=["absent", "folder", "empty", "text", "pipe"])
def test_what_is_not_a_picture(tmp_path: Path, make, text: str) -> None:
    make(tmp_path / "a.png")
    with pytest.raises(PictureError, match=rf"cannot read .*a\.png: {text}"):
        Picture(tmp_path / "a.png")
