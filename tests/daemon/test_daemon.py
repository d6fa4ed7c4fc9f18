"""The whole daemon in a process of its own, on the memory bus: what goes in comes out, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from lcm_daemon.controllers.osc.sender import send
from lcm_daemon.core.frame import Frame
from lcm_daemon.processes.bootstrap import termination_signals
from lcm_daemon.transports import load
from lcm_daemon.transports.base import Sink, Source
from lcm_daemon.transports.testcard import read_stamp
from tests.conftest import need
from tests.rigs.daemon import Daemon, free_port, wait_for

BUS = f"test{os.getpid()}"


def end(kind: type[Source] | type[Sink] | None, name: str) -> Any:
    assert kind is not None
    return kind({"name": f"{BUS}{name}"})


@pytest.fixture
def out() -> Iterator[Source]:
    """What the audience sees."""
    source: Source = end(load("memory").source, "out")
    source.open()
    yield source
    source.close()


def show(**more: Any) -> dict[str, Any]:
    return {
        "recipe": "passthrough", "output": {"size": [256, 256], "fps": 60, "hold_seconds": 0.5},
        "source": {"transport": "testcard", "size": [256, 256]},
        "sinks": [{"transport": "memory", "name": f"{BUS}out"}], "engine": {"spare": True}, **more,
    }


def watch(out: Source, until: Callable[[list[Frame]], object], seconds: float = 30.0) -> list[Frame]:
    """Receive until the condition holds; fails if no picture comes for a second."""
    frames: list[Frame] = []
    last = stop = time.perf_counter()
    while not until(frames):
        frame = out.read(0.05)
        now = time.perf_counter()
        assert now < stop + seconds
        if frame is not None:
            frames.append(frame)
            last = now
        assert not frames or now - last < 1.0, "the picture stopped"
    return frames


def test_the_picture_goes_on_while_engine_and_desk_die(tmp_path: Path, out: Source) -> None:
    with Daemon(tmp_path, show(engine={"deadline": 1, "in_flight": 3})) as daemon:
        daemon.wait_rendering()
        wait_for(lambda: daemon.status()["engine_latency"] > 0, 20, "the time from a request to its result")
        assert daemon.status()["in_flight"] == 1, "passthrough renders one frame at a time"
        accidents: list[Callable[[], int]] = [
            lambda: daemon.signal_engine(signal.SIGKILL),
            daemon.kill_desk,
            lambda: daemon.signal_engine(signal.SIGSTOP),
        ]
        for accident in accidents:
            daemon.wait_rendering()  # an engine that stops while it loads is given the time that a load may take
            pid = accident()
            back = time.perf_counter() + 60
            frames: list[Frame] = []
            while not daemon.status() or daemon.status()["replaced"] == 0 or daemon.status()["engine_pid"] in (0, pid):
                assert time.perf_counter() < back
                frames += watch(out, lambda seen: len(seen) >= 5)
            assert all(f.pixels[..., :3].mean() > 8 for f in frames), "no black picture"
            numbers = [f.number for f in frames]
            assert numbers == sorted(numbers)
        stamps = {s.number for f in watch(out, lambda seen: len(seen) >= 20) if (s := read_stamp(f.pixels))}
        assert len(stamps) > 5, "it renders again, new pictures of the test card"


def test_an_osc_value_is_in_the_picture_and_echoed(tmp_path: Path, out: Source) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as subscriber:
        subscriber.bind(("127.0.0.1", 0))
        subscriber.settimeout(20)
        feedback = f"127.0.0.1:{subscriber.getsockname()[1]}"
        ports = free_port(socket.SOCK_DGRAM)
        with Daemon(tmp_path, show(osc={"port": ports, "feedback": [feedback]})) as daemon:
            daemon.wait_rendering()
            send("/lcm/freeze", ["1"], "127.0.0.1", ports)
            wait_for(lambda: b"/lcm/freeze\0" in subscriber.recv(4096), what="the echo of freeze")
            frozen = watch(out, lambda seen: len(seen) >= 20)[5:]
            assert all(np.array_equal(f.pixels, frozen[0].pixels) for f in frozen)
            send("/lcm/panic", [], "127.0.0.1", ports)
            watch(out, lambda seen: len(seen) > 1 and not np.array_equal(seen[-1].pixels, frozen[0].pixels))
            wait_for(lambda: b"/lcm/status/fps\0" in subscriber.recv(4096), what="the status")


def test_an_absent_source_shows_the_slate_and_is_found_when_it_comes(tmp_path: Path, out: Source) -> None:
    settings = show(source={"transport": "memory", "name": f"{BUS}in"})
    with Daemon(tmp_path, {**settings, "output": {**settings["output"], "failsafe": "slate"}}):
        slate = watch(out, lambda seen: len(seen) >= 3)[-1].pixels
        assert slate[..., :3].mean() > 8
        sender: Sink = end(load("memory").sink, "in")
        for size, value in (((64, 64), 90), ((320, 240), 200)):  # it comes, goes, and comes back with another size
            sender.open(size, 30.0)
            picture = np.full((size[1], size[0], 4), value, np.uint8)
            seen: list[Frame] = []
            for number in range(2000):
                sender.write(Frame(picture, number, time.perf_counter()))
                seen = watch(out, lambda frames: len(frames) >= 1)
                if seen[-1].pixels.min() == seen[-1].pixels.max() == value:
                    break
            assert seen[-1].pixels.min() == value
            sender.close()
            watch(out, lambda frames: frames and np.array_equal(frames[-1].pixels, slate))


def mapped_segments(processes: list[psutil.Process]) -> set[str]:
    """The shared memory that these processes have mapped: other tests beside this one have some too."""
    if sys.platform != "linux":
        return set()
    maps = (part.path for process in processes for part in process.memory_maps())
    return {path for path in maps if path.startswith("/dev/shm/lcmd-")}


@pytest.mark.parametrize("number", termination_signals())
def test_it_ends_within_five_seconds_and_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    with Daemon(tmp_path, show(sinks=[])) as daemon:
        daemon.wait_rendering()
        family = psutil.Process(daemon.process.pid).children(recursive=True)
        assert len(family) >= 3  # an engine, its spare, a desk
        segments = mapped_segments([psutil.Process(daemon.process.pid), *family])
        assert segments or sys.platform != "linux"
        begun = time.perf_counter()
        daemon.process.send_signal(number)
        assert daemon.process.wait(10) == 0, daemon.log()
        assert time.perf_counter() - begun < 5.0
    wait_for(lambda: not any(child.is_running() for child in family), 5, "the end of every child")
    wait_for(lambda: not any(os.path.exists(path) for path in segments), 5, "the end of every segment")
    assert "Traceback" not in daemon.log()


def test_a_second_ctrl_c_kills(tmp_path: Path) -> None:
    """A daemon whose orderly end takes for ever: the first signal alone would not end it."""
    stuck = (sys.executable, "-c", "import sys, time, lcm_daemon.stage.stage as s, lcm_daemon.cli as c\n"
             "s.Stage._close = lambda self: time.sleep(3600)\nsys.exit(c.main(sys.argv[4:]))")
    with Daemon(tmp_path, show(sinks=[]), stuck) as daemon:
        daemon.wait_rendering()
        family = psutil.Process(daemon.process.pid).children(recursive=True)
        daemon.process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(2)
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(5) == 130
    wait_for(lambda: not any(child.is_running() for child in family), 5, "the end of every child")


def test_children_follow_a_stage_that_is_killed(tmp_path: Path) -> None:
    with Daemon(tmp_path, show(sinks=[])) as daemon:
        daemon.wait_rendering()
        family = psutil.Process(daemon.process.pid).children(recursive=True)
        daemon.process.kill()
        daemon.process.wait(10)
    wait_for(lambda: not any(child.is_running() for child in family), 10, "the end of every child")


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def test_a_full_disk_ends_the_recording_and_nothing_else(tmp_path: Path, out: Source) -> None:
    mounts = shutil.which("unshare") and not subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode
    need(bool(mounts), "a small disk needs the right to mount one (root on Linux)")
    disk = tmp_path / "disk"
    disk.mkdir()
    settings = show()
    settings["sinks"] = [*settings["sinks"], {"transport": "record", "path": str(disk / "take.mkv"), "keep_free": 0}]
    small = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=64k tmpfs {disk} && exec "$@"', "sh")
    with Daemon(tmp_path, settings, small) as daemon:
        wait_for(lambda: "space left" in daemon.log(), 60, "a line that says the disk is full")
        watch(out, lambda seen: len(seen) >= 60)
        wait_for(lambda: "space left on device (4 times)" in daemon.log(), 60, "further tries")
        takes = list(Path(f"/proc/{daemon.process.pid}/root{disk}").iterdir())  # as the daemon sees the disk
        assert [take.name for take in takes if not frames_of(take)] == [], "no try leaves an empty file"
        assert daemon.log().count("space left") < 10
        assert daemon.status()["engine"] == "rendering"
