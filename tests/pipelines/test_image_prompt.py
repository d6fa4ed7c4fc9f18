"""A picture as a prompt, against diffusers' own pipelines."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lcm_daemon.core import picture_watch
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes import parts
from lcm_daemon.recipes.recipe import Recipe
from tests.pipelines.conftest import inference_mode, make_picture
from tests.rigs import icc, tiny
from tests.rigs.lazy_imports import lazy_imports

with lazy_imports(globals()):
    import diffusers
    import torch
    from diffusers import EulerDiscreteScheduler, LCMScheduler
    from safetensors.torch import save_file
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    from lcm_daemon.pipelines import image_prompt
    from lcm_daemon.pipelines.image_prompt import ImagePrompts
    from lcm_daemon.pipelines.numbers import Numbers
    from lcm_daemon.pipelines.unet import UNetPass

SD: dict[str, Any] = {}
XL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8,
      "projection_class_embeddings_input_dim": 6 * 8 + 32}
SIDE, WIDTH, HIDDEN, PROJECTED = 32, 32, 24, 20


def make_encoder() -> CLIPVisionModelWithProjection:
    torch.manual_seed(3)
    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=HIDDEN, intermediate_size=48, projection_dim=PROJECTED, num_hidden_layers=3, num_attention_heads=4,
        image_size=SIDE, patch_size=8)).eval()
    for name, parameter in encoder.named_parameters():  # as they are made they hardly see the picture
        if parameter.ndim > 1 and "position" not in name:
            torch.nn.init.kaiming_normal_(parameter)
    return encoder


def make_adapter(unet: Any, kind: str) -> dict[str, dict[str, torch.Tensor]]:
    """Random weights under the published names."""
    torch.manual_seed(4)
    attentions = {}
    for number, (name, processor) in enumerate(unet.attn_processors.items()):
        if name.endswith("attn2.processor"):
            inner = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            for key in ("to_k_ip", "to_v_ip"):
                attentions[f"{number}.{key}.weight"] = torch.randn(inner, WIDTH) * 0.3
        del processor
    return {"image_proj": PROJECTIONS[kind](), "ip_adapter": attentions}


def plain() -> dict[str, torch.Tensor]:
    return {"proj.weight": torch.randn(4 * WIDTH, PROJECTED), "proj.bias": torch.randn(4 * WIDTH),
            "norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)}


def full() -> dict[str, torch.Tensor]:
    return {"proj.0.weight": torch.randn(HIDDEN, HIDDEN) * 0.3, "proj.0.bias": torch.randn(HIDDEN),
            "proj.2.weight": torch.randn(WIDTH, HIDDEN) * 0.3, "proj.2.bias": torch.randn(WIDTH),
            "proj.3.weight": torch.ones(WIDTH), "proj.3.bias": torch.zeros(WIDTH)}


def plus() -> dict[str, torch.Tensor]:
    inner, heads = 16, 64
    made = {"latents": torch.randn(1, 6, inner), "proj_in.weight": torch.randn(inner, HIDDEN) * 0.3,
            "proj_in.bias": torch.randn(inner), "proj_out.weight": torch.randn(WIDTH, inner) * 0.3,
            "proj_out.bias": torch.randn(WIDTH), "norm_out.weight": torch.ones(WIDTH),
            "norm_out.bias": torch.zeros(WIDTH)}
    for layer in range(4):
        for norm in ("norm1", "norm2"):
            made |= {f"layers.{layer}.0.{norm}.weight": torch.ones(inner),
                     f"layers.{layer}.0.{norm}.bias": torch.zeros(inner)}
        made |= {f"layers.{layer}.0.to_q.weight": torch.randn(heads, inner) * 0.3,
                 f"layers.{layer}.0.to_kv.weight": torch.randn(2 * heads, inner) * 0.3,
                 f"layers.{layer}.0.to_out.weight": torch.randn(inner, heads) * 0.3,
                 f"layers.{layer}.1.0.weight": torch.ones(inner), f"layers.{layer}.1.0.bias": torch.zeros(inner),
                 f"layers.{layer}.1.1.weight": torch.randn(4 * inner, inner) * 0.3,
                 f"layers.{layer}.1.3.weight": torch.randn(inner, 4 * inner) * 0.3}
    return made


PROJECTIONS = {"plain": plain, "full": full, "plus": plus}


def make_unet(family: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    return tiny.make_unet(**family).eval()


def parts_of(unet: Any, count: int = 1) -> Any:
    encoder = make_encoder()
    return SimpleNamespace(unet=unet, image_encoders=(encoder,) * count, dtype=torch.float32,
                           device=torch.device("cpu"))


def recipe_of(image: str = "") -> Recipe:
    return Recipe("own", image_prompt=parts.ImagePrompt("adapter", "encoder", image))


def picture_of(seed: int = 0, size: tuple[int, int] = (64, 48)) -> torch.Tensor:
    return torch.from_numpy(make_picture(size, seed)[..., :3]).permute(2, 0, 1)[None].float() / 127.5 - 1


def shown_in(file: Path) -> torch.Tensor:
    """The picture of a file as the adapter gets it."""
    return image_prompt.to_tensor(image_prompt.read_picture(parts.ImagePrompt("", "", str(file)), "").pixels)


def numbers() -> Numbers:
    return Numbers(torch.device("cpu"))


def values(weight: float = 0.0, **named: float) -> Any:
    return SimpleNamespace(image_prompt=weight, image_prompts=named)


def update(prompt: ImagePrompts, image: torch.Tensor, weight: float, **named: float) -> torch.Tensor:
    """One frame's update; the prompt for the UNet."""
    embeds = prompt.prepare(values(weight, **named))
    if (pending := prompt.pending()) is not None:
        pending[1]()
    prompt.run(embeds, image)
    return prompt.prompt


def make(kind: str = "plain", image: str = "") -> tuple[ImagePrompts, Any]:
    unet = make_unet(SD)
    return ImagePrompts(parts_of(unet), recipe_of(image), [make_adapter(unet, kind)], numbers()), unet


# --- against diffusers ---


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize(("kind", "family"), [("plain", SD), ("plus", SD), ("full", SD), ("plain", XL), ("plus", XL)],
                         ids=["sd", "sd plus", "sd full face", "xl", "xl plus"])
@inference_mode
def test_the_unet_predicts_like_diffusers(kind: str, family: dict[str, Any], guidance: float, tmp_path: Path) -> None:
    """Both embed the same pixels; how these are made is held to transformers further down."""
    Image.fromarray(make_picture((80, 56))[..., :3]).save(tmp_path / "picture.png")
    theirs, ours = make_unet(family), make_unet(family)
    pipeline, seen = pipeline_of(theirs, family), []
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_ip_adapter(make_adapter(theirs, kind), subfolder="", weight_name="", image_encoder_folder=None)
    pipeline.set_ip_adapter_scale(0.6)
    theirs.register_forward_hook(lambda _, given, named, made: seen.append(({**named, "given": given}, made[0])),
                                 with_kwargs=True)
    texts = {"prompt_embeds": torch.randn(1, 5, 32), "negative_prompt_embeds": torch.randn(1, 5, 32)}
    if family is XL:
        texts |= {"pooled_prompt_embeds": torch.randn(1, 32), "negative_pooled_prompt_embeds": torch.randn(1, 32)}
    prompt = ImagePrompts(parts_of(ours), recipe_of(str(tmp_path / "picture.png")), [make_adapter(ours, kind)],
                          numbers())
    shown = shown_in(tmp_path / "picture.png")
    pixels = prompt._images[0]._normalizer.normalize(image_prompt.centre_square(shown, SIDE), torch.float32)
    pipeline(**texts, ip_adapter_image=pixels, num_inference_steps=2, guidance_scale=guidance, width=64, height=64,
             output_type="latent")
    image = update(prompt, picture_of(), 0.6)
    denoiser = UNetPass(ours)
    assert len(seen) == 2
    for named, expected in seen:
        sample, timestep = named["given"]
        added = named["added_cond_kwargs"]
        found = denoiser(sample, timestep.reshape(1), named["encoder_hidden_states"], None, added.get("text_embeds"),
                         added.get("time_ids"), image if len(sample) == 2 else image[1:])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        without = denoiser(sample, timestep.reshape(1), named["encoder_hidden_states"], None, added.get("text_embeds"),
                           added.get("time_ids"), (image if len(sample) == 2 else image[1:]) * 0)
        assert (without - expected).abs().max() > 0.02, "a prompt that says nothing would prove nothing"


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [("plain", "plus"), ("plain", "plain")], ids=["two adapters", "one adapter"])
@inference_mode
def test_several_images_predict_like_diffusers(kinds: tuple[str, str], tmp_path: Path) -> None:
    files = [tmp_path / "first.png", tmp_path / "second.png"]
    for seed, file in enumerate(files):
        Image.fromarray(make_picture((64, 64), seed)[..., :3]).save(file)
    theirs, ours = make_unet(SD), make_unet(SD)
    made = {kind: make_adapter(theirs, kind) for kind in kinds}
    adapters = [made[kind] for kind in kinds]
    pipeline, seen = pipeline_of(theirs, SD), []
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_ip_adapter(adapters, subfolder=["", ""], weight_name=["", ""], image_encoder_folder=None)
    pipeline.set_ip_adapter_scale([0.6, 0.3])
    theirs.register_forward_hook(lambda _, given, named, made: seen.append(({**named, "given": given}, made[0])),
                                 with_kwargs=True)
    recipe = Recipe("own", image_prompts=tuple(
        parts.ImagePrompt(kind, "encoder", str(file), name=f"picture{number}")
        for number, (kind, file) in enumerate(zip(kinds, files, strict=True))))
    prompt = ImagePrompts(parts_of(ours, 2), recipe, adapters, numbers())
    pixels = [prompt._images[0]._normalizer.normalize(image_prompt.centre_square(shown_in(file), SIDE), torch.float32)
              for file in files]
    pipeline(prompt_embeds=torch.randn(1, 5, 32), negative_prompt_embeds=torch.randn(1, 5, 32), guidance_scale=3.0,
             ip_adapter_image=pixels, num_inference_steps=1, width=64, height=64, output_type="latent")
    ((named, expected),) = seen
    sample, timestep = named["given"]

    def predict(first: float, second: float) -> torch.Tensor:
        image = update(prompt, picture_of(), 0.0, picture0=first, picture1=second)
        output: torch.Tensor = UNetPass(ours)(sample, timestep.reshape(1), named["encoder_hidden_states"], image=image)
        return output

    torch.testing.assert_close(predict(0.6, 0.3), expected, atol=1e-4, rtol=1e-4)
    for weights in ((0.0, 0.3), (0.6, 0.0), (0.3, 0.6)):
        assert (predict(*weights) - expected).abs().max() > 0.01, "each image counts, by its own weight"
    shared = {id(layer.layer) for processor in ours.attn_processors.values() if hasattr(processor, "to_k_ip")
              for layer in processor.to_k_ip}
    attentions = sum(hasattr(processor, "to_k_ip") for processor in ours.attn_processors.values())
    assert len(shared) == attentions * len(set(kinds)), "an adapter is in memory once"


@inference_mode
def test_several_images_remember_for_a_session(tmp_path: Path) -> None:
    Image.fromarray(make_picture((64, 64))[..., :3]).save(tmp_path / "picture.png")
    unet, named = make_unet(SD), {"still": 0.5, "live": 1.0}
    recipe = Recipe("own", image_prompts=(parts.ImagePrompt("a", "e", str(tmp_path / "picture.png"), name="still"),
                                          parts.ImagePrompt("a", "e", name="live")))
    adapter = make_adapter(unet, "plain")
    prompt = ImagePrompts(parts_of(unet, 2), recipe, [adapter, adapter], numbers())
    assert prompt.save() is None
    assert not prompt.reads_input(values(still=1.0, live=0.0))
    assert prompt.reads_input(values(**named))
    first = update(prompt, picture_of(1), 0.0, **named).clone()
    saved = prompt.save()
    prompt.restore(None)
    second = update(prompt, picture_of(2), 0.0, **named).clone()
    assert torch.equal(first[:, :, :8], second[:, :, :8]), "the file is for all"
    assert not torch.equal(first, second)
    prompt.restore(saved)
    assert torch.equal(update(prompt, picture_of(3), 0.0, **named), first)


def pipeline_of(unet: Any, family: dict[str, Any]) -> Any:
    common = {"vae": tiny.make_tiny_vae(), "unet": unet, "text_encoder": None, "tokenizer": None,
              "image_encoder": make_encoder(), "feature_extractor": CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)}
    if family is XL:
        return diffusers.StableDiffusionXLPipeline(**common, scheduler=EulerDiscreteScheduler.from_config(tiny.TURBO),
                                                   text_encoder_2=None, tokenizer_2=None)
    return diffusers.StableDiffusionPipeline(**common, scheduler=LCMScheduler.from_config(tiny.SCALED),
                                             safety_checker=None, requires_safety_checker=False)


# --- live ---


def said(prompt: ImagePrompts, unet: Any, weight: float, seed: int = 0) -> torch.Tensor:
    image = update(prompt, picture_of(seed), weight)
    torch.manual_seed(5)
    with torch.inference_mode():
        output: torch.Tensor = UNetPass(unet)(torch.randn(1, 4, 8, 8), torch.tensor([500.0]), torch.randn(1, 5, 32),
                                              image=image[1:])
    return output


def test_weight_zero_equals_no_adapter() -> None:
    (prompt, unet), bare = make(), make_unet(SD)
    torch.manual_seed(5)
    with torch.inference_mode():
        expected = UNetPass(bare)(torch.randn(1, 4, 8, 8), torch.tensor([500.0]), torch.randn(1, 5, 32))
    torch.testing.assert_close(said(prompt, unet, 0.0), expected)


def test_the_weight_moves_in_the_same_tensor() -> None:
    prompt, unet = make()
    place = update(prompt, picture_of(), 0.5).data_ptr()
    half, full_weight = said(prompt, unet, 0.5), said(prompt, unet, 1.0)
    assert not torch.equal(half, full_weight)
    assert torch.equal(said(prompt, unet, 0.5), half)
    assert update(prompt, picture_of(), 2.0).data_ptr() == place


def test_a_file_is_embedded_once(tmp_path: Path) -> None:
    Image.fromarray(make_picture((64, 64))[..., :3]).save(tmp_path / "picture.png")
    prompt, unet = make(image=str(tmp_path / "picture.png"))
    first = said(prompt, unet, 1.0)
    prompt._images[0]._encoder = None  # it is not asked again
    assert torch.equal(said(prompt, unet, 1.0, seed=7), first)


@pytest.mark.slow
def test_the_live_input_is_embedded_every_few_frames() -> None:
    prompt, unet = make()
    made = [said(prompt, unet, 1.0, seed=frame) for frame in range(image_prompt.EMBED_INTERVAL + 1)]
    assert all(torch.equal(each, made[0]) for each in made[:-1])
    assert not torch.equal(made[-1], made[0])


def test_the_live_input_is_embedded_at_once_when_it_is_needed_again() -> None:
    prompt, _ = make()
    for forget in (lambda: prompt.restore(None), lambda: prompt.prepare(values(0.0))):
        assert [prompt.prepare(values(1.0)) for _ in range(3)] == [(True,), (False,), (False,)]
        forget()
    assert prompt.prepare(values(1.0)) == (True,)


def test_nothing_is_embedded_at_weight_zero() -> None:
    prompt, _ = make()
    prompt._images[0]._encoder = None
    for seed in range(image_prompt.EMBED_INTERVAL * 2):
        update(prompt, picture_of(seed), 0.0)


@inference_mode
def test_pixels_are_normalised_for_clip() -> None:
    """Held to transformers' processor, which goes through bytes; the middle square of a wide picture is seen."""
    prompt, _ = make()
    for size in ((80, 56), (56, 80), (24, 24)):
        square = image_prompt.centre_square(picture_of(size=size), SIDE)
        found = prompt._images[0]._normalizer.normalize(square, torch.float32)
        processor = CLIPImageProcessorPil(size=SIDE, crop_size=SIDE)
        expected = processor(Image.fromarray(make_picture(size)[..., :3]), return_tensors="pt").pixel_values
        assert (found - expected).abs().mean() < 0.01  # two thirds of a level
        torch.testing.assert_close(found, expected, atol=0.15, rtol=0)  # at hard rims Pillow cuts between its two ways


# --- files and mistakes ---


def write(tmp_path: Path, tensors: dict[str, dict[str, torch.Tensor]], monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "adapter.safetensors"
    save_file({f"{part}.{key}": tensor for part, some in tensors.items() for key, tensor in some.items()}, file)
    monkeypatch.setattr(image_prompt, "locate", lambda recipe: SimpleNamespace(adapters=(file,)))


def test_the_published_layout_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = make_adapter(make_unet(SD), "plus")
    write(tmp_path, adapter, monkeypatch)
    (read,) = image_prompt.read_adapters(recipe_of())
    for part in ("image_proj", "ip_adapter"):
        assert read[part].keys() == adapter[part].keys()
        assert all(torch.equal(read[part][key], tensor) for key, tensor in adapter[part].items())


@pytest.mark.parametrize("tensors", [
    {"image_proj": {"proj.0.weight": torch.zeros(1), "norm.weight": torch.zeros(1)}, "ip_adapter": {
        "1.to_k_ip.weight": torch.zeros(1)}},  # FaceID
    {"image_proj": {"proj.weight": torch.zeros(1)}, "ip_adapter": {}}, {"down_blocks": {"weight": torch.zeros(1)}},
])
def test_another_kind_of_file_is_one_line(tensors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, tensors, monkeypatch)
    with pytest.raises(RecipeError, match=r"recipe own: image prompt: the adapter .* cannot be loaded: ") as caught:
        image_prompt.read_adapters(recipe_of())
    assert "\n" not in str(caught.value)


def test_a_face_id_adapter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the keys of the published files: ip-adapter-faceid_sd15 and ip-adapter-faceid-plusv2_sd15."""
    tensors = {"1.to_k_ip.weight": torch.zeros(1)}
    for projection, attention in (({"proj.0.weight": torch.zeros(1), "norm.weight": torch.zeros(1)}, tensors),
                                  ({"perceiver_resampler.proj_in.weight": torch.zeros(1)}, tensors),
                                  ({"proj.weight": torch.zeros(1)}, {"0.to_q_lora.down.weight": torch.zeros(1)})):
        write(tmp_path, {"image_proj": projection, "ip_adapter": attention}, monkeypatch)
        with pytest.raises(RecipeError, match="it is a FaceID adapter, which is not supported"):
            image_prompt.read_adapters(recipe_of())


@pytest.mark.parametrize(("change", "line"), [
    ({"proj.weight": torch.zeros(4 * WIDTH, 64)}, "the adapter is for an image encoder of width 64, not 20"),
    ({"proj.weight": torch.zeros(4 * 48, PROJECTED)}, "the adapter does not fit the UNet: "),
])
def test_a_mismatch_of_adapter_and_model_is_one_line(change: dict[str, torch.Tensor], line: str) -> None:
    unet = make_unet(SD)
    adapter = make_adapter(unet, "plain")
    adapter["image_proj"] |= change
    with pytest.raises(RecipeError, match=f"recipe own: image prompt: {line}") as caught:
        ImagePrompts(parts_of(unet), recipe_of(), [adapter], numbers())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_adapter_of_another_family_is_one_line() -> None:
    unet, other = make_unet(SD), make_unet({"width": 64})
    with pytest.raises(RecipeError, match="the adapter is for a UNet of cross_attention_dim 32, not 64"):
        ImagePrompts(parts_of(other), recipe_of(), [make_adapter(unet, "plain")], numbers())


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_an_unreadable_image_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RecipeError, match=r"image prompt: cannot read .*picture\.png: it "):
        make(image=str(file))


def test_an_image_is_rotated_by_its_exif_orientation(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], 3, 2).repeat(8, 1))
    exif = image.getexif()
    exif[0x0112] = 6  # turn it a quarter to the right
    image.save(tmp_path / "turned.png", exif=exif)
    picture = shown_in(tmp_path / "turned.png")
    assert picture.shape == (1, 3, 8, 24)


def test_every_depth_and_profile_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((24, 32), 100 * 257, np.uint16)).save(tmp_path / "deep.png")
    torch.testing.assert_close(shown_in(tmp_path / "deep.png"), torch.full((1, 3, 24, 32), 100 / 127.5 - 1))
    Image.new("RGB", (32, 24), (200, 100, 50)).save(
        tmp_path / "p3.png", icc_profile=icc.rgb_profile(icc.DISPLAY_P3, None))
    shown = (shown_in(tmp_path / "p3.png")[0, :, 5, 5] + 1) * 127.5
    assert shown.tolist() == pytest.approx([215, 93, 31], abs=1.1)


@pytest.mark.slow
def test_a_changed_file_is_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_watch.PictureFollower.start, "__defaults__", (0.01,))
    first, second = (make_picture((40, 40), seed) for seed in (1, 2))
    Image.fromarray(second).save(tmp_path / "second.png")
    expected = update(make(image=str(tmp_path / "second.png"))[0], picture_of(), 0.7).clone()
    Image.fromarray(first).save(tmp_path / "picture.png")
    prompt, _ = make(image=str(tmp_path / "picture.png"))
    held = update(prompt, picture_of(), 0.7)
    assert not torch.equal(held, expected)
    Image.fromarray(second).save(tmp_path / "picture.png")
    pause, tries = threading.Event(), 0
    while not torch.equal(update(prompt, picture_of(), 0.7), expected):
        tries += 1
        assert tries < 500
        pause.wait(0.01)
    assert update(prompt, picture_of(), 0.7) is held
