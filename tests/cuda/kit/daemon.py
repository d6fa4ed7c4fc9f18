"""The daemon end to end: test cards at 500 a second through shared memory, in and out, on a model of real size.

Its random weights are read from disk like any other model's. The card's number and time are in its pixels and survive,
since the result is mixed over the input at `mix` 0.3: every number is of a frame that went the whole way.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
from pythonosc.osc_packet import OscPacket

from lcm_daemon.controllers.osc_protocol.encoder import encode
from tests.cuda.kit.common import (
    DEVICE,
    PACE,
    RENDER,
    SIDE,
    SMALL,
    WORK,
    figures,
    left,
    loading,
    make_cards,
    put,
    recipe_of,
    trying,
)
from tests.rigs.daemon import free_port

FOLDER = WORK / ("model-small" if SMALL else "model")
FPS = 60 if SMALL else 500  # of input and output: a result waits for the next tick
CARDS = 32  # pictures of the input that are drawn before; only the stamp changes
RETURNS_IN = 10.0  # seconds: the limit for a killed engine


def write_model() -> None:
    """SD-Turbo's shapes as a folder on disk, with a LoRA beside it."""
    if (FOLDER / "done").exists():
        return
    import json
    import shutil

    import torch
    from safetensors.torch import save_file
    from transformers import CLIPTokenizer

    from lcm_daemon.pipelines.weights import locate
    from lcm_daemon.recipes.reader import load_recipe
    begun = time.perf_counter()
    device, dtype = torch.device(DEVICE), torch.float32 if SMALL else torch.float16
    parts = loading()(recipe_of("sd-turbo"), device, dtype, lambda line: None)
    shutil.rmtree(FOLDER, ignore_errors=True)
    parts.unet.save_pretrained(FOLDER / "unet")
    parts.vae.save_pretrained(FOLDER / "vae")
    parts.text_encoders[0].model.save_pretrained(FOLDER / "text_encoder")
    CLIPTokenizer.from_pretrained(locate(load_recipe("builtin")).model / "tokenizer", local_files_only=True,
                                  model_max_length=77).save_pretrained(FOLDER / "tokenizer")
    (FOLDER / "scheduler").mkdir()
    (FOLDER / "scheduler" / "scheduler_config.json").write_text(json.dumps(dict(parts.schedule)))
    tensors = {}
    for path, layer in parts.unet.named_modules():
        if isinstance(layer, torch.nn.Linear) and ".attn" in path and path.endswith((".to_q", ".to_k", ".to_v")):
            out, into = layer.weight.shape
            tensors[f"unet.{path}.lora_A.weight"] = torch.randn(16, into) * 0.01
            tensors[f"unet.{path}.lora_B.weight"] = torch.randn(out, 16) * 0.01
    save_file(tensors, FOLDER / "lora.safetensors")
    (FOLDER / "done").touch()
    put("model written", seconds=time.perf_counter() - begun)


def bus_of(name: str, end: str) -> str:
    """The name of one end of a show, which no other run has."""
    return f"{name}-{os.getpid()}-{end}"


def write_show(name: str, recipe: dict, others: dict | None, osc_options: dict | bool):
    """The show's file. It has test cards in, and their results out, on the memory bus."""
    import yaml
    show = {
        "name": name, "recipe": recipe, "recipes": others or {}, "panel": False, "resume": False, "osc": osc_options,
        "source": {"transport": "memory", "name": bus_of(name, "in")},
        "sinks": [{"transport": "memory", "name": bus_of(name, "out")}],
        "output": {"size": [SIDE, SIDE], "fps": FPS, "crossfade": 0.5, "failsafe": "hold"},
        "engine": {"spare": not SMALL},  # an engine that loads beside this one keeps a small machine busy
        "parameters": {"prompt": "lava, glowing red", "strength": 0.7, "mix": 0.3, "steps": 1},
    }
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{name}.yaml"
    path.write_text(yaml.safe_dump(show))
    return path


class Daemon:
    def __init__(self, name: str, recipe: dict, others: dict | None = None, **environment: str) -> None:
        self.status: dict[str, object] = {}
        self.seen: list[tuple[float, int, float]] = []  # arrival, number, age, of each new card
        self.arrivals: list[float] = []  # of every picture
        self._ends = False
        self._port, status = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)
        path = write_show(name, recipe, others, {"port": self._port, "feedback": [f"127.0.0.1:{status}"]})
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ears.bind(("127.0.0.1", status))
        self._ears.settimeout(0.5)
        self.log = WORK / f"{name}.log"
        self.feeder = subprocess.Popen([sys.executable, "-m", "tests.cuda.kit.daemon", "feed", bus_of(name, "in")])
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "lcm_daemon", "run", str(path), "-v"], stdout=log,
                                            stderr=subprocess.STDOUT, start_new_session=True,
                                            env={**os.environ, **environment})
        self._threads = [threading.Thread(target=self._listen, daemon=True), threading.Thread(target=self._watch,
                         args=(bus_of(name, "out"),), daemon=True)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        while not self._ends:
            try:
                packet = self._ears.recv(65536)
            except OSError:
                continue
            for timed in OscPacket(packet).messages:
                if timed.message.address.startswith("/lcm/status/"):
                    self.status[timed.message.address.rpartition("/")[2]] = timed.message.params[0]

    def _watch(self, name: str) -> None:
        from lcm_daemon.transports.shared_memory import MemorySource
        from lcm_daemon.transports.testcard import read_stamp
        source, last = MemorySource({"name": name}), -1
        source.open()
        while not self._ends:
            frame = source.read(0.1)
            if frame is None:
                continue
            now = time.perf_counter()
            self.arrivals.append(now)
            stamp = read_stamp(frame.pixels)
            if stamp is not None and stamp.number != last:
                last = stamp.number
                self.seen.append((now, stamp.number, now - stamp.time))
        source.close()

    def send(self, address: str, *arguments) -> None:
        self._socket.sendto(encode(address, arguments), ("127.0.0.1", self._port))

    def wait(self, test, seconds: float) -> float | None:
        begun = time.perf_counter()
        while time.perf_counter() - begun < min(seconds, left() - 5):
            if test():
                return time.perf_counter() - begun
            if self.process.poll() is not None:
                put("the daemon ended by itself", code=self.process.poll())
                return None
            time.sleep(0.02)
        return None

    def rendering(self) -> bool:
        """A model that has loaded and counts frames, and a new card within the last two seconds."""
        recent = bool(self.seen) and time.perf_counter() - self.seen[-1][0] < 2.0
        return self.status.get("engine") == "rendering" and float(self.status.get("fps") or 0) > 0 and recent

    def measure(self, name: str, seconds: float) -> None:
        time.sleep(0.7 * PACE)  # let what was before pass
        begun = time.perf_counter()
        time.sleep(min(seconds * PACE, max(left() - 5, 1)))
        over = time.perf_counter()
        seen = [one for one in self.seen if begun <= one[0] <= over]
        arrivals = [one for one in self.arrivals if begun <= one <= over]
        lags = figures([age for _, _, age in seen])
        gaps = figures(np.diff([one[0] for one in seen])) if len(seen) > 2 else {}
        beats = np.diff(arrivals) if len(arrivals) > 2 else np.zeros(1)
        put(name, rendered_seen_fps=len(seen) / (over - begun), pictures_fps=len(arrivals) / (over - begun),
            in_to_out_p50_ms=lags.get("p50_ms", 0), in_to_out_p99_ms=lags.get("p99_ms", 0),
            between_rendered_p99_ms=gaps.get("p99_ms", 0), longest_beat_ms=float(beats.max() * 1000),
            **{f"status_{key}": self.status.get(key) for key in (
                "fps", "in_flight", "latency", "engine_latency", "render", "output_fps", "late", "missed", "recipe",
                "engine", "change", "error", "alarm", "dropped", "replaced")})

    def wait_compiled(self, name: str, limit: float) -> None:
        """Wait until the compiled form has taken over; measure what plays while it loads."""
        if SMALL:
            return
        if self.wait(lambda: bool(self.status.get("change")), 15) is None:
            put(f"{name}: no upgrade begins", FAILED="the status names no change")
            return
        begun = time.perf_counter()
        self.measure(f"{name}: plays while the compiled form loads beside it", 5)
        taken = self.wait(lambda: not self.status.get("change"), limit)
        put(f"{name}: the compiled form", took_over_after_s=None if taken is None else time.perf_counter() - begun,
            error=self.status.get("error") or "")

    def kill_engine(self, name: str, limit: float) -> None:
        pid = int(self.status.get("engine_pid", 0) or 0)
        if not pid:
            put(name, FAILED="no engine_pid in the status")
            return
        before = len(self.arrivals)
        os.kill(pid, signal.SIGKILL)
        killed = time.perf_counter()
        again = self.wait(lambda: int(self.status.get("engine_pid", pid) or pid) != pid and self.rendering(), limit)
        first = next((one[0] - killed for one in self.seen if one[0] > killed + 0.15), None)  # none before: it is held
        beats = np.diff(self.arrivals[max(before - 1, 0):])
        put(name, renders_again_s=again if again is not None else f"not within {limit}",
            longest_beat_ms=float(beats.max() * 1000) if len(beats) else None, first_new_card_s=first,
            ok=SMALL or (first is not None and first < RETURNS_IN))

    def stop(self) -> None:
        self._ends = True
        self.feeder.terminate()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(4)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join(2)
        for one in (self._ears, self._socket):
            one.close()
        lines = self.log.read_text(errors="replace").splitlines()
        print("\n".join(f"    {line}" for line in lines[-60:]), flush=True)


def recipe(accelerate: str) -> dict:
    return {"base": "sd-turbo", "model": str(FOLDER), "vae": str(FOLDER / "vae"), "size": [RENDER, RENDER],
            "device": DEVICE, "accelerate": accelerate, "parameters": {"steps": 1},
            "loras": [{"name": "kit", "model": str(FOLDER / "lora.safetensors"), "weight": 0}]}


def play_recorded() -> None:
    """As every show begins: recorded, with fewer kernels. Named, that form has no upgrade that would disturb it."""
    name = "kit-recorded"
    plays = recipe("none" if SMALL else "fused")
    daemon = Daemon(name, plays, {"serial": {**plays, "in_flight": 1}})
    try:
        put(f"{name}: first rendered", seconds=daemon.wait(daemon.rendering, 300 if SMALL else 60))
        daemon.measure(f"{name}: plays", 6)
        move(daemon, name)
        daemon.kill_engine(f"{name}: engine killed", 300 if SMALL else 40)
        daemon.measure(f"{name}: plays again", 2)
        if not SMALL and left() > 20:
            daemon.send("/lcm/recipe", "serial")
            daemon.wait(lambda: daemon.status.get("recipe") == "serial" and not daemon.status.get("change"), 60)
            daemon.measure(f"{name}: plays with 1 frame in flight", 4)
    finally:
        daemon.stop()


def play_upgraded() -> None:
    """The compiled form loads beside the one that plays, and takes over."""
    name = "kit-upgraded"
    daemon = Daemon(name, recipe("none" if SMALL else "auto"), {"other": {"base": "builtin", "device": DEVICE}})
    try:
        put(f"{name}: first rendered", seconds=daemon.wait(daemon.rendering, 300 if SMALL else 60))
        daemon.wait_compiled(name, max(left() - 60, 5))
        daemon.measure(f"{name}: plays compiled", 6)
        move(daemon, name)
        if left() > 30:
            change(daemon, name)
        if left() > 30:
            daemon.send("/lcm/recipe", "sd-turbo")
            daemon.wait(lambda: daemon.status.get("recipe") == "sd-turbo" and daemon.rendering(), 30)
            daemon.kill_engine(f"{name}: engine killed after all", left() - 8)
    finally:
        daemon.stop()


def kill_compiled() -> None:
    """How long no new frame comes when an engine dies that has taken over compiled."""
    name = "kit-compiled"
    daemon = Daemon(name, recipe("none" if SMALL else "compile"))
    try:
        put(f"{name}: first rendered", seconds=daemon.wait(daemon.rendering, left() / 2))
        daemon.wait_compiled(name, max(left() - 30, 5))
        daemon.measure(f"{name}: plays compiled", 4)
        daemon.kill_engine(f"{name}: compiled engine killed", left() - 8)
    finally:
        daemon.stop()


def move(daemon: Daemon, name: str) -> None:
    """Faders, while it plays."""
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            daemon.send("/lcm/lora/kit", float(0.5 + 0.5 * np.sin(time.perf_counter())))
            time.sleep(1 / 60)

    mover = threading.Thread(target=sweep, daemon=True)
    mover.start()
    daemon.measure(f"{name}: a LoRA's fader moves", 3)
    stop.set()
    mover.join()
    daemon.send("/lcm/strength", 0.5)
    daemon.measure(f"{name}: strength moved", 2)
    daemon.send("/lcm/steps", 2)
    daemon.measure(f"{name}: 2 steps", 3)
    daemon.send("/lcm/steps", 1)


def change(daemon: Daemon, name: str) -> None:
    """To another recipe and what the audience sees of it."""
    before = len(daemon.arrivals)
    daemon.send("/lcm/recipe", "other")
    done = daemon.wait(lambda: daemon.status.get("recipe") == "other" and not daemon.status.get("change"), 40)
    beats = np.diff(daemon.arrivals[max(before - 1, 0):])
    put(f"{name}: recipe changed live", seconds=done, longest_beat_ms=float(beats.max() * 1000) if len(beats) else None,
        error=daemon.status.get("error") or "")
    daemon.measure(f"{name}: plays the built-in model", 2)


def feed(name: str) -> None:
    """Test cards on the memory bus, from a process of its own, as a live input is. Each has its number and time."""
    from lcm_daemon.core.frame import Frame
    from lcm_daemon.transports.shared_memory import MemorySink
    from lcm_daemon.transports.testcard import Stamp, write_stamp
    cards, sink, number = make_cards((SIDE, SIDE), CARDS), MemorySink({"name": name}), 0
    sink.open((SIDE, SIDE), FPS)
    begun = time.perf_counter()
    try:
        while True:
            time.sleep(max(0.0, begun + number / FPS - time.perf_counter()))
            now = time.perf_counter()
            number = max(number, int((now - begun) * FPS))
            card = cards[number % CARDS]
            write_stamp(card, Stamp(number, now))
            sink.write(Frame(card, number, now))
            number += 1
    finally:
        sink.close()


def prepare() -> None:
    """`lcm-daemon prepare` of the same recipe: how long it takes with the card to itself."""
    path = write_show("kit-prepared", recipe("none" if SMALL else "compile"), None, False)
    command, begun = [sys.executable, "-m", "lcm_daemon", "prepare", str(path)], time.perf_counter()
    done = subprocess.run(command, timeout=max(left() - 5, 10), check=False)
    put("kit-prepared: prepare", seconds=time.perf_counter() - begun, code=done.returncode, ok=done.returncode == 0)


PLAYS = {"recorded": play_recorded, "upgraded": play_upgraded, "compiled": kill_compiled, "prepare": prepare}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # out of time: the daemon is ended first
    if sys.argv[1:2] == ["feed"]:
        feed(sys.argv[2])
    if trying("model on disk", write_model) is None and not (FOLDER / "done").exists():
        return
    for which in sys.argv[1:] or PLAYS:
        if left() > 25:
            trying(which, PLAYS[which])


if __name__ == "__main__":
    main()
