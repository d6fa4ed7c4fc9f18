"""Matrix and range of a video: from its tags, or else from its size, as players do."""

from __future__ import annotations

from types import SimpleNamespace

import av
import numpy as np
import pytest

from lcm_daemon.transports.video_colour import BT601, BT709, BT2020, ColourConverter, Colours, colours_of

UNTAGGED = SimpleNamespace(colorspace=2, color_trc=2, color_primaries=2, color_range=0)
PATCHES = [(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (200, 120, 60), (0, 0, 0)]


def frame_of(size: tuple[int, int], pix_fmt: str = "yuv420p", **tags: int) -> av.VideoFrame:
    frame = av.VideoFrame(*size, pix_fmt)
    for name, value in tags.items():
        setattr(frame, name, value)
    return frame


@pytest.mark.parametrize(
    ("size", "matrix"),
    [((720, 576), BT601), ((1024, 576), BT601), ((720, 578), BT709), ((1026, 576), BT709), ((1280, 720), BT709),
     ((480, 854), BT709), ((3840, 2160), BT709), ((64, 36), BT601)],
)
def test_size_decides_without_tags(size, matrix) -> None:
    assert colours_of(frame_of(size), UNTAGGED) == Colours(matrix, 0)


@pytest.mark.parametrize(
    ("tag", "matrix"), [(1, BT709), (5, BT601), (6, BT601), (9, BT2020), (10, BT2020), (4, 4), (7, 7)]
)
def test_tags_win(tag, matrix) -> None:
    assert colours_of(frame_of((64, 36), colorspace=tag), UNTAGGED).matrix == matrix
    assert colours_of(frame_of((1920, 1080), colorspace=tag), UNTAGGED).matrix == matrix


def test_the_container_is_asked_where_the_frame_has_no_tag() -> None:
    container = SimpleNamespace(colorspace=6, color_trc=18, color_primaries=9, color_range=2)
    assert colours_of(frame_of((1920, 1080)), container) == Colours(BT601, 2, 18, 9)
    assert colours_of(frame_of((1920, 1080), colorspace=1, color_range=1), container).matrix == BT709
    assert colours_of(frame_of((1920, 1080), colorspace=1, color_range=1), container).range == 1


def test_hdr_without_primaries_is_bt2020() -> None:
    hdr = SimpleNamespace(colorspace=2, color_trc=16, color_primaries=2, color_range=1)
    assert colours_of(frame_of((1920, 1080)), hdr) == Colours(BT2020, 1, 16, 9)


@pytest.mark.parametrize("primaries", [1, 2, 5, 6, 7, 22])
def test_usual_primaries_of_sdr_are_not_converted(primaries) -> None:
    tags = SimpleNamespace(colorspace=1, color_trc=1, color_primaries=primaries, color_range=1)
    assert colours_of(frame_of((1920, 1080)), tags) == Colours(BT709, 1)


@pytest.mark.parametrize(
    ("pix_fmt", "tag"),
    [("yuvj420p", 0), ("yuvj420p", 2)] + [
        (name, tag) for name in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "nv12")
        for tag in (0, 1, 2)
    ],
)
@pytest.mark.parametrize(("size", "matrix"), [((640, 480), BT601), ((1120, 64), BT709)])
def test_patches_come_back(pix_fmt, tag, size, matrix) -> None:
    is_full = tag == 2 or pix_fmt == "yuvj420p"
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    width = size[0] // len(PATCHES)
    for index, colour in enumerate(PATCHES):
        pixels[:, index * width : (index + 1) * width] = colour
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
        format=pix_fmt, dst_colorspace=matrix, dst_color_range=2 if is_full else 1
    )
    frame.colorspace, frame.color_range = 2, tag
    found = ColourConverter().to_rgba(frame, colours_of(frame, UNTAGGED))
    for index, colour in enumerate(PATCHES):
        patch = found[size[1] // 2, index * width + width // 2, :3].astype(int)
        assert np.abs(patch - colour).max() <= 6, (colour, patch)
