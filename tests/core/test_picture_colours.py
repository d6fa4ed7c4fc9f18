"""Every mode and depth comes out as 8-bit sRGB; embedded profiles are converted."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from lcm_daemon.core import picture_colours
from lcm_daemon.core.picture_colours import to_srgb
from tests.rigs import icc

COLOUR = (200, 100, 50)
RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (36, 1))
GREYS = np.tile(np.round(np.linspace(0, 65535, 64).astype(np.uint16) / 257), (36, 1))
INKS = {"c": (55, -37, -50), "m": (48, 74, -3), "y": (89, -5, 93), "k": (16, 0, 0)}


def converted(image: Image.Image, kind: str, **options) -> np.ndarray:
    """The picture after it was saved and loaded."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    loaded = Image.open(file)
    loaded.load()
    return to_srgb(loaded)


def plain(mode: str, size: tuple[int, int] = (16, 9)) -> Image.Image:
    """A picture of COLOUR in a mode."""
    image = Image.new("RGB", size, COLOUR)
    if mode == "LAB":
        return ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
                                         outputMode="LAB")
    if mode in ("RGBa", "La", "PA"):
        image.putalpha(255)
        return image.convert(mode if mode != "La" else "LA").convert(mode)
    return image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB", "PA"])
def test_colour_modes(mode: str) -> None:
    assert np.abs(to_srgb(plain(mode)).astype(int) - (*COLOUR, 255)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "La"])
def test_grey_modes(mode: str) -> None:
    assert (to_srgb(plain(mode)) == (124, 124, 124, 255)).all()


def test_one_bit_is_black_and_white() -> None:
    image = Image.new("1", (8, 4), 1)
    image.putpixel((3, 2), 0)
    pixels = to_srgb(image)
    assert pixels[2, 3].tolist() == [0, 0, 0, 255]
    assert pixels[0, 0].tolist() == [255, 255, 255, 255]


@pytest.mark.parametrize(
    ("image", "kind", "options"),
    [
        (Image.fromarray(RAMP), "PNG", {}),
        (Image.fromarray(RAMP), "TIFF", {}),
        (Image.fromarray(RAMP), "TIFF", {"compression": "tiff_lzw"}),
        (Image.frombytes("I;16B", (64, 36), RAMP.astype(">u2").tobytes()), "TIFF", {}),
        (Image.fromarray(RAMP), "JPEG2000", {}),
        (Image.fromarray(RAMP), "PPM", {}),
        (Image.fromarray(RAMP.astype(np.int32)), "TIFF", {}),
        (Image.fromarray(RAMP.astype(np.int32) * 30_000), "TIFF", {}),
        (Image.fromarray(RAMP.astype(np.int32) - 40_000), "TIFF", {}),
        (Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF", {}),
        (Image.fromarray((RAMP / 257).astype(np.float32)), "TIFF", {}),
        (Image.fromarray(RAMP.astype(np.float32)), "TIFF", {}),
        (Image.fromarray((RAMP / 9 - 200).astype(np.float32)), "TIFF", {}),
        (Image.fromarray((RAMP / 65535).astype(np.float32)), "PPM", {}),  # a .pfm
        (Image.fromarray((RAMP / 65535).astype(np.float32)), "SPIDER", {}),
    ],
    ids=["PNG", "TIFF", "LZW", "big-endian", "JPEG 2000", "PGM", "32 bit", "32 bit, large", "32 bit, signed", "0 to 1",
         "0 to 255", "0 to 65535", "any floats", "PFM", "SPIDER"],
)
def test_a_ramp_of_many_bits_is_a_ramp(image: Image.Image, kind: str, options: dict) -> None:
    pixels = converted(image, kind, **options)
    assert np.abs(pixels[..., :3] - GREYS[..., None]).max() <= 1
    assert (pixels[..., 3] == 255).all()


def test_a_dark_picture_of_16_bits_stays_dark() -> None:
    assert (converted(Image.fromarray(np.full((4, 8), 257 * 9, np.uint16)), "PNG")[..., :3] == 9).all()
    assert (converted(Image.fromarray(np.full((4, 8), 200, np.uint16)), "PPM")[..., :3] == 1).all()


def test_12_bits_in_a_tiff() -> None:
    image = Image.fromarray(RAMP >> 4)
    image.tag_v2 = {258: (12,)}
    assert np.abs(to_srgb(image)[..., 0] - GREYS).max() <= 1


def test_white_may_be_zero_in_a_tiff() -> None:
    assert np.abs(converted(Image.fromarray(RAMP), "TIFF", tiffinfo={262: 0})[..., 0] - GREYS[:, ::-1]).max() <= 1


def test_floats_that_are_no_numbers_are_black() -> None:
    values = (RAMP / 65535).astype(np.float32)
    values[0, 60:62] = np.nan, np.inf
    pixels = to_srgb(Image.fromarray(values))
    assert pixels[0, 60].tolist() == [0, 0, 0, 255]
    assert np.abs(pixels[1:, :, 0] - GREYS[1:]).max() <= 1


@pytest.mark.parametrize(
    ("image", "colour", "kind"),
    [(Image.fromarray(RAMP), 0, "PNG"), (plain("L"), 124, "PNG"), (plain("RGB"), COLOUR, "PNG"),
     (plain("P"), 77, "PNG"), (plain("P"), 77, "GIF")],
    ids=["16 bit", "L", "RGB", "P", "P of a GIF"],
)
def test_a_transparent_colour_becomes_alpha(image: Image.Image, colour: object, kind: str) -> None:
    if image.mode == "P":
        image.putpixel((0, 0), 77)
    pixels = converted(image, kind, transparency=colour)
    assert pixels[0, 0, 3] == 0
    assert pixels[-1, -1, 3] == (255 if image.mode in ("P", "I;16") else 0)


PROFILES = [("Display P3", icc.DISPLAY_P3, None), ("Adobe RGB", icc.ADOBE_RGB, 563 / 256), ("sRGB", icc.SRGB, None)]


@pytest.mark.parametrize(("name", "primaries", "gamma"), PROFILES, ids=[name for name, *_ in PROFILES])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP", "AVIF"])
def test_profiles_of_three_colours(kind: str, name: str, primaries: list, gamma: float | None) -> None:
    options = {"PNG": {}, "TIFF": {}, "JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True},
               "AVIF": {"quality": 100, "subsampling": "4:4:4"}}[kind]
    pixels = converted(plain("RGB"), kind, icc_profile=icc.rgb_profile(primaries, gamma), **options)
    assert np.abs(pixels[..., :3].astype(int) - icc.to_srgb(COLOUR, primaries, gamma)).max() <= 3
    if name == "Display P3":
        assert np.abs(pixels[4, 4].astype(int) - (215, 93, 31, 255)).max() <= 3


def test_a_profile_keeps_alpha() -> None:
    image = plain("RGBA")
    image.putalpha(99)
    pixels = converted(image, "PNG", icc_profile=icc.rgb_profile(icc.DISPLAY_P3, None))
    assert pixels[4, 4].tolist() == [*icc.to_srgb(COLOUR, icc.DISPLAY_P3, None), 99]


def test_a_palette_and_grey_take_a_profile_of_three_colours() -> None:
    profile = icc.rgb_profile(icc.ADOBE_RGB, 1.0)
    grey = icc.to_srgb((124,) * 3, icc.ADOBE_RGB, 1.0)
    assert np.abs(converted(plain("L"), "PNG", icc_profile=profile)[4, 4].astype(int) - [*grey, 255]).max() <= 1
    palette = Image.new("P", (16, 9), 1)
    palette.putpalette([0, 0, 0, *COLOUR])
    wanted = icc.to_srgb(COLOUR, icc.ADOBE_RGB, 1.0)
    assert np.abs(converted(palette, "PNG", icc_profile=profile)[4, 4].astype(int) - [*wanted, 255]).max() <= 1


@pytest.mark.parametrize("image", [Image.new("L", (16, 9), 55), Image.new("LA", (16, 9), (55, 255)),
                                   Image.new("I;16", (16, 9), 55 * 257)], ids=lambda image: image.mode)
def test_grey_profile(image: Image.Image) -> None:
    pixels = converted(image, "PNG", icc_profile=icc.grey_profile(1.0))
    assert np.abs(pixels[4, 4].astype(int) - [*icc.to_srgb((55,) * 3, icc.SRGB, 1.0), 255]).max() <= 1


@pytest.mark.parametrize(("ink", "colour"), [
    ((0, 0, 0, 0), (255, 255, 255)), ((255, 0, 0, 0), (0, 151, 218)), ((0, 255, 0, 0), (216, 12, 123)),
    ((0, 0, 255, 0), (247, 224, 0)), ((0, 0, 0, 255), (40, 40, 40)),
])
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_profile(kind: str, ink: tuple, colour: tuple) -> None:
    """The table's colours, as sRGB by the formulas of CIE L*a*b*; without the profile cyan is (0, 255, 255)."""
    options = {"quality": 100} if kind == "JPEG" else {}
    pixels = converted(Image.new("CMYK", (16, 9), ink), kind, icc_profile=icc.cmyk_profile(INKS), **options)
    assert np.abs(pixels[4, 4, :3].astype(int) - colour).max() <= 2


@pytest.mark.parametrize("profile", [b"rubbish", icc.grey_profile(1.0), icc.cmyk_profile(INKS)],
                         ids=["broken", "grey", "CMYK"])
def test_a_profile_that_does_not_fit_changes_nothing(profile: bytes) -> None:
    assert (converted(plain("RGB"), "PNG", icc_profile=profile) == (*COLOUR, 255)).all()


def test_a_profile_that_is_srgb_changes_no_value() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (36, 64, 4), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (converted(Image.fromarray(pixels), "PNG", icc_profile=profile) == pixels).all()


def test_bands_and_reduction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Converted in bands of two rows, a picture is the same; made smaller, colours below alpha 0 do not show."""
    pixels = np.random.default_rng(4).integers(0, 256, (37, 64, 4), np.uint8)
    whole = Image.fromarray(pixels)
    monkeypatch.setattr(picture_colours, "BAND_PIXELS", 64 * 7)
    assert (to_srgb(whole) == pixels).all()
    assert (to_srgb(whole, 3) == np.asarray(whole.reduce(3))).all()
    assert to_srgb(whole, 3).shape == (13, 22, 4)
    values = np.arange(36 * 64, dtype=np.float32).reshape(36, 64)
    monkeypatch.setattr(picture_colours, "BAND_PIXELS", 64)
    assert to_srgb(Image.fromarray(values))[-1, -1, 0] == round(255 * (36 * 64 - 1) / 65535)
