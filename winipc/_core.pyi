"""Types of the C extension; kept true by mypy.stubtest."""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, Literal, Self, SupportsIndex, final

# ---------------------------------------------------------------- module.c

class AbandonedError(OSError):
    mutex: Mutex

class PartialReadError(OSError):
    partial: Any

class PartialWriteError(OSError):
    written: int

# --------------------------------------------------------------- mapping.c

# ---------------------------------------------------------------- atomic.c

# --------------------------------------------------------------- section.c

# ------------------------------------------------------------------ sync.c

class Waitable:
    @property
    def _pins(self) -> int: ...
    @property
    def handle(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    @property
    def name(self) -> str | None: ...
    @property
    def created(self) -> bool: ...
    def close(self) -> None: ...
    def _pin(self) -> None: ...
    def _unpin(self) -> None: ...
    def _duplicate_to(self, pid: SupportsIndex, /) -> int: ...

class Mutex(Waitable):
    @classmethod
    def _create(
        cls,
        name: str | None,
        owned: bool = False,
        exist_ok: bool = False,
        security: str | None = None,
        access: SupportsIndex = 0x100003,
    ) -> Self: ...
    @classmethod
    def _open(cls, name: str, access: SupportsIndex) -> Self: ...
    @classmethod
    def _from_handle(cls, handle: SupportsIndex, name: str | None = None) -> Self: ...
    @property
    def abandoned(self) -> bool: ...
    @property
    def held(self) -> bool: ...
    def acquire(
        self,
        timeout: float | None = None,
        abandoned: Literal["raise", "accept"] = "raise",
    ) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

class Event(Waitable):
    @classmethod
    def _create(
        cls,
        name: str | None,
        manual: bool = False,
        initial: bool = False,
        exist_ok: bool = False,
        security: str | None = None,
        access: SupportsIndex = 0x100003,
    ) -> Self: ...
    @classmethod
    def _open(cls, name: str, access: SupportsIndex) -> Self: ...
    @classmethod
    def _from_handle(cls, handle: SupportsIndex, name: str | None = None) -> Self: ...
    @property
    def manual(self) -> bool | None: ...
    def set(self) -> None: ...
    def reset(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def is_set(self) -> bool: ...

class Semaphore(Waitable):
    @classmethod
    def _create(
        cls,
        name: str | None,
        initial: SupportsIndex = 1,
        maximum: SupportsIndex = 0x7FFFFFFF,
        exist_ok: bool = False,
        security: str | None = None,
        access: SupportsIndex = 0x100003,
    ) -> Self: ...
    @classmethod
    def _open(cls, name: str, access: SupportsIndex) -> Self: ...
    @classmethod
    def _from_handle(cls, handle: SupportsIndex, name: str | None = None) -> Self: ...
    @property
    def value(self) -> int: ...
    @property
    def maximum(self) -> int: ...
    def acquire(self, timeout: float | None = None) -> bool: ...
    def release(self, count: SupportsIndex = 1, /) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

def _wait_any(
    objects: Iterable[Waitable | SupportsIndex],
    timeout: float | None = None,
    slices: bool = True,
) -> int: ...
def _wait_all(
    objects: Iterable[Waitable | SupportsIndex], timeout: float | None = None
) -> bool: ...

# --------------------------------------------------------------- message.c

# ---------------------------------------------------------------- window.c

# ---------------------------------------------------------------- memory.c

# --------------------------------------------------------------- process.c

# --------------------------------------------------------------- catalog.c

# --------------------------------------------------------------- channel.c
