"""Faults of the engine: it is killed, stopped, out of memory, paints no numbers, crashes again and again."""

from __future__ import annotations

import contextlib
import math
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from lcm_daemon.commands.soak.nan_weights import write_model_of_nan, write_model_that_paints_nan
from lcm_daemon.commands.soak.scene import RENDERED_SECONDS, Check, Fault, Scene
from lcm_daemon.commands.soak.signals import CAN_STOP, KILL, STOP

REST_SECONDS = 35.0  # the third engine that ends within a minute of rendering steps down: faults are further apart
REST_OF_TWO = 70.0  # the same before and after a fault that ends two engines
ROOM = 16 << 20  # bytes that an engine may still take, when its memory is limited
BROKEN: Mapping[str, Callable[[Path], Path]] = {  # recipes whose weights are damaged, and what writes those
    "soak-nan": write_model_that_paints_nan, "soak-nan-weights": write_model_of_nan,
}
NAN_SECONDS = 5.0  # for which NaN may play until it is reported
RAISED = ("lora/", "control/")  # parameters that let an engine use more memory
LOOP = 4  # engines that are killed, each as soon as it renders; the third in a minute steps down


class _EngineFault(Fault):
    """An engine that is replaced."""

    rest = REST_SECONDS

    def begin(self, scene: Scene) -> None:
        self._pid, self._begun = scene.pid("engine"), time.monotonic()
        self._hurt(scene)

    def _hurt(self, scene: Scene) -> None:
        raise NotImplementedError

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.renders(since, self._pid)


class EngineSignal(_EngineFault):
    """A signal to the engine."""

    def __init__(self, name: str, does: str, number: int) -> None:
        self.name, self.does, self._number = name, does, number

    def _hurt(self, scene: Scene) -> None:
        scene.signal(self._pid, self._number)


class LoadWithoutMemory(_EngineFault):
    """The next engine gets no memory while it loads."""

    name = "engine-memory-load"
    does = "kills the engine; the next one gets no memory while it loads (RLIMIT_AS)"
    rest = REST_OF_TWO
    hold = 15.0
    limit = 2 * RENDERED_SECONDS  # two engines load, one after the other

    def missing(self, scene: Scene) -> str:
        return _no_limits()

    def _hurt(self, scene: Scene) -> None:
        scene.signal(self._pid, KILL)
        self._limited = 0

    def go_on(self, scene: Scene) -> None:
        following = scene.pid("engine")
        state = str(scene.observer.status_since(self._begun).get("engine", ""))
        if following and not self._limited and following != self._pid and "loading" in state:
            self._limited = following if _limit_memory(following) else 0
            self._pid = self._limited or self._pid

    @property
    def is_done(self) -> bool:
        """Whether an engine is without memory."""
        return bool(self._limited)

    def checks(self, scene: Scene) -> list[Check]:
        return [Check("an engine was without memory", "yes" if self._limited else "no: it was loaded at once", True)]


class FrameWithoutMemory(_EngineFault):
    """The engine gets no more memory while it renders, and has to render more: more steps, LoRAs, ControlNets."""

    name = "engine-memory-frame"
    does = "lets the engine have no more memory for 6 s, and raises steps, LoRAs and ControlNets (RLIMIT_AS)"
    rest = REST_OF_TWO  # the fault before it has ended two engines
    hold = 6.0
    from_undo = True

    def missing(self, scene: Scene) -> str:
        return _no_limits()

    def _hurt(self, scene: Scene) -> None:
        newest = scene.observer.newest
        values = newest.values if newest is not None else {}
        self._values = {name: value for name, value in values.items() if name == "steps" or name.startswith(RAISED)}
        _limit_memory(self._pid, 0)
        for name in self._values:
            scene.show.send(f"/lcm/{name}", 4 if name == "steps" else 0.7)

    def undo(self, scene: Scene) -> None:
        if sys.platform == "linux":
            _limit_memory(self._pid, psutil.RLIM_INFINITY)
        for name, value in self._values.items():
            scene.show.send(f"/lcm/{name}", value)

    def is_over(self, scene: Scene, since: float) -> bool:
        return scene.renders(since)

    def checks(self, scene: Scene) -> list[Check]:
        ended = scene.pid("engine") != self._pid
        return [Check("the engine", "ran out of memory and was replaced" if ended else "needed no more memory", True)]


class DamagedWeights(Fault):
    """A recipe whose weights are damaged. recipe: A key of BROKEN."""

    rest = REST_SECONDS
    hold = 90.0
    from_undo = True

    def __init__(self, name: str, does: str, recipe: str) -> None:
        self.name, self.does, self._recipe = name, does, recipe

    def begin(self, scene: Scene) -> None:
        self._begun, self._said, self._played_at = time.monotonic(), "", math.inf
        scene.show.send("/lcm/recipe", self._recipe)

    def go_on(self, scene: Scene) -> None:
        status = scene.observer.status_since(self._begun + 1.0)
        said = (str(status.get(kind) or "") for kind in ("alarm", "error"))
        self._said = next((text for text in said if f"{self._recipe}: " in text), "")  # not that of another fault
        if status.get("recipe") == self._recipe:
            self._played_at = min(self._played_at, time.monotonic())

    @property
    def is_done(self) -> bool:
        """Whether it was reported, or its pictures have played for some seconds without a report."""
        return bool(self._said) or time.monotonic() > self._played_at + NAN_SECONDS

    def undo(self, scene: Scene) -> None:
        scene.show.send("/lcm/recipe", scene.checked.recipe.name)

    def is_over(self, scene: Scene, since: float) -> bool:
        status = scene.observer.status_since(since)
        return scene.renders(since) and status.get("recipe") == scene.checked.recipe.name

    def checks(self, scene: Scene) -> list[Check]:
        played = f"none, {NAN_SECONDS:g} s after it began to play" if self._played_at < math.inf else "none; not loaded"
        return [Check("an alarm or an error", self._said[:200] or played, bool(self._said))]


class CrashLoop(Fault):
    """Engines that crash one after the other."""

    name = "engine-crash-loop"
    does = f"kills {LOOP} engines, each as soon as it renders; then asks for the recipe again"
    rest = REST_SECONDS
    hold = 90.0
    from_undo = True

    def begin(self, scene: Scene) -> None:
        self._left, self._killed, self._next = LOOP, {0}, time.monotonic()

    def go_on(self, scene: Scene) -> None:
        pid = scene.pid("engine")
        if self._left and pid not in self._killed and scene.renders(self._next):
            scene.signal(pid, KILL)
            self._killed.add(pid)
            self._left, self._next = self._left - 1, time.monotonic()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to be killed."""
        return not self._left

    def undo(self, scene: Scene) -> None:
        scene.show.send("/lcm/recipe", scene.checked.recipe.name)

    def is_over(self, scene: Scene, since: float) -> bool:
        return (scene.renders(since) and scene.pid("engine") not in self._killed
                and scene.observer.status_since(since).get("recipe") == scene.checked.recipe.name)


class DamagedCache(_EngineFault):
    """Compiled models on disk that are damaged."""

    name = "engine-damaged-cache"
    does = "overwrites every compiled model of the copy, and kills the engine and the spare one"
    limit = 60.0  # models are compiled again

    def missing(self, scene: Scene) -> str:
        return "" if list(_cached(scene)) else "nothing is compiled on this machine"

    def _hurt(self, scene: Scene) -> None:
        for file in _cached(scene):
            size = min(file.stat().st_size, 1 << 20)
            file.unlink()  # it may be a link to the user's own
            file.write_bytes(scene.chance.randbytes(size))
        with contextlib.suppress(psutil.Error):
            for child in scene.show.process.children():
                if child.pid == self._pid or (child.pid != scene.pid("desk") and _is_spare_or_engine(child)):
                    child.kill()


def _is_spare_or_engine(process: psutil.Process) -> bool:
    """Whether it is a spawned process of Python that has loaded torch."""
    if sys.platform == "darwin":
        return False  # macOS does not list what another process has loaded
    with contextlib.suppress(psutil.Error, OSError):
        return any("torch" in Path(each.path).parts for each in process.memory_maps())
    return False


def _cached(scene: Scene) -> list[Path]:
    folder = scene.show.cache
    return [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []


def _no_limits() -> str:
    return "" if sys.platform == "linux" else "only Linux limits the memory of another process"


def _limit_memory(pid: int, room: int = ROOM) -> bool:
    """Limit the address space of a process to what it has and `room` bytes; return whether that worked."""
    if sys.platform != "linux":
        return False
    with contextlib.suppress(psutil.Error, OSError, ValueError):
        process = psutil.Process(pid)
        limit = room if room == psutil.RLIM_INFINITY else process.memory_info().vms + room
        process.rlimit(psutil.RLIMIT_AS, (limit, psutil.RLIM_INFINITY))
        return True
    return False


def link_cache(cache: Path, folder: Path) -> None:
    """Let `folder` have the files of the user's cache, by links: a copy that damages its own leaves those alone."""
    link: Callable[[str, str], object] = _link
    if cache.is_dir():
        shutil.copytree(cache, folder, copy_function=link, dirs_exist_ok=True, ignore_dangling_symlinks=True)


def _link(source: str, target: str) -> None:
    try:
        Path(target).symlink_to(Path(source).resolve())
    except OSError:  # Windows allows links to administrators only
        shutil.copy2(source, target)


def broken_recipes(folder: Path) -> list[str]:
    """Recipes with damaged weights, as `--set` adds them to a show. Writes the weights into `folder`."""
    return [f"recipes.{name}={{base: builtin, model: {str(write(folder / name))!r}, accelerate: none, controlnets: [], "
            "loras: []}" for name, write in BROKEN.items()]


FAULTS: tuple[Fault, ...] = (
    EngineSignal("engine-kill", "kills the engine (SIGKILL)", KILL),
    EngineSignal("engine-segv", "lets the engine crash (SIGSEGV)", signal.SIGSEGV),
    *([EngineSignal("engine-stop", "stops the engine (SIGSTOP)", STOP)] if CAN_STOP else []),
    LoadWithoutMemory(), FrameWithoutMemory(),
    DamagedWeights("engine-nan", "changes to a recipe whose weights paint NaN, until that is reported; then back",
                   "soak-nan"),
    DamagedWeights("engine-nan-weights", "changes to a recipe with a NaN in its weights, until that is reported; then "
                   "back", "soak-nan-weights"),
    CrashLoop(), DamagedCache(),
)
