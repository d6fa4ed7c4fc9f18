"""The looks as they are edited: every command, every refusal, undo, the file, and its thumbnails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from lcm_daemon.automation.cue_editor import CueEditor
from lcm_daemon.automation.cue_list import Cue, CueList
from lcm_daemon.automation.cue_messages import OscMessageOut
from lcm_daemon.core.frame import Pixels, solid
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameters import Value
from lcm_daemon.core.refusals import Refusal, Refusals
from lcm_daemon.core.requests import MAX_CUES, CommandRequest

SHOW = (Cue("dawn", {"strength": 0.4}, fade=4.0), Cue("storm", {"strength": 0.8}))
PATIENCE = 30.0  # seconds


class Rig:
    """An editor whose present look is `values` and whose output is one colour."""

    def __init__(self, file: Path | None = None, show: Sequence[Cue] = SHOW, loop: bool = False) -> None:
        self.values: dict[str, Value] = {"strength": 0.5}
        self.picture: Pixels | None = solid((512, 256), (255, 0, 0, 255))
        self.list, self.refusals = CueList(show, loop), Refusals(Metrics())
        self.editor = CueEditor(self.list, file, self.refusals, self._look, lambda: self.picture)

    def _look(self) -> dict[str, Any]:
        return {"values": dict(self.values), "recipe": "ink"}

    def call(self, name: str, *arguments: Value, now: float = 0.0) -> str:
        """Give a command; return why it was refused, or an empty string."""
        self.editor.execute(CommandRequest(f"cue/{name}", "osc/test", arguments), now)
        return "; ".join(refusal.text for refusal in self.refusals.pop())

    @property
    def names(self) -> list[str]:
        return [cue.name for cue in self.list.cues]

    def column(self, name: str) -> dict[Any, Any]:
        """One column of the rows, by look."""
        return {row["name"]: row[name] for row in self.editor.rows()}

    def wait(self, condition: Callable[[], Any]) -> Any:
        """Take news until the condition is true."""
        end = time.perf_counter() + PATIENCE
        while not (found := condition()):
            assert time.perf_counter() < end, "it did not come about"
            self.editor.update()
            time.sleep(0.005)
        return found


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The show file of a rig whose store looks at its file often."""
    monkeypatch.setattr("lcm_daemon.automation.cue_store.CueStore.__init__.__defaults__", (0.03, 0.05))
    return tmp_path / "mirror.yaml"


def again(rig: Rig, file: Path, show: Sequence[Cue] = SHOW) -> Rig:
    """The next run of the show."""
    rig.editor.close()
    return Rig(file, show)


def test_a_look_is_saved_renamed_changed_and_deleted_and_the_next_run_has_it(file: Path) -> None:
    rig = Rig(file)
    assert rig.call("record", "new") == rig.call("rename", "new", "found it") == ""
    assert rig.call("fade", "found it", 2.5) == rig.call("follow", 3, 7.0) == rig.call("duplicate", "found it") == ""
    rig.values = {"strength": 0.9}
    assert rig.call("overwrite", "found it 2") == ""
    assert rig.names == ["dawn", "storm", "found it", "found it 2"]
    rig = again(rig, file)
    assert rig.names == ["dawn", "storm", "found it", "found it 2"]
    assert [(cue.fade, cue.follow, cue.recipe, cue.values) for cue in rig.list.cues[2:]] == [
        (2.5, 7.0, "ink", {"strength": 0.5}), (2.5, 7.0, "ink", {"strength": 0.9})]
    assert rig.call("delete", "found it") == rig.call("follow", "found it 2", -1.0) == ""
    rig = again(rig, file)
    assert rig.names == ["dawn", "storm", "found it 2"]
    assert rig.list.cues[2].follow is None


@pytest.mark.parametrize(("call", "reason"), [
    (("rename", "nothing", "x"), "cue/rename: no cue 'nothing'; the list has 3 cues"),
    (("rename", "own", "dawn"), "cue/rename: there is a cue 'dawn' already"),
    (("rename", "own", "  "), "cue/rename: a cue needs a name"),
    (("rename", "own", "a\nb"), r"cue/rename: 'a\nb' is not a cue name: one line of text is wanted"),
    (("rename", "dawn", "x"), "cue/rename: 'dawn' is a cue of the show file: rename it there, or duplicate it"),
    (("delete", "dawn"), "cue/delete: 'dawn' is a cue of the show file: delete it there, or duplicate it"),
    (("delete", "4"), "cue/delete: no cue '4'; the list has 3 cues"),
    (("overwrite", "nothing"), "cue/overwrite: no cue 'nothing'; the list has 3 cues"),
    (("fade", "nothing", 1.0), "cue/fade: no cue 'nothing'; the list has 3 cues"),
    (("duplicate", "own", "storm"), "cue/duplicate: there is a cue 'storm' already"),
    (("record", ""), "cue/record: a cue needs a name"),
])
def test_what_cannot_be_done_is_refused_and_changes_nothing(call: tuple[str, ...], reason: str) -> None:
    rig = Rig()
    rig.call("record", "own")
    before = list(rig.list.cues)
    assert rig.call(*call) == reason
    assert rig.list.cues == before
    rig.call("undo")
    assert rig.call("undo") == "cue/undo: there is nothing to undo", "a refusal adds no step"


def test_a_full_list_takes_no_more(file: Path) -> None:
    rig = Rig(file)
    for number in range(MAX_CUES - 2):
        assert rig.call("record", f"look {number}") == ""
    assert rig.call("record", "more") == "cue/record: 'more' is not recorded: the limit is 256 cues"
    assert rig.call("duplicate", "dawn") == "cue/duplicate: 'dawn' is not duplicated: the limit is 256 cues"
    assert rig.call("overwrite", "look 7") == rig.call("move", "look 253", 1) == ""
    assert again(rig, file).names[0] == "look 253"


def test_a_cue_of_the_show_is_changed_in_a_copy_which_can_be_given_up(file: Path) -> None:
    rig = Rig(file)
    rig.call("fade", "dawn", 9.0)
    assert rig.column("origin") == {"dawn": "changed", "storm": "show"}
    assert rig.call("rename", "dawn", "x").endswith("is a cue of the show file: rename it there, or duplicate it")
    rig = again(rig, file)
    assert rig.names == ["dawn", "storm"]
    assert rig.list.cues[0] == Cue("dawn", {"strength": 0.4}, fade=9.0)
    assert rig.call("delete", "dawn") == ""
    assert rig.list.cues == list(SHOW)


@pytest.mark.parametrize(("moves", "names"), [
    ([("b", 1)], ["b", "dawn", "storm", "a"]),
    ([("storm", 1)], ["storm", "dawn", "a", "b"]),
    ([("dawn", 99)], ["storm", "a", "b", "dawn"]),
    ([("b", 3)], ["dawn", "storm", "b", "a"]),
    ([("a", 2), ("storm", 4)], ["dawn", "a", "b", "storm"]),
])
def test_an_order_among_the_cues_of_the_show_is_kept(
    file: Path, moves: list[tuple[str, int]], names: list[str]
) -> None:
    rig = Rig(file)
    for name in ("a", "b"):
        rig.call("record", name)
    for name, place in moves:
        rig.call("move", name, place)
    assert rig.names == names
    rig = again(rig, file)
    assert rig.names == names
    rig = again(rig, file, (*SHOW, Cue("night")))
    assert [name for name in rig.names if name != "night"] == names
    assert rig.names[rig.names.index("night") - 1] == "storm", "a new cue follows the one before it in the show"


def test_the_places_of_the_show_are_stored_only_where_they_matter(file: Path) -> None:
    rig = Rig(file)
    rig.call("record", "a")
    rig.call("record", "b")
    rig.call("move", "b", 3)
    rig.editor.close()
    assert [next(iter(row)) for row in yaml.safe_load(file.with_suffix(".cues.yaml").read_text())] == ["name", "name"]


def test_every_edit_is_undone_also_with_its_thumbnail(file: Path) -> None:
    rig = Rig(file)
    rig.call("record", "a")
    rig.wait(lambda: rig.column("thumbnail")["a"])
    before, thumbnail = list(rig.list.cues), rig.column("thumbnail")["a"]
    edits: list[tuple[Value, ...]] = [("delete", "a"), ("rename", "a", "z"), ("overwrite", "a"), ("move", "a", 1),
                                      ("fade", "a", 9.0), ("fade", "dawn", 9.0), ("follow", "a", 1.0), ("record", "b"),
                                      ("duplicate", "a")]
    for edit in edits:
        assert rig.call(str(edit[0]), *edit[1:]) == ""
        assert rig.list.cues != before
        assert rig.call("undo") == ""
        assert rig.list.cues == before, edit
    assert rig.column("thumbnail")["a"] == thumbnail
    assert (file.with_suffix(".looks") / f"{thumbnail}.jpg").exists()


def test_a_thumbnail_is_small_renewed_and_goes_with_its_look(file: Path) -> None:
    rig, folder = Rig(file), file.with_suffix(".looks")
    rig.call("record", "a")
    first = rig.wait(lambda: rig.column("thumbnail")["a"])
    with Image.open(folder / f"{first}.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (160, 80))
        assert image.getpixel((40, 40))[0] > 240  # type: ignore[index]
    rig.picture = solid((256, 512), (0, 255, 0, 255))
    rig.call("overwrite", "a")
    second = rig.wait(lambda: rig.column("thumbnail")["a"])
    assert second != first
    rig.call("duplicate", "a", "b")
    rig.call("rename", "a", "c")
    assert set(rig.column("thumbnail").values()) == {"", second}
    rig = again(rig, file)
    assert [path.name for path in folder.iterdir()] == [f"{second}.jpg"], "the first one was overwritten"
    rig.call("delete", "b")
    rig.picture = None
    rig.call("record", "dark")
    assert rig.column("thumbnail")["dark"] == ""
    rig.call("delete", "c")
    rig.editor.close()
    assert not folder.exists()


def test_pictures_of_no_look_are_removed_at_the_next_start_and_other_files_stay(file: Path) -> None:
    folder = file.with_suffix(".looks")
    folder.mkdir()
    for name in ("0123456789abcdef.jpg", "fedcba9876543210.jpg.new", "holiday.jpg", "notes.txt"):
        (folder / name).touch()
    Rig(file).editor.close()
    assert sorted(path.name for path in folder.iterdir()) == ["holiday.jpg", "notes.txt"]


def test_a_file_edited_by_hand_is_read_again(file: Path) -> None:
    rig = Rig(file)
    rig.call("record", "a")
    rig.editor.watch()
    cues = file.with_suffix(".cues.yaml")
    rig.wait(cues.exists)
    cues.write_text(cues.read_text().replace("name: a", "name: by hand").replace("fade: 1.0", "fade: 3")
                    + "- {name: second, values: {strength: 1.0}}\n")
    rig.wait(lambda: "second" in rig.names)
    assert rig.names == ["dawn", "storm", "by hand", "second"]
    assert rig.list.cues[2].fade == 3.0
    assert rig.call("undo") == ""
    assert rig.names == ["dawn", "storm", "a"]
    rig.editor.close()
    assert "by hand" not in cues.read_text()


def test_a_mistake_in_the_edited_file_is_reported_once_and_nothing_is_lost(file: Path) -> None:
    rig = Rig(file)
    rig.call("record", "a")
    rig.editor.watch()
    cues = file.with_suffix(".cues.yaml")
    rig.wait(cues.exists)
    cues.write_text("- {name: a, fade: soon}\n- {name: b, fad: 1}\n")
    rig.wait(lambda: rig.editor.trouble)
    line = "mirror.cues.yaml:1:19: 'soon' is not a number from 0 to 86400 (and 1 more)"
    assert rig.editor.trouble == line
    assert rig.refusals.pop() == [Refusal("cue file", line)]
    assert rig.names == ["dawn", "storm", "a"]
    cues.write_text("- {name: a, fade: 2}\n- {name: b, fade: 1}\n")
    rig.wait(lambda: not rig.editor.trouble and "b" in rig.names)
    cues.write_text("- [")
    rig.wait(lambda: rig.editor.trouble)
    rig.call("record", "c")
    rig.editor.close()
    assert cues.with_name("mirror.cues.yaml.bad").read_text() == "- ["
    assert Rig(file).names == ["dawn", "storm", "a", "b", "c"]


def test_a_hand_edit_just_before_a_save_is_merged(file: Path) -> None:
    rig = Rig(file)
    for name in ("a", "b", "c"):
        rig.call("record", name)
    rig = again(rig, file)  # nothing watches the file before the next edit
    cues = file.with_suffix(".cues.yaml")
    rows = {row["name"]: row for row in yaml.safe_load(cues.read_text())}
    rows["a"]["fade"], rows["b"]["fade"] = 7.0, 8.0
    cues.write_text(yaml.safe_dump([rows["b"], rows["a"], {"name": "hand"}]))
    rig.call("fade", "b", 3.0)
    rig.call("record", "page")
    rig.wait(lambda: "hand" in rig.names)
    assert {name: rig.list.named(name).fade for name in rig.names[2:]} == {  # type: ignore[union-attr]
        "a": 7.0, "b": 3.0, "b (file)": 8.0, "hand": 0.0, "page": 1.0}
    assert again(rig, file).names == rig.names


def test_what_cannot_be_written_plays_and_is_written_later(file: Path) -> None:
    rig = Rig(file)
    obstacle = file.with_name("mirror.cues.yaml.new")
    obstacle.mkdir()
    rig.call("record", "a")
    rig.wait(lambda: rig.editor.trouble)
    line = ("mirror.cues.yaml: recorded cues cannot be saved: Is a directory; they play, and are saved once that is "
            "possible")
    assert rig.editor.trouble == line
    assert rig.refusals.pop() == [Refusal("osc/test", line)]
    assert rig.column("saved") == {"dawn": True, "storm": True, "a": False}
    assert rig.list.goto("a", 0.0) is not None
    obstacle.rmdir()
    rig.wait(lambda: not rig.editor.trouble)
    assert rig.column("saved")["a"] is True
    assert again(rig, file).names == ["dawn", "storm", "a"]


def test_messages_that_the_show_does_not_allow_stay_in_the_file(file: Path) -> None:
    away = OscMessageOut("/go", (), "127.0.0.1", 9999)
    file.with_suffix(".cues.yaml").write_text("- {name: a, send: [{osc: /go, to: '127.0.0.1:9999'}]}")
    rig = Rig(file)
    assert rig.list.named("a") == Cue("a")
    rig.call("fade", "a", 2.0)
    rig.editor.close()
    assert OscMessageOut("/go", (), "127.0.0.1", 9999) == away
    assert yaml.safe_load(file.with_suffix(".cues.yaml").read_text())[0]["send"]


def test_the_look_that_plays_is_deleted_renamed_and_moved() -> None:
    rig = Rig(show=[Cue(name, fade=4.0, follow=1.0) for name in ("one", "two")])
    for name in ("a", "b", "c"):
        rig.call("record", name)
        rig.call("follow", name, 1.0)
    rig.list.goto("b", 0.0)
    rig.list.update(0.0)
    rig.call("rename", "b", "beta")
    assert (rig.list.current and rig.list.current.name, rig.list.standby, rig.list.before) == ("beta", "c", "a")
    rig.call("move", "beta", 1)
    assert (rig.list.standby, rig.list.before) == ("one", "")
    assert rig.list.update(2.1) == rig.list.cues[1], "what follows is the next in the new order"
    rig.list.goto("beta", 3.0)
    rig.list.update(3.0)
    rig.call("move", "beta", 4)
    rig.call("delete", "beta")
    assert (rig.list.current, rig.list.standby) == (None, "c")
    assert rig.list.update(60.0) is None, "nothing follows a look that is gone"


def test_a_look_that_waits_for_its_delay_is_deleted() -> None:
    rig = Rig()
    rig.call("record", "a")
    rig.list.cues[2] = Cue("a", delay=5.0)
    rig.list.goto("a", 0.0)
    rig.list.load("a")
    rig.call("delete", "a")
    assert (rig.list.pending, rig.list.standby) == ("", "dawn")
    assert rig.list.update(60.0) is None


def test_a_follow_that_is_set_while_the_look_plays_takes_effect() -> None:
    rig = Rig(show=[Cue("one", fade=4.0), Cue("two")])
    rig.list.go(0.0)
    rig.list.update(0.0)
    rig.call("follow", "one", 2.0, now=1.0)
    assert rig.list.update(5.9) is None
    assert rig.list.update(6.0) == Cue("two")
    rig.list.back(7.0)
    rig.list.update(7.0)
    rig.call("follow", "one", -1.0, now=8.0)
    assert rig.list.update(99.0) is None


def test_an_endless_loop_without_time_is_refused() -> None:
    rig = Rig(show=[Cue("one", follow=0.0), Cue("two", fade=1.0)], loop=True)
    assert rig.call("follow", "two", 0.0) == ""
    assert rig.call("fade", "two", 0.0) == "cue/fade: the cues would start one another for ever, without any time " \
        "between them"


@pytest.mark.parametrize("name", ["it's", 'a "b"', "../../etc/passwd", "ünïcode 雪", "- x: [y]", "# no", "true", "1e3",
                                  "{a", "'", "\\", "a\tb", "🎛" * 40, "x" * 300, "7", "4.1"])
def test_a_name_is_stored_as_it_is(file: Path, name: str) -> None:
    rig = Rig(file)
    assert rig.call("record", name.replace("\t", " ")) == ""
    rig = again(rig, file)
    assert rig.names[2] == name.replace("\t", " ")[:80]
    assert rig.call("delete", rig.names[2]) == ""
    rig.editor.close()
    assert os.listdir(file.parent) == ["mirror.cues.yaml"]
