"""`check` names what a show refers to and this machine lacks, each with its place."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from lcm_daemon.cli import main
from lcm_daemon.commands import check, probes
from lcm_daemon.core.errors import DocumentError, MissingIntegration
from lcm_daemon.shows.reader import inspect_show
from lcm_daemon.transports import pyav, record
from tests.rigs.daemon import free_port
from tests.rigs.standin_hub import weights


def problems(folder: Path, text: str) -> list[str]:
    """What `check` finds in a show, without the path of its folder."""
    file = folder / "show.yaml"
    file.write_text(text)
    try:
        found = str(DocumentError(check.find_problems(inspect_show(file, environment={})))).splitlines()
    except DocumentError as error:
        found = str(error).splitlines()
    return [line.replace(f"{folder}/", "") for line in found]


@pytest.mark.parametrize(("text", "line"), [
    ("osc:\n  map: [{from: /1/fader1, to: strenght}]", "show.yaml:2:31: no parameter or command 'strenght'; did you"),
    ("osc:\n  map: [{from: /1/push1, to: cue/goo}]", "show.yaml:2:30: no parameter or command 'cue/goo'; did you mean"),
    ("midi:\n  map: [{cc: 0, to: strenght}]", "show.yaml:2:21: no parameter 'strenght'; did you mean 'strength'?"),
    ("midi: {map: [{note: 0, command: pannic}]}", "show.yaml:1:33: no command 'pannic'; did you mean 'panic'?"),
    ("midi: {map: [{note: 0, to: panic}]}", "show.yaml:1:28: panic is a command, not a parameter: write command"),
    ("midi: {map: [{cc: 0, command: steps}]}", "show.yaml:1:31: steps is a parameter, not a command: write to: steps"),
    ("midi: {map: [{note: 0, bank: tow}], banks: {one: [], two: []}}", "show.yaml:1:30: no bank 'tow'; did you mean"),
    ("midi: {banks: {one: [{cc: 0, to: x}]}}", "show.yaml:1:34: no parameter 'x'"),
    ("source: {transport: file, path: absent.mp4}", "show.yaml:1:33: file or folder 'absent.mp4' does not exist"),
    ("guide: {transport: file, path: a/b}", "show.yaml:1:32: file or folder 'a/b' does not exist"),
    ("output: {slate: absent.png, failsafe: slate}", "show.yaml:1:17: file or folder 'absent.png' does not exist"),
    ("output:\n  failsafe: slate", "show.yaml:2:13: failsafe: slate needs an image: add slate: FILE to output"),
    ("recipe: {base: builtin, loras: [ink.safetensors]}",
     "show.yaml:1:33: file or folder 'ink.safetensors' does not exist"),
    ("recipes: {a: {base: builtin, controlnets: [{name: e, model: ./net}]}}",
     "show.yaml:1:61: file or folder 'net' does not exist"),
    ("recipe: {base: builtin, vae: /nowhere/vae}", "show.yaml:1:30: file or folder '/nowhere/vae' does not exist"),
    ("recipe: {model: ./model}", "show.yaml:1:17: file or folder 'model' does not exist"),
    ("sinks: [{transport: record, path: take.avi}]", "show.yaml:1:35: "),
    ("sinks: [{transport: record, path: '{show}.mp4'}]", "show.yaml:1:35: "),
    ("", "show.yaml:1:1: the show is empty"), ("# all\n# comments\n", "show.yaml:1:1: the show is empty"),
    ("---\n", "show.yaml:1:1: the show is empty"),
    ("osc: {map: [{from: /1, to: strength, value: much}]}", "show.yaml:1:45: strength takes a number, not 'much'"),
    ("osc: {map: [{from: /1, to: mode, with: [video]}]}", "show.yaml:1:40: mode is one of image, text, control, not"),
    ("osc: {map: [{from: /1, to: recipe, with: [nope]}]}", "show.yaml:1:42: recipe: 'nope' is not known"),
    ("osc: {map: [{from: /1, to: cue/goto, with: [a, b]}]}", "show.yaml:1:44: cue/goto: fade takes a number, not 'b'"),
    ("midi: {map: [{note: 1, to: mode, value: video}]}", "show.yaml:1:41: mode is one of image, text, control, not"),
    ("midi: {map: [{note: [1, 2], to: mode, button: radio, values: [text, vid]}]}", "show.yaml:1:69: mode is one of"),
    ("midi: {map: [{note: 1, command: size, with: [64]}]}", "show.yaml:1:45: size: it takes <width> <height>"),
    ("cues: [{name: storm}]\nosc: {map: [{from: /1, to: cue/goto, with: [strom, 5]}]}",
     "show.yaml:2:44: cue/goto: no cue 'strom'; did you mean 'storm'?"),
    ("cues: [{name: storm}]\nosc: {map: [{from: /1, to: cue/load, value: 2}]}",
     "show.yaml:2:45: cue/load: no cue '2'; there are storm"),
    ("cues: [{name: storm}]\nmidi: {map: [{note: 1, command: cue/goto, with: [strom]}]}",
     "show.yaml:2:49: cue/goto: no cue 'strom'; did you mean 'storm'?"),
    ("cues: [{name: storm}]\nmidi: {map: [{cc: 1, command: cue/goto, with: [strom], range: [0, 5]}]}",
     "show.yaml:2:47: cue/goto: no cue 'strom'; did you mean 'storm'?"),
    ("cues: [{name: storm}]\nmidi: {map: [{note: [1, 2], command: cue/goto, values: [storm, strom]}]}",
     "show.yaml:2:64: cue/goto: no cue 'strom'; did you mean 'storm'?"),
    ("midi: {map: [{note: 1, command: cue/goto, value: storm}]}", "show.yaml:1:50: cue/goto: no cue 'storm'; there"),
    ("osc: {map: [{from: /1, to: source, with: [wide]}]}", "show.yaml:1:42: source: no source 'wide'; there are show"),
    ("prompts: [a]\nosc: {map: [{from: /1, to: prompts/play, value: 2}]}",
     "show.yaml:2:49: prompts/play: no prompt 2; the bank `prompts` has 1"),
    ("osc: {map: [{from: /1, to: toggle, with: [freez]}]}", "show.yaml:1:42: toggle: no parameter 'freez'; did you"),
    ("midi:\n  devices: [{name: Pad*}, {name: pad*}]",
     "show.yaml:2:27: the device 'pad*' is here twice; the other one is at 2:13"),
    ("midi: {devices: [{name: Pad, number: 2}, {name: Pad, number: 1}, {name: Pad, number: 2}]}",
     "show.yaml:1:66: the device 'pad' with the number 2 is here twice; the other one is at 1:18"),
    ("sinks:\n  - {transport: memory, name: a}\n  - {transport: memory, name: a}",
     "show.yaml:3:5: the memory sink 'a' is here twice; the other one is at 2:5"),
    ("sinks: [{transport: ndi}, {transport: ndi}]", "show.yaml:1:27: the ndi sink 'lcm' is here twice; the other one"),
])
def test_what_is_missing_is_named_with_its_place(text: str, line: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, text)
    assert found.startswith(line)


def test_what_is_there_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "show.cues.yaml").write_text("- {name: stored}")
    for name in ("a.mp4", "slate.png", "my.yaml"):
        (tmp_path / name).write_text("base: builtin\nloras: [ink.safetensors, {name: neon, model: owner/name}]")
    (tmp_path / "ink.safetensors").write_bytes(weights(200, name=b"lora_unet_conv_in.diff"))
    text = """
        source: {transport: file, path: a.mp4}
        output: {failsafe: slate, slate: slate.png}
        recipe: my.yaml
        osc: {map: [{from: /1/fader1, to: lora/neon}, {from: /2, to: cue/go}, {from: /3, to: strength, with: ["+", 1]},
                    {from: /4, to: prompt, value: 7}, {from: /5, to: cue/goto, with: [a, 5]},
                    {from: /6, to: panic, with: []}, {from: /7, to: strength, value: , with: }]}
        cues: [{name: a}, {name: "4.1"}]
        prompts: [lava]
        midi: {map: [{cc: 0, to: steps}, {note: 1, command: cue/goto, with: [a]}, {note: 2, bank: next},
                     {note: [7, 8], command: cue/goto, values: [4.1, kept]}, {note: 9, command: cue/goto, with: [2]},
                     {note: 10, command: cue/record, with: [kept]}, {note: 11, command: cue/load, with: [stored]},
                     {note: [12, 13], command: cue/goto, with: [a], values: [0, 5]}, {program: , command: cue/goto},
                     {note: 14, command: prompts/play, with: [1]}, {note: 15, command: source, with: [show]},
                     {note: 16, command: source, with: ["ndi CAM 1"]},
                     {note: 17, command: cue/goto, with: [a], value: },
                     {note: 3, to: prompt, value: 7}, {note: 4, to: mode, value: 1},
                     {note: [5, 6], command: next, with: [steps]}]}
        sinks: [{transport: record, path: "{date}.mp4", codec: h264}, {transport: record}, {transport: memory, name: a},
                {transport: ndi, name: a}, {transport: memory, name: b}]
    """
    assert problems(tmp_path, text) == []


def test_maps_are_checked_beside_other_mistakes(tmp_path: Path) -> None:
    text = """
outptu: {}
recipes: {ink: {base: builtin, loras: [{name: 1 2, model: a/b}]}, b: {base: builtin, loras: [{name: neon, model: a/b}]}}
cues: [{name: storm, fade: slow}]
sources: {wide: {transport: camera, frm: 1}}
sinks: [{transport: memory, name: x, siez: 1}]
osc:
  map: [{from: /1, to: strenght}, {from: /2, to: lora/maybe}, {from: /3, to: lora/neon}, {from: /4, to: sink/x},
        {from: /5, to: cue/goto, with: [storm]}, {from: /6, to: cue/goto, with: [strom]}, {from: 7, to: mix},
        {from: /8, to: recipe, with: [ink]}, {from: /9, to: source, with: [wide]}]
"""
    found = problems(tmp_path, text)
    assert [line.split(":")[1] for line in found] == ["2", "3", "4", "5", "6", "8", "9", "9"]
    assert found[5].startswith("show.yaml:8:24: no parameter or command 'strenght'; did you mean 'strength'?")
    assert found[6].startswith("show.yaml:9:81: cue/goto: no cue 'strom'; did you mean 'storm'?")


def test_a_codec_that_pyav_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "sinks: [{transport: record, codec: hap}, {transport: record, codec: prores}]"
    monkeypatch.setattr(record, "available_encoders", lambda av: {"prores_ks", "mpeg4"})
    assert problems(tmp_path, text) == [
        "show.yaml:1:36: the FFmpeg of PyAV on this machine has no encoder hap"]

    def missing(integration: str) -> None:
        raise MissingIntegration(integration, "none", "pip install av")

    monkeypatch.setattr(pyav, "load", missing)
    assert problems(tmp_path, text) == [], "doctor says that it is missing; an optional sink is skipped"


def test_a_recipes_own_files_are_looked_for_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "my.yaml").write_text("base: builtin\nloras:\n  - ink.safetensors")
    assert problems(tmp_path, "recipe: sub/my.yaml") == [
        "sub/my.yaml:3:5: file or folder 'sub/ink.safetensors' does not exist"]


@pytest.mark.parametrize(("text", "line"), [
    ("recipe: {base: builtin, device: 'cuda:1'}",
     "show.yaml:1:33: this machine has no device cuda:1; there are cpu, cuda:0"),
    ("recipe: {base: builtin, device: mps}", "show.yaml:1:33: this machine has no device mps; there are cpu, cuda:0"),
    ("recipe: {base: builtin, accelerate: tensorrt}",
     "show.yaml:1:37: tensorrt does not work on this machine: no package"),
    ("accelerate: tensorrt", "show.yaml:1:13: tensorrt does not work on this machine: no package"),
    ("recipe: {base: builtin, device: cuda, accelerate: compile}", ""),
])
def test_devices_and_accelerators_are_tested_here(
    text: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"devices": {"devices": {"cpu": "2 threads", "cuda:0": "a card"}, "cuda": True},
               "accelerators": {"tensorrt": ["cuda", "no package"], "compile": ["cuda", ""]}}
    monkeypatch.setattr(
        probes, "run_json", lambda code: answers["accelerators" if "ACCELERATORS" in code else "devices"])
    assert problems(tmp_path, text) == ([line] if line else [])


def test_all_mistakes_are_printed_and_the_code_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "show.yaml"
    file.write_text("source: {transport: file, path: a}\nosc: {map: [{from: /1, to: x}]}\n")
    assert main(["check", str(file)]) == 2
    assert [line.split(":")[1] for line in capsys.readouterr().err.splitlines()] == ["1", "2"]


def test_a_port_that_two_servers_of_the_show_have_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    file = tmp_path / "show.yaml"
    file.write_text(json.dumps({"osc": {"port": port, "tcp": port}, "panel": {"port": port},
                                "audience": {"port": port}}))
    assert main(["check", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"  in use   panel.port {port}: osc.tcp of this show has it" in lines
    assert f"  in use   audience.port {port}: panel.port of this show has it" in lines


def test_what_binds_a_picture_to_one_of_several_engines_is_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "show.yaml"
    cues = [{"name": "calm", "set": {"strength": 0.3}}, {"name": "storm", "set": {"smooth": 0.9, "steady": 0.5}}]
    start = {"feedback": 0.5, "noise": "walking", "interpolate": 2, "upscale": 2}
    parts = {"parameters": start, "cues": cues, "panel": False, "osc": False}
    for engines, expected in (({"device": "cpu", "engines": 2}, [
        "  engines  one of them renders all frames of a picture at the start: feedback, interpolate, noise: walking "
        "need the frames before",
        "  engines  one of them renders all frames of a picture in cue storm: smooth, steady need the frames before",
    ]), ({"device": "cpu"}, [])):
        file.write_text(json.dumps({**parts, "engines": engines}))
        assert main(["check", str(file)]) == 0
        assert [line for line in capsys.readouterr().out.splitlines() if "one of them" in line] == expected


def test_visitors_and_a_stream_batch_do_not_go_together(tmp_path: Path) -> None:
    batch = "recipe: {base: builtin, stream_batch: true, controlnets: []}\n"
    assert problems(tmp_path, batch) == []
    (found,) = problems(tmp_path, batch + "audience: {places: 2}")
    assert found.startswith("show.yaml:2:11: recipe builtin: with stream_batch a visitor's picture is complete only")


def test_ports_that_are_in_use_are_notes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server(("127.0.0.1", 0)) as tcp:
        udp.bind(("127.0.0.1", 0))
        ports = udp.getsockname()[1], tcp.getsockname()[1]
        file = tmp_path / "show.yaml"
        file.write_text(json.dumps({"osc": {"port": ports[0]}, "panel": {"port": ports[1]}}))
        assert main(["check", str(file)]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if "in use" in line]
        assert [line.split(":")[0].split() for line in lines] == [
            ["in", "use", "osc.port", str(ports[0])], ["in", "use", "panel.port", str(ports[1])]]
    assert main(["check", str(file)]) == 0
    assert "in use" not in capsys.readouterr().out


def test_what_has_no_effect_in_prompts_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "show.yaml").write_text(
        "recipe: passthrough\nresume: false\nparameters: {prompt: cats AND dogs}\nprompts: ['[a:b:0.5]']\n"
        "cues: [{name: dawn, set: {negative_prompt: '<lora:ink:1>'}}]\nosc: false\npanel: false\n")
    assert main(["check", str(tmp_path / "show.yaml")]) == 0
    found = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  prompt ")]
    assert found == [
        "prompt   at the start: prompt: AND is read as a word; `ocean::0.7 lava::0.3` mixes two prompts",
        "prompt   in cue dawn: negative_prompt: <lora:ink> has no effect: it belongs into the prompt",
        "prompt   in the bank: prompt: [a:b:0.5] is read as words: a prompt does not change between the steps of a "
        "frame",
    ]
