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

import numpy as np
import psutil
import pytest

from lcm_daemon.board import Call, Change, Pending
from lcm_daemon.controllers.osc_send import send
from lcm_daemon.frame import Frame, solid
from lcm_daemon.player import Player
from lcm_daemon.recipe import Recipe
from lcm_daemon.recipe_parts import Lora
from lcm_daemon.show import load_show
from lcm_daemon.stage import Stage
from lcm_daemon.transports import load
from lcm_daemon.transports.base import Sink, Source
from lcm_daemon.transports.testcard import read_stamp
from tests.conftest import ManualClock, need
from tests.daemon import Daemon, free_port, wait_for

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
        "sinks": [{"transport": "memory", "name": f"{BUS}out"}], **more,
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
    with Daemon(tmp_path, show(engine={"deadline": 1})) as daemon:
        daemon.wait_rendering()
        accidents: list[Callable[[], int]] = [
            lambda: daemon.signal_engine(signal.SIGKILL),
            daemon.kill_desk,
            lambda: daemon.signal_engine(signal.SIGSTOP),
        ]
        for accident in accidents:
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_five_seconds_and_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    with Daemon(tmp_path, show(sinks=[])) as daemon:
        daemon.wait_rendering()
        family = psutil.Process(daemon.process.pid).children(recursive=True)
        assert len(family) >= 3  # an engine, its spare, a desk
        begun = time.perf_counter()
        daemon.process.send_signal(number)
        assert daemon.process.wait(10) == 0, daemon.log()
        assert time.perf_counter() - begun < 5.0
    wait_for(lambda: not any(child.is_running() for child in family), 5, "the end of every child")
    if os.path.isdir("/dev/shm"):
        assert {name for name in set(os.listdir("/dev/shm")) - before if name.startswith("psm_")} == set()
    assert "Traceback" not in daemon.log()


def test_a_second_ctrl_c_kills(tmp_path: Path) -> None:
    """A daemon whose orderly end takes for ever: the first signal alone would not end it."""
    stuck = (sys.executable, "-c", "import sys, time, lcm_daemon.stage as s, lcm_daemon.cli as c\n"
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
        assert daemon.log().count("space left") < 10
        assert daemon.status()["engine"] == "rendering"


class PatientEngine:
    """Stands where an EngineSupervisor does; takes a frame whenever the test says that it wants one."""

    def __init__(self) -> None:
        self.wanted, self.pid = False, 1
        self.taken: list[tuple[Frame, dict[str, Any]]] = []
        self.guides: list[Frame | None] = []
        self.coming: list[Frame] = []
        self.fallen, self.failure = False, None

    def submit(self, frame: Frame, values: dict[str, Any], now: float, guide: Frame | None = None) -> bool:
        self.taken.append((frame, values))
        self.guides.append(guide)
        self.wanted = False
        return True

    def step(self, now: float) -> Frame | None:
        return self.coming.pop(0) if self.coming else None


class Still:
    """Stands where a SourceRunner does."""

    def __init__(self, value: int) -> None:
        self.newest: Frame | None = Frame(solid((64, 64), (value, 0, 0, 255)), 0, 999.0)


@pytest.fixture
def stage(tmp_path: Path, clock: ManualClock) -> Stage:
    file = tmp_path / "show.yaml"
    file.write_text("{recipe: passthrough, output: {size: [64, 64]}, osc: false, panel: false}")
    stage = Stage(load_show(file, environment={}), clock)
    stage.changeover.playing.engines = [PatientEngine()]  # type: ignore[list-item]
    stage.source = Still(10)  # type: ignore[assignment]
    return stage


def engines(stage: Stage) -> list[Any]:
    return stage.changeover.playing.engines


def feed(stage: Stage) -> list[tuple[Frame, dict[str, Any]]]:
    """Let the engine want a frame, and return what it got this time."""
    engine = engines(stage)[0]
    before = len(engine.taken)
    engine.wanted = True
    stage._feed()
    return list(engine.taken[before:])


def test_the_newest_value_rides_with_the_next_frame(stage: Stage, clock: ManualClock) -> None:
    feed(stage)
    for value in (0.1, 0.9, 0.3):  # a flood: what counts is the moment of handing over
        stage._obey(Pending({"strength": Change("strength", value, "osc")}), clock.now())
    ((frame, values),) = feed(stage)
    assert values["strength"] == 0.3
    assert frame.time == clock.now(), "the same input again: its age does not count as latency"


def test_nothing_is_rendered_twice_from_the_same_input_and_values(stage: Stage, clock: ManualClock) -> None:
    assert len(feed(stage)) == 1
    assert feed(stage) == []
    stage.source.newest = Frame(solid((64, 64)), 1, 1000.0)  # type: ignore[union-attr]
    ((frame, _),) = feed(stage)
    assert (frame.number, frame.time) == (1, 1000.0)


def test_a_new_engine_gets_what_the_old_one_had(stage: Stage) -> None:
    feed(stage)
    assert feed(stage) == []
    engines(stage)[0].pid = 2
    assert len(feed(stage)) == 1


def test_two_engines_never_paint_the_same_picture_twice(stage: Stage) -> None:
    second: Any = PatientEngine()
    second.pid = 2
    engines(stage).append(second)
    assert len(feed(stage)) == 1
    second.wanted = True
    assert feed(stage) == []
    assert second.taken == []
    stage.source.newest = Frame(solid((64, 64)), 1, 1000.0)  # type: ignore[union-attr]
    stage._feed()  # both want it by now; the first one gets it
    assert [len(engine.taken) for engine in engines(stage)] == [2, 0]


def test_two_players_are_fed_each_with_its_own_newest(stage: Stage) -> None:
    """As in a crossfade: what the one has had is news to the other."""
    coming: Any = Player(stage.show.recipe, [PatientEngine()], stage.parameters.targets(), stage.health)  # type: ignore[list-item]
    coming.engines[0].pid = 2
    stage.changeover.coming = coming
    for _ in range(2):
        coming.engines[0].wanted = True
        feed(stage)
    assert [len(engines(stage)[0].taken), len(coming.engines[0].taken)] == [1, 1]


def test_the_guide_rides_along_and_a_new_one_is_a_new_picture(stage: Stage) -> None:
    stage.guide = Still(0)  # type: ignore[assignment]
    guide = stage.guide.newest
    feed(stage)
    assert feed(stage) == []
    stage.guide.newest = Frame(solid((64, 64)), 1, 1000.0)
    assert len(feed(stage)) == 1
    assert engines(stage)[0].guides == [guide, stage.guide.newest]


def test_text_to_image_needs_no_input_and_paints_once_a_beat(stage: Stage, clock: ManualClock) -> None:
    stage.source = None
    assert feed(stage) == []
    stage._obey(Pending({"mode": Change("mode", "text", "osc")}), clock.now())
    assert len(feed(stage)) == 1
    assert feed(stage) == []
    stage._tick()
    assert len(feed(stage)) == 1


@pytest.mark.parametrize(("name", "value"), [("noise", "walking"), ("feedback", 0.5)])
def test_what_moves_by_itself_is_painted_once_a_beat(stage: Stage, name: str, value: float | str) -> None:
    stage._obey(Pending({name: Change(name, value, "osc")}), 1000.0)
    assert len(feed(stage)) == 1
    assert feed(stage) == []
    stage._tick()
    assert len(feed(stage)) == 1


def test_a_recipes_parameters_come_and_go_and_keep_their_values(stage: Stage, clock: ManualClock) -> None:
    ink = Recipe("ink", loras=(Lora("a/b", name="ink"),), parameters={"lora/ink": 0.5, "steps": 4, "guidance": 2.0})
    first = stage.changeover.playing
    second = Player(ink, first.engines, stage.show.start(ink), stage.health)
    stage._obey(Pending({"steps": Change("steps", 1, "osc")}), clock.now())
    stage.changeover.playing = second
    stage._attend()
    now = stage.parameters.targets()
    assert (now["lora/ink"], now["steps"], now["guidance"]) == (0.5, 1, 2.0), "what nobody has moved follows the recipe"
    stage._obey(Pending({"lora/ink": Change("lora/ink", 1.5, "osc")}), clock.now())
    assert feed(stage)[-1][1]["lora/ink"] == 1.5
    stage.changeover.playing = first
    stage._attend()
    stage._obey(Pending({"lora/ink": Change("lora/ink", 0.1, "osc")}), clock.now())
    assert "lora/ink" not in stage.parameters.targets()
    stage.changeover.playing = second
    stage._attend()
    assert stage.parameters.targets()["lora/ink"] == 1.5


def test_commands_change_recipe_and_size(stage: Stage, clock: ManualClock) -> None:
    stage._obey(Pending(commands=[Call("size", "osc", (387, 64))]), clock.now())
    assert (stage.changeover.wanted.name, stage.changeover.wanted.size) == ("passthrough", (384, 64))
    stage._obey(Pending(commands=[Call("recipe", "osc", ("sd-turbo",))]), clock.now())
    assert (stage.changeover.wanted.name, stage.changeover.wanted.size) == ("sd-turbo", (512, 512))
    stage._obey(Pending(commands=[Call("size", "osc", (256, 256))]), clock.now())
    assert (stage.changeover.wanted.name, stage.changeover.wanted.size) == ("sd-turbo", (256, 256))


def test_a_late_frame_of_another_engine_is_dropped_and_counted(stage: Stage, clock: ManualClock) -> None:
    newer, older = Frame(solid((64, 64)), 5, 1000.0), Frame(solid((64, 64)), 4, 1000.0)
    engines(stage)[0].coming = [newer, older]
    stage._attend()
    stage._attend()
    assert stage.changeover.playing.rendered is newer
    assert stage.health.total("dropped/rendered") == 1


def test_panic_returns_to_the_shows_values(stage: Stage, clock: ManualClock) -> None:
    stage._obey(Pending({"strength": Change("strength", 1.0, "osc"), "freeze": Change("freeze", True, "osc")}), 1000.0)
    stage._obey(Pending(commands=[Call("panic", "osc")]), clock.now())
    assert stage.parameters.targets() == stage.parameters.evaluate(clock.now())
    assert stage.parameters.targets()["strength"] == 0.6
    assert stage.parameters.targets()["freeze"] is False


def test_a_fault_in_every_tick_stops_nothing_and_fills_no_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.failsafe.choose = None  # type: ignore[assignment, method-assign]
    for _ in range(1000):
        stage._tick()
    assert stage.health.total("tick/failed") == 1000
    assert len(caplog.records) == 10
