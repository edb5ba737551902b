"""SharedSection: a variable that all processes which load a DLL share.

A DLL may mark a section of its image as shared (IMAGE_SCN_MEM_SHARED). Windows
then maps that section once for all processes, so a variable in it is the same
memory everywhere, with no name to agree on but the path of the DLL:

    with SharedSection.load() as section:       # the DLL that winipc brings
        section.write(b"hello")

The memory is there while any process has the DLL loaded, and starts anew with
its initial values after the last one has let go. It belongs to the *file*: a
copy of the DLL is other memory. `winipc.pe.build_section_dll` writes such a
DLL with variables of your own, without a compiler.

Security: a shared section has no access control of its own. Every process that
can read the DLL file can load it, and then read *and write* the variables: other
users, other sessions, services and sandboxed programs. So nothing secret belongs
there, and whatever is read from it (sizes, offsets, indices, text) is input from
a stranger and wants checking, each time, on a copy. Code that runs with more
rights than those who may load the DLL should not use one. Prefer a
`SharedMapping` unless a program that exists already expects the DLL: a mapping
has a security descriptor (`security=`), a name that can be private to the
session, a size chosen at run time, and an exclusive `create`. Keep the DLL where
only administrators may write if others load it: whoever can replace the file
runs code in each process that loads it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from winipc import _core
from winipc._core import SectionError
from winipc.base.holders import Held
from winipc.base.shown import Shown
from winipc.base.winerror import (
    ERROR_BAD_EXE_FORMAT,
    ERROR_MOD_NOT_FOUND,
    ERROR_PROC_NOT_FOUND,
)
from winipc.errors import add_hint
from winipc.memory.atomic import Atomic
from winipc.pe import PEImage, SectionFlags, SectionVariable, inspect_dll

__all__ = ["SectionError", "SharedSection"]

BUNDLED_DLL = Path(_core.__file__).with_name("shared_section.dll")


class SharedSection(Held, _core.SharedSection, Shown):
    """A variable in a shared section of a DLL, as memory.

    It has the buffer protocol (memoryview, NumPy, struct, ctypes), items and
    slices, `read`, `read_into`, `write`, numbers by `get` and `set`, and `atomic` for
    interlocked operations. Any thread may use it, and the GIL protects nothing:
    other processes write the same bytes at the same time.

    Win32: LoadLibraryExW, GetProcAddress, FreeLibrary.
    """

    __slots__ = ("__weakref__",)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        symbol: str = "MySharedData",
        size: int | None = None,
    ) -> Self:
        """Load a DLL and take one of its exported variables.

        `path` is the DLL, by default the one that winipc brings; a relative
        path counts from the current folder, and no other folder is searched.
        `symbol` is the export. `size` is in bytes, by default all up to the
        next export or the end of the section.

        The DLL's own initialisation code runs, as with any LoadLibrary: load
        only files that you trust.

        Raises `FileNotFoundError` (winerror 2 or 3: no such file),
        `OSError` (winerror 127: no such symbol; 193: not a DLL for this kind of
        process; 126: a DLL that it needs is missing), and `SectionError`, a
        `ValueError`, when the variable is not in shared memory: the section
        lacks the shared flag, the symbol is a function or a forwarder, or the
        size leaves the section.

        Win32: LoadLibraryExW, GetProcAddress.
        """
        full = os.path.abspath(os.fspath(path if path is not None else BUNDLED_DLL))
        if not os.path.splitext(full)[1]:
            # LoadLibrary appends ".dll" to a name without a dot.
            full += "."
        try:
            return cls._load(full, symbol, size)
        except OSError as error:
            hint = _hint(error, full, symbol)
            if hint:
                add_hint(error, hint)
            raise

    def variable(self, symbol: str, size: int | None = None) -> Self:
        """Another variable of the same DLL, as an object of its own.

        Raises as `load` does.

        Win32: LoadLibraryExW, GetProcAddress.
        """
        return type(self).load(self.path, symbol, size)

    @property
    def flags(self) -> SectionFlags:
        """The characteristics of the section, from the loaded image."""
        return SectionFlags(self._flags)

    @property
    def offset(self) -> int:
        """Where in its section the variable starts."""
        return self._rva - self._section_rva

    @property
    def variables(self) -> Mapping[str, SectionVariable]:
        """All named data exports that lie in shared sections, by their address.

        Raises `ValueError` when closed.
        """
        image = PEImage.from_raw(self._image())
        return MappingProxyType({item.name: item for item in image.shared_variables})

    def atomic(self, offset: int = 0, format: str = "q") -> Atomic:
        """The number at `offset` for interlocked operations.

        It keeps the section from being closed until its `release()`. Raises
        `ValueError` when misaligned or out of range.
        """
        return Atomic(self, offset, format)


def _hint(error: OSError, path: str, symbol: str) -> str | None:
    """What to look at when Windows refuses a DLL without saying why."""
    if error.winerror == ERROR_MOD_NOT_FOUND:
        return "the file is there, so a DLL that it needs is missing"
    if error.winerror == ERROR_BAD_EXE_FORMAT:
        try:
            image = inspect_dll(path)
        except (OSError, ValueError) as why:
            return f"it is not a sound DLL: {why}"
        import platform

        here = platform.machine().lower()
        return f"it is for {image.machine}, and this process is {here}"
    if error.winerror == ERROR_PROC_NOT_FOUND:
        with contextlib.suppress(OSError, ValueError):
            names = [item.name for item in inspect_dll(path).shared_variables]
            return (
                f"its shared variables are {names}"
                if names
                else "it shares no variable"
            )
    return None
