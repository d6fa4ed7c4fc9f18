"""The program that lists sources: what it finds, its small pictures, and sources that vanish or hang."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lcm_daemon.core.errors import TransportError
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.transports import source_finder
from lcm_daemon.transports.base import Probe, Source, Transport
from lcm_daemon.transports.shared_memory import MemorySink
from lcm_daemon.transports.source_finder import SourceFinder, read_sources
from tests.rigs.daemon import wait_for
from tests.rigs.ndi_raw import RawSender, send_raw
from tests.rigs.network import namespace

ORANGE = (250, 120, 30, 255)


def colour(jpeg: str) -> tuple[int, int, int]:
    image = Image.open(io.BytesIO(base64.b64decode(jpeg)))
    assert image.size == source_finder.SIZE
    found = image.convert("RGB").getpixel((60, 30))
    assert isinstance(found, tuple)
    red, green, blue = found
    return red, green, blue


class Many(Source):
    """Fifty sources: odd ones vanish while they are read, and number 0 hangs."""

    is_listed = True
    fields = {"name": source_finder.load("memory").source.fields["name"]}  # type: ignore[union-attr]
    release = threading.Event()

    @classmethod
    def discover(cls, seconds: float) -> list[str]:
        return [str(number) for number in range(50)]

    def _open_source(self) -> None:
        if self.options["name"] == "0":
            self.release.wait(30.0)

    def _read(self, timeout: float) -> Frame | None:
        if int(self.options["name"]) % 2:
            raise TransportError("it is gone")
        return Frame(solid((32, 32), ORANGE), 0, 0.0)

    def _close(self) -> None:
        pass


def test_fifty_sources_of_which_some_vanish_and_one_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Mapping[str, Any]] = []
    monkeypatch.setattr(source_finder, "TRANSPORTS", {"memory": ""})
    monkeypatch.setattr(source_finder, "load", lambda name: Transport(Many, None, lambda: Probe(True, "")))
    monkeypatch.setattr(source_finder, "ROUND_SECONDS", 1.0)
    finder = SourceFinder({}, said.append)
    finder.search()
    Many.release.set()
    assert said[0] == {"transport": "memory", "labels": [str(number) for number in range(50)], "problem": ""}
    pictures = {message["thumbnail"] for message in said[1:] if message["thumbnail"] != "memory 0"}
    assert pictures == {f"memory {number}" for number in range(2, 50, 2)}
    assert not finder.is_stuck


def test_a_library_that_is_missing_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(Many):
        @classmethod
        def discover(cls, seconds: float) -> list[str]:
            raise TransportError("memory: it is not installed")

    said: list[Mapping[str, Any]] = []
    monkeypatch.setattr(source_finder, "TRANSPORTS", {"memory": ""})
    monkeypatch.setattr(source_finder, "load", lambda name: Transport(Missing, None, lambda: Probe(True, "")))
    SourceFinder({}, said.append).search()
    assert said == [{"transport": "memory", "labels": [], "problem": "it is not installed"}]


def test_the_shows_sources_are_read_from_the_argument() -> None:
    text = json.dumps({"wide": {"transport": "testcard", "label": "x", "options": {"size": [64, 48], "fps": 30.0}}})
    assert read_sources(text) == {"wide": ("testcard", {"size": (64, 48), "fps": 30.0})}


@pytest.mark.slow
def test_the_program_finds_real_ndi_and_memory_sources_and_ends_with_its_input(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), (0, 0, 250)).save(tmp_path / "blue.png")
    memory, ndi = f"find{os.getpid()}", f"find-{os.getpid()}"
    own = {"clip": {"transport": "file", "options": {"path": str(tmp_path / "blue.png"), "loop": True, "fps": 0.0}},
           "gone": {"transport": "file", "options": {"path": str(tmp_path / "gone.png"), "loop": True, "fps": 0.0}}}
    sink, ended = MemorySink({"name": memory}), threading.Event()
    sink.open((64, 48), 30.0)

    def send() -> None:
        number = 0
        while not ended.wait(0.02):
            number += 1
            sink.write(Frame(solid((64, 48), ORANGE), number, time.perf_counter()))

    sender = threading.Thread(target=send)
    sender.start()
    messages: list[Mapping[str, Any]] = []
    try:
        with namespace() as net:
            net.start(send_raw, [RawSender(ndi.encode(), (320, 240))]).receive(60.0)
            finder = net.popen([sys.executable, "-m", source_finder.__name__, json.dumps(own)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)

            def find() -> Mapping[str, str] | None:
                messages.append(json.loads(finder.stdout.readline()))  # type: ignore[union-attr]
                found = {one["thumbnail"]: one["jpeg"] for one in messages if "thumbnail" in one}
                names = [name for name in found if name.startswith("ndi ") and name.endswith(f"({ndi})")]
                return found if names and f"memory {memory}" in found and "clip" in found else None

            found = wait_for(find, 60.0, "pictures of an NDI, a memory and a file source")
            finder.stdin.close()  # type: ignore[union-attr]
            assert finder.wait(10.0) == 0
    finally:
        ended.set()
        sender.join()
        sink.close()
    assert max(abs(a - b) for a, b in zip(colour(found[f"memory {memory}"]), ORANGE, strict=False)) < 12
    assert colour(found["clip"])[2] > 230
    assert "gone" not in found
