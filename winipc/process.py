"""`RemoteProcess`: read, write and describe the memory of another process."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, overload

from winipc import _core
from winipc.remote_types import (
    MemoryProtection,
    MemoryState,
    MemoryType,
    PartialRead,
    ProcessAccess,
    Region,
)

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["RemoteBlock", "RemoteProcess"]

_MEM_COMMIT_RESERVE = 0x3000
_MEM_RELEASE = 0x8000
_ADDRESS_END = (1 << 64) - 1

#: Bytes of one unit in the encodings whose terminator is longer than a byte.
_UNITS = {"utf-16": 2, "utf-16-le": 2, "utf-16-be": 2}
_UNITS |= {"utf-32": 4, "utf-32-le": 4, "utf-32-be": 4}


def _unit_of(encoding: str) -> int:
    import codecs

    return _UNITS.get(codecs.lookup(encoding).name, 1)


class RemoteProcess(_core.RemoteProcess):
    """Another process, opened with the least rights that are asked for.

    Make one with `open`. It owns a process handle; `close` (or `with`) closes
    it. Any thread may call any method.
    """

    __slots__ = ()

    @classmethod
    def open(
        cls, target: Any, *, access: ProcessAccess | int = ProcessAccess.READ
    ) -> Self:
        """Open the process `target`.

        `target` is a pid, or an object with a `pid` (a `subprocess.Popen` or
        `psutil.Process`). `access` says what for: `ProcessAccess.READ`,
        `.WRITE`, `.QUERY` or any sum of rights.

        Raises:
            ProcessLookupError: there is no such process (winerror 87).
            PermissionError: it may not be opened (winerror 5).

        Win32: OpenProcess
        """
        pid = getattr(target, "pid", target)
        return cls._open(pid, access)

    @classmethod
    def _make_partial(cls, address: int, data: Buffer, mask: bytes) -> PartialRead:
        return PartialRead(address, data, mask)

    @property
    def access(self) -> ProcessAccess:
        """The rights that were asked for."""
        return ProcessAccess(self._access)

    @property
    def is_64bit(self) -> bool:
        """Whether pointers of the target have 8 bytes."""
        return self.pointer_size == 8

    @property
    def name(self) -> str:
        """The name of the target's program file, without its folder."""
        return self.path.rsplit("\\", 1)[-1]

    # ------------------------------------------------------------ reading

    @overload
    def read_cstr(
        self, address: int, encoding: None, *, max_bytes: int = ..., errors: str = ...
    ) -> bytes: ...
    @overload
    def read_cstr(
        self,
        address: int,
        encoding: str = ...,
        *,
        max_bytes: int = ...,
        errors: str = ...,
    ) -> str: ...
    def read_cstr(
        self,
        address: int,
        encoding: str | None = "utf-8",
        *,
        max_bytes: int = 65536,
        errors: str = "strict",
    ) -> str | bytes:
        """The text at `address` that ends with a NUL of its encoding.

        No page beyond the NUL is touched. `encoding` None gives the bytes.

        Raises:
            ValueError: there is no NUL within `max_bytes` bytes.
            PartialReadError: memory before the NUL cannot be read.

        Win32: ReadProcessMemory
        """
        unit = 1 if encoding is None else _unit_of(encoding)
        data = self._read_until_zero(address, unit, max_bytes)
        if data is None:
            raise ValueError(f"no NUL within {max_bytes} bytes at {address:#x}")
        return data if encoding is None else data.decode(encoding, errors)

    # ---------------------------------------------------- memory of the target

    def alloc(
        self,
        size: int,
        protection: MemoryProtection | int = MemoryProtection.READWRITE,
    ) -> RemoteBlock:
        """Allocate `size` zeroed bytes (whole pages) in the target.

        Use it as a context manager, which frees the block once; `detach` gives
        it to the target instead. Needs `access=ProcessAccess.WRITE`. The block
        may outlive this object.

        Win32: VirtualAllocEx
        """
        owner = self._duplicate()
        try:
            address = owner._alloc(0, size, _MEM_COMMIT_RESERVE, protection)
        except BaseException:
            owner.close()
            raise
        return RemoteBlock(owner, address, size)

    def regions(self, start: int = 0, stop: int | None = None) -> Iterator[Region]:
        """The regions of the address space from `start` to `stop`, in order.

        The target goes on running: each region is as it was when it was asked.

        Win32: VirtualQueryEx
        """
        limit = _ADDRESS_END if stop is None else stop
        while start < limit:
            rows = self._regions(start, limit, 256)
            for base, size, state, protect, kind, allocation, allocated in rows:
                yield Region(
                    base,
                    size,
                    MemoryState(state),
                    MemoryProtection(protect),
                    MemoryType(kind),
                    allocation,
                    MemoryProtection(allocated),
                )
            if not rows or rows[-1][0] + rows[-1][1] <= start:
                return
            start = rows[-1][0] + rows[-1][1]


class RemoteBlock:
    """Memory that this process has allocated in another one.

    Freed by `close` or at the end of `with`, exactly once, also when two
    threads close it; `detach` hands it over, and then nobody here frees it.
    """

    __slots__ = ("__weakref__", "_address", "_lock", "_process", "_size")

    def __init__(self, process: RemoteProcess, address: int, size: int) -> None:
        self._process = process  # a handle of its own
        self._address: int | None = address
        self._size = size
        self._lock = threading.Lock()

    @property
    def address(self) -> int:
        """Where it is in the target; ValueError once freed or handed over."""
        address = self._address
        if address is None:
            raise ValueError("RemoteBlock is closed")
        return address

    @property
    def size(self) -> int:
        """Bytes that were asked for; whole pages were allocated."""
        return self._size

    @property
    def closed(self) -> bool:
        """Whether it has been freed or handed over."""
        return self._address is None

    def read(self, offset: int = 0, size: int | None = None) -> bytes:
        """`size` bytes from `offset`; None for all up to the end."""
        if size is None:
            size = self._size - offset
        return self._process.read(self._at(offset, size), size)

    def write(self, data: Buffer, offset: int = 0) -> int:
        """Write the bytes-like `data` to `offset`; return its length."""
        with memoryview(data) as view:
            return self._process.write(self._at(offset, view.nbytes), view)

    def _at(self, offset: int, size: int) -> int:
        if offset < 0 or size < 0 or offset > self._size or size > self._size - offset:
            raise ValueError(
                f"{size} bytes at {offset} are outside of {self._size} bytes"
            )
        return self.address + offset

    def _take(self) -> int | None:
        with self._lock:
            address, self._address = self._address, None
        return address

    def close(self) -> None:
        """Free it; more calls do nothing, nor does it when the target is gone.

        Win32: VirtualFreeEx
        """
        address = self._take()
        if address is None:
            return
        try:
            self._process._free(address, 0, _MEM_RELEASE)
        except ProcessLookupError:
            pass  # its memory went with it
        finally:
            self._process.close()

    def detach(self) -> int:
        """Hand it over: return its address; nobody here will free it."""
        address = self._take()
        if address is None:
            raise ValueError("RemoteBlock is closed")
        self._process.close()
        return address

    def __enter__(self) -> Self:
        self.address  # noqa: B018 - raises when closed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        address = self._address
        where = "closed" if address is None else f"at {address:#x}"
        return f"<RemoteBlock of {self._size} bytes in pid {self._process.pid} {where}>"

    def __del__(self) -> None:
        if getattr(self, "_address", None) is not None:
            warnings.warn(
                f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self
            )
            self.close()
