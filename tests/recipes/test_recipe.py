"""Recipes: packaged ones, files, mappings in a show; and the messages about mistakes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from lcm_daemon.core.document import Problems, compose
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.pipelines import PIPELINES
from lcm_daemon.recipes.parts import ControlNet, Files, ImagePrompt, Lora
from lcm_daemon.recipes.reader import FOLDER, load_recipe, read_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe, split_hub


def read(text: str, folder: Path = Path("shows")) -> tuple[Recipe | None, list[str]]:
    problems = Problems()
    recipe = read_recipe(compose(text, "show.yaml"), folder, problems)
    return recipe, [str(problem) for problem in problems.found]


def test_the_default_recipe_is_listed_first() -> None:
    assert recipe_names()[0] == "builtin"
    assert {"builtin", "lcm-dreamshaper", "passthrough", "sd-turbo", "sd15-lcm"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_is_complete(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.pipeline in PIPELINES
    assert recipe.title
    assert recipe.licence
    assert recipe.download
    assert recipe.vram
    assert set(recipe.parameters) <= set(recipe.table())
    assert bool(recipe.files) == (recipe.download != "nothing")
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_hub_source_of_a_recipe_has_files_to_pull(name: str) -> None:
    recipe = load_recipe(name)
    sources = [recipe.model, recipe.unet, recipe.vae, *(lora.model for lora in recipe.loras)]
    sources += [source for control in recipe.controlnets for source in (control.model, control.detector)]
    sources += [recipe.image_prompt.model, recipe.image_prompt.encoder] if recipe.image_prompt else []
    places = {place[0] for source in sources if source and (place := split_hub(source))}
    assert places <= {files.source for files in recipe.files}


def test_the_builtin_model_is_in_the_package() -> None:
    assert Path(load_recipe("builtin").model) == FOLDER.parent / "models" / "builtin"


def test_a_show_may_change_a_recipe() -> None:
    recipe, problems = read("{base: sd-turbo, size: [512, 384], parameters: {seed: 7},"
                            " loras: [a/b, {model: c/d, weight: 0.5}]}")
    assert problems == []
    assert recipe is not None
    assert (recipe.name, recipe.size, recipe.sampler) == ("sd-turbo", (512, 384), "euler")
    assert dict(recipe.parameters) == {"steps": 1, "seed": 7}
    assert recipe.loras == (Lora("a/b"), Lora("c/d", 0.5))


def test_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text("model: ../weights\nguidance: none\n")
    recipe, problems = read("{base: recipes/mine.yaml, vae: ./vae}", tmp_path)
    assert problems == []
    assert recipe is not None
    assert recipe.name == "mine"
    assert recipe.model == str((tmp_path / "weights").resolve())
    assert recipe.vae == str((tmp_path / "vae").resolve())


def test_a_folder_goes_before_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "models" / "own").mkdir(parents=True)
    recipe, _ = read("{model: models/own}", tmp_path)
    assert recipe is not None
    assert recipe.model == str((tmp_path / "models" / "own").resolve())


@pytest.mark.parametrize(("text", "problem"), [
    ("sd-turb", "show.yaml:1:1: no recipe or .yaml file 'sd-turb'; did you mean 'sd-turbo'?"),
    ("[1]", "show.yaml:1:1: a recipe is a name, a .yaml file or a mapping with the key 'base'"),
    ("missing.yaml", "missing.yaml cannot be read: No such file or directory"),
    ("x" * 5000 + ".yaml", "cannot be read: File name too long"),
    ("{size: [512, 512]}", "a recipe needs a 'model', or a 'base' that has one"),
    ("{base: sd-turbo, size: [500, 51200]}", "64 to 2048 each, in multiples of 8"),
    ("{base: sd-turbo, size: [854, 480]}",
     "[854, 480] is not in multiples of 8; the nearest sizes are [848, 480] and [856, 480]"),
    ("{base: sd-turbo, size: 853x479}", "the nearest sizes are [848, 472] and [856, 480]"),
    ("{base: sd-turbo, parameters: {seed: -2}}", "seed goes from 0 to 4.29497e+09, or is -1 for a random one, not -2"),
    ("{base: sd-turbo, device: cuda:x}", "show.yaml:1:26: a device is auto, cuda, cuda:0"),
    ("{base: sd-turbo, sise: [512, 512]}", "show.yaml:1:18: unknown key 'sise'; did you mean 'size'?"),
    ("{base: sd-turbo, parameters: {steps: 9}}", "show.yaml:1:38: steps goes from 1 to 8, not 9"),
    ("{base: sd-turbo, parameters: {stepps: 2}}", "show.yaml:1:31: no parameter 'stepps'; did you mean"),
    ("{base: sd-turbo, parameters: {seed: .nan}}", "show.yaml:1:37: seed takes a finite number, not nan"),
    ("{base: sd-turbo, parameters: 3}", "show.yaml:1:30: a mapping of parameters is wanted"),
    ("{base: sd-turbo, loras: [{weight: 1}]}", "key 'model' is missing"),
])
def test_a_wrong_recipe_is_one_line_with_its_place(text: str, problem: str) -> None:
    recipe, problems = read(text)
    assert recipe is None
    assert len(problems) == 1
    assert problem in problems[0]


def test_every_mistake_is_reported_at_once() -> None:
    _, problems = read("{base: sd-turbo, size: 5, dtype: int4, guidance: some}")
    assert len(problems) == 3


def test_a_recipe_based_on_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    recipe, problems = read("a.yaml", tmp_path)
    assert recipe is None
    assert "based on itself" in problems[0]


def test_a_recipe_file_that_is_not_yaml_keeps_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: [\n")
    recipe, problems = read("a.yaml", tmp_path)
    assert recipe is None
    assert f"{tmp_path / 'a.yaml'}:2:1: not YAML" in problems[0]


def test_loading_an_unknown_recipe_raises() -> None:
    with pytest.raises(DocumentError, match=r"no recipe or \.yaml file 'nothing'"):
        load_recipe("nothing")


def test_a_recipe_adds_parameters() -> None:
    recipe, problems = read("""{
      base: sd-turbo,
      loras: [{name: ink, model: owner/ink/ink.safetensors, weight: 0.4}, owner/merged],
      controlnets: [{name: edges, model: owner/canny, interval: 2, source: guide}],
      image_prompt: {model: owner/adapters/models/ip.safetensors, encoder: owner/adapters/models/image_encoder},
      parameters: {lora/ink: 0.8, steps: 2},
    }""")
    assert problems == []
    assert recipe is not None
    assert recipe.loras == (Lora("owner/ink/ink.safetensors", 0.4, "ink"), Lora("owner/merged"))
    assert recipe.controlnets == (ControlNet("edges", "owner/canny", interval=2, source="guide"),)
    assert recipe.image_prompt == ImagePrompt("owner/adapters/models/ip.safetensors",
                                              "owner/adapters/models/image_encoder")
    own = recipe.table().keys() - load_recipe("sd-turbo").table().keys()
    assert own == {"lora/ink", "control/edges/weight", "control/edges/start", "control/edges/end",
                   "control/edges/interval", "image_prompt"}
    assert recipe.start_values()["lora/ink"] == 0.8
    assert recipe.start_values()["control/edges/interval"] == 2


@pytest.mark.parametrize(("text", "problem"), [
    ("{base: sd-turbo, parameters: {lora/ink: 1}}", "no parameter 'lora/ink'"),
    ("{base: sd-turbo, loras: [{name: a/b, model: owner/x}]}", "show.yaml:1:33: a name is 1 to 32 letters"),
    ("{base: sd-turbo, controlnets: [{model: owner/x}]}", "key 'name' is missing"),
    ("{base: sd-turbo, controlnets: [{name: a, model: owner/x, preprocessor: cany}]}", "one of canny, depth"),
    ("{base: sd-turbo, accelerate: fast}", "show.yaml:1:30"),
    ("{base: sd-turbo, embeddings: [easy.pt]}", "1:31: 'easy.pt' is a pickle: a pickle can run programs"),
    ("{base: sd-turbo, embeddings: [{model: a/b, name: two words}]}", "1:50: a word of a prompt has no blanks"),
    ("{base: sd-turbo, clip_skip: 0}", "1:29: 0 is not a whole number from 1 to 12"),
    ("{base: sana-sprint, clip_skip: 2}", "SANA-Sprint takes no clip_skip: remove clip_skip"),
    ("{base: sd-turbo, schedule: 3}", "show.yaml:1:28: a mapping is wanted"),
    ("{base: sd-turbo, schedule: {gama: 1}}", "1:29: unknown key 'gama' of a schedule; did you mean 'gamma'?"),
    ("{base: sd-turbo, schedule: {timestep_spacing: trailing}}", "1:29: schedule: timestep_spacing has no eff"),
    ("{base: sd-turbo, schedule: {clip_sample: true}}", "1:29: schedule: clip_sample is for models of images"),
    ("{base: sd-turbo, schedule: {original_inference_steps: 0}}", "1:55: 0 is not a whole number from 1 to 1000"),
    ("{base: sd-turbo, schedule: {num_train_timesteps: many}}", "1:50: 'many' is not a whole number from 10 to 100000"),
    ("{base: sd-turbo, schedule: {beta_end: 1}}", "1:39: 1 is not a number from 1e-06 to 0.999"),
    ("{base: sd-turbo, schedule: {prediction_type: noise}}", "1:46: 'noise' is not one of epsilon, v_prediction"),
    ("{base: sd-turbo, schedule: {num_train_timesteps: 500, original_inference_steps: 600}}",
     "1:55: schedule: original_inference_steps 600 is more than 500 training timesteps allow"),
    ("{base: sd-turbo, schedule: {first_timestep: 1000}}", "1:29: schedule: first_timestep 1000 is more than 1000"),
    ("{base: sd-turbo, schedule: {beta_start: 0.2, beta_end: 0.1}}", "1:46: schedule: beta_end 0.1 is below"),
    ("{base: sd-turbo, schedule: {max_timesteps: 1}}", "1:29: schedule: the sampler euler does not read max_timesteps"),
    ("{base: passthrough, pipeline: timed_copy, schedule: {gamma: 1}}", "the pipeline timed_copy does not read gamma"),
])
def test_a_wrong_part_is_one_line_with_its_place(text: str, problem: str) -> None:
    recipe, problems = read(text)
    assert recipe is None
    assert len(problems) == 1
    assert problem in problems[0]


@pytest.mark.parametrize(("weight", "reach"), [(0.8, 2.0), (-2, 2.0), (3.5, 4.0), (-4, 4.0)])
def test_a_fader_of_a_lora_reaches_the_weight_of_the_recipe(weight: float, reach: float) -> None:
    recipe, problems = read(f"{{base: sd-turbo, loras: [{{name: ink, model: owner/x, weight: {weight}}}]}}")
    assert problems == []
    assert recipe is not None
    fader = recipe.table()["lora/ink"]
    assert (fader.low, fader.high, fader.coerce(weight)) == (-reach, reach, weight)


IMAGES = "image_prompts: [{name: a, model: o/a, encoder: o/e}, {name: b, model: o/a, encoder: o/e, image: b.png}]"
IMAGE = "image_prompt: {model: o/a, encoder: o/e}"


def test_several_image_prompts_have_names() -> None:
    recipe, problems = read(f"{{base: sd-turbo, {IMAGES}, parameters: {{image_prompt/b: 0.2}}}}")
    assert problems == []
    assert recipe is not None
    added = recipe.table().keys() - load_recipe("sd-turbo").table().keys()
    assert added == {"image_prompt/a", "image_prompt/b"}
    assert recipe.start_values()["image_prompt/b"] == 0.2
    assert [Path(part.image).name for part in recipe.all_image_prompts] == ["", "b.png"]


def test_image_prompts_replace_those_of_the_base() -> None:
    several, problems = read(f"{{base: {{base: sd-turbo, {IMAGE}}}, {IMAGES}}}")
    assert problems == []
    assert several is not None
    assert several.image_prompt is None
    one, problems = read(f"{{base: {{base: sd-turbo, {IMAGES}}}, {IMAGE}}}")
    assert problems == []
    assert one is not None
    assert [part.name for part in one.all_image_prompts] == [""]
    assert "image_prompt" in one.table()


def test_image_prompts_without_names_or_beside_another_are_mistakes() -> None:
    _, problems = read(f"{{base: sd-turbo, {IMAGE}, {IMAGES}}}")
    assert problems == ["show.yaml:1:32: several image prompts are all written under image_prompts, with names"]
    _, problems = read("{base: sd-turbo, image_prompts: [{model: o/a, encoder: o/e}]}")
    assert problems == ["show.yaml:1:34: key 'name' is missing: part of the name of its parameter: image_prompt/<name>"]
    _, problems = read("{base: sd-turbo, image_prompts: [{name: a, model: o/a, encoder: o/e}, "
                       "{name: a, model: o/a, encoder: o/e}]}")
    assert len(problems) == 2
    assert "another image prompt is named 'a', at 1:" in problems[0]


def test_embeddings_are_read() -> None:
    recipe, problems = read("{base: sd-turbo, clip_skip: 2, embeddings: [a/Easy.safetensors, {model: b/c, name: Bad}]}")
    assert problems == []
    assert recipe is not None
    assert [(part.name, part.word) for part in recipe.embeddings] == [("", "easy"), ("Bad", "bad")]
    assert recipe.clip_skip == 2


def test_two_embeddings_of_one_word_are_named_with_both_places() -> None:
    _, problems = read("{base: sd-turbo, embeddings: [./a/easy.safetensors, {model: b/c, name: Easy}]}")
    assert problems == ["show.yaml:1:31: another embedding is named 'easy', at 1:72; names must differ, as a prompt "
                        "names them",
                        "show.yaml:1:72: another embedding is named 'easy', at 1:31; names must differ, as a prompt "
                        "names them"]


def test_files_to_pull_are_read() -> None:
    recipe, problems = read("{base: sd-turbo, files: [{source: owner/name, files: [a.json, '*.txt'], revision: v1}]}")
    assert problems == []
    assert recipe is not None
    assert recipe.files[0] == Files("owner/name", ("a.json", "*.txt"), "v1")
    assert recipe.files[1:] == load_recipe("sd-turbo").files


@pytest.mark.parametrize(("source", "split"), [
    ("owner/name", ("owner/name", "")), ("owner/name/a/b.safetensors", ("owner/name", "a/b.safetensors")),
    ("name", None), ("/home/owner/name", None), ("../owner/name", None), ("owner/../name", None),
    ("merges/ink.safetensors", None), ("pictures/a.PNG", None),
])
def test_a_hub_source_is_distinguished_from_a_path(source: str, split: object) -> None:
    assert split_hub(source) == split


def test_weights_with_a_name_that_is_too_long_for_a_file_are_on_the_hub() -> None:
    recipe, problems = read(f"{{model: owner/{'x' * 5000}}}")
    assert problems == []
    assert recipe is not None
    assert recipe.model == f"owner/{'x' * 5000}"
