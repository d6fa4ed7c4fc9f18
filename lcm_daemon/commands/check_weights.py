"""Looks at the files of the recipes that a show names, without torch: whether they are there, and what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lcm_daemon.core.document import Reference, resolved
from lcm_daemon.core.errors import Problem
from lcm_daemon.pipelines.weights import inspect
from lcm_daemon.recipes.reader import FOLDER
from lcm_daemon.recipes.recipe import Recipe, split_hub
from lcm_daemon.recipes.registry import WITH_WEIGHTS
from lcm_daemon.shows.names import ShowNames
from lcm_daemon.shows.show import Show


def weight_problems(names: ShowNames, references: Sequence[Reference], known: Sequence[Problem]) -> Iterator[Problem]:
    """Yield what is wrong with the files of a show's recipes, each at the value that names the file.

    Args:
        names: Those of the show.
        references: What its documents refer to.
        known: Problems that are reported already; a value that has one gets no other.
    """
    reported = {(problem.file, problem.line, problem.column) for problem in known}
    for recipe in (names.recipe, *names.recipes.values()):
        if recipe is None or recipe.pipeline not in WITH_WEIGHTS:
            continue
        for source, text in inspect(recipe)[1].wrong.items():
            problem = _place(source, text, recipe, references, names.file)
            if (problem.file, problem.line, problem.column) not in reported:
                reported.add((problem.file, problem.line, problem.column))
                yield problem


def _place(source: str, text: str, recipe: Recipe, references: Sequence[Reference], show: Path) -> Problem:
    """The problem at the value that names a source or a folder above it; without one at the beginning of the show."""
    named = [(name, reference) for reference in references if reference.kind == "weights"
             and (source == (name := _source(reference, show)) or source.startswith(f"{name}/"))
             and FOLDER not in Path(reference.node.file).parents]
    if not named:
        return Problem(str(show), 1, 1, f"recipe {recipe.name}: {text}")
    longest = max(len(name) for name, _ in named)
    found = [reference for name, reference in named if len(name) == longest]
    # Several recipes may name one file, which may be right in some of them.
    return found[0].node.problem(text if len(found) == 1 else f"recipe {recipe.name}: {text}")


def _source(reference: Reference, show: Path) -> str:
    """What a recipe calls the place that a value names: absolute, or on the hub."""
    folder = folder_of(reference, show)
    path = folder / Path(reference.name).expanduser()
    return reference.name if split_hub(reference.name) and not path.exists() else str(resolved(path))


def folder_of(reference: Reference, show: Path) -> Path:
    """The folder that relative paths start from: that of the file that names the path."""
    file = Path(reference.node.file)
    return (file.resolve() if file.is_file() else show.resolve()).parent


def absent_weights(show: Show) -> list[str]:
    """One line for each recipe that the show names and whose files have to be fetched, with the command."""
    lines = []
    for recipe in recipes_of(show):
        problems = inspect(recipe)[1]
        if line := problems.absent_line():
            lines.append(f"  absent   recipe {recipe.name}: {line}")
    return lines


def recipes_of(show: Show) -> list[Recipe]:
    """The recipes that a show names: the first, its own, and those of its cues."""
    found = {recipe.name: recipe for recipe in (show.recipe, *show.recipes.values())}
    if names := {cue.recipe for cue in show.cues} - found.keys() - {""}:
        catalogue = show.catalogue()  # reading all recipes of the package takes a while
        found |= {name: catalogue[name] for name in sorted(names & catalogue.keys())}
    return [recipe for recipe in found.values() if recipe.pipeline in WITH_WEIGHTS]
