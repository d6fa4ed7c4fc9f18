"""The show's section `audience`: values, mistakes with their places, environment variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from lcm_daemon.commands.list_keys import list_keys
from lcm_daemon.core.errors import DocumentError
from lcm_daemon.shows.audience import AudienceConfig
from lcm_daemon.shows.reader import load_show


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "show.yaml"


def read(file: Path, section: str, **environment: str) -> AudienceConfig | None:
    file.write_text(f"audience: {section}\n")
    return load_show(file, environment=environment).audience


def mistakes(file: Path, section: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        read(file, section)
    return [line.removeprefix(f"{file}:") for line in str(caught.value).splitlines()]


def test_a_show_has_no_audience_unless_it_says_so(file: Path) -> None:
    assert read(file, "false") is None
    assert read(file, "{}") == AudienceConfig()


def test_every_key_is_read(file: Path) -> None:
    (file.parent / "words.txt").write_text("# names\nFool\n\n idiot \nfool\n")
    found = read(file, "{places: 4, seconds: 45, queue: 0, per_address: 90, parameters: [prompt, strength, prompt], "
                       "blocked_words: words.txt, source: show, wall: cycle, cycle_seconds: 5, share: 0.25, "
                       "host: 0.0.0.0, port: 9001, "
                       "address: 'https://play.example.org', keep: kept, qr: top_right, qr_file: code.png}")
    assert found == AudienceConfig(
        4, 45.0, 0, 90, ("prompt", "strength"), ("fool", "idiot"), "show", "cycle", 5.0, 0.25, "0.0.0.0", 9001,
        "https://play.example.org", str(file.parent / "kept"), "top_right", str(file.parent / "code.png"))


def test_environment_variables_override_single_keys(file: Path) -> None:
    found = read(file, "{queue: 5, places: 3}", LCM_DAEMON__AUDIENCE__QUEUE="30",
                 LCM_DAEMON__AUDIENCE__BLOCKED_WORDS="[one, Two]")
    assert found is not None
    assert (found.queue, found.places, found.blocked_words) == (30, 3, ("one", "two"))
    file.write_text("name: plain\n")
    found = load_show(file, environment={"LCM_DAEMON__AUDIENCE__PLACES": "4"}).audience
    assert found is not None
    assert found.places == 4


@pytest.mark.parametrize(("section", "mistake"), [
    ("{places: 0}", "1:20: 0 is not a whole number from 1 to 16"),
    ("{seconds: 1}", "1:21: 1 is not a number from 5 to 86400"),
    ("{queue: -1}", "1:19: -1 is not a whole number from 0 to 10000"),
    ("{share: 1}", "1:19: 1 is not a number from 0 to 0.9"),
    ("{wall: none}", "1:18: 'none' is not one of stage, one, cycle, mosaic"),
    ("{source: camera}", "1:20: 'camera' is not one of visitor, show"),
    ("{parameters: [strenth]}", "1:25: no parameter 'strenth'; did you mean 'strength'?"),
    ("{parameters: [prompt, freeze]}", "1:33: visitors cannot have freeze: it acts on the output as a whole, and is "
                                       "the performer's"),
    ("{parameters: prompt}", "1:24: 'prompt' is not a list, each a parameter's name"),
    ("{host: nowhere}", "1:18: 'nowhere' is not an IP address such as 127.0.0.1 (this machine only), 0.0.0.0 or :: "
                        "(every network), or a multicast group such as 239.0.0.7"),
    ("{address: 'javascript:alert(1)'}", "1:21: 'javascript:alert(1)' is not an address that browsers open, such as "
                                         "https://play.example.org"),
    ("{address: 'https://x y'}", "1:21: 'https://x y' is not an address that browsers open, such as "
                                 "https://play.example.org"),
    ("{blocked_words: .}", "1:27: the file of blocked words '.' cannot be read: it is not a file"),
    ("{blocked_words: words.txt}", "1:27: the file of blocked words 'words.txt' cannot be read: No such file or "
                                   "directory"),
    ("{qr: middle}", "1:16: 'middle' is not one of top_left, top_right, bottom_left, bottom_right"),
    ("{qr_file: code.txt}", "1:21: 'code.txt' is not the path of a .png or .svg file"),
    ("{place: 2}", "1:12: unknown key 'place'; did you mean 'places'?"),
])
def test_each_mistake_is_one_line_with_its_place(file: Path, section: str, mistake: str) -> None:
    assert mistakes(file, section) == [mistake]


def test_the_words_in_a_file_have_a_limit(file: Path) -> None:
    words = file.parent / "words.txt"
    words.write_text("\n".join(f"word{number}" for number in range(10_001)))
    assert mistakes(file, "{blocked_words: words.txt}") == ["1:27: 10001 blocked words are too many: 10000 at most"]
    words.write_bytes(b"x" * 1_000_001)
    assert mistakes(file, "{blocked_words: words.txt}") == [
        "1:27: the file of blocked words 'words.txt' has more than 1000000 bytes"]
    words.write_bytes(b"\xff\xfe\xff")
    assert mistakes(file, "{blocked_words: words.txt}") == [
        "1:27: the file of blocked words 'words.txt' is not UTF-8 text"]


def test_the_keys_are_listed() -> None:
    listed = "\n".join(list_keys())
    for key in ("places", "seconds", "queue", "parameters", "blocked_words", "source", "wall", "share", "qr"):
        assert f"audience.{key} " in listed
