"""What every source and sink has in common beside its transport: where its picture lies, and what its alpha means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from lcm_daemon.core.alpha import Alpha
from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.frame import Pixels
from lcm_daemon.core.schema import Boolean, Choice, Field, Fields, JsonSchema

Point = tuple[float, float]  # across and down, from 0 to 1

ALIGNMENTS: Mapping[str, Point] = {
    "center": (0.5, 0.5), "left": (0.0, 0.5), "right": (1.0, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0),
    "top-left": (0.0, 0.0), "top-right": (1.0, 0.0), "bottom-left": (0.0, 1.0), "bottom-right": (1.0, 1.0),
}


@dataclass(frozen=True)
class AlphaChoice(Choice):
    """A meaning of alpha. `true` is straight and `false` is ignore, as shows for NDI have it."""

    options: tuple[str, ...] = ("straight", "premultiplied", "ignore")

    def read(self, node: Node, problems: Problems) -> Any:
        if isinstance(node.raw, yaml.ScalarNode) and isinstance(node.value, bool):
            return "straight" if node.value else "ignore"
        return super().read(node, problems)

    def json_schema(self) -> JsonSchema:
        return {"enum": [*self.options, True, False]}


@dataclass(frozen=True)
class Turn(Choice):
    """A number of quarter turns, in degrees."""

    options: tuple[str, ...] = ("0", "90", "180", "270")

    def read(self, node: Node, problems: Problems) -> Any:
        text = super().read(node, problems)
        return None if text is None else int(text)

    def json_schema(self) -> JsonSchema:
        return {"enum": [int(option) for option in self.options]}


ALPHA = Field(AlphaChoice(), "straight", "colours that are not multiplied by alpha, colours that are, or no alpha")
VIEW: Fields = {
    "mirror": Field(Boolean(), False, "swap left and right"),
    "flip": Field(Boolean(), False, "swap top and bottom"),
    "turn": Field(Turn(), 0, "degrees clockwise, before `mirror` and `flip`"),
    "align": Field(Choice(tuple(ALIGNMENTS)), "center", "which part stays where `cover` cuts"),
    "alpha": ALPHA,
}


@dataclass(frozen=True)
class View:
    """How a source's pictures are put into the output.

    Attributes:
        mirror: swap left and right.
        flip: swap top and bottom.
        turn: degrees clockwise: 0, 90, 180 or 270. Comes before `mirror` and `flip`.
        align: a key of ALIGNMENTS: which part stays when "cover" cuts, and where the picture lies with "contain".
        alpha: what the source's alpha means.
    """

    mirror: bool = False
    flip: bool = False
    turn: int = 0
    align: str = "center"
    alpha: Alpha = "straight"

    @property
    def is_sideways(self) -> bool:
        return self.turn in (90, 270)

    @property
    def anchor(self) -> Point:
        """`align` in the source's own picture, before it is turned and mirrored."""
        across, down = ALIGNMENTS[self.align]
        across, down = 1 - across if self.mirror else across, 1 - down if self.flip else down
        if self.turn in (180, 270):
            across, down = 1 - across, 1 - down
        return (down, 1 - across) if self.is_sideways else (across, down)

    def orient(self, pixels: Pixels) -> Pixels:
        """Turn and mirror pixels, uint8 (H, W, 4); `pixels` itself if there is nothing to do."""
        if not (self.turn or self.mirror or self.flip):
            return pixels
        whole = pixels.view(np.uint32)[..., 0]  # a pixel each: four times as fast as bytes
        turned = np.rot90(whole, -self.turn // 90)
        turned = turned[:, ::-1] if self.mirror else turned
        turned = turned[::-1] if self.flip else turned
        return np.ascontiguousarray(turned)[..., None].view(np.uint8)


DEFAULT_VIEW = View()


def read_view(values: Mapping[str, Any]) -> View:
    """The view that the keys of VIEW describe; each may be missing, or None after a mistake."""
    return View(**{key: values[key] for key in VIEW if values.get(key) is not None})
