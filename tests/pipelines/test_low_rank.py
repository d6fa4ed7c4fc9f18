"""LoRAs as inputs: the live form equals the weights that LoRAs change, and survives tracing and export."""

from __future__ import annotations

import pytest

from tests.rigs.lazy_imports import lazy_imports
from tests.rigs.tiny import make_unet

with lazy_imports(globals()):
    import torch
    from torch import Tensor, nn

    from lcm_daemon.pipelines.accelerators.low_rank import LiveForm, live_form
    from lcm_daemon.pipelines.accelerators.openvino_trace import trace
    from lcm_daemon.pipelines.lora_file import Factor
    from lcm_daemon.pipelines.loras import LiveLoras
    from lcm_daemon.pipelines.unet import UNetPass


def make_loras(unet: nn.Module) -> LiveLoras:
    """Two LoRAs of different ranks: one in every layer, one in the attention only."""
    def factor(layer: nn.Module, rank: int) -> Factor:
        outputs, inputs = layer.weight.flatten(1).shape  # type: ignore[union-attr, operator]
        return Factor(0.1 * torch.randn(outputs, rank), 0.1 * torch.randn(rank, inputs))

    layers = {name: layer for name, layer in unet.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    return LiveLoras(unet, [], {
        "one": {layer: factor(layer, 2) for layer in layers.values()},
        "two": {layer: factor(layer, 3) for name, layer in layers.items() if "attn" in name}})


@pytest.fixture
def unet() -> UNetPass:
    torch.manual_seed(0)
    return UNetPass(make_unet().eval().requires_grad_(False).to(memory_format=torch.channels_last))


def inputs() -> tuple[Tensor | None, ...]:
    return torch.randn(1, 4, 8, 8), torch.tensor([500.0]), torch.randn(1, 16, 32), None


def form_of(unet: UNetPass, loras: LiveLoras) -> LiveForm:
    form = live_form(unet, loras.low_rank(unet), lambda: loras.weights)
    assert form is not None
    return form


def test_the_form_follows_the_faders_as_the_weights_do(unet: UNetPass) -> None:
    with torch.inference_mode():
        loras, example = make_loras(unet), inputs()
        form = form_of(unet, loras)
        for weights in ({"one": 0.0, "two": 0.0}, {"one": 0.7, "two": 0.0}, {"one": -0.4, "two": 1.3}):
            loras.set_weights(weights)
            torch.testing.assert_close(form.make()(form.scales(), *example), unet(*example), rtol=1e-4, atol=1e-4)


def test_the_form_keeps_the_weights_of_scale_0_and_copies_no_others(unet: UNetPass) -> None:
    with torch.inference_mode():
        loras, example = make_loras(unet), inputs()
        at_zero = unet(*example)
        loras.set_weights({"one": 1.0})
        form = form_of(unet, loras)
        torch.testing.assert_close(form.make()(torch.zeros(2), *example), at_zero)
        norm = dict(unet.named_parameters())["unet.conv_norm_out.weight"]
        assert form.make().get_parameter("module.unet.conv_norm_out.weight") is norm


@pytest.mark.slow
def test_tracers_see_the_scales_as_an_input(unet: UNetPass, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """OpenVINO's converter takes TorchScript, TensorRT the result of torch.export."""
    loras, example, scales = make_loras(unet), inputs(), torch.tensor([0.8, -0.5])
    form = form_of(unet, loras)
    trace(form.make(), (torch.full((2,), 0.5), *example), tmp_path / "form.pt")
    traced = torch.jit.load(tmp_path / "form.pt")
    tensors = tuple(tensor for tensor in example if tensor is not None)
    with torch.no_grad():
        expected = form.make()(scales, *example)
        torch.testing.assert_close(traced(scales, *tensors), expected, rtol=1e-4, atol=1e-4)
        exported = torch.export.export(form.make(), (torch.full((2,), 0.5), *example), strict=False).module()
        torch.testing.assert_close(exported(scales, *example), expected, rtol=1e-4, atol=1e-4)


def test_a_grouped_convolution_has_no_such_form() -> None:
    module = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    loras = LiveLoras(module, [], {"one": {module[0]: Factor(torch.ones(4, 1), torch.ones(1, 18))}})
    assert live_form(module, loras.low_rank(module), lambda: loras.weights) is None
