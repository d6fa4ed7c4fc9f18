"""Quality and cost of `upscale` and `interpolate`, against clips whose every frame is known.

    python -m tests.measure.large_pictures            # needs scikit-image: its photographs and its measures

`upscale`: each clip is halved and doubled again, beside Lanczos and bicubic interpolation (Pillow). `interpolate`:
every other frame is taken away and made again, beside plain blending. PSNR in dB and SSIM (Wang et al., 2004), means of
a clip.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lcm_daemon.core.frame import Pixels
from lcm_daemon.pipelines.interpolation import Interpolator
from lcm_daemon.pipelines.upscaling import Upscaler
from lcm_daemon.recipes.reader import load_recipe
from tests.measure.large_clips import PAINTED, SIDE, Clip, photograph_clips

CPU = torch.device("cpu")
RECIPE = load_recipe("builtin")
EDGE = 8  # pixels at each side that are not judged: cameras see further there
SHRINKS = {"area": Image.Resampling.BOX, "lanczos": Image.Resampling.LANCZOS}
RUNS = 15  # of which the median counts


def upscaler_for(side: int) -> Upscaler:
    """The package's own, for pictures of half that side."""
    return Upscaler(replace(RECIPE, size=(side // 2, side // 2)), (side, side), CPU, torch.float32)


def doublings() -> Mapping[str, Callable[[Pixels], Pixels]]:
    """Ways to double a picture, by name."""
    upscaler = upscaler_for(SIDE)
    passes = upscaler.prepare(2)

    @torch.inference_mode()
    def upscale(small: Pixels) -> Pixels:
        return _to_pixels(upscaler.run(_to_image(small), passes))

    return {"lanczos": lambda small: _resize(small, SIDE, Image.Resampling.LANCZOS),
            "bicubic": lambda small: _resize(small, SIDE, Image.Resampling.BICUBIC), "upscale": upscale}


def _to_image(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels[..., :3].copy()).permute(2, 0, 1)[None].float().mul(1 / 127.5).sub(1.0)


def _to_pixels(image: Tensor) -> Pixels:
    levels = image.mul(127.5).add(127.5).clamp(0, 255).round().byte()[0].permute(1, 2, 0).numpy()
    return np.concatenate([levels, np.full((*levels.shape[:2], 1), 255, np.uint8)], 2)


def _resize(pixels: Pixels, side: int, how: Image.Resampling) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((side, side), how))


def quality(made: Pixels, true: Pixels) -> tuple[float, float]:
    """PSNR in dB and SSIM."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    inner = np.s_[EDGE:-EDGE, EDGE:-EDGE, :3]
    similarity = structural_similarity(true[inner], made[inner], channel_axis=2, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False)
    return float(peak_signal_noise_ratio(true[inner], made[inner])), float(similarity)


def mean_quality(pairs: Iterator[tuple[Pixels, Pixels]]) -> tuple[float, float]:
    """The means of `quality`."""
    measured = [quality(made, true) for made, true in pairs]
    return statistics.mean(psnr for psnr, _ in measured), statistics.mean(similarity for _, similarity in measured)


def measure_upscale(clips: Mapping[str, Clip]) -> None:
    """Print the quality of each way to double, by clip and by how it was halved."""
    ways = doublings()
    print(f"| {'clip':18} | halved by |" + "".join(f" {way:>14} |" for way in ways))
    for name, clip in clips.items():
        for shrink, how in SHRINKS.items():
            small = [(_resize(frame, SIDE // 2, how), frame) for frame in clip[::4]]
            row = [mean_quality((double(half), frame) for half, frame in small) for double in ways.values()]
            print(f"| {name:18} | {shrink:9} |" + _cells(row), flush=True)


def _cells(row: list[tuple[float, float]]) -> str:
    return "".join(f" {psnr:5.2f} / {ssim:.4f} |" for psnr, ssim in row)


def in_between(clip: Clip) -> tuple[list[tuple[Pixels, Pixels]], list[tuple[Pixels, Pixels]], int]:
    """The odd frames of a clip, made by blending and by `Interpolator`, each beside the true one; how many it made."""
    interpolator, blended, moved, made = Interpolator(RECIPE, CPU), [], [], 0
    interpolator.make(clip[0], ())
    for number in range(1, len(clip) - 1, 2):
        plain = np.round((clip[number - 1].astype(np.float32) + clip[number + 1]) / 2).astype(np.uint8)
        out = plain.copy()
        made += interpolator.make(clip[number + 1], (out,))
        blended.append((plain, clip[number]))
        moved.append((out, clip[number]))
    return blended, moved, made


def measure_interpolate(clips: Mapping[str, Clip]) -> None:
    """Print the quality of blending and of `interpolate`, by clip, and what becomes of cuts."""
    print(f"| {'clip':18} |       blending |    interpolate | made |")
    for name, clip in clips.items():
        blended, moved, made = in_between(clip)
        row = [mean_quality(iter(pairs)) for pairs in (blended, moved)]
        print(f"| {name:18} |{_cells(row)} {made} of {len(moved)} |", flush=True)
    print(f"cuts that were mixed: {sum(mixed_cuts(clips))} of {len(clips) * (len(clips) - 1)}")


def mixed_cuts(clips: Mapping[str, Clip]) -> Iterator[bool]:
    """Whether a picture is made between two clips, for each pair."""
    for before in clips:
        for after in clips:
            if before != after:
                interpolator = Interpolator(RECIPE, CPU)
                interpolator.make(clips[before][0], ())
                yield interpolator.make(clips[after][0], (clips[after][0].copy(),))


def milliseconds(work: Callable[[], object]) -> float:
    """Median processor time of some runs, of all threads together: other programs hardly change it."""
    times = []
    for _ in range(RUNS):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return statistics.median(times) * 1000


@torch.inference_mode()
def measure_cost(clip: Clip) -> None:
    """Print milliseconds of processor time a frame."""
    for side in (512, 1024):
        first, second = (_resize(frame, side, Image.Resampling.BICUBIC) for frame in clip[:2])
        image, upscaler = _to_image(_resize(first, side // 2, Image.Resampling.BOX)), upscaler_for(side)
        spent = milliseconds(functools.partial(upscaler.run, image, upscaler.prepare(2)))
        print(f"upscale {side // 2} to {side}: {spent:.1f} ms")
        for count in (1, 3):
            spent = milliseconds(functools.partial(_make, Interpolator(RECIPE, CPU), (first, second), count))
            print(f"interpolate {count + 1} at {side}: {spent:.1f} ms")


def _make(interpolator: Interpolator, pictures: tuple[Pixels, Pixels], count: int) -> None:
    interpolator.make(pictures[0], ())
    interpolator.make(pictures[1], [pictures[0].copy() for _ in range(count)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("upscale", "interpolate", "cost"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    every: dict[str, Clip] = {**{name: paint() for name, paint in PAINTED.items()}, **photograph_clips()}
    for part, measure in (("upscale", measure_upscale), ("interpolate", measure_interpolate)):
        if given.only in (None, part):
            measure(every)
    if given.only in (None, "cost"):
        print(f"{torch.get_num_threads()} threads")
        measure_cost(every["shapes"])
