"""What a soak sets up: the copy of the show, its sender, a control, a recorder of both outputs, an observer."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil
import yaml

from lcm_daemon.commands.soak.engine_faults import DamagedWeights, broken_recipes, link_cache
from lcm_daemon.commands.soak.input_sender import InputSender, Sending
from lcm_daemon.commands.soak.observer import Observer
from lcm_daemon.commands.soak.output_recorder import OutputRecorder
from lcm_daemon.commands.soak.scene import Fault, Scene
from lcm_daemon.commands.soak.soaked_show import SoakedShow, soaked_overrides, two_ports
from lcm_daemon.commands.soak.timeline import Timeline
from lcm_daemon.core.errors import EngineError
from lcm_daemon.core.paths import cache_folder
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show

START_SECONDS = 900.0  # for the first picture: a recipe may be compiled
SAMPLES = 720  # of the processes in a whole soak
SHORTEST_SAMPLE, LONGEST_SAMPLE = 1.0, 60.0  # seconds between two of them
MOST_FPS = 60.0  # that the sender sends
CONTROL_SERVICE = 0.5  # seconds that the control's engine waits for a frame, without a processor
SHOWN, CONTROL = "show", "control"  # names of the outputs


class Stand:
    """Everything that plays during a soak, while used as a context manager.

    Args:
        name: The show: its file or name.
        overrides: What `--set` changes of it.
        seconds: How long it will play.
        faults: What will be caused.
        transport: How frames go in and out: "memory" or "ndi".
        own_source: Whether the copy plays the show's own source.
        folder: An empty folder.

    Raises:
        LcmDaemonError: The show has mistakes, or it renders no picture.
    """

    def __init__(
        self, name: str, overrides: Sequence[str], seconds: float, faults: Sequence[Fault], transport: str,
        own_source: bool, folder: Path,
    ) -> None:
        bus = f"soak{os.getpid()}"
        is_damaged = any(isinstance(each, DamagedWeights) for each in faults)
        given = [*overrides, *(broken_recipes(folder) if is_damaged else [])]
        self.checked = load_show(name, given)
        self.interval, self.load = 1 / self.checked.fps, system_load()
        self._every = min(max(seconds / SAMPLES, SHORTEST_SAMPLE), LONGEST_SAMPLE)
        self._span = 10.0 if seconds <= 2 * 3600 else 60.0
        source = "" if own_source or not self.checked.source else f"{{transport: {transport}, name: {bus}in}}"
        sending = Sending(f"{bus}in", self.checked.size, min(self.checked.fps, MOST_FPS))
        self.sender = InputSender(transport, sending) if source else None
        ports = two_ports()
        sinks = _sinks(transport, bus, folder, shows_window=any(each.name == "display-hung" for each in faults))
        changed = [*given, *soaked_overrides(self.checked, bus, source, ports, sinks)]
        load_show(self.checked.file, changed)  # a mistake is said before anything is started
        self.show = SoakedShow(self.checked.file, changed, ports, folder / "copy",
                               {"SDL_VIDEODRIVER": "dummy", "LCM_DAEMON_CACHE": str(folder / "copy" / "cache")})
        link_cache(cache_folder(), self.show.cache)
        self._control = SoakedShow(str(_write_control(folder, self.checked, f"{bus}c")), [], two_ports(),
                                   folder / "control")
        self._outputs = {SHOWN: (transport, f"{bus}out"), CONTROL: ("memory", f"{bus}c")}
        self._second, self._folder, self._stack = f"{bus}b", folder, ExitStack()

    def __enter__(self) -> Stand:
        with ExitStack() as starting:
            self._recorder = OutputRecorder(self._outputs)
            starting.callback(self._recorder.stop)
            if self.sender is not None:
                self.sender.start()
                starting.callback(self.sender.stop)
            for each in (self._control, self.show):
                each.start()
                starting.callback(each.stop)
            self.observer = Observer(self.show, self._every)
            self.observer.start()
            starting.callback(self.observer.stop)
            self._wait_for_pictures()
            self._stack = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _wait_for_pictures(self) -> None:
        """Raises EngineError."""
        begun, seen = time.monotonic(), set[str]()
        while time.monotonic() < begun + START_SECONDS:
            seen |= set(self._recorder.frames())
            if not self.show.is_running:
                raise EngineError("the copy of the show has ended: " + (self.show.log() or ["it logged nothing"])[-1])
            status = self.observer.status_since(begun)
            renders = status.get("engine") == "rendering" and float(status.get("fps") or 0) > 0
            if renders and seen == set(self._outputs):
                return
            time.sleep(0.2)
        missing = ", ".join(sorted(set(self._outputs) - seen)) or "none"
        raise EngineError(f"the copy of the show rendered no picture within {START_SECONDS:g} s (outputs from which no "
                          f"frame came: {missing})")

    def scene(self) -> Scene:
        """What faults act on. The time of the soak begins."""
        now = time.monotonic()
        self._recorder.frames()
        self.shown, self.control = Timeline(now, self._span), Timeline(now, self._span)
        self.observer.samples.clear()
        self.observer.points.clear()
        self.observer.slowest = 0.0
        return Scene(self.show, self.checked, self.sender, self.observer, self.shown, self._folder, self._second,
                     collect=self.collect)

    def collect(self) -> None:
        """Take the frames that have come, and the changes of brightness that were sent."""
        frames = self._recorder.frames()
        self.shown.add(frames.get(SHOWN, ()))
        self.control.add(frames.get(CONTROL, ()))
        if self.sender is not None:
            self.shown.add_edges(time for time, _ in self.sender.edges())
            self.shown.match(time.monotonic())


def system_load() -> float:
    """How many processes wanted a processor in the last minute, on average. A busy machine renders late."""
    return psutil.getloadavg()[0]


def _sinks(transport: str, bus: str, folder: Path, shows_window: bool) -> list[str]:
    """The sinks of the copy, as a show says them."""
    sinks = [f"{{transport: {transport}, name: {bus}out}}", f"{{transport: memory, name: {bus}b}}",
             f"{{transport: record, idle: true, keep_free: 0, path: {str(folder / 'recording-{time}.mp4')!r}}}"]
    if shows_window and importlib.util.find_spec("sdl2"):
        sinks.append("{transport: window, fullscreen: false}")
    return sinks


def _write_control(folder: Path, show: Show, name: str) -> Path:
    """Write a show of the same rate and size that renders nothing: what it misses, the machine itself has missed."""
    file = folder / "control.yaml"
    file.write_text(yaml.safe_dump({
        "name": "control", "source": False,
        "recipe": {"base": "passthrough", "pipeline": "timed_copy", "schedule": {"service": CONTROL_SERVICE}},
        "parameters": {"mode": "text"},
        "output": {"size": list(show.size), "fps": show.fps}, "sinks": [{"transport": "memory", "name": name}],
        "osc": False, "panel": False, "resume": False, "engine": {"spare": False}}), "utf-8")
    return file
