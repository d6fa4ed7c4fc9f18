"""The words that the built-in model knows: subjects, colours and styles, and the captions made from them."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A material or a pattern: its synonyms (the first is its name), its natural colour and one line about it.

    determined: its painter always draws the same, except for the light on it.
    """

    names: tuple[str, ...]
    colour: str
    about: str
    determined: bool = False


@dataclass(frozen=True)
class Colour:
    """A colour: its synonyms and a ramp of five stops from dark to light, sRGB hex."""

    names: tuple[str, ...]
    ramp: tuple[str, str, str, str, str]
    about: str


@dataclass(frozen=True)
class Style:
    """A way of drawing: its synonyms (none for plain) and one line about it."""

    names: tuple[str, ...]
    about: str


SUBJECTS: dict[str, Subject] = {
    "fire": Subject(("fire", "flames", "burning flames"), "orange", "flames that rise from a bright base"),
    "ocean": Subject(("ocean", "sea waves", "water"), "blue", "rolling waves seen from above"),
    "lava": Subject(("lava", "magma", "molten rock"), "red", "glowing cracks in dark rock"),
    "clouds": Subject(("clouds", "cloudy sky", "fog"), "white", "soft billowing clouds"),
    "marble": Subject(("marble", "marble stone", "veined marble"), "white", "pale stone with thin dark veins"),
    "stars": Subject(("stars", "starry sky", "galaxy"), "purple", "large stars before a bright nebula"),
    "lightning": Subject(("lightning", "thunderbolt", "electricity"), "purple", "jagged bolts from top to bottom"),
    "neon grid": Subject(
        ("neon grid", "synthwave", "retro horizon"), "pink", "a floor of glowing lines under a sun", True
    ),
    "checker": Subject(("checker", "chessboard", "checkerboard"), "monochrome", "squares, light and dark in turn"),
    "stripes": Subject(("stripes", "striped pattern", "bars"), "monochrome", "straight parallel bars", True),
    "grid": Subject(
        ("grid", "square grid", "lattice"), "turquoise", "thin bright lines that cross at right angles", True
    ),
    "honeycomb": Subject(("honeycomb", "hexagons", "beehive"), "gold", "six-sided cells"),
    "bricks": Subject(("bricks", "brick wall", "masonry"), "brown", "a wall of bricks with mortar between them", True),
    "stained glass": Subject(
        ("stained glass", "mosaic glass", "church window"), "rainbow", "flat panes with dark lead"
    ),
    "ripples": Subject(("ripples", "water rings", "concentric rings"), "turquoise", "rings around a centre"),
    "wood": Subject(("wood", "wooden planks", "timber"), "brown", "upright grain with knots"),
    "forest": Subject(("forest", "woods", "trees"), "green", "dark trunks in the mist"),
    "mountains": Subject(("mountains", "mountain range", "hills"), "blue", "ridges behind ridges under a clear sky"),
    "flowers": Subject(("flowers", "blossoms", "floral pattern"), "pink", "large blossoms with round petals"),
    "dots": Subject(("dots", "polka dots", "spots"), "red", "round dots in rows", True),
    "zebra": Subject(("zebra", "zebra skin", "labyrinth"), "monochrome", "winding bands, light and dark"),
    "crystal": Subject(("crystal", "ice crystal", "gemstone"), "turquoise", "slanted facets, each shaded on its own"),
    "spiral": Subject(("spiral", "vortex", "whirlpool"), "purple", "arms that wind around the centre"),
    "sunset": Subject(("sunset", "sunrise", "setting sun"), "orange", "a low sun above water", True),
    "tunnel": Subject(("tunnel", "corridor", "wormhole"), "green", "rings of tiles that run into the depth"),
}

COLOURS: dict[str, Colour] = {
    "red": Colour(("red", "crimson", "scarlet"), ("#1c0003", "#75000c", "#d80a18", "#ff3b30", "#ffb09c"), "pure red"),
    "orange": Colour(
        ("orange", "amber", "tangerine"), ("#1f0a00", "#8a3000", "#f06a00", "#ff9a1f", "#ffe0a0"), "orange"
    ),
    "gold": Colour(("gold", "yellow", "golden"), ("#221a00", "#7d6200", "#d8b400", "#ffe11a", "#fff6a8"), "yellow"),
    "green": Colour(("green", "emerald", "jade"), ("#001a04", "#00571a", "#0fa02c", "#4fdc48", "#ccffa8"), "green"),
    "turquoise": Colour(
        ("turquoise", "teal", "cyan"), ("#001c1c", "#00605c", "#00b3a6", "#2ee8d8", "#c0fff4"), "blue-green"
    ),
    "blue": Colour(("blue", "azure", "cobalt"), ("#000524", "#001f86", "#0a50e6", "#3f92ff", "#b4dcff"), "deep blue"),
    "purple": Colour(("purple", "violet", "indigo"), ("#10001f", "#440088", "#8416d8", "#b45aff", "#e6c4ff"), "violet"),
    "pink": Colour(("pink", "magenta", "fuchsia"), ("#24001a", "#8c0062", "#f01aa0", "#ff66c4", "#ffc8ea"), "pink"),
    "brown": Colour(("brown", "bronze", "chestnut"), ("#140a04", "#452614", "#7d4c2c", "#aa7a52", "#dcbc98"), "brown"),
    "white": Colour(("white", "snowy", "ivory"), ("#7c8088", "#a6aab0", "#cfd2d6", "#eceef0", "#ffffff"), "near white"),
    "monochrome": Colour(
        ("monochrome", "black and white", "grey"), ("#040404", "#3c3c3c", "#808080", "#c4c4c4", "#fcfcfc"), "no hue"
    ),
    "rainbow": Colour(
        ("rainbow", "colorful", "multicolored"), ("#e01020", "#e8b000", "#18b030", "#1070f0", "#a020e0"), "every hue"
    ),
}

STYLES: dict[str, Style] = {
    "plain": Style((), "no style word"),
    "pixel art": Style(("pixel art", "pixelated", "8 bit"), "square blocks"),
    "halftone": Style(("halftone", "newsprint", "comic dots"), "a raster of dots"),
    "line art": Style(("line art", "line drawing", "ink sketch"), "outlines on light paper"),
    "posterized": Style(("posterized", "flat poster", "screen print"), "three flat tones"),
    "glowing": Style(("glowing", "luminous", "neon light"), "light on black"),
}

FILLERS: tuple[str, ...] = ("", "", "", "", "a picture of", "abstract", "beautiful", "detailed", "texture of", "a")
TEMPLATES: tuple[str, ...] = (
    "{filler} {colour} {subject} {style}",
    "{filler} {colour} {subject}, {style}",
    "{style} {colour} {subject}",
    "{style} {filler} {subject}, {colour}",
    "{subject}, {colour}, {style}",
    "{subject} in {colour}, {style}",
)
MAX_TOKENS = 16


def write_caption(subject: str, colour: str, style: str, chance: random.Random) -> str:
    """Return one caption in random words for an image of this subject, colour and style.

    Half of the captions whose colour is the subject's natural one do not name the colour.
    """
    names = SUBJECTS[subject].names
    natural = colour == SUBJECTS[subject].colour and chance.random() < 0.5
    words = {
        "filler": chance.choice(FILLERS),
        "colour": "" if natural else pick(COLOURS[colour].names, chance),
        "subject": pick(names, chance),
        "style": pick(STYLES[style].names, chance),
    }
    return tidy(chance.choice(TEMPLATES).format(**words))


def pick(names: tuple[str, ...], chance: random.Random) -> str:
    """Return the first name in two of three cases, else a synonym; "" if there are no names."""
    if not names:
        return ""
    return names[0] if chance.random() < 0.67 else chance.choice(names)


def tidy(text: str) -> str:
    """Remove the commas and spaces that empty words leave."""
    parts = (" ".join(part.split()) for part in text.split(","))
    return ", ".join(part.removesuffix(" in") for part in parts if part and part != "in")
