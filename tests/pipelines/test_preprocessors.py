"""Maps from pictures, each held to the definition that it follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core.errors import RecipeError
from lcm_daemon.core.frame import Pixels
from lcm_daemon.recipes.parts import ControlNet
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
    from torch.nn import functional

    from lcm_daemon.pipelines import preprocessors
    from lcm_daemon.pipelines.cuda_graph import WARM_UPS, CudaGraphs
    from lcm_daemon.pipelines.preprocessors import base, canny, lines
    from lcm_daemon.pipelines.preprocessors.depth import input_shape
    from lcm_daemon.pipelines.preprocessors.pose import MARGIN, Pose, peaks
    from lcm_daemon.pipelines.preprocessors.skeleton import Skeleton
    from tests.rigs.cuda import install

CPU = torch.device("cpu")
# Pictures, and what OpenCV 5.0.0 makes of them: Canny(GaussianBlur(cvtColor(picture, COLOR_RGB2GRAY), (5, 5), 0), 100,
# 200), as bits. One is a photograph, one shapes with soft rims, one noise.
OPENCV = np.load(Path(__file__).with_name("canny.npz"))


def picture_of(pixels: Pixels) -> torch.Tensor:
    """(h, w, 3) bytes as the canvas gives them."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def build(name: str, **control: Any) -> base.Preprocessor:
    return preprocessors.build(ControlNet("shape", "", name, **control), Recipe("own"), CPU, torch.float32)


@pytest.mark.parametrize("name", ["photograph", "leaves", "noise"])
def test_canny_is_opencvs(name: str) -> None:
    pixels = OPENCV[name]
    found = build("canny").map(picture_of(pixels))
    expected = np.unpackbits(OPENCV[f"{name}_edges"])[:pixels[..., 0].size].reshape(pixels.shape[:2])
    assert found.shape == (1, 3, *pixels.shape[:2])
    assert expected.mean() > 0.02, "a picture without edges would prove nothing"
    for channel in found[0]:
        assert np.array_equal(channel.numpy(), expected)


def test_a_weak_edge_is_followed_as_far_as_it_reaches() -> None:
    """A step of 120 levels is strong, one of 55 weak: the gradient is 2.5 times the step, by Sobel and the blur."""
    levels = torch.zeros(1, 1, 32, 256)
    levels[..., 16:, :40], levels[..., 16:, 40:200] = 120.0, 55.0
    row = canny.edges(levels)[0, 0].any(0)
    first, last = row.nonzero()[[0, -1], 0].tolist()
    assert first == 0
    assert 40 + canny.REACH - 4 <= last <= 40 + canny.REACH + 4
    weak = torch.zeros(1, 1, 32, 256)
    weak[..., 16:, :] = 55.0
    assert not canny.edges(weak).any()


def test_edges_are_followed_alike_on_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 1, 61, 83, generator=generator)
    strong, weak = noise > 0.98, noise > 0.55
    monkeypatch.setattr(canny, "REACH", reach := 9)
    expected = strong
    for _ in range(reach):
        expected = canny._grow(expected) & weak
    assert torch.equal(canny._follow(strong, weak), expected)
    monkeypatch.setattr(canny, "REACH", reach - 1)
    assert not torch.equal(canny._follow(strong, weak), expected)


def test_canny_in_half_precision_sees_the_same() -> None:
    """Bytes survive float16 between -1 and 1 to half a level."""
    picture = picture_of(OPENCV["leaves"])
    half = build("canny").map(picture.half())
    assert half.dtype == torch.float16
    assert (half.float() != build("canny").map(picture)).float().mean() < 0.01


def test_none_takes_the_picture_as_a_map() -> None:
    picture = torch.linspace(-1.2, 1.2, 3 * 8 * 8).reshape(1, 3, 8, 8)
    torch.testing.assert_close(build("none").map(picture), (picture / 2 + 0.5).clamp(0, 1))


def test_a_map_is_made_of_one_picture() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, h, w\), got \(2, 3, 8, 8\)"):
        build("canny").map(torch.zeros(2, 3, 8, 8))


def test_an_unknown_preprocessor_is_one_line() -> None:
    with pytest.raises(RecipeError, match="recipe own: controlnet shape: no preprocessor 'mlsd'; known are canny"):
        build("mlsd")


# --- depth ---


def write_depth(folder: Path, kind: str) -> Path:
    """A small random model in the layout of the published ones, with their preprocessor_config.json."""
    torch.manual_seed(0)
    if kind == "dpt":
        config = transformers.DPTConfig(
            hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, image_size=64,
            patch_size=16, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[16, 16, 32, 32],
            fusion_hidden_size=16, is_hybrid=False)
        model, image_config = transformers.DPTForDepthEstimation(config), {"size": {"height": 64, "width": 64}}
    else:
        backbone = transformers.Dinov2Config(
            hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=64, image_size=70,
            patch_size=14, out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True)
        config = transformers.DepthAnythingConfig(
            backbone_config=backbone, reassemble_hidden_size=32, neck_hidden_sizes=[16, 16, 32, 32],
            fusion_hidden_size=16, head_hidden_size=8, patch_size=14)
        model = transformers.DepthAnythingForDepthEstimation(config)
        image_config = {"size": {"height": 70, "width": 70}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
    for name, parameter in model.named_parameters():  # as they are made they say next to nothing
        if parameter.ndim > 1 and not name.startswith("backbone.embeddings"):
            torch.nn.init.kaiming_normal_(parameter)
    torch.nn.init.constant_(model.head.state_dict(keep_vars=True)[_last_bias(model.head)], 5.0)
    model.save_pretrained(folder)
    image_config |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3,
               "do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": 1 / 255,
               "image_processor_type": "DPTImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(image_config))
    return folder


def _last_bias(head: torch.nn.Module) -> str:
    """So that the last rectifier does not make it all flat."""
    return [name for name in head.state_dict() if name.endswith("bias")][-1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpt", "depth_anything"])
@inference_mode
def test_depth_is_transformers(kind: str, tmp_path: Path) -> None:
    folder, pixels = write_depth(tmp_path / "model", kind), OPENCV["photograph"]
    found = build("depth", detector=str(folder)).map(picture_of(pixels))
    processor = transformers.DPTImageProcessorPil.from_pretrained(folder)
    model = transformers.AutoModelForDepthEstimation.from_pretrained(folder).eval()
    outputs = model(**processor(Image.fromarray(pixels), return_tensors="pt"))
    depth = functional.interpolate(outputs.predicted_depth[:, None], pixels.shape[:2], mode="bicubic")
    assert depth.std() > 1e-3, "a flat depth would prove nothing"
    expected = (depth - depth.amin()) / (depth.amax() - depth.amin())
    assert found.shape == (1, 3, *pixels.shape[:2])
    assert (float(found.amin()), float(found.amax())) == (0.0, 1.0)
    torch.testing.assert_close(found, expected.expand(-1, 3, -1, -1), atol=0.03, rtol=0)


@pytest.mark.parametrize(("shape", "expected"), [
    ((512, 512), (518, 518)), ((576, 1024), (518, 924)), ((1024, 576), (924, 518)), ((720, 1280), (518, 924)),
])
def test_depth_anything_sees_transformers_sizes(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    config = {"size": {"height": 518, "width": 518}, "keep_aspect_ratio": True, "ensure_multiple_of": 14}
    assert input_shape(shape, config) == expected
    processor = transformers.DPTImageProcessorPil(**config)
    assert processor(Image.new("RGB", shape[::-1]), return_tensors="pt").pixel_values.shape[-2:] == expected


@pytest.mark.slow
def test_a_flat_picture_has_a_depth_too(tmp_path: Path) -> None:
    found = build("depth", detector=str(write_depth(tmp_path, "dpt"))).map(torch.zeros(1, 3, 64, 64))
    assert found.isfinite().all()


# --- pose ---


def write_pose(folder: Path, experts: int = 1, joints: int = 17) -> Path:
    torch.manual_seed(0)
    backbone = transformers.VitPoseBackboneConfig(
        image_size=(64, 48), patch_size=(8, 8), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_experts=experts, part_features=8, out_indices=[2])
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=joints)
    model = transformers.VitPoseForPoseEstimation(config)
    torch.nn.init.normal_(model.head.conv.weight, std=0.2)
    torch.nn.init.constant_(model.head.conv.bias, 0.5)
    model.save_pretrained(folder)
    image_config = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "do_normalize": True,
              "do_rescale": True, "size": {"height": 64, "width": 48}, "image_processor_type": "VitPoseImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(image_config))
    return folder


@pytest.mark.slow
@inference_mode
def test_joints_are_transformers(tmp_path: Path) -> None:
    """The whole picture as the box; transformers measures from the pixels' middles, and sees half a pixel less."""
    folder, pixels = write_pose(tmp_path), OPENCV["photograph"]
    height, width = pixels.shape[:2]
    finder = build("pose", detector=str(folder))
    assert isinstance(finder, Pose)
    picture = picture_of(pixels)
    points, scores = finder._detect(picture, finder._whole(picture) * torch.tensor([1, 1, MARGIN, MARGIN]))
    processor = transformers.VitPoseImageProcessorPil.from_pretrained(folder)
    model = transformers.VitPoseForPoseEstimation.from_pretrained(folder).eval()
    boxes = [[[-0.5, -0.5, width, height]]]
    outputs = model(**processor(Image.fromarray(pixels), boxes=boxes, return_tensors="pt"))
    expected = processor.post_process_pose_estimation(outputs, boxes=boxes)[0][0]
    torch.testing.assert_close(scores, expected["scores"], atol=0.02, rtol=0)
    step = max(height, width) * MARGIN / 12  # pixels to one of the heatmap
    off = (points * torch.tensor([width, height]) - 0.5 - expected["keypoints"]).norm(dim=1)
    assert off.median() < 0.5 * step
    assert (off < 1.5 * step).all()


def test_experts_are_asked_by_their_number(tmp_path: Path) -> None:
    finder = build("pose", detector=str(write_pose(tmp_path, experts=3)))
    assert finder.map(picture_of(OPENCV["leaves"])).shape == (1, 3, 96, 96)


def test_a_peak_is_found_between_pixels() -> None:
    rows, columns = torch.arange(16.0)[:, None], torch.arange(12.0)[None]
    centres = torch.tensor([[4.3, 7.6], [0.0, 15.0], [11.0, 0.0], [6.0, 8.0]])
    heat = torch.stack([torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) for x, y in centres])
    points, scores = peaks(heat)
    torch.testing.assert_close(points * torch.tensor([11.0, 15.0]), centres, atol=0.501, rtol=0)  # beyond a rim is none
    torch.testing.assert_close(points[[0, 3]] * torch.tensor([11.0, 15.0]), centres[[0, 3]], atol=1e-3, rtol=0)
    assert (scores > 0.9).all()


def test_the_person_is_followed_and_looked_for_again(tmp_path: Path) -> None:
    finder = build("pose", detector=str(write_pose(tmp_path)))
    assert isinstance(finder, Pose)
    picture = torch.zeros(1, 3, 64, 96)
    whole = finder._whole(picture)
    torch.testing.assert_close(whole, torch.tensor([0.5, 0.5, 0.5, 1.0]))  # 96 by 128 pixels: 3 by 4, all of it inside
    points = torch.rand(17, 2) * 0.2 + torch.tensor([0.6, 0.3])
    box = finder._next_box(points, torch.full((17,), 0.9), picture, whole)
    low, high = points.amin(0), points.amax(0)
    torch.testing.assert_close(box[:2], (low + high) / 2)
    assert (box[2:] * 2 >= (high - low) * MARGIN - 1e-6).all()
    assert float(box[2] * 96 / (box[3] * 64)) == pytest.approx(48 / 64)
    assert torch.equal(finder._next_box(points, torch.full((17,), 0.1), picture, whole), whole)


def test_the_skeleton_is_drawn_in_openposes_colours() -> None:
    points = torch.full((17, 2), 0.9)
    scores = torch.zeros(17)
    for joint, place in {5: (0.7, 0.25), 6: (0.3, 0.25), 8: (0.3, 0.75)}.items():  # both shoulders, the right elbow
        points[joint], scores[joint] = torch.tensor(place), 1.0
    drawn = (Skeleton(CPU).draw(points, scores, (256, 128))[0] * 255).round().permute(1, 2, 0)

    def colour(x: float, y: float) -> list[int]:
        return [int(level) for level in drawn[int(y * 256), int(x * 128)]]

    assert colour(0.5, 0.25) == [255, 85, 0]  # the neck, half-way between the shoulders
    assert colour(0.3, 0.25) == [255, 170, 0]
    assert colour(0.3, 0.75) == [255, 255, 0]
    assert colour(0.4, 0.25) == [153, 0, 0]  # from the neck to the right shoulder, 0.6 as light
    assert colour(0.6, 0.25) == [153, 51, 0]
    assert colour(0.3, 0.5) == [153, 102, 0]
    assert colour(0.9, 0.9) == [0, 0, 0]  # joints that were not seen
    assert (drawn.amax(-1) > 0).float().mean() < 0.1


def test_nobody_is_a_black_picture() -> None:
    assert not Skeleton(CPU).draw(torch.rand(17, 2), torch.zeros(17), (64, 64)).any()


# --- soft edges and line art ---


def write_network(folder: Path, network: torch.nn.Module) -> Path:
    """As published: the weights under these names, and nothing else."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.reset_parameters()  # those of its construction depend on the tests before this one
    for parameter in network.parameters():
        if parameter.ndim == 4 and parameter.shape[-1] > 1:
            torch.nn.init.kaiming_normal_(parameter)
    save_file(network.state_dict(), folder / "network.safetensors")
    return folder / "network.safetensors"


@pytest.mark.slow
@inference_mode
def test_soft_edges_are_the_published_network(tmp_path: Path) -> None:
    """Held to the definition, written out once more from the names in the published file."""
    file = write_network(tmp_path, lines.HolisticEdges())
    weights, picture = load_file(file), picture_of(OPENCV["photograph"])
    levels, edges = (picture + 1) * 127.5 - weights["norm"], []
    for block, layers in enumerate((2, 2, 3, 3, 3), start=1):
        levels = levels if block == 1 else functional.max_pool2d(levels, 2, 2)
        for layer in range(layers):
            name = f"block{block}.convs.{layer}"
            levels = functional.relu(functional.conv2d(levels, weights[f"{name}.weight"], weights[f"{name}.bias"],
                                                       padding=1))
        name = f"block{block}.projection"
        edge = functional.conv2d(levels, weights[f"{name}.weight"], weights[f"{name}.bias"])
        edges.append(functional.interpolate(edge, picture.shape[-2:], mode="bilinear"))
    expected = torch.sigmoid(sum(edges) / 5)
    for place in (file, tmp_path):
        found = build("softedge", detector=str(place)).map(picture)
        torch.testing.assert_close(found, expected.expand(-1, 3, -1, -1), atol=1e-4, rtol=0)
    assert expected.std() > 0.05


PUBLISHED_LINE_ART = {  # name -> shape, of a few that fix the layout
    "model0.1.weight": (64, 3, 7, 7), "model1.0.weight": (128, 64, 3, 3), "model1.3.weight": (256, 128, 3, 3),
    "model2.0.conv_block.1.weight": (256, 256, 3, 3), "model2.2.conv_block.5.bias": (256,),
    "model3.0.weight": (256, 128, 3, 3), "model3.3.weight": (128, 64, 3, 3), "model4.1.weight": (1, 64, 7, 7),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(64, 48), (50, 37)])
@inference_mode
def test_line_art_is_white_on_black_in_any_size(shape: tuple[int, int], tmp_path: Path) -> None:
    network = lines.LineDrawing()
    names = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert PUBLISHED_LINE_ART.items() <= names.items()
    assert len(names) == 24
    file, picture = write_network(tmp_path, network), torch.rand(1, 3, *shape) * 2 - 1
    found = build("lineart", detector=str(file)).map(picture)
    expected = 1 - network.eval()(picture / 2 + 0.5)[..., :shape[0], :shape[1]]
    assert found.shape == (1, 3, *shape)
    torch.testing.assert_close(found, expected.expand(-1, 3, -1, -1), atol=1e-4, rtol=0)


# --- mistakes ---


def write_small(name: str, folder: Path) -> dict[str, str]:
    """Write a small random model for a preprocessor, if it needs one; what its ControlNet says of it."""
    write: dict[str, Callable[[], Path]] = {
        "depth": lambda: write_depth(folder, "depth_anything"), "pose": lambda: write_pose(folder),
        "softedge": lambda: write_network(folder, lines.HolisticEdges()),
        "lineart": lambda: write_network(folder, lines.LineDrawing()),
    }
    return {"detector": str(write[name]())} if name in write else {}


@pytest.mark.compile
@pytest.mark.parametrize("name", ["none", "softedge", "lineart", "depth", "pose"])
@inference_mode
def test_a_recorded_map_equals_one_that_is_computed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a preprocessor remembers (where the person is) moves on with each replay."""
    machine, source = install(monkeypatch), torch.zeros(1, 3, 48, 64)
    control = write_small(name, tmp_path)
    recorded, plain = (build(name, **control) for _ in range(2))
    assert recorded.is_recordable
    graphs = CudaGraphs(torch.device("cuda"))
    for seed in range(WARM_UPS + 3):
        source.copy_(torch.rand(source.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1)
        found = graphs.launch("map", lambda: recorded.map(source))
        torch.testing.assert_close(found, plain.map(source), atol=1e-4, rtol=1e-4)
    assert machine.log.count("replay") == 3


def test_canny_reads_nothing_back_from_a_device() -> None:
    """On the meta device that is an error. On the CPU edges are followed in bytes, which is not recorded."""
    assert build("canny").is_recordable
    found = build("canny").map(torch.empty(1, 3, 48, 64, device="meta"))
    assert found.shape == (1, 3, 48, 64)


@pytest.mark.parametrize("name", ["depth", "pose", "softedge", "lineart", "normal", "seg"])
def test_one_without_its_model_says_which_and_what_else(name: str) -> None:
    line = (f"recipe own: controlnet shape: the preprocessor {name} needs a model of its own, such as detector: .*; "
            "or send the control map itself, with preprocessor: none")
    with pytest.raises(RecipeError, match=line):
        build(name)


@pytest.mark.parametrize("name", ["depth", "pose", "softedge", "lineart", "normal", "seg"])
def test_a_model_that_is_not_there_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"controlnet shape: the detector .* cannot be loaded: ") as caught:
        build(name, detector=str(tmp_path / "nothing"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["depth", "pose", "seg"])
def test_a_model_of_another_kind_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(RecipeError, match="its model_type 'clip' is not one of "):
        build(name, detector=str(tmp_path))


def test_a_model_that_lacks_weights_is_one_line(tmp_path: Path) -> None:
    file = write_depth(tmp_path, "dpt") / "model.safetensors"
    weights = load_file(file)
    del weights["head.head.0.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(RecipeError, match=r"weights do not fit config.json: head.head.0.weight"):
        build("depth", detector=str(tmp_path))


def test_a_pose_of_other_joints_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="it detects 133 joints; use a model for COCO's 17"):
        build("pose", detector=str(write_pose(tmp_path, joints=133)))


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    torch.save(lines.HolisticEdges().state_dict(), tmp_path / "ControlNetHED.pth")
    with pytest.raises(RecipeError, match=r"the folder must have one .safetensors file, not 0"):
        build("softedge", detector=str(tmp_path))
