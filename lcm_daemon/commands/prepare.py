"""`lcm-daemon prepare`: compiles every recipe and size of a show ahead, with the card to itself."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lcm_daemon.commands.output import PrintLine, format_table, print_line
from lcm_daemon.commands.prepare_form import FormTask, load_form
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.recipes.prepared import Prepared, PreparedForm
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import NONE
from lcm_daemon.recipes.state import RecipeVariant
from lcm_daemon.render.governor import scales_of
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.show import Show
from lcm_daemon.web.address import browser_url

HEADER = ("RECIPE", "SIZE", "READY", "LOADS IN", "COMPILED BY")
REQUEST_TIMEOUT = 2.0  # seconds
LoadForm = Callable[[FormTask, Callable[[str], None]], PreparedForm]


@dataclass(frozen=True)
class _Row:
    """A line of the table at the end. `reason`: why it is not ready; `form`: what is ready, None for nothing to do."""

    recipe: Recipe
    form: PreparedForm | None = None
    reason: str = ""

    def cells(self) -> tuple[str, ...]:
        size = "{}x{}".format(*self.recipe.size)
        if self.reason:
            return self.recipe.name, size, "no", "", f"failed: {self.reason}"
        if self.form is None or self.form.accelerator == NONE:
            return self.recipe.name, size, "yes", "", "nothing: it plays as torch runs it"
        return self.recipe.name, size, "yes", f"{self.form.seconds:.0f} s", self.form.accelerator


def prepare(
    name: str, overrides: Sequence[str] = (), load: LoadForm = load_form, write: PrintLine = print_line
) -> int:
    """Compile what a show may play. Return the exit code: 1 if something cannot be compiled.

    Args:
        name: a show file, or the name of a packaged show.
        overrides: `KEY=VALUE` pairs that replace values of the show file.
        load: Compiles and loads one form.
        write: Prints a line.

    Raises:
        LcmDaemonError: the show has mistakes, or it plays now.
    """
    show, prepared = load_show(name, overrides), Prepared.read()
    if address := _where_it_plays(show):
        raise LcmDaemonError(f"{show.file}: it plays now ({address}), and needs the card; end it, then prepare it")
    forms = recipes_to_prepare(show)
    write(f"{show.file}: {len(forms)} to prepare, one after the other; each may take minutes")
    rows = [_prepare_one(recipe, show, prepared, load, write) for recipe in forms]
    for line in format_table([HEADER, *(row.cells() for row in rows)]):
        write(line)
    return 1 if any(row.reason for row in rows) else 0


def recipes_to_prepare(show: Show) -> list[Recipe]:
    """Every recipe that the show names, at its own size and at those that the governor may choose."""
    named = [show.recipe, *show.recipes.values(), *_cue_recipes(show)]
    found: list[Recipe] = []
    for recipe in named:
        scales = [1.0, *(scales_of(recipe.size) if show.target_fps else ())]
        found += [replace(recipe, size=RecipeVariant(recipe, scale).rendered.size) for scale in scales]
    return [recipe for place, recipe in enumerate(found) if recipe not in found[:place]]


def _cue_recipes(show: Show) -> Iterator[Recipe]:
    names = {cue.recipe: None for cue in show.cues if cue.recipe}
    catalogue = show.catalogue() if names else {}
    return (catalogue[name] for name in names)


def _prepare_one(recipe: Recipe, show: Show, prepared: Prepared, load: LoadForm, write: PrintLine) -> _Row:
    if recipe.pipeline == "passthrough" or recipe.accelerate == NONE:
        return _Row(recipe)
    title = "{} {}x{}".format(recipe.name, *recipe.size)
    started = time.perf_counter()
    try:
        form = load(FormTask(recipe, show.size), _Progress(title, write).report)
        if form.accelerator == NONE:
            return _Row(recipe)
        prepared.add(form)  # the next load finds it, as that of a show does
        write(f"{title}: compiled in {time.perf_counter() - started:.0f} s; loading it as a show does")
        again = load(FormTask(recipe, show.size, tunes=False), lambda text: None)
        ready = replace(form, seconds=again.seconds)
        prepared.add(ready)
    except LcmDaemonError as error:
        write(f"{title}: {error}")
        return _Row(recipe, reason=f"{error}".splitlines()[0])
    except OSError as error:
        raise LcmDaemonError(f"the cache folder cannot be written: {error}") from error
    write(f"{title}: ready; a show loads it in {ready.seconds:.0f} s")
    return _Row(recipe, ready)


class _Progress:
    """Prints lines of progress, each once."""

    def __init__(self, title: str, write: PrintLine) -> None:
        self._title, self._write, self._last = title, write, ""

    def report(self, text: str) -> None:
        if text != self._last:
            self._write(f"{self._title}: {text}")
        self._last = text


def _where_it_plays(show: Show) -> str:
    """The address at which this show plays on this machine; "" if its page does not answer, or is that of another."""
    panel = show.controllers["panel"]
    if panel is None or not panel["port"]:
        return ""
    address = browser_url(panel["host"], panel["port"])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the daemon is never behind a proxy
    try:
        with opener.open(f"{address.rstrip('/')}/health", timeout=REQUEST_TIMEOUT) as response:
            status = json.load(response)["status"]
            return address if status["show"] == show.name else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
