"""HDR and wide colours become those of FFmpeg's zscale."""

from __future__ import annotations

import av
import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels
from lcm_daemon.transports.video_colour import ColourConverter, Colours
from lcm_daemon.transports.wide_colour import PRIMARIES, TRANSFERS, conversion

PQ, HLG, SDR = 16, 18, 0
# Limited-range YUV of 10 bits (transfer, primaries, matrix as swscale numbers it), and the RGB that FFmpeg 5.1 makes:
#   zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,zscale=t=bt709:m=gbr:r=full,format=gbrp
REFERENCE = {
    (HLG, 9, 9): {
        (721, 512, 512): (255, 255, 255), (401, 405, 687): (255, 0, 0), (646, 350, 446): (14, 255, 8),
        (239, 765, 537): (9, 0, 255), (456, 512, 512): (128, 128, 128), (260, 512, 512): (64, 64, 64),
        (125, 512, 512): (20, 20, 20), (479, 410, 585): (200, 120, 60), (333, 622, 474): (29, 90, 160),
        (632, 484, 537): (235, 190, 170), (940, 512, 512): (255, 255, 255),
    },
    (PQ, 9, 9): {
        (573, 512, 512): (255, 255, 255), (392, 438, 608): (255, 0, 0), (529, 424, 474): (26, 254, 0),
        (277, 667, 540): (0, 5, 254), (429, 512, 512): (128, 128, 128), (306, 512, 512): (64, 64, 64),
        (163, 512, 512): (20, 20, 20), (439, 452, 549): (200, 120, 59), (356, 572, 487): (30, 90, 160),
        (519, 496, 527): (236, 190, 170), (940, 512, 512): (255, 255, 255),
    },
    (PQ, 12, 9): {
        (573, 512, 512): (255, 255, 255), (365, 455, 644): (255, 3, 8), (518, 423, 446): (14, 255, 13),
        (94, 768, 491): (0, 0, 255), (429, 512, 512): (128, 128, 128), (439, 451, 560): (200, 120, 60),
        (342, 580, 459): (29, 90, 160), (520, 496, 532): (236, 190, 171),
    },
    (HLG, 1, 1): {
        (721, 512, 512): (255, 255, 255), (204, 435, 848): (255, 0, 0), (534, 253, 207): (0, 255, 0),
        (111, 848, 481): (0, 0, 255), (456, 512, 512): (128, 128, 128), (461, 394, 625): (200, 120, 60),
    },
    (SDR, 9, 9): {
        (940, 512, 512): (255, 255, 255), (458, 384, 739): (255, 5, 7), (801, 284, 383): (0, 255, 0),
        (268, 856, 535): (7, 3, 255), (504, 512, 512): (128, 128, 128), (133, 512, 512): (20, 20, 20),
        (534, 395, 603): (200, 120, 60), (366, 636, 470): (32, 90, 160),
    },
    (SDR, 12, 1): {
        (940, 512, 512): (255, 255, 255), (399, 416, 819): (255, 3, 3), (794, 272, 315): (8, 255, 13),
        (125, 943, 472): (0, 0, 255), (504, 512, 512): (128, 128, 128), (357, 644, 432): (30, 90, 160),
    },
    (SDR, 11, 1): {
        (940, 512, 512): (255, 255, 255), (405, 412, 827): (255, 0, 4), (781, 277, 289): (10, 255, 0),
        (201, 901, 470): (2, 4, 255), (504, 512, 512): (128, 128, 128), (355, 645, 426): (30, 90, 160),
    },
}


def yuv_frame(colours: list[tuple[int, int, int]], alpha: int | None = None) -> av.VideoFrame:
    """A frame with a square of 16 pixels for each colour, limited-range YUV of 10 bits."""
    frame = av.VideoFrame(16 * len(colours), 16, "yuv444p10le" if alpha is None else "yuva444p10le")
    rows = np.repeat(np.array(colours, "<u2").T, 16, axis=1)
    alphas = [] if alpha is None else [np.full_like(rows[0], alpha)]
    for plane, row in zip(frame.planes, [*rows, *alphas], strict=True):
        lines = np.zeros((16, plane.line_size // 2), "<u2")
        lines[:, : frame.width] = row
        plane.update(lines.tobytes())
    return frame


def squares(pixels: Pixels) -> list[tuple[int, ...]]:
    return [tuple(int(value) for value in pixels[8, x, :3]) for x in range(8, pixels.shape[1], 16)]


@pytest.mark.parametrize("kind", REFERENCE, ids=str)
def test_colours_are_those_of_zscale(kind) -> None:
    transfer, primaries, matrix = kind
    frame = yuv_frame(list(REFERENCE[kind]))
    found = squares(ColourConverter().to_rgba(frame, Colours(matrix, 1, transfer, primaries)))
    assert np.abs(np.subtract(found, list(REFERENCE[kind].values()))).max() <= 4


def test_alpha_is_kept() -> None:
    frame = yuv_frame(list(REFERENCE[PQ, 9, 9]), alpha=512)
    pixels = ColourConverter().to_rgba(frame, Colours(9, 1, PQ, 9))
    assert set(np.unique(pixels[..., 3])) <= {127, 128}
    assert np.abs(np.subtract(squares(pixels), list(REFERENCE[PQ, 9, 9].values()))).max() <= 4


def test_rgb_of_full_range_reaches_white() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), round(0.58069 * 65535), np.uint16), format="rgb48le")
    pixels = ColourConverter().to_rgba(frame, Colours(1, 0, PQ, 9))
    assert (pixels >= 254).all()


def test_another_frame_size_gets_another_filter() -> None:
    converter, colours = ColourConverter(), Colours(9, 1, HLG, 9)
    for count in (1, 2):
        frame = yuv_frame([(721, 512, 512)] * count)
        assert converter.to_rgba(frame, colours).shape == (16, 16 * count, 4)


@pytest.mark.parametrize("code", PRIMARIES)
def test_white_stays_white(code) -> None:
    assert conversion(PRIMARIES[code]) @ [1, 1, 1] == pytest.approx([1, 1, 1], abs=1e-3)


def test_bt2020_matrix() -> None:
    """As in ITU-R BT.2087."""
    expected = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    assert conversion(PRIMARIES[9]) == pytest.approx(np.array(expected), abs=2e-3)


def test_names_are_for_the_log() -> None:
    assert Colours(9, 1, HLG, 9).name == "HLG, BT.2020"
    assert Colours(1, 1, SDR, 12).name == "Display P3"
    assert Colours(1, 1).name == ""
    assert set(TRANSFERS) == {PQ, HLG}
