"""What every pipeline has to do, see `lcm_daemon.pipelines.base`."""

from __future__ import annotations

import numpy as np

from lcm_daemon.contracts.refusals import check_refusal
from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.frame import Pixels, Size
from lcm_daemon.pipelines.base import Pipeline, Report
from lcm_daemon.recipes.recipe import Recipe


def check_pipeline(kind: type[Pipeline], recipe: Recipe, size: Size = (128, 96)) -> None:
    """The pipeline refuses frames before it is loaded, reports what it is, and renders frames of its size.

    Args:
        kind: The class.
        recipe: One that it can play here.
        size: Width and height of the output.
    """
    assert isinstance(kind, type), f"{kind!r} is not a class"
    assert issubclass(kind, Pipeline), f"{kind.__name__} is not a Pipeline"
    pipeline = kind(recipe, size)
    values = recipe.start_values()
    frame, out = _picture(size), np.zeros((size[1], size[0], 4), np.uint8)
    check_refusal(lambda: pipeline.render(frame, values, out), EngineError, "not loaded", "it renders before `load`")
    lines: list[str] = []
    report = pipeline.load(lines.append)
    assert isinstance(report, Report), f"`load` returns {report!r} instead of a Report"
    assert all(line and "\n" not in line for line in lines), "progress is told in single lines"
    assert pipeline.frames_in_flight >= 1, "at least one frame is under way"
    _check_frames(pipeline, frame, out)
    pipeline.end_session("visitor")
    pipeline.close()


def _check_frames(pipeline: Pipeline, frame: Pixels, out: Pixels) -> None:
    """Frames with and without a guide and of two sessions: the input is kept, alpha is copied, seconds are numbers."""
    values, before = pipeline.recipe.start_values(), frame.copy()
    for guide, session in ((None, ""), (frame.copy(), ""), (None, "visitor"), (None, "")):
        out.fill(0)
        seconds = pipeline.render(frame, values, out, guide, session)
        assert all(isinstance(each, float) for each in seconds.values()), f"{seconds!r} are not seconds by part"
        assert np.array_equal(frame, before), "the input frame was written to"
        assert np.array_equal(out[..., 3], frame[..., 3]), "alpha is not that of the input"
        assert out[..., :3].any(), "the output is black: nothing was written to it"
    larger = np.zeros((frame.shape[0] + 8, frame.shape[1], 4), np.uint8)
    check_refusal(lambda: pipeline.render(larger, values, out), ValueError, "size", "it accepts another size")


def _picture(size: Size) -> Pixels:
    """A picture with all levels, and alpha from 0 to 255, uint8 (height, width, 4)."""
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    levels = (columns * 255 // (width - 1), rows * 255 // (height - 1), (rows + columns) * 3 % 256, rows * 2 % 256)
    return np.stack(levels, axis=-1).astype(np.uint8)
