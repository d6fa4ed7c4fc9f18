"""What a show is made of: its file, its sources and sinks, the weights of its recipes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lcm_daemon import transports
from lcm_daemon.commands.check import find_problems
from lcm_daemon.commands.check_weights import recipes_of
from lcm_daemon.commands.pull import find_missing
from lcm_daemon.commands.readiness.finding import FAULT, NOTE, OK, Finding
from lcm_daemon.core.recorded_files import recorded_files
from lcm_daemon.pipelines.weights import inspect
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.shows.reader import ShowReading
from lcm_daemon.shows.show import Show
from lcm_daemon.transports.endpoint import EndpointConfig
from lcm_daemon.transports.source_finder import SYSTEMS

PROBE = "lcm_daemon.transports.source_probe"
PROBE_SECONDS = 30.0  # for a source, which may search and connect
FROM_A_PAGE = "browser"  # the transport of a page's camera, which is not there before the show plays
MODELS = "lcm_daemon/models/"  # in the installed package


def mistakes(reading: ShowReading) -> Iterator[Finding]:
    """What `check` finds."""
    problems = find_problems(reading)
    yield from (Finding("show", str(problem), FAULT) for problem in problems)
    if not problems:
        yield Finding("show", "no mistakes")


# --- weights ---


def weights(show: Show) -> Iterator[Finding]:
    """Read every byte of the weights of the show's recipes, and compare it with what the hub has said of it."""
    for recipe in recipes_of(show):
        yield _recipe(recipe, show)
    yield from _package()


def subject_of(recipe: Recipe) -> str:
    """What the report calls a recipe."""
    return f"recipe {recipe.name}"


def _recipe(recipe: Recipe, show: Show) -> Finding:
    subject = subject_of(recipe)
    damaged = find_missing(recipe)
    if damaged:
        names = ", ".join(f"{file.source}/{file.path} is {file.reason}" for file in damaged[:3])
        more = f" and {len(damaged) - 3} others" if len(damaged) > 3 else ""
        return Finding(subject, f"{names}{more}; lcm-daemon pull {show.file} fetches them", FAULT)
    problems = inspect(recipe)[1]
    return Finding(subject, problems.line(), FAULT) if problems else Finding(subject, "its files are complete")


def _package() -> Iterator[Finding]:
    """The models that come with the package, against the list that pip has written."""
    try:
        listed = list(recorded_files(importlib.metadata.distribution("lcm-daemon")))
    except importlib.metadata.PackageNotFoundError:
        return
    models = [file for file in listed if str(file).startswith(MODELS) and file.hash is not None]
    damaged = [str(file) for file in models if file.hash and _digest(Path(str(file.locate()))) != file.hash.value]
    if damaged:
        yield Finding("built-in models", f"damaged: {', '.join(damaged)}; install lcm-daemon again", FAULT)
    elif models:
        yield Finding("built-in models", f"{len(models)} files are as they were installed")


def _digest(path: Path) -> str:
    """The digest of a file as pip writes it; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return urlsafe_b64encode(hashlib.file_digest(file, "sha256").digest()).decode().rstrip("=")
    except OSError:
        return ""


# --- sources and sinks ---


def sources(show: Show) -> Iterator[Finding]:
    """Open each source, and count what it sends."""
    others = {f"source {name}": each for name, each in show.sources.items()}
    for name, each in {"source": show.source, "guide": show.guide, **others}.items():
        if each is None:
            continue
        if each.transport == FROM_A_PAGE:
            yield Finding(name, f"{each.label}: a page sends it once the show plays")
        else:
            yield _graded(name, each, probe_source(name, each), needed=name not in others and not each.optional)


def probe_source(name: str, config: EndpointConfig) -> Mapping[str, Any]:
    """What the source probe prints about a source; only `error` if it has died."""
    asked = json.dumps({name: {"transport": config.transport, "options": dict(config.options)}}, default=str)
    try:
        done = subprocess.run([sys.executable, "-P", "-m", PROBE, asked], capture_output=True, text=True,
                              errors="replace", timeout=PROBE_SECONDS)
        found: Mapping[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"error": f"does not open within {PROBE_SECONDS:.0f} s"}
    except (OSError, ValueError, IndexError) as error:
        return {"error": f"its process has died: {error}"}
    return found


def _graded(name: str, config: EndpointConfig, found: Mapping[str, Any], needed: bool) -> Finding:
    bad = FAULT if needed else NOTE
    if found.get("error"):
        return Finding(name, f"{config.label}: {found['error']}", bad)
    if not found["frames"]:
        sight = f"; in sight: {', '.join(found['in_sight'])}" if found["in_sight"] else ""
        return Finding(name, f"{config.label} sends nothing{sight}", bad)
    width, height = found["size"]
    rate = found["frames"] / found["seconds"]
    text = f"{config.label}: {width}x{height}" + (f", {rate:.0f} frames a second" if found["frames"] > 1 else "")
    return Finding(name, text)


def programs(show: Show) -> Iterator[Finding]:
    """Whether the programs that the show starts are here. They are not started."""
    hours, alarms = show.unattended.opening_hours, show.unattended.alarms
    found = {"alarms.command": alarms.command if alarms else (),
             "opening_hours.commands.open": hours.open_command if hours else (),
             "opening_hours.commands.close": hours.close_command if hours else ()}
    for key, words in found.items():
        if words and shutil.which(words[0]):
            yield Finding("program", f"{key}: {words[0]}")
        elif words:
            yield Finding("program", f"{key}: {words[0]!r:.80} cannot be found or started", FAULT)


def sinks(show: Show) -> Iterator[Finding]:
    """Whether the integration of each sink is here."""
    for sink in show.sinks:
        probe = transports.load(sink.transport).probe()
        install = f"; install it with: {probe.install}" if probe.install else ""
        if probe.works:
            yield Finding("sink", f"{sink.label}: {probe.detail}")
        elif sink.optional and SYSTEMS.get(sink.transport, sys.platform) != sys.platform:
            yield Finding("sink", f"{sink.label}: skipped: {probe.detail}")
        else:
            yield Finding("sink", f"{sink.label}: {probe.detail}{install}", NOTE if sink.optional else FAULT)
    if not show.sinks:
        yield Finding("sink", "the show has none: its output is seen on the page only", OK)
