"""The float and the int8 form of one converted model, whose inputs of quantised layers are rounded.

The model comes with the weights as they are. So both forms are made from one conversion, which takes longer than to
compile them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from openvino import opset13 as opset

from lcm_daemon.pipelines.accelerators.int8 import WEIGHT_LIMIT, weight_steps

_ROUNDING = "FakeQuantize"


def float_form(model: Any) -> Any:
    """Return the model without rounding."""
    model = model.clone()
    for operation in model.get_ops():
        if operation.get_type_name() == _ROUNDING:
            operation.output(0).replace(_without_rounding(operation))
    return model


def int8_form(model: Any) -> Any:
    """Return the model with rounded weights where the inputs are rounded: the compiler makes integer kernels of it."""
    model = model.clone()
    for operation in model.get_ops():
        if operation.get_type_name() == "Convolution" and _is_rounded(operation.input_value(0).get_node()):
            weight = _constant(operation.input_value(1).get_node())
            ends = WEIGHT_LIMIT * weight_steps(torch.from_numpy(weight)).view(-1, 1, 1, 1).numpy()
            rounded = opset.fake_quantize(opset.constant(weight), -ends, ends, -ends, ends, 2 * WEIGHT_LIMIT + 1)
            operation.input(1).replace_source_output(rounded.output(0))
    return model


def _without_rounding(operation: Any) -> Any:
    """What the converter has merged into the rounding: factors and sums before it, and a ReLU where it starts at 0."""
    low, high, out_low, out_high = (
        _constant(operation.input_value(number).get_node()).astype(np.float64) for number in range(1, 5))
    factor = (out_high - out_low) / (high - low)
    shift = out_low - low * factor
    result = operation.input_value(0)
    if not np.allclose(factor, 1.0, rtol=1e-6):
        result = opset.multiply(result, opset.constant(factor.astype(np.float32))).output(0)
    if np.abs(shift).max() > 1e-6 * np.abs(out_high - out_low).max():
        result = opset.add(result, opset.constant(shift.astype(np.float32))).output(0)
    return opset.relu(result).output(0) if not out_low.any() else result


def _is_rounded(node: Any) -> bool:
    if node.get_type_name() == "Pad":  # of the convolutions that replace an upsampling
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == _ROUNDING)


def _constant(node: Any) -> Any:
    """The float32 value of a constant, which may be stored in 16 bits."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        raise RuntimeError(f"a constant is computed by {node.get_type_name()}")
    return node.get_data(dtype="float32").copy()
