"""The keys of a recipe's `schedule`, which override the model's scheduler_config.json, and what is impossible in both.

The names are diffusers', but for those that say what a model was distilled for (`pipelines.sampler`,
`pipelines.flow_sampler`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lcm_daemon.core.document import Node, Problems
from lcm_daemon.core.schema import Boolean, Choice, Custom, Field, FieldKind, Fields, Number, Section, unique_items
from lcm_daemon.core.suggestions import nearest
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import SAMPLERS

_BETA = Number(1e-6, 0.999)
TIMESTEPS = 1000  # what is assumed of num_train_timesteps where neither recipe nor model says it, as diffusers does
QUARTER = 1.58  # radians; just above pi / 2, as in diffusers' SanaSprintPipeline

# Of the samplers that add noise in variance-preserving steps.
_NOISE: Fields = {
    "num_train_timesteps": Field(Number(10, 100_000, whole=True), None, "timesteps that the model was trained on"),
    "beta_schedule": Field(Choice(("linear", "scaled_linear", "squaredcos_cap_v2")), None),
    "beta_start": Field(_BETA, None, "noise that the first timestep adds"),
    "beta_end": Field(_BETA, None, "noise that the last timestep adds"),
    "rescale_betas_zero_snr": Field(Boolean(), None, "nothing of the image is left at the last timestep"),
    "prediction_type": Field(Choice(("epsilon", "v_prediction", "sample", "trigflow")), None, "the model's output"),
    "original_inference_steps": Field(Number(1, 1000, whole=True), None, "levels that the model was distilled on"),
    "timestep_scaling": Field(Number(0.001, 1e6), None, "of the boundary conditions of consistency models"),
    "set_alpha_to_one": Field(Boolean(), None, "whether the sampler ddim ends at the clean image"),
    "first_timestep": Field(Number(1, 100_000, whole=True), None, "timestep that strength 1 starts at"),
    "gamma": Field(Number(0, 1), None, "share of the noise that the sampler tcd draws again"),
}
# Of the samplers of flow matching.
_FLOW: Fields = {
    "prediction_type": _NOISE["prediction_type"],
    "max_timesteps": Field(Number(0.01, QUARTER), None, "angle that strength 1 starts at"),
    "intermediate_timesteps": Field(Number(0, QUARTER), None, "angle of the second of two steps; 0 is half-way"),
    "shift": Field(Number(0.01, 100), None, "how far the steps lie towards noise, where it is not dynamic"),
    "use_dynamic_shifting": Field(Boolean(), None, "the shift depends on the number of the image's tokens"),
    "base_shift": Field(Number(0, 10), None, "the dynamic shift at base_image_seq_len tokens"),
    "max_shift": Field(Number(0, 10), None, "the dynamic shift at max_image_seq_len tokens"),
}
_TIMED: Fields = {"service": Field(Number(0, 60), None, "of the pipeline timed_copy: seconds that a frame takes")}
KEYS: Fields = {**_NOISE, **_FLOW, **_TIMED}
# diffusers' keys that decide what a recipe's sampler decides here.
_WITHOUT_EFFECT = frozenset((
    "timestep_spacing", "steps_offset", "skip_prk_steps", "trained_betas", "variance_type", "interpolation_type",
    "final_sigmas_type", "algorithm_type", "solver_order", "solver_type", "lower_order_final", "use_karras_sigmas",
    "use_exponential_sigmas", "use_beta_sigmas", "sigma_min", "sigma_max", "timestep_type", "clip_sample_range",
    "dynamic_thresholding_ratio", "sample_max_value", "euler_at_final", "use_lu_lambdas"))
_DEFAULTS = Recipe("")
_OF_IMAGES = ("clip_sample", "thresholding")


def _read(node: Node, problems: Problems) -> dict[str, Any]:
    if not isinstance(node.raw, yaml.MappingNode):
        problems.add(node, "a mapping is wanted, such as {prediction_type: sample}")
        return {}
    values: dict[str, Any] = {}
    for name, key, value in unique_items(node, problems):
        if name in KEYS:
            values[name] = KEYS[name].kind.read(value, problems)
        elif name in _OF_IMAGES:
            problems.add(key, f"schedule: {name} is for models of images, not of latents; leave it out")
        elif name in _WITHOUT_EFFECT:
            problems.add(key, f"schedule: {name} has no effect, the recipe's sampler decides; leave it out")
        else:
            problems.add(key, f"unknown key {name!r:.80} of a schedule{nearest(name, KEYS)}")
    return values


SCHEDULE = Custom(_read, f"a mapping with the keys {', '.join(KEYS)}", Section(KEYS))


def check_schedule(values: Mapping[str, Any], given: Mapping[str, Node], problems: Problems) -> None:
    """Report keys that the recipe's sampler does not read, and numbers that contradict each other.

    Args:
        values: The fields of `Recipe`, those of the base included.
        given: The nodes of the keys that the recipe says itself.
        problems: Receives the mistakes, each at its key.
    """
    schedule, node = values.get("schedule"), given.get("schedule") or given.get("sampler")
    if not schedule or node is None or None in schedule.values():
        return
    places = {str(key.raw.value): key for key, _ in node.items()} if "schedule" in given else {}
    reader, known = _reader(values)
    for key in schedule:
        if key not in known:
            problems.add(places.get(key, node), f"schedule: {reader} does not read {key}")
    for key, mistake in contradictions(schedule):
        problems.add(places.get(key, node), f"schedule: {mistake}")


def _reader(values: Mapping[str, Any]) -> tuple[str, Fields]:
    """What reads a recipe's schedule, and the keys that it reads."""
    pipeline, sampler = (values.get(key) or getattr(_DEFAULTS, key) for key in ("pipeline", "sampler"))
    if pipeline != _DEFAULTS.pipeline:
        return f"the pipeline {pipeline}", _TIMED
    return f"the sampler {sampler}", _FLOW if SAMPLERS[sampler].flow else _NOISE


def contradictions(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Numbers of a schedule that contradict each other: the key, and what is wrong with it."""
    count = config.get("num_train_timesteps") or TIMESTEPS
    for key in ("original_inference_steps", "first_timestep"):
        if (number := config.get(key) or 0) > count - (key == "first_timestep"):
            yield key, f"{key} {number} is more than {count} training timesteps allow"
    start, end = config.get("beta_start"), config.get("beta_end")
    if start is not None and end is not None and end < start:
        yield "beta_end", f"beta_end {end:g} is below beta_start {start:g}"
    first, middle = config.get("max_timesteps"), config.get("intermediate_timesteps")
    if middle is not None and middle >= (math.pi / 2 if first is None else first):
        yield "intermediate_timesteps", f"intermediate_timesteps {middle:g} is not below max_timesteps"


def impossible(config: Mapping[str, Any]) -> str:
    """What is impossible in a model's scheduler_config.json, or an empty string.

    Unknown keys are accepted there, and words are checked where they are looked up.
    """
    for key, field in {**_NOISE, **_FLOW}.items():
        value = config.get(key)
        if value is not None and not isinstance(field.kind, Choice) and not _is_possible(field.kind, value):
            return f"{key}: {value!r:.40} is not {field.kind.describe()}"
    return next((mistake for _, mistake in contradictions(config)), "")


def _is_possible(kind: FieldKind, value: Any) -> bool:
    if not isinstance(kind, Number):
        return value in (True, False)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and kind.low <= value <= kind.high and (not kind.whole or value == int(value))
