"""Parts of a recipe with names, which must differ: most become part of the addresses of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Items
from lcm_daemon.recipes.parts import ImagePrompt


@dataclass(frozen=True)
class NamedItems(Items):
    """A list of parts with names. Parts without a name may be as many as there are.

    Attributes:
        part: What an item is, such as "LoRA".
        name: Returns the name of an item; "" for none.
        reason: Why names must differ.
    """

    part: str = "part"
    name: Callable[[Any], str] = lambda item: str(item.name)
    reason: str = "each has parameters of its own"

    def read(self, node: Node, problems: Problems) -> Any:
        """Read the parts. Of two with one name, each is reported with the place of the other."""
        found = super().read(node, problems)
        named: dict[str, list[Node]] = {}
        for item, raw in zip(found or (), node.raw.value, strict=False):
            if item is not None and (name := self.name(item)):
                named.setdefault(name, []).append(_name_node(Node(node.file, raw)))
        for name, nodes in named.items():
            for here in nodes if len(nodes) > 1 else ():
                others = " and ".join(_place(other) for other in nodes if other is not here)
                problems.add(here, f"another {self.part} is named {name!r}, at {others}; "
                                   f"names must differ, as {self.reason}")
        return found


def image_prompts_of(
    values: dict[str, Any], given: Mapping[str, Node], problems: Problems,
) -> Sequence[ImagePrompt]:
    """The image prompts of a recipe. One without a name and those with names replace each other's from the base.

    Args:
        values: The fields of the recipe, its base's included.
        given: The nodes of the keys that the recipe says itself.
        problems: Receives the mistake of writing both.
    """
    if values.get("image_prompt") and values.get("image_prompts"):
        if "image_prompt" in given and "image_prompts" in given:
            problems.add(given["image_prompt"], "several image prompts are all written under image_prompts, with names")
        values["image_prompts" if "image_prompt" in given else "image_prompt"] = () if "image_prompt" in given else None
    single: ImagePrompt | None = values.get("image_prompt")
    return (single,) if single else values.get("image_prompts", ())


def _name_node(item: Node) -> Node:
    """The value of an item's key `name`."""
    if isinstance(item.raw, yaml.MappingNode):
        return next((value for key, value in item.items() if key.value == "name"), item)
    return item


def _place(node: Node) -> str:
    problem = node.problem("")
    return f"{problem.line}:{problem.column}"
