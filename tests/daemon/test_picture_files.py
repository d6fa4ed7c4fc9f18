"""Picture files through a running daemon: depths, colours, tiles, animations, changes, folders and slates."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from PIL import Image

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.pictures import picture_suffixes
from tests.conftest import need_module
from tests.core.test_pictures import BLUE, GREEN, GREY, RED, bomb, corners, is_corners
from tests.rigs import icc
from tests.rigs.picture_show import PictureShow
from tests.rigs.tiled import tiled

SIZE = (128, 72)
SEEN = 15.0  # seconds, for a busy machine; tests of file_watch and stills hold the two that users are promised
NOWHERE = {"transport": "memory", "name": "a sender that never comes"}


def near(colour: tuple[int, ...], tolerance: int = 3) -> Callable[[Pixels], bool]:
    """Whether the whole picture has a colour."""
    return lambda pixels: bool(np.abs(pixels[..., : len(colour)].astype(int) - colour).max() <= tolerance)


def put(path: Path, image: Image.Image | bytes, kind: str = "PNG", **options: Any) -> None:
    """Replace a file as programs do: with a new one under its name."""
    new = path.with_name("new")
    if isinstance(image, bytes):
        new.write_bytes(image)
    else:
        image.save(new, kind, **options)
    new.replace(path)


def clear(show: PictureShow, path: Path) -> None:
    """Let the show play grey, so that no frame of an earlier test is taken for the next one's."""
    put(path, Image.new("RGB", SIZE, GREY))
    show.frame(near(GREY))


def is_ramp(pixels: Pixels) -> bool:
    wanted = np.interp(np.arange(SIZE[0]), [0, SIZE[0] - 1], [0, 255])
    return bool(np.abs(pixels[..., :3].astype(int) - wanted[None, :, None]).max() <= 4)


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A show whose source is one file, and that file."""
    folder = tmp_path_factory.mktemp("still")
    put(folder / "picture.png", Image.new("RGB", SIZE, GREY))
    with PictureShow(folder, {"transport": "file", "path": str(folder / "picture.png")}, SIZE) as show:
        show.frame(near(GREY))
        yield show, folder / "picture.png"


RAMP = np.tile(np.linspace(0, 65535, SIZE[0]).astype(np.uint16), (SIZE[1], 1))


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("PNG", Image.fromarray(RAMP)),
        ("TIFF", Image.frombytes("I;16B", SIZE, RAMP.astype(">u2").tobytes())),
        ("TIFF", Image.fromarray(RAMP.astype(np.int32))),
        ("TIFF", Image.fromarray((RAMP / 65535).astype(np.float32))),
        ("JPEG2000", Image.fromarray(RAMP)),
        ("PPM", Image.fromarray(RAMP)),
    ],
    ids=["PNG", "TIFF, big-endian", "TIFF, 32 bit", "TIFF, floats", "JPEG 2000", "PGM"],
)
def test_a_depth_map_is_a_ramp(still: tuple[PictureShow, Path], kind: str, image: Image.Image) -> None:
    show, path = still
    clear(show, path)
    put(path, image, kind)
    show.frame(is_ramp, SEEN)


@pytest.mark.parametrize(("kind", "mode", "profile", "colour"), [
    ("JPEG", "RGB", icc.rgb_profile(icc.DISPLAY_P3, None), (215, 93, 31)),
    ("WEBP", "RGB", icc.rgb_profile(icc.ADOBE_RGB, 563 / 256), (227, 100, 42)),
    ("PNG", "L", icc.grey_profile(1.0), (184, 184, 184)),
    ("TIFF", "CMYK", icc.cmyk_profile({"c": (55, -37, -50), "m": (48, 74, -3), "y": (89, -5, 93), "k": (16, 0, 0)}),
     (0, 151, 218)),
], ids=["Display P3", "Adobe RGB", "grey", "CMYK"])
def test_profiles_are_converted(
    still: tuple[PictureShow, Path], kind: str, mode: str, profile: bytes, colour: tuple[int, ...]
) -> None:
    """The values are those of an independent computation: `tests/rigs/icc.py`, CIE L*a*b* for the ink."""
    show, path = still
    inks = Image.new("CMYK", SIZE, (255, 0, 0, 0))
    image = inks if mode == "CMYK" else Image.new("RGB", SIZE, (200, 100, 50)).convert(mode)
    put(path, image, kind, icc_profile=profile, **({"quality": 100} if kind in ("JPEG", "WEBP") else {}))
    show.frame(near(colour, 3), SEEN)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_tiles(still: tuple[PictureShow, Path], kind: str) -> None:
    if kind == "HEIF":
        need_module("pillow_heif")
    picture_suffixes()  # registers the plug-in that writes the tiles
    show, path = still
    clear(show, path)
    put(path, tiled(corners((256, 144)), 2, 2, kind))
    show.frame(is_corners, SEEN)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "AVIF"])
def test_an_animation_plays(still: tuple[PictureShow, Path], kind: str) -> None:
    show, path = still
    clear(show, path)
    put(path, animation(kind, [100, 200, 300]))
    for colour in (RED, GREEN, BLUE, RED):
        show.frame(near(colour, 6), SEEN)


def test_an_animation_plays_with_its_durations(still: tuple[PictureShow, Path]) -> None:
    show, path = still
    clear(show, path)
    put(path, animation("WEBP", [200, 400, 1000]))
    show.frame(near(BLUE, 6), SEEN)
    frames = show.frames(3.2)  # two passes
    shares = [sum(near(colour, 6)(frame) for frame in frames) / len(frames) for colour in (RED, GREEN, BLUE)]
    assert shares == pytest.approx([0.125, 0.25, 0.625], abs=0.1)


def animation(kind: str, durations: list[int]) -> bytes:
    """Red, green and blue; durations in milliseconds."""
    images, file = [Image.new("RGB", SIZE, colour) for colour in (RED, GREEN, BLUE)], io.BytesIO()
    images[0].save(file, kind, save_all=True, append_images=images[1:], duration=durations,
                   **({"quality": 100} if kind in ("WEBP", "AVIF") else {}))
    return file.getvalue()


def test_the_old_picture_stays_until_the_new_one_can_be_read(still: tuple[PictureShow, Path]) -> None:
    show, path = still
    clear(show, path)
    put(path, Image.new("RGB", SIZE, RED))
    show.frame(near(RED), SEEN)
    Image.effect_noise(SIZE, 50).save(path.with_name("whole"), "PNG")
    data = path.with_name("whole").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert all(near(RED)(frame) for frame in show.frames(0.7))
    path.unlink()
    assert all(near(RED)(frame) for frame in show.frames(0.3))
    put(path, Image.new("RGB", SIZE, GREEN))
    show.frame(near(GREEN), SEEN)
    assert "the picture before it stays" in show.daemon.log()


def test_a_large_still_costs_nothing_while_it_stays(still: tuple[PictureShow, Path]) -> None:
    """24 megapixels; scaled for every frame they cost more than a core."""
    show, path = still
    put(path, corners((6000, 4000)), "BMP")
    show.frame(is_corners, SEEN)
    show.frames(0.2)
    process = psutil.Process(show.daemon.process.pid)
    before, start = process.cpu_times(), time.perf_counter()
    assert len(show.frames(1.0)) > 15
    after = process.cpu_times()
    used = (after.user + after.system - before.user - before.system) / (time.perf_counter() - start)
    assert used < 0.5


def test_a_folder(tmp_path: Path) -> None:
    """Natural order, every kind, no hidden files; a new picture at the next pass."""
    folder = tmp_path / "frames"
    folder.mkdir()
    shades = {"frame1.avif": 40, "frame2.gif": 60, "frame9.tga": 80, "frame10.png": 100, "frame11.jpg": 120}
    for name, shade in shades.items():
        Image.new("RGB", SIZE, (shade,) * 3).save(folder / name)
    (folder / "._frame1.jpg").write_bytes(b"\0\5\26\7\0\2\0\0Mac OS X")
    source = {"transport": "file", "path": str(folder), "fps": 10}
    with PictureShow(tmp_path, source, SIZE) as show:
        show.frame(near((40,) * 3))
        assert order(show.frames(1.2))[:6] == [40, 60, 80, 100, 120, 40]
        Image.new("RGB", SIZE, (140,) * 3).save(folder / "frame10b.webp", quality=100)
        show.frame(near((140,) * 3), SEEN)
        assert [shade for shade in order(show.frames(1.5)) if shade > 90][:4] in (
            [140, 120, 100, 140], [120, 100, 140, 120], [100, 140, 120, 100])
        assert "WARNING" not in show.daemon.log()


def order(frames: list[Pixels]) -> list[int]:
    """The shades in the order in which they are shown, each rounded to a multiple of 20."""
    shades = [round(float(frame[..., :3].mean()) / 20) * 20 for frame in frames]
    return [shade for place, shade in enumerate(shades) if place == 0 or shades[place - 1] != shade]


def test_a_slate_is_upright_in_its_colours_and_follows_its_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    corners((256, 144)).transpose(Image.Transpose.ROTATE_270).save(tmp_path / "slate.jpg", exif=exif, quality=95)
    with PictureShow(tmp_path, NOWHERE, SIZE, output={"slate": str(tmp_path / "slate.jpg")}) as show:
        show.frame(is_corners, SEEN)
        put(tmp_path / "slate.jpg", Image.new("RGB", SIZE, (200, 100, 50)),
            icc_profile=icc.rgb_profile(icc.DISPLAY_P3, None))
        show.frame(near((215, 93, 31)), SEEN)


def test_a_slate_of_400_megapixels_is_one_clear_line(tmp_path: Path) -> None:
    show = {"recipe": "passthrough", "source": NOWHERE, "sinks": [], "output": {
        "slate": str(bomb(tmp_path / "slate.png", 20_000))}, "resume": False}
    (tmp_path / "show.yaml").write_text(yaml.safe_dump(show))
    done = subprocess.run([sys.executable, "-m", "lcm_daemon", "run", str(tmp_path / "show.yaml")],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "20000 x 20000 pixels are too many" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
