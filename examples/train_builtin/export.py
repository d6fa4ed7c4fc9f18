"""Write the trained parts as a diffusers folder in float16, with the word list; replace the old folder in one step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml
from diffusers import LCMScheduler
from transformers import CLIPTextModel

from examples.train_builtin import controlnet, diffusion, vae
from examples.train_builtin.card import write_card
from examples.train_builtin.distillation import SCHEDULE
from examples.train_builtin.words import COLOURS, STYLES, SUBJECTS, Colour, Style, Subject

LIMIT = 16_000_000  # bytes
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.30.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "LCMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderTiny"],
}


def write_words(path: Path) -> None:
    """Write the words that the model knows, by kind, with a line about each, for `lcm-daemon list prompts`."""
    tables: dict[str, Mapping[str, Subject | Colour | Style]] = {
        "subjects": SUBJECTS,
        "colours": COLOURS,
        "styles": STYLES,
    }
    words = {
        kind: {name: describe(entry) for name, entry in table.items() if entry.names} for kind, table in tables.items()
    }
    path.write_text(yaml.safe_dump(words, sort_keys=False, allow_unicode=True, width=200), encoding="utf-8")


def describe(entry: Subject | Colour | Style) -> str:
    """Return the line about a word, with its synonyms."""
    return f"{entry.about}; also: {', '.join(entry.names[1:])}"


def write_parts(work: Path, checkpoint: Path, folder: Path) -> None:
    """Write every component to its own folder, in the layout of diffusers."""
    diffusion.load(checkpoint).half().save_pretrained(folder / "unet")
    vae.load(work).half().save_pretrained(folder / "vae")
    CLIPTextModel.from_pretrained(work / "text_encoder").half().save_pretrained(folder / "text_encoder")
    controlnet.load(work, checkpoint.name).half().save_pretrained(folder / "controlnet")
    LCMScheduler(**SCHEDULE).save_pretrained(folder / "scheduler")
    shutil.copytree(work / "loras", folder / "loras", dirs_exist_ok=True)
    shutil.copytree(work / "tokenizer", folder / "tokenizer", dirs_exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX, indent=2) + "\n", encoding="utf-8")
    write_words(folder / "words.yaml")


def export(work: Path, target: Path, checkpoint: str = "finishing.pt") -> int:
    """Write the model folder to `target`. Return its size in bytes.

    The folder is built beside the target and then renamed, so that a reader never sees an incomplete one.

    Raises:
        ValueError: The folder is larger than LIMIT.
    """
    aside = target.with_name(target.name + ".new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    write_parts(work, work / checkpoint, aside)
    for name in ("evaluation.json", "prompts.jpg", "photographs.jpg", "live.jpg"):
        if (work / "sheets" / name).exists():
            shutil.copy(work / "sheets" / name, aside / name)
    write_card(work, aside)
    size = sum(path.stat().st_size for path in aside.rglob("*") if path.is_file())
    if size > LIMIT:
        raise ValueError(f"the model folder has {size} bytes; at most {LIMIT} are allowed")
    old = target.with_name(target.name + ".old")
    if target.exists():
        target.rename(old)
    aside.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return size
