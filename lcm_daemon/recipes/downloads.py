"""What recipes need from the hub, and what of it is to be downloaded. Opens no connection, except `find_downloads`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.checkpoints import SUFFIX, parts_of
from lcm_daemon.recipes.recipe import Recipe, split_hub
from lcm_daemon.recipes.weight_folders import PICKLE_REASON, PICKLES, choose_variant, index_names

# Usual files of a repository of which a recipe lists no files, by the conventions of diffusers and transformers. Those
# that the repository has are downloaded.
_FILES = "*.safetensors"
_WEIGHTS = ("config.json", _FILES, f"{_FILES}.index*.json")  # an index says which file has which tensor
_MODEL = ("model_index.json", "scheduler/scheduler_config.json",
          *(f"{folder}/{name}" for folder in ("tokenizer", "tokenizer_2") for name in (
              "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")),
          *(f"{folder}/{name}" for folder in ("text_encoder", "text_encoder_2", "unet", "transformer", "vae")
            for name in _WEIGHTS))
_ADAPTER = "adapter_config.json"  # the settings of peft's adapters, beside their weights
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
class Download:
    """The files of one repository that a recipe needs, as the hub lists them; some may be here already."""

    source: str
    revision: str
    listing: hub_cache.Listing
    files: tuple[hub_cache.HubFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def missing_size(self) -> int:
        """Bytes of the files that are not here."""
        folder = hub_cache.repo_folder(self.source)
        return sum(file.size for file in self.files if not (folder / "blobs" / file.digest).exists()
                   and not (folder / "snapshots" / self.listing.commit / file.path).exists())


# The safety checker in half precision. Its own repository has only a pickle.
SAFETY = NeededFiles("stable-diffusion-v1-5/stable-diffusion-v1-5", "", (
    "safety_checker/config.json", "safety_checker/model.fp16.safetensors",
    "feature_extractor/preprocessor_config.json"))


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
        needed[model] = _without_replaced_parts(recipe, _with_used_parts(recipe, needed[model]))
    if recipe.safety:
        files = needed.get(SAFETY.source, SAFETY)
        required = tuple(dict.fromkeys((*files.required, *SAFETY.required)))
        needed[SAFETY.source] = replace(files, required=required)
    return list(needed.values())


def _uses(recipe: Recipe) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield every source that the recipe names, and the usual files of such a part."""
    yield recipe.model, _MODEL
    yield recipe.checkpoint, ()
    yield recipe.unet, _WEIGHTS
    yield recipe.vae, _WEIGHTS
    for lora in recipe.loras:
        folder, _, name = lora.model.rpartition("/")
        yield lora.model, ("*.safetensors", _ADAPTER)
        if name.startswith("adapter_model"):
            yield folder, (_ADAPTER,)
    for embedding in recipe.embeddings:
        yield embedding.model, ("*.safetensors",)
    for control in recipe.controlnets:
        yield control.model, _WEIGHTS
        yield control.detector, _DETECTOR
    if recipe.pix2pix:
        yield recipe.pix2pix.model, ("*.safetensors",)
        yield recipe.pix2pix.detector, _DETECTOR
    for image in recipe.all_image_prompts:
        yield image.model, ("*.safetensors",)
        yield image.encoder, _DETECTOR


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


def _with_used_parts(recipe: Recipe, needed: NeededFiles) -> NeededFiles:
    """Add the parts of the model that the recipe uses and of which it lists no file, such as its own VAE."""
    parts = ["unet"] if recipe.unet or recipe.checkpoint else []  # what describes it
    if not recipe.vae or recipe.vae.endswith(SUFFIX):
        parts.append("vae")
    place = (split_hub(recipe.model) or ("", ""))[1]
    added = [f"{place}/{part}/{name}".lstrip("/") for part in parts for name in _WEIGHTS
             if not any(_is_below(listed, f"{place}/{part}".lstrip("/")) for listed in needed.required)]
    return replace(needed, optional=tuple(dict.fromkeys((*needed.optional, *added))))


def _without_replaced_parts(recipe: Recipe, needed: NeededFiles) -> NeededFiles:
    """Leave out the weights of the model's parts that the recipe replaces."""
    replaced = {part for part in ("unet", "vae") if getattr(recipe, part)}
    if recipe.checkpoint:
        replaced |= parts_of(recipe.checkpoint)

    def is_needed(name: str) -> bool:
        is_weight = name.endswith(SUFFIX) or ".safetensors.index" in name
        return not (is_weight and not replaced.isdisjoint(name.split("/")[:-1]))

    return replace(needed, required=tuple(filter(is_needed, needed.required)),
                   optional=tuple(filter(is_needed, needed.optional)))


def find_downloads(recipe: Recipe) -> Iterator[Download]:
    """Ask the hub for each repository that a recipe needs.

    Raises:
        RecipeError: A repository or a file is not on the hub, or the hub cannot be reached. One line.
    """
    for needed in needed_files(recipe):
        listing = hub_cache.fetch_listing(needed.source, needed.revision)
        files = dict.fromkeys([*select_files(needed, listing), *_files_of_older_commit(needed, listing)])
        yield Download(needed.source, needed.revision, listing, tuple(files))


def _files_of_older_commit(needed: NeededFiles, listing: hub_cache.Listing) -> list[hub_cache.HubFile]:
    """Return the files that are here of an older commit: other recipes need them, and will read the new commit."""
    folder = hub_cache.find_snapshot(needed.source, needed.revision)
    if folder is None or folder.name == listing.commit:
        return []
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return [listing.files[name] for name in names if name in listing.files]


def select_files(needed: NeededFiles, listing: hub_cache.Listing) -> list[hub_cache.HubFile]:
    """Return the needed files of a listing. Raises RecipeError if a required one is not in it."""
    selected: dict[str, None] = {}
    for pattern in needed.required:
        found = _matching(pattern, listing.files)
        if not found:
            reason = f"{needed.source} has no file {pattern!r} at {listing.commit[:8]}"
            raise RecipeError(reason + nearest(pattern, [name for name in listing.files if "safetensors" in name]))
        selected |= dict.fromkeys(found)
    optional = [name for pattern in needed.optional for name in _matching(pattern, listing.files)]
    chosen = [*selected, *_without_other_variants(optional)]
    for pattern in needed.optional:
        _refuse_pickles(needed.source, pattern, listing)
    return [listing.files[name] for name in dict.fromkeys((*chosen, *_indices(chosen, listing)))]


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that match a pattern; its * does not match across folders."""
    return [name for name in names if name.count("/") == pattern.count("/") and fnmatchcase(name, pattern)]


def _without_other_variants(names: Sequence[str]) -> list[str]:
    """Return the names without the weights in another precision than the one to use, folder by folder."""
    weights: dict[str, list[str]] = {}
    for name in names:
        if ".safetensors" in name:
            weights.setdefault(name.rpartition("/")[0], []).append(name)
    chosen = {name for folder in weights.values() for name in choose_variant(folder)}
    return [name for name in names if ".safetensors" not in name or name in chosen]


def _indices(names: Iterable[str], listing: hub_cache.Listing) -> Iterator[str]:
    """Yield the indices of weights that are in several files, which belong to them."""
    for name in names:
        yield from (index for index in index_names(name) if index in listing.files)


def _refuse_pickles(source: str, pattern: str, listing: hub_cache.Listing) -> None:
    """Raise RecipeError if a folder has weights, but none in safetensors."""
    folder, _, name = pattern.rpartition("/")
    inside = [file for file in listing.files if file.rpartition("/")[0] == folder]
    pickles = sorted(file for file in inside if file.endswith(PICKLES))
    if name == _FILES and pickles and not any(file.endswith(SUFFIX) for file in inside):
        raise RecipeError(f"{source} has {pickles[0]} only as a pickle: {PICKLE_REASON}")


def check_space(downloads: Sequence[Download]) -> None:
    """Raise RecipeError if the disk has not enough room for what is missing."""
    new = sum(download.missing_size() for download in downloads)
    folder = hub_cache.repo_folder(downloads[0].source)
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if new > free:
        raise RecipeError(f"{downloads[0].source}: the download has {format_size(new)}, but {existing} has only "
                          f"{format_size(free)} free; make room, or set HF_HOME to a folder on another disk")


def format_size(size: float) -> str:
    """Return a number of bytes for people, in powers of ten as hubs and disks are labelled: "2.4 GB"."""
    if size < 1000:
        return f"{size:.0f} bytes"
    power = min(int(math.log10(size)) // 3, 3)
    value = size / 1000**power
    return f"{value:.{1 if value < 10 else 0}f} {('', 'kB', 'MB', 'GB')[power]}"
