"""What the card and torch can do without the daemon: the baseline.

A plain loop: SD-Turbo's shapes, TAESD in and out, one step, float16, channels last. Eager, recorded as
a CUDA graph, compiled and recorded; one frame after another, and with copies and computing of several frames at a time.
"""

from __future__ import annotations

import itertools
import sys
import time
from functools import partial

import torch

from tests.cuda.kit.common import DEVICE, RENDER, SMALL, figures, left, memory, put, sync, trying

DTYPE = torch.float32 if SMALL else torch.float16
UNETS = {
    "sd-turbo": {"sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 1024,
                     "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
                     "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
                     "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3},
    "sdxl-turbo": {"sample_size": 128, "block_out_channels": (320, 640, 1280), "cross_attention_dim": 2048,
                       "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10),
                       "use_linear_projection": True, "addition_embed_type": "text_time",
                       "addition_time_embed_dim": 256,
                       "projection_class_embeddings_input_dim": 2816,
                       "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                       "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")},
}
TAESD = {}
if SMALL:
    TAESD = {"encoder_block_out_channels": (16,) * 4, "decoder_block_out_channels": (16,) * 4}
    UNETS["sd-turbo"] |= {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": (1, 2, 2, 2),
                          "cross_attention_dim": 32, "layers_per_block": 1}


def random_model(model):
    model = model.to(DTYPE).to_empty(device=DEVICE)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.5 * weight[0].numel() ** -0.5)
            else:
                weight.fill_(float(name.endswith("weight")))
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class Frame(torch.nn.Module):
    """uint8 (h, w, 4) to uint8 (h, w, 4), all of it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        from diffusers import AutoencoderTiny, UNet2DConditionModel
        with torch.device("meta"):
            unet, vae = UNet2DConditionModel(**UNETS[name]), AutoencoderTiny(**TAESD)
        self.unet, self.vae = random_model(unet), random_model(vae)
        width = UNETS[name]["cross_attention_dim"]
        side = RENDER // 8
        def make(*shape):
            return torch.randn(*shape, device=DEVICE, dtype=DTYPE)
        self.states, self.noise = make(1, 77, width), make(1, 4, side, side)
        self.time = torch.tensor([999.0], device=DEVICE)
        self.added = {"text_embeds": make(1, 1280), "time_ids": make(1, 6)} if name == "sdxl-turbo" else None

    def encode(self, pixels):
        picture = pixels[..., :3].permute(2, 0, 1)[None].to(DTYPE).mul(1 / 127.5).sub(1.0)
        return self.vae.encoder(picture.contiguous(memory_format=torch.channels_last))

    def denoise(self, latents):
        noisy = latents * 0.3 + self.noise * 0.95
        out = self.unet(noisy, self.time, encoder_hidden_states=self.states, added_cond_kwargs=self.added,
                        return_dict=False)[0]
        return (noisy - 0.95 * out) / 0.3

    def decode(self, latents):
        return self.vae.decoder(latents.clamp(-3, 3))

    def forward(self, pixels):
        picture = self.decode(self.denoise(self.encode(pixels)))
        levels = picture.mul(127.5).add(127.5).clamp(0, 255).round()[0].permute(1, 2, 0).to(torch.uint8)
        return torch.cat([levels, pixels[..., 3:]], -1)


def gpu_ms(work, repeat: int) -> float:
    """Median time on the device of one call, from many in a row."""
    for _ in range(1 if SMALL else 3):
        work()
    sync()
    if SMALL:
        begun = time.perf_counter()
        work()
        return (time.perf_counter() - begun) * 1000
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeat + 1)]
    for mark in marks[:-1]:
        mark.record()
        work()
    marks[-1].record()
    sync()
    spans = sorted(a.elapsed_time(b) for a, b in itertools.pairwise(marks))
    return spans[len(spans) // 2]


def recorded(work):
    """The same as a CUDA graph."""
    if SMALL:
        return work
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        out = work()

    def play():
        graph.replay()
        return out

    return play


def one_by_one(work, into, frames: int) -> list[float]:
    """Host to host, each frame awaited: what a loop without overlap gives."""
    pinned = not SMALL
    source = torch.randint(0, 256, into.shape, dtype=torch.uint8, pin_memory=pinned)
    target = torch.empty(into.shape, dtype=torch.uint8, pin_memory=pinned)
    times, lead = [], 1 if SMALL else 5
    for number in range(frames + lead):
        begun = time.perf_counter()
        into.copy_(source, non_blocking=True)
        target.copy_(work(), non_blocking=True)
        sync()
        if number >= lead:
            times.append(time.perf_counter() - begun)
    return times


def overlapped(work, into, frames: int, depth: int = 3) -> list[float]:
    """Copies on streams of their own, `depth` frames under way; the interval between results, and how late they are."""
    if SMALL:
        return one_by_one(work, into, frames)
    up, down, run = torch.cuda.Stream(), torch.cuda.Stream(), torch.cuda.current_stream()
    sources = [torch.randint(0, 256, into.shape, dtype=torch.uint8, pin_memory=True) for _ in range(depth)]
    staged = [torch.empty_like(into) for _ in range(depth)]
    results = [torch.empty_like(into) for _ in range(depth)]
    targets = [torch.empty(into.shape, dtype=torch.uint8, pin_memory=True) for _ in range(depth)]
    ready, ran, came = ([torch.cuda.Event() for _ in range(depth)] for _ in range(3))
    times, begun, lags = [], [0.0] * depth, []
    last = time.perf_counter()
    for number in range(frames + 20):
        slot = number % depth
        if number >= depth:
            came[slot].synchronize()
            now = time.perf_counter()
            if number >= 20:
                times.append(now - last)
                lags.append(now - begun[slot])
            last = now
        begun[slot] = time.perf_counter()
        with torch.cuda.stream(up):
            staged[slot].copy_(sources[slot], non_blocking=True)
            ready[slot].record(up)
        run.wait_event(ready[slot])
        into.copy_(staged[slot])
        results[slot].copy_(work())
        ran[slot].record(run)
        down.wait_event(ran[slot])
        with torch.cuda.stream(down):
            targets[slot].copy_(results[slot], non_blocking=True)
            came[slot].record(down)
    sync()
    put("  latency of overlapped frames", **figures(lags))
    return times


def ceilings() -> None:
    if SMALL:
        return
    a, b = (torch.empty(1 << 30, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    ms = gpu_ms(partial(b.copy_, a), 10)
    put("device copy", gb_s=2 * a.numel() / ms / 1e6)
    x, y = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.float16) for _ in range(2))
    put("float16 product of 8192", tflops=2 * 8192**3 / gpu_ms(partial(torch.matmul, x, y), 10) / 1e9)
    del a, b, x, y
    for side in (512, 1024):
        device = torch.empty(side, side, 4, dtype=torch.uint8, device=DEVICE)
        for kind, pinned in (("pinned", True), ("pageable", False)):
            host = torch.empty(side, side, 4, dtype=torch.uint8, pin_memory=pinned)
            put(f"copies of {side}x{side} RGBA, {kind}",
                up_ms=gpu_ms(partial(device.copy_, host, non_blocking=True), 50),
                down_ms=gpu_ms(partial(host.copy_, device, non_blocking=True), 50))
    small = torch.zeros(9, 4, device=DEVICE)
    host = torch.zeros(9, 4)
    begun = time.perf_counter()
    for _ in range(200):
        small.copy_(host)
    put("a blocking copy of 144 bytes up, idle card", us=(time.perf_counter() - begun) * 5000)
    for launches in (1, 10):
        begun = time.perf_counter()
        for _ in range(200):
            for _ in range(launches):
                small.add_(1.0)
            torch.cuda.synchronize()
        put(f"{launches} launches and a wait", us=(time.perf_counter() - begun) * 5000)


def measure(name: str, compiling: str) -> None:
    torch.backends.cudnn.benchmark = True
    frames = 2 if SMALL else 200
    model = Frame(name)
    into = torch.randint(0, 256, (RENDER, RENDER, 4), dtype=torch.uint8, device=DEVICE)
    with torch.inference_mode():
        begun = time.perf_counter()
        if compiling:
            mode = None if compiling == "default" else compiling
            if SMALL:
                mode = None
            model.unet = torch.compile(model.unet, fullgraph=True, dynamic=False, mode=mode)
            model.encode = torch.compile(model.encode, dynamic=False, mode=mode)
            model.decode = torch.compile(model.decode, dynamic=False, mode=mode)
        model(into)
        sync()
        kind = f"{name}, {'compiled ' + compiling if compiling else 'eager'}"
        if compiling:
            put(f"{kind}: compiling", seconds=time.perf_counter() - begun)
        latents = model.encode(into).clone()
        parts = {"encode": lambda: model.encode(into), "denoise": lambda: model.denoise(latents),
                 "decode": lambda: model.decode(latents)}
        put(f"{kind}: device ms by part, launched one by one", **{k: gpu_ms(w, 30) for k, w in parts.items()})
        if not SMALL:
            put(f"{kind}: device ms by part, recorded", **{k: gpu_ms(recorded(w), 30) for k, w in parts.items()})
        put(f"{kind}: frame host to host", **figures(one_by_one(lambda: model(into), into, frames)), **memory())
        play = recorded(lambda: model(into))
        put(f"{kind}, recorded: frame on the device", ms=gpu_ms(play, 50))
        put(f"{kind}, recorded: frame host to host", **figures(one_by_one(play, into, frames)))
        put(f"{kind}, recorded, 3 frames under way: interval", **figures(overlapped(play, into, frames)))


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "sd-turbo"
    modes = sys.argv[2].split(",") if len(sys.argv) > 2 else ["", "default"]
    if name == "sd-turbo" and modes[0] in ("", "eager"):
        trying("ceilings", ceilings)
    for mode in modes:
        mode = "" if mode in ("", "eager") else mode
        if left() < 15:
            put(f"{name} {mode}", LEFT_OUT="no time")
            break
        trying(f"{name} {mode}", measure, name, mode)


if __name__ == "__main__":
    main()
