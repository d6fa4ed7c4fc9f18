"""Textual inversion (Gal et al., arXiv:2208.01618): words whose meaning was learned as vectors.

Each vector becomes one more row of a text encoder's table of token embeddings, and the word becomes the numbers of
these rows (`prompt_chunks`). That is what diffusers' `load_textual_inversion` does, without tokens in the tokenizer.

Files differ in their keys. A file for one text encoder has a single tensor: `emb_params` as kohya's scripts and
stable-diffusion-webui name it, or the word itself as diffusers does (`<cat-toy>`). A file for SDXL has `clip_l` and
`clip_g`, or `text_encoders_0` and `text_encoders_1`. The `.pt` files of stable-diffusion-webui (`string_to_param`) are
pickles, which are not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import nn

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.families import SD1, SD2, identify
from lcm_daemon.recipes.parts import TextualInversion
from lcm_daemon.recipes.safetensors_header import BadWeightFile, read_header

if TYPE_CHECKING:
    from lcm_daemon.pipelines.components import TextEncoder

_PAIRS = (("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1"))  # the first and the second text encoder
_NO_WORDS = ("emb_params", "string_to_param", *(key for pair in _PAIRS for key in pair))
_WORD = re.compile(r"[^\s()\[\]:\\]{1,64}")
_FAMILIES: Mapping[tuple[int, ...], str] = {
    (SD1.context,): SD1.name, (SD2.context,): SD2.name, (768, 1280): "SDXL"}
_OLD_EOS = 2  # eos_token_id in configurations of CLIP from before transformers 4.31


@dataclass(frozen=True)
class Vectors:
    """What a file of textual inversion holds.

    word: The word that the file itself names; "" for none.
    rows: (vectors, width) for each text encoder.
    """

    word: str
    rows: tuple[torch.Tensor, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(rows.shape[1] for rows in self.rows)


def read_vectors(file: Path) -> Vectors:
    """Read a file.

    Raises:
        ValueError: It is a pickle or another kind of file, damaged, or no file of textual inversion.
    """
    try:
        kind = identify(read_header(file))
    except BadWeightFile as error:
        raise ValueError(f"it {error.reason}") from error
    if kind.part not in ("", "embedding"):
        raise ValueError(f"it is {kind}, not an embedding (textual inversion)")
    tensors = load_file(file)
    pair = next((pair for pair in _PAIRS if set(pair) <= tensors.keys()), None)
    keys: Sequence[str] = pair or list(tensors)
    rows = tuple(tensors[key][None] if tensors[key].ndim == 1 else tensors[key] for key in keys)
    if (pair is None and len(tensors) != 1) or any(each.ndim != 2 or not each.numel() for each in rows):
        raise ValueError(f"its keys are not those of an embedding: {', '.join(sorted(tensors))[:100]}")
    if not all(bool(each.float().isfinite().all()) for each in rows):
        raise ValueError("it has values that are not numbers (NaN or infinite)")
    if len({len(each) for each in rows}) > 1:
        raise ValueError("it has another number of vectors for each text encoder")
    key = keys[0]
    return Vectors(key if len(keys) == 1 and key not in _NO_WORDS and _WORD.fullmatch(key) else "", rows)


def learn_words(
    encoders: Sequence[TextEncoder], parts: Sequence[TextualInversion], files: Sequence[Path],
    read: Callable[[str, Path, Callable[[Path], Vectors]], Vectors],
) -> tuple[TextEncoder, ...]:
    """Add the words of a recipe to its text encoders, whose tables of token embeddings grow in place.

    Args:
        encoders: The text encoders, with no learned words.
        parts: The recipe's `embeddings`.
        files: Their files.
        read: Calls the reading function on a file, and translates its errors.

    Raises:
        RecipeError: A file cannot be read, is for another family, or two have one word.
    """
    if not parts:
        return tuple(encoders)
    widths = tuple(int(encoder.model.config.hidden_size) for encoder in encoders)
    words: dict[str, tuple[int, int]] = {}  # the place of each word's rows among all new ones
    found: list[Vectors] = []
    for part, file in zip(parts, files, strict=True):
        vectors = read("embedding", file, lambda place: _fitting(read_vectors(place), widths))
        start = sum(len(each.rows[0]) for each in found)
        for word in {part.name.lower()} if part.name else {file.stem.lower(), vectors.word.lower()} - {""}:
            if word in words:
                raise RecipeError(f"embedding at {file}: another one has the word {word!r}; give it a name of its own")
            words[word] = start, start + len(vectors.rows[0])
        found.append(vectors)
    return tuple(_extended(encoder, torch.cat([each.rows[number] for each in found]), words)
                 for number, encoder in enumerate(encoders))


def _fitting(vectors: Vectors, widths: tuple[int, ...]) -> Vectors:
    """The vectors, if they are for text encoders of these widths; else raises ValueError."""
    if vectors.widths != widths:
        raise ValueError(f"it is for {_family(vectors.widths)}, this model is {_family(widths)}")
    return vectors


def _family(widths: tuple[int, ...]) -> str:
    known, width = _FAMILIES.get(widths), " and ".join(map(str, widths))
    return f"{known} (width {width})" if known else f"a text encoder of width {width}"


def _extended(encoder: TextEncoder, rows: torch.Tensor, words: Mapping[str, tuple[int, int]]) -> TextEncoder:
    model: Any = encoder.model
    table: nn.Embedding = model.get_input_embeddings()
    first = len(table.weight)
    weight = torch.cat([table.weight.detach(), rows.to(table.weight)])
    model.set_input_embeddings(nn.Embedding(len(weight), weight.shape[1], _weight=weight, _freeze=True))
    text_model = getattr(model, "text_model", model)
    if text_model.eos_token_id == _OLD_EOS:
        # For such configurations transformers takes the highest token as the end of the text, to read the pooled state
        # there. The new tokens are higher.
        text_model.eos_token_id = encoder.tokenizer.eos_token_id
    return replace(encoder, words={word: range(first + start, first + end) for word, (start, end) in words.items()})
