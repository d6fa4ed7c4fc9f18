"""Modules that are loaded when their first attribute is read, not when they are imported.

diffusers and transformers import hundreds of modules that an engine never uses: all their other models, torch's
compiler, training. Each of these is most of a second at every start. A deferred module loads by itself as soon as
anything reads from it, so it is never missing: an import that this module does not expect only costs its time.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, ForwardRef, TypeVar, Union

_T = TypeVar("_T")


@dataclass(frozen=True)
class Deferral:
    """How one module is deferred.

    Attributes:
        bare: A package whose modules can be imported before the package itself, which only collects them. Otherwise
            the import of one of its modules loads the package first, as everywhere in Python.
        names: Classes and functions that other modules import by name and only call, or look for with `isinstance`.
            They stand in for the real ones, and load the module when they are called.
        marks: Decorators that note what they decorate for the module, and return it. Applied when it is loaded.
        homes: Of a bare package: which of its modules a name comes from. The package itself is not loaded for it.
        wraps: Decorators, with or without arguments, that change how a function behaves once the module is loaded.
    """

    bare: bool = False
    names: Collection[str] = ()
    marks: Collection[str] = ()
    wraps: Collection[str] = ()
    homes: Mapping[str, str] = field(default_factory=dict)


class _DeferredModule(ModuleType):
    """A module before it is loaded, and the same object afterwards."""

    def __getattr__(self, name: str) -> Any:
        state = _states.get(self.__name__)
        if state is None:
            return _read_loaded(self, name)
        if name == "__version__":
            return importlib.metadata.version(self.__name__)
        if name.startswith("__"):  # what importlib itself looks for
            raise AttributeError(name)
        if home := state.how.homes.get(name):
            return getattr(importlib.import_module(f"{self.__name__}.{home}"), name)
        if name in state.how.names:
            return DeferredName(self.__name__, name)
        if name in state.how.marks:
            return functools.partial(_mark, state, name)
        if name in state.how.wraps:
            return functools.partial(_wrap, self, name)
        if state.how.bare and PathFinder.find_spec(f"{self.__name__}.{name}", self.__path__):
            return importlib.import_module(f"{self.__name__}.{name}")
        state.load()
        return getattr(self, name)


def _read_loaded(module: ModuleType, name: str) -> Any:
    """An attribute of a loaded module; a package may have put another object into its place, as transformers does."""
    now = sys.modules.get(module.__name__, module)
    if now is module:
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
    return getattr(now, name)


class _State:
    """A module that waits to be loaded.

    Attributes:
        marked: What its marks have decorated, with the name of the mark.
    """

    def __init__(self, module: ModuleType, loader: Loader, how: Deferral) -> None:
        self.module, self.how = module, how
        self.marked: list[tuple[str, Any]] = []
        self._loader = loader
        self._lock = threading.RLock()

    def load(self) -> None:
        """Run the module's code, once. Another thread that reads from it waits. Raises what the import raises."""
        name = self.module.__name__
        package = _states.get(name.rpartition(".")[0])
        if package is not None and not package.how.bare:
            package.load()
        with self._lock:
            if _states.get(name) is not self:
                return
            del _states[name]
            spec = self.module.__spec__
            assert spec is not None
            spec.loader = self.module.__loader__ = self._loader
            self._loader.exec_module(self.module)
            for mark, target in self.marked:
                getattr(self.module, mark)(target)


_states: dict[str, _State] = {}  # of the modules that wait, by name, in the order of their imports


def _mark(state: _State, name: str, target: _T) -> _T:
    state.marked.append((name, target))
    return target


def _wrap(module: ModuleType, name: str, *args: Any, **keywords: Any) -> Any:
    """Decorate a function, the first argument; without one, return a decorator."""
    if args and callable(args[0]):
        return _late(module, args[0], lambda: getattr(module, name)(*args, **keywords))
    return lambda target: _late(module, target, lambda: getattr(module, name)(*args, **keywords)(target))


def _late(module: ModuleType, target: Callable[..., Any], decorate: Callable[[], Any]) -> Callable[..., Any]:
    """Call `target`; after the module was loaded, what `decorate` returns."""
    decorated = functools.cache(decorate)

    @functools.wraps(target)
    def call(*args: Any, **keywords: Any) -> Any:
        return (target if module.__name__ in _states else decorated())(*args, **keywords)

    return call


class DeferredName:
    """Stands in for a class or a function of a module that is not loaded. Loads the module as soon as it is used."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    @property
    def _is_loaded(self) -> bool:
        return self._module not in _states

    def _real(self) -> Any:
        if state := _states.get(self._module):
            state.load()
        return getattr(sys.modules[self._module], self._name)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._real()(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return self._is_loaded and isinstance(instance, self._real())  # before, it has no instances

    def __subclasscheck__(self, kind: type) -> bool:
        return self._is_loaded and issubclass(kind, self._real())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._real(),)

    def __or__(self, other: Any) -> Any:
        return Union[ForwardRef(self._name), other]  # noqa: UP007 - an annotation; | takes no ForwardRef

    def __ror__(self, other: Any) -> Any:
        return Union[other, ForwardRef(self._name)]  # noqa: UP007


class _Finder(MetaPathFinder):
    """Finds the modules to defer, and loads a package before one of its modules is imported."""

    def __init__(self) -> None:
        self.deferred: Mapping[str, Deferral] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        parent = _states.get(fullname.rpartition(".")[0])
        if parent is not None and not parent.how.bare and fullname not in self.deferred:
            parent.load()
        how = self.deferred.get(fullname)
        if how is None or fullname in sys.modules:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader, how)
        return spec


class _DeferringLoader(Loader):
    def __init__(self, loader: Loader, how: Deferral) -> None:
        self._loader, self._how = loader, how

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        _states[module.__name__] = _State(module, self._loader, self._how)


_finder = _Finder()


@contextmanager
def deferring(modules: Mapping[str, Deferral]) -> Iterator[None]:
    """Defer these modules where they are imported while this is open and were not imported before."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.deferred = modules
    try:
        yield
    finally:
        _finder.deferred = {}


def waiting() -> list[str]:
    """Names of the modules that were imported and are not loaded."""
    return list(_states)


def load_all() -> None:
    """Load the modules that wait, in the order of their imports."""
    for state in list(_states.values()):
        state.load()
