"""Rig of the panel's tests: a panel on a free port, a stage that answers it, WebSocket and HTTP clients."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from lcm_daemon.automation.automation import AUTOMATION_PARAMETERS, Automation
from lcm_daemon.automation.cue_list import Cue
from lcm_daemon.controllers.panel.camera import FrameSink
from lcm_daemon.controllers.panel.controller import Panel
from lcm_daemon.core.control_state import ControlState
from lcm_daemon.core.frame import Frame, Pixels, solid
from lcm_daemon.core.live_values import Parameters
from lcm_daemon.core.metrics import Metrics
from lcm_daemon.core.parameter_table import TABLE
from lcm_daemon.core.parameters import Parameter, Table, Value
from lcm_daemon.core.refusals import Refusals
from lcm_daemon.core.requests import Change, CommandRequest, commands
from lcm_daemon.stage.moves import Moves
from lcm_daemon.stage.prompt_bank import PromptBank
from lcm_daemon.stage.prompt_history import PromptHistory
from lcm_daemon.stage.undo import Undo

SHOWN: Table = {**TABLE, **AUTOMATION_PARAMETERS}  # parameters of a show without modulators
PATIENCE = 30.0  # seconds that a test waits at most
QUIET = 0.15  # seconds without a message that count as silence


@dataclass
class Rig:
    """A control state with a stage in the same event loop, which applies requests and reports the results.

    The cues are played by the real Automation. Its time is `now`, which only the test changes.

    Attributes:
        answers: Apply requests at once. If False, the test calls `answer`.
        taken: Changes that were requested.
        called: Commands that were requested.
    """

    answers: bool = True
    cues: Sequence[Cue] = ()
    loop: bool = False
    now: float = 0.0
    taken: list[Change] = field(default_factory=list)
    called: list[CommandRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.parameters, self.refusals = Parameters(start={"prompt": "ocean", "strength": 0.5}), Refusals(Metrics())
        self.automation = Automation(self.cues, (), self.parameters, lambda recipe: None, loop=self.loop)
        self.parameters.replace_table(SHOWN)
        self.controls = ControlState(
            self.parameters.table, self.parameters.targets(), Metrics(), self._wake, commands(["ink", "sd-turbo"])
        )
        self.controls.show = "mirror"
        self.undo, self.history, self.bank = Undo(self.parameters, self.refusals), PromptHistory(), PromptBank()
        self.moves = Moves(self.parameters, self.refusals, self.bank)
        self._numbers = itertools.count()

    def _wake(self) -> None:
        if self.answers:
            asyncio.get_running_loop().call_soon(self.answer)

    def answer(self) -> None:
        """Apply all requests and report the results."""
        done: list[Change] = []
        for step in self.controls.pop_requests():
            done += self._obey(step) if isinstance(step, CommandRequest) else self._move(step)
        self.step(done)

    def _move(self, asked: Change) -> list[Change]:
        self.taken.append(asked)
        done = [Change(asked.name, self.parameters.set(asked.name, asked.value, 0.0, asked.origin), asked.origin)]
        self.undo.observe(self.now)
        self.history.note(done, asked.origin, self.now)
        return done

    def _obey(self, call: CommandRequest) -> list[Change]:
        self.called.append(call)
        if call.name == "panic":
            changed = self.parameters.reset(f"panic/{call.origin}")
            self.undo.observe(self.now)
            return [Change(name, value, call.origin) for name, value in changed.items()]
        if call.name in ("undo", "redo", "undo_panic"):
            return self.undo.execute(call, self.now)
        if call.name.startswith("prompts/"):
            done = self.moves.execute(call, self.now)
            self.history.note(done, call.origin, self.now)
            self.undo.observe(self.now)
            return done
        return [] if call.name in ("recipe", "size") else self.automation.execute(call, self.now)

    def step(self, done: Sequence[Change] = ()) -> None:
        """Start the cues that are due; report these changes, the others in `done`, and the status of the cues."""
        moved = [*done, *self.automation.update(self.now, None)]
        cues = self.automation.status(self.now)
        self.controls.set_list("looks", self.automation.editor.rows())
        for name, rows in (("undo", self.undo.rows()), ("redo", self.undo.redo_rows()), ("prompts", self.bank.rows()),
                           ("prompt_history", self.history.rows())):
            self.controls.set_list(name, rows)
        news = {**self.controls.status, **cues} if self.cues and cues.items() - self.controls.status.items() else None
        self.controls.apply_update(moved, news, refusals=[*self.refusals.pop(), *self.automation.refusals.pop()])

    def change_recipe(self, *parameters: Parameter) -> None:
        """Switch to a recipe with these parameters of its own."""
        self.parameters.replace_table({**SHOWN, **{p.name: p for p in parameters}})
        self.controls.replace_table(self.parameters.table, self.parameters.targets())

    def move(self, name: str, value: Value, origin: str = "osc/127.0.0.1:9") -> None:
        """Another controller sets a parameter."""
        changes = [Change(name, self.parameters.set(name, value, 0.0, origin), origin)]
        self.undo.observe(self.now)
        self.history.note(changes, origin, self.now)
        self.step(changes)

    def show(self, pixels: Pixels | None = None) -> int:
        """Publish a new output frame; return its number."""
        number = next(self._numbers)
        self.controls.frame = Frame(solid((32, 16)) if pixels is None else pixels, number, float(number))
        return number


@asynccontextmanager
async def serving(rig: Rig, sink: FrameSink | None = None, **options: Any) -> AsyncIterator[Panel]:
    rig.controls.browser_source = "page" if sink else ""
    panel = Panel(rig.controls, {"port": 0, "preview_fps": 100, **options}, lambda name: sink)
    await panel.start()
    try:
        yield panel
    finally:
        await panel.stop()


class Page:
    """A WebSocket client that has received `hello`."""

    def __init__(self, socket: ClientConnection, hello: dict[str, Any]) -> None:
        self.socket, self.hello = socket, hello

    async def send(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def heard(self, key: str) -> Any:
        """Return the content of the next message with this key; skip others."""
        while True:
            message = await self._next()
            if isinstance(message, str) and key in (content := json.loads(message)):
                return content[key]

    async def picture(self) -> bytes:
        while not isinstance(message := await self._next(), bytes):
            pass
        return message

    async def silent(self, seconds: float = QUIET) -> bool:
        """Whether no message but heartbeats and lists comes for a while."""
        try:
            async with asyncio.timeout(seconds):
                while isinstance(message := await self.socket.recv(), str) and (
                        json.loads(message).keys() <= {"beat", "lists"}):
                    pass
        except TimeoutError:
            return True
        return False

    async def _next(self) -> str | bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.socket.recv()


@asynccontextmanager
async def visiting(panel: Panel, **options: Any) -> AsyncIterator[Page]:
    url = f"ws://127.0.0.1:{panel.port}/ws"
    # without a limit of the queue: a page that is not read here must still see the end of its connection
    async with connect(url, max_size=None, max_queue=None, proxy=None, **options) as socket:
        yield Page(socket, json.loads(await socket.recv())["hello"])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def get(panel: Panel, path: str, **headers: str) -> Answer:
    """Send a hand-written GET, so that Host and path may have any value."""
    return await request(panel, "GET", path, **headers)


async def request(panel: Panel, method: str, path: str, body: str = "", **headers: str) -> Answer:
    """Send a hand-written HTTP request. A body has its Content-Length, unless the headers give another."""
    sent = body.encode()
    length = {"Content-Length": str(len(sent))} if sent else {}
    fields = {"Host": f"127.0.0.1:{panel.port}", "Connection": "close", **length,
              **{name.replace("_", "-"): value for name, value in headers.items()}}
    reader, writer = await asyncio.open_connection("127.0.0.1", panel.port)
    try:
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1") + sent)
        async with asyncio.timeout(PATIENCE):
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *rest = head.decode("latin-1").split("\r\n")
    return Answer(int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)}, content)


async def until(condition: Any) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)
