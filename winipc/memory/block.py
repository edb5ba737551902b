"""`GlobalMemory`: a block of this process's memory that others can read."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Self, SupportsIndex

from winipc import _core
from winipc.base.holders import Held
from winipc.base.shown import Shown
from winipc.memory.record import Structured

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["GlobalMemory", "MemoryKind"]


class MemoryKind(enum.IntEnum):
    """The function that allocates a `GlobalMemory`."""

    GLOBAL = 0
    """GlobalAlloc: a fixed block of the process's heap."""
    VIRTUAL = 1
    """VirtualAlloc: whole pages."""


class GlobalMemory(Held, _core.GlobalMemory, Structured, Shown):
    """A block of this process's memory, for other processes to read.

    ::

        import os

        with winipc.GlobalMemory(b"hello") as memory:
            pid, address, size = os.getpid(), memory.address, memory.size

            # in another program, which was told these three numbers
            with winipc.RemoteProcess.open(pid) as process:
                print(process.read(address, size))  # b'hello'

    `source` is a size in bytes, for a block of zeros, or a buffer, which is copied.
    Tell another process the `address` and this process's pid: its `RemoteProcess.read`
    reads the block.

    The block supports the buffer protocol, `len`, indices and slices. `close` frees it,
    and raises BufferError while a memoryview of it is alive. Any thread may use it.

    Raises:
        OSError: There is not enough memory.
        ValueError: The size is negative.

    Win32: GlobalAlloc, VirtualAlloc
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls, source: SupportsIndex | Buffer, *, kind: MemoryKind = MemoryKind.GLOBAL
    ) -> Self:
        if isinstance(source, int):
            return cls._create(source, kind)
        try:
            view = memoryview(source)  # type: ignore[arg-type]
        except TypeError:
            return cls._create(source, kind)  # type: ignore[arg-type]
        with view:
            if view.ndim == 0 and isinstance(source, SupportsIndex):
                return cls._create(source, kind)  # a NumPy integer
            memory = cls._create(view.nbytes, kind)
            try:
                memory.write(view)
            except BaseException:
                memory.close()
                raise
        return memory

    @classmethod
    def allocate(
        cls, size: SupportsIndex, *, kind: MemoryKind = MemoryKind.GLOBAL
    ) -> Self:
        """Allocate a block of `size` zeroed bytes."""
        return cls._create(size, kind)

    @property
    def kind(self) -> MemoryKind:
        """Whether GlobalAlloc or VirtualAlloc allocated the block."""
        return MemoryKind(self._kind)
