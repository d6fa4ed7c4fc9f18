"""OpenVINO's compiler in a process of its own: a model that makes it crash takes this process down, not the engine.

Run as: python -m lcm_daemon.pipelines.accelerators.openvino_compile TRACED.pt OUT.blob SHAPES PROPERTIES
with the inputs' shapes and OpenVINO's properties as JSON: '[[1, 4, 64, 64]]' '{"INFERENCE_PRECISION_HINT": "f32"}'.
It ends at the end of its standard input, which the engine holds open for as long as it lives.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import openvino
import torch

GENTLE = 10  # niceness: the engine plays meanwhile


def main(traced: str, out: str, shapes: str, properties: str) -> None:
    """Convert, compile, prove that it runs, export. Raises SystemExit where an input is lost on the way."""
    threading.Thread(target=_follow_engine, name="follow-engine", daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(GENTLE)
    module = torch.jit.load(traced)  # type: ignore[no-untyped-call]
    example = tuple(torch.zeros(shape) for shape in json.loads(shapes))
    model = openvino.convert_model(module, example_input=example, input=[tuple(tensor.shape) for tensor in example])
    del module
    if len(model.inputs) != len(example):
        raise SystemExit(f"{len(example)} inputs became {len(model.inputs)}: one is not used")
    compiled = openvino.Core().compile_model(model, "CPU", json.loads(properties))
    compiled([tensor.numpy() for tensor in example])
    exported = compiled.export_model()  # a BytesIO, whatever its annotation says
    Path(out).write_bytes(exported.getbuffer() if isinstance(exported, io.BytesIO) else exported)


def _follow_engine() -> None:
    os.read(0, 1)  # nothing is ever written; not by sys.stdin, whose lock would be held when the interpreter ends
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
