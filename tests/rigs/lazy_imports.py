"""Imports that wait until a test runs, so that collecting tests does not wait for torch.

    with lazy_imports(globals()):
        import torch
        from lcm_daemon.pipelines.noise import Noise

    CPU = torch.device("cpu")                                     # computed when the first test runs
    @pytest.mark.parametrize("dtype", [torch.float32])            # the same

Until then the imported names are placeholders. Reading an attribute of a placeholder or calling it gives another one.
`resolve` replaces all placeholders in globals, default arguments and a test's parameters by their values;
tests/conftest.py calls it before each test. Everything else fails while tests are collected: a class with a
placeholder as its base, a loop over one, a decorator from one.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

_waiting: dict[str, dict[str, Any]] = {}  # globals with placeholders, by the name of their module
_resolved_modules: set[str] = set()  # names of test modules that are done
_running: list[bool] = []  # not empty once a test runs; placeholders that are still used then do not wait


class Placeholder:
    """A value that is computed later."""

    def __init__(self, text: str, compute: Callable[[], Any]) -> None:
        self._text, self._compute, self._values = text, compute, list[Any]()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python and pytest look for special methods
            raise AttributeError(name)
        found = Placeholder(f"{self._text}.{name}", lambda: _attribute(self.resolve(), name))
        return found.resolve() if _running else found

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if not _running and len(arguments) == 1 and isinstance(arguments[0], FunctionType):
            raise TypeError(f"{self._text} is imported lazily: it cannot decorate a function")
        result = Placeholder(f"{self._text}(...)",
                             lambda: self.resolve()(*map(_resolved, arguments), **_resolved(named)))
        return result.resolve() if _running else result

    def __mro_entries__(self, bases: tuple[Any, ...]) -> Any:
        raise TypeError(f"{self._text} is imported lazily: define the class in a function")

    def __repr__(self) -> str:
        return f"<{self._text}, not yet imported>"

    def resolve(self) -> Any:
        if not self._values:
            self._values.append(self._compute())
        return self._values[0]


@contextmanager
def lazy_imports(namespace: dict[str, Any]) -> Iterator[None]:
    """Let the import statements in the block bind placeholders. namespace: `globals()` of the module."""
    original = builtins.__import__
    _waiting[namespace["__name__"]] = namespace

    def delay(name: str, globals_: Any = None, locals_: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        if globals_ is not namespace:
            return original(name, globals_, locals_, fromlist, level)
        bound = name if fromlist else name.partition(".")[0]
        return Placeholder(bound, lambda: importlib.import_module(name) and sys.modules[bound])

    builtins.__import__ = delay
    try:
        yield
    finally:
        builtins.__import__ = original


def resolve(module: ModuleType, parameters: dict[str, Any]) -> None:
    """Replace the placeholders in a test's parameters and in all globals, if the module uses any."""
    _running[:] = [True]
    if module.__name__ not in _resolved_modules and _uses_placeholders(module):
        waiting = [*_waiting.values(), vars(module)]
        _waiting.clear()
        for namespace in waiting:
            namespace.update({name: _resolved(value) for name, value in namespace.items()
                              if not name.startswith("__") and _contains(value)})
            for function in filter(inspect.isfunction, namespace.values()):
                function.__defaults__ = _resolved(function.__defaults__)
                function.__kwdefaults__ = _resolved(function.__kwdefaults__)
    _resolved_modules.add(module.__name__)
    parameters.update({name: _resolved(value) for name, value in parameters.items() if _contains(value)})


def _uses_placeholders(module: ModuleType) -> bool:
    if module.__name__ in _waiting or any(_contains(value) for name, value in vars(module).items() if name[:2] != "__"):
        return True
    names = (getattr(value, "__name__" if isinstance(value, ModuleType) else "__module__", "")
             for value in vars(module).values())
    return bool(_waiting) and not _waiting.keys().isdisjoint(name for name in names if isinstance(name, str))


def _attribute(owner: Any, name: str) -> Any:
    """An attribute, or a submodule that is not imported yet."""
    if isinstance(owner, ModuleType) and not hasattr(owner, name):
        return importlib.import_module(f"{owner.__name__}.{name}")
    return getattr(owner, name)


def _contains(value: Any) -> bool:
    if type(value) in (list, tuple):
        return any(map(_contains, value))
    return any(map(_contains, value.values())) if type(value) is dict else isinstance(value, Placeholder)


def _resolved(value: Any) -> Any:
    if isinstance(value, Placeholder):
        return value.resolve()
    if type(value) in (list, tuple):
        return type(value)(map(_resolved, value))
    return {key: _resolved(one) for key, one in value.items()} if type(value) is dict else value
