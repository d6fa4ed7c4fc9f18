"""What every source and sink of a running daemon can be told: placement, alpha, and names that are taken."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import simplejpeg
from PIL import Image
from pythonosc.udp_client import SimpleUDPClient

from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.transports import load
from tests.rigs.daemon import wait_for
from tests.rigs.picture_show import PictureShow

SIZE = (128, 72)
RED, GREEN, BLUE, OCHRE = (200, 20, 20, 255), (20, 200, 20, 255), (20, 20, 200, 255), (200, 180, 40, 255)
NEAR = 3  # steps of 255; a page's or a recording's patch is within 12


def quarters(size: tuple[int, int]) -> Pixels:
    pixels, (width, height) = solid(size, RED), size
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = OCHRE
    return pixels


def shows(*colours: tuple[int, ...]) -> Callable[[Pixels], bool]:
    """Whether the middles of the quarters have these colours, from the top left to the bottom right."""
    def condition(pixels: Pixels) -> bool:
        height, width = pixels.shape[:2]
        found = [pixels[y, x].astype(int) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
        return bool(np.abs(np.subtract(found, colours)).max() <= NEAR)

    return condition


def save(pixels: Pixels, path: Path) -> str:
    Image.fromarray(pixels).save(path)
    return str(path)


def hidden() -> Pixels:
    """A red disc on green that alpha hides, larger than the output."""
    y, x = np.mgrid[:288, :512]
    pixels = solid((512, 288), (0, 255, 0, 0))
    pixels[(x - 256) ** 2 + (y - 144) ** 2 < 100**2] = (255, 0, 0, 255)
    return pixels


def newest_of_page(show: PictureShow) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{show.daemon.panel_port}/frame.jpg", timeout=5) as answer:
        return simplejpeg.decode_jpeg(answer.read())


def on_black(rgb: Any) -> bool:
    """Whether the disc is red and the corner black, as JPEG and H.264 have them."""
    return bool(np.abs(rgb[36, 64].astype(int) - (255, 0, 0)).max() <= 12 and rgb[4, 4].max() <= 12)


def test_pictures_are_turned_mirrored_and_aligned(tmp_path: Path) -> None:
    plain = {"transport": "file", "path": save(quarters(SIZE), tmp_path / "quarters.png")}
    tall = {"transport": "file", "path": save(quarters((128, 216)), tmp_path / "tall.png")}
    upright = {"transport": "file", "path": save(quarters((72, 128)), tmp_path / "upright.png")}
    cases: dict[str, tuple[dict[str, Any], tuple[tuple[int, ...], ...]]] = {
        "mirrored": ({**plain, "mirror": True}, (GREEN, RED, OCHRE, BLUE)),
        "flipped": ({**plain, "flip": True}, (BLUE, OCHRE, RED, GREEN)),
        "upside-down": ({**plain, "turn": 180}, (OCHRE, BLUE, GREEN, RED)),
        "right": ({**upright, "turn": 90}, (BLUE, RED, OCHRE, GREEN)),
        "left": ({**upright, "turn": 270}, (GREEN, OCHRE, RED, BLUE)),
        "both": ({**upright, "turn": 90, "mirror": True}, (RED, BLUE, GREEN, OCHRE)),
        "top": ({**tall, "align": "top"}, (RED, GREEN, RED, GREEN)),
        "bottom": ({**tall, "align": "bottom"}, (BLUE, OCHRE, BLUE, OCHRE)),
        "middle": (tall, (RED, GREEN, BLUE, OCHRE)),
    }
    named = {name: source for name, (source, _) in cases.items()}
    with PictureShow(tmp_path, plain, SIZE, sources=named, output={"crossfade": 0}) as show:
        show.frame(shows(RED, GREEN, BLUE, OCHRE))
        for name, (_, colours) in cases.items():
            SimpleUDPClient("127.0.0.1", show.daemon.osc_port).send_message("/lcm/source", name)
            show.frame(shows(*colours))


def test_transparent_pictures(tmp_path: Path) -> None:
    """Hidden green never bleeds, and page and recordings show black where the picture is transparent."""
    multiplied, movie = f"multiplied{os.getpid()}", tmp_path / "take.mkv"
    sinks = [{"transport": "memory", "name": multiplied, "alpha": "premultiplied"},
             {"transport": "record", "path": str(movie)}]
    named = {"premultiplied": {"transport": "file", "path": save(solid(SIZE, (100, 50, 0, 128)), tmp_path / "half.png"),
                               "alpha": "premultiplied"},
             "opaque": {"transport": "file", "path": save(solid(SIZE, (10, 200, 90, 0)), tmp_path / "zero.png"),
                        "alpha": "ignore"}}
    memory = load("memory").source
    assert memory is not None
    source = {"transport": "file", "path": save(hidden(), tmp_path / "hidden.png")}
    with PictureShow(tmp_path, source, SIZE, sources=named, output={"crossfade": 0}, sinks=sinks) as show:
        pixels = show.frame(lambda pixels: pixels[36, 64, 0] == 255 and pixels[0, 0, 3] == 0)
        edge = pixels[(pixels[..., 3] > 0) & (pixels[..., 3] < 255)]
        assert len(edge) > 30
        assert edge[:, 1].max() <= NEAR
        wait_for(lambda: on_black(newest_of_page(show)), 10, "the picture on black")
        osc = SimpleUDPClient("127.0.0.1", show.daemon.osc_port)
        osc.send_message("/lcm/source", "premultiplied")
        show.frame(shows(*[(199, 100, 0, 128)] * 4))
        sink = memory({"name": multiplied})
        sink.open()
        wait_for(lambda: (frame := sink.read(0.5)) and shows(*[(100, 50, 0, 128)] * 4)(frame.pixels))
        sink.close()
        osc.send_message("/lcm/source", "opaque")
        show.frame(shows(*[(10, 200, 90, 255)] * 4))
    with av.open(str(movie)) as container:
        recorded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert any(on_black(frame) for frame in recorded)
    assert not any(frame[4, 4].tolist() == pytest.approx([0, 255, 0], abs=40) for frame in recorded)


def test_names_that_are_taken_or_not_there_yet(tmp_path: Path) -> None:
    late, taken = f"late{os.getpid()}", f"taken{os.getpid()}"
    sink_type = load("memory").sink
    assert sink_type is not None
    empty = Path("/dev/shm", f"lcm.{late}")
    first, sender = sink_type({"name": taken}), sink_type({"name": late})
    first.open(SIZE, 30.0)
    try:
        empty.touch()  # a sender is being started: its segment has no size yet
        sinks = [{"transport": "memory", "name": taken}]
        with PictureShow(tmp_path, {"transport": "memory", "name": late}, SIZE, sinks=sinks) as show:
            wait_for(lambda: "has the name" in show.daemon.log(), 20, "the refusal in the log")
            first.write(Frame(solid(SIZE, GREEN), 0, 0.0))  # it still has its name
            empty.unlink()
            sender.open(SIZE, 30.0)

            def is_shown(pixels: Pixels) -> bool:
                sender.write(Frame(solid(SIZE, RED), 0, 0.0))
                return shows(*[RED] * 4)(pixels)

            show.frame(is_shown)
            log = show.daemon.log()
            assert f"another sink of process {os.getpid()} has the name '{taken}'; give one another name" in log
            assert f"memory {late}" not in "".join(line for line in log.splitlines() if "WARN" in line)
            first.close()
            again = load("memory").source
            assert again is not None
            receiver = again({"name": taken})
            receiver.open()
            wait_for(lambda: (frame := receiver.read(0.5)) and frame.size == SIZE, 20, "the daemon's sink")
            receiver.close()
    finally:
        empty.unlink(missing_ok=True)
        first.close()
        sender.close()
