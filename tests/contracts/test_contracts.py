"""The built-in parts pass the contract tests, and parts with a fault do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lcm_daemon import controllers, pipelines
from lcm_daemon.contracts.controllers import check_controller
from lcm_daemon.contracts.pipelines import check_pipeline
from lcm_daemon.contracts.preprocessors import check_preprocessor
from lcm_daemon.contracts.transports import check_source, check_transport
from lcm_daemon.controllers.base import Controller
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.frame import Frame, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.requests import commands
from lcm_daemon.core.schema import Field, Text
from lcm_daemon.pipelines import preprocessors
from lcm_daemon.pipelines.passthrough import Passthrough
from lcm_daemon.pipelines.preprocessors.base import NoPreprocessor, Preprocessor
from lcm_daemon.recipes.reader import load_recipe
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import PIPELINES, PREPROCESSORS
from lcm_daemon.transports.base import Probe, Source, Transport

WITHOUT_MODELS = [name for name in PREPROCESSORS if not preprocessors.load_class(name).detector]
RECIPE = Recipe("plain", pipeline="passthrough")


def controls() -> ControlState:
    values = {name: parameter.default for name, parameter in TABLE.items()}
    return ControlState(TABLE, values, Metrics(), lambda: None, commands([]))


@pytest.mark.parametrize("name", [name for name in PIPELINES if name != "latent_consistency"])
def test_pipelines(name: str) -> None:
    check_pipeline(pipelines.load_class(name), Recipe(name, pipeline=name))


@pytest.mark.slow
def test_the_pipeline_of_models() -> None:
    kind = pipelines.load_class("latent_consistency")
    check_pipeline(kind, replace(load_recipe("builtin"), accelerate="none"))


@pytest.mark.parametrize("name", WITHOUT_MODELS)
def test_preprocessors(name: str) -> None:
    check_preprocessor(preprocessors.load_class(name))


def test_preprocessors_are_found() -> None:
    assert {"canny", "tile", "none"} <= set(WITHOUT_MODELS)


@pytest.mark.parametrize(("name", "options"), [
    ("osc", {"port": 0}), ("oscquery", {"port": 0}), ("tempo", {})])
def test_controllers(name: str, options: Mapping[str, Any]) -> None:
    check_controller(controllers.load(name), controls(), options)


class WritesInput(Passthrough):
    def _render(self, frame, values, out, guide):
        frame.fill(7)
        return super()._render(frame, values, out, guide)


class DropsAlpha(Passthrough):
    def _render(self, frame, values, out, guide):
        np.copyto(out, frame)
        out[..., 3] = 255
        return {}


class NeverLoaded(Passthrough):
    def submit(self, frame, values, out, guide=None, session=""):
        return self._submit(frame, values, out, guide)


@pytest.mark.parametrize(("kind", "reason"), [
    (WritesInput, "the input frame was written to"), (DropsAlpha, "alpha is not that of the input"),
    (NeverLoaded, "it renders before `load`")])
def test_faults_of_pipelines_are_found(kind: type[Passthrough], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_pipeline(kind, RECIPE)


class TooWide(NoPreprocessor):
    def _map(self, image):
        return image


class Grows(NoPreprocessor):
    def _map(self, image):
        return super()._map(image).repeat(1, 1, 2, 2)


class Remembers(Preprocessor):
    last: torch.Tensor | None = None

    def _map(self, image):
        now = image.mul(0.5).add(0.5)
        last, self.last = self.last, now
        return now if last is None else (now + last) / 2


@pytest.mark.parametrize(("kind", "reason"), [
    (TooWide, "the map goes below 0"), (Grows, "the map is"), (Remembers, "after `restore` it makes another map")])
def test_faults_of_preprocessors_are_found(kind: type[Preprocessor], reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        check_preprocessor(kind)


class Helpless(Source):
    fields = {"name": Field(Text(), "")}

    def _open_source(self) -> None: ...

    def _read(self, timeout: float) -> Frame | None:
        return Frame(solid((16, 16)), 0, 0.0)

    def _close(self) -> None: ...


def test_faults_of_transports_are_found() -> None:
    with pytest.raises(AssertionError, match="option name has no help"):
        check_transport(Transport(Helpless, None, lambda: Probe(True, "here")))
    with pytest.raises(AssertionError, match=r"the probe says more than one line"):
        check_transport(Transport(Helpless, None, lambda: Probe(True, "here\nand there")))
    with pytest.raises(AssertionError, match=r"times of frames|numbers of frames"):
        check_source(Helpless({}))


class TakesAnything(Controller):
    def __init__(self, controls: ControlState, options: Mapping[str, Any]) -> None:
        self.controls, self.options = controls, options

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def test_faults_of_controllers_are_found() -> None:
    with pytest.raises(AssertionError, match="accepts an unknown option"):
        check_controller(TakesAnything, controls(), {})
