"""The names of the tensors in LoRA files: which layer each one belongs to, and which part of its change it is.

Files differ in how they name the layer and the parts. kohya's scripts and OneTrainer flatten the path
(`lora_unet_down_blocks_1_..._to_q.lora_down.weight`), diffusers and peft keep it
(`unet.down_blocks.1....to_q.lora_A.weight`), ComfyUI and other tools write the original implementation's path
(`diffusion_model.input_blocks.4.1....lora_up.weight`), and lycoris-lora's wrapper flattens the path inside of the
model (`lycoris_down_blocks_1_...`). peft may add the name of the adapter (`lora_A.style.weight`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

UNET, FIRST, SECOND = "unet", "text_encoder", "text_encoder_2"  # the models that a LoRA may change


class Key(NamedTuple):
    """What the name of a tensor says.

    targets: The models that the layer may be in, the likeliest first.
    path: The layer's path in the model, as the file writes it.
    part: "up", "down", "mid", "alpha", "dora_scale", "magnitude", "hada_w1_a", "lokr_w1", "diff", "diff_b", "w_norm",
        "b_norm", "on_input" or "weight".
    """

    targets: tuple[str, ...]
    path: str
    part: str


_ANY = (UNET, FIRST)
_WRAPPERS = ("base_model.model.", "lycoris_")  # before the rest
_TARGETS: Mapping[str, tuple[str, ...]] = {  # by the beginning of a path; the first match counts
    "lora_unet_": (UNET,), "lora_te1_": (FIRST,), "lora_te2_": (SECOND,), "lora_te_": (FIRST,),
    "unet.": (UNET,), "model.diffusion_model.": (UNET,), "diffusion_model.": (UNET,),
    "text_encoder_2.": (SECOND,), "text_encoder.": (FIRST,), "text_encoders.clip_l.transformer.": (FIRST,),
    "text_encoders.clip_g.transformer.": (SECOND, FIRST), "text_encoders.clip_h.transformer.": (FIRST,),
    "clip_l.": (FIRST,), "clip_g.": (SECOND, FIRST),
    "": _ANY,
}
_PARTS: Mapping[str, str] = {"A": "down", "B": "up", "lora_magnitude_vector": "magnitude"}
_ADAPTER = r"(?:\.(?!weight$)[^.]+)?"  # peft's name of the adapter
_KEY = re.compile(
    rf"(?P<path>.+?)(?:[._](?:lora_linear_layer\.|lora\.|lora_)(?P<lora>down|up|mid|A|B){_ADAPTER}\.weight"
    rf"|\.(?P<product>hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2){_ADAPTER}(?:\.weight)?"
    rf"|\.(?:lora\.)?(?P<dora>dora_scale|lora_magnitude_vector){_ADAPTER}(?:\.weight)?"
    r"|\.(?P<plain>alpha|diff|diff_b|w_norm|b_norm|on_input|weight))")
_UNSUPPORTED: Mapping[str, str] = {  # by a pattern of names: what is not read
    r"\.oft_(blocks|diag|r)\b|\.oft_R\b": "LoRAs of the kind OFT", r"\.boft_[RS]\b": "LoRAs of the kind BOFT",
    r"\.(a1|a2|b1|b2|bm)\.weight$": "LoRAs of the kind GLoRA", r"\.vera_(A|B|lambda)": "LoRAs of the kind VeRA",
    r"\.lora_embedding_[AB]": "LoRAs of embeddings", r"\.lora_(B|up)\b.*\.bias$": "biases of LoRAs",
}


def parse(name: str) -> Key:
    """Split the name of a tensor. Raises ValueError: it is not of a known kind of LoRA."""
    for pattern, kind in _UNSUPPORTED.items():
        if re.search(pattern, name):
            raise ValueError(f"{kind} are not supported (key {name!r:.120})")
    match = _KEY.fullmatch(name)
    if match is None:
        raise ValueError(f"the key {name!r:.120} is not of a known kind of LoRA")
    part = match["lora"] or match["product"] or match["dora"] or match["plain"]
    targets, path = _split(match["path"])
    return Key(targets, path, _PARTS.get(part, part))


def _split(path: str) -> tuple[tuple[str, ...], str]:
    """The models that a path may be in, and the path without what says so."""
    for wrapper in _WRAPPERS:
        path = path.removeprefix(wrapper)
    start = next(start for start in _TARGETS if path.startswith(start))
    return _TARGETS[start], path[len(start):]
