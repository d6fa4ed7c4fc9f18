"""A stand-in for TouchDesigner's Python, as far as the exported script uses it.

Names and signatures come from its documentation (touchdesigner.json), and others are refused: operators and their
parameters, members and methods of classes, members that a script cannot set, names of custom parameters. It imitates
what is documented of parameters: a custom one is clamped, a menu takes its names only, a Parameter Execute DAT hears of
every change once a frame, also of one that a script makes.
"""

# ruff: noqa: N802, N803 - the names are the program's

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCUMENTED: Mapping[str, Any] = json.loads(Path(__file__).with_name("touchdesigner.json").read_text("utf-8"))
CUSTOM_NAME = re.compile(r"[A-Z][a-z0-9]*")


ParMode = types.SimpleNamespace(**{name: f"ParMode.{name}" for name in ("CONSTANT", "EXPRESSION", "EXPORT", "BIND")})


class Documented:
    """An object whose public names are those of its classes in the documentation."""

    documents: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in " ".join(
                DOCUMENTED["classes"][each]["writable"] for each in self.documents).split():
            raise AttributeError(f"a script cannot set {name!r} of {'/'.join(self.documents)}")
        object.__setattr__(self, name, value)

    def _give(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def undocumented(kind: type[Documented]) -> list[str]:
    """Names and signatures of a class here that the documentation does not have."""
    classes = [DOCUMENTED["classes"][each] for each in kind.documents]
    members = " ".join(f"{each['writable']} {each['read only']}" for each in classes).split()
    methods = {name: text for each in classes for name, text in each["methods"].items()}
    found = []
    for name, part in inspect.getmembers(kind):
        if name.startswith("_") or name in ("documents", *members):
            continue
        if name not in methods:
            found.append(name)
        elif inspect.isfunction(part):
            own = [(p.name, p.kind) for p in list(inspect.signature(part).parameters.values())[1:]]
            real = eval(f"lambda {methods[name][1:-1]}: 0")
            if own != [(p.name, p.kind) for p in inspect.signature(real).parameters.values()]:
                found.append(f"{name}{methods[name]}")
    return found


class Par(Documented):
    """A parameter: a built-in one, or a custom one of a style."""

    documents = ("Par",)

    def __init__(self, owner: OP, name: str, style: str, menu: Sequence[str] = (), page: Page | None = None) -> None:
        self._give(owner=owner, name=name, style=style, isCustom=page is not None, isPulse=style == "Pulse", label=name,
                   page=page, help="", readOnly=False, min=0.0, max=1.0, normMin=0.0, normMax=1.0, clampMin=False,
                   clampMax=False, default="" if style == "Str" else 0, menuNames=list(menu), menuLabels=list(menu))
        self._value: Any = "" if style == "Str" else 0
        self._expression = ""

    @property
    def val(self) -> Any:
        return self._value

    @val.setter
    def val(self, value: Any) -> None:
        self._expression = ""
        before, self._value = self._value, self._checked(value)
        if self.isCustom and self._value != before:
            self.owner._world.note_change(self, before)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("default", "min", "max", "normMin", "normMax") and self.style == "Int":
            assert -2**31 <= value < 2**31, f"{name} of {self.name} is too large for an integer: {value}"
        if name in ("val", "expr", "menuIndex"):
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def expr(self) -> str:
        return self._expression

    @expr.setter
    def expr(self, text: str) -> None:
        self._expression = text

    @property
    def mode(self) -> str:
        return ParMode.EXPRESSION if self._expression else ParMode.CONSTANT

    @property
    def menuIndex(self) -> int:
        return self.menuNames.index(self.eval())

    def eval(self) -> Any:
        if self._expression:
            found = eval(self._expression, self.owner._world.names_of(self.owner))
            return found.eval() if isinstance(found, Par) else found
        return self._value

    def pulse(self, value: Any = 1, frames: int = 0, seconds: float = 0) -> None:
        assert self.isPulse, f"{self.name} is not a pulse"
        self.owner._world.run_execute(self.owner, "onpulse", "onPulse", self)

    def destroy(self) -> None:
        assert self.isCustom, "only custom parameters can be destroyed"
        self.page._pars.remove(self)

    def _checked(self, value: Any) -> Any:
        if self.menuNames and value not in self.menuNames:
            raise ValueError(f"{self.name} is one of {self.menuNames}, not {value!r}")
        if self.style in ("Float", "Int"):
            number = float(value) if self.style == "Float" else int(value)
            number = max(number, self.min) if self.clampMin else number
            return min(number, self.max) if self.clampMax else number
        if self.style == "Toggle":
            return bool(value)
        return str(value) if self.style in ("Str", "Menu") else value

    def __eq__(self, other: object) -> bool:
        return bool(self.eval() == (other.eval() if isinstance(other, Par) else other))

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        return bool(self.eval())

    def __int__(self) -> int:
        return int(self.eval())


class ParCollection:
    """`operator.par`: a parameter by its name."""

    def __init__(self, owner: OP) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Par | None:
        return {**self._owner._builtin, **{par.name: par for par in self._owner.customPars}}.get(name)

    def __getattr__(self, name: str) -> Par:
        found = self[name]
        if found is None:
            raise AttributeError(f"{self._owner.opType} has no parameter {name!r}")
        return found


class Page(Documented):
    documents = ("Page",)

    def __init__(self, owner: COMP, name: str) -> None:
        self._give(owner=owner, name=name, isCustom=True)
        self._pars: list[Par] = []

    @property
    def pars(self) -> list[Par]:
        return list(self._pars)

    def _append(self, name: str, label: str | None, style: str) -> list[Par]:
        assert CUSTOM_NAME.fullmatch(name), f"{name!r} is not a name for a custom parameter"
        for page in self.owner._pages:  # `replace`: fresh attributes
            page._pars[:] = [par for par in page._pars if par.name != name]
        par = Par(self.owner, name, style, page=self)
        par.label = label or name
        self._pars.append(par)
        return [par]

    def appendFloat(self, name, label=None, size=1, order=None, replace=True):
        return self._append(name, label, "Float")

    def appendInt(self, name, label=None, size=1, order=None, replace=True):
        return self._append(name, label, "Int")

    def appendStr(self, name, label=None, order=None, replace=True):
        return self._append(name, label, "Str")

    def appendMenu(self, name, label=None, order=None, replace=True):
        return self._append(name, label, "Menu")

    def appendToggle(self, name, label=None, order=None, replace=True):
        return self._append(name, label, "Toggle")

    def appendPulse(self, name, label=None, order=None, replace=True):
        return self._append(name, label, "Pulse")

    def destroy(self) -> None:
        self.owner._pages.remove(self)


class Connector(Documented):
    documents = ("Connector",)

    def __init__(self, owner: OP, index: int) -> None:
        self._give(owner=owner, index=index, isInput=True)

    def connect(self, target: OP) -> None:
        self.owner._inputs[self.index] = target


class OP(Documented):
    documents = ("OP",)

    def __init__(self, world: World, opType: str, name: str, parent: COMP | None) -> None:
        known = DOCUMENTED["types"][opType]  # refuses an unknown type
        self._world, self._parent, self._pages, self._inputs = world, parent, [], {}
        self._storage: dict[str, Any] = {}
        self._give(name=name, opType=opType, nodeX=0, nodeY=0, par=ParCollection(self))
        self._builtin = {each: Par(self, each, "", known["menus"].get(each, ()))
                         for each in known["parameters"].split()}

    @property
    def path(self) -> str:
        return f"{self._parent.path if self._parent else ''}/{self.name}"

    @property
    def customPages(self) -> list[Page]:
        return list(self._pages)

    @property
    def customPars(self) -> list[Par]:
        return [par for page in self._pages for par in page.pars]

    @property
    def inputConnectors(self) -> list[Connector]:
        return [Connector(self, index) for index in range(2)]

    def parent(self, n=1):
        return self._parent

    def fetch(self, key, default, search=True, storeDefault=False):
        return self._storage.get(key, default)

    def store(self, key, value):
        self._storage[key] = value


class DAT(OP):
    """Also every kind of DAT: what its text, its table, or its calls are."""

    documents = ("OP", "DAT", "oscoutDAT", "webclientDAT")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._text, self._rows = "", []
        self._loaded: tuple[str, types.SimpleNamespace] = ("", types.SimpleNamespace())

    @property
    def text(self) -> str:
        return self._text

    @text.setter
    def text(self, text: str) -> None:
        self._text = text

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "text":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    @property
    def module(self) -> types.SimpleNamespace:
        if self._loaded[0] != self._text:
            names = self._world.names_of(self)
            exec(compile(self._text, self.path, "exec"), names)
            self._loaded = self._text, types.SimpleNamespace(**names)
        return self._loaded[1]

    def clear(self, keepSize=False, keepFirstRow=False, keepFirstCol=False):
        self._rows.clear()

    def row(self, *nameOrIndexes, caseSensitive=True, val=False):
        return next((row for row in self._rows if row[0] in nameOrIndexes), None)

    def appendRow(self, vals, nameOrIndex=None, sort=None):
        self._rows.append([str(value) for value in vals])

    def replaceRow(self, nameOrIndex, vals=(), entireRow=True):
        self.row(nameOrIndex)[:] = [str(value) for value in vals]

    def sendOSC(self, address, *values, asBundle=False, useNonStandardTypes=True, use64BitPrecision=False):
        assert self.opType == "oscoutDAT"
        (arguments,) = values
        self._world.send(str(self.par.address.eval()), int(self.par.port), address, list(arguments))

    def request(self, url, method, header=None, data=None, pars=None, authType=None, username=None, password=None,
                appKey=None, appSecret=None, oauth1Token=None, oauth1Secret=None, oauth2Token=None, uploadFile=None,
                timeout=60000):
        assert self.opType == "webclientDAT"
        self._world.requests.append((url, method))


class COMP(OP):
    documents = ("OP", "COMP")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._children: dict[str, OP] = {}

    @property
    def children(self) -> list[OP]:
        return list(self._children.values())

    def op(self, pattern):
        return self._children.get(pattern)

    def create(self, opType, name, initialize=True):
        kind = {"COMP": COMP, "DAT": DAT}.get(re.sub("[^A-Z]", "", opType), OP)
        while name in self._children:  # the next numbered name
            name = re.sub(r"\d*$", lambda found: str(int(found[0] or 0) + 1), name, count=1)
        self._children[name] = kind(self._world, opType, name, self)
        return self._children[name]

    def appendCustomPage(self, name):
        self._pages.append(Page(self, name))
        return self._pages[-1]

    def sortCustomPages(self, *pages):
        assert sorted(pages) == sorted(page.name for page in self._pages)
        self._pages.sort(key=lambda page: pages.index(page.name))


class AbsTime(Documented):
    documents = ("AbsTime",)

    def __init__(self) -> None:
        self._give(seconds=1000.0, frame=60000.0)


class World:
    """A project with one network.

    Attributes:
        sent: Each OSC message that was sent: address and arguments.
        requests: Each request over HTTP: URL and method.
    """

    def __init__(self, folder: str = "/project") -> None:
        self.time = AbsTime()
        self.home = COMP(self, "baseCOMP", "project1", None)
        self.sent: list[tuple[str, list[Any]]] = []
        self.receivers: list[tuple[str, int]] = []
        self.requests: list[tuple[str, str]] = []
        self._changes: dict[tuple[OP, str], Any] = {}  # the value before, by operator and parameter
        self._folder = folder

    def names_of(self, operator: OP) -> dict[str, Any]:
        """The names that a script of this operator finds."""
        project = Project(self._folder)
        return {"me": operator, "parent": operator.parent, "absTime": self.time, "project": project, "ParMode": ParMode,
                "op": lambda pattern: operator.parent().op(pattern)}

    def run_script(self, script: str) -> COMP:
        """Run a script in a Text DAT of the network. Returns the component `lcm`."""
        dat = self.home.op("text1") or self.home.create("textDAT", "text1")
        dat.text = script
        exec(compile(script, "text1", "exec"), self.names_of(dat))
        return self.home.op("lcm")

    def note_change(self, par: Par, before: Any) -> None:
        self._changes.setdefault((par.owner, par.name), before)

    def send(self, host: str, port: int, address: str, arguments: list[Any]) -> None:
        self.sent.append((address, arguments))
        self.receivers.append((host, port))

    def taken(self) -> list[tuple[str, list[Any]]]:
        """The messages since the last call."""
        found, self.sent = self.sent, []
        return found

    def frame(self, seconds: float = 1 / 60) -> None:
        """Let one frame pass: Execute DATs run, then Parameter Execute DATs hear of the changes."""
        self.time._give(seconds=self.time.seconds + seconds)
        for comp in self.home.children:
            if isinstance(comp, COMP):
                for dat in comp.children:
                    if dat.opType == "executeDAT" and dat.par.framestart.eval():
                        self._callback(dat, "onFrameStart")(0)
        changes, self._changes = self._changes, {}
        for (owner, name), before in changes.items():
            if (par := owner.par[name]) is not None and par.eval() != before:
                self.run_execute(owner, "valuechange", "onValueChange", par, before)

    def run_execute(self, owner: OP, switch: str, callback: str, *arguments: Any) -> None:
        for dat in owner.children:
            if dat.opType == "parameterexecuteDAT" and dat.par[switch].eval() and dat.par.op.eval() is owner:
                self._callback(dat, callback)(*arguments)

    def deliver(self, comp: COMP, address: str, *arguments: Any) -> None:
        """An OSC message arrives."""
        callbacks = comp.op(comp.op("osc_in").par.callbacks.eval())
        self._callback(callbacks, "onReceiveOSC")(comp.op("osc_in"), 1, "", b"", 0.0, address, list(arguments), None)

    def respond(self, comp: COMP, code: int, data: Any) -> None:
        """The answer to a request arrives."""
        callbacks = comp.op(comp.op("web").par.callbacks.eval())
        self._callback(callbacks, "onResponse")(comp.op("web"), {"code": code, "message": ""}, {}, data)

    def _callback(self, dat: OP, name: str) -> Callable[..., Any]:
        names = self.names_of(dat)
        exec(compile(dat.text, dat.path, "exec"), names)
        found: Callable[..., Any] = names[name]
        return found


class Project(Documented):
    documents = ("Project",)

    def __init__(self, folder: str) -> None:
        self._give(folder=folder)


CLASSES: Sequence[type[Documented]] = (Par, Page, Connector, OP, DAT, COMP, AbsTime, Project)
