"""What a recipe may say, by the family of its model. `registry.FAMILIES` declares it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import FAMILIES

_DEFAULTS = Recipe("")


def check_family(values: Mapping[str, Any], given: Mapping[str, Node], node: Node, problems: Problems) -> None:
    """Report every key of a recipe that its family does not take.

    Args:
        values: The fields of `Recipe`, those of the base included.
        given: The nodes of the keys that the recipe says itself. A mistake of its base is reported there.
        node: The recipe, for what it changes by naming another family.
        problems: Receives the mistakes.
    """
    pipeline = values.get("pipeline", _DEFAULTS.pipeline)
    if pipeline == "passthrough" and values.get("checkpoint") and "checkpoint" in given:
        problems.add(given["checkpoint"], "passthrough plays no model: take another base")
    if pipeline != _DEFAULTS.pipeline:
        return
    for key, mistake in _mistakes(values):
        if key in given:
            problems.add(given[key], mistake)
        elif "family" in given:
            problems.add(given["family"], mistake)


def _mistakes(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys with what is wrong with them."""
    family = FAMILIES[values.get("family") or _DEFAULTS.family]
    for key, refused in family.refused.items():
        if values.get(key):
            yield key, f"{family.title} takes {refused}: remove {key}"
    for key, required in family.required.items():
        if not values.get(key):
            yield key, f"{family.title} needs {key}: {required}"
    for key, allowed in (("sampler", family.samplers), ("guidance", family.guidance),
                         ("accelerate", family.accelerators)):
        value = values.get(key) or getattr(_DEFAULTS, key)
        if value not in allowed:
            yield key, f"{family.title} takes {key}: {' or '.join(allowed)}, not {value}"
    size, step = values.get("size") or _DEFAULTS.size, family.step
    if any(side % step for side in size):
        near = [max(round(side / step), 1) * step for side in size]
        yield "size", f"{family.title} renders sizes in multiples of {step} pixels: {near} is near {list(size)}"
    if str(values.get("device") or "").startswith("openvino:") and "openvino" not in family.accelerators:
        yield "device", f"{family.title} does not run with OpenVINO: choose another device"
