"""Image prompts: images beside the words of the prompt, by IP-Adapters (Ye et al., arXiv:2308.06721).

What differs from diffusers: an image is embedded and projected once, not in every pass, and the weight is part of the
result. Attention to the image, softmax(Q K) V, is linear in its values V, and these are linear in the tokens that they
are made of. So the UNet is given the tokens twice: unchanged for the keys, and times the weight for the values. A
captured, compiled or exported UNet then follows the fader like any other input. The weight is a number on the device,
so moving it launches nothing more. Several images are attended to separately, and what they add sums up, as in
diffusers; their tokens lie in one tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lcm_daemon.core.errors import LcmDaemonError, RecipeError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.picture_watch import PictureFollower
from lcm_daemon.core.pictures import Picture
from lcm_daemon.pipelines.base import FrameValues
from lcm_daemon.pipelines.components import Components
from lcm_daemon.pipelines.ip_adapter import AdapterWeights, check_widths, install, is_plain, read_adapter, set_lengths
from lcm_daemon.pipelines.numbers import Numbers
from lcm_daemon.pipelines.preprocessors.model_input import Normalizer, centre_square
from lcm_daemon.pipelines.session_memory import copies, write_back
from lcm_daemon.pipelines.upload import upload
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.recipes.parts import ImagePrompt
from lcm_daemon.recipes.recipe import Recipe

EMBED_INTERVAL = 8  # frames between two embeddings of the live input: the image encoder costs as much as a small UNet

_Saved = tuple[int, Sequence[torch.Tensor]] | None


def read_adapters(recipe: Recipe) -> list[AdapterWeights]:
    """Read the adapters of a recipe's image prompts; one that several have is the same object. Raises RecipeError."""
    read, files = dict[Path, AdapterWeights](), locate(recipe).adapters
    for part, file in zip(recipe.all_image_prompts, files, strict=True):
        if file not in read:
            read[file] = read_adapter(file, _label(recipe, part))
    return [read[file] for file in files]


class ImagePrompts:
    """The image prompts of one model.

    Args:
        components: The model's parts; the adapters are put into the UNet.
        recipe: The recipe.
        weights: As `read_adapters` returns them.
        numbers: Where the weights of the prompts are written to.

    Attributes:
        prompt: (2, 1, 2 * tokens, width), always the same tensor: the negative and then the image prompts for the UNet,
            of each image the tokens for the keys and then those for the values.

    Raises:
        RecipeError: Adapter, image encoder and UNet do not fit together, or a picture cannot be read.
    """

    def __init__(self, components: Components, recipe: Recipe, weights: Sequence[AdapterWeights],
                 numbers: Numbers) -> None:
        parts = recipe.all_image_prompts
        for part, encoder, adapter in zip(parts, components.image_encoders, weights, strict=True):
            check_widths(adapter, encoder, components.unet, _label(recipe, part))
        projections = install(components.unet, weights, f"recipe {recipe.name}: image prompt")
        self._images = [
            ImageTokens(part, encoder, is_plain(adapter), projection, components, numbers, _label(recipe, part))
            for part, encoder, adapter, projection in zip(
                parts, components.image_encoders, weights, projections, strict=True)]
        lengths = [2 * image.tokens.shape[2] for image in self._images]
        set_lengths(components.unet, lengths)
        self.prompt = torch.cat([part for image in self._images for part in (image.tokens, image.tokens)], dim=2)
        self._places = torch.split(self.prompt, lengths, dim=2)
        self._names = [part.name for part in parts]

    def prepare(self, values: FrameValues) -> tuple[bool, ...]:
        """Call once a frame, on the host.

        Returns:
            For each image, whether `run` embeds the live input in this frame. This decides what it launches.
        """
        return tuple(image.prepare(self._weight(name, values))
                     for name, image in zip(self._names, self._images, strict=True))

    def reads_input(self, values: FrameValues) -> bool:
        """Whether a frame of these values embeds the live input, or shows what it embedded of it before."""
        return any(image.is_live and self._weight(name, values) > 0.0
                   for name, image in zip(self._names, self._images, strict=True))

    def save(self) -> tuple[_Saved, ...] | None:
        """As of `Remembering`: what each image has saved; None if none has."""
        saved = tuple(image.save() for image in self._images)
        return saved if any(each is not None for each in saved) else None

    def restore(self, saved: tuple[_Saved, ...] | None) -> None:
        """As of `Remembering`. With None the live input of the next frame is embedded."""
        for image, own in zip(self._images, saved or (None,) * len(self._images), strict=True):
            image.restore(own)

    def pending(self) -> tuple[None, Callable[[], object]] | None:
        """Work that has to run before the next frame: embed files that have changed. It is rare, and not recorded."""
        works = [work for image in self._images if (work := image.pending()) is not None]
        return (None, lambda: [work() for work in works]) if works else None

    @torch.inference_mode()
    def run(self, embeds: Sequence[bool], picture: torch.Tensor) -> None:
        """Write `prompt`. Reads and writes only device tensors, so it may be part of a recorded frame.

        Args:
            embeds: What `prepare` returned.
            picture: (1, 3, h, w) from -1 to 1, the live input. Its middle square is used.
        """
        for image, is_due, place in zip(self._images, embeds, self._places, strict=True):
            if is_due:
                image.embed(picture)
            image.write(place)

    @staticmethod
    def _weight(name: str, values: FrameValues) -> float:
        return values.image_prompts[name] if name else values.image_prompt


class ImageTokens:
    """What an adapter makes of one image.

    part.image: a file, which is read again after it has changed, or "" for the live input, which is embedded every
    EMBED_INTERVAL frames.

    Attributes:
        tokens: (2, 1, tokens, width), always the same tensor: those of no image, as the negative, and the image's.
        is_live: The live input is embedded, not a file.
    """

    def __init__(self, part: ImagePrompt, encoder: Any, plain: bool, projection: Any, components: Components,
                 numbers: Numbers, label: str) -> None:
        self._encoder, self._is_plain, self._projection = encoder, plain, projection
        self._dtype, self._side = components.dtype, int(encoder.config.image_size)
        self._normalizer = Normalizer(vars(feature_extractor(encoder)), components.device)
        self.tokens = self._blank_tokens(components.device)
        self._weight, self._frame = numbers.reserve(1), 0
        self.is_live = not part.image
        self._changed: Pixels | None = None  # a new picture of the file, set on the follower's thread
        if not self.is_live:
            picture = read_picture(part, label)
            self.embed(to_tensor(picture.pixels).to(components.device))
            PictureFollower(picture, label).start(self._take_changed)

    def prepare(self, weight: float) -> bool:
        """Take the weight of a frame. Returns whether the live input is to be embedded in it."""
        self._weight.write(weight)
        if not self.is_live or weight <= 0.0:
            self._frame = 0
            return False
        self._frame += 1
        return (self._frame - 1) % EMBED_INTERVAL == 0

    def save(self) -> _Saved:
        """The frames since the live input was embedded, and its tokens. A file is for all sessions."""
        return (self._frame, copies((self.tokens,))) if self.is_live and self._frame else None

    def restore(self, saved: _Saved) -> None:
        """With None the live input of the next frame is embedded."""
        self._frame = 0 if saved is None else saved[0]
        if saved is not None:
            write_back((self.tokens,), saved[1])

    def pending(self) -> Callable[[], torch.Tensor] | None:
        """Embed the file that has changed; None while none has."""
        if self._changed is None:
            return None
        changed, self._changed = self._changed, None
        return lambda: self.embed(upload(to_tensor(changed), self.tokens.device))

    @torch.inference_mode()
    def embed(self, image: torch.Tensor) -> torch.Tensor:
        """Write the tokens of an image, (1, 3, h, w) from -1 to 1."""
        pixels = self._normalizer.normalize(centre_square(image, self._side), self._dtype)
        return self.tokens[1].copy_(self._projection(self._features(pixels)))

    def write(self, place: torch.Tensor) -> None:
        """Write the tokens for the keys and those for the values, (2, 1, 2 * tokens, width)."""
        keys, values = place.chunk(2, dim=2)
        keys.copy_(self.tokens)
        torch.mul(self.tokens, self._weight.tensor, out=values)

    @torch.inference_mode()
    def _blank_tokens(self, device: torch.device) -> torch.Tensor:
        """The tokens of no image, twice: as the negative, and in the place of the image's tokens.

        As in diffusers: an embedding of zeros, or for the kinds that use patches, the patches of a black image.
        """
        features = self._features(torch.zeros(1, 3, self._side, self._side, device=device, dtype=self._dtype))
        negative = self._projection(torch.zeros_like(features) if self._is_plain else features)
        return torch.stack([negative, negative])

    def _take_changed(self, pixels: Pixels) -> None:
        self._changed = pixels

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Input of the projection: the pooled embedding (1, width), or the patches of the last layer but one."""
        if self._is_plain:
            pooled: torch.Tensor = self._encoder(pixels).image_embeds
            return pooled
        patches: torch.Tensor = self._encoder(pixels, output_hidden_states=True).hidden_states[-2]
        return patches


def read_picture(part: ImagePrompt, label: str) -> Picture:
    """Read the file of an image prompt; raises RecipeError, whose line begins with `label`."""
    try:
        return Picture(Path(part.image))
    except LcmDaemonError as error:
        raise RecipeError(f"{label}: {error}") from error


def to_tensor(pixels: Pixels) -> torch.Tensor:
    """Convert uint8 (h, w, 4) to (1, 3, h, w) from -1 to 1."""
    return torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1)[None].float().div_(127.5).sub_(1.0)


def feature_extractor(encoder: Any) -> Any:
    """As diffusers makes it for an IP-Adapter, whose folder contains none."""
    from transformers import CLIPImageProcessor  # loads much of transformers, which other recipes do without

    size = encoder.config.image_size
    return CLIPImageProcessor(size=size, crop_size=size)


def _label(recipe: Recipe, part: ImagePrompt) -> str:
    return f"recipe {recipe.name}: image prompt {part.name}".rstrip()
