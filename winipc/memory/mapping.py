"""Named, unnamed and file-backed shared memory.

A `SharedMapping` is a section of Windows (CreateFileMapping) and a view of it.
Processes that open the same name, or hold a duplicate of the same handle, share
its bytes. Reads and writes are plain copies, and two processes may make them at the
same time: take a mutex, an event, an `Atomic` or a `Snapshot` to order them.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from winipc import _core
from winipc.base.holders import Held
from winipc.base.shown import Shown
from winipc.base.transfer import Travels, travels_by_handle
from winipc.base.winerror import (
    ERROR_ACCESS_DENIED,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_HANDLE,
    ERROR_PATH_NOT_FOUND,
    ERROR_PRIVILEGE_NOT_HELD,
)
from winipc.errors import add_hint, hint_taken
from winipc.memory.record import Structured

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from winipc.memory.layout import Layout
    from winipc.process.process import RemoteProcess

__all__ = ["Access", "MappingView", "SharedMapping", "large_pages_privilege"]

#: What a mapping is opened for. "read" never asks for write rights. "copy" is writable,
#: and writes stay in this process (PAGE_WRITECOPY).
Access = Literal["read", "readwrite", "copy"]

#: Their numbers in C.
_ACCESS: dict[Access, int] = {"read": 1, "readwrite": 2, "copy": 3}

#: What to check if Windows is vague about a name.
_HINTS = {
    ERROR_PRIVILEGE_NOT_HELD: "large pages need the privilege 'Lock pages in memory', "
    "which an administrator gives to a user, and winipc.large_pages_privilege(), which "
    "enables it",
    ERROR_PATH_NOT_FOUND: "a backslash ends a namespace, and only Local\\, Global\\ "
    "and Session\\<number>\\ exist",
    ERROR_INVALID_HANDLE: "the name is in use by another kind of object (an event, a "
    "mutex, ...): all kinds share one set of names",
    ERROR_ACCESS_DENIED: "it exists and does not let this process in: its creator's "
    "user, elevation or integrity level may differ, or it is read-only (access='read' "
    "asks for less)",
}

#: WINIPC_MAPPING_MAGIC: the first bytes of a header.
HEADER_MAGIC = b"WPIM"
#: The start of a header: magic, version, its own size, the size of what follows.
HEADER_START = struct.Struct("<4sHHQ")
_LEAST_HEADER = 64

_Mapping = TypeVar("_Mapping", bound="SharedMapping")

#: The most bytes of a description: a header has 64 bytes more, and 16 bits for its
#: size.
_MOST_DESCRIBED = 65535 - 2 * 64

#: A missing name is looked for in sessions below this number.
_SESSIONS = 8


class _TypedMemory(Structured, Shown):
    """Arrays and structures laid over the memory of a mapping or of a view."""

    __slots__ = ()

    @property
    def access(self: Any) -> Access:
        """'read', 'readwrite' or 'copy' (writes stay in this process)."""
        return next(name for name, mode in _ACCESS.items() if mode == self._mode)

    def __repr__(self: Any) -> str:
        state = "closed"
        if not self.closed:
            exact = "" if self.size_is_exact else " (whole pages)"
            state = f"size={self.size}{exact} access={self.access!r}"
        return f"<{type(self).__name__} {self.name!r} {state}>"

    def array(
        self: Any,
        dtype: Any = "u8",
        shape: int | tuple[int, ...] | None = None,
        offset: int = 0,
    ) -> Any:
        """Return a NumPy array over the memory itself, without a copy.

        ::

            samples = mapping.array("f32", (100, 10))
            samples[0, 0] = 1.5
            print(mapping.get(0, "f32"))  # 1.5
            del samples  # as long as it lives, the mapping cannot be closed

        The array keeps the memory, also after a `with`; until the array, and all that
        was sliced from it, is deleted, `close` raises BufferError. With access "read"
        it is read-only. (`numpy.frombuffer` is as safe; `numpy.ndarray(buffer=...)` is
        not: it does not keep the memory.)

        Args:
            dtype: A type such as "i32", as `get` takes it, or else a dtype of NumPy:
                "u8" is one byte, and NumPy's "f8" is "f64".
            shape: None for one dimension, as long as the memory allows.
            offset: The offset of the first element in bytes.

        Raises:
            ValueError: The array does not fit in the memory after `offset`, or a
                dimension is negative.
            TypeError: The elements are Python objects.
        """
        # Imported by name, as type checkers may not have NumPy.
        import importlib

        np = importlib.import_module("numpy")

        if isinstance(dtype, str):
            with contextlib.suppress(ValueError):
                dtype = f"<{_core._number_code(dtype)}"
        kind = np.dtype(dtype)
        if kind.hasobject:
            raise TypeError("Python objects cannot live in shared memory")
        size = len(self)
        if not 0 <= offset <= size:
            raise ValueError(f"offset {offset} is not in the {size} bytes")
        room = (size - offset) // kind.itemsize if kind.itemsize else 0
        if shape is None:
            shape = (room,)
        shape = shape if isinstance(shape, tuple) else (shape,)
        count = math.prod(shape)
        if min(shape, default=0) < 0:
            raise ValueError(f"negative dimension in {shape}")
        if count > room:
            raise ValueError(
                f"{count} elements of {kind.itemsize} bytes at offset {offset} do "
                f"not fit in {size} bytes"
            )
        if count == 0:
            return np.empty(shape, kind)
        # Not np.ndarray(buffer=self), which releases the buffer at once: after `close`,
        # the array would be on unmapped memory.
        return np.frombuffer(self, kind, count, offset).reshape(shape)


class MappingView(Held, _core.MappingView, _TypedMemory):
    """Another view of a mapping, from `SharedMapping.view()`.

    It is used like the mapping. As long as it is open, the mapping's `close` raises
    BufferError.
    """

    __slots__ = ("__weakref__",)


class SharedMapping(Held, _core.SharedMapping, _TypedMemory, Travels):
    """Memory that several processes share.

    ::

        with winipc.SharedMapping.create("my-app.state", 4096) as mapping:
            mapping.set(0, "i32", 42)

            # in another program
            with winipc.SharedMapping.open("my-app.state") as other:
                print(other.get(0, "i32"))  # 42

    `create`, `open`, `wait_for` and `from_handle` make it. `close`, or the end of a
    `with`, closes it. The end of a `with` leaves the memory to memoryviews, arrays and
    views of it; the last one frees it. `memoryview(mapping)`, NumPy, `struct` and
    ctypes use the memory itself. Indexing, slicing, `read` and `write` copy, and check
    the bounds. Any thread may use it; two threads that write the same bytes need a
    lock, as two processes do.

    Windows may fail to read a page of a mapped file: a network drive is gone, or the
    file was cut short. The methods that copy then raise OSError (winerror 999, or 998).
    A memoryview or an array cannot: touching such a page through one ends the process.

    Win32: CreateFileMappingW, OpenFileMappingW, MapViewOfFile, UnmapViewOfFile.
    """

    __slots__ = ("__weakref__",)

    @classmethod
    def create(
        cls,
        name: str | None,
        size: int | None = None,
        *,
        file: str | os.PathLike[str] | int | None = None,
        access: Access = "readwrite",
        offset: int = 0,
        exist_ok: bool = False,
        security: str | None = None,
        reserve: bool = False,
        large_pages: bool = False,
        header: Any = False,
    ) -> Self:
        """Create a mapping of `size` bytes, and map it.

        ::

            with winipc.SharedMapping.create("my-app.state", 4096) as mapping:
                mapping[0:5] = b"hello"
                print(mapping.read(5), mapping.size)  # b'hello' 4096

            with winipc.SharedMapping.create(None, 4096, file="state.bin") as mapping:
                mapping.write(b"stays in the file")

        Args:
            name: The name that other processes open; with ``Global\\`` in front, in
                all sessions. None for no name.
            size: The size in bytes. None takes all of a file after `offset`, or the
                size of the layout in `header`.
            file: A path, or the handle of an open file, whose contents are the memory.
                With access "readwrite" the file is created and extended as needed.
            access: "readwrite", "read", or "copy" for private changes.
            offset: The offset of the first byte in the file or section; any number.
            exist_ok: If the name is taken, open that mapping; `created` tells. With
                `file`, only if it is a mapping of that file.
            security: None for the process's default, an SDDL string, or a word:
                "service+users" (all rights for the system, administrators and the
                owner; users who are logged on may read, write and wait),
                "service+readers" (they may read and wait), or "owner" (this user
                becomes the owner, which servers such as Pageant check).
            reserve: Only reserve addresses; `commit` makes bytes usable later.
            large_pages: Use large pages; the size is rounded up to whole ones.
            header: True puts a header in front, which tells openers the exact size and
                the creator (`include/winipc.h`). A `winipc.Layout`, its short text form
                or a ctypes Structure also tells them the structure; opening with a
                different one is a LayoutError.

        Raises:
            FileExistsError: The name is taken (winerror 183), or is that of a mapping
                without this file. A file that this call made is removed again.
            PermissionError: Rights are missing (winerror 5).
            OSError: Another kind of object has the name (winerror 6), or the privilege
                for large pages is missing (winerror 1314).
            ValueError: The range is not inside the file or the existing mapping, or
                two options exclude each other.

        Win32: CreateFileW, CreateFileMappingW, MapViewOfFile.
        """
        layout = None
        if not isinstance(header, int):
            from winipc.memory.layout import layout_of

            layout = layout_of(header)
            size = layout.size if size is None else size
            if size < layout.size:
                raise ValueError(f"{layout.name} has {layout.size} bytes, not {size}")
        if header or reserve or large_pages:
            _check_options(file, access, offset, reserve, large_pages, header)
        # isinstance with an abstract class is slow, and most mappings have no file.
        if file is not None and isinstance(file, os.PathLike):
            file = os.fspath(file)
        try:
            made = cls._create(
                name,
                size,
                _mode(access),
                file,
                offset,
                exist_ok,
                security,
                reserve,
                large_pages,
                _told(layout) if header else None,
            )
        except OSError as error:
            _explain(error, name, creating=True)
            if not exist_ok:
                hint_taken(error)
            raise
        except TypeError as error:
            _explain_order(error, name, size)
            raise
        _check_layout(made, layout)
        if name is None:
            travels_by_handle(cls)
        return made

    @classmethod
    def open(
        cls,
        name: str,
        *,
        access: Access = "readwrite",
        offset: int = 0,
        size: int | None = None,
        header: Any = False,
    ) -> Self:
        """Open an existing mapping, and map it.

        ::

            with winipc.SharedMapping.open("my-app.state", access="read") as mapping:
                print(mapping.get(0, "i32"), mapping.size_is_exact)  # 42 False

        Args:
            name: The name that it was created with.
            access: "read" asks for the right to read only.
            offset: The offset of the first byte to map; any number.
            size: The size in bytes. None maps all: `size` is then a number of whole
                pages, which may be more than the creator asked for, and `size_is_exact`
                is False.
            header: True if it was created with a header: `size`, `owner_pid` and
                `layout_version` come from there. A size that does not fit the mapping
                is an error. A layout must be the creator's, if the creator gave one.

        Raises:
            FileNotFoundError: There is no such name in this session (winerror 2).
            PermissionError: Rights are missing (winerror 5).
            OSError: Another kind of object has the name (winerror 6).
            TimeoutError: The header is still 0 after half a second (winerror 1460).
            ValueError: The range is not inside or not committed (see `commit`), or
                there is no valid header.
            LayoutError: The creator has a different layout; the message names the first
                field that differs.

        Win32: OpenFileMappingW, MapViewOfFile, VirtualQuery.
        """
        try:
            mapping = cls._open(name, _mode(access), offset, size, bool(header))
        except OSError as error:
            _explain(error, name, creating=False)
            raise
        return _check_layout(mapping, header)

    @classmethod
    def wait_for(
        cls,
        name: str,
        timeout: float | None = None,
        *,
        access: Access = "readwrite",
        offset: int = 0,
        size: int | None = None,
        header: Any = False,
    ) -> Self:
        """Wait until a process creates `name`, and open it.

        ::

            with winipc.SharedMapping.wait_for("my-app.state", timeout=10) as mapping:
                print(mapping.get(0, "i32"))  # 42

        Windows does not notify of new names, so this polls: at first every
        millisecond, later every 50.

        Args:
            timeout: Seconds; None waits forever.

        Raises:
            TimeoutError: The name did not appear (winerror 1460).
            OSError: What `open` raises, except for a missing name; a name that is not
                valid is a FileNotFoundError (winerror 3).

        Win32: OpenFileMappingW, MapViewOfFile.
        """
        from winipc.base.appearing import wait_until_made

        try:
            # Not `open`, which would look for a missing name in other sessions each
            # time.
            mapping = wait_until_made(
                lambda: cls._open(name, _mode(access), offset, size, bool(header)),
                name,
                timeout,
            )
        except TimeoutError as error:
            _explain_missing(error, name)
            raise
        except OSError as error:
            _explain(error, name, creating=False)
            raise
        return _check_layout(mapping, header)

    @classmethod
    def wait(cls, name: str, timeout: float | None = None, **options: Any) -> Self:
        """Deprecated: use `wait_for`. The next version will not have it."""
        import warnings

        told = f"{cls.__name__}.wait is now called {cls.__name__}.wait_for"
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        return cls.wait_for(name, timeout, **options)

    @classmethod
    def from_handle(
        cls,
        handle: int,
        *,
        access: Access = "readwrite",
        offset: int = 0,
        size: int | None = None,
        name: str | None = None,
        header: Any = False,
    ) -> Self:
        """Map a section by a handle of this process, which then belongs to the mapping.

        The handle comes from `duplicate_to`, from a parent process or from other
        code. `close` closes it. If this raises, the caller still owns the handle.

        Args:
            name: A name for error messages; it opens nothing.

        Raises:
            OSError: There is no such handle (winerror 6), or it lacks the rights (5).
            ValueError: The range is not inside the mapping.

        Win32: MapViewOfFile, VirtualQuery.
        """
        adopted = cls._from_handle(
            handle, _mode(access), offset, size, name, bool(header)
        )
        _check_layout(adopted, header)
        if name is None:
            travels_by_handle(cls)
        return adopted

    def view(
        self, offset: int = 0, size: int | None = None, *, access: Access | None = None
    ) -> MappingView:
        """Map another part of the same mapping, at another address.

        Args:
            offset: The offset from the start of the whole mapping; any number.
            size: The size in bytes; None for all that follow.
            access: The access; not more than this mapping has.

        Raises:
            ValueError: The range is not inside the mapping.
            OSError: The mapping lacks this access (winerror 5).

        Win32: MapViewOfFile.
        """
        mode = self._mode if access is None else _mode(access)
        return self._view(MappingView, mode, offset, size)

    def duplicate_to(
        self, process: int | RemoteProcess, *, access: Access | None = None
    ) -> int:
        """Make a handle for another process, and return its value there.

        Send that number to the process, which calls `from_handle(number)`. The memory
        lives as long as any process has a handle or a view.

        Args:
            process: A process id, or a `RemoteProcess`.
            access: "read" for a handle that cannot be mapped for writing.

        Raises:
            ProcessLookupError: There is no such process (winerror 87).
            PermissionError: This process may not open the other one (winerror 5).

        Win32: OpenProcess, DuplicateHandle.
        """
        pid = process if isinstance(process, int) else process.pid
        return self._duplicate_to(pid, self._mode if access is None else _mode(access))

    def _how(self) -> dict[str, Any]:
        """The arguments with which `open` and `from_handle` map the same bytes."""
        return {
            "access": self.access,
            "offset": self.offset,
            "size": self.size if self.size_is_exact and self.size else None,
            "header": self.layout_version is not None,
        }


def large_pages_privilege() -> AbstractContextManager[None]:
    """During a `with`, this process may create mappings of large pages.

    The privilege holds for the whole process, so winipc never enables it on its own. An
    administrator gives it to a user ('Lock pages in memory', SeLockMemoryPrivilege); it
    counts from the next logon.

    Raises:
        PermissionError: This user does not have the privilege (winerror 1300).

    Win32: AdjustTokenPrivileges
    """
    from winipc.base.privilege import privilege

    return privilege("SeLockMemoryPrivilege")


def sizes_in_header(start: bytes | bytearray) -> tuple[int, int]:
    """The size of the header that begins so, and of what follows; 0, 0 if none does."""
    magic, version, header, size = HEADER_START.unpack(start)
    if (magic, version) != (HEADER_MAGIC, 1) or header < _LEAST_HEADER:
        return 0, 0
    return header, size


def check_no_header(memory: Any, offset: int) -> None:
    """Raise ValueError if a mapping was opened without the header that is at `offset`.

    The memory may be of any kind.
    """
    if getattr(memory, "size_is_exact", True) or memory.offset:
        return
    header = 0
    with contextlib.suppress(OSError):  # the page of a file cannot be read
        header, _ = sizes_in_header(memory[: HEADER_START.size])
    if 0 <= offset < header:
        told = "begins with a winipc header: open it with header=True"
        raise ValueError(f"{memory!r} {told}")


def _told(layout: Layout | None) -> bytes:
    """What a header tells about a layout: its fingerprint and its description."""
    if layout is None:
        return b""
    described = layout.description.encode()
    if len(described) > _MOST_DESCRIBED:
        described = b""
    return layout.fingerprint.to_bytes(8, "little") + described


def _check_layout(mapping: _Mapping, layout: Any) -> _Mapping:
    """If the creator has another layout, close the mapping and raise LayoutError."""
    found = mapping._described
    if found is None or layout is None or isinstance(layout, int):
        return mapping
    from winipc.memory.layout import LayoutError, layout_of

    try:
        layout = layout_of(layout)
        if found[32:40] != layout.fingerprint.to_bytes(8, "little"):
            raise LayoutError(
                f"{mapping.name!r} has another layout than {layout.name}: "
                + layout.first_difference(description_in(mapping))
            )
    except BaseException:
        # The close of a LockedMapping needs what it has only later.
        _core.SharedMapping.close(mapping)
        raise
    return mapping


def description_in(mapping: SharedMapping) -> str:
    """The `Layout.description` in the header of a mapping that existed, or ""."""
    return (mapping._described or b"")[64:].rstrip(b"\0").decode("utf-8", "replace")


def _mode(access: Access) -> int:
    if access not in _ACCESS:
        raise ValueError(
            f"access must be 'read', 'readwrite' or 'copy', not {access!r}"
        )
    return _ACCESS[access]


def _check_options(
    file: object,
    access: str,
    offset: int,
    reserve: bool,
    large_pages: bool,
    header: Any,
) -> None:
    """Raise ValueError for options that exclude each other."""
    if file is not None:
        option = "header" if header else "reserve" if reserve else "large_pages"
        raise ValueError(f"{option} is for memory without a file")
    if reserve and (header or large_pages):
        raise ValueError("reserve does not go together with header or large_pages")
    if header and access != "readwrite":
        raise ValueError("only access='readwrite' can write a header")
    if header and offset != 0:
        raise ValueError("create() with a header maps all of it: offset must be 0")


def _explain_order(error: TypeError, name: object, size: object) -> None:
    """Tell what was meant by a name and a size of wrong types."""
    if isinstance(name, int):
        add_hint(error, "the name comes first, then the size in bytes")
    elif isinstance(size, (_core.Layout, type, str)):
        add_hint(
            error,
            "the size is a number of bytes, such as LAYOUT.size; SharedMapping takes "
            "header=LAYOUT instead, which also tells openers the structure",
        )


def _explain(error: OSError, name: str | None, *, creating: bool) -> None:
    """Add a hint to an error of Windows that is known to be vague."""
    code = error.winerror
    if name is not None and error.filename != name:
        return  # the error is about the file
    if code == ERROR_FILE_NOT_FOUND and name is not None and not creating:
        _explain_missing(error, name)
    elif code == ERROR_ACCESS_DENIED and creating and f"{name}".startswith("Global\\"):
        add_hint(
            error,
            "creating in Global\\ needs the privilege 'Create global objects' "
            "(SeCreateGlobalPrivilege): services and administrators have it; a name "
            "that exists and does not let this user in gives the same error",
        )
    elif code in _HINTS and (name is not None or code == ERROR_PRIVILEGE_NOT_HELD):
        add_hint(error, _HINTS[code])


def _explain_missing(error: OSError, name: str) -> None:
    """Look for the name in other namespaces and sessions, and add a hint."""
    namespace, _, rest = name.rpartition("\\")
    found = []
    session = _core._process_facts(os.getpid())[1]
    if namespace == "Global":
        places = [("Local", f"session {session}, that of this process")]
    elif namespace in ("", "Local"):
        places = [("Global", "the Global namespace")]
        places += [
            (f"Session\\{number}", f"session {number} (this process is in {session})")
            for number in range(1, _SESSIONS)  # the names of session 0 are in Global
            if number != session
        ]
    else:
        return
    for prefix, what in places:
        full = f"{prefix}\\{rest}"
        try:
            _core.SharedMapping._open(full, _mode("read"), 0, None, False).close()
        except OSError as other:
            if other.winerror != ERROR_ACCESS_DENIED:
                continue
        found.append(f"{full} exists in {what}")
    if found:
        add_hint(error, "; ".join(found))
