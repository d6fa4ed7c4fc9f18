"""OpenVINO's compiler in a process of its own, so that a crash of the compiler does not end the engine.

Run as: python -m lcm_daemon.pipelines.accelerators.openvino_compile TRACED.pt OUT.blob SHAPES PROPERTIES
with the inputs' shapes and OpenVINO's properties as JSON: '[[1, 4, 64, 64]]' '{"INFERENCE_PRECISION_HINT": "f32"}'.
The process ends at the end of its standard input, which the engine keeps open.
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

NICENESS = 10  # the engine renders at the same time


def main(traced: str, out: str, shapes: str, properties: str) -> None:
    """Convert, compile, run once, and export a traced module. Raises SystemExit if the conversion loses an input."""
    threading.Thread(target=_exit_with_engine, name="exit-with-engine", daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    module = torch.jit.load(traced)  # type: ignore[no-untyped-call]
    example = tuple(torch.zeros(shape) for shape in json.loads(shapes))
    model = openvino.convert_model(module, example_input=example, input=[tuple(tensor.shape) for tensor in example])
    del module
    if len(model.inputs) != len(example):
        raise SystemExit(f"{len(example)} inputs became {len(model.inputs)}: the module does not use all of them")
    compiled = openvino.Core().compile_model(model, "CPU", json.loads(properties))
    compiled([tensor.numpy() for tensor in example])
    exported = compiled.export_model()  # a BytesIO, despite its annotation
    Path(out).write_bytes(exported.getbuffer() if isinstance(exported, io.BytesIO) else exported)


def _exit_with_engine() -> None:
    os.read(0, 1)  # returns at end of file; sys.stdin would hold its lock while the interpreter ends
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
