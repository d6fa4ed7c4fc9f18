"""Finds the files of a recipe on this machine. Downloads nothing and imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lcm_daemon.core.document import path_exists
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.pipelines.weight_files import WeightFiles, config_of
from lcm_daemon.pipelines.weight_fit import misfits
from lcm_daemon.pipelines.weight_problems import WeightProblems
from lcm_daemon.recipes import hub_cache
from lcm_daemon.recipes.checkpoints import BASES, PREFIXES, SUFFIX, kind_problem, parts_of
from lcm_daemon.recipes.downloads import SAFETY
from lcm_daemon.recipes.families import Family, family_of_config, identify
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe, split_hub
from lcm_daemon.recipes.registry import FAMILIES
from lcm_daemon.recipes.safetensors_header import BadWeightFile, TensorInfo, check_kind, read_header
from lcm_daemon.recipes.weight_folders import find_weights, read_json

_TEXT = ("text_encoder", "text_encoder_2")  # the second one is Stable Diffusion XL's
_FILES: Mapping[str, tuple[str, ...]] = {  # of folders without weights: one of these files
    "tokenizer": ("vocab.json", "tokenizer.json"), "tokenizer_2": ("vocab.json", "tokenizer.json"),
    "scheduler": ("scheduler_config.json",),
}


def locate(recipe: Recipe, fetched: bool = False) -> WeightFiles:
    """Find all files of a recipe, and look at the headers of its weights.

    Args:
        recipe: The recipe.
        fetched: It was pulled just now: the advice is then not to pull it again.

    Raises:
        RecipeError: One line that names everything that is missing, with the command that fetches it, and every file
            that is of another kind or for another family of models.
    """
    weights, problems = inspect(recipe, fetched)
    if problems:
        raise RecipeError(f"recipe {recipe.name}: {problems.line()}")
    return weights


def inspect(recipe: Recipe, fetched: bool = False) -> tuple[WeightFiles, WeightProblems]:
    """As `locate`, but return the problems. With problems, some paths may not exist."""
    search = _Search(recipe, fetched)
    return search.weight_files(), search.problems


def find(source: str, recipe: Recipe) -> Path | None:
    """The path of a local file or folder, or of a hub repository in the local cache; None if it does not exist."""
    place = split_hub(source)
    if place is None:
        return Path(source) if path_exists(Path(source)) else None
    revision = next((files.revision for files in recipe.files if files.source == place[0]), "")
    folder = hub_cache.find_snapshot(place[0], revision)
    return folder / place[1] if folder and (folder / place[1]).exists() else None


class _Search:
    """Looks for the files of one recipe."""

    def __init__(self, recipe: Recipe, fetched: bool) -> None:
        self.recipe, self.problems = recipe, WeightProblems(recipe, fetched)

    def weight_files(self) -> WeightFiles:
        recipe, model = self.recipe, find(self.recipe.model, self.recipe)
        if model is None:
            self.problems.add_absent(recipe.model)
        checkpoint = self._file(recipe.checkpoint, "checkpoint") if recipe.checkpoint else None
        model = model or Path(recipe.model)
        inside = self._inside(checkpoint, model / "unet" / "config.json") if checkpoint else frozenset()
        unet = self._own_part("unet", FAMILIES[recipe.family].denoiser, model, checkpoint, inside)
        config = config_of(model / "unet", unet)
        second = _has_second(config)
        self._look_into(model, second, inside)
        self._look_for_safety(model)
        images = recipe.all_image_prompts
        weights = WeightFiles(
            model, unet, self._own_part("vae", "vae", model, checkpoint, inside), second,
            tuple(self._file(lora.model, f"lora {lora.name}".strip()) for lora in recipe.loras),
            tuple(self._file(part.model, f"embedding {part.name}".strip()) for part in recipe.embeddings),
            {control.name: self._part(control.model, f"controlnet {control.name}") for control in recipe.controlnets},
            {control.name: self._part(control.detector, "detector") for control in recipe.controlnets
             if control.detector},
            tuple(self._file(image.model, f"image prompt {image.name}".strip()) for image in images),
            tuple(self._part(image.encoder, "image encoder") for image in images),
            self._file(recipe.pix2pix.model, "pix2pix") if recipe.pix2pix else None, checkpoint, inside)
        for found in misfits(recipe, weights):
            self.problems.add_wrong(found.source, found.text)
        return weights

    def _own_part(self, part: str, folder: str, model: Path, checkpoint: Path | None, inside: frozenset[str]) -> Path:
        """The UNet or the VAE: the recipe's, else the checkpoint's, else the model's own."""
        source = getattr(self.recipe, part)
        place = self._part(source, part) if source else None
        if place is None and checkpoint and part in inside:
            place = checkpoint
        if place is not None and place.suffix == SUFFIX and not (part == "vae" and _is_tiny(place)):
            self._require(model, f"{folder}/config.json")  # a file does not describe itself
        if place is None and model.exists():
            self._weights_below(model, folder)
        return place or model / folder

    def _inside(self, checkpoint: Path, config: Path) -> frozenset[str]:
        """The parts that a checkpoint has; of one that is not there or does not fit, all: it alone is reported."""
        return parts_of(str(checkpoint)) if self._compare(checkpoint, config) else frozenset(PREFIXES)

    def _compare(self, checkpoint: Path, config: Path) -> bool:
        """Compare the family of a checkpoint with the model's; of a model that is not here, with its recipe's."""
        tensors = self._header(checkpoint, "checkpoint", self.recipe.checkpoint) if checkpoint.is_file() else {}
        if not tensors:
            return False
        family, inputs = _family_of(self.recipe.model), 4
        try:
            unet = read_json(config)
            family, inputs = family_of_config(unet), int(unet["in_channels"])
        except FileNotFoundError:
            pass  # it is reported
        except (OSError, ValueError, KeyError, TypeError):
            return True  # the error is reported elsewhere
        problem = kind_problem(identify(tensors), family, inputs, self.recipe.model) if family else ""
        if problem:
            self.problems.add_wrong(self.recipe.checkpoint, f"checkpoint {checkpoint} {problem}")
        return not problem

    def _look_into(self, model: Path, second: bool, inside: frozenset[str]) -> None:
        """Look for the parts of the model's folder beside UNet and VAE, if that exists."""
        if not model.exists():
            return
        for number in range(1 + second):
            part, tokenizer = _TEXT[number], ("tokenizer", "tokenizer_2")[number]
            if part in inside:
                self._require(model, f"{part}/config.json")
            else:
                self._weights_below(model, part)
            self._require_one(model, tokenizer)
        self._require_one(model, "scheduler")

    def _require(self, model: Path, name: str) -> None:
        file, source = model / name, f"{self.recipe.model}/{name}"
        if model.exists() and not file.is_file():
            self.problems.add_absent(source, file)
        elif model.exists():
            self._check_json(file, source)

    def _check_json(self, file: Path, source: str) -> None:
        try:
            read_json(file)
        except (OSError, ValueError) as error:
            self.problems.add_damaged(source, f"{file} is damaged: {str(error).splitlines()[0]:.120}")

    def _require_one(self, model: Path, folder: str) -> None:
        if not any((model / folder / name).is_file() for name in _FILES[folder]):
            name = folder if not (model / folder).is_dir() else f"{folder}/{_FILES[folder][0]}"
            self.problems.add_absent(f"{self.recipe.model}/{name}", model / name)
        elif folder == "scheduler":
            self._check_json(model / folder / _FILES[folder][0], f"{self.recipe.model}/{folder}")

    def _weights_below(self, model: Path, part: str) -> None:
        """Look for the weights of a part of the model's folder, and their description."""
        source, folder = f"{self.recipe.model}/{part}", model / part
        if not folder.is_dir():
            self.problems.add_absent(source, folder)
            return
        self._require(model, f"{part}/config.json")
        self._complete(source, folder, part)

    def _complete(self, source: str, folder: Path, part: str) -> None:
        """Report what is missing of a folder's weights, and what they are if they are not weights."""
        weights = find_weights(folder, half=True)
        if weights is None:
            self.problems.add_absent(source, folder)
            return
        if weights.damaged:
            self.problems.add_damaged(source, f"{part}: {weights.damaged} is damaged: it names no .safetensors files "
                                              "beside it")
            return
        for name in weights.missing:
            self.problems.add_absent(f"{source}/{name}", folder / name)
        for file in weights.files:
            if file.is_file():
                self._check(file, part, source)

    def _part(self, source: str, part: str) -> Path:
        """A folder that contains weights, or a weight file."""
        place = find(source, self.recipe)
        if place is None:
            self.problems.add_absent(source)
        elif place.is_dir():
            self._complete(source, place, part)
        else:
            self._check(place, part, source)
        return place or Path(source)

    def _file(self, source: str, part: str) -> Path:
        """A file; in a folder the one with diffusers' name for LoRAs, or else the first."""
        place = find(source, self.recipe)
        if place is not None and place.is_dir():
            named = place / f"pytorch_lora_weights{SUFFIX}"
            place = named if named.exists() else next(iter(sorted(place.glob(f"*{SUFFIX}"))), None)
        if place is None:
            self.problems.add_absent(source)
        else:
            self._check(place, part, source)
        return place or Path(source)

    def _check(self, file: Path, part: str, source: str) -> None:
        """Report a file of another kind. One that is not of the hub, which compares hashes, may also be cut off."""
        if file.suffix != SUFFIX:
            self.problems.add_wrong(source, f"{part} {file} is not named {SUFFIX}, the only kind of file that is read")
            return
        try:
            if split_hub(source):
                check_kind(file)
            else:
                read_header(file)
        except BadWeightFile as error:
            self.problems.add_damaged(source, f"{part} {error}")

    def _header(self, file: Path, part: str, source: str) -> Mapping[str, TensorInfo]:
        """The header of a weight file; {} if it has none, which is reported."""
        try:
            return read_header(file) if file.suffix == SUFFIX else {}
        except BadWeightFile as error:
            self.problems.add_damaged(source, f"{part} {error}")
            return {}

    def _look_for_safety(self, model: Path) -> None:
        """Look for the safety checker, which may come with the model."""
        if not self.recipe.safety:
            return
        places = (model, find(SAFETY.source, self.recipe))
        if not any(place and find_weights(place / "safety_checker", half=True) for place in places):
            self.problems.add_absent(f"{SAFETY.source}/safety_checker")


def _family_of(model: str) -> Family | None:
    """The family of a model of the package's recipes."""
    return next((family for family, name in BASES.items() if load_recipe(name).model == model), None)


def _has_second(config: Path) -> bool:
    """Whether the UNet takes a pooled text embedding beside the prompt, as in Stable Diffusion XL."""
    try:
        return read_json(config).get("addition_embed_type") == "text_time"
    except (OSError, ValueError):
        return False  # the error is reported when the file is loaded


def _is_tiny(file: Path) -> bool:
    """Whether a VAE in one file is a tiny one, which needs no description."""
    try:
        return any(name.startswith(("encoder.layers.", "decoder.layers.")) for name in read_header(file))
    except BadWeightFile:
        return True  # it is reported
