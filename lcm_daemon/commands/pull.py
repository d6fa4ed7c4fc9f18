"""`lcm-daemon pull`: downloads the files that recipes need from the hub, or checks on the disk that all are here."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lcm_daemon.commands.arguments import find_recipes
from lcm_daemon.commands.output import PrintLine, print_line
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.schema import nearest
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.recipe import Recipe, split_hub

PROGRESS_SECONDS = 10.0  # between two lines of progress without a terminal

# Usual files of a repository of which a recipe lists no files, by the conventions of diffusers and transformers. Those
# that the repository has are downloaded.
_WEIGHTS = ("config.json", "*.safetensors")
_MODEL = ("model_index.json", "scheduler/scheduler_config.json",
          *(f"{folder}/{name}" for folder in ("tokenizer", "tokenizer_2") for name in (
              "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")),
          *(f"{folder}/{name}" for folder in ("text_encoder", "text_encoder_2", "unet", "vae") for name in _WEIGHTS))
_DETECTOR = (*_WEIGHTS, "preprocessor_config.json")


@dataclass(frozen=True)
class NeededFiles:
    """Files of one hub repository that a recipe needs.

    Attributes:
        source: the repository, as "owner/name".
        revision: a branch, tag or commit, or an empty string for the main branch.
        required: paths or patterns; each must match a file.
        optional: paths or patterns; they may match none.
    """

    source: str
    revision: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True)
class MissingFile:
    """A file that is missing or damaged. size: bytes, or None if the hub's list of files was never fetched."""

    source: str
    path: str
    size: int | None
    reason: str

    def __str__(self) -> str:
        size = "size unknown" if self.size is None else format_size(self.size)
        return f"{self.reason:8} {size:>13}  {self.source}/{self.path}"


# The safety checker in half precision. Its own repository has only a pickle.
SAFETY = NeededFiles("stable-diffusion-v1-5/stable-diffusion-v1-5", "", (
    "safety_checker/config.json", "safety_checker/model.fp16.safetensors",
    "feature_extractor/preprocessor_config.json"))


def pull(names: Sequence[str], offline: bool, print_line: PrintLine = print_line) -> int:
    """Download the files of recipes and shows, or with `offline` check them. Return the exit code.

    The code is 0 if all files are here, 1 if `offline` found that some are not.

    Args:
        names: names or files of recipes and shows.
        offline: open no connection; print what is missing or damaged.
        print_line: receives the output.

    Raises:
        LcmDaemonError: a name is unknown, or a download failed.
    """
    complete = True
    for name in names:
        for recipe in find_recipes(name):
            if offline:
                complete &= _check(recipe, name, print_line)
            else:
                download(recipe, print_line)
                _print_complete(recipe, print_line)
    return 0 if complete else 1


# --- what a recipe needs ---


def needed_files(recipe: Recipe) -> list[NeededFiles]:
    """Return the files that the recipe needs from the hub, by repository.

    These are the files that it lists of a repository, as far as it uses them. Of a repository of which it lists none,
    they are the usual files of such a part.
    """
    uses: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for source, usual in _uses(recipe):
        if place := split_hub(source):
            uses.setdefault(place[0], []).append((place[1], usual))
    needed = {source: _needed_of(recipe, source, used) for source, used in uses.items()}
    model = (split_hub(recipe.model) or ("",))[0]
    if model:
        needed[model] = _without_replaced_parts(recipe, needed[model])
    if recipe.safety:
        files = needed.get(SAFETY.source, SAFETY)
        required = tuple(dict.fromkeys((*files.required, *SAFETY.required)))
        needed[SAFETY.source] = replace(files, required=required)
    return list(needed.values())


def _uses(recipe: Recipe) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield every source that the recipe names, and the usual files of such a part."""
    yield recipe.model, _MODEL
    yield recipe.unet, _WEIGHTS
    yield recipe.vae, _WEIGHTS
    for lora in recipe.loras:
        yield lora.model, ("*.safetensors",)
    for control in recipe.controlnets:
        yield control.model, _WEIGHTS
        yield control.detector, _DETECTOR
    if recipe.image_prompt:
        yield recipe.image_prompt.model, ("*.safetensors",)
        yield recipe.image_prompt.encoder, _DETECTOR


def _needed_of(recipe: Recipe, source: str, used: Sequence[tuple[str, Sequence[str]]]) -> NeededFiles:
    """Return the needed files of one repository.

    used: what the recipe uses there: folders ("" is the root) and files, each with the usual files of such a part.
    """
    listed = [files for files in recipe.files if files.source == source]
    revision = listed[0].revision if listed else ""
    required = [path for path, _ in used if path.endswith(".safetensors")]
    required += [name for files in listed for name in files.files if any(_is_below(name, path) for path, _ in used)]
    optional = [f"{path}/{name}" if path else name for path, usual in used
                if path not in required and not listed for name in usual]
    return NeededFiles(source, revision, tuple(dict.fromkeys(required)), tuple(dict.fromkeys(optional)))


def _is_below(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(path + "/")


def _without_replaced_parts(recipe: Recipe, needed: NeededFiles) -> NeededFiles:
    """Leave out the weights of the model's UNet and VAE if the recipe replaces them."""
    replaced = tuple(f"{part}/" for part in ("unet", "vae") if getattr(recipe, part))

    def is_needed(name: str) -> bool:
        return not (name.startswith(replaced) and name.endswith(".safetensors"))

    return replace(needed, required=tuple(filter(is_needed, needed.required)),
                   optional=tuple(filter(is_needed, needed.optional)))


# --- download ---


def download(recipe: Recipe, print_line: PrintLine) -> None:
    """Download the files of a recipe that are not here yet, and check all of them.

    Raises:
        RecipeError: a file is not on the hub, or could not be downloaded. The text says what to do.
    """
    for needed in needed_files(recipe):
        source, listing = needed.source, hub_cache.fetch_listing(needed.source, needed.revision)
        files = list(dict.fromkeys([*select_files(needed, listing), *_files_of_older_commit(needed, listing)]))
        total = sum(file.size for file in files)
        print_line(f"{source} at {listing.commit[:8]}: {len(files)} files, {format_size(total)}")
        _check_space(source, listing.commit, files)
        for file in files:
            bar = None if sys.stderr.isatty() else _progress_lines(print_line)
            hub_cache.download(source, listing.commit, file, bar)
        hub_cache.activate(source, needed.revision, listing)


def _files_of_older_commit(needed: NeededFiles, listing: hub_cache.Listing) -> list[hub_cache.HubFile]:
    """Return the files that are here of an older commit: other recipes need them, and will read the new commit."""
    folder = hub_cache.find_snapshot(needed.source, needed.revision)
    if folder is None or folder.name == listing.commit:
        return []
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [listing.files[name] for name in names if name in listing.files]


def select_files(needed: NeededFiles, listing: hub_cache.Listing) -> list[hub_cache.HubFile]:
    """Return the needed files of a listing. Raises RecipeError if a required one is not in it."""
    selected: dict[str, hub_cache.HubFile] = {}
    for pattern in needed.required:
        found = _matching(pattern, listing.files)
        if not found:
            reason = f"{needed.source} has no file {pattern!r} at {listing.commit[:8]}"
            raise RecipeError(reason + nearest(pattern, [name for name in listing.files if "safetensors" in name]))
        selected |= {name: listing.files[name] for name in found}
    for pattern in needed.optional:
        selected |= {name: listing.files[name] for name in _prefer_half(_matching(pattern, listing.files))}
    return list(selected.values())


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that match a pattern; its * does not match across folders."""
    return [name for name in names if name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)]


def _prefer_half(names: list[str]) -> list[str]:
    """Return only the files in half precision if there are any."""
    return [name for name in names if ".fp16." in name] or names


def _check_space(source: str, commit: str, files: Sequence[hub_cache.HubFile]) -> None:
    folder = hub_cache.repo_folder(source)
    new = sum(file.size for file in files if not (folder / "blobs" / file.digest).exists()
              and not (folder / "snapshots" / commit / file.path).exists())
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if new > free:
        raise RecipeError(f"{source}: the download has {format_size(new)}, but {existing} has only {format_size(free)} "
                          "free; make room, or set HF_HOME to a folder on another disk")


def _progress_lines(print_line: PrintLine) -> type[Any]:
    """Return a class of progress bars that print a line every ten seconds, for output that is not a terminal."""

    class ProgressLines:
        def __init__(self, *, desc: str = "", total: int | None = None, initial: int = 0, **_: object) -> None:
            self._name, self._total, self._done = desc, total or 0, initial
            self._printed = time.perf_counter()
            resumed = f", resumed at {format_size(initial)}" if initial else ""
            print_line(f"  {desc}: {format_size(self._total)}{resumed}")

        def update(self, amount: float = 1) -> None:
            self._done += int(amount)
            if time.perf_counter() - self._printed >= PROGRESS_SECONDS:
                self._printed = time.perf_counter()
                print_line(f"  {self._name}: {format_size(self._done)} of {format_size(self._total)}")

        def __enter__(self) -> ProgressLines:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    return ProgressLines


# --- check on the disk ---


def find_missing(recipe: Recipe) -> list[MissingFile]:
    """Return the files of a recipe that are missing or damaged on this machine.

    This opens no connection and reads every byte.
    """
    return [missing for needed in needed_files(recipe) for missing in _find_missing(needed)]


def _find_missing(needed: NeededFiles) -> Iterator[MissingFile]:
    source, folder = needed.source, hub_cache.find_snapshot(needed.source, needed.revision)
    listing = hub_cache.read_listing(source, folder.name) if folder else None
    if folder is None:
        yield from (MissingFile(source, name, None, "missing") for name in needed.required or ("(all files)",))
    elif listing is None:  # another program downloaded it: sizes and hashes are unknown
        yield from (MissingFile(source, name, None, "missing") for name in needed.required
                    if not _exists(folder, name))
    else:
        for file in select_files(needed, listing):
            path = folder / file.path
            if not hub_cache.is_intact(path, file.digest, file.size):
                yield MissingFile(source, file.path, file.size, "damaged" if path.exists() else "missing")


def _exists(folder: Path, pattern: str) -> bool:
    return any(path.is_file() and path.stat().st_size for path in folder.glob(pattern))


def _check(recipe: Recipe, name: str, print_line: PrintLine) -> bool:
    """Print what is missing of a recipe. Return whether it is complete."""
    missing = find_missing(recipe)
    if not missing:
        _print_complete(recipe, print_line)
        return True
    for file in missing:
        print_line(str(file))
    known = sum(file.size or 0 for file in missing)
    size = f", {format_size(known)}" if known else f" (whole recipe: {recipe.download or 'size unknown'})"
    print_line(f"{recipe.name}: {len(missing)} files are missing or damaged{size}; download them with: "
               f"lcm-daemon pull {name}")
    return False


def _print_complete(recipe: Recipe, print_line: PrintLine) -> None:
    """Find the weights as a show does, to notice missing files that are not from the hub. Raises RecipeError."""
    if recipe.pipeline != "passthrough":
        locate(recipe)
    print_line(f"{recipe.name}: complete")


def format_size(size: float) -> str:
    """Return a number of bytes for people, in powers of ten as hubs and disks are labelled: "2.4 GB"."""
    if size < 1000:
        return f"{size:.0f} bytes"
    power = min(int(math.log10(size)) // 3, 3)
    value = size / 1000**power
    return f"{value:.{1 if value < 10 else 0}f} {('', 'kB', 'MB', 'GB')[power]}"
