"""Every message of every export of the demo, sent to a running daemon: it is applied, or nothing refuses it."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
import yaml
from pythonosc.osc_message import OscMessage

from lcm_daemon.controllers.osc_protocol.dispatch import weighted_prompt
from lcm_daemon.controllers.osc_protocol.encoder import encode
from lcm_daemon.controllers.osc_protocol.fader_aliases import fader_aliases
from lcm_daemon.core.osc_names import FADER, ROOT
from lcm_daemon.core.parameters import DRAW, Table, Value
from lcm_daemon.exports.formats import FORMATS
from lcm_daemon.exports.surface import Surface
from lcm_daemon.shows.library import find_show
from lcm_daemon.shows.reader import load_show
from lcm_daemon.shows.surface import surface_of
from tests.exports.readers import READERS, reader
from tests.rigs.daemon import Daemon, free_port, wait_for
from tests.rigs.standin_touchdesigner import World

LOOKS = [{"name": "Intro"}, {"name": "Storm"}]  # they set nothing, so that a fade moves no value that is looked at
HARMLESS = ("cue/", "prompts/", "panic", "undo", "redo", "tap")  # commands that are carried out here; the others change
# the recipe, start a recording or replace an engine: that is tested where it belongs
MOVES = ("+", "-", "toggle")  # first arguments that move a parameter from where it is
NOTHING_TO_UNDO = ("undo", "redo", "undo_panic")  # the daemon says so, which is an answer and no mistake of the export


class Sender:
    """One OSC program."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(10)

    def send(self, address: str, arguments: Sequence[Any]) -> None:
        self._socket.send(encode(address, arguments))

    def refusals_of(self, messages: list[tuple[str, list[Any]]]) -> list[Any]:
        """Send messages; return what the daemon refused once all have been handled."""
        for address, arguments in messages:
            self.send(address, arguments)
        self.send("/lcm/sync", [1])
        found = []
        while (message := OscMessage(self._socket.recv(65536))).address != "/lcm/sync":
            if message.address == "/lcm/error":
                found.append(message.params)
        return found


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("exports")
    demo = yaml.safe_load(find_show("demo").read_text("utf-8"))
    kept = {key: value for key, value in demo.items() if key not in ("osc", "panel", "sinks")}
    with Daemon(folder, {**kept, "sinks": [], "cues": LOOKS, "oscquery": {"port": free_port()}}) as running:
        yield running


@pytest.fixture(scope="module")
def surface(daemon: Daemon) -> Surface:
    return surface_of(load_show(str(daemon.show), environment={}))


@pytest.mark.parametrize("name", READERS)
def test_every_message_is_applied(daemon: Daemon, surface: Surface, name: str) -> None:
    messages = reader(name)(FORMATS[name].build(surface))
    sender, table = Sender(daemon.osc_port), surface.table
    set_, asked = [], []
    for address, arguments in messages:
        assert address.startswith("/lcm/"), address
        path = address.removeprefix(ROOT)
        if address.removeprefix(FADER).removeprefix(ROOT) in table:
            set_.append((address, arguments))
        else:
            assert path in surface.commands or path in ("subscribe", "unsubscribe", "sync", "get"), address
            asked.append((path, arguments))
    assert sender.refusals_of(set_) == []
    wanted = expected(set_, table)
    with suppress(AssertionError):
        wait_for(lambda: not differing(daemon.values(), wanted), 10)
    assert differing(daemon.values(), wanted) == {}
    for path, arguments in asked:
        if path in surface.commands:
            surface.commands[path].coerce(arguments if surface.commands[path].required else ())
        if path.startswith(HARMLESS) and path not in NOTHING_TO_UNDO:
            assert sender.refusals_of([(ROOT + path, arguments)]) == [], (path, arguments)


def expected(messages: list[tuple[str, list[Any]]], table: Table) -> dict[str, Value]:
    """The value of each parameter once they have been sent, where the messages say it: moves and draws do not."""
    found: dict[str, Value] = {}
    faders = fader_aliases(table)
    for address, arguments in messages:
        parameter = table[address.removeprefix(FADER).removeprefix(ROOT)]
        if address in faders:
            arguments = list(faders[address][0].read(arguments) or ())
        if parameter.kind == "text":
            found[parameter.name] = parameter.coerce(weighted_prompt(arguments))
            continue
        if arguments[0] in MOVES:
            found.pop(parameter.name, None)
            continue
        found[parameter.name] = parameter.coerce(arguments[0])
        if found[parameter.name] == DRAW and parameter.draws:
            del found[parameter.name]
    return found


def differing(values: Mapping[str, Value], wanted: Mapping[str, Value]) -> dict[str, Any]:
    def is_same(a: Any, b: Any) -> bool:
        return a == b if isinstance(b, str) or a is None else abs(float(a) - float(b)) <= 1e-5 * max(1.0, abs(b))
    return {name: (values.get(name), value) for name, value in wanted.items() if not is_same(values.get(name), value)}


def test_the_page_gives_each_file_for_the_show_that_plays(daemon: Daemon) -> None:
    for name, kind in FORMATS.items():
        url = f"http://127.0.0.1:{daemon.panel_port}/export/{name}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{kind.file_name('demo')}"
            assert answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{daemon.panel_port}/export/..%2Fshow.yaml", timeout=30)


def test_the_component_of_touchdesigner_follows_the_daemon(daemon: Daemon, surface: Surface) -> None:
    """Both ways, with the daemon's own packets and its own description of the parameters; the recipe changes."""
    world, arrived = World(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    arrived.bind(("127.0.0.1", 0))
    arrived.settimeout(0.01)
    comp = world.run_script(FORMATS["touchdesigner"].build(surface).decode("utf-8"))
    comp.par.Receiveport.val = arrived.getsockname()[1]
    program, other = Sender(daemon.osc_port), Sender(daemon.osc_port)

    def pass_a_frame() -> None:
        world.frame()
        for address, arguments in world.taken():
            program.send(address, arguments)
        for url, _ in world.requests:
            with urllib.request.urlopen(url, timeout=10) as answer:
                world.respond(comp, 200, answer.read().decode())
        world.requests.clear()
        with suppress(TimeoutError):
            while True:
                message = OscMessage(arrived.recv(65536))
                world.deliver(comp, message.address, *message.params)

    def until(condition: Callable[[], Any], what: str) -> None:
        def look() -> Any:
            pass_a_frame()
            return condition()
        wait_for(look, 60, what)  # a recipe is loaded

    other.send("/lcm/mix", [0.125])
    until(lambda: comp.par.Alive.eval() and comp.par.Mix.eval() == 0.125, "the value of the other program")
    comp.par.Strength.val = 0.625
    until(lambda: daemon.values()["strength"] == 0.625, "the value of the component")
    assert comp.par["Loraneon"] is not None
    comp.par.Recipe.val = "passthrough"
    until(lambda: comp.par["Loraneon"] is None, "the parameters of the other recipe")
    assert comp.par.Mix.eval() == 0.125
    assert daemon.values()["strength"] == comp.par.Strength.eval() == 0.625
