"""What the READMEs show works as it is written: shows and parts of them, commands, OSC addresses, files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lcm_daemon.automation.schema import CUE
from lcm_daemon.cli import build_parser
from lcm_daemon.commands.check import find_problems
from lcm_daemon.commands.check_names import find_missing
from lcm_daemon.controllers.midi.binding import MAX_NUMBER
from lcm_daemon.shows.reader import inspect_show, show_fields

ROOT = Path(__file__).parents[2]
PAPERS = [ROOT / "README.md", *sorted(ROOT.glob("examples/*/README.md")),
          *(ROOT / "examples/deploy" / f"{name}.md" for name in ("SECURITY", "bundle", "opening-hours"))]
KEYS = show_fields(ROOT, ROOT).keys()
# What the text around a snippet says that the show has too.
AROUND: dict[str, Any] = {
    "cues": [{"name": "storm"}, {"name": "dawn"}],
    "recipes": {"ink": {"base": "builtin"}, "night": {"base": "builtin"}},
    "prompts": ["a red field", "a blue ocean"], "sources": {"wide": {"transport": "testcard"}},
}
HERE_ONLY = {"file", "weights", "device", "accelerator", "codec"}  # what another machine may have
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
ADDRESS = re.compile(r"/lcm/[a-zA-Z0-9_/]*[a-zA-Z0-9_]")
COMMAND = re.compile(r"^ *(?:\S*/)?lcm-daemon (?!is\b)(.+)$|`(?:[^`\n]*/)?lcm-daemon ([^`@]+)`", re.MULTILINE)
OF_THE_PROTOCOL = {"subscribe", "get", "sync", "error"}  # beside parameters and commands
PLACES = {"NAME", "RECIPE", "SHOW"}  # of what a reader puts in


def place(paper: Path, text: str, offset: int) -> str:
    return f"{paper.relative_to(ROOT)}:{text.count(chr(10), 0, offset) + 1}"


def snippets() -> Iterator[tuple[str, str]]:
    """Place and text of each piece of YAML: blocks, and words in a line such as `midi: {clock: true}`."""
    for paper in PAPERS:
        text = paper.read_text("utf-8")
        for block in FENCE.finditer(text):
            if block[1] == "yaml":
                yield place(paper, text, block.start()), block[2]
        for span in SPAN.finditer(FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)):
            if re.match(r"(\w+: [{\[]|\w+: (true|false)$|\{\w+: )", span[1]) and "..." not in span[1]:
                yield place(paper, text, span.start()), span[1]


def as_show(text: str) -> dict[str, Any] | None:
    """The show with a snippet in its place: a section, keys of a cue, a line of a MIDI map. None for other parts."""
    given = yaml.safe_load(text)
    if not isinstance(given, dict) or given.keys() <= KEYS:
        return given if isinstance(given, dict) else None
    if given.keys() <= CUE.keys():
        return {"cues": [{"name": "one", "set": {"strength": 0.5}, **given}]}
    if given.keys() & MAX_NUMBER.keys() and given.keys() & {"to", "command", "bank"}:
        return {"midi": {"map": [given]}}
    return None


FOUND = list(snippets())


def test_snippets_are_found() -> None:
    texts = [text for _, text in FOUND]
    assert "osc: {host: 0.0.0.0}" in texts
    assert "{cc: 8, to: cue/crossfade}" in texts
    assert sum(as_show(text) is not None for text in texts) > 25


@pytest.mark.parametrize(("where", "text"), FOUND, ids=[where for where, _ in FOUND])
def test_snippets_are_in_order(where: str, text: str, tmp_path: Path) -> None:
    show = as_show(text)
    if show is None:
        assert "\n" not in text, f"{where}: no show, no cue, no line of a map"
        return
    (tmp_path / "show.yaml").write_text(yaml.safe_dump({**AROUND, **show}, sort_keys=False), "utf-8")
    reading = inspect_show(tmp_path / "show.yaml", environment={})
    assert [str(problem) for problem in reading.problems.found] == []
    assert reading.names is not None
    named = [each for each in reading.problems.references if each.kind not in HERE_ONLY]
    assert [str(problem) for problem in find_missing(reading.names, named)] == []


def typed() -> Iterator[tuple[str, str]]:
    """Place and arguments of each `lcm-daemon` command, in a line of its own or in a sentence."""
    for paper in PAPERS:
        text = paper.read_text("utf-8")
        for match in COMMAND.finditer(text):
            yield place(paper, text, match.start()), match[1] or match[2]


def test_commands_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    wrong, commands = [], list(typed())
    for where, line in commands:
        words = shlex.split(line, comments=True)
        try:
            build_parser().parse_args(words)
        except SystemExit:
            wrong.append(f"{where}: {line}: {capsys.readouterr().err.splitlines()[-1]}")
        wrong += [f"{where}: {word} does not exist" for word in words
                  if word.startswith(("examples/", "show_configs/")) and not (ROOT / word).exists()]
    assert len(commands) > 30
    assert wrong == []


def test_addresses_exist(tmp_path: Path) -> None:
    (tmp_path / "show.yaml").write_text(yaml.safe_dump({
        "recipe": {"base": "builtin", "loras": [{"name": "NAME", "model": "a/b"}, {"name": "ink", "model": "a/b"}],
                   "controlnets": [{"name": "NAME", "model": "a/b"}],
                   "image_prompt": {"model": "a/b", "encoder": "a/b"}},
        "recipes": {"several": {"base": "sd15-lcm", "image_prompts": [
            {"name": name, "model": "a/b", "encoder": "a/b"} for name in ("NAME", "style")]}},
        "sinks": [{"transport": "ndi", "name": "NAME"}, {"transport": "record"}, {"transport": "window", "display": 2},
                  {"transport": "spout", "name": "lcm"}],
        "modulation": [{"name": "NAME", "to": "strength"}],
    }))
    names = inspect_show(tmp_path / "show.yaml", environment={}).names
    assert names is not None
    wrong = []
    for paper in PAPERS:
        text = paper.read_text("utf-8")
        for match in ADDRESS.finditer(text):
            name = match[0].removeprefix("/lcm/").removeprefix("fader/")
            is_known = name in names.table or name in names.commands or name in OF_THE_PROTOCOL | PLACES
            if not is_known and not name.startswith("status"):
                wrong.append(f"{place(paper, text, match.start())}: {match[0]}")
    assert wrong == []


def test_links_lead_to_files() -> None:
    wrong = []
    for paper in PAPERS:
        text = paper.read_text("utf-8")
        for match in re.finditer(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            if not (paper.parent / match[1]).exists():
                wrong.append(f"{place(paper, text, match.start())}: {match[1]}")
    assert wrong == []


SHOWS = [*(path for path in ROOT.glob("examples/*/*.yaml") if path.parent.name != "deploy"),  # files of other programs
         *ROOT.glob("show_configs/*.yaml")]


@pytest.mark.parametrize("show", SHOWS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shows_are_in_order(show: Path) -> None:
    assert [str(problem) for problem in find_problems(inspect_show(show, environment={}))] == []
