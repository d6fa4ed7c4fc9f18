"""Measures the model of a recipe and compares it with diffusers. torch is loaded in another process, as in a show."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

from lcm_daemon.commands.bench_report import Figures, diffusers_ratios, summarize, table_rows
from lcm_daemon.commands.bench_task import Task
from lcm_daemon.core.errors import EngineError, LcmDaemonError
from lcm_daemon.processes.bootstrap import prepare_environment, terminal_signals_blocked
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import AUTO, kind_of_map

EXIT_SECONDS = 10.0  # how long the measuring process may take to exit


def measure_model(task: Task) -> Figures:
    """Measure the model in a process of its own. Raises LcmDaemonError if it cannot be measured."""
    if task.recipe.pipeline == "passthrough":
        return {"model": "none"}
    prepare_environment()
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_figures, args=(sender, task), daemon=True)
    with terminal_signals_blocked():
        process.start()
    sender.close()
    try:
        result: Figures | LcmDaemonError = receiver.recv()
        process.join(EXIT_SECONDS)
    except EOFError as error:
        raise EngineError("the process that measures the model died") from error
    finally:
        process.kill()
        process.join()
    if isinstance(result, LcmDaemonError):
        raise result
    return result


def _send_figures(pipe: Connection, task: Task) -> None:
    """Run in the measuring process: send the figures, or the error."""
    try:
        pipe.send(model_figures(task))
    except LcmDaemonError as error:
        pipe.send(error)


def model_figures(task: Task) -> Figures:
    """Measure the model in this process."""
    from lcm_daemon.pipelines.components import load_components
    from lcm_daemon.pipelines.diffusers_comparison import DiffusersComparison
    from lcm_daemon.pipelines.random_weights import random_components

    recipe = _without_detectors(task.recipe) if task.random else task.recipe
    comparison = DiffusersComparison(recipe, random_components if task.random else load_components)
    figures: Figures = {"on": comparison.where}
    for steps in task.steps:
        measured = comparison.measure(steps, task.frames)
        title = f"{steps} step{'s' if steps > 1 else ''}"
        labels = comparison.labels()
        for name, frames in measured.items():
            figures[f"{title}: {name}, plays"] = labels[name]
            figures |= {f"{title}: {name}, {key}": value for key, value in summarize(frames).items()}
        figures |= {f"{title}: diffusers' time / {name}": ratio for name, ratio in diffusers_ratios(measured).items()}
        figures[f"{title}: accelerated by"] = comparison.accelerators
        rows = table_rows(recipe, steps, comparison.where, labels, measured)
        figures[f"{title}: as a table"] = next(iter(rows.values()))
        figures |= {f"{title}: {name}, as a table": row for name, row in rows.items()}
    return figures


def _without_detectors(recipe: Recipe) -> Recipe:
    """Use the input as the ControlNet's map where a detector model would have to make the map."""
    return replace(recipe, controlnets=tuple(
        _without_detector(control) if control.detector else control for control in recipe.controlnets))


def _without_detector(control: ControlNet) -> ControlNet:
    """The kind of the map stays: a ControlNet-Union has to know it."""
    kind = kind_of_map(control.preprocessor) if control.map == AUTO else control.map
    return replace(control, preprocessor="none", detector="", map=kind or AUTO)
