"""Memory of a `RemoteProcess`: blocks, changed protections, watches."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn, Self

from winipc.base.closing import Closing
from winipc.base.deadline import SLICE
from winipc.memory.pages import MemoryState, MemoryType
from winipc.process.types import Change, Region

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from winipc.process.process import RemoteProcess

__all__ = ["RemoteBlock", "Watch"]

_MEM_COMMIT_RESERVE = 0x3000
_MEM_RELEASE = 0x8000


class RemotePlace:
    """The memory at the end of a chain of pointers, which each access follows again."""

    __slots__ = ("_chain", "_process", "size")

    def __init__(self, process: RemoteProcess, chain: list[int], size: int) -> None:
        self._process, self._chain, self.size = process, chain, size

    def read(self, size: int, offset: int) -> bytes:
        return self._process.read(self._process.pointer(self._chain) + offset, size)

    def write(self, data: Buffer, offset: int) -> int:
        return self._process.write(self._process.pointer(self._chain) + offset, data)

    def __len__(self) -> int:
        return self.size

    def _place(self, offset: int) -> str:
        """The address of the byte at `offset`, or the chain that ends there."""
        *start, last = self._chain
        chain = ", ".join(f"{each:#x}" for each in (*start, last + offset))
        return f"[{chain}]" if start else chain


class RemoteBlock(Closing):
    """Memory that this process has allocated in another process.

    `close`, or the end of a `with`, frees it exactly once, also if two threads close
    it. `detach` leaves the memory to the target.
    """

    __slots__ = ("__weakref__", "_address", "_lock", "_process", "size")

    def __init__(self, process: RemoteProcess, size: int, protection: int) -> None:
        self._address: int | None = None
        self._process = process._duplicate()
        try:
            self._address = self._process._change(
                "alloc", 0, size, _MEM_COMMIT_RESERVE, protection
            )
        except BaseException:
            self._process.close()
            raise
        #: The size that was asked for, in bytes; whole pages were allocated.
        self.size = size
        self._lock = threading.Lock()

    @property
    def address(self) -> int:
        """The address in the target.

        Raises:
            ValueError: The block was freed or detached.
        """
        address = self._address
        if address is None:
            raise ValueError("RemoteBlock is closed")
        return address

    @property
    def closed(self) -> bool:
        """Whether the memory has been freed or detached."""
        return self._address is None

    def read(self, size: int | None = None, offset: int = 0) -> bytes:
        """Read `size` bytes from `offset`; None reads up to the end."""
        if size is None:
            size = self.size - offset
        return self._process.read(self._at(offset, size), size)

    def write(self, data: Buffer, offset: int = 0) -> int:
        """Write the bytes-like `data` to `offset`; return its length."""
        with memoryview(data) as view:
            return self._process.write(self._at(offset, view.nbytes), view)

    def _at(self, offset: int, size: int) -> int:
        address = self.address
        if offset < 0 or size < 0 or offset > self.size or size > self.size - offset:
            raise ValueError(
                f"{size} bytes at {offset} are outside of {self.size} bytes"
            )
        return address + offset

    def _take(self) -> int | None:
        with self._lock:
            address, self._address = self._address, None
        return address

    def close(self) -> None:
        """Free the memory, unless the target has exited; more calls do nothing.

        Win32: VirtualFreeEx
        """
        address = self._take()
        if address is None:
            return
        try:
            self._process._change("free", address, 0, _MEM_RELEASE, 0)
        except ProcessLookupError:
            pass  # the memory has gone with the process
        finally:
            self._process.close()

    def detach(self) -> int:
        """Leave the memory to the target, and return its address; nothing frees it."""
        address = self._take()
        if address is None:
            raise ValueError("RemoteBlock is closed")
        self._process.close()
        return address

    def __enter__(self) -> Self:
        self.address  # noqa: B018 - raises when closed
        return self

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        address = self._address
        where = "closed" if address is None else f"at {address:#x}"
        return f"<RemoteBlock of {self.size} bytes in pid {self._process.pid} {where}>"

    def __del__(self) -> None:
        if getattr(self, "_address", None) is not None:
            warnings.warn(
                f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self
            )
            self.close()


@contextlib.contextmanager
def protected(
    process: RemoteProcess, address: int, size: int, protection: int
) -> Iterator[list[Region]]:
    """See `RemoteProcess.protect`.

    Each region in the range gets its own protection back; VirtualProtectEx tells only
    that of the first page.
    """
    before = [
        region
        for region in process.regions(address, address + size)
        if region.state == MemoryState.COMMIT
    ]
    process._change("protect", address, size, 0, protection)
    try:
        yield before
    except BaseException as error:
        if failure := _restore(process, address, size, before):
            error.add_note(f"the protection could not be restored: {failure}")
        raise
    if failure := _restore(process, address, size, before):
        raise failure


def _restore(
    process: RemoteProcess, address: int, size: int, before: list[Region]
) -> Exception | None:
    """Restore the protection of all regions; return the first failure."""
    first = None
    for region in before:
        start = max(region.base, address)
        stop = min(region.end, address + size)
        try:
            process._change("protect", start, stop - start, 0, region.protection)
        except ProcessLookupError:
            break  # there is nothing to restore
        except Exception as error:
            first = first or error
    return first


class Watch:
    """The changes of some bytes, as an iterator and an async iterator.

    It looks every `interval` seconds; a change that is undone in between is not seen.
    It ends when the target exits, or when any thread closes the process object.
    """

    __slots__ = ("_process", "_reader", "address", "interval", "value")

    #: The address of the watched bytes, in the other process.
    address: int
    #: Seconds from one look to the next.
    interval: float
    #: The bytes at the last look.
    value: bytes

    def __init__(
        self, process: RemoteProcess, address: int, size: int, interval: float
    ) -> None:
        if not interval >= 0:
            raise ValueError("interval must be a number of seconds >= 0")
        self._process = process
        # A handle of its own, so that a read or wait here does not make the process
        # object's close() fail.
        self._reader = process._duplicate()
        self.address = address
        self.interval = interval
        try:
            self.value = self._reader.read(address, size)
        except BaseException:
            self._reader.close()
            raise

    def __repr__(self) -> str:
        end = ", ended" if self._reader.closed else ""
        what = f"{len(self.value)} bytes at {self.address:#x}"
        return f"<Watch of {what} in pid {self._process.pid}{end}>"

    def _look(self) -> Change | None:
        """The change since the last look, or None. Raises StopIteration at the end."""
        if self._process.closed or self._reader.closed:
            self._end()
        try:
            new = self._reader.read(self.address, len(self.value))
        except ProcessLookupError:
            self._end()
        old = self.value
        if new == old:
            return None
        self.value = new
        return Change(self.address, old, new)

    def _end(self) -> NoReturn:
        self._reader.close()
        raise StopIteration

    def _pauses(self) -> Iterator[float]:
        """An interval in slices; they end early if the process object is closed."""
        left = float(self.interval)
        while not self._process.closed:
            yield min(left, SLICE)
            left -= SLICE
            if left <= 0:
                return

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        while (change := self._look()) is None:
            for pause in self._pauses():
                with contextlib.suppress(TimeoutError):
                    self._reader.wait(pause)
                    self._end()
        return change

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        import asyncio

        while True:
            try:
                change = self._look()
            except StopIteration:
                raise StopAsyncIteration from None
            if change is not None:
                return change
            for pause in self._pauses():
                await asyncio.sleep(pause)

    def __del__(self) -> None:
        if (reader := getattr(self, "_reader", None)) is not None:
            reader.close()


def describe(region: Region, label: str | None) -> str:
    """The label of a row of `RemoteProcess.memory_map`."""
    if label is not None:
        return label
    if region.path is not None:
        return region.path
    if region.type == MemoryType.PRIVATE:
        return "private"
    if region.type == MemoryType.MAPPED:
        known = " or ".join(region.sections)
        return f"mapping, perhaps {known}" if known else "mapping"
    return "image" if region.type == MemoryType.IMAGE else "free"
