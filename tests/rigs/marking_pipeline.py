"""A stand-in pipeline that writes into each picture what it was rendered from, so that it can be read off a JPEG.

    marking_pipeline.install(monkeypatch, folder)   # daemons that are started then know the recipe {pipeline: marking}

A picture is 8 blocks wide. The first row of blocks holds the session's number as bits, the second a checksum of the
prompt, the third the strength as grey and whether the session's memory holds another one's prompt. Below is the input.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.live_values import Blend
from lcm_daemon.core.parameters import Values
from lcm_daemon.pipelines.base import Pipeline, Progress, Report

ROOT = Path(__file__).parents[2]


def checksum(prompt: str) -> int:
    """8 bits of a prompt."""
    return zlib.crc32(prompt.encode()) & 0xFF


@dataclass(frozen=True)
class Marks:
    """What a picture says of itself. colour: of the input, in its middle."""

    session: int
    prompt: int
    strength: float
    is_foreign: bool
    colour: tuple[int, int, int]


def read_marks(pixels: np.ndarray) -> Marks:
    """Read a picture, uint8 (H, W, 3 or more), of any size."""
    block = pixels.shape[1] // 8
    cells = pixels[block // 2:3 * block:block, block // 2::block, :3].mean(axis=2)
    session, prompt = (sum(1 << place for place in range(8) if row[place] > 127) for row in cells[:2])
    colour = tuple(int(each) for each in pixels[pixels.shape[0] * 3 // 4, pixels.shape[1] // 2, :3])
    assert len(colour) == 3
    return Marks(session, prompt, float(cells[2, 1]) / 255, bool(cells[2, 5] > 127), colour)


class MarkingPipeline(Pipeline):
    """Remembers the prompts of each session, as far as the engine says that it goes on."""

    def _load(self, progress: Progress) -> Report:
        self._session, self._memories = "", dict[str, set[str]]()
        return Report("marking", "stand-in", "uint8", self.size)

    def end_session(self, session: str) -> None:
        self._memories.pop(session, None)

    def _enter(self, session: str) -> None:
        self._session = session

    def _render(self, frame: Pixels, values: Values, out: Pixels, guide: Pixels | None) -> dict[str, float]:
        prompt = str(max(Blend.of(values["prompt"]).parts, key=lambda part: part[1])[0])
        memory = self._memories.setdefault(self._session, set())
        memory.add(prompt)
        np.copyto(out, frame)
        for row, number in enumerate((int(self._session or 0), checksum(prompt))):
            for place in range(8):
                _fill(out, row, place, 255 if number >> place & 1 else 0)
        for place in range(8):
            own = {name for name in memory if name.startswith("session")}
            _fill(out, 2, place, round(255 * float(values["strength"])) if place < 4 else 255 * (len(own) > 1))
        return {}


def _fill(out: Pixels, row: int, place: int, level: int) -> None:
    block = out.shape[1] // 8
    out[row * block:(row + 1) * block, place * block:(place + 1) * block, :3] = level


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let every Python process that starts from here on know the pipeline."""
    (folder / "sitecustomize.py").write_text(
        "from lcm_daemon.recipes import registry\n"
        f"registry.PIPELINES['marking'] = '{__name__}:MarkingPipeline'\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
