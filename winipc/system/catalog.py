"""Which named objects exist now, and which processes hold them.

The list is a snapshot: objects come and go while it is taken. It changes nothing and
asks for the least rights. Names and kinds come from the object manager's directories;
an object is opened only for its size; copies of other processes' handles are compared
and closed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from winipc import _core
from winipc.base.rows import Rows
from winipc.base.text import Words
from winipc.base.winerror import (
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_HANDLE,
    ERROR_PATH_NOT_FOUND,
)

__all__ = [
    "Holders",
    "NamedObject",
    "ObjectKind",
    "holders",
    "holders_of",
    "named_objects",
]


class ObjectKind(Words):
    """The kinds of objects that the catalogue lists."""

    #: Shared memory, for `SharedMapping.open`.
    MAPPING = "mapping"
    #: A lock, for `Mutex.open`.
    MUTEX = "mutex"
    #: An event, for `Event.open`.
    EVENT = "event"
    #: A semaphore, for `Semaphore.open`.
    SEMAPHORE = "semaphore"
    #: Windows' own word for a mapping, and the former name of this member.
    SECTION = MAPPING

    @classmethod
    def _missing_(cls, value: object) -> ObjectKind:
        return cls.MAPPING if value == "section" else super()._missing_(value)


#: The object manager's names of the kinds.
_TYPES = {
    ObjectKind.MAPPING: "Section",
    ObjectKind.MUTEX: "Mutant",
    ObjectKind.EVENT: "Event",
    ObjectKind.SEMAPHORE: "Semaphore",
}
_KINDS = {name: kind for kind, name in _TYPES.items()}

#: What makes a pattern more than a name. No name has a NUL, or so many characters.
_MAGIC = frozenset("*?[\0")
_LONGEST = 32_000
#: The object has gone, or the name is that of one of another type.
_NONE_THERE = (ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND, ERROR_INVALID_HANDLE)

#: QUERY_STATE, SYNCHRONIZE, READ_CONTROL: any of these gives a handle to compare.
_ANY_RIGHT = (0x1, 0x100000, 0x20000)

#: The most times that a directory is read until two readings agree.
_LOOKS = 5
#: Entries that tell whether it stayed the same; of so few, all are read.
_PROBES = 500


@dataclass(frozen=True, slots=True)
class NamedObject:
    """A named object that existed when the list was made."""

    #: The kind of the object.
    kind: ObjectKind
    #: The name for `open`: `Local\\x` in this session, `Global\\x` in all sessions.
    name: str
    #: The full name in the object manager.
    path: str
    #: The size in bytes of a mapping that could be opened; else None.
    size: int | None = None
    #: Why the object could not be opened, in Windows' words; else None.
    reason: str | None = None

    def _cells(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "size": self.size,
            "name": self.name,
            "note": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Holders:
    """The processes that have handles of an object."""

    #: Process ids, ascending; this process is included if it has a handle.
    pids: tuple[int, ...]
    #: The number of handles of each process, in the same order.
    handles: tuple[int, ...]
    #: Processes that have handles of this kind, and that this process may not inspect.
    unknown: tuple[int, ...]


class _HasHandle(Protocol):
    @property
    def handle(self) -> int: ...


def _session() -> int | None:
    return _core._process_facts(os.getpid())[1]


def _directories() -> dict[str, str]:
    """The directory for each prefix of names; the session's own is first."""
    session = _session()
    directories = {"Global\\": r"\BaseNamedObjects"}
    if session == 0:
        # Windows keeps the local names of session 0 among the global ones.
        return directories
    return {"Local\\": rf"\Sessions\{session}\BaseNamedObjects", **directories}


def _list(path: str) -> set[tuple[str, str]]:
    """The (name, type) of all objects in a directory, and perhaps of some just gone.

    The kernel walks the directory by position, so an object that goes meanwhile can
    hide another one, and all between their places move. So some positions are read
    again; if one of these has another object, all are, until nothing new is found.
    """
    look = _core._list_directory(path)
    seen = set(look)
    for _ in range(_LOOKS - 1):
        step = len(look) // _PROBES + 1
        again = _core._list_directory(path, step)
        if again == look[::step]:
            break
        look = again if step == 1 else _core._list_directory(path)
        if seen.issuperset(look):
            break
        seen.update(look)
    return seen


def named_objects(
    kind: ObjectKind | str | None = None, pattern: str | None = None
) -> Rows[NamedObject]:
    """List the named mappings, mutexes, events and semaphores of this session, by name.

    ::

        with winipc.SharedMapping.create("my-app.cache", 4096):
            for row in winipc.named_objects("mapping", "my-app.*"):
                print(row.name, row.size)  # Local\\my-app.cache 4096

    The list shows itself as a table. An object that this process may not open is listed
    with the `reason`.

    `kind` selects one of `ObjectKind`. `pattern` is a shell pattern (`*`, `?`, `[...]`,
    case matters) for the name, with or without its prefix.

    Raises:
        ValueError: The kind is unknown.
        OSError: The directory of names cannot be read.

    Win32: NtQueryDirectoryObject, NtOpenSection, NtOpenMutant, NtOpenEvent,
    NtOpenSemaphore, NtQuerySection
    """
    rows = []
    for row, handle in _look(kind, pattern):
        if handle is not None:
            _core._close_handle(handle)
        rows.append(row)
    return Rows(sorted(rows, key=_by_name))


def _held_objects(
    kind: ObjectKind | str | None, pattern: str | None
) -> list[tuple[NamedObject, Holders | None]]:
    """`named_objects` with the `holders` of each; each object is opened once."""
    with ExitStack() as stack:
        rows, handles = [], []
        for row, handle in _look(kind, pattern):
            rows.append(row)
            if handle is None:  # another right may be granted
                with suppress(OSError):
                    handle = _open(row)
            if handle is not None:
                stack.callback(_core._close_handle, handle)
            handles.append(handle)
        held = _holders_or_none(handles, [row.path for row in rows])
        found = zip(rows, held, strict=True)
        return sorted(found, key=lambda each: _by_name(each[0]))


def _by_name(row: NamedObject) -> str:
    return row.name


def _look(
    kind: ObjectKind | str | None, pattern: str | None
) -> Iterator[tuple[NamedObject, int | None]]:
    """Yield each object, with a handle that the caller closes, or None and a reason."""
    wanted = None if kind is None else ObjectKind(kind)
    for prefix, directory in _directories().items():
        for bare, type_name in _entries(prefix, directory, pattern):
            found = _KINDS.get(type_name)
            if found is None or (wanted is not None and found is not wanted):
                continue
            path = f"{directory}\\{bare}"
            size = reason = handle = None
            try:
                handle, size = _core._open_object(path, type_name, _ANY_RIGHT[0])
            except OSError as error:
                if error.winerror in _NONE_THERE:
                    continue
                reason = f"{error.strerror} (winerror {error.winerror})"
            yield NamedObject(found, prefix + bare, path, size, reason), handle


def _entries(
    prefix: str, directory: str, pattern: str | None
) -> Iterable[tuple[str, str]]:
    """The (name, type) of what a directory has, or may have, like the pattern.

    A pattern that is just a name is not searched for: the caller tries each type.
    """
    if pattern is None:
        return _list(directory)
    bare = pattern.removeprefix(prefix)
    if _MAGIC.isdisjoint(pattern) and len(bare) < _LONGEST:
        _core._list_directory(directory, _LONGEST)  # raises if it may not be read
        return [(bare, name) for name in _KINDS] if bare and "\\" not in bare else []
    return (
        (bare, name)
        for bare, name in _list(directory)
        if fnmatchcase(bare, pattern) or fnmatchcase(prefix + bare, pattern)
    )


def holders(target: str | NamedObject | _HasHandle) -> Holders:
    """Find the processes that have a handle of an object.

    ::

        import os

        with winipc.SharedMapping.create("my-app.cache", 4096):
            print(winipc.holders("my-app.cache").pids == (os.getpid(),))  # True

    `target` is a name for `open`, a row of `named_objects`, or an open object with a
    `handle` (this handle is not counted).

    Windows lists handles only. So a process that closed its handle, and keeps just a
    view of a mapping, is not found. Protected processes and those of other users are in
    `unknown` if they have handles of this kind and this process may not inspect them.

    Raises:
        FileNotFoundError: There is no such object (winerror 2).
        PermissionError: This process may not open it with any right (winerror 5).

    Win32: NtQuerySystemInformation, OpenProcess, DuplicateHandle, NtCompareObjects
    """
    with ExitStack() as stack:
        return _holders([_handle(target, stack)], [None])[0]


def holders_of(
    targets: Iterable[str | NamedObject | _HasHandle],
) -> list[Holders | None]:
    """`holders` of many objects, from one look at all processes.

    The results have the order of `targets`; None stands for an object that has gone, or
    that this process may not open.
    """
    with ExitStack() as stack:
        handles: list[int | None] = []
        paths: list[str | None] = []
        for target in targets:
            paths.append(target.path if isinstance(target, NamedObject) else None)
            try:
                handles.append(_handle(target, stack))
            except OSError:
                handles.append(None)
        return _holders_or_none(handles, paths)


def _holders_or_none(
    handles: list[int | None], paths: list[str | None]
) -> list[Holders | None]:
    each = zip(handles, paths, strict=True)
    opened = [(handle, path) for handle, path in each if handle is not None]
    found = iter(
        _holders([handle for handle, _ in opened], [path for _, path in opened])
    )
    return [None if handle is None else next(found) for handle in handles]


def _handle(target: str | NamedObject | _HasHandle, stack: ExitStack) -> int:
    """The target's own handle, or a new one that the stack closes."""
    if isinstance(target, str):
        target = _find(target)
    if not isinstance(target, NamedObject):
        return target.handle
    handle = _open(target)
    stack.callback(_core._close_handle, handle)
    return handle


def _holders(handles: list[int], paths: list[str | None]) -> list[Holders]:
    found = []
    for rows in _core._holders(handles, paths):
        rows.sort()
        known = [(pid, count) for pid, count, _ in rows if count]
        found.append(
            Holders(
                pids=tuple(pid for pid, _ in known),
                handles=tuple(count for _, count in known),
                unknown=tuple(pid for pid, _, error in rows if error),
            )
        )
    return found


def _open(row: NamedObject) -> int:
    """Open the object with the first right that is granted."""
    kind = _TYPES[row.kind]
    for access in _ANY_RIGHT[:-1]:
        with suppress(PermissionError):
            return _core._open_object(row.path, kind, access)[0]
    return _core._open_object(row.path, kind, _ANY_RIGHT[-1])[0]


def _find(name: str) -> NamedObject:
    """The object with this name; all kinds share one namespace."""
    local = next(iter(_directories()))
    prefix, slash, bare = name.rpartition("\\")
    known = {"local": local, "global": "Global\\", f"session\\{_session()}": local}
    place = known.get(prefix.lower()) if slash else local
    if place is None or not bare:
        raise ValueError(f"{name!r} is no name of an object in this session")
    if not _MAGIC.isdisjoint(bare):
        from glob import escape

        bare = escape(bare)
    for row in named_objects(pattern=place + bare):
        return row
    raise FileNotFoundError(0, "no object has this name", name, 2)
