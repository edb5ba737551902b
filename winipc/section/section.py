"""SharedSection: a variable that all processes which load a DLL share.

A DLL may mark a section of its image as shared (IMAGE_SCN_MEM_SHARED). All processes
that load the DLL then have the same memory there. They need no name, only the path of
the DLL::

    with winipc.SharedSection.load() as section:  # the DLL that winipc brings
        section.write(b"hello")
        print(section.read(5))  # b'hello'

The memory lives while any process has the DLL loaded; after that, the next process gets
the initial values again. A copy of the file has memory of its own.
`winipc.pe.build_section_dll` writes such a DLL with your variables, without a compiler.

Security: every process that can read the DLL file can load it, and then read *and
write* the variables. Prefer a `SharedMapping`, unless an existing program expects the
DLL (docs/shared-section.md says more).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, Self, TypeAlias
from weakref import WeakValueDictionary

from winipc import _core
from winipc.base.holders import Held
from winipc.base.shown import Shown
from winipc.base.winerror import (
    ERROR_BAD_EXE_FORMAT,
    ERROR_MOD_NOT_FOUND,
    ERROR_PROC_NOT_FOUND,
)
from winipc.errors import add_hint
from winipc.memory.record import Structured
from winipc.pe import (
    CODE,
    MACHINE,
    ImageReader,
    PESection,
    SectionFlags,
    SectionVariable,
    inspect_dll,
)

__all__ = ["SectionError", "SharedSection"]

BUNDLED_DLL = Path(_core.__file__).with_name("shared_section.dll")
_TOUCH = 1 << 16  # bytes of the file to read at once


class SectionError(ValueError):
    """A DLL whose variable is not in shared memory.

    Its section lacks the shared flag, the symbol is a function or a forwarder, the
    size leaves the section, or the image is damaged.
    """


#: A variable's place in the image, its bytes up to the next export, and its section.
_Found: TypeAlias = tuple[int, int, PESection]


class SharedSection(Held, _core.SharedSection, Structured, Shown):
    """A variable in a shared section of a DLL, as memory.

    It has the buffer protocol (memoryview, NumPy, struct, ctypes), items and
    slices, `read`, `read_into`, `write`, numbers by `get` and `set`, and `atomic` for
    interlocked operations. Any thread may use it. The GIL does not protect its bytes
    from other processes.

    Win32: LoadLibraryExW, GetProcAddress, FreeLibrary.
    """

    __slots__ = ("__weakref__", "_finds", "_section", "offset", "path", "symbol")

    #: The full path of the DLL.
    path: str
    #: The name of the variable.
    symbol: str
    #: The offset of the variable in its section.
    offset: int
    _section: PESection
    #: What was found for each symbol, by all objects that have the same DLL open.
    _finds: dict[str, _Found]

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] | None = None,
        symbol: str = "MySharedData",
        size: int | None = None,
    ) -> Self:
        """Load a DLL and take one of its exported variables.

        `path` is the DLL, by default the one that winipc brings. A relative path is
        relative to the current folder; no other folder is searched. `symbol` is the
        export. `size` is in bytes; by default, it reaches to the next export or the end
        of the section.

        The DLL's own initialisation code runs, as with any LoadLibrary: load only files
        that you trust.

        Raises:
            FileNotFoundError: There is no such file (winerror 2 or 3).
            OSError: The DLL has no such symbol (winerror 127), is not for this kind of
                process (193), or needs a DLL that is missing (126).
            SectionError: The variable is not in shared memory: the section lacks the
                shared flag, the symbol is a function or a forwarder, or the size
                reaches beyond the section. It is a ValueError.

        Win32: LoadLibraryExW, GetProcAddress.
        """
        if size is not None and size < 1:
            raise ValueError(f"size must be 1 or more, not {size}")
        if not isinstance(symbol, str):
            raise TypeError(f"symbol must be str, not {type(symbol).__name__}")
        full = os.path.abspath(os.fspath(path if path is not None else BUNDLED_DLL))
        if not os.path.splitext(full)[1]:
            # LoadLibrary appends ".dll" to a name without a dot.
            full += "."
        try:
            section = cls._load(full, finder := _finders.get(full))
            section.path, section.symbol = full, symbol
            try:
                section._locate(size, finder)
            except BaseException:
                section.close()
                raise
        except OSError as error:
            hint = _hint(error, full)
            if hint:
                add_hint(error, hint)
            raise
        return section

    def _locate(self, size: int | None, finder: SharedSection | None) -> None:
        """Find the variable in the loaded image, and check that it is shared."""
        rva, room, section = self._find(finder)
        if size is None:
            size = room
        elif size > (left := section.rva + section.size - rva):
            self._refuse(
                f"{size} bytes leave its section {section.name!r}, which has "
                f"{left} bytes from there"
            )
        # A page of the file that cannot be read raises OSError here. Later, it would
        # end the process.
        stored = min(rva + size, section.rva + section.file_size)
        for at in range(rva, stored, _TOUCH):
            self._image(at, min(_TOUCH, stored - at))
        writable = bool(section.flags & SectionFlags.MEM_WRITE)
        if not self._bind(self.symbol.encode(), rva, size, writable):
            self._refuse("its memory cannot be read, or the loader finds it elsewhere")
        self.offset = rva - section.rva
        self._section = section

    def _find(self, finder: SharedSection | None) -> _Found:
        """What the headers say; already known if `finder` has the same image open."""
        if finder is None or finder._module != self._module:
            self._finds = {}
            finder = _finders[self.path] = self
        found = finder._finds.get(self.symbol)
        if found is None:
            found = finder._finds[self.symbol] = self._read_headers()
        return found

    def _read_headers(self) -> _Found:
        try:
            reader = self._reader()
            found = reader.export(self.symbol)
            sections = reader.sections
        except ValueError as error:
            raise SectionError(str(error)) from None
        if reader.machine != MACHINE:
            # Wine loads a DLL for another machine if it has no code.
            raise OSError(
                0,
                "the DLL is for another machine",
                self.path,
                ERROR_BAD_EXE_FORMAT,
                "LoadLibraryExW",
            )
        if found is None:
            raise OSError(
                0,
                "the DLL exports no such symbol",
                f"{self.path}!{self.symbol}",
                ERROR_PROC_NOT_FOUND,
                "GetProcAddress",
            )
        rva, forwards = found
        if forwards:
            self._refuse("it is a forwarder to another DLL; load that one")
        section = next((s for s in sections if s.rva <= rva < s.rva + s.size), None)
        if section is None:
            self._refuse("its address is in none of the sections")
        if section.flags & CODE:
            self._refuse("it is a function: its section holds code")
        if not section.flags & SectionFlags.MEM_SHARED:
            self._refuse(
                f"its section {section.name!r} is not shared (IMAGE_SCN_MEM_SHARED is "
                "not set), so each process would have a copy of its own"
            )
        end = section.rva + section.size
        return rva, reader.export_after(rva, end) - rva, section

    def _reader(self) -> ImageReader:
        what = f"{self.symbol!r} of {self.path!r} is refused"
        return ImageReader(self._image, self._extent, what, mapped=True)

    def _refuse(self, why: str) -> NoReturn:
        raise SectionError(f"{self.symbol!r} of {self.path!r} is refused: {why}")

    def variable(self, symbol: str, size: int | None = None) -> Self:
        """Return another variable of the same DLL, as an object of its own.

        The errors are those of `load`.

        Win32: LoadLibraryExW, GetProcAddress.
        """
        return type(self).load(self.path, symbol, size)

    @property
    def flags(self) -> SectionFlags:
        """The characteristics of the section, from the loaded image."""
        return self._section.flags

    @property
    def section_name(self) -> str:
        """The name of the section, such as '.MYSEC'."""
        return self._section.name

    @property
    def section_size(self) -> int:
        """The size of the whole section in bytes."""
        return self._section.size

    @property
    def variables(self) -> Mapping[str, SectionVariable]:
        """All named data exports in shared sections by name, in the order of addresses.

        Raises:
            ValueError: The object is closed.
        """
        found = self._reader().image().shared_variables
        return MappingProxyType({item.name: item for item in found})

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"size={self.size} at {self.address:#x}"
        return f"<{type(self).__name__} {self.symbol!r} of {self.path!r} {state}>"


#: For each path, an object that has the DLL open. While it is open, the loader keeps
#: the image, so the values from its headers stay true.
_finders: WeakValueDictionary[str, SharedSection] = WeakValueDictionary()


def _hint(error: OSError, path: str) -> str | None:
    """What to check if Windows refuses a DLL without a reason."""
    if error.winerror == ERROR_MOD_NOT_FOUND:
        return "the file is there, so a DLL that it needs is missing"
    if error.winerror == ERROR_BAD_EXE_FORMAT:
        try:
            image = inspect_dll(path)
        except (OSError, ValueError) as why:
            return f"it is not a sound DLL: {why}"
        return f"it is for {image.machine}, and this process is {MACHINE}"
    if error.winerror == ERROR_PROC_NOT_FOUND:
        with contextlib.suppress(OSError, ValueError):
            names = [item.name for item in inspect_dll(path).shared_variables]
            return (
                f"its shared variables are {names}"
                if names
                else "it shares no variable"
            )
    return None
