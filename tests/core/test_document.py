"""YAML documents: places, what is refused, overrides."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import yaml

from lcm_daemon.core.document import MAX_CHARACTERS, MAX_DEPTH, Node, Problems, compose, compose_own, override
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.recipes.reader import FOLDER

NINE = "[x, x, x, x, x, x, x, x, x]"
BILLION_LAUGHS = f"a: &a {NINE}\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghij")
)


def mistake(text: str) -> str:
    """The only mistake of a document."""
    with pytest.raises(DocumentError) as caught:
        compose(text, "bad.yaml")
    (problem,) = caught.value.problems
    return str(problem)


def places(node: Node) -> list[object]:
    """Kind, place and value of a node and of everything in it."""
    raw, mark = node.raw, node.raw.start_mark
    inner = [each for pair in raw.value for each in (pair if isinstance(pair, tuple) else (pair,))]
    children = [place for each in inner if isinstance(each, yaml.Node) for place in places(Node(node.file, each))]
    own = None if children else raw.value
    return [(type(raw), raw.tag, mark.name, mark.line, mark.column, own), *children]


def test_files_of_the_package_are_read_the_same_by_the_quick_parser() -> None:
    files = list(FOLDER.glob("*.yaml"))
    for text, name in [*((file.read_text(encoding="utf-8"), str(file)) for file in files), ("", "empty.yaml")]:
        assert places(compose_own(text, name)) == places(compose(text, name))
    with pytest.raises(DocumentError, match=r"bad\.yaml:2:1: not YAML"):
        compose_own("a: [1\n:", "bad.yaml")


@pytest.mark.parametrize(("text", "value"), [
    ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"x": 1, "y": 3}),
    ("a: &a {x: 1, y: 2}\nb: {y: 3, <<: *a}", {"y": 3, "x": 1}),
    ("b: {<<: [{x: 1}, {x: 2, y: 2}], z: 3}", {"z": 3, "x": 1, "y": 2}),
    ("a: &a {x: 1}\nc: &c {<<: *a, y: 2}\nb: {<<: *c, z: 3}", {"z": 3, "y": 2, "x": 1}),
    ("a: &a {x: 1}\nb: [{<<: *a}, {<<: *a, x: 2}]", [{"x": 1}, {"x": 2}]),
    ("b: {<<: {}}", {}),
])
def test_merge_keys_are_merged(text: str, value: object) -> None:
    found = {key.raw.value: node.value for key, node in compose(text, "show.yaml").items()}
    assert found["b"] == value


@pytest.mark.parametrize(("typed", "text"), [
    ("yes: no", "yes: no"), ("yes", "yes"), ("null", "null"), ("[a", "[a"), ("@home", "@home"), ("a # b", "a # b"),
    ("'yes: no'", "yes: no"), ('"a"', "a"), ("{a: b}", "{a: b}"), ("", ""), ("- a", "- a"), ("007", "007"),
    ("*x", "*x"),
])
def test_an_override_may_be_read_as_text(typed: str, text: str) -> None:
    root = compose("{}", "show.yaml")
    override(root, "name", typed, "--set name")
    node = root.items()[0][1]
    assert (node.is_text, node.text) == (True, text)


@pytest.mark.parametrize(("text", "line"), [
    ("a: [1", "bad.yaml:1:6: not YAML: expected ',' or ']'"),
    ("a: b: c", "bad.yaml:1:5: not YAML: mapping values are not allowed here"),
    ("a:\n\tb: 1", "bad.yaml:2:1: not YAML: found character '\\t'"),
    ("a: !!python/object:os.system x", "bad.yaml:1:4: the tag 'tag:yaml.org,2002:python/object:os.system' is not"),
    ("a: !own x", "bad.yaml:1:4: the tag '!own' is not allowed"),
    ("a: 1\nb: \x00", "bad.yaml:2:4: not YAML: the character #x0000 is not allowed"),
    ("a: 1\nb: \udc80", "bad.yaml:2:4: not YAML: the character #xdc80 is not allowed"),
    ('a: "\\ud800"', "bad.yaml:1:4: half of a surrogate pair is not a character"),
    ('a: "\\UFFFFFFFF"', "bad.yaml:1:7: not YAML: not a character"),
    ("a: 1\n---\nb: 2", "bad.yaml:2:1: not YAML: expected a single document in the stream: but found another document"),
    ("a: &x 1\nb: &x 2", "bad.yaml:2:4: not YAML: found duplicate anchor 'x'; first occurrence: second occurrence"),
    ("a: *x", "bad.yaml:1:4: not YAML: found undefined alias 'x'"),
    ("a: &a [*a]", "bad.yaml:1:4: an alias must not be inside the value that it repeats"),
    ("a: &a {b: {c: *a}}", "bad.yaml:1:4: an alias must not be inside the value that it repeats"),
    ("a: {<<: 5}", "bad.yaml:1:5: the merge key << takes a mapping or a list of mappings"),
    ("a: {<<: [{b: 1}, 5]}", "bad.yaml:1:5: the merge key << takes a mapping or a list of mappings"),
    ("a: &a {<<: *a}", "bad.yaml:1:4: an alias must not be inside the value that it repeats"),
    ("? [a, b]\n: c", "bad.yaml:1:3: a key must be plain text"),
    ("{? {a: b} : c}", "bad.yaml:1:4: a key must be plain text"),
    (BILLION_LAUGHS, "bad.yaml:6:4: aliases expand this to more than 100,000 values"),
    ("[" * 5000 + "]" * 5000, f"bad.yaml:1:{MAX_DEPTH + 2}: nested too deeply: more than {MAX_DEPTH} levels"),
    ("[" * 1_000_000, "bad.yaml:1:"),
    ("{a: " * 5000, "bad.yaml:1:"),
    ("- " * 5000 + "x", "bad.yaml:1:65: nested too deeply"),
    ("".join(" " * depth + "a:\n" for depth in range(200)), "bad.yaml:32:32: nested too deeply"),
    ("x" * (MAX_CHARACTERS + 1), "bad.yaml:1:1: too long"),
])
def test_an_unreadable_document_is_one_line_with_its_place(text: str, line: str) -> None:
    started = time.perf_counter()
    found = mistake(text)
    assert found.startswith(line)
    assert "\n" not in found
    assert len(found) < 200
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize("path", [r"C:\clips", r"C:\Users\me", r"C:\xtra"])
def test_a_windows_path_in_double_quotes_says_what_to_write(path: str) -> None:
    with pytest.raises(DocumentError, match=r"^bad\.yaml:1:\d+: not YAML: .*write / instead, or use single quotes$"):
        compose(f'title: "{path}"', "bad.yaml")
    assert compose(f"title: '{path}'", "good.yaml").value == {"title": path}


@pytest.mark.parametrize(("text", "value"), [
    ("", {}), ("# a comment", {}), ("\ufeffa: 1", {"a": 1}), ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}), ("1: 2", {1: 2}),
    ("a: 31 June", {"a": "31 June"}), ("2024-06-31", "2024-06-31"), ("!!int ''", ""), ("!!bool maybe", "maybe"),
    ("!!timestamp abc", "abc"), ("0xff", 255), ("1e999", "1e999"),
    *((text, text) for text in ("9" * 5000, "0x" + "f" * 5000, "59" + ":59" * 3000, "59" + ":59" * 3000 + ".5")),
])
def test_a_value_is_the_python_value_or_the_text(text: str, value: object) -> None:
    assert compose(text, "good.yaml").value == value


def test_an_override_reaches_down_and_names_itself_as_its_place() -> None:
    node = compose("{names: [a, b]}", "show.yaml")
    override(node, "inner.must", "deep", "--set inner.must")
    override(node, "names.1", "c", "--set names.1")
    override(node, "port", "loud", "--set port")
    override(node, "empty", " ", "--set empty")
    assert node.value == {"names": ["a", "c"], "inner": {"must": "deep"}, "port": "loud", "empty": ""}
    problems = Problems()
    problems.add({key.value: value for key, value in node.items()}["port"], "wrong")
    assert [str(problem) for problem in problems.found] == ["--set port:1:1: wrong"]


def test_an_override_reaches_into_a_key_with_nothing_behind_it() -> None:
    node = compose("panel:\nosc: ~\n", "show.yaml")
    override(node, "panel.port", "8010", "--set panel.port")
    override(node, "osc.tcp.port", "9000", "--set osc.tcp.port")
    assert node.value == {"panel": {"port": 8010}, "osc": {"tcp": {"port": 9000}}}


@pytest.mark.parametrize("path", ["panel.port", "panel.tls.key"])
def test_an_override_below_what_is_switched_off_names_it(path: str) -> None:
    with pytest.raises(DocumentError, match=r"^X:1:1: the show has 'false' there, which has no key '(port|tls)'$"):
        override(compose("{panel: false}", "show.yaml"), path, "1", "X")


@pytest.mark.parametrize("path", ["names.2", "names.-1", "names.²", f"names.{'9' * 5000}"])
def test_an_override_that_leads_nowhere_is_a_mistake(path: str) -> None:
    with pytest.raises(DocumentError, match="the show has nothing at"):
        override(compose("{port: 1, names: [a, b]}", "show.yaml"), path, "1", f"--set {path}")


def test_all_mistakes_are_raised_together() -> None:
    problems = Problems()
    problems.raise_if_any()
    node = compose("{a: 1}", "show.yaml")
    problems.add(node, "second")
    problems.extend([node.problem("third")])
    assert len(problems) == 2
    with pytest.raises(DocumentError, match=r"(?s)second.*third"):
        problems.raise_if_any()
