"""Pulling, as a user does it, from a hub on loopback; and the proof that a show then needs no network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from huggingface_hub.utils import close_session

from lcm_daemon.cli import main
from lcm_daemon.core.errors import RecipeError
from lcm_daemon.recipes import downloads, hub_cache
from lcm_daemon.recipes.parts import Files, ImagePrompt, Lora
from lcm_daemon.recipes.reader import load_recipe, recipe_names
from lcm_daemon.recipes.recipe import Recipe
from tests.rigs.daemon import free_port, wait_for
from tests.rigs.standin_hub import TOKEN, Repo, StandinHub, weights

UNET = "unet/diffusion_pytorch_model.fp16.safetensors"
WEIGHTS = weights(300_000)
CHUNK = 10 * 2**20  # bytes that the transport hands on at a time: what a break can cost
BIG = weights(2 * CHUNK + 1_000_000, 1)


def model_files() -> dict[str, bytes]:
    """The names of a Stable Diffusion folder, with small contents; some that no recipe needs beside them."""
    return {
        "model_index.json": b"{}", "README.md": b"words", "scheduler/scheduler_config.json": b'{"a": 1}',
        "tokenizer/vocab.json": b"{}", "tokenizer/merges.txt": b"#version: 0.2\n", "unet/config.json": b"{}",
        UNET: WEIGHTS, "unet/diffusion_pytorch_model.safetensors": weights(600_000),
        "text_encoder/config.json": b"{}", "text_encoder/model.fp16.safetensors": weights(5000),
        "vae/config.json": b"{}", "vae/diffusion_pytorch_model.safetensors": weights(7000),
    }


WANTED = ("scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/merges.txt", "unet/config.json", UNET,
          "text_encoder/config.json", "text_encoder/model.fp16.safetensors")
TINY_VAE = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": weights(3000), "other.bin": b"no"}


@pytest.fixture
def standin() -> Iterator[StandinHub]:
    repos = {"some/model": Repo(model_files()), "some/tiny-vae": Repo(TINY_VAE, commit="b" * 40)}
    with StandinHub(repos) as running:
        yield running


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return write_recipe(tmp_path / "mine.yaml")


def write_recipe(file: Path, **changes: object) -> Path:
    content: dict[str, object] = {
        "model": "some/model", "vae": "some/tiny-vae", "guidance": "none", "download": "0.4 MB",
        "files": [{"source": "some/model", "files": list(WANTED)},
                  {"source": "some/tiny-vae", "files": ["config.json", "*.safetensors"]}], **changes}
    file.write_text(yaml.safe_dump(content))
    return file


def environment(folder: Path, endpoint: str, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {**plain, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), **more}


def typed(folder: Path, endpoint: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "lcm_daemon", "pull", *words], capture_output=True, text=True,
                          timeout=120, env=environment(folder, endpoint, **more))


class Here:
    """`lcm-daemon pull` in this process: a second less each."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = monkeypatch, capsys
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "home" / "hub"))
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)

    def use(self, endpoint: str) -> None:
        self._patch.setattr(constants, "ENDPOINT", endpoint)
        self._patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            endpoint + "/{repo_id}/resolve/{revision}/{filename}")

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        code = main(["pull", *words])
        said = self._capsys.readouterr()
        return subprocess.CompletedProcess(["pull", *words], code, said.out, said.err)


@pytest.fixture
def here(tmp_path: Path, standin: StandinHub, monkeypatch: pytest.MonkeyPatch,
         capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    ready = Here(tmp_path, monkeypatch, capsys)
    ready.use(standin.url)
    yield ready
    close_session()


def snapshot(folder: Path, source: str = "some/model", commit: str = "a" * 40) -> Path:
    return folder / "home" / "hub" / f"models--{source.replace('/', '--')}" / "snapshots" / commit


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_pull_fetches_what_the_recipe_names_alone(tmp_path: Path, standin: StandinHub, recipe: Path) -> None:
    done = typed(tmp_path, standin.url, str(recipe))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "mine: complete"
    assert "some/model at aaaaaaaa: 7 files, 305 kB" in done.stdout
    assert files_in(snapshot(tmp_path)) == set(WANTED)
    assert (snapshot(tmp_path) / UNET).read_bytes() == WEIGHTS
    assert not list((tmp_path / "home").rglob("*.part"))


@pytest.mark.slow
def test_a_second_pull_downloads_nothing(tmp_path: Path, standin: StandinHub, here: Here, recipe: Path) -> None:
    here(str(recipe))
    before = len(standin.downloads())
    assert here(str(recipe)).returncode == 0
    assert len(standin.downloads()) == before


@pytest.mark.slow
def test_offline_proves_from_the_disk_alone(tmp_path: Path, standin: StandinHub, recipe: Path) -> None:
    typed(tmp_path, standin.url, str(recipe))
    asked = len(standin.requests)
    done = typed(tmp_path, standin.url, str(recipe), "--offline")
    assert (done.returncode, done.stdout) == (0, "mine: complete\n")
    assert len(standin.requests) == asked


@pytest.mark.slow
def test_offline_lists_what_is_missing_or_damaged(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    here(str(recipe))
    (snapshot(tmp_path) / UNET).resolve().unlink()
    broken = snapshot(tmp_path, "some/tiny-vae", "b" * 40) / "diffusion_pytorch_model.safetensors"
    broken.write_bytes(broken.read_bytes()[:-1] + b"\0")
    done = here(str(recipe), "--offline")
    assert done.returncode == 1
    first, second, last = done.stdout.splitlines()
    assert first.split() == ["missing", "300", "kB", f"some/model/{UNET}"]
    assert second.split() == ["damaged", "3.0", "kB", "some/tiny-vae/diffusion_pytorch_model.safetensors"]
    assert "2 files are missing or damaged, 303 kB; download them with: lcm-daemon pull" in last


@pytest.mark.slow
def test_a_pull_mends_what_is_missing_and_damaged(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    here(str(recipe))
    (snapshot(tmp_path) / UNET).resolve().write_bytes(b"nothing like it")
    assert here(str(recipe)).returncode == 0
    assert (snapshot(tmp_path) / UNET).read_bytes() == WEIGHTS


@pytest.mark.slow
def test_offline_on_a_new_machine_names_the_whole_size(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    done = here(str(recipe), "--offline")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == len(WANTED) + 2 + 1
    assert "9 files are missing or damaged (whole recipe: 0.4 MB)" in done.stdout
    assert standin.requests == []


@pytest.mark.slow
def test_a_connection_that_breaks_is_taken_up_again(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    standin.repos["some/model"] = Repo(model_files() | {UNET: BIG})
    standin.cut[UNET] = CHUNK + 100_000
    done = here(str(recipe))
    assert done.returncode == 0, done.stderr
    assert [request.range for request in standin.downloads() if request.path.endswith(UNET)][-1] == f"bytes={CHUNK}-"
    assert (snapshot(tmp_path) / UNET).read_bytes() == BIG


@pytest.mark.slow
def test_a_pull_that_was_killed_goes_on_where_it_stopped(tmp_path: Path, standin: StandinHub, recipe: Path) -> None:
    standin.repos["some/model"] = Repo(model_files() | {UNET: BIG})
    standin.slow = threading.Event()
    command = [sys.executable, "-m", "lcm_daemon", "pull", str(recipe)]
    with subprocess.Popen(command, env=environment(tmp_path, standin.url), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        assert standin.reached.wait(60)
        part = wait_for_part(tmp_path)
        process.send_signal(signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
    standin.slow.set()
    half = part.stat().st_size
    assert 0 < half < len(BIG)
    assert not (tmp_path / "home/hub/models--some--model/refs").exists()  # no show sees half a model
    done = typed(tmp_path, standin.url, str(recipe))
    assert done.returncode == 0, done.stderr
    assert f"bytes={half}-" in [request.range for request in standin.downloads()]
    assert (snapshot(tmp_path) / UNET).read_bytes() == BIG


def wait_for_part(folder: Path) -> Path:
    def grown() -> Path | None:
        return next((path for path in folder.rglob("*.part") if path.stat().st_size > 0), None)

    found = wait_for(grown, 30, "a file that is half there")
    assert isinstance(found, Path)
    return found


@pytest.mark.slow
def test_a_wrong_hash_is_caught_and_nothing_is_kept_of_it(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    standin.alter.add(UNET)
    done = here(str(recipe))
    assert done.returncode == 2
    assert f"some/model/{UNET}: the downloaded file is not the one that the hub lists (its hash differs)" in done.stderr
    assert not (snapshot(tmp_path) / UNET).exists()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.slow
def test_a_wrong_rest_of_an_earlier_download_is_replaced(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    blobs = tmp_path / "home/hub/models--some--model/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(WEIGHTS).hexdigest()}.lcm-daemon.part").write_bytes(b"x" * 1000)
    assert here(str(recipe)).returncode == 0
    assert (snapshot(tmp_path) / UNET).read_bytes() == WEIGHTS


@pytest.mark.slow
def test_no_network_is_one_line(here: Here, recipe: Path) -> None:
    here.use(f"http://127.0.0.1:{free_port()}")
    done = here(str(recipe))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "some/model: http://127.0.0.1" in line
    assert "cannot be reached" in line


@pytest.mark.slow
def test_a_gated_model_is_one_line_that_says_what_to_do(
    standin: StandinHub, here: Here, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.repos["some/model"] = Repo(model_files(), gated=True)
    done = here(str(recipe))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"is gated: accept its licence at {standin.url}/some/model" in line
    assert "HF_TOKEN" in line
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert here(str(recipe)).returncode == 0


@pytest.mark.slow
def test_the_token_stays_with_the_hub(
    standin: StandinHub, here: Here, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    here(str(recipe))
    tokens = {(request.host, request.token) for request in standin.downloads()}
    assert tokens == {("127.0.0.1", True), ("localhost", False)}


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "words"), [
    ({"model": "some/other"}, "some/other: is not on the hub; if it is private"),
    ({"files": [{"source": "some/model", "files": ["unet/absent.safetensors"]}]},
     "some/model has no file 'unet/absent.safetensors' at aaaaaaaa; did you mean"),
    ({"files": [{"source": "some/model", "revision": "v9", "files": ["unet/config.json"]}]},
     "some/model: has no revision 'v9'"),
])
def test_what_is_not_on_the_hub_is_one_line(
    changes: Mapping[str, object], words: str, tmp_path: Path, standin: StandinHub, here: Here
) -> None:
    done = here(str(write_recipe(tmp_path / "mine.yaml", **changes)))
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_hub_offline_is_said(tmp_path: Path, standin: StandinHub, recipe: Path) -> None:
    done = typed(tmp_path, standin.url, str(recipe), HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert "HF_HUB_OFFLINE is set" in done.stderr


@pytest.mark.slow
def test_a_revision_is_kept_apart(tmp_path: Path, standin: StandinHub, here: Here) -> None:
    standin.repos["some/tiny-vae"] = Repo(TINY_VAE, "b" * 40, {"refs/pr/4": "c" * 40})
    recipe = write_recipe(tmp_path / "mine.yaml", files=[
        {"source": "some/model", "files": list(WANTED)},
        {"source": "some/tiny-vae", "revision": "refs/pr/4", "files": ["config.json", "*.safetensors"]}])
    assert here(str(recipe)).returncode == 0
    place = tmp_path / "home/hub/models--some--tiny-vae"
    assert (place / "refs/refs/pr/4").read_text() == "c" * 40
    assert not (place / "refs/main").exists()


@pytest.mark.slow
def test_a_new_commit_is_taken_over_when_it_is_all_there(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    here(str(recipe))
    newer = model_files() | {UNET: weights(300_000, 9)}
    standin.repos["some/model"] = Repo(newer, commit="d" * 40)
    standin.alter.add(UNET)
    assert here(str(recipe)).returncode == 2
    assert (tmp_path / "home/hub/models--some--model/refs/main").read_text() == "a" * 40
    standin.alter.clear()
    assert here(str(recipe)).returncode == 0
    assert (tmp_path / "home/hub/models--some--model/refs/main").read_text() == "d" * 40


@pytest.mark.slow
def test_pulling_one_recipe_leaves_another_whole(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    """Two recipes share a place, which moves on: what the first one has of it comes along, downloaded or not."""
    here(str(recipe))
    newer = model_files() | {"unet/config.json": b'{"new": 1}'}
    standin.repos["some/model"] = Repo(newer, commit="d" * 40)
    before = len(standin.downloads())
    other = write_recipe(tmp_path / "other.yaml", files=[{"source": "some/model", "files": ["model_index.json"]},
                                                         {"source": "some/tiny-vae", "files": ["config.json"]}])
    here(str(other))
    assert files_in(snapshot(tmp_path, commit="d" * 40)) == {*WANTED, "model_index.json"}
    fetched = {request.path.split("d" * 40 + "/")[-1] for request in standin.downloads()[before:]}
    assert fetched == {"unet/config.json"}  # model_index.json has the bytes of vocab.json, which are here
    assert here(str(recipe), "--offline").returncode == 0


@pytest.mark.slow
def test_a_show_and_a_recipe_that_lists_no_files(tmp_path: Path, standin: StandinHub, here: Here) -> None:
    """Of a place that nothing is said of, what such a part usually has; half precision where there are both."""
    show = tmp_path / "show.yaml"
    show.write_text("recipe: {model: some/model, vae: some/tiny-vae, guidance: none}\nosc: false\npanel: false\n")
    done = here(str(show))
    assert done.returncode == 0, done.stderr
    assert files_in(snapshot(tmp_path)) == {*WANTED, "model_index.json", "vae/config.json"}


@pytest.mark.slow
def test_a_show_fetches_every_recipe_that_it_names_and_its_safety_checker(
    standin: StandinHub, here: Here, tmp_path: Path
) -> None:
    checker = {"safety_checker/config.json": b"{}", "safety_checker/model.fp16.safetensors": weights(2000),
               "feature_extractor/preprocessor_config.json": b"{}"}
    standin.repos[downloads.SAFETY.source] = Repo(checker, "e" * 40)
    show = tmp_path / "show.yaml"
    write_recipe(tmp_path / "mine.yaml")
    show.write_text("recipe: builtin\nrecipes: {other: mine.yaml}\nsafety: true\nosc: false\npanel: false\n")
    done = here(str(show))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "other: complete"
    assert files_in(snapshot(tmp_path)) == set(WANTED)
    assert files_in(snapshot(tmp_path, downloads.SAFETY.source, "e" * 40)) == set(checker)


LOOK = """
import json, socket, sys
def refuse(*_): raise AssertionError("a connection was opened")
socket.socket.connect = refuse
from lcm_daemon.pipelines.weights import locate
from lcm_daemon.commands.arguments import find_recipes
weights = locate(find_recipes(sys.argv[1])[0])
print(json.dumps([str(weights.model), str(weights.vae)]))
"""


@pytest.mark.slow
def test_what_was_pulled_is_found_without_a_network(tmp_path: Path, standin: StandinHub, recipe: Path) -> None:
    typed(tmp_path, standin.url, str(recipe))
    done = subprocess.run([sys.executable, "-c", LOOK, str(recipe)], capture_output=True, text=True, timeout=60,
                          env=environment(tmp_path, "http://127.0.0.1:1", HF_HUB_OFFLINE="1"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [str(snapshot(tmp_path)), str(snapshot(tmp_path, "some/tiny-vae", "b" * 40))]


@pytest.mark.slow
def test_what_another_program_noted_does_not_hide_it(here: Here, recipe: Path) -> None:
    """huggingface_hub notes all files of a place, and then refuses a folder that has only those that are wanted."""
    from huggingface_hub._tree_cache import TreeCacheEntry, write_tree_cache

    assert here(str(recipe)).returncode == 0
    entry = TreeCacheEntry(size=1, blob_id="0" * 40, lfs_sha256=None, lfs_size=None, xet_hash=None)
    write_tree_cache(str(hub_cache.repo_folder("some/model")), "a" * 40, {"unwanted.bin": entry})
    assert here(str(recipe), "--offline").returncode == 0


@pytest.mark.slow
def test_other_programs_find_it_too(tmp_path: Path, standin: StandinHub, recipe: Path) -> None:
    """The cache's layout is the one that huggingface_hub reads."""
    typed(tmp_path, standin.url, str(recipe))
    code = ("from huggingface_hub import hf_hub_download, scan_cache_dir\n"
            f"print(hf_hub_download('some/model', {UNET!r}, local_files_only=True))\n"
            "print(sorted(repo.repo_id for repo in scan_cache_dir().repos), scan_cache_dir().warnings)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
                          env=environment(tmp_path, "http://127.0.0.1:1"))
    assert done.stdout.splitlines() == [str(snapshot(tmp_path) / UNET), "['some/model', 'some/tiny-vae'] []"]


@pytest.mark.slow
def test_a_name_that_leads_out_of_the_cache_is_refused(
    tmp_path: Path, standin: StandinHub, here: Here, recipe: Path
) -> None:
    standin.repos["some/model"] = Repo(model_files() | {"../../outside": b"x"})
    done = here(str(recipe))
    assert done.returncode == 2
    assert "the hub's answer is invalid" in done.stderr


def test_a_disk_that_is_too_small_is_said_before_anything_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_cache, "repo_folder", lambda source: tmp_path / "cache" / "some--model")
    file = hub_cache.HubFile("a.safetensors", 10**18, "0" * 64)
    with pytest.raises(RecipeError, match=r"some/model: the download has 1000000000 GB, but .* free; make room"):
        downloads.check_space([downloads.Download("some/model", "", hub_cache.Listing("a" * 40, {}), (file,))])


def test_parts_that_a_recipe_replaces_are_not_fetched() -> None:
    own = Recipe("own", model="some/xl", unet="other/light/two_step_unet.safetensors", vae="some/tiny-vae",
                 loras=(Lora("more/loras/one.safetensors"), Lora("/a/local/file.safetensors")),
                 image_prompt=ImagePrompt("ip/adapter/models/ip.safetensors", "ip/adapter/models/image_encoder"),
                 files=(Files("some/xl", ("unet/config.json", UNET, "vae/config.json", "vae/a.safetensors")),
                        Files("not/used", ("a.safetensors",))))
    wants = {needed.source: needed for needed in downloads.needed_files(own)}
    assert set(wants) == {"some/xl", "other/light", "some/tiny-vae", "more/loras", "ip/adapter"}
    assert wants["some/xl"].required == ("unet/config.json", "vae/config.json")
    assert wants["other/light"].required == ("two_step_unet.safetensors",)
    assert wants["more/loras"].required == ("one.safetensors",)
    assert wants["ip/adapter"].required == ("models/ip.safetensors",)
    assert "models/image_encoder/config.json" in wants["ip/adapter"].optional


def test_of_a_place_only_what_is_used_is_fetched() -> None:
    """A recipe lays another file of a place over its base's, whose list stays."""
    own = replace(load_recipe("sdxl-lightning"), unet="ByteDance/SDXL-Lightning/sdxl_lightning_4step_unet.safetensors")
    wants = {needed.source: needed for needed in downloads.needed_files(own)}
    assert wants["ByteDance/SDXL-Lightning"].required == ("sdxl_lightning_4step_unet.safetensors",)
    assert "unet/config.json" in wants["stabilityai/stable-diffusion-xl-base-1.0"].required
    assert "latent-consistency/lcm-lora-sdxl" not in wants


@pytest.mark.parametrize(("size", "words"), [
    (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (305_000, "305 kB"), (9_949_000, "9.9 MB"),
    (2_400_000_000, "2.4 GB"), (10_270_000_000, "10 GB"), (5 * 10**13, "50000 GB"),
])
def test_sizes_for_people(size: int, words: str) -> None:
    assert downloads.format_size(size) == words


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_fetches_and_under_which_licence(name: str) -> None:
    """Every place by the names of its files, so that `--offline` can name them before the hub was ever asked."""
    recipe = load_recipe(name)
    wants = downloads.needed_files(recipe)
    assert recipe.title
    assert recipe.licence
    assert bool(wants) == bool(re.fullmatch(r"\d+(\.\d)? GB", recipe.download))
    assert re.fullmatch(r"none|~?\d+(\.\d)? GB", recipe.vram)
    for needed in wants:
        assert needed.required, f"{name}: nothing is listed of {needed.source}"
        assert needed.optional == ()
        # Shards of transformers are not known by their names before the hub was asked.
        assert recipe.family in TRANSFORMERS or not any("*" in file for file in needed.required)
        assert sum(file.endswith(".safetensors") for file in needed.required) >= 1


@pytest.mark.parametrize("name", recipe_names())
def test_the_size_of_a_download_is_that_of_its_weights(name: str) -> None:
    """Sizes in GB as the hub's pages list them; what is not in the table is small."""
    recipe = load_recipe(name)
    weights = [f"{needed.source}/{file}" for needed in downloads.needed_files(recipe) for file in needed.required
               if file.endswith(".safetensors")]
    if recipe.family in TRANSFORMERS:
        return  # their sizes are computed from their configurations
    total = sum(SIZES[weight] for weight in weights)
    if weights:
        assert float(recipe.download.split()[0]) == pytest.approx(total, abs=0.06 if total < 9.5 else 0.5)


TRANSFORMERS = ("sana-sprint", "flux2-klein", "z-image")
U16, U32 = "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.safetensors"
T32, T16, T216 = "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors", \
    "text_encoder_2/model.fp16.safetensors"
V16, V32, LORA = "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors", \
    "pytorch_lora_weights.safetensors"
SIZES = {
    f"SimianLuo/LCM_Dreamshaper_v7/{U32}": 3.44, f"SimianLuo/LCM_Dreamshaper_v7/{T32}": 0.492,
    f"stable-diffusion-v1-5/stable-diffusion-v1-5/{U16}": 1.72,
    f"stable-diffusion-v1-5/stable-diffusion-v1-5/{T16}": 0.246,
    f"stabilityai/stable-diffusion-xl-base-1.0/{U16}": 5.14, f"stabilityai/stable-diffusion-xl-base-1.0/{T16}": 0.246,
    f"stabilityai/stable-diffusion-xl-base-1.0/{T216}": 1.39,
    f"segmind/SSD-1B/{U16}": 2.66, f"segmind/SSD-1B/{T16}": 0.246, f"segmind/SSD-1B/{T216}": 1.39,
    f"stabilityai/sd-turbo/{U16}": 1.73, f"stabilityai/sd-turbo/{T16}": 0.681,
    f"stabilityai/sdxl-turbo/{U16}": 5.14, f"stabilityai/sdxl-turbo/{T16}": 0.246,
    f"stabilityai/sdxl-turbo/{T216}": 1.39,
    "ByteDance/SDXL-Lightning/sdxl_lightning_2step_unet.safetensors": 5.14,
    "ByteDance/SDXL-Lightning/sdxl_lightning_4step_unet.safetensors": 5.14,
    "tianweiy/DMD2/dmd2_sdxl_4step_unet_fp16.safetensors": 5.14,
    f"Lykon/dreamshaper-8/{U16}": 1.72, f"Lykon/dreamshaper-8/{T16}": 0.246,
    f"Lykon/dreamshaper-xl-v2-turbo/{U16}": 5.14, f"Lykon/dreamshaper-xl-v2-turbo/{T16}": 0.246,
    f"Lykon/dreamshaper-xl-v2-turbo/{T216}": 1.39,
    "ByteDance/Hyper-SD/Hyper-SD15-1step-lora.safetensors": 0.269,
    "ByteDance/Hyper-SD/Hyper-SDXL-1step-lora.safetensors": 0.787,
    f"IDKiro/sdxs-512-dreamshaper/{U32}": 1.26, f"IDKiro/sdxs-512-dreamshaper/{T32}": 0.492,
    f"IDKiro/sdxs-512-dreamshaper/vae/{V32}": 0.01,
    f"segmind/Segmind-Vega/{U16}": 1.49, f"segmind/Segmind-Vega/{T16}": 0.246, f"segmind/Segmind-Vega/{T216}": 1.39,
    f"segmind/Segmind-VegaRT/{LORA}": 0.239, f"latent-consistency/lcm-lora-sdv1-5/{LORA}": 0.135,
    f"h1t/TCD-SD15-LoRA/{LORA}": 0.135, f"h1t/TCD-SDXL-LoRA/{LORA}": 0.394,
    "wangfuyun/PCM_Weights/sd15/pcm_sd15_smallcfg_2step_converted.safetensors": 0.135,
    "wangfuyun/PCM_Weights/sdxl/pcm_sdxl_smallcfg_2step_converted.safetensors": 0.394,
    f"latent-consistency/lcm-lora-sdxl/{LORA}": 0.394, f"latent-consistency/lcm-lora-ssd-1b/{LORA}": 0.21,
    f"madebyollin/taesd/{V32}": 0.01, f"madebyollin/taesdxl/{V32}": 0.01,
    f"lllyasviel/control_v11p_sd15_canny/{V16}": 0.723, f"lllyasviel/control_v11f1p_sd15_depth/{V16}": 0.723,
    f"lllyasviel/control_v11p_sd15_openpose/{V16}": 0.723,
    f"diffusers/controlnet-canny-sdxl-1.0-small/{V16}": 0.32, f"diffusers/controlnet-depth-sdxl-1.0-small/{V16}": 0.32,
    f"xinsir/controlnet-openpose-sdxl-1.0/{V32}": 2.5, f"thibaud/controlnet-sd21-canny-diffusers/{V32}": 0.728,
    f"thibaud/controlnet-sd21-depth-diffusers/{V32}": 0.728, f"thibaud/controlnet-sd21-openpose-diffusers/{V32}": 0.728,
    "thibaud/controlnet-sd21/control_v11p_sd21_normalbae.safetensors": 0.728,
    f"lllyasviel/control_v11f1e_sd15_tile/{V32}": 1.45, f"lllyasviel/control_v11p_sd15_scribble/{V16}": 0.723,
    f"lllyasviel/control_v11p_sd15_seg/{V16}": 0.723, f"lllyasviel/control_v11p_sd15_normalbae/{V16}": 0.723,
    f"xinsir/controlnet-union-sdxl-1.0/{V32}": 2.51, f"brad-twinkl/controlnet-union-sdxl-1.0-promax/{V32}": 2.51,
    f"TencentARC/t2i-adapter-canny-sdxl-1.0/{V16}": 0.158, f"TencentARC/t2i-adapter-sketch-sdxl-1.0/{V16}": 0.158,
    "webui/ControlNet-modules-safetensors/t2iadapter_canny-fp16.safetensors": 0.154,
    "openmmlab/upernet-convnext-tiny/model.safetensors": 0.241,
    "depth-anything/Depth-Anything-V2-Small-hf/model.safetensors": 0.099,
    "usyd-community/vitpose-base-simple/model.safetensors": 0.344,
    "h94/IP-Adapter/models/ip-adapter_sd15.safetensors": 0.045,
    "h94/IP-Adapter/sdxl_models/ip-adapter_sdxl_vit-h.safetensors": 0.698,
    "h94/IP-Adapter/models/image_encoder/model.safetensors": 2.53,
}
