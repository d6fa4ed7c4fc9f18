"""Pull: fetch what recipes need from the hub, and nothing else; or prove from the disk alone that it is all here."""

from __future__ import annotations

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import LcmDaemonError, RecipeError
from lcm_daemon.core.schema import nearest
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.reader import read_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe, split_hub
from lcm_daemon.shows.library import find_show, read_text, show_files
from lcm_daemon.shows.reader import load_show

Tell = Callable[[str], None]

# Of a place that a recipe uses and whose files it does not list: what its part has by the conventions of diffusers and
# transformers, where it is there at all.
_PLAIN = ("config.json", "*.safetensors")
_MODEL = ("model_index.json", "scheduler/scheduler_config.json",
          *(f"{folder}/{name}" for folder in ("tokenizer", "tokenizer_2") for name in (
              "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")),
          *(f"{folder}/{name}" for folder in ("text_encoder", "text_encoder_2", "unet", "vae") for name in _PLAIN))
_DETECTOR = (*_PLAIN, "preprocessor_config.json")


@dataclass(frozen=True)
class Want:
    """Files of one place. Of `maybe` those are wanted that are there; all of `files` must be."""

    source: str
    revision: str
    files: tuple[str, ...]
    maybe: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lack:
    """A file that is not here, or not as it should be. size: bytes; None where the hub was never asked."""

    source: str
    path: str
    size: int | None
    reason: str

    def __str__(self) -> str:
        size = "size unknown" if self.size is None else describe(self.size)
        return f"{self.reason:8} {size:>13}  {self.source}/{self.path}"


# The safety checker, in half precision; in the place of its own there is a pickle alone.
SAFETY = Want("stable-diffusion-v1-5/stable-diffusion-v1-5", "", (
    "safety_checker/config.json", "safety_checker/model.fp16.safetensors",
    "feature_extractor/preprocessor_config.json"))


def wanted(recipe: Recipe) -> list[Want]:
    """What the recipe needs from the hub, by place: the files that it lists of what it uses there, and of a place of
    which it lists nothing, what such a part usually has.
    """
    uses: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for source, usual in _uses(recipe):
        if place := split_hub(source):
            uses.setdefault(place[0], []).append((place[1], usual))
    wants = {place: _want(recipe, place, used) for place, used in uses.items()}
    model = (split_hub(recipe.model) or ("",))[0]
    if model:
        wants[model] = _less_replaced(recipe, wants[model])
    if recipe.safety:
        want = wants.get(SAFETY.source, SAFETY)
        wants[SAFETY.source] = replace(want, files=tuple(dict.fromkeys((*want.files, *SAFETY.files))))
    return list(wants.values())


def _want(recipe: Recipe, place: str, used: Sequence[tuple[str, Sequence[str]]]) -> Want:
    """used: of this place, the folders ("" for all of it) and files inside, each with what such a part usually has."""
    listed = [files for files in recipe.files if files.source == place]
    revision = listed[0].revision if listed else ""
    needed = [inside for inside, _ in used if inside.endswith(".safetensors")]
    needed += [name for files in listed for name in files.files if any(_is_below(name, inside) for inside, _ in used)]
    maybe = [f"{inside}/{name}" if inside else name for inside, usual in used
             if inside not in needed and not listed for name in usual]
    return Want(place, revision, tuple(dict.fromkeys(needed)), tuple(dict.fromkeys(maybe)))


def _is_below(name: str, inside: str) -> bool:
    return not inside or name == inside or name.startswith(inside + "/")


def _uses(recipe: Recipe) -> Iterator[tuple[str, Sequence[str]]]:
    """Every place that the recipe names, and what such a part usually has."""
    yield recipe.model, _MODEL
    yield recipe.unet, _PLAIN
    yield recipe.vae, _PLAIN
    for lora in recipe.loras:
        yield lora.model, ("*.safetensors",)
    for control in recipe.controlnets:
        yield control.model, _PLAIN
        yield control.detector, _DETECTOR
    if recipe.image_prompt:
        yield recipe.image_prompt.model, ("*.safetensors",)
        yield recipe.image_prompt.encoder, _DETECTOR


def _less_replaced(recipe: Recipe, want: Want) -> Want:
    """Without the weights of the model's own UNet and VAE where the recipe brings others."""
    gone = tuple(f"{part}/" for part in ("unet", "vae") if getattr(recipe, part))

    def keep(name: str) -> bool:
        return not (name.startswith(gone) and name.endswith(".safetensors"))

    return replace(want, files=tuple(filter(keep, want.files)), maybe=tuple(filter(keep, want.maybe)))


# --- from the hub ---


def pull(recipe: Recipe, tell: Tell) -> None:
    """Fetch what the recipe needs and is not here yet, check all of it, and say so line by line.

    Raises RecipeError, one line that says what to do.
    """
    for want in wanted(recipe):
        listing = hub_cache.fetch_listing(want.source, want.revision)
        files = list(dict.fromkeys([*choose(want, listing), *_held(want, listing)]))
        total = sum(file.size for file in files)
        tell(f"{want.source} at {listing.commit[:8]}: {len(files)} files, {describe(total)}")
        _check_space(want.source, listing.commit, files)
        for file in files:
            hub_cache.download(want.source, listing.commit, file, None if sys.stderr.isatty() else _lines(tell))
        hub_cache.activate(want.source, want.revision, listing)


def _held(want: Want, listing: hub_cache.Listing) -> list[hub_cache.HubFile]:
    """What is here of an older commit, for other recipes: they find their files at the new one from now on."""
    folder = hub_cache.find_snapshot(want.source, want.revision)
    if folder is None or folder.name == listing.commit:
        return []
    held = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [listing.files[name] for name in held if name in listing.files]


def choose(want: Want, listing: hub_cache.Listing) -> list[hub_cache.HubFile]:
    """The files of the listing that are wanted. Raises RecipeError where a needed one is not among them."""
    chosen: dict[str, hub_cache.HubFile] = {}
    for pattern in want.files:
        found = _matches(pattern, listing.files)
        if not found:
            place = f"{want.source} has no file {pattern!r} at {listing.commit[:8]}"
            raise RecipeError(place + nearest(pattern, [name for name in listing.files if "safetensors" in name]))
        chosen |= {name: listing.files[name] for name in found}
    for pattern in want.maybe:
        chosen |= {name: listing.files[name] for name in _light(_matches(pattern, listing.files))}
    return list(chosen.values())


def _matches(pattern: str, names: Iterable[str]) -> list[str]:
    """Names that fit; a * stands for anything but a folder."""
    return [name for name in names if name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)]


def _light(names: list[str]) -> list[str]:
    """Half precision alone where there are both."""
    return [name for name in names if ".fp16." in name] or names


def _check_space(source: str, commit: str, files: Sequence[hub_cache.HubFile]) -> None:
    place = hub_cache.repo_folder(source)
    new = sum(file.size for file in files if not (place / "blobs" / file.digest).exists()
              and not (place / "snapshots" / commit / file.path).exists())
    home = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(home).free
    if new > free:
        raise RecipeError(f"{source}: {describe(new)} are to be fetched and {home} has {describe(free)} free; "
                          "make room, or set HF_HOME to a folder on another disk")


def _lines(tell: Tell) -> type[Any]:
    """A progress bar's class for where no terminal is: a line every ten seconds."""

    class Lines:
        def __init__(self, *, desc: str = "", total: int | None = None, initial: int = 0, **_: object) -> None:
            self._name, self._total, self._done = desc, total or 0, initial
            self._told = time.perf_counter()
            tell(f"  {desc}: {describe(self._total)}" + (f", goes on at {describe(initial)}" if initial else ""))

        def update(self, amount: float = 1) -> None:
            self._done += int(amount)
            if time.perf_counter() - self._told >= 10:
                self._told = time.perf_counter()
                tell(f"  {self._name}: {describe(self._done)} of {describe(self._total)}")

        def __enter__(self) -> Lines:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    return Lines


# --- from the disk alone ---


def find_lacks(recipe: Recipe) -> list[Lack]:
    """What the recipe needs and is not here, whole, on this machine. Opens no connection; reads every byte."""
    return [lack for want in wanted(recipe) for lack in _find_lacks(want)]


def _find_lacks(want: Want) -> Iterator[Lack]:
    folder = hub_cache.find_snapshot(want.source, want.revision)
    listing = hub_cache.read_listing(want.source, folder.name) if folder else None
    if folder is None:
        yield from (Lack(want.source, name, None, "missing") for name in want.files or ("(everything)",))
    elif listing is None:  # another program fetched it: the names are all that is known
        yield from (Lack(want.source, name, None, "missing") for name in want.files if not _is_there(folder, name))
    else:
        for file in choose(want, listing):
            path = folder / file.path
            if not hub_cache.is_intact(path, file.digest, file.size):
                yield Lack(want.source, file.path, file.size, "damaged" if path.exists() else "missing")


def _is_there(folder: Path, pattern: str) -> bool:
    return any(path.is_file() and path.stat().st_size for path in folder.glob(pattern))


def describe(size: float) -> str:
    """Bytes as people read them, in powers of ten as hubs and disks are labelled: "2.4 GB"."""
    if size < 1000:
        return f"{size:.0f} bytes"
    power = min(int(math.log10(size)) // 3, 3)
    value = size / 1000**power
    return f"{value:.{1 if value < 10 else 0}f} {('', 'kB', 'MB', 'GB')[power]}"


# --- the command ---


def find_recipes(word: str) -> list[Recipe]:
    """The recipe of that name, a recipe file's, or all those of a show. Raises LcmDaemonError where there is none."""
    file = find_show(word)
    if word not in recipe_names() and file.is_file() and not _is_recipe_file(file):
        show = load_show(word)
        return [show.recipe, *show.recipes.values()]
    if word not in recipe_names() and not file.is_file():
        known = [*recipe_names(), *(show.stem for show in show_files())]
        raise LcmDaemonError(f"there is no recipe or show {word!r}{nearest(word, known)}")
    problems = Problems()
    recipe = read_recipe(word, Path.cwd(), problems)
    problems.raise_if_any()
    assert recipe is not None  # whatever gives no recipe has been complained of
    return [recipe]


def _is_recipe_file(file: Path) -> bool:
    """Raises LcmDaemonError, as reading it as a show would, where it is no mapping at all."""
    document = compose(read_text(file), str(file))
    pairs = document.items() if isinstance(document.raw, yaml.MappingNode) else []
    return bool({str(key.raw.value) for key, _ in pairs} & {"base", "model"})


def run(words: Sequence[str], offline: bool, tell: Tell = print) -> int:
    """`lcm-daemon pull`: 0 when all is here, 1 when `offline` found that something is not."""
    complete = True
    for word in words:
        for recipe in find_recipes(word):
            if offline:
                complete &= _prove(recipe, word, tell)
            else:
                pull(recipe, tell)
                _conclude(recipe, tell)
    return 0 if complete else 1


def _prove(recipe: Recipe, word: str, tell: Tell) -> bool:
    lacks = find_lacks(recipe)
    if not lacks:
        _conclude(recipe, tell)
        return True
    for lack in lacks:
        tell(str(lack))
    known = sum(lack.size or 0 for lack in lacks)
    size = f", {describe(known)}" if known else f" (all of it together: {recipe.download or 'size unknown'})"
    tell(f"{recipe.name}: {len(lacks)} files are wanted{size}; fetch them with: lcm-daemon pull {word}")
    return False


def _conclude(recipe: Recipe, tell: Tell) -> None:
    """Look for the weights as a show does; that finds what is no file of the hub, too."""
    if recipe.pipeline != "passthrough":
        locate(recipe)
    tell(f"{recipe.name}: all is here, nothing else is wanted")
