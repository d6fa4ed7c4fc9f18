"""How sources are turned, mirrored and aligned, and what a show may write for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.frame import Frame, Pixels, check_pixels, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.transports.base import Source
from lcm_daemon.transports.endpoint import EndpointConfig, sink_schema, source_schema
from lcm_daemon.transports.placement import ALIGNMENTS, View
from lcm_daemon.transports.runner import SourceRunner


class Still(Source):
    """One picture."""

    def __init__(self, pixels: Pixels, pixel_aspect: float = 1.0) -> None:
        super().__init__({})
        self.frame = Frame(pixels, 0, 0.0, pixel_aspect)

    def _open_source(self) -> None: ...

    def _read(self, timeout: float) -> Frame:
        return self.frame

    def _close(self) -> None: ...


def placed(pixels: Pixels, size: tuple[int, int], view: View, mode="cover", pixel_aspect: float = 1.0) -> Pixels:
    source = Still(pixels, pixel_aspect)
    runner = SourceRunner("still", source, size, mode, Metrics(), lambda: None, view=view)
    source.open()
    runner._step()
    assert runner.newest is not None
    return check_pixels(runner.newest.pixels)


def numbered() -> Pixels:
    """Six pixels: 0 1 2 over 3 4 5."""
    pixels = solid((3, 2))
    pixels[..., 0] = np.arange(6).reshape(2, 3)
    return pixels


@pytest.mark.parametrize(("view", "expected"), [
    (View(), [[0, 1, 2], [3, 4, 5]]),
    (View(mirror=True), [[2, 1, 0], [5, 4, 3]]),
    (View(flip=True), [[3, 4, 5], [0, 1, 2]]),
    (View(turn=90), [[3, 0], [4, 1], [5, 2]]),
    (View(turn=180), [[5, 4, 3], [2, 1, 0]]),
    (View(turn=270), [[2, 5], [1, 4], [0, 3]]),
    (View(turn=90, mirror=True), [[0, 3], [1, 4], [2, 5]]),
    (View(turn=270, flip=True), [[0, 3], [1, 4], [2, 5]]),
])
def test_turned_and_mirrored(view: View, expected: list[list[int]]) -> None:
    size = (len(expected[0]), len(expected))
    assert placed(numbered(), size, view)[..., 0].tolist() == expected


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize(("mirror", "flip"), [(False, False), (True, False), (False, True)])
def test_align_means_the_output_after_every_turn(turn: int, mirror: bool, flip: bool) -> None:
    """The wanted part is red where the whole picture, turned and mirrored, has it."""
    for align, (across, down) in ALIGNMENTS.items():
        whole = solid((90, 90), (0, 0, 255, 255))
        plain = View(mirror, flip, turn)
        target = plain.orient(whole.copy())
        top, left = round(down * 60), round(across * 60)
        target[top : top + 30] = (255, 0, 0, 255)
        for size, part in (((90, 30), target), ((30, 90), None)):
            if part is None:
                target = solid((90, 90), (0, 0, 255, 255))
                target[:, left : left + 30] = (255, 0, 0, 255)
            source = undo(plain, target)
            out = placed(source, size, View(mirror, flip, turn, align))
            assert (out == (255, 0, 0, 255)).all(), (align, size)


def undo(view: View, pixels: Pixels) -> Pixels:
    """The source picture that `view` shows as `pixels`."""
    pixels = pixels[::-1] if view.flip else pixels
    pixels = pixels[:, ::-1] if view.mirror else pixels
    return np.ascontiguousarray(np.rot90(pixels, view.turn // 90))


@pytest.mark.parametrize(("mode", "size", "pixel_aspect", "black"), [
    ("contain", (64, 36), 1.0, 28), ("contain", (64, 36), 16 / 9, 0), ("contain", (64, 64), 0.5, 32),
    ("cover", (64, 36), 2.0, 0), ("stretch", (64, 36), 2.0, 0),
])
def test_pixels_that_are_not_square(mode, size, pixel_aspect: float, black: int) -> None:
    """`black`: columns of bars beside a square of 32 x 32 pixels that are `pixel_aspect` times as wide as high."""
    out = placed(solid((32, 32), (255, 0, 0, 255)), size, View(), mode, pixel_aspect)
    assert abs(int((out[size[1] // 2, :, 0] == 0).sum()) - black) <= 1


def test_premultiplied_pictures_are_scaled_and_then_made_straight() -> None:
    pixels = solid((64, 64), (0, 0, 0, 0))
    pixels[:, 32:] = (100, 50, 0, 128)
    out = placed(pixels, (20, 20), View(alpha="premultiplied"))
    visible = out[out[..., 3] > 16]
    assert np.abs(visible[:, :3].astype(int) - (199, 100, 0)).max() <= 8
    assert (placed(pixels, (20, 20), View(alpha="ignore"))[..., 3] == 255).all()


def read(text: str, is_sink: bool = False) -> tuple[EndpointConfig | None, list[str]]:
    problems = Problems()
    schema = sink_schema(Path()) if is_sink else source_schema(Path())
    return schema.read(compose(text, "show.yaml"), problems), [problem.text for problem in problems.found]


def test_a_show_writes_it() -> None:
    for transport in ("testcard", "browser", "memory", "ndi", "camera", "spout", "syphon"):
        keys = "mirror: true, flip: yes, turn: 270, align: top-left, alpha: premultiplied"
        config, problems = read(f"{{transport: {transport}, {keys}}}")
        assert problems == []
        assert config is not None
        assert config.view == View(True, True, 270, "top-left", "premultiplied")
    for written, alpha in (("true", "straight"), ("false", "ignore"), ("ignore", "ignore")):
        config, problems = read(f"{{transport: ndi, alpha: {written}}}", is_sink=True)
        assert config is not None
        assert (config.view.alpha, config.options["alpha"], problems) == (alpha, alpha, [])


@pytest.mark.parametrize(("text", "words"), [
    ("{transport: testcard, turn: 45}", "45 is not one of 0, 90, 180, 270"),
    ("{transport: testcard, align: middle}", "'middle' is not one of center, left"),
    ("{transport: testcard, mirrored: true}", "mirror"),
    ("{transport: testcard, alpha: white}", "'white' is not one of straight, premultiplied, ignore"),
])
def test_mistakes_are_named(text: str, words: str) -> None:
    _, problems = read(text)
    assert len(problems) == 1
    assert words in problems[0]
