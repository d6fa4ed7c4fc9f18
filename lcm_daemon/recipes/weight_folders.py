"""Finds the weights in a model's folder: one file or several (shards), in full or in half precision. Imports no torch.

The names are those that `save_pretrained` of diffusers and transformers writes: `model.safetensors`,
`model.fp16.safetensors`; with shards `model-00001-of-00002.safetensors` and an index,
`model.safetensors.index.json`, that says which shard has which tensor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ("diffusion_pytorch_model", "model")  # of weight files, by diffusers and by transformers
HALF = "fp16"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")  # endings of files that torch.save writes
PICKLE_REASON = "a pickle can run programs when it is read, so none is loaded; get the model as .safetensors"
_BESIDE = re.compile(r"[^/\\\0]{1,200}\.safetensors")  # in no other folder; pickles have indices of this form, too
_SHARD = re.compile(r"(?P<name>.+?)(\.(?P<variant>\w+))?-\d{5}-of-\d{5}(\.(?P<old>\w+))?\.safetensors")


@dataclass(frozen=True)
class FolderWeights:
    """The weights of one model in its folder.

    files: In the order of the index; one without shards.
    variant: "fp16" for half precision; None for full.
    missing: Names of files that the weights need beside them, the index or shards.
    damaged: The index, if it cannot be used; it is among those that are missing.
    """

    files: tuple[Path, ...]
    variant: str | None
    missing: tuple[str, ...] = ()
    damaged: Path | None = None


def find_weights(folder: Path, half: bool) -> FolderWeights | None:
    """The weights in a folder: complete ones first, then those of the wanted precision; None if there are none.

    half: Half precision is wanted, where there are both.
    """
    variants = (HALF, None) if half else (None, HALF)
    found = [weights for variant in variants if (weights := _of_variant(folder, variant)) is not None]
    return next((weights for weights in found if not weights.missing), found[0] if found else None)


def read_json(file: Path) -> dict[str, Any]:
    """Read the mapping in a JSON file; raises OSError or ValueError."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content


def pickles_in(folder: Path) -> list[str]:
    """Names of the pickles in a folder."""
    return sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES) if folder.is_dir() else []


def choose_variant(names: Iterable[str]) -> list[str]:
    """Those of the weight files of one folder that are to be downloaded: of one precision, half where there are both.

    names: Paths of files and indices.
    """
    known = [name for name in names if _is_canonical(name)] or list(names)
    return [name for name in known if _is_half(name)] or known


def index_names(path: str) -> list[str]:
    """The names that the index of a shard may have; [] for a file that is not one of several."""
    folder, _, name = path.rpartition("/")
    match = _SHARD.fullmatch(name)
    if match is None:
        return []
    variant = match["variant"] or match["old"]
    index = f"{match['name']}.safetensors.index{f'.{variant}' if variant else ''}.json"
    return [f"{folder}/{index}".lstrip("/")]


def _is_half(name: str) -> bool:
    return re.search(rf"\.{HALF}[.-]", name) is not None


def _is_canonical(path: str) -> bool:
    """Whether a file has a name that the libraries look for: not "diffusion_pytorch_model.non_ema.safetensors"."""
    return re.fullmatch(rf"({'|'.join(NAMES)})(\.{HALF})?(-\d{{5}}-of-\d{{5}}(\.{HALF})?)?\.safetensors"
                        rf"(\.index(\.{HALF})?\.json)?", path.rpartition("/")[2]) is not None


def _of_variant(folder: Path, variant: str | None) -> FolderWeights | None:
    middle = f".{variant}" if variant else ""
    for name in NAMES:
        if (file := folder / f"{name}{middle}.safetensors").is_file():
            return FolderWeights((file,), variant)
        index = folder / f"{name}.safetensors.index{middle}.json"
        shards = sorted(_shards(folder, name, variant))
        if index.is_file():
            return _of_index(index, variant)
        if shards:
            return FolderWeights(tuple(shards), variant, (index.name,))
    return None


def _shards(folder: Path, name: str, variant: str | None) -> Iterator[Path]:
    for path in folder.glob(f"{name}*-of-*.safetensors"):
        match = _SHARD.fullmatch(path.name)
        if match and match["name"] == name and (match["variant"] or match["old"]) == variant:
            yield path


def _of_index(index: Path, variant: str | None) -> FolderWeights:
    try:
        names = dict.fromkeys(read_json(index)["weight_map"].values())
        if not names or not all(isinstance(name, str) and _BESIDE.fullmatch(name) for name in names):
            raise ValueError("it names no weights beside it")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return FolderWeights((), variant, (index.name,), index)
    files = tuple(index.with_name(name) for name in names)
    return FolderWeights(files, variant, tuple(file.name for file in files if not file.is_file()))
