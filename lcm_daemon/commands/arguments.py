"""The argument that `pull`, `bench` and `list parameters` share: the name or file of a recipe or a show."""

from __future__ import annotations

from pathlib import Path

import yaml

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import LcmDaemonError
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.reader import read_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.shows.library import find_show, read_text, show_files
from lcm_daemon.shows.reader import load_show


def find_recipes(name: str) -> list[Recipe]:
    """Return the recipe with this name or in this file, or all recipes of a show.

    Raises:
        LcmDaemonError: the name is unknown, or the file has mistakes.
    """
    file = find_show(name)
    if name not in recipe_names() and file.is_file() and not _is_recipe_file(file):
        show = load_show(name)
        return [show.recipe, *show.recipes.values()]
    if name not in recipe_names() and not file.is_file():
        known = [*recipe_names(), *(show.stem for show in show_files())]
        raise LcmDaemonError(f"no recipe or show {name!r}{nearest(name, known)}")
    problems = Problems()
    recipe = read_recipe(name, Path.cwd(), problems)
    problems.raise_if_any()
    assert recipe is not None  # without a recipe there is a problem
    return [recipe]


def _is_recipe_file(file: Path) -> bool:
    document = compose(read_text(file), str(file))
    pairs = document.items() if isinstance(document.raw, yaml.MappingNode) else []
    return bool({str(key.raw.value) for key, _ in pairs} & {"base", "model"})
