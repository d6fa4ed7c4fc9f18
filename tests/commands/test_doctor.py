"""The doctor reports what works and what to install, and survives broken integrations."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.commands import doctor, probes
from lcm_daemon.controllers.midi.rtmidi_library import missing_rtmidi
from lcm_daemon.pipelines import accelerators


def devices(cuda: bool = False) -> dict[str, object]:
    """cuda: torch is built for it."""
    return {"devices": {"cpu": "2 threads, AVX512"}, "cuda": cuda}


def report(monkeypatch: pytest.MonkeyPatch, **answers: object) -> dict[str, list[str]]:
    """The lines by section, without asking the device's libraries."""
    said = {"devices": devices(), "accelerators": {"openvino": ["cpu", ""]}, **answers}
    monkeypatch.setattr(probes, "run_json", lambda code: said["accelerators" if "ACCELERATORS" in code else "devices"])
    sections: dict[str, list[str]] = {}
    for line in "\n".join(doctor.examine()).splitlines():
        if line and not line.startswith(" "):
            sections[line] = []
        elif line:
            sections[list(sections)[-1]].append(line)
    return sections


@pytest.mark.slow
def test_every_section_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = list(report(monkeypatch))
    assert sections[0].startswith("lcm-daemon ")
    assert sections[1:-1] == ["libraries", "devices", "accelerators", "accelerators' packages", "transports",
                              "pictures", "network", "controllers", "engines", "recipes", "plugins"]
    assert sections[-1].startswith("ready for: demo")


def test_accelerators_say_where_they_work_or_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"openvino": ["cpu", ""], "tensorrt": ["cpu", "it is for CUDA, and the device is cpu"]}
    first, second = report(monkeypatch, accelerators=found)["accelerators"]
    assert first.split() == ["works", "openvino", "on", "cpu"]
    assert second.split()[:2] == ["missing", "tensorrt"]
    assert second.endswith("it is for CUDA, and the device is cpu")


def test_the_versions_that_adapters_were_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerators, "versions", lambda: [("sfast", "", "1.0.5"), ("torch", "2.13.0", ">=2.6")])
    first, second = report(monkeypatch)["accelerators' packages"]
    assert "not installed; written for 1.0.5" in first
    assert second.split()[:2] == ["works", "torch"]


@pytest.mark.slow
def test_a_recipe_that_is_not_here_says_how_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {line.split()[1]: line for line in report(monkeypatch)["recipes"]}
    assert lines["builtin"].split()[0] == "works"
    if "missing" in lines["sd-turbo"]:
        assert lines["sd-turbo"].endswith("2.4 GB; download it with: lcm-daemon pull sd-turbo")


@pytest.mark.slow
@pytest.mark.parametrize(("cuda", "card", "said"), [
    (False, True, True), (False, False, False), (True, True, False),
])
def test_an_nvidia_card_and_a_torch_without_cuda(
    cuda: bool, card: bool, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "nvidia-smi" if card and name == "nvidia-smi" else None)
    lines = [line.strip() for line in report(monkeypatch, devices=devices(cuda))["devices"]]
    assert lines[0].startswith("works    cpu")
    assert [line.startswith("missing  cuda             this torch has no CUDA") for line in lines[1:]] == [True] * said
    assert all("pip uninstall torch" in line and "pytorch.org" in line for line in lines[1:])


@pytest.mark.slow
def test_the_devices_of_this_machine() -> None:
    found = probes.run_json(probes.DEVICES)
    assert not isinstance(found, str)
    assert "cpu" in found["devices"]
    assert isinstance(found["cuda"], bool)


def test_midi_without_its_package_says_what_the_port_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    midi = next(line for line in report(monkeypatch)["controllers"] if " midi " in line)
    assert midi.split()[0] == "missing"
    assert missing_rtmidi().reason in midi


def test_osc_says_how_large_its_receive_buffer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    osc = next(line for line in report(monkeypatch)["controllers"] if " osc " in line)
    assert osc.split()[:4] == ["works", "osc", "receive", "buffer"]


def test_a_driver_that_breaks_its_process_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = report(monkeypatch, devices="does not start: no driver", accelerators="does not start: no driver")
    assert sections["devices"] == sections["accelerators"]
    assert sections["devices"][0].endswith("does not start: no driver")


@pytest.mark.parametrize(("code", "words"), [
    ("import os; os.abort()", "does not start: exit code"),
    ("raise SystemExit('libcuda.so.1: cannot open')", "does not start: libcuda.so.1: cannot open"),
    ("print('{}, trailing')", "does not start: exit code 0"),
])
def test_what_a_broken_child_leaves(code: str, words: str) -> None:
    found = probes.run_json(code)
    assert isinstance(found, str)
    assert found.startswith(words)


def test_a_child_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "IMPORT_TIMEOUT", 0.2)
    found = probes.run_json("import time; time.sleep(60)")
    assert found == "does not start within 0.2 s; reinstall torch"


def test_the_verdict_names_what_works_and_why_not_the_rest() -> None:
    rows = [("torch", True, ""), ("builtin", True, ""), ("ndi", True, ""), ("midi", False, "no MIDI; version 1"),
            ("window", False, "no display: none"), ("openvino", True, "")]
    found = {row[0]: row for row in rows}
    assert doctor.verdict(found, "linux") == (
        "ready for: demo, NDI, OpenVINO; not for: window, because no display: none; MIDI, because no MIDI; "
        "CUDA, because torch finds no NVIDIA card")
    broken = {**found, "torch": ("torch", False, "not installed"), "cuda": ("cuda", False, doctor.NO_CUDA)}
    assert "not for: demo, because torch is not installed; " in doctor.verdict(broken, "linux")
    assert "CUDA, because this torch has no CUDA, but nvidia-smi finds an" in doctor.verdict(broken, "linux")
    assert "CUDA" not in doctor.verdict({**found, "mps": ("mps", True, "")}, "darwin")
    ready = {**{name: (name, True, "") for name in found}, "cuda:0": ("cuda:0", True, "a card")}
    assert doctor.verdict(ready, "linux") == "ready for: demo, NDI, window, MIDI, OpenVINO, CUDA"


def test_a_recipe_whose_files_are_wrong_is_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that was saved under a file's name, in the hub's cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    name, works, text = doctor._check_recipe("sd-turbo")
    assert (name, works, text) == ("sd-turbo", False, "2.4 GB; download it with: lcm-daemon pull sd-turbo")
    repository = tmp_path / "models--madebyollin--taesd"
    folder = repository / "snapshots" / ("0" * 40)
    for file, content in ((repository / "refs" / "main", "0" * 40), (folder / "config.json", "{}"),
                          (folder / "diffusion_pytorch_model.safetensors", "<html>Sign in</html>")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    _, works, text = doctor._check_recipe("sd-turbo")
    assert not works
    assert "is an HTML page, not weights" in text
    assert "; fetch it again with: lcm-daemon pull sd-turbo; not on this machine: stabilityai/sd-turbo; " in text
