"""Named objects that users and packages may add: tool formats, model families, attention backends and others.

Packages add objects by entry points, which a registry looks up when it is first used. An object is imported when
`Registry.get` first returns it.
"""

from __future__ import annotations

import difflib
import pkgutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class RegistryError(ValueError):
    """The error for an unknown name, a name that is taken, or an object that cannot be imported."""


@dataclass(frozen=True)
class _Deferred:
    """An object that is imported on first use; `origin` names the package for errors."""

    origin: str
    load: Callable[[], Any]


class Registry(Generic[T]):
    """A thread-safe collection of objects of one kind, by name.

    Iteration yields names, the latest first: names added by `register`, then those of packages, then built-in ones.
    Every method raises RegistryError if an installed package offers a name that is taken.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str] = MappingProxyType({})) -> None:
        """Creates a registry without importing any object.

        Args:
            kind: the kind of object as error messages name it, such as "tool format".
            group: the entry-point group in which packages offer objects.
            builtin: jaxchat's own objects by name, as `module:attribute`. Each is imported on first use.
        """
        self.kind = kind
        self.group = group
        self._entries: dict[str, T | _Deferred] = {
            name: _Deferred("jaxchat", partial(pkgutil.resolve_name, path)) for name, path in builtin.items()
        }
        self._asked_packages = False
        self._lock = threading.RLock()

    def register(self, name: str, value: T, *, replace: bool = False) -> None:
        """Adds an object.

        Args:
            name: the name that configurations use.
            value: the object.
            replace: whether to replace an earlier object of that name.

        Raises:
            RegistryError: the name is taken and `replace` is false.
        """
        with self._lock:
            self._ask_packages()
            if name in self._entries and not replace:
                raise RegistryError(f"{self.kind} {name!r} is registered already; replace=True replaces it")
            self._entries.pop(name, None)
            self._entries[name] = value

    def get(self, name: str) -> T:
        """Returns the object of a name, imported if necessary.

        Raises:
            RegistryError: the name is unknown (the message lists the known names), or its object cannot be imported.
        """
        self._ask_packages()
        entry = self._entries.get(name)
        if entry is None:
            raise RegistryError(f"unknown {self.kind} {name!r}{self._nearest(name)}; known: {', '.join(self.names())}")
        if not isinstance(entry, _Deferred):
            return entry
        value = self._load(name, entry)
        with self._lock:
            if self._entries.get(name) is entry:
                self._entries[name] = value
        return value

    def names(self) -> tuple[str, ...]:
        """Returns all names, sorted."""
        self._ask_packages()
        return tuple(sorted(self._entries))

    def items(self) -> Iterator[tuple[str, T]]:
        """Yields names and objects, the latest name first. Raises RegistryError if an object cannot be imported."""
        for name in self:
            yield name, self.get(name)

    def __iter__(self) -> Iterator[str]:
        self._ask_packages()
        return iter([*reversed(self._entries)])

    def __contains__(self, name: object) -> bool:
        self._ask_packages()
        return name in self._entries

    def _ask_packages(self) -> None:
        """Adds the objects of installed packages, once.

        Raises RegistryError if a package offers a name that is taken.
        """
        with self._lock:
            if self._asked_packages:
                return
            offered: dict[str, T | _Deferred] = {}
            for point in entry_points(group=self.group):
                origin = point.dist.name if point.dist else point.value
                other = offered.get(point.name) or self._entries.get(point.name)
                if other is not None:
                    by = other.origin if isinstance(other, _Deferred) else "this program"
                    raise RegistryError(f"{self.kind} {point.name!r} of package {origin} is registered by {by} already")
                offered[point.name] = _Deferred(origin, point.load)
            self._entries |= offered
            self._asked_packages = True

    def _load(self, name: str, entry: _Deferred) -> T:
        try:
            value: T = entry.load()
        except (ImportError, AttributeError) as error:
            message = f"{self.kind} {name!r} of package {entry.origin} cannot be imported ({error})"
            raise RegistryError(message) from error
        return value

    def _nearest(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._entries, n=1)
        return f", did you mean {near[0]!r}?" if near else ""
