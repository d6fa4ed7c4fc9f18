"""Which linear layers are computed in float8: those that are faster on this card, while the picture stays the same.

Each shape is timed once per card and version of torch, the layer in 16 bits against the layer in float8 with the
quantisation of its input, both recorded in a CUDA graph as they are played. The times are kept in a file.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lcm_daemon.core.atomic_file import write_atomically
from lcm_daemon.core.paths import cache_folder
from lcm_daemon.pipelines.float8 import Float8Linear, Shape, Usage, candidates, convert, observe

log = logging.getLogger(__name__)

GAIN = 0.95  # a layer is converted if it takes at most this share of its time in 16 bits
REPEATS = 20  # launches in one recording, so that its own start counts little
ROUNDS = 5  # recordings timed; the shortest counts

Times = tuple[float, float]  # seconds in 16 bits, in float8
Timer = Callable[[Callable[[], Tensor]], float]  # seconds that one call takes on the device


class Timings:
    """Times by shape, for one card, one version of torch and one dtype; measured when they are first asked for."""

    def __init__(self, device: torch.device, dtype: torch.dtype, has_triton: bool, timer: Timer | None = None,
                 file: Path | None = None) -> None:
        self._device, self._dtype, self._has_triton = device, dtype, has_triton
        self._timer = timer or recorded_seconds
        self._file = file or cache_folder() / "fp8" / "timings.json"
        card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        self._key = f"{card}, torch {torch.__version__}, {dtype}, {'triton' if has_triton else 'plain'}"
        self._all = _read(self._file)
        self._own = self._all.setdefault(self._key, {})

    def measure(self, shapes: Iterable[Shape]) -> Mapping[Shape, Times]:
        """Return the times of these shapes."""
        wanted = sorted(set(shapes))
        new = [shape for shape in wanted if str(shape) not in self._own]
        for shape in new:
            self._own[str(shape)] = list(self._measure(shape))
        if new:
            self._write()
        return {shape: (self._own[str(shape)][0], self._own[str(shape)][1]) for shape in wanted}

    def _measure(self, shape: Shape) -> Times:
        with torch.device(self._device):
            layer = nn.Linear(shape.inputs, shape.outputs, dtype=self._dtype).requires_grad_(False)
            rows = torch.randn(shape.rows, shape.inputs, dtype=self._dtype)
        converted = Float8Linear(layer, self._has_triton)
        return self._timer(lambda: layer(rows)), self._timer(lambda: converted(rows))

    def _write(self) -> None:
        try:
            write_atomically(self._file, json.dumps(self._all, indent=1))
        except OSError as error:
            log.warning("fp8: the times cannot be kept: %s; they are measured again at the next start", error)


def choose(module: nn.Module, example: tuple[Tensor | None, ...], moving: Collection[int], timings: Timings,
           tolerance: float) -> Sequence[str]:
    """Choose the layers of a module that are computed in float8.

    Args:
        module: the module, in 16 bits.
        example: arguments as it gets them.
        moving: identities of the weights that live LoRAs change; their layers stay in 16 bits.
        timings: times on this card.
        tolerance: largest distance of the module's result from that in 16 bits, relative to its norm.

    Returns:
        Names of the layers, those with the smallest error first; all that are faster, or as many as `tolerance` allows.
    """
    usages = observe(module, example, candidates(module, moving))
    times = timings.measure(usage.shape for usage in usages.values())
    faster = [name for name, usage in usages.items() if _is_faster(times[usage.shape])]
    faster.sort(key=lambda name: usages[name].error)
    chosen = _within(module, example, faster, tolerance)
    _log(usages, times, len(faster), len(chosen))
    return chosen


def _is_faster(times: Times) -> bool:
    return times[1] <= GAIN * times[0]


def _within(module: nn.Module, example: tuple[Tensor | None, ...], names: Sequence[str],
            tolerance: float) -> Sequence[str]:
    """Return the longest beginning of `names` that keeps to the tolerance, found by halving."""
    exact = module(*example).float()

    def fits(count: int) -> bool:
        found = convert(module, names[:count], has_triton=False)(*example).float()
        return bool(float((found - exact).norm() / exact.norm().clamp_min(1e-6)) <= tolerance)  # NaN does not

    if not names or fits(len(names)):
        return names
    most, too_many = 0, len(names)
    while too_many - most > 1:
        middle = (most + too_many) // 2
        most, too_many = (middle, too_many) if fits(middle) else (most, middle)
    return names[:most]


def _log(usages: Mapping[str, Usage], times: Mapping[Shape, Times], faster: int, chosen: int) -> None:
    log.info("fp8: %d of %d linear layers are faster in float8; %d of these keep the result", faster, len(usages),
             chosen)
    for shape, (half, eighth) in times.items():
        log.debug("fp8: %s takes %.1f us in 16 bits, %.1f us in float8", shape, half * 1e6, eighth * 1e6)


def recorded_seconds(work: Callable[[], Tensor]) -> float:
    """Seconds that the device takes for one call, in a CUDA graph of several."""
    current, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(3):  # libraries are started and kernels are selected
            work()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        for _ in range(REPEATS):
            work()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    graph.replay()
    shortest = float("inf")
    for _ in range(ROUNDS):
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        shortest = min(shortest, begin.elapsed_time(end) / 1000 / REPEATS)
    return shortest


def _read(file: Path) -> dict[str, dict[str, list[float]]]:
    """The content of the file; nothing if it is missing or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {str(key): {str(shape): [float(times[0]), float(times[1])] for shape, times in found.items()}
                for key, found in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, IndexError, KeyError):
        return {}
