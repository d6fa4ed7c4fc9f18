"""The files of the model hub that the recipes of a show need, as they lie in this machine's cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lcm_daemon.commands.bundle.manifest import MODELS
from lcm_daemon.commands.check_weights import recipes_of
from lcm_daemon.commands.pull import find_missing
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.weights import find, inspect
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.downloads import NeededFiles, needed_files, select_files
from lcm_daemon.recipes.recipe import Recipe, split_hub
from lcm_daemon.recipes.registry import OPTIONAL_WEIGHTS
from lcm_daemon.shows.show import Show

MOST_NAMED = 3  # missing files that an error names


def check_models(show: Show) -> None:
    """Read every byte of the models of a show. Raises RecipeError if one is missing, damaged or of another kind."""
    problems = []
    for recipe in recipes_of(show):
        if missing := find_missing(recipe):
            names = ", ".join(f"{file.source}/{file.path}" for file in missing[:MOST_NAMED])
            more = f" and {len(missing) - MOST_NAMED} others" if len(missing) > MOST_NAMED else ""
            problems.append(f"recipe {recipe.name}: {names}{more} are missing or damaged; download them with: "
                            f"lcm-daemon pull {show.file}")
        elif found := inspect(recipe)[1]:
            problems.append(f"recipe {recipe.name}: {found.line()}")
    if problems:
        raise RecipeError("\n".join(problems))


def hub_files(show: Show) -> dict[str, Path | str]:
    """The files of the hub that a show needs: path in the bundle, and the file or its text.

    In the bundle they lie as in a cache whose system makes no links: each in its snapshot, and no blobs.
    """
    found: dict[str, Path | str] = {}
    for recipe in recipes_of(show):
        for needed in needed_files(recipe):
            found.update(_files_of(needed))
        found.update(_optional_files(recipe))
    return found


def _files_of(needed: NeededFiles) -> Iterator[tuple[str, Path | str]]:
    folder = hub_cache.find_snapshot(needed.source, needed.revision)
    if folder is None:
        return
    listing = hub_cache.read_listing(needed.source, folder.name)
    if listing is None:  # another program downloaded it
        names = [path.relative_to(folder).as_posix() for pattern in (*needed.required, *needed.optional)
                 for path in sorted(folder.glob(pattern)) if path.is_file()]
    else:
        names = [file.path for file in select_files(needed, listing)]
    yield from ((_place(needed.source, folder, name), folder / name) for name in names)
    yield from _marks(needed.source, needed.revision, folder)


def _optional_files(recipe: Recipe) -> Iterator[tuple[str, Path | str]]:
    """Weights that the recipe can do without, where they are here."""
    for key in OPTIONAL_WEIGHTS:
        source: str = getattr(recipe, key)
        hub, place = split_hub(source), find(source, recipe) if source else None
        if hub is None or place is None:
            continue
        revision = next((files.revision for files in recipe.files if files.source == hub[0]), "")
        folder = hub_cache.find_snapshot(hub[0], revision)
        assert folder is not None  # `find` has looked there
        for file in [place] if place.is_file() else sorted(place.glob("*.safetensors")):
            yield _place(hub[0], folder, file.relative_to(folder).as_posix()), file
        yield from _marks(hub[0], revision, folder)


def _marks(source: str, revision: str, folder: Path) -> Iterator[tuple[str, Path | str]]:
    """The files that say which snapshot a revision means, and what the hub has listed of it."""
    top = hub_cache.repo_folder(source)
    reference, listing = top / "refs" / (revision or hub_cache.MAIN), top / "lcm-daemon" / f"{folder.name}.json"
    for file in (reference, listing):
        if file.is_file():
            yield f"{MODELS}/{top.name}/{file.relative_to(top).as_posix()}", file


def _place(source: str, folder: Path, name: str) -> str:
    return f"{MODELS}/{hub_cache.repo_folder(source).name}/snapshots/{folder.name}/{name}"
