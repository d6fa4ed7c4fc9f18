"""Tiles, scribbles, normals and segmentation, each held to its definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from lcm_daemon.recipes.registry import MAP_KINDS, PREPROCESSORS, kind_of_map
from tests.pipelines.conftest import inference_mode
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    import transformers
    from torch.nn import functional

    from lcm_daemon.pipelines import preprocessors
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from lcm_daemon.pipelines.preprocessors import base, normal, scribble
    from tests.rigs.cuda import install

PHOTOGRAPH = np.load(Path(__file__).with_name("canny.npz"))["photograph"]


def build(name: str, **control: Any) -> base.Preprocessor:
    return preprocessors.build(ControlNet("shape", "", name, **control), Recipe("own"), torch.device("cpu"),
                               torch.float32)


def picture() -> torch.Tensor:
    return torch.from_numpy(PHOTOGRAPH).permute(2, 0, 1)[None].float() / 127.5 - 1


# --- tile ---


def test_a_tile_is_the_picture_without_details() -> None:
    levels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = build("tile").map(levels)
    means = functional.avg_pool2d(levels, 8) / 2 + 0.5
    torch.testing.assert_close(found, functional.interpolate(means, (64, 96), mode="bilinear"))
    flat = torch.full((1, 3, 50, 37), 0.5)  # sides that are not multiples of 8
    torch.testing.assert_close(build("tile").map(flat), flat / 2 + 0.5)


# --- scribble ---


def test_a_scribble_is_the_difference_of_two_blurs() -> None:
    """Written out once more with numpy, as sd-webui-controlnet has it: OpenCV's kernels, rims reflected."""

    def blur(levels: np.ndarray[Any, Any], deviation: float) -> np.ndarray[Any, Any]:
        reach = round(deviation * 4)
        weights = np.exp(-np.arange(-reach, reach + 1) ** 2 / (2 * deviation**2))
        weights /= weights.sum()
        padded = np.pad(levels, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        rows = sum(weight * padded[row:row + len(levels)] for row, weight in enumerate(weights))
        width = levels.shape[1]
        return sum(weight * rows[:, column:column + width] for column, weight in enumerate(weights))  # type: ignore[no-any-return]

    levels = PHOTOGRAPH.astype(np.float64)
    darker = (blur(levels, 5.0) - blur(levels, 0.5)).min(2)
    expected = 2 * darker > 32
    found = build("scribble").map(picture())
    assert 0.02 < expected.mean() < 0.5
    assert set(np.unique(found.numpy()).tolist()) == {0.0, 1.0}
    near = np.abs(darker - scribble.THRESHOLD) < 0.01  # where rounding may decide
    for channel in found[0]:
        assert np.array_equal(channel.numpy()[~near] > 0, expected[~near])


def test_a_scribble_of_a_small_picture_is_one_too() -> None:
    assert build("scribble").map(torch.zeros(1, 3, 8, 12)).shape == (1, 3, 8, 12)


# --- normals ---


@pytest.mark.parametrize(("right", "down", "faces"), [
    (0.0, 0.0, (0.0, 0.0, 1.0)),  # a wall in front of the camera
    (0.004, 0.0, (1.0, 0.0, 0.0)),  # the right side is nearer: it faces left
    (0.0, 0.004, (0.0, 1.0, 0.0)),  # the lower side is nearer, as of a floor: it faces up
])
def test_a_plane_faces_one_way(right: float, down: float, faces: tuple[float, float, float]) -> None:
    u, v = torch.arange(64) - 31.5, (torch.arange(48) - 23.5)[:, None]
    disparity = (0.6 + right * u + down * v)[None, None]
    found = normal.normals(disparity)[0].flatten(1)
    torch.testing.assert_close(found, found[:, :1].expand_as(found), atol=1e-5, rtol=0)  # all of it, in perspective
    torch.testing.assert_close(found.norm(dim=0), torch.ones(48 * 64))
    # n ~ (f dD/du, f dD/dv, D in the centre): 64 pixels of focal length.
    expected = torch.tensor([64 * right, 64 * down, 0.6])
    torch.testing.assert_close(found[:, 0], expected / expected.norm(), atol=1e-5, rtol=0)
    tilted = torch.tensor(faces).bool() & torch.tensor([True, True, False])
    assert ((found[:2, 0] > 0.1) == tilted[:2]).all()


@pytest.mark.slow
@inference_mode
def test_normals_are_made_of_the_depth(tmp_path: Path) -> None:
    folder = write_depth(tmp_path)
    found, depth = (build(name, detector=str(folder)).map(picture()) for name in ("normal", "depth"))
    torch.testing.assert_close(found, normal.normals(depth[:, :1] + normal.FARTHEST) / 2 + 0.5)
    assert found.std() > 0.01


def write_depth(folder: Path) -> Path:
    torch.manual_seed(0)
    model = transformers.DPTForDepthEstimation(transformers.DPTConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, image_size=64, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 32, 32], fusion_hidden_size=16, is_hybrid=False))
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and "embeddings" not in name:
            torch.nn.init.kaiming_normal_(parameter)
    model.head.head[4].bias.data.fill_(5.0)  # so that the last rectifier does not make it all flat
    model.save_pretrained(folder)
    return write_processor(folder, {"height": 64, "width": 64})


def write_processor(folder: Path, size: Any, **config: Any) -> Path:
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "size": size, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3,
        "do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": 1 / 255, **config}))
    return folder


# --- segmentation ---


def write_segmentation(folder: Path, classes: int = 150) -> Path:
    torch.manual_seed(0)
    backbone = transformers.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1],
                                           out_features=["stage1", "stage2", "stage3", "stage4"])
    config = transformers.UperNetConfig(backbone_config=backbone, hidden_size=16, num_labels=classes,
                                        auxiliary_channels=8, auxiliary_in_channels=16, pool_scales=[1, 2])
    model = transformers.UperNetForSemanticSegmentation(config)
    torch.nn.init.normal_(model.decode_head.classifier.weight)
    model.save_pretrained(folder)
    return write_processor(folder, {"height": 96, "width": 96}, image_processor_type="SegformerImageProcessor")


@pytest.mark.slow
@inference_mode
def test_segments_are_transformers(tmp_path: Path) -> None:
    folder = write_segmentation(tmp_path)
    found = (build("seg", detector=str(folder)).map(picture())[0] * 255).round().byte().permute(1, 2, 0)
    processor = transformers.SegformerImageProcessorPil.from_pretrained(folder)
    model = transformers.UperNetForSemanticSegmentation.from_pretrained(folder).eval()
    outputs = model(**processor(Image.fromarray(PHOTOGRAPH), return_tensors="pt"))
    expected = processor.post_process_semantic_segmentation(outputs, target_sizes=[PHOTOGRAPH.shape[:2]])[0]
    colours: dict[int, set[tuple[int, ...]]] = {}
    for kind in expected.unique().tolist():
        here = found[expected == kind]
        values, counts = np.unique(here.numpy(), axis=0, return_counts=True)
        colours[kind] = {tuple(values[counts.argmax()].tolist())}
    assert len(colours) >= 3, "one segment would prove nothing"
    assert len(set.union(*colours.values())) == len(colours)
    same = torch.stack([torch.tensor(next(iter(colours[kind]))) for kind in expected.flatten().tolist()])
    assert (found.flatten(0, 1) == same).all(1).float().mean() > 0.97  # the rest: bytes that Pillow rounds


def test_the_colours_are_those_of_ade20k(tmp_path: Path) -> None:
    """From the list of the data set: wall, building, sky, floor; the last one is a flag."""
    palette = (build("seg", detector=str(write_segmentation(tmp_path)))._colours * 255).round().int()  # type: ignore[attr-defined]
    assert palette.shape == (150, 3)
    assert palette[:4].tolist() == [[120, 120, 120], [180, 120, 120], [6, 230, 230], [80, 50, 50]]
    assert palette[149].tolist() == [92, 0, 255]
    assert len(np.unique(palette.numpy(), axis=0)) == 149  # road and counter top are both (140, 140, 140)


def test_other_classes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="it tells 19 classes apart; use a model for ADE20K's 150"):
        build("seg", detector=str(write_segmentation(tmp_path, classes=19)))


# --- all ---


def test_every_preprocessor_makes_a_kind_of_map_that_a_union_knows() -> None:
    made = {name: kind_of_map(name) for name in PREPROCESSORS}
    assert made.pop("none") == ""
    assert set(made.values()) == set(MAP_KINDS) - {"repaint"}


@pytest.mark.compile
@pytest.mark.parametrize("name", ["tile", "scribble", "normal", "seg"])
@inference_mode
def test_a_recorded_map_equals_one_that_is_computed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, source = install(monkeypatch), torch.zeros(1, 3, 48, 64)
    write = {"normal": write_depth, "seg": write_segmentation}
    control = {"detector": str(write[name](tmp_path))} if name in write else {}
    recorded, plain = (build(name, **control) for _ in range(2))
    assert recorded.is_recordable
    graphs = CudaGraphs(torch.device("cuda"))
    for seed in range(WARM_UPS + 3):
        source.copy_(torch.rand(source.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1)
        found = graphs.launch("map", lambda: recorded.map(source))
        torch.testing.assert_close(found, plain.map(source), atol=1e-4, rtol=1e-4)
    assert machine.log.count("replay") == 3
