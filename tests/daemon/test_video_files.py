"""Video files through a running daemon: damage, HDR, HD without tags, pixel aspect, display matrix, alpha, fields."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels, solid
from tests.rigs.picture_show import PictureShow
from tests.rigs.videos import (
    MATRICES,
    comb,
    combed,
    damage,
    interlaced,
    quarters,
    seen_quarters,
    shade_of,
    shades,
    write_video,
)

SIZE = (128, 72)
SEEN = 15.0  # seconds, for a busy machine; test_file_watch holds the two that users are promised
GREY = (90, 90, 90, 255)
# HLG with BT.2020: limited-range YUV of 10 bits, and what FFmpeg's zscale makes of it, as in
# tests/transports/test_wide_colour.py.
HLG = [((721, 512, 512), (255, 255, 255)), ((401, 405, 687), (255, 0, 0)), ((239, 765, 537), (9, 0, 255)),
       ((479, 410, 585), (200, 120, 60))]


class Player:
    """A show that plays one file, and the way to give it another."""

    def __init__(self, show: PictureShow, path: Path) -> None:
        self.show, self._path = show, path

    def put(self, video: Path) -> None:
        """Replace the file. Each test has another picture, so that no frame of an earlier one is taken for it."""
        video.replace(self._path)

    def see(self, video: Path, condition: Callable[[Pixels], Any]) -> None:
        """Give the show a file and wait for the right picture."""
        self.put(video)
        self.show.frame(condition, SEEN)


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    folder = tmp_path_factory.mktemp("videos")
    path = write_video(folder / "clip.mkv", "ffv1", "yuv420p", [solid((64, 36), GREY)] * 5)
    with PictureShow(folder, {"transport": "file", "path": str(path), "fit": "contain"}, SIZE) as show:
        yield Player(show, path)


def is_near(pixels: Pixels, colour: tuple[int, ...], tolerance: int) -> bool:
    return bool(np.abs(pixels[..., : len(colour)].astype(int) - colour).max() <= tolerance)


def columns(pixels: Pixels, count: int) -> list[tuple[int, ...]]:
    """The colours in the middle of vertical stripes."""
    height, width = pixels.shape[:2]
    return [tuple(int(value) for value in pixels[height // 2, (2 * index + 1) * width // (2 * count), :3])
            for index in range(count)]


def test_a_damaged_packet_is_a_glitch(player, tmp_path) -> None:
    options = {"g": "50", "bf": "0"}
    video = damage(write_video(tmp_path / "a.mp4", "libx264", "yuv420p", shades(50, SIZE), 25, options), [10])
    player.put(video)
    player.show.frame(lambda pixels: 0 < shade_of(pixels) < 9, SEEN)
    seen = {shade_of(pixels) for pixels in player.show.frames(4.5)}
    assert {8, 15, 25, 35, 45, 48} & seen >= {15, 25, 35}
    assert max(seen) >= 48
    assert player.show.daemon.log().count("the damaged part is skipped") == 1


def test_hdr(player, tmp_path) -> None:
    frame = av.VideoFrame(*SIZE, "yuv420p10le")
    stripes = np.array([code for code, _ in HLG], "<u2").T
    for plane, row in zip(frame.planes, stripes, strict=True):
        lines = np.zeros((plane.height, plane.line_size // 2), "<u2")
        lines[:, : plane.width] = np.repeat(row, plane.width // len(HLG))
        plane.update(lines.tobytes())
    tags = "log-level=none:lossless=1:colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"
    video = write_video(tmp_path / "a.mp4", "libx265", "yuv420p10le", [frame] * 3, options={"x265-params": tags})
    wanted = [rgb for _, rgb in HLG]
    player.see(video, lambda pixels: np.abs(np.subtract(columns(pixels, len(HLG)), wanted)).max() <= 10)
    assert player.show.daemon.log().count("is HLG, BT.2020; its colours become those of BT.709") == 1


def test_hd_without_tags_is_bt709(player, tmp_path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 60)]
    picture = solid((1280, 720))
    for index, colour in enumerate(colours):
        picture[:, index * 320 : (index + 1) * 320, :3] = colour
    video = write_video(tmp_path / "a.mkv", "ffv1", "yuv420p", [picture] * 2, dst_colorspace="ITU709")
    player.see(video, lambda pixels: np.abs(np.subtract(columns(pixels, len(colours)), colours)).max() <= 6)


def test_pixel_aspect_keeps_its_shape(player, tmp_path) -> None:
    def stretched(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)

    white = solid((36, 72), (255, 255, 255, 255))
    video = write_video(tmp_path / "a.mp4", "libx264", "yuv420p", [white] * 3, prepare=stretched)

    def is_square(pixels: Pixels) -> bool:
        """36 columns of double width are 72: bars of 28 on both sides."""
        bright = (pixels[36, :, 0] > 128).nonzero()[0]
        return bool(len(bright) and abs(bright[0] - 28) <= 1 and abs(bright[-1] - 99) <= 1)

    player.see(video, is_square)


@pytest.mark.parametrize("name", ["mirrored", "transposed"])
def test_display_matrix(player, tmp_path, name) -> None:
    matrix, wanted = MATRICES[name]
    size = (72, 128) if name == "transposed" else SIZE
    video = write_video(tmp_path / "a.mp4", "libx264", "yuv420p", [quarters(size)] * 3,
                        prepare=lambda stream: stream.set_display_matrix(matrix))
    player.see(video, lambda pixels: np.abs(np.subtract(seen_quarters(pixels), wanted)).max() <= 6)


@pytest.mark.parametrize(
    ("codec", "suffix", "pix_fmt", "alpha"), [("libvpx-vp9", "webm", "yuva420p", 100), ("qtrle", "mov", "argb", 200)]
)
def test_alpha_is_kept(player, tmp_path, codec, suffix, pix_fmt, alpha) -> None:
    picture = solid(SIZE, (200, 60, 60, alpha))
    video = write_video(tmp_path / f"a.{suffix}", codec, pix_fmt, [picture] * 3)
    player.see(video, lambda pixels: is_near(pixels, (200, 60, 60, alpha), 4))


def test_fields_are_not_combed(player, tmp_path) -> None:
    video = write_video(tmp_path / "a.ts", "mpeg2video", "yuv420p", combed(6, SIZE), 25, prepare=interlaced)
    player.see(video, lambda pixels: pixels[..., 0].max() > 200 and comb(pixels[..., 0]) < 5)
    assert max(comb(pixels[..., 0]) for pixels in player.show.frames(0.5)) < 10


def test_a_raw_stream_loops(player, tmp_path) -> None:
    video = write_video(tmp_path / "a.h264", "libx264", "yuv420p", shades(20, SIZE), 25)
    player.see(video, lambda pixels: shade_of(pixels) == 19)
    for _ in range(2):
        start = time.perf_counter()
        player.show.frame(lambda pixels: shade_of(pixels) in (1, 2), SEEN)
        player.show.frame(lambda pixels: shade_of(pixels) in (18, 19), SEEN)
        assert time.perf_counter() - start < 2.0
