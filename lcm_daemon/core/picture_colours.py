"""Colours of a Pillow image: from every mode, depth and embedded profile to 8-bit sRGB with alpha."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lcm_daemon.core.frame import Pixels

Step = Callable[[Any], Any]  # from one Pillow image to another

BAND_PIXELS = 4_000_000  # pixels that are converted at a time, so that a large picture needs little memory on the side
GREY = ("L", "LA")
# Modes without a direct way to RGBA, or that a profile does not take as they are.
SIMPLER = {"1": "L", "La": "LA", "P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "RGBX": "RGB", "YCbCr": "RGB", "HSV": "RGB",
           "LAB": "RGB"}
PROFILE_MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # by the profile's colour space

_log = logging.getLogger(__name__)


def to_srgb(image: Any, factor: int = 1) -> Pixels:
    """Convert a loaded Pillow image.

    Grey of 16 bits and more becomes 8 bits: 16-bit values by their full range; 32-bit and floating-point values by
    the smallest of the ranges 0 to 1 (floating point only), 0 to 255 and 0 to 65535 that holds all of them, or else
    from the smallest to the largest value.

    Args:
        image: Its frame is loaded. Its `info` may hold a transparent colour and an ICC profile.
        factor: The picture is made smaller by this whole number.

    Returns:
        uint8 (ceil(H / factor), ceil(W / factor), 4), sRGB, straight alpha.
    """
    steps: list[Step] = [_levels(image), _simplify, _profile(image), lambda band: band.convert("RGBA")]
    if factor > 1:
        steps.append(lambda band: band.reduce(factor))
    out = np.empty((math.ceil(image.height / factor), math.ceil(image.width / factor), 4), np.uint8)
    top = 0
    for band in _bands(image, factor):
        for step in steps:
            band = step(band)
        out[top : top + band.height] = np.asarray(band)
        top += band.height
    return out


def _bands(image: Any, multiple: int = 1) -> Iterator[Any]:
    """Cut an image into bands of whole rows, each but the last a multiple of `multiple` high."""
    rows = max(1, BAND_PIXELS // image.width // multiple) * multiple
    if rows >= image.height:
        yield image
        return
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _simplify(image: Any) -> Any:
    """Convert to L, LA, RGB, RGBA or CMYK. A transparent colour becomes alpha."""
    mode = SIMPLER.get(image.mode, image.mode)
    if "transparency" in image.info and mode in ("L", "RGB"):
        mode = "LA" if mode == "L" else "RGBA"
    return image if mode == image.mode else image.convert(mode)


def _levels(image: Any) -> Step:
    """The step from more than 8 bits of grey to L or LA."""
    if image.mode[0] not in "IF":
        return lambda band: band
    from PIL import Image

    low, high = _range(image)
    tags = getattr(image, "tag_v2", {})
    if tags.get(262) == 0:  # TIFF, PhotometricInterpretation: 0 is white
        low, high = high, low
    clear = image.info.get("transparency")

    def convert(band: Any) -> Any:
        values = np.asarray(band)
        levels = np.nan_to_num((values.astype(np.float32) - low) * np.float32(255 / (high - low)), nan=0.0)
        grey = Image.fromarray((np.clip(levels, 0, 255) + 0.5).astype(np.uint8))
        if isinstance(clear, int):
            grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
        return grey

    return convert


def _range(image: Any) -> tuple[float, float]:
    """The values that are shown as black and as white."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(258, (16,))  # TIFF, BitsPerSample
        return 0.0, 4095.0 if bits == (12,) else 65535.0
    if image.mode == "I" and image.format in ("PNG", "PPM"):
        return 0.0, 65535.0
    low, high = math.inf, -math.inf
    for band in _bands(image):
        values = np.asarray(band)
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low >= 0:
        for ceiling in (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0):
            if high <= ceiling:
                return 0.0, ceiling
    return low, max(high, low + 1)


def _profile(image: Any) -> Step:
    """The step from an embedded ICC profile to sRGB. It changes nothing where there is none, or none of use."""
    from PIL import Image, ImageCms

    data = image.info.get("icc_profile")
    if not data:
        return lambda band: band
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode = PROFILE_MODES.get(profile.profile.xcolor_space.strip())
        if mode is None:
            return lambda band: band
        transform = ImageCms.buildTransform(
            profile, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        _log.info("a picture's colour profile cannot be read (%s); its colours are taken as sRGB", error)
        return lambda band: band
    if mode != "CMYK" and _is_identity(transform, mode):
        return lambda band: band

    def convert(band: Any) -> Any:
        if mode == "RGB" and band.mode in GREY:
            band = band.convert("RGBA" if band.mode == "LA" else "RGB")
        alpha = band.getchannel("A") if band.mode in ("LA", "RGBA") else None
        colours = band.convert(band.mode[:-1]) if alpha else band
        if colours.mode != mode:
            return band  # the profile is of another colour space than the picture
        converted = Image.new("RGB", band.size)
        transform.apply(colours, converted)
        if alpha:
            converted.putalpha(alpha)
        return converted

    return convert


def _is_identity(transform: Any, mode: str) -> bool:
    """Whether a transform changes no value by more than one step, tried with 17 values of each channel."""
    from PIL import Image

    values = np.linspace(0, 255, 17).astype(np.uint8)
    colours = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(1, -1, 3)
    if mode == "L":
        colours = np.repeat(values[None, :, None], 3, axis=2)
    given = Image.fromarray(colours if mode == "RGB" else np.ascontiguousarray(colours[..., 0]))
    return bool(np.abs(np.asarray(transform.apply(given)).astype(int) - colours).max() <= 1)
