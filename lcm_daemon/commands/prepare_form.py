"""One form of `lcm-daemon prepare`: a recipe at one size, compiled in a process of its own, as an engine would."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

from lcm_daemon.core.errors import EngineError, LcmDaemonError
from lcm_daemon.core.frame import Size
from lcm_daemon.processes.bootstrap import LogLevels, prepare_environment, set_up_child, terminal_signals_blocked
from lcm_daemon.recipes.prepared import PreparedForm, digest_of
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import AUTO, NONE

BACKGROUND_SECONDS = 7200.0  # how long compilers that work in the background may take
EXIT_SECONDS = 10.0  # how long the process may take to exit
IN_USE = 1536 << 20  # bytes of a card that other programs may use; a desktop and its browser use less


@dataclass(frozen=True)
class FormTask:
    """What to compile.

    Attributes:
        recipe: The recipe, with the size to render at.
        size: (width, height) of the show's frames, in pixels.
        tunes: Compile it, choosing kernels by measuring them; False loads what was compiled, as an engine does.
    """

    recipe: Recipe
    size: Size
    tunes: bool = True


def load_form(task: FormTask, on_progress: Callable[[str], None]) -> PreparedForm:
    """Load a recipe in a process of its own and return what was compiled; `accelerator` is "none" if nothing was.

    Raises:
        LcmDaemonError: It cannot be loaded, or a part of it cannot be compiled.
    """
    prepare_environment()
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(sender, task), daemon=False)  # compilers start processes of their own
    with terminal_signals_blocked():
        process.start()
    sender.close()
    try:
        while isinstance(message := receiver.recv(), str):
            on_progress(message)
        process.join(EXIT_SECONDS)
    except EOFError as error:
        raise EngineError("the process that compiles it died") from error
    finally:
        process.kill()
        process.join()
    if isinstance(message, LcmDaemonError):
        raise message
    assert isinstance(message, PreparedForm)
    return message


def _run(pipe: Connection, task: FormTask) -> None:
    """Run in that process: send lines of progress, then the form or the error."""
    set_up_child(LogLevels(logging.WARNING))
    try:
        pipe.send(_load(task, pipe.send))
    except LcmDaemonError as error:
        pipe.send(error)
    except RuntimeError as error:  # torch's own: out of memory, a driver that is gone
        pipe.send(EngineError(f"{error}".splitlines()[0]))


def _load(task: FormTask, report: Callable[[str], None]) -> PreparedForm:
    from lcm_daemon.pipelines import build
    from lcm_daemon.pipelines.accelerators import find_upgrade
    from lcm_daemon.pipelines.accelerators.compile import card_name, inductor_folder, torch_version
    from lcm_daemon.pipelines.device import choose_device
    from lcm_daemon.pipelines.device_memory import MemoryWatch

    recipe, device = task.recipe, choose_device(task.recipe)
    memory = MemoryWatch(device).read()
    if task.tunes and memory is not None and memory.total - memory.free > IN_USE:
        report(f"other programs use {(memory.total - memory.free) / 2**30:.1f} GiB of the card; kernels are chosen by "
               "measuring them, which is best done on an idle card")
    name = find_upgrade(device) if recipe.accelerate == AUTO else recipe.accelerate
    pipeline = build(replace(recipe, accelerate=name or AUTO), task.size)
    pipeline.tunes = task.tunes
    started = time.perf_counter()
    pipeline.load(report)
    parts = pipeline.compiled(BACKGROUND_SECONDS)
    seconds = time.perf_counter() - started
    eager = [part for part, used in parts.items() if used == NONE]
    if eager and (name or len(eager) < len(parts)):
        raise EngineError(f"{' and '.join(eager)} cannot be compiled and would play as torch runs it")
    if recipe.accelerate != AUTO and parts and recipe.accelerate not in parts.values():
        raise EngineError(f"{recipe.accelerate} does not work here; {' and '.join({*parts.values()})} is used instead")
    used = next((each for each in parts.values() if each != NONE), NONE)
    folder = str(inductor_folder(device)) if inductor_folder(device).is_dir() else ""
    return PreparedForm(digest_of(recipe), recipe.name, "{}x{}".format(*recipe.size), used, torch_version(),
                        card_name(device), task.tunes and device.type == "cuda", round(seconds, 1), folder,
                        recipe.accelerate)
