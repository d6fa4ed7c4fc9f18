"""The daemon's pipeline, as the engine calls it: seconds per frame, the cost of moves, where the time goes.

    python -m tests.cuda.kit.pipeline RECIPE ACCELERATE [--steps N] [--frames N] [--lora] [--stream] [--moves] [--trace]
"""

from __future__ import annotations

import argparse
import collections
import gzip
import json
import logging
import time

import numpy as np

from tests.cuda.kit.common import (
    SMALL,
    WORK,
    figures,
    left,
    loading,
    make_cards,
    memory,
    put,
    recipe_of,
    state_of,
    sync,
    trying,
    values_of,
)


class Bench:
    def __init__(self, arguments) -> None:
        from lcm_daemon.pipelines.latent_consistency import LatentConsistency
        from lcm_daemon.recipes.parts import Lora
        self.arguments = arguments
        accelerate = "none" if SMALL and arguments.accelerate == "auto" else arguments.accelerate
        changes = {"accelerate": accelerate, "stream_batch": arguments.stream}
        if arguments.lora:
            changes["loras"] = (Lora("", 0.0, "kit"),)
        elif arguments.recipe != "builtin":
            changes["loras"] = ()
        self.recipe = recipe_of(arguments.recipe, **changes)
        own = {} if arguments.recipe == "builtin" else {"loader": loading(arguments.lora)}
        self.pipeline = LatentConsistency(self.recipe, self.recipe.size, **own)
        begun = time.perf_counter()
        report = self.pipeline.load(lambda line: print(f"  {line}", flush=True))
        self.title = f"{arguments.recipe} {arguments.accelerate}{' stream batch' if arguments.stream else ''}"
        self.values, self.timed = values_of(self.recipe, steps=arguments.steps), None
        self.cards = make_cards(self.pipeline.size)
        self.out = np.zeros((self.pipeline.size[1], self.pipeline.size[0], 4), np.uint8)
        put(f"{self.title}: load", seconds=time.perf_counter() - begun, where=report.device, dtype=report.dtype,
            plays=str(self.pipeline.renderer.acceleration.active_names()), upgrade=report.upgrade, **memory())

    def render(self, frames: int, change=None) -> tuple[list[float], list[dict]]:
        """Seconds of each frame, by the host's clock; `change` gives the values that move in a frame, by its number."""
        times, parts = [], []
        for number in range(frames):
            if change:
                self.values = {**self.values, **change(number)}
            begun = time.perf_counter()
            parts.append(self.pipeline.render(self.cards[number % len(self.cards)], self.values, self.out))
            times.append(time.perf_counter() - begun)
        return times, parts

    def steady(self) -> None:
        self.render(3 if SMALL else 20)
        times, parts = self.render(self.arguments.frames)
        inside = collections.defaultdict(list)
        for one in parts:
            for name, seconds in one.items():
                inside[name].append(seconds * 1000)
        put(f"{self.title}, {self.arguments.steps} steps: frame", **figures(times),
            **{f"device_{k}_ms": float(np.median(v)) for k, v in inside.items()}, **memory(),
            **state_of(self.pipeline), plays=str(self.pipeline.renderer.acceleration.active_names()))

    def flight(self, steps: int) -> None:
        """As an engine plays: as many frames under way as the pipeline takes. Interval and age of results."""
        from lcm_daemon.pipelines.bench_forms import TimedPipeline
        self.timed = self.timed or TimedPipeline(self.pipeline)
        card, values = self.cards[0], {**self.values, "steps": steps}
        self.timed.play(card, values, 1 if SMALL else 20)
        rows = self.timed.play(card, values, self.arguments.frames + 4)[self.pipeline.frames_in_flight:]
        late = figures([row["latency"] for row in rows])
        put(f"{self.title}, {steps} steps: frames in flight", in_flight=self.pipeline.frames_in_flight,
            **figures([row["frame"] for row in rows]), in_to_out_p50_ms=late["p50_ms"], in_to_out_p99_ms=late["p99_ms"])

    def moves(self) -> None:
        """The cost of each kind of move: the first frames after it, and while it continues."""
        few = 2 if SMALL else 12
        one_off = {"to 2 steps": {"steps": 2}, "back to 1 step": {"steps": 1},
                   "another prompt": {"prompt": "ocean, deep blue"},
                   "a prompt of 100 words": {"prompt": " ".join(["wave"] * 100)}, "a short prompt": {"prompt": "lava"},
                   "another seed": {"seed": 7}, "feedback on": {"feedback": 0.5}, "feedback off": {"feedback": 0.0},
                   "smooth on": {"smooth": 0.5}, "smooth off": {"smooth": 0.0},
                   "steady on": {"steady": 1.0}, "steady off": {"steady": 0.0}, "text": {"mode": "text"},
                   "image": {"mode": "image"}}
        if self.recipe.guidance == "classifier_free":
            one_off |= {"guidance 1.5": {"guidance": 1.5}, "guidance 1": {"guidance": 1.0}}
        if self.arguments.recipe == "builtin":
            one_off |= {"edges on": {"control/edges/weight": 1.0}, "edges off": {"control/edges/weight": 0.0}}
        for name, move in one_off.items():
            if left() < 10:
                return
            times, _ = self.render(few, lambda number, move=move: move)
            put(f"{self.title}: {name}", first_ms=times[0] * 1000, worst_ms=max(times) * 1000,
                then_ms=float(np.median(times[-4:]) * 1000))
        sweeps = {"strength moves": lambda n: {"strength": 0.3 + 0.5 * (n % 50) / 50},
                  "prompts blend": lambda n: {"prompt": "lava", "prompt_b": "ocean", "blend": (n % 50) / 50},
                  "noise walks": lambda n: {"noise": "walking", "noise_speed": 0.5}}
        if self.arguments.lora:
            sweeps["a LoRA's fader moves"] = lambda n: {"lora/kit": (n % 50) / 50}
        for name, sweep in sweeps.items():
            if left() < 10:
                return
            before = self.values
            times, _ = self.render(4 if SMALL else 60, sweep)
            self.values = before
            put(f"{self.title}: {name}, each frame", **figures(times))

    def trace(self) -> None:
        """The time of twenty frames by kernel, and how long the card was idle."""
        from torch.profiler import ProfilerActivity, profile
        frames = 2 if SMALL else 20
        self.render(3)
        activities = [ProfilerActivity.CPU] + ([] if SMALL else [ProfilerActivity.CUDA])
        with profile(activities=activities) as profiler:
            self.render(frames)
            sync()
        path = WORK / f"trace-{self.title.replace(' ', '-')}.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
        path.unlink()
        device = [e for e in events if e.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset")]
        if SMALL:
            device = [e for e in events if e.get("cat") == "cpu_op"]
        busy, end, gaps = 0.0, None, []
        for event in sorted(device, key=lambda e: e["ts"]):
            begun, over = event["ts"], event["ts"] + event["dur"]
            if end is not None and begun > end:
                gaps.append(begun - end)
            busy += max(0.0, over - max(begun, end if end is not None else begun))
            end = over if end is None else max(end, over)
        span = end - min(e["ts"] for e in device)
        put(f"{self.title}: the card", busy_share=busy / span, busy_ms_a_frame=busy / frames / 1000,
            launches_a_frame=len(device) / frames, gaps_over_20us_a_frame=sum(g > 20 for g in gaps) / frames,
            idle_ms_in_them=sum(g for g in gaps if g > 20) / frames / 1000)
        sums, counts = collections.Counter(), collections.Counter()
        for event in device:
            sums[event["name"]] += event["dur"]
            counts[event["name"]] += 1
        for name, spent in sums.most_common(25):
            put(f"{self.title}: kernel", us_a_frame=spent / frames, times=counts[name] / frames, of=name[:110])
        runtime = collections.Counter()
        for event in events:
            if event.get("cat") == "cuda_runtime":
                runtime[event["name"]] += event["dur"]
        for name, spent in runtime.most_common(8):
            put(f"{self.title}: host in", us_a_frame=spent / frames, of=name)
        # Three frames are enough for a trace viewer.
        device.sort(key=lambda e: e["ts"])
        until = device[min(len(device) - 1, len(device) * 3 // frames)]["ts"]
        some = [e for e in events if e.get("ph") == "M" or e.get("ts", 0) <= until]
        with gzip.open(f"{path}.gz", "wt") as file:
            json.dump({"traceEvents": some}, file)


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("accelerate")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--and-steps", type=int, default=0, help="another number of steps, only in flight")
    parser.add_argument("--frames", type=int, default=3 if SMALL else 200)
    for flag in ("lora", "stream", "moves", "trace"):
        parser.add_argument(f"--{flag}", action="store_true")
    arguments = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    bench = trying(f"{arguments.recipe} {arguments.accelerate}", Bench, arguments)
    if bench is None:
        return
    if SMALL and arguments.accelerate != "none":
        bench.pipeline.renderer.acceleration.wait(120)
    trying("steady", bench.steady)
    trying("flight", bench.flight, arguments.steps)
    if arguments.and_steps:
        trying("flight", bench.flight, arguments.and_steps)
    if arguments.trace and left() > 15:
        trying("trace", bench.trace)
    if arguments.moves:
        trying("moves", bench.moves)


if __name__ == "__main__":
    main()
