"""OpenVINO's compiler in a process of its own, so that a crash of the compiler does not end the engine.

Run as: python -m lcm_daemon.pipelines.accelerators.openvino_compile FOLDER CONTENDERS
with the contenders as JSON. FOLDER holds the traced module and example.safetensors, its inputs; model.blob is written
there.
The process ends at the end of its standard input, which the engine keeps open.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from safetensors.numpy import load_file

from lcm_daemon.pipelines.accelerators.openvino_contenders import INT8, Contender, write_winner
from lcm_daemon.pipelines.accelerators.openvino_forms import float_form, int8_form

NICENESS = 10  # the engine renders at the same time
ROUNDS, SECONDS = 15, 3.0  # of the contest; it ends with the first of the two, but not before MIN_ROUNDS
MIN_ROUNDS = 3
MARGIN = 0.95  # of the reference's time: what is not clearly faster is not worth its distance


def main(folder: str, contenders: str) -> None:
    """Convert, compile, compare and time the contenders, and export the fastest. Raises SystemExit if none works."""
    threading.Thread(target=_exit_with_engine, name="exit-with-engine", daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    tensors = load_file(Path(folder) / "example.safetensors")
    example = [tensors[str(place)] for place in range(len(tensors))]
    model = _convert(Path(folder) / "traced.pt", example)
    entered = {}
    for contender in (Contender(**each) for each in json.loads(contenders)):
        try:
            entered[contender] = _Compiled(model, contender, example)
        except RuntimeError as error:  # a device or a form that does not work; the others may
            print(f"{contender.name}: {error}".splitlines()[0], file=sys.stderr)
    if not entered:
        raise SystemExit(1)
    winner, seconds = choose(entered)
    write_winner(Path(folder) / "model.blob", winner, seconds, entered[winner].export())


def _convert(traced: Path, example: Sequence[np.ndarray[Any, Any]]) -> Any:
    tensors = tuple(map(torch.from_numpy, example))
    model = openvino.convert_model(torch.jit.load(traced), example_input=tensors,  # type: ignore[no-untyped-call]
                                   input=[each.shape for each in example])
    if len(model.inputs) != len(example):
        raise SystemExit(f"{len(example)} inputs became {len(model.inputs)}: the module does not use all of them")
    return model


class _Compiled:
    """One contender, compiled; it has run once."""

    def __init__(self, model: Any, contender: Contender, example: Sequence[np.ndarray[Any, Any]]) -> None:
        form = int8_form(model) if contender.form == INT8 else float_form(model)
        self._compiled = openvino.Core().compile_model(form, contender.device, dict(contender.properties))
        self._request, self._example = self._compiled.create_infer_request(), [*example]
        self.output = self.run().copy()

    def run(self) -> np.ndarray[Any, Any]:
        output: np.ndarray[Any, Any] = self._request.infer(self._example)[0]
        return output

    def export(self) -> bytes:
        exported = self._compiled.export_model()  # a BytesIO, despite its annotation
        return bytes(exported.getbuffer() if isinstance(exported, io.BytesIO) else exported)


def choose(entered: Mapping[Contender, Any]) -> tuple[Contender, dict[str, float]]:
    """Return the fastest contender, and the seconds of each by name.

    The first one is the reference. Another one must be clearly faster, and no further away from the reference than its
    tolerance. They run alternately, so that other load on the machine slows all of them.
    """
    reference = next(iter(entered))
    expected = entered[reference].output
    near = [each for each in entered if each is reference
            or np.linalg.norm(entered[each].output - expected) <= each.tolerance * np.linalg.norm(expected)]
    times: dict[Contender, list[float]] = {each: [] for each in near}
    begun = time.perf_counter()
    while len(near) > 1 and len(times[reference]) < ROUNDS and (
            len(times[reference]) < MIN_ROUNDS or time.perf_counter() - begun < SECONDS):
        for each in near:
            started = time.perf_counter()
            entered[each].run()
            times[each].append(time.perf_counter() - started)
    seconds = {each: statistics.median(every) for each, every in times.items() if every}
    fastest = min(near, key=lambda each: seconds.get(each, 0.0) * (1.0 if each is reference else 1 / MARGIN))
    return fastest, {each.name: second for each, second in seconds.items()}


def _exit_with_engine() -> None:
    os.read(0, 1)  # returns at end of file; sys.stdin would hold its lock while the interpreter ends
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
