"""Image prompts: an image beside the words of the prompt, by an IP-Adapter (Ye et al., arXiv:2308.06721).

diffusers puts the adapter into the UNet. What differs here: the image is embedded and projected once, not in every
pass, and the weight is part of the result. Attention to the image, softmax(Q K) V, is linear in its values V, and these
are linear in the tokens that they are made of. So the UNet is given the tokens twice: unchanged for the keys, and times
the weight for the values. A captured, compiled or exported UNet then follows the fader like any other input. The weight
is a number on the device, so moving it launches nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lcm_daemon.core.errors import LcmDaemonError, RecipeError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.picture_watch import PictureFollower
from lcm_daemon.core.pictures import Picture
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.load_errors import UNREADABLE, first_line
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.preprocessors.model_input import Normalizer, centre_square
from lcm_daemon.pipelines.session_memory import copies, write_back
from lcm_daemon.pipelines.upload import upload
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.recipe import Recipe

EMBED_INTERVAL = 8  # frames between two embeddings of the live input: the image encoder costs as much as a small UNet

AdapterWeights = Mapping[str, dict[str, torch.Tensor]]  # "image_proj" and "ip_adapter", as diffusers takes it

# Supported among the kinds that diffusers reads, by a key of the projection: plain, full face, plus. The FaceID kinds
# are not supported: their input comes from a face recognition model.
_KINDS = ("proj.weight", "proj.3.weight", "latents")
_UNREADABLE = (*UNREADABLE, AttributeError)


def read_adapter(recipe: Recipe) -> AdapterWeights:
    """Read the weights of the recipe's adapter; raises RecipeError."""
    file = locate(recipe).adapter or Path()
    parts: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    try:
        for name, tensor in load_file(file).items():
            part, _, key = name.partition(".")
            parts[part][key] = tensor
        if not any(kind in parts["image_proj"] for kind in _KINDS) or not parts["ip_adapter"]:
            raise ValueError("it is not a plain, plus or full-face IP-Adapter")
    except _UNREADABLE as error:
        raise RecipeError(_message(recipe, f"the adapter {file} cannot be loaded", error)) from error
    return parts


class ImagePromptAdapter:
    """An IP-Adapter in the UNet of `components`, and the image that the UNet attends to.

    recipe.image_prompt.image: a file, which is read again after it has changed, or "" for the live input, which is
    embedded every EMBED_INTERVAL frames.

    Attributes:
        prompt: (2, 1, 2 * tokens, width), always the same tensor: the negative and then the image prompt for the UNet,
            each as tokens for the keys and then for the values.
        is_live: The live input is embedded, not a file.

    Raises:
        RecipeError: Adapter, image encoder and UNet do not fit together.
    """

    def __init__(self, components: Components, recipe: Recipe, weights: AdapterWeights, numbers: Numbers) -> None:
        assert recipe.image_prompt is not None
        self._encoder, self._dtype = components.image_encoder, components.dtype
        self._side = int(components.image_encoder.config.image_size)
        self._normalizer = Normalizer(vars(components.feature_extractor), components.device)
        self._is_plain = "proj.weight" in weights["image_proj"]
        _check(components, recipe, weights, self._is_plain)
        self._projection = _install(components.unet, weights, recipe)
        self._tokens = self._blank_tokens(components.device)
        self.prompt = torch.cat([self._tokens, self._tokens], dim=2)
        self._weight, self._frame = numbers.reserve(1), 0
        self.is_live = not recipe.image_prompt.image
        self._changed: Pixels | None = None  # a new picture of the file, set on the follower's thread
        if not self.is_live:
            picture = read_picture(recipe)
            self._embed(to_tensor(picture.pixels).to(components.device))
            PictureFollower(picture, f"recipe {recipe.name}: image prompt").start(self._take_changed)

    def prepare(self, weight: float) -> bool:
        """Call once a frame, on the host, with the value of the parameter `image_prompt`.

        Returns:
            Whether `run` embeds the live input in this frame. This decides what it launches.
        """
        self._weight.write(weight)
        if not self.is_live or weight <= 0.0:
            self._frame = 0
            return False
        self._frame += 1
        return (self._frame - 1) % EMBED_INTERVAL == 0

    def save(self) -> tuple[int, Sequence[torch.Tensor]] | None:
        """As of `Remembering`: the frames since the live input was embedded, and its tokens. A file is for all."""
        return (self._frame, copies((self._tokens,))) if self.is_live and self._frame else None

    def restore(self, saved: tuple[int, Sequence[torch.Tensor]] | None) -> None:
        """As of `Remembering`. With None the live input of the next frame is embedded."""
        self._frame = 0 if saved is None else saved[0]
        if saved is not None:
            write_back((self._tokens,), saved[1])

    def pending(self) -> tuple[None, Callable[[], torch.Tensor]] | None:
        """Work that has to run before the next frame: embed a file that has changed. It is rare, and not recorded."""
        if self._changed is None:
            return None
        changed, self._changed = self._changed, None
        return None, lambda: self._embed(upload(to_tensor(changed), self._tokens.device))

    @torch.inference_mode()
    def run(self, embeds: bool, image: torch.Tensor) -> None:
        """Write `prompt`. Reads and writes only device tensors, so it may be part of a recorded frame.

        Args:
            embeds: What `prepare` returned.
            image: (1, 3, h, w) from -1 to 1, the live input. Its middle square is used.
        """
        if embeds:
            self._embed(image)
        keys, values = self.prompt.chunk(2, dim=2)
        keys.copy_(self._tokens)
        torch.mul(self._tokens, self._weight.tensor, out=values)

    @torch.inference_mode()
    def _blank_tokens(self, device: torch.device) -> torch.Tensor:
        """The tokens of no image, twice: as the negative, and in the place of the image's tokens.

        As in diffusers: an embedding of zeros, or for the kinds that use patches, the patches of a black image.
        """
        features = self._features(torch.zeros(1, 3, self._side, self._side, device=device, dtype=self._dtype))
        negative = self._projection(torch.zeros_like(features) if self._is_plain else features)
        return torch.stack([negative, negative])

    @torch.inference_mode()
    def _embed(self, image: torch.Tensor) -> torch.Tensor:
        pixels = self._normalizer.normalize(centre_square(image, self._side), self._dtype)
        return self._tokens[1].copy_(self._projection(self._features(pixels)))

    def _take_changed(self, pixels: Pixels) -> None:
        self._changed = pixels

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Input of the projection: the pooled embedding (1, width), or the patches of the last layer but one."""
        if self._is_plain:
            pooled: torch.Tensor = self._encoder(pixels).image_embeds
            return pooled
        patches: torch.Tensor = self._encoder(pixels, output_hidden_states=True).hidden_states[-2]
        return patches


def read_picture(recipe: Recipe) -> Picture:
    """Read the file of the recipe's image prompt; raises RecipeError."""
    assert recipe.image_prompt is not None
    try:
        return Picture(Path(recipe.image_prompt.image))
    except LcmDaemonError as error:
        raise RecipeError(f"recipe {recipe.name}: image prompt: {error}") from error


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """Convert uint8 (h, w, 4) to (1, 3, h, w) from -1 to 1."""
    return torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1)[None].float().div_(127.5).sub_(1.0)


def _check(components: Components, recipe: Recipe, weights: AdapterWeights, is_plain: bool) -> None:
    """Compare widths: adapters exist for two image encoders and several families, and are easily mixed up."""
    projection, config = weights["image_proj"], components.image_encoder.config
    first = next(key for key in ("proj.weight", "proj.0.weight", "proj_in.weight") if key in projection)
    keys = next(tensor for name, tensor in weights["ip_adapter"].items() if name.endswith("to_k_ip.weight"))
    features = config.projection_dim if is_plain else config.hidden_size
    pairs = {
        "an image encoder of width": (projection[first].shape[-1], features),
        "a UNet of cross_attention_dim": (keys.shape[-1], components.unet.config.cross_attention_dim),
    }
    for what, (wanted, actual) in pairs.items():
        if wanted != actual:
            raise RecipeError(f"recipe {recipe.name}: image prompt: the adapter is for {what} {wanted}, not {actual}")


def _install(unet: Any, weights: AdapterWeights, recipe: Recipe) -> Any:
    """Put the adapter into the UNet; return its projection, which is then called outside of the UNet."""
    from diffusers.loaders import IPAdapterMixin  # imports much that other recipes do without

    holder = type("_Holder", (IPAdapterMixin,), {"unet": unet})()  # the least that diffusers requires of a pipeline
    try:
        holder.load_ip_adapter(dict(weights), subfolder="", weight_name="", image_encoder_folder=None,
                               low_cpu_mem_usage=False)
    except _UNREADABLE as error:
        raise RecipeError(_message(recipe, "the adapter does not fit the UNet", error)) from error
    for processor in unet.attn_processors.values():
        if hasattr(processor, "to_v_ip"):
            processor.to_k_ip = nn.ModuleList(_Half(layer, 0) for layer in processor.to_k_ip)
            processor.to_v_ip = nn.ModuleList(_Half(layer, 1) for layer in processor.to_v_ip)
    projection = unet.encoder_hid_proj.image_projection_layers[0].eval().requires_grad_(False)
    unet.encoder_hid_proj = _Identity()
    unet.requires_grad_(False)
    return projection


class _Half(nn.Module):
    """A layer that reads the first or the second half of the tokens."""

    def __init__(self, layer: nn.Module, index: int) -> None:
        super().__init__()
        self.layer, self.index = layer, index

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layer(tokens.chunk(2, dim=-2)[self.index])
        return output


class _Identity(nn.Module):
    """Takes the place of the projection in the UNet: the tokens are already projected."""

    def forward(self, tokens: list[torch.Tensor]) -> list[torch.Tensor]:
        return tokens


def _message(recipe: Recipe, what: str, error: BaseException) -> str:
    return f"recipe {recipe.name}: image prompt: {what}: {first_line(error)}"
