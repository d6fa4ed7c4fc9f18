"""Sources, sinks and recordings of a running daemon: changed, silent, lost, switched. Real senders and files."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pythonosc.udp_client import SimpleUDPClient

import lcm_daemon
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.transports import load
from tests.rigs.daemon import wait_for
from tests.rigs.picture_show import PictureShow

SIZE = (128, 72)
RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)
_numbers = itertools.count()


class Sender:
    """A memory sender of one colour, on a thread of its own. rate: frames per second; 0 sends a single frame."""

    def __init__(self, colour: tuple[int, int, int], rate: float = 30.0) -> None:
        self.name = f"live{os.getpid()}-{next(_numbers)}"
        sink = load("memory").sink
        assert sink is not None
        self._sink, self._pixels, self._rate = sink({"name": self.name}), solid(SIZE, (*colour, 255)), rate
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    @property
    def source(self) -> dict[str, Any]:
        return {"transport": "memory", "name": self.name}

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)

    def _send(self) -> None:
        self._sink.open(SIZE, 30.0)
        for number in itertools.count():
            self._sink.write(Frame(self._pixels, number, time.perf_counter()))
            if self._end.wait(1 / self._rate if self._rate else None):
                break
        self._sink.close()


def is_colour(colour: tuple[int, int, int]) -> Callable[[Pixels], bool]:
    return lambda pixels: bool(np.abs(pixels[..., :3].mean((0, 1)) - colour).max() < 6)


def osc(show: PictureShow, address: str, *arguments: float | str) -> None:
    SimpleUDPClient("127.0.0.1", show.daemon.osc_port).send_message(address, arguments)


def wait_status(show: PictureShow, key: str, text: str, seconds: float = 15.0) -> str:
    """Wait until an entry of the status contains `text`; return the entry."""
    def found() -> str:
        entry = str(show.daemon.status().get(key))
        return entry if text in entry else ""

    return str(wait_for(found, seconds, f"{key} with {text!r}"))


@contextmanager
def senders(*colours: tuple[int, int, int]) -> Iterator[list[Sender]]:
    made = [Sender(colour) for colour in colours]
    for one in made:
        one.__enter__()
    try:
        yield made
    finally:
        for one in made:
            one.close()


def test_the_source_is_changed_live_by_osc_and_by_cues(tmp_path: Path) -> None:
    Image.new("RGB", SIZE, GREEN).save(tmp_path / "green.png")
    with senders(RED, BLUE) as (red, blue), PictureShow(
        tmp_path, red.source, SIZE, sources={
            "blue": blue.source, "green": {"transport": "file", "path": "green.png"},
            "gone": {"transport": "file", "path": "gone.mp4"},
        },
        cues=[{"name": "sea", "source": "blue", "set": {"strength": 0.3}}],
    ) as show:
        show.frame(is_colour(RED))
        osc(show, "/lcm/source", "blue")
        frames = [frame[..., :3].mean((0, 1)) for frame in show.frames(2.5)]
        mixed = [frame for frame in frames if 60 < frame[0] < 160]
        assert len(mixed) > 8, "it is crossfaded over a second"
        assert all(abs(frame[0] + frame[2] - 220) < 8 for frame in mixed)
        assert is_colour(BLUE)(show.frame(is_colour(BLUE)))
        wait_status(show, "source", f"blue (memory {blue.name}): running")
        for name, colour in ((f"memory {red.name}", RED), ("green", GREEN), (f"memory: {blue.name}", BLUE),
                             ("show", RED)):
            osc(show, "/lcm/source", name)
            show.frame(is_colour(colour))
        osc(show, "/lcm/source", "gone")
        error = wait_status(show, "error", "source gone: ")
        assert "gone.mp4 does not exist" in error
        for name, reason in (
            ("file /etc/hostname", "needs an entry in `sources`"), (str(tmp_path / "green.png"), "no source"),
            ("ble", "did you mean 'blue'?"), ("camera /dev/null", "no source is listed"),
        ):
            osc(show, "/lcm/source", name)
            wait_status(show, "error", reason)
            show.frame(is_colour(RED))
        osc(show, "/lcm/cue/go")
        show.frame(is_colour(BLUE))
        assert show.daemon.values()["strength"] == 0.3
        assert show.daemon.status()["error"] == ""
        osc(show, "/lcm/cue/record", "kept")
        wait_for(lambda: (tmp_path / "show.cues.yaml").exists(), 10, "the recorded cue")
        wait_for(lambda: "source: blue" in (tmp_path / "show.cues.yaml").read_text(), 10, "its source")
        osc(show, "/lcm/source", "show")
        show.frame(is_colour(RED))
        osc(show, "/lcm/cue/goto", "kept")
        show.frame(is_colour(BLUE))
        assert "tick failed" not in show.daemon.log()
        assert "Traceback" not in show.daemon.log()


def test_a_killed_show_begins_with_the_source_that_played(tmp_path: Path) -> None:
    with senders(RED, BLUE) as (red, blue):
        options = {"resume": True, "sources": {"blue": blue.source}}
        with PictureShow(tmp_path, red.source, SIZE, **options) as show:
            osc(show, "/lcm/source", "blue")
            show.frame(is_colour(BLUE))
            wait_for(lambda: '"blue"' in show.daemon.kept(), 20, "the resume file")
            show.daemon.process.kill()
            show.daemon.process.wait()
        with PictureShow(tmp_path, red.source, SIZE, **options) as show:
            show.frame(is_colour(BLUE))
            assert not any(is_colour(RED)(frame) for frame in show.frames(1.0))
            assert "source 'blue'" in show.daemon.log()


@pytest.mark.parametrize("extra", [
    {}, {"parameters": {"feedback": 0.5, "noise": "walking"}, "guide": {"transport": "testcard"}},
])
def test_a_silent_sender_is_held_and_a_lost_one_fails_in_every_mode_that_needs_an_input(
    tmp_path: Path, extra: dict[str, Any]
) -> None:
    Image.new("RGB", SIZE, GREEN).save(tmp_path / "slate.png")
    output = {"failsafe": "slate", "hold_seconds": 1, "slate": "slate.png"}
    with Sender(RED, rate=0.0) as sender, PictureShow(
        tmp_path, {**sender.source, "after": 1}, SIZE, output=output, **extra
    ) as show:
        show.frame(is_colour(RED))
        wait_status(show, "source", "unchanged for 3 s")
        assert show.daemon.status()["failsafe"] is False
        assert all(is_colour(RED)(frame) for frame in show.frames(0.5))
        osc(show, "/lcm/strength", 0.2)  # another value is rendered from the frame that is held
        osc(show, "/lcm/mode", "text")
        sender.close()
        time.sleep(2.0)
        assert show.daemon.status()["failsafe"] is False, "mode text needs no input"
        osc(show, "/lcm/mode", "image")
        show.frame(is_colour(GREEN))
        wait_for(lambda: show.daemon.status()["failsafe"], 10, "the failsafe")
        if not extra:
            with Sender(BLUE) as other:
                osc(show, "/lcm/source", f"memory {other.name}")
                show.frame(is_colour(BLUE))
                wait_for(lambda: not show.daemon.status()["failsafe"], 10, "the end of the failsafe")


def test_unchanged_can_mean_lost(tmp_path: Path) -> None:
    Image.new("RGB", SIZE, GREEN).save(tmp_path / "slate.png")
    output = {"failsafe": "slate", "hold_seconds": 0.5, "slate": "slate.png"}
    with Sender(RED, rate=0.0) as sender, PictureShow(
        tmp_path, {**sender.source, "unchanged": "lost", "after": 2}, SIZE, output=output
    ) as show:
        show.frame(is_colour(RED))
        began = time.perf_counter()
        show.frame(is_colour(GREEN))
        assert 1.0 < time.perf_counter() - began < 5.0


def read_video(path: Path) -> list[Pixels]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]


def test_sinks_are_switched_and_recordings_start_and_stop(tmp_path: Path) -> None:
    other = f"other{os.getpid()}"
    with Sender(RED) as sender, PictureShow(tmp_path, sender.source, SIZE, sinks=[
        {"transport": "memory", "name": other},
        {"transport": "record", "path": "take.mp4", "keep_free": 0, "idle": True},
        {"transport": "record", "path": "edit.mov", "codec": "prores4444", "keep_free": 0, "idle": True},
    ]) as show:
        memory = load("memory").source
        assert memory is not None
        receiver = memory({"name": other})
        receiver.open()
        wait_for(lambda: receiver.read(0.1), 20, "the other sink")
        osc(show, f"/lcm/sink/{other}", 0)
        wait_status(show, "sinks", f"memory {other}: off")
        wait_for(lambda: receiver.read(0.3) is None, 10, "its end")
        show.frame(is_colour(RED))
        osc(show, f"/lcm/sink/{other}", 1.0)
        wait_for(lambda: receiver.read(0.3), 10, "its return")
        receiver.close()
        assert not list(tmp_path.glob("take*"))
        for number in (1, 2):
            osc(show, "/lcm/record/start", 1)
            wait_for(lambda: len(list(tmp_path.glob("take*"))) == number, 10, "the take")  # noqa: B023
            time.sleep(1.0)
            osc(show, "/lcm/record/stop", 1)
            wait_status(show, "sinks", "take.mp4: off")
            time.sleep(0.5)
        for name in ("take.mp4", "take-2.mp4", "edit.mov", "edit-2.mov"):
            frames = read_video(tmp_path / name)
            assert 12 <= len(frames) <= 75, name
            assert is_colour(RED)(frames[-1]), name
        with av.open(str(tmp_path / "edit.mov")) as container:
            assert container.streams.video[0].codec_context.profile == "4444"
        assert "Traceback" not in show.daemon.log()


def test_a_guide_is_changed_live_and_shapes_the_picture(tmp_path: Path) -> None:
    """The ControlNet of the built-in model gets its outlines from the guide."""
    for name, colour in (("grey", (90, 90, 90)), ("none", (0, 0, 0)), ("square", (0, 0, 0))):
        picture = Image.new("RGB", (128, 128), colour)
        if name == "square":
            picture.paste((255, 255, 255), (32, 32, 96, 96))
            picture.paste((0, 0, 0), (35, 35, 93, 93))
        picture.save(tmp_path / f"{name}.png")
    net = Path(lcm_daemon.__file__).parent / "models" / "builtin" / "controlnet"
    control = {"name": "shape", "model": str(net), "preprocessor": "none", "source": "guide", "weight": 1.0}
    recipe = {"base": "builtin", "size": [128, 128], "device": "cpu", "accelerate": "none", "controlnets": [control]}

    def file(name: str) -> dict[str, str]:
        return {"transport": "file", "path": f"{name}.png"}

    with PictureShow(
        tmp_path, file("grey"), (128, 128), recipe=recipe, guide=file("square"), sources={"none": file("none")},
        cues=[{"name": "back", "guide": "show"}], output={"crossfade": 0.2},
    ) as show:
        show.daemon.wait_rendering(180)
        first = settled(show)
        osc(show, "/lcm/guide", "none")
        wait_status(show, "guide", "none (file")
        show.frame(lambda pixels: np.abs(pixels - first).max() > 20)
        osc(show, "/lcm/guide", "nowhere")
        wait_status(show, "error", "guide: no source 'nowhere'")
        osc(show, "/lcm/cue/go")
        wait_status(show, "guide", "square.png")
        show.frame(lambda pixels: np.abs(pixels - first).max() <= 1)
        assert "Traceback" not in show.daemon.log()


def settled(show: PictureShow) -> NDArray[np.int_]:
    """The picture, int (H, W, 4), once it has not changed for a second."""
    for _ in range(40):
        frames = show.frames(1.0)
        if frames and np.array_equal(frames[0], frames[-1]):
            return frames[-1].astype(int)
    raise AssertionError("the picture does not settle")


def test_stream_batch_without_an_input_goes_to_the_failsafe(tmp_path: Path) -> None:
    Image.new("RGB", SIZE, GREEN).save(tmp_path / "slate.png")
    output = {"failsafe": "slate", "hold_seconds": 1, "slate": "slate.png"}
    recipe = {"base": "builtin", "stream_batch": True, "size": [64, 64], "device": "cpu"}
    with Sender(RED) as sender, PictureShow(
        tmp_path, sender.source, SIZE, recipe=recipe, output=output, parameters={"steps": 3}
    ) as show:
        show.daemon.wait_rendering(180)
        assert show.daemon.status()["failsafe"] is False
        sender.close()
        show.frame(is_colour(GREEN))
        wait_for(lambda: show.daemon.status()["failsafe"], 10, "the failsafe")
        with Sender(BLUE) as other:
            osc(show, "/lcm/source", f"memory {other.name}")
            wait_for(lambda: not show.daemon.status()["failsafe"], 20, "the end of the failsafe")
            show.frame(lambda pixels: not is_colour(GREEN)(pixels))
