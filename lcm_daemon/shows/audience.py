"""The show's section `audience`: its keys and how they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lcm_daemon.controllers.allowlist import HOST
from lcm_daemon.controllers.network import read_origin
from lcm_daemon.core.document import Node, Problems, path_exists
from lcm_daemon.core.parameters import Parameter, Table
from lcm_daemon.core.schema import (
    Choice,
    Custom,
    Deferred,
    Field,
    Fields,
    Items,
    Number,
    OrFalse,
    PathText,
    Text,
)
from lcm_daemon.core.schema_shapes import Either
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.recipe import Recipe

MOST_PLACES = 16
MOST_WORDS = 10_000
MOST_WORD_BYTES = 1_000_000  # of a file of words
VISITOR, SHOW = "visitor", "show"  # whose picture a session starts from
STAGE, ONE, CYCLE, MOSAIC = "stage", "one", "cycle", "mosaic"  # what the output shows
CORNERS = ("top_left", "top_right", "bottom_left", "bottom_right")
QR_KINDS = (".png", ".svg")
QR_FILE = "the path of a .png or .svg file"
SHARED_GROUPS = ("Prompt", "Play", "LoRA", "ControlNet", "Pictures", "Model")  # the others act on the output as a whole


@dataclass(frozen=True)
class AudienceConfig:
    """The show's section `audience`.

    Attributes:
        places: How many sessions are active at once.
        seconds: How long a turn takes.
        queue: How many visitors may wait; beyond it the server answers "full".
        per_address: How many visitors one address of the network may have at once, of IPv6 one /64 network.
        parameters: Names of the parameters that visitors may set.
        blocked_words: Words that no prompt of a visitor may hold; lower case.
        source: VISITOR: a session's input is its own camera, if it sends one; SHOW: the show's source.
        wall: What the output shows: STAGE, ONE, CYCLE or MOSAIC.
        cycle_seconds: How long CYCLE shows each session.
        share: Share of the frames, below 1, that the stage's own picture is guaranteed; with 0 it is not rendered.
        host: Address that the audience server listens on.
        port: Its TCP port; 0 takes any free one.
        address: Address under which visitors reach it, as "https://play.example.org"; "" for its own.
        keep: Folder that pictures of sessions are kept in after their end; "" keeps nothing.
        qr: Corner of the output with the QR code of the address; None shows none.
        qr_file: Path of the image file that the QR code is written to; "" writes none.
    """

    places: int = 2
    seconds: float = 90.0
    queue: int = 30
    per_address: int = 8
    parameters: tuple[str, ...] = ("prompt",)
    blocked_words: tuple[str, ...] = field(default=(), repr=False)
    source: str = VISITOR
    wall: str = STAGE
    cycle_seconds: float = 10.0
    share: float = 0.5
    host: str = "127.0.0.1"
    port: int = 8001
    address: str = ""
    keep: str = ""
    qr: str | None = None
    qr_file: str = ""


def _read_words(node: Node, problems: Problems, base: Path) -> tuple[str, ...] | None:
    """A list of words, or the path of a file with one a line; lines that begin with # are comments."""
    if isinstance(node.raw, yaml.SequenceNode):
        found: tuple[str | None, ...] = Items(Text()).read(node, problems)
        return _words(node, [word for word in found if word is not None], problems)
    path = PathText().read(node, problems)
    if path is None:
        return None
    file = base / Path(path).expanduser()
    try:
        if path_exists(file) and not file.is_file():
            raise OSError("it is not a file")  # a pipe would be waited for
        with file.open("rb") as opened:
            content = opened.read(MOST_WORD_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        problems.add(node, f"the file of blocked words {path!r:.80} cannot be read: {error.strerror or error}")
        return None
    except UnicodeDecodeError:
        problems.add(node, f"the file of blocked words {path!r:.80} is not UTF-8 text")
        return None
    problems.refer(node, "document", path)
    if len(content) > MOST_WORD_BYTES:
        problems.add(node, f"the file of blocked words {path!r:.80} has more than {MOST_WORD_BYTES} bytes")
        return None
    return _words(node, [line for line in text.splitlines() if not line.startswith("#")], problems)


def _words(node: Node, found: list[str], problems: Problems) -> tuple[str, ...] | None:
    words = tuple(dict.fromkeys(word.strip().casefold() for word in found if word.strip()))
    if len(words) > MOST_WORDS:
        problems.add(node, f"{len(words)} blocked words are too many: {MOST_WORDS} at most")
        return None
    return words


def _read_qr_file(node: Node, problems: Problems) -> str | None:
    path: str | None = PathText().read(node, problems)
    if path and Path(path).suffix.lower() not in QR_KINDS:
        problems.add(node, f"{path!r:.80} is not {QR_FILE}")
        return None
    return path


def _read_address(node: Node, problems: Problems) -> str | None:
    text: str | None = Text().read(node, problems)
    if text and (not read_origin(text, path=True) or " " in text):
        problems.add(node, f"{text!r:.80} is not {ADDRESS.describe()}")
        return None
    return text


ADDRESS = Custom(_read_address, "an address that browsers open, such as https://play.example.org", Text())


def _words_kind(base: Path) -> Custom:
    return Custom(lambda node, problems: _read_words(node, problems, base),
                  "a list of words, or a file with one word a line", Either((Items(Text()), PathText())))


def audience_fields(base: Path) -> Fields:
    """The keys of the section. base: folder that relative paths start from."""
    return {
        "places": Field(Number(1, MOST_PLACES, whole=True), 2, "how many visitors play at once"),
        "seconds": Field(Number(5, 86_400), 90.0, "how long a turn takes"),
        "queue": Field(Number(0, 10_000, whole=True), 30, "how many visitors may wait; further ones read that it is "
                       "full"),
        "per_address": Field(Number(1, 10_000, whole=True), 8, "how many visitors may play and wait from one address "
                             "of the network; all phones behind one router may have one address"),
        "parameters": Field(Deferred("a list of parameters", Items(Text())), None,
                            "the parameters that visitors may set; the prompt alone if the show does not say"),
        "blocked_words": Field(_words_kind(base), (), "words that no prompt of a visitor may hold: a list, or a file "
                               "beside the show with one word a line"),
        "source": Field(Choice((VISITOR, SHOW)), VISITOR, "what a visitor's picture starts from: the camera of the "
                        "visitor's phone, or the show's source"),
        "wall": Field(Choice((STAGE, ONE, CYCLE, MOSAIC)), STAGE, "what the output shows: its own picture, the picture "
                      "of one visitor, of each visitor after the other, or of all at once"),
        "cycle_seconds": Field(Number(1, 3600), 10.0, "how long `wall: cycle` shows each visitor"),
        "share": Field(Number(0, 0.9), 0.5, "share of the rendered frames that the show's own picture has at least; "
                       "with 0 it is not rendered"),
        "host": Field(HOST, "127.0.0.1", "address that the visitors' server listens on; 0.0.0.0 opens it to the "
                      "whole network"),
        "port": Field(Number(0, 65535, whole=True), 8001, "TCP port of the visitors' server; 0 takes any free one"),
        "address": Field(ADDRESS, "", "address that visitors open, such as https://play.example.org, where it is not "
                         "the server's own"),
        "keep": Field(PathText(), "", "a folder for the last picture of each session; without it nothing is kept"),
        "qr": Field(OrFalse(Choice(CORNERS)), None, "corner of the output that shows the address as a QR code"),
        "qr_file": Field(Custom(_read_qr_file, QR_FILE, PathText()), "", "a file for the QR code of the address"),
    }


def read_audience(
    found: Mapping[str, Any] | None, base: Path, problems: Problems, table: Table
) -> AudienceConfig | None:
    """The section's values; None if the show has no audience, or if its parameters are wrong.

    Args:
        found: What `audience_fields` have read.
        base: Folder that relative paths start from.
        table: Every parameter of the show's recipes.
    """
    if found is None:
        return None
    values = dict(found)
    node = values.pop("parameters")
    names = AudienceConfig.parameters if node is None else _read_names(node, problems, table)
    paths = {key: values[key] and str(base / Path(values[key]).expanduser()) for key in ("keep", "qr_file")}
    if any(value is None for key, value in values.items() if key != "qr"):
        return None  # the mistake is among the problems
    return AudienceConfig(**{**values, **paths, "parameters": names})


def refuse_late_pictures(node: Node, audience: AudienceConfig | None, recipes: Iterable[Recipe | None],
                         problems: Problems) -> None:
    """Find recipes with a stream batch, which completes a picture only by later frames of the same session.

    Args:
        node: The whole show.
        recipes: Those of the show; None for one with a mistake.
    """
    section = next((value for key, value in node.items() if key.raw.value == "audience"), node)
    for recipe in {recipe.name: recipe for recipe in recipes if recipe is not None}.values():
        if audience is not None and recipe.stream_batch:
            problems.add(section, f"recipe {recipe.name}: with stream_batch a visitor's picture is complete only "
                                  "several turns later; set stream_batch: false, or remove audience")


def _read_names(node: Node, problems: Problems, table: Table) -> tuple[str, ...]:
    """The names of a list of parameters that visitors may set; the others are mistakes."""
    shared = [name for name, parameter in table.items() if may_be_shared(parameter)]

    def read(item: Node, problems: Problems) -> str | None:
        name: str | None = Text().read(item, problems)
        if name is None or name in shared:
            return name
        if name in table:
            problems.add(item, f"visitors cannot have {name}: it acts on the output as a whole, and is the performer's")
        else:
            problems.add(item, f"no parameter {name!r:.80}{nearest(name, shared)}")
        return None

    found = Items(Custom(read, "a parameter's name")).read(node, problems) or ()
    return tuple(dict.fromkeys(name for name in found if name is not None))


def may_be_shared(parameter: Parameter) -> bool:
    """Whether visitors may set it: those of the output, the tempo, modulators and looks are the performer's."""
    return parameter.group in SHARED_GROUPS and parameter.look and parameter.recorded
