"""`RemoteProcess`: read, write and describe the memory of another process."""

from __future__ import annotations

import codecs
import contextlib
import functools
import itertools
import operator
import os
import re
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, overload

import winipc  # imports a module at the first use of its names
from winipc import _core
from winipc.base.closing import Closing
from winipc.base.shown import Shown
from winipc.base.winerror import (
    ERROR_INVALID_PARAMETER,
    ERROR_INVALID_WINDOW_HANDLE,
)
from winipc.errors import add_hint
from winipc.memory.pages import PAGE_SIZE, MemoryProtection, MemoryState, MemoryType
from winipc.process.access import ProcessAccess

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from winipc.base.rows import Rows
    from winipc.memory.record import StructView
    from winipc.process.freeze import Freeze
    from winipc.process.memory import RemoteBlock, Watch
    from winipc.process.types import (
        Address,
        Export,
        MapRow,
        Module,
        PartialRead,
        ProcessEntry,
        Region,
        ThreadEntry,
    )
    from winipc.scan.pointers import PointerScan
    from winipc.scan.regex import RegexMatch
    from winipc.scan.scan import Patterns, Scan
    from winipc.scan.signature import Signature

__all__ = ["RemoteProcess", "debug_privilege", "processes"]

_BUFFERS = bytes, bytearray, memoryview  # which are no chains, though iterable
_ADDRESS_END = 2 * sys.maxsize + 1  # the last address that this process can ask for
_FIRST_NODES, _MOST_NODES = 16384, 65536  # nodes of a list in one call
_LONG_TEXT = 4 * PAGE_SIZE  # after this many bytes, a text is read in larger pieces
_MORE_TEXT = 15 * PAGE_SIZE
_USES_MEMORY = (
    ProcessAccess.VM_READ | ProcessAccess.VM_WRITE | ProcessAccess.VM_OPERATION
)


class RemoteProcess(_core.RemoteProcess, Shown, Closing):
    """Another process, opened with exactly the rights that are asked for.

    ::

        with winipc.RemoteProcess.open("game.exe") as process:
            base = process.module("game.exe").base
            print(process.read(base, 2))  # b'MZ'

    `open` makes it. It owns a process handle; `close`, or the end of a `with`, closes
    it. Any thread may call any method; small reads and writes keep the GIL.

    A `winipc.Address` is an int, a `Module`, a text such as "game.exe!lives", or a
    chain of pointers.
    """

    __slots__ = ("__weakref__",)

    # ------------------------------------------------------------ opening

    @classmethod
    def open(
        cls, target: Any, *, access: ProcessAccess | int = ProcessAccess.READ
    ) -> Self:
        """Open the process `target`.

        ::

            access = winipc.ProcessAccess.WRITE  # to read and write
            with winipc.RemoteProcess.open("game.exe", access=access) as process:
                print(process.name, process.alive)  # game.exe True

        `target` is a pid; the name of a program ("game.exe", or "game") of which one
        process runs besides this one; an object with a `pid` (`subprocess.Popen`,
        `psutil.Process`); or one with an `hwnd`, such as `Window(hwnd)`. `access` is
        the rights to ask for: `ProcessAccess.READ`, `.WRITE`, `.QUERY` or any
        combination of rights.

        As long as any process has a handle of an exited process, Windows still opens
        its pid. The object then has an `exit_code`, and its memory cannot be used: that
        raises ProcessLookupError. Unless `target` is a plain pid, `open` itself raises
        it.

        Raises:
            ProcessLookupError: There is no such process, or it has exited
                (winerror 87).
            PermissionError: This process may not open it (winerror 5); notes of the
                exception say why, as far as that can be known.
            ValueError: Several processes have that name; the text lists them.

        Win32: OpenProcess
        """
        if not hasattr(access, "__index__"):
            raise TypeError(f"access is such as ProcessAccess.WRITE, not {access!r}")
        pid = target if type(target) is int else _pid_of(target)
        try:
            process = cls._open(pid, access)
        except PermissionError as error:
            from winipc.process._denied import explain_denied, process_facts

            exit_code = process_facts(pid).exit_code
            if exit_code is not None:
                raise _lookup_error(
                    f"pid {pid}, which has exited with code {exit_code}"
                ) from error
            for hint in explain_denied(pid, access):
                add_hint(error, hint)
            raise
        # Asking costs as much as opening, and the first use of the memory would say the
        # same. So ask only if finding the pid took longer anyway.
        if type(target) is not int and access & _USES_MEMORY and not process.alive:
            process.close()
            raise _lookup_error(f"pid {pid}, which has exited")
        return process

    @classmethod
    def wait_for(
        cls,
        name: str,
        timeout: float | None = None,
        *,
        access: ProcessAccess | int = ProcessAccess.READ,
    ) -> Self:
        """Open the program with this name as soon as it runs.

        `timeout` is in seconds; None waits forever. `wait_for` polls, with pauses of up
        to 50 ms.

        Raises:
            TimeoutError: No such program appeared in time (winerror 1460).

        The other errors are those of `open` for a running program.

        Win32: CreateToolhelp32Snapshot, OpenProcess
        """
        from winipc.base.appearing import wait_until_made

        return wait_until_made(lambda: cls.open(name, access=access), name, timeout)

    @classmethod
    def _make_partial(cls, address: int, data: Buffer, mask: bytes) -> PartialRead:
        return winipc.PartialRead(address, data, mask)

    @property
    def access(self) -> ProcessAccess:
        """The rights that were asked for."""
        return ProcessAccess(self._access)

    @property
    def is_64bit(self) -> bool:
        """Whether the target's pointers have 8 bytes."""
        return self.pointer_size == 8

    @property
    def name(self) -> str:
        """The name of the target's program file, without its folder."""
        return _base_name(self.path)

    def __repr__(self) -> str:
        told = [f"pid={self.pid}"]
        if self.closed:
            told.append("closed")
        with contextlib.suppress(OSError, ValueError):  # no right to ask, or closed
            told.insert(0, repr(self.name))
        with contextlib.suppress(OSError, ValueError):
            if (code := self.exit_code) is not None:
                told.append(f"exited with code {code}")
        return f"<{type(self).__name__} {' '.join(told)}>"

    # ------------------------------------------------------------ reading

    @overload
    def read_cstr(
        self,
        address: Address,
        encoding: None,
        *,
        max_bytes: int = ...,
        errors: str = ...,
    ) -> bytes: ...
    @overload
    def read_cstr(
        self,
        address: Address,
        encoding: str = ...,
        *,
        max_bytes: int = ...,
        errors: str = ...,
    ) -> str: ...
    def read_cstr(
        self,
        address: Address,
        encoding: str | None = "utf-8",
        *,
        max_bytes: int = 65536,
        errors: str = "strict",
    ) -> str | bytes:
        """Read the text at `address` up to the NUL of its encoding.

        ::

            print(process.read_cstr(address + 16))  # Player 1

        In the first 16 KiB, no page beyond the NUL is touched; after that, no guard
        page, and no page that cannot be read. `encoding` None returns the bytes.

        Raises:
            ValueError: There is no NUL within `max_bytes` bytes.
            PartialReadError: Memory before the NUL cannot be read.

        Win32: ReadProcessMemory
        """
        unit = 1 if encoding is None else _unit_of(encoding)
        data = _read_text(self, self.address(address), unit, max_bytes)
        return data if encoding is None else data.decode(encoding, errors)

    def read_struct(self, address: Address, layout: Any) -> Any:
        """Read one value with a layout.

        ::

            player = process.read_struct(address, "lives:i32 health:f32")
            print(player.lives, player.health)  # 3 100.0

        `layout` decides the result. A `winipc.Layout`, or its short form such as
        "speed:f32 gear:i32", gives a record. A number type ("i32"), a format of the
        module `struct` or a `struct.Struct` gives a tuple. A ctypes type, such as a
        Structure, gives an instance.

        Raises:
            PartialReadError: Not all of the value can be read.
        """
        order = "read_struct takes the address first, then the layout"
        codec = winipc.memory.layout.codec_of(layout, order)
        return codec.unpack(self.read(address, codec.size))

    def read_pointer(self, address: Address) -> int:
        """Read a pointer of the target's pointer size."""
        return int.from_bytes(self.read(address, self.pointer_size), "little")

    def pointer(self, chain: Address) -> int:
        """Follow the chain `[base, offset, ..., offset]`, and return its end's address.

        The pointer at `base` is read, and the first offset is added; the pointer there
        is read, and the next offset is added; and so on. The memory at the resulting
        address is not read. A `PointerPath` is a chain, too.

        Raises:
            PartialReadError: A pointer cannot be read; a note says which.
            ValueError: An offset leads out of the address space.
        """
        place, *offsets = self._chain(chain)
        limit = 1 << 8 * self.pointer_size
        for number, offset in enumerate(offsets, 1):
            try:
                pointer = self.read_pointer(place)
            except OSError as error:
                error.add_note(f"pointer {number} of {len(offsets)}, at {place:#x}")
                raise
            place = pointer + operator.index(offset)
            if not 0 <= place < limit:
                raise ValueError(
                    f"pointer {number} of {len(offsets)} is {pointer:#x}: "
                    f"{place:#x} is no address"
                )
        return place

    def address(self, expression: Address) -> int:
        """Return the address that a text such as '"game.exe"+0x10F4F4' means.

        ::

            place = process.address('"game.exe"+0x1000')
            print(place == process.module("game.exe") + 0x1000)  # True

        `get`, `read`, `write` and all others but `scan` take such texts themselves.

        The text is a module's name (in quotes if it has a + in it), perhaps with an
        export, `game.exe!state`; a number; or an address in brackets, which means the
        pointer there, as in the text of a `PointerPath`; then offsets. Numbers with 0x
        are hexadecimal, others decimal. Cheat Engine omits the 0x: write its
        `"game.exe"+00147198` as `"game.exe"+0x147198`. An int or a module is accepted,
        too.

        Raises:
            LookupError: No such module is loaded, or it has no such export.
            PartialReadError: There is no memory at an address in brackets.
            ValueError: The text is not an address. If a number can only be hexadecimal,
                the error says what to write.
        """
        return self.pointer(expression)

    def walk(
        self, head: Address, offset: int = 0, *, limit: int = 1_000_000
    ) -> Iterator[int]:
        """Iterate over the addresses of the nodes of a linked list, from `head` on.

        Each node has the pointer to the next one at `offset`. The list ends at a NULL
        pointer, or when it returns to `head`. Nodes are read ahead, thousands at a
        time, each time from new copies of the memory near them.

        Raises:
            PartialReadError: A node cannot be read; the nodes before it are returned
                first.
            ValueError: There are more than `limit` nodes.
        """
        # chain unpacks whole lists: a generator would cost a switch for each node.
        return itertools.chain.from_iterable(self._walk_in_batches(head, offset, limit))

    def _walk_in_batches(
        self, head: Address, offset: int, limit: int
    ) -> Iterator[list[int]]:
        width = self.pointer_size
        first = node = self.address(head)
        seen, batch = 0, _FIRST_NODES
        while node:
            count = min(batch, limit - seen)
            batch = _MOST_NODES
            if count <= 0:
                raise ValueError(
                    f"more than {limit} nodes: perhaps the list runs in a circle"
                )
            found, node, failed = self._walk(node, offset, first, count, width)
            nodes = memoryview(found).cast("P").tolist()
            yield nodes
            seen += len(nodes)
            if failed:
                # Read again, for the exception; or the read works by now.
                node = self.read_pointer(nodes[-1] + offset)
                node = 0 if node == first else node

    @contextlib.contextmanager
    def cached(self) -> Iterator[Self]:
        """During a `with`, serve reads of up to 64 KiB from copies.

        A read also copies the memory near it, and later reads use the copies: this is
        for pointer chains and trees. The copies live until the end of the `with`.
        Writes through this object are seen; writes by the target may not be. At most 64
        MiB are kept. All threads that use this object share the copies.
        """
        self._enter_cached()
        try:
            yield self
        finally:
            self._exit_cached()

    # ------------------------------------------------------------ writing

    def write_struct(
        self,
        address: Address,
        layout: Any,
        *values: Any,
        verify: bool = False,
    ) -> int:
        """Write one value with a layout; return its size.

        `layout` is one of three: a `winipc.Layout` or its short form such as
        "speed:f32 gear:i32", then a record or a mapping of fields (fields that it lacks
        become 0; `at` changes single fields); a number type ("i32"), a format of the
        module `struct` or a `struct.Struct`, then the values; or a ctypes instance
        alone.

        Raises:
            PartialWriteError: As `write` does.
        """
        if values:
            codec = winipc.memory.layout.codec_of(layout)
            return self.write(address, codec.pack(*values), verify)
        with memoryview(layout) as view:
            return self.write(address, view.cast("B"), verify)

    def at(self, address: Address, layout: Any) -> StructView:
        """Return a structure in the target, to read and write its fields one by one.

        ::

            player = process.at(address, "lives:i32 health:f32")
            player.health = 50
            print(player.lives, player.health)  # 3 50.0

        A chain or a text of pointers is followed again at each use, so the result stays
        right if the target replaces the object. `layout` is a `winipc.Layout`, its
        short text form, or a ctypes Structure class. Writing needs
        `access=ProcessAccess.WRITE`.

        Raises:
            PartialReadError: Each use raises what `pointer` and `read` raise.
        """
        return self._view(
            address, layout, "at takes the address first, then the layout"
        )

    def _view(self, address: Address, layout: Any, order: str) -> StructView:
        if isinstance(address, _core.Layout) or (
            isinstance(address, str)
            and isinstance(layout, str)
            and ":" in address
            and ":" not in layout
        ):
            raise TypeError(f"{address!r} is not an address; {order}")
        layout = winipc.memory.layout.layout_of(layout, order)
        place = winipc.process.memory.RemotePlace(
            self, self._chain(address), layout.size
        )
        return winipc.StructView(place, layout)

    def _chain(self, address: Any) -> list[int]:
        """An address as a chain whose base is a number."""
        if hasattr(address, "__index__"):
            return [operator.index(address)]
        if isinstance(address, str):
            from winipc.process._expression import chain_of  # imports re

            return chain_of(self, address)
        if isinstance(address, _BUFFERS) or not isinstance(address, Iterable):
            kind = type(address).__name__
            raise TypeError(f"an address must be an int, a text or a chain, not {kind}")
        base, *offsets = address
        return [*self._chain(base), *offsets]

    def struct_view(self, layout: Any, address: Address) -> StructView:
        """Return a structure in the target: `at`, with the layout first.

        The order is that of `SharedMapping.struct_view`. The arguments, the result and
        the errors are those of `at`.

        Raises:
            TypeError: The arguments are swapped.
        """
        return self._view(
            address, layout, "struct_view takes the layout first, then the address"
        )

    def freeze(
        self,
        address: Address,
        value: Any,
        kind: str | None = None,
        *,
        interval: float = 0.05,
    ) -> Freeze:
        """Write a value now, and again every `interval` seconds until the `with` ends.

        ::

            with process.freeze(address, 99, "i32") as frozen:
                frozen.value = 100
                print(process.get(address, "i32"))  # 100

        A chain or a text of pointers is followed again at each write. `value` is a
        number of the type `kind`, such as "i32" or
        "f32"; or bytes, without a type. Between two writes, the target can change the
        value and see the change.

        One thread writes for all freezes. A failed write is tried again, and counted in
        `Freeze.failures`; the exit of the target ends the freeze. `Freeze.error` is the
        error of the last write, and the end of the `with` raises it. Needs
        `access=ProcessAccess.WRITE`. The freeze may outlive this object.

        Raises:
            PartialReadError, PartialWriteError, PermissionError, ProcessLookupError:
                The first write fails, as `pointer` and `write` do.
            OverflowError: The value does not fit in the type.
            ValueError: There is no such type, or the interval is not > 0.

        Win32: ReadProcessMemory, WriteProcessMemory
        """
        return winipc.Freeze(self, self._chain(address), value, kind, interval)

    def suspended(self) -> contextlib.AbstractContextManager[None]:
        """During a `with`, no thread of the target runs.

        ::

            with process.suspended():
                lives = process.get(address, "i32")
                health = process.get(address + 4, "f32")  # of the same moment

        The target's memory can be read and written as usual, to get several values of
        one moment. The end of the `with` resumes the target, also after an exception.
        Windows counts suspensions: if another program has suspended the target, too, it
        does not run on. A wait for the target lasts forever: do not send to its windows
        without a time-out, and do not wait for a lock that it may hold. If this process
        dies in between, the target stays suspended until
        `psutil.Process(pid).resume()`, or "Resume process" in Windows' Resource
        Monitor. `suspended` opens the target with PROCESS_SUSPEND_RESUME itself.

        Raises:
            OSError: A thread has been suspended 127 times (winerror 156). Some systems
                stop counting instead.
            PermissionError: This process may not suspend the target (winerror 5).
            ProcessLookupError: The target has exited.
            ValueError: The target is this process.

        Win32: OpenProcess, NtSuspendProcess, NtResumeProcess
        """
        return winipc.process.freeze.suspended(self)

    def protect(
        self,
        address: Address,
        size: int,
        protection: MemoryProtection | int = MemoryProtection.READWRITE,
    ) -> contextlib.AbstractContextManager[list[Region]]:
        """During a `with`, give the pages of a range another protection.

        At the end, each region gets its former protection back. The `with` returns the
        former regions. Needs `access=ProcessAccess.WRITE`.

        Raises:
            OSError: A page is not committed (winerror 487), or there is no such
                protection (87).

        Win32: VirtualProtectEx
        """
        place = self.address(address)
        return winipc.process.memory.protected(self, place, size, protection)

    # ---------------------------------------------------- memory of the target

    def alloc(
        self,
        size: int,
        protection: MemoryProtection | int = MemoryProtection.READWRITE,
    ) -> RemoteBlock:
        """Allocate `size` zeroed bytes (whole pages) in the target.

        The end of a `with` frees the block; `RemoteBlock.detach` leaves it to the
        target. Needs `access=ProcessAccess.WRITE`. The block may outlive this object.

        Raises:
            OSError: There is not enough memory (winerror 8 or 1455).

        Win32: VirtualAllocEx
        """
        return winipc.RemoteBlock(self, size, protection)

    def regions(
        self,
        start: Address = 0,
        stop: Address | None = None,
        *,
        paths: bool = False,
        names: bool = False,
    ) -> Iterator[Region]:
        """Iterate over the regions from `start` to `stop`, in the order of addresses.

        The target runs on: each region is as it was at the moment of its query. With
        `paths`, `Region.path` has the names of mapped files; this takes longer.

        `names` does the same, and `Region.sections` has the named mappings that may be
        mapped there; this takes far longer. Windows does not tell them, so winipc
        compares handles and bytes. A mapping with equal bytes is listed as well.

        Raises:
            ProcessLookupError: The target has exited.

        Win32: VirtualQueryEx, NtQueryVirtualMemory; NtQuerySystemInformation,
        DuplicateHandle, NtQueryDirectoryObject for `names`
        """
        if names:
            from winipc.process._sections import with_sections

            yield from with_sections(self, list(self.regions(start, stop, paths=True)))
            return
        place = self.address(start)
        limit = _ADDRESS_END
        if stop is not None:
            limit = min(self.address(stop), limit)
        path_of = _path_finder(self) if paths else None
        while place < limit:
            rows = self._regions(place, limit)
            for row in rows:
                yield _region(row, path_of)
            if not rows or rows[-1][0] + rows[-1][1] <= place:
                return
            place = rows[-1][0] + rows[-1][1]

    def scan(
        self,
        pattern: Patterns,
        *,
        regions: Iterable[Region | tuple[int, int]] | None = None,
        protection: MemoryProtection | int | str | None = None,
        start: int | None = None,
        end: int | None = None,
        aligned: bool | int | None = None,
        progress: Callable[[int, int], object] | None = None,
        limit: int | None = None,
        threads: int | None = None,
    ) -> Scan:
        """Search the memory of the target; iterate over the addresses of matches.

        ::

            for place in process.scan(winipc.Pattern.text("Player 1"), protection="rw"):
                print(process.read(place, 8))  # b'Player 1'

        `pattern`, `aligned`, `progress`, `limit` and `threads` are those of
        `scan_bytes`. The search covers all memory that can be read. `regions` (from
        `regions()`, or pairs of address and size), `start` and `end` restrict it. So
        does `protection`: `"rw"`, `"x"`, or flags of which a page needs one. Adjacent
        regions are searched as one.

        The target runs on: memory that it frees meanwhile is left out, and counted in
        `Scan.skipped`. The search runs in `next`, without the GIL, and takes less than
        3 MiB for each thread besides the patterns. Needs `ProcessAccess.READ`.

        Raises:
            ProcessLookupError: The target has exited; earlier matches are returned
                first.
            ValueError: A pattern is malformed, empty, or has no fixed part; or this
                object is closed.

        Win32: VirtualQueryEx, ReadProcessMemory
        """
        from winipc.scan.scan import open_scan, process_ranges, protection_mask

        ranges = process_ranges(regions, start, end)
        accepted = protection_mask(protection)
        return open_scan(
            self, ranges, accepted, pattern, aligned, progress, limit, threads
        )

    def signature(
        self,
        address: Address,
        *,
        max_size: int = 128,
        constants: bool = False,
    ) -> Signature:
        """Make a pattern that finds the instruction at `address` in other builds.

        ::

            signature = process.signature('"game.exe"+0x52A10')
            print(signature)  # 48 8B 05 ?? ?? ?? ?? 48 8B 48 ?? 89
            signature.save("world.json")

        It is the shortest pattern that begins at `address`, has all fixed bytes of the
        first instruction, and occurs once in the module. It has at most `max_size`
        bytes. All numbers in the instructions are wildcards: operands, offsets,
        immediates, and what the loader relocates. With `constants`, only addresses are
        wildcards: the pattern is shorter, but fails if the next build changes a number.
        `Signature.check` says where the pattern is in another build.

        The search reads the whole module. It needs `ProcessAccess.READ`, and iced-x86:
        `pip install winipc[signatures]`.

        Raises:
            ImportError: iced-x86 is not installed.
            LookupError: The module was unloaded meanwhile.
            PartialReadError: The code cannot be read.
            ProcessLookupError: The target has exited.
            ValueError: The address is in no module, in data, or not that of an
                instruction; or the module has the code more than once (the error says
                how often).

        Win32: EnumProcessModulesEx, ReadProcessMemory
        """
        from winipc.scan.signature import make_signature

        return make_signature(self, self.address(address), max_size, constants)

    def scan_regex(
        self,
        regex: bytes | re.Pattern[bytes],
        *,
        overlap: int = 4096,
        regions: Iterable[Region | tuple[int, int]] | None = None,
        protection: MemoryProtection | int | str | None = None,
        start: int | None = None,
        end: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        limit: int | None = None,
    ) -> Iterator[RegexMatch]:
        """Search the memory of the target for a regular expression of `re`.

        The matches are those of `re.finditer` except empty ones, in the order of
        addresses: they do not overlap. Memory is read and searched in pieces of 1 MiB;
        `overlap` bytes of each piece are searched again with the next one. So a match
        of up to `overlap` bytes, including all that it looks ahead or behind at, is
        always found. A longer match that crosses the end of a piece may be cut off
        there, be returned in two parts, or be missed.

        The other arguments are those of `scan`. `re` holds the GIL while it searches a
        piece: prefer `scan` if a pattern with wildcards is enough.

        Raises:
            ProcessLookupError: The target has exited; earlier matches are returned
                first.
            TypeError: The expression is for str.
            ValueError: `overlap` is less than 1 byte or more than 64 MiB.

        Win32: VirtualQueryEx, ReadProcessMemory
        """
        from winipc.scan.regex import regex_scan
        from winipc.scan.scan import process_ranges, protection_mask

        ranges = process_ranges(regions, start, end)
        accepted = protection_mask(protection)
        return regex_scan(self, regex, overlap, ranges, accepted, progress, limit)

    def pointer_paths(
        self,
        address: Address,
        depth: int = 5,
        max_offset: int = 0x1000,
        base: str | Module | Iterable[str | Module] = "module",
        *,
        regions: Iterable[Region | tuple[int, int]] | None = None,
        protection: MemoryProtection | int | str | None = "w",
        timeout: float | None = None,
        max_bytes: int = 1 << 30,
        progress: Callable[[int, int], object] | None = None,
        threads: int | None = None,
    ) -> PointerScan:
        """Find chains of pointers from a module to `address`; iterate over them.

        ::

            paths = winipc.PointerPaths(process.pointer_paths(address, depth=2))
            paths.save("lives.json")  # to check them in the next run

        Each `PointerPath` has 1 to `depth` (at most 16) pointers, begins in a module
        (in any, or in those that `base` names), and has offsets of 0 to `max_offset`
        bytes. Some paths also lead there in the next run, when modules and memory are
        elsewhere: `PointerPaths` checks which. Short paths come first; of equal length,
        those with a small last offset.

        One pass collects the pointers: numbers at multiples of their size that point to
        readable memory. `regions` and `protection` say where to look, as for `scan`;
        the default is all writable memory. A pointer takes 8 bytes, and all pointers at
        most `max_bytes`. The search runs in `next`, without the GIL. After `timeout`
        seconds it ends, as by `cancel`. `progress` is called now and then with the
        bytes read and their total; if it returns False, the search ends. `threads` is
        that of `scan_bytes`, for the first pass. Needs `ProcessAccess.READ`.

        Raises:
            LookupError: No module with that name is loaded.
            MemoryError: There are more pointers than fit in `max_bytes`.
            ProcessLookupError: The target has exited.
            ValueError: `depth`, `max_offset` or `timeout` is out of range.

        Win32: VirtualQueryEx, ReadProcessMemory, EnumProcessModulesEx
        """
        from winipc.scan.pointers import open_pointer_scan
        from winipc.scan.scan import process_ranges, protection_mask

        return open_pointer_scan(
            self,
            self.address(address),
            (depth, max_offset, max_bytes, timeout),
            base,
            process_ranges(regions, None, None),
            protection_mask(protection),
            progress,
            threads,
        )

    def memory_map(self, *, names: bool = False) -> list[MapRow]:
        """List the allocations in the address space.

        With `names`, the label of a mapping says which named mappings it may be;
        see `regions`.

        Win32: VirtualQueryEx, NtQueryVirtualMemory, EnumProcessModulesEx
        """
        modules = {module.base: module.name for module in self.modules()}
        used = (
            region
            for region in self.regions(paths=True, names=names)
            if region.state != MemoryState.FREE
        )
        rows: list[MapRow] = []
        for base, group in itertools.groupby(used, lambda r: r.allocation_base):
            regions = list(group)
            protections = dict.fromkeys(r.protection for r in regions)
            protections.pop(MemoryProtection(0), None)  # reserved pages have 0
            rows.append(
                winipc.MapRow(
                    base=base,
                    size=regions[-1].end - base,
                    committed=sum(
                        r.size for r in regions if r.state == MemoryState.COMMIT
                    ),
                    type=regions[0].type,
                    protections=tuple(protections),
                    label=winipc.process.memory.describe(regions[0], modules.get(base)),
                    regions=len(regions),
                )
            )
        return rows

    def modules(self) -> list[Module]:
        """List the program and the loaded DLLs, in the order of loading.

        For a 32-bit target, these are the 32-bit modules, without the 64-bit
        `ntdll.dll` and the DLLs of WOW64 by which 64-bit Windows runs it.

        Win32: EnumProcessModulesEx
        """
        return [
            winipc.Module(_base_name(path), path, base, size, entry)
            for path, base, size, entry in self._modules()
        ]

    def module(self, name: str) -> Module:
        """Find the module with this name or path; case does not matter.

        `process.module("game.exe") + 0x10F4F4` is an address in it.

        Raises:
            LookupError: No such module is loaded.
        """
        wanted = name.casefold()
        for module in self.modules():
            if wanted in (module.name.casefold(), module.path.casefold()):
                return module
        meant = ""
        if re.fullmatch("[0-9a-f]+", wanted):
            meant = f" (an address in hexadecimal begins with 0x: 0x{name})"
        raise LookupError(f"no module {name!r} in pid {self.pid}{meant}")

    def exports(self, module: Module | str) -> list[Export]:
        """List the exports of a module, from the memory of the target.

        Raises:
            LookupError: No such module is loaded.
            ValueError: The headers of the module contradict themselves.
        """
        if not isinstance(module, winipc.Module):
            module = self.module(module)
        base = module.base
        from winipc.pe import ImageReader

        image = ImageReader(
            lambda offset, size: self.read(base + offset, size),
            module.size,
            module.name,
            mapped=True,
        )
        return [
            winipc.Export(
                name, ordinal, base + rva if forwarder is None else None, forwarder
            )
            for name, ordinal, rva, forwarder in image.exports()
        ]

    def threads(self) -> list[ThreadEntry]:
        """List the threads of the target.

        Win32: CreateToolhelp32Snapshot
        """
        return [winipc.ThreadEntry(*row) for row in self._threads()]

    def watch(self, address: Address, size: int, interval: float = 0.05) -> Watch:
        """Watch `size` bytes at `address`: look for changes every `interval` seconds.

        ::

            watch = process.watch(address, 4)
            process.set(address, "i32", 2)  # the game does so
            change = next(watch)
            print(change.old[0], change.new[0])  # 3 2

        The `Watch` is an iterator (Ctrl+C ends it) and an async iterator of `Change`.
        Both end when the target exits, and within 0.1 s after any thread has closed
        this object. The bytes that are there now are the first `value` to compare with.

        Raises:
            PartialReadError: The memory cannot be read, now or later.

        Win32: ReadProcessMemory
        """
        return winipc.Watch(self, self.address(address), size, interval)


# ------------------------------------------------------------------ functions


def processes() -> Rows[ProcessEntry]:
    """List all running processes; the list shows itself as a table.

    ::

        pids = [row.pid for row in winipc.processes() if row.name == "game.exe"]
        print(len(pids))  # 1

    Win32: CreateToolhelp32Snapshot
    """
    from winipc.base.rows import Rows

    return Rows(winipc.ProcessEntry(*row) for row in _core._processes())


def debug_privilege() -> contextlib.AbstractContextManager[None]:
    """During a `with`, this process may open the processes of other users.

    The privilege holds for the whole process, so winipc never enables it on its own.
    Only administrators have it.

    Raises:
        PermissionError: This user does not have the privilege (winerror 1300).

    Win32: AdjustTokenPrivileges
    """
    from winipc.base.privilege import privilege

    return privilege("SeDebugPrivilege")


def _pid_of(target: Any) -> int:
    """The pid for the argument of `RemoteProcess.open`."""
    if isinstance(target, str):
        return _pid_of_name(target)
    # A window has __index__, too: its handle.
    if (hwnd := getattr(target, "hwnd", None)) is not None:
        return _window_pid(hwnd)
    import numbers

    if isinstance(target, numbers.Integral):
        return int(target)
    if (pid := getattr(target, "pid", None)) is None:
        raise TypeError(f"{target!r} is no pid, name, process or window")
    running = getattr(target, "is_running", None)
    if callable(running) and not running():
        # Another process may have the pid by now.
        raise _lookup_error(f"pid {pid}, which has exited")
    return operator.index(pid)


def _window_pid(hwnd: SupportsIndex) -> int:
    pid, _ = _core._window_process(hwnd)
    if not pid:
        raise FileNotFoundError(
            0,
            "There is no such window",
            f"window {operator.index(hwnd):#x}",
            ERROR_INVALID_WINDOW_HANDLE,
            "GetWindowThreadProcessId",
        )
    return pid


def _pid_of_name(name: str) -> int:
    wanted = {name.casefold(), f"{name}.exe".casefold()}
    found = [row.pid for row in processes() if row.name.casefold() in wanted]
    if len(found) > 1 and os.getpid() in found:
        found.remove(os.getpid())  # this is a Python program that looks for another one
    if not found:
        error = _lookup_error(name, "CreateToolhelp32Snapshot")
        if name.isdigit():
            add_hint(error, "a str is the name of a program; a pid is an int")
        raise error
    if len(found) > 1:
        pids = ", ".join(map(_pid_and_start, sorted(found)))
        raise ValueError(f"{len(found)} processes are called {name!r}: pids {pids}")
    return found[0]


def _pid_and_start(pid: int) -> str:
    try:
        _, started = _core._process_image(pid)
    except OSError:  # it has just ended, or is another user's
        return str(pid)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started))
    return f"{pid} (started {when})"


def _lookup_error(what: str, call: str = "OpenProcess") -> ProcessLookupError:
    return ProcessLookupError(
        0, "There is no such process", what, ERROR_INVALID_PARAMETER, call
    )


def _path_finder(process: RemoteProcess) -> Callable[[int], str | None]:
    """Return a function from an address to the path of the mapped file there."""
    devices = _core._dos_devices()

    @functools.cache
    def path_of(address: int) -> str | None:
        name = process._mapped_name(address)
        # Wine ends some names with a NUL.
        return None if name is None else _dos_path(name.rstrip("\0"), devices)

    return path_of


def _dos_path(name: str, devices: list[tuple[str, str]]) -> str:
    """The Win32 path for a path of the kernel."""
    if name.startswith("\\??\\"):
        return name[4:]
    if name.startswith("\\Device\\Mup\\"):
        return "\\\\" + name[len("\\Device\\Mup\\") :]
    for drive, device in devices:
        if name.startswith(device + "\\"):
            return drive + name[len(device) :]
    return name


def _base_name(path: str) -> str:
    return path.rpartition("\\")[2]


def _read_text(process: RemoteProcess, address: int, unit: int, most: int) -> bytes:
    """Read the bytes before `unit` zero bytes at a multiple of `unit`."""
    found = bytearray()
    while (have := len(found)) < most:
        at = address + have
        # Up to the end of the page: pages beyond the text must not be touched.
        size = min(PAGE_SIZE - at % PAGE_SIZE, most - have)
        if have >= _LONG_TEXT:
            more = min(size + _MORE_TEXT, most - have)
            with contextlib.suppress(PermissionError):  # no right to query regions
                if all(region.readable for region in process.regions(at, at + more)):
                    size = more
        try:
            found += process.read(at, size)
        except (OSError, OverflowError):
            # Read again from the start, for the exception; or the read works by now.
            found[:] = process.read(address, have + size)
        end = _find_zeros(found, have - have % unit, unit)
        if end >= 0:
            return bytes(found[:end])
    raise ValueError(f"no NUL within {most} bytes at {address:#x}")


def _find_zeros(data: bytearray, start: int, unit: int) -> int:
    zeros = bytes(unit)
    end = data.find(zeros, start)
    while end >= 0 and end % unit:
        end = data.find(zeros, end + 1)
    return end


@functools.cache
def _unit_of(encoding: str) -> int:
    """The number of zero bytes that end a text in this encoding."""
    name = codecs.lookup(encoding).name
    return 4 if name.startswith("utf-32") else 2 if name.startswith("utf-16") else 1


def _region(
    row: tuple[int, int, int, int, int, int, int],
    path_of: Callable[[int], str | None] | None,
) -> Region:
    base, size, state, protect, kind, allocation, allocated = row
    path = None
    if path_of is not None and kind & (MemoryType.MAPPED | MemoryType.IMAGE):
        path = path_of(allocation)
    return winipc.Region(
        base,
        size,
        MemoryState(state),
        MemoryProtection(protect),
        MemoryType(kind),
        allocation,
        MemoryProtection(allocated),
        path,
    )
