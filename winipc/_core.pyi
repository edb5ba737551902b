"""Types of the C extension; kept true by mypy.stubtest."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import (
    Any,
    Final,
    Literal,
    Self,
    SupportsFloat,
    SupportsIndex,
    TypeAlias,
    TypeVar,
    final,
    overload,
)

from _typeshed import ReadableBuffer
from typing_extensions import Buffer, disjoint_base

from winipc.memory.record import Record
from winipc.message.message import Message as MessageOfWindow
from winipc.message.target import Target
from winipc.process.types import Address, PartialRead

_View = TypeVar("_View", bound=MappingView)

# ---------------------------------------------------------------- base/module.c

class AbandonedError(OSError):
    mutex: Mutex | SharedLock | int | None
    """The lock, the number of its handle, or None if it is not known."""

class PartialReadError(OSError):
    partial: Any
    """The part that could be read."""

class PartialWriteError(OSError):
    written: int
    """The number of bytes that were written."""

# ----------------------------------------------------------------- base/number.c

_Integer: TypeAlias = Literal["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]
_Float: TypeAlias = Literal["f32", "f64"]

def _number_code(type: str, /) -> str: ...

# ------------------------------------------------------------------ base/bytes.c

@disjoint_base
class Memory:
    def read(self, size: int | None = -1, offset: int = 0) -> bytes: ...
    def read_into(self, buffer: Buffer, /, offset: int = 0) -> int: ...
    def write(self, data: Buffer, /, offset: int = 0) -> int: ...
    def find(self, sub: Buffer, /, start: int = 0, end: int | None = None) -> int: ...
    @overload
    def get(self, offset: SupportsIndex, type: _Integer, /) -> int: ...
    @overload
    def get(self, offset: SupportsIndex, type: _Float, /) -> float: ...
    @overload
    def get(self, offset: SupportsIndex, type: str, /) -> Any: ...
    def set(
        self,
        offset: SupportsIndex,
        type: str,
        value: SupportsIndex | SupportsFloat,
        /,
    ) -> None: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[int]: ...
    @overload
    def __getitem__(self, key: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> bytes: ...
    @overload
    def __setitem__(self, key: SupportsIndex, value: SupportsIndex, /) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: Buffer, /) -> None: ...
    size: Final[int]
    address: Final[int]
    closed: Final[bool]
    def _leave(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __release_buffer__(self, buffer: memoryview, /) -> None: ...

# -------------------------------------------------------------- memory/region.c

@disjoint_base
class MappedMemory(Memory):
    name: Final[str | None]
    _mode: Final[int]
    offset: Final[int]
    size_is_exact: Final[bool]
    mapped_size: Final[int]
    def flush(self, offset: int = 0, size: int | None = None) -> None: ...
    def close(self) -> None: ...

# ------------------------------------------------------------- memory/mapping.c

class SharedMapping(MappedMemory):
    _described: Final[bytes | None]
    @classmethod
    def _create(
        cls,
        name: str | None,
        size: int | None,
        access: int,
        file: str | int | None,
        offset: int | None,
        exist_ok: bool,
        security: str | None,
        reserve: bool,
        large_pages: bool,
        header: bytes | None,
        /,
    ) -> Self: ...
    @classmethod
    def _open(
        cls,
        name: str,
        access: int,
        offset: int | None,
        size: int | None,
        header: bool,
        /,
    ) -> Self: ...
    @classmethod
    def _from_handle(
        cls,
        handle: int,
        access: int,
        offset: int | None,
        size: int | None,
        name: str | None,
        header: bool,
        /,
    ) -> Self: ...
    def _view(
        self,
        type: type[_View],
        access: int,
        offset: int | None,
        size: int | None,
        /,
    ) -> _View: ...
    def _duplicate_to(self, pid: int, access: int, /) -> int: ...
    def commit(self, size: int = 0, /) -> int: ...
    handle: Final[int]
    created: Final[bool]
    _access: Final[int]
    owner_pid: Final[int | None]
    layout_version: Final[int | None]
    reserved: Final[int]

class MappingView(MappedMemory):
    mapping: Final[SharedMapping | None]

# ------------------------------------------------------------ memory/snapshot.c

@disjoint_base
class Snapshot:
    @classmethod
    def _create(
        cls,
        kind: str,
        buffer: Buffer,
        beside: Buffer | None,
        size: int,
        before: int,
        after: int,
        wide: bool,
        data: int,
        stride: int,
        settle: float,
        newest: tuple[int, int, int, int, int],
        mutex: int,
        /,
    ) -> Self: ...
    def _is_new(self) -> bool: ...
    sequence: Final[int | None]
    kind: Final[str]
    size: Final[int]
    closed: Final[bool]
    def read(self, timeout: float | None = 1.0) -> bytes: ...
    def write(self, data: Buffer, /) -> None: ...
    def close(self) -> None: ...

# -------------------------------------------------------------- memory/atomic.c

@final
class Atomic:
    def __new__(
        cls, buffer: Buffer, offset: SupportsIndex = 0, type: str = "i64"
    ) -> Self: ...
    value: int
    type: Final[str]
    readonly: Final[bool]
    def load(self) -> int: ...
    def store(self, value: SupportsIndex, /) -> None: ...
    def exchange(self, value: SupportsIndex, /) -> int: ...
    def compare_exchange(
        self, expected: SupportsIndex, desired: SupportsIndex, /
    ) -> int: ...
    def add(self, value: SupportsIndex, /) -> int: ...
    def and_(self, value: SupportsIndex, /) -> int: ...
    def or_(self, value: SupportsIndex, /) -> int: ...
    def xor(self, value: SupportsIndex, /) -> int: ...
    def release(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: object) -> None: ...

# ------------------------------------------------------------- memory/changes.c

def _changes(
    old: ReadableBuffer, new: ReadableBuffer, join: int, /
) -> list[tuple[int, bytes]]: ...

# -------------------------------------------------------------- memory/fields.c

@disjoint_base
class Fields:
    def __new__(cls, layout: Any, memory: Any, offset: int = 0, /) -> Self: ...
    @property
    def _layout(self) -> Any: ...
    @property
    def _memory(self) -> Any: ...
    @property
    def _offset(self) -> int: ...
    def __getitem__(self, name: str, /) -> Any: ...
    def __setitem__(self, name: str, value: Any, /) -> None: ...
    def __delitem__(self, name: str, /) -> None: ...
    def _all_numbers(self) -> dict[str, Any]: ...

@disjoint_base
class Layout:
    _numbers: dict[str, int]
    _record: type[Record]
    size: int
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    def unpack(self, buffer: Buffer, offset: int = 0) -> Record: ...

# ----------------------------------------------------------- sync/shared_lock.c

LOCK_SIZE: Final = 32

@disjoint_base
class SharedLock:
    def __new__(
        cls, buffer: Buffer, offset: SupportsIndex = 0, *, security: str | None = None
    ) -> Self: ...
    buffer: Final[Any]
    offset: Final[int]
    held: Final[bool]
    _depth: Final[int]
    owner: Final[int | None]
    abandoned: Final[bool]
    closed: Final[bool]
    def acquire(
        self,
        timeout: float | None = None,
        abandoned: Literal["raise", "accept"] = "raise",
    ) -> bool: ...
    def release(self) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

# ------------------------------------------------------------ section/section.c

@disjoint_base
class SharedSection(Memory):
    module: Final[int]
    readonly: Final[bool]
    created: Final[bool]
    attach_count: Final[int | None]
    _extent: Final[int]
    _module: Final[int]
    @classmethod
    def _load(cls, path: str, like: SharedSection | None, /) -> Self: ...
    def _image(self, offset: int, size: int, /) -> bytes: ...
    def _bind(
        self, symbol: bytes, offset: int, size: int, writable: bool, /
    ) -> bool: ...
    def close(self) -> None: ...

# -------------------------------------------------------------- sync/waitable.c

@disjoint_base
class Waitable:
    @classmethod
    def _create(
        cls,
        name: str | None,
        exist_ok: bool,
        security: str | None,
        first: int,
        second: int,
        /,
    ) -> Self: ...
    @classmethod
    def _open(cls, name: str, access: SupportsIndex, /) -> Self: ...
    @classmethod
    def _from_handle(cls, handle: SupportsIndex, name: str | None, /) -> Self: ...
    _pins: Final[int]
    _access: Final[int]
    handle: Final[int]
    closed: Final[bool]
    name: Final[str | None]
    created: Final[bool]
    def close(self) -> None: ...
    def _duplicate_to(self, pid: SupportsIndex, /) -> int: ...

class Mutex(Waitable):
    abandoned: Final[bool]
    held: Final[bool]
    _held_by_any: Final[bool]
    _depth: Final[int]
    _taken: Final[bool]
    def acquire(
        self,
        timeout: float | None = None,
        abandoned: Literal["raise", "accept"] = "raise",
    ) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

class Event(Waitable):
    manual: Final[bool | None]
    def set(self) -> None: ...
    def reset(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def is_set(self) -> bool: ...

class Semaphore(Waitable):
    value: Final[int]
    maximum: Final[int]
    def acquire(self, timeout: float | None = None) -> bool: ...
    def release(self, count: SupportsIndex = 1, /) -> int: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

@final
class WaitSet:
    def __new__(cls) -> Self: ...
    turns: Final[int]
    def add(
        self,
        object: Waitable | SupportsIndex,
        notify: Callable[[], object],
        waits: list[LoopWait],
        known: bool,
        /,
    ) -> bool: ...
    def take(
        self, idle: float | None, /
    ) -> tuple[LoopWait, Callable[[], object]] | None: ...
    def stop(self, only_idle: bool = False, /) -> bool: ...

@final
class LoopWait: ...

def _end_waits(waits: list[LoopWait], keep: bool, /) -> int | None: ...

WAIT_SLICE_MS: Final = 100

def _wait(
    objects: Iterable[Waitable | SupportsIndex],
    timeout: float | None,
    all: bool = False,
    slices: bool = True,
    /,
) -> int: ...
def _check_timeout(timeout: float | None, /) -> float | None: ...
def _can_give_back(object: Waitable | SupportsIndex, /) -> bool: ...
def _give_back(objects: Iterable[Waitable | SupportsIndex], /) -> None: ...

# ------------------------------------------------------------- message/lookup.c

def _find_window(
    title: str | None, class_name: str | int | None, message_only: bool, /
) -> int: ...
def _find_windows(
    title: str | None,
    class_name: str | int | None,
    message_only: bool,
    parent: SupportsIndex = 0,
    /,
) -> list[int]: ...
def _window_class(hwnd: SupportsIndex, /) -> str: ...
def _window_title(hwnd: SupportsIndex, /) -> str: ...
def _window_process(hwnd: SupportsIndex, /) -> tuple[int, int]: ...
def _window_place(hwnd: SupportsIndex, /) -> tuple[int, int]: ...
def _window_is(hwnd: SupportsIndex, what: int, /) -> bool: ...
def _window_order(hwnd: SupportsIndex, top: bool, /) -> None: ...

# --------------------------------------------------------------- message/send.c

def register_message(name: str, /) -> int: ...
def _reply_message(result: SupportsIndex, /) -> bool: ...
def _in_send() -> bool: ...
def _forward(
    hwnd: SupportsIndex,
    message: SupportsIndex,
    wparam: SupportsIndex,
    lparam: SupportsIndex,
    id: SupportsIndex,
    data: ReadableBuffer,
    /,
) -> int: ...

_hwnd_of: Callable[[Target], int]
_explain_send: Callable[[PermissionError, int], object]

def send_copydata(
    target: Target,
    data: ReadableBuffer,
    *,
    id: SupportsIndex = 0,
    timeout: float | None = 5.0,
    sender: Target | None = None,
    abort_if_hung: bool | None = None,
    check: bool = True,
) -> int: ...
def send_message(
    target: Target,
    message: SupportsIndex | str,
    wparam: SupportsIndex = 0,
    lparam: SupportsIndex = 0,
    *,
    timeout: float | None = 5.0,
    abort_if_hung: bool | None = None,
) -> int: ...
def post_message(
    target: Target,
    message: SupportsIndex | str,
    wparam: SupportsIndex = 0,
    lparam: SupportsIndex = 0,
) -> None: ...
def _begin_send(
    target: Target, data: ReadableBuffer, **how: Any
) -> tuple[object, int]: ...
def _end_send(send: object, target: object, /) -> int: ...

# --------------------------------------------------------------- message/lane.c

LANE_LOOK: Final = 0
LANE_ASK: Final = 1
LANE_ANSWER: Final = 2
LANE_WITHDRAW: Final = 3
LANE_NOT_ANSWERED: Final = -1
LANE_NOT_TAKEN: Final = -2

def _lane(
    memory: Memory, what: int, hwnd: int = 0, length: int = 0, us: int = 0, /
) -> int: ...

# ------------------------------------------------------------ message/message.c

@disjoint_base
class Message:
    message: Final[int]
    id: Final[int]
    sender: Final[int]
    pid: Final[int]
    wparam: Final[int]
    lparam: Final[int]
    time: Final[float]
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

# ------------------------------------------------------------- message/window.c

_Routes: TypeAlias = tuple[bool, bool, int, bytes, bool, Callable[[Any], Any]]

@disjoint_base
class CopyDataWindow:
    @classmethod
    def _create(
        cls,
        title: str,
        class_name: str,
        message_only: bool,
        max_message: int,
        max_count: int,
        max_bytes: int | None,
        overflow: int,
        routes: _Routes,
        message_type: type[Message],
        accept_pids: bytes,
        accept_paths: str,
        lower_integrity: bool,
        cookie: int,
        /,
    ) -> Self: ...
    hwnd: Final[int]
    closed: Final[bool]
    title: Final[str]
    class_name: Final[str]
    thread_id: Final[int]
    max_message: Final[int]
    pending: Final[int]
    pending_bytes: Final[int]
    refused: Final[int]
    dropped: Final[int]
    rejected: Final[int]
    def close(self, timeout: float | None = None) -> None: ...
    def receive(self, timeout: float | None = None) -> MessageOfWindow: ...
    def receive_nowait(self) -> MessageOfWindow | None: ...
    def latest(self, count: int = 16, /) -> list[MessageOfWindow]: ...
    def _set_routes(self, routes: _Routes, /) -> None: ...
    def _put(self, message: int, wparam: int, size: int, /) -> bool: ...
    def _look_at(self, section: int, message: int, us: int, /) -> None: ...
    def _begin_wait(self) -> int: ...
    def _end_wait(self) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> MessageOfWindow: ...

# --------------------------------------------------------------- memory/block.c

@disjoint_base
class GlobalMemory(Memory):
    _kind: Final[int]
    @classmethod
    def _create(cls, size: SupportsIndex, kind: int, /) -> Self: ...
    def detach(self) -> int: ...
    def close(self) -> None: ...

# ------------------------------------------------------------ process/process.c

@disjoint_base
class RemoteProcess:
    pid: Final[int]
    _access: Final[int]
    _suspends: Final[int]
    handle: Final[int]
    closed: Final[bool]
    alive: Final[bool]
    exit_code: Final[int | None]
    pointer_size: Final[int]
    path: Final[str]
    @classmethod
    def _open(cls, pid: SupportsIndex, access: SupportsIndex, /) -> Self: ...
    def _duplicate(self) -> Self: ...
    @overload
    def read(self, address: Address, size: SupportsIndex) -> bytes: ...
    @overload
    def read(
        self, address: Address, size: SupportsIndex, partial: Literal[False]
    ) -> bytes: ...
    @overload
    def read(
        self, address: Address, size: SupportsIndex, partial: Literal[True]
    ) -> PartialRead: ...
    @overload
    def read_into(
        self, address: Address, buffer: Buffer, partial: Literal[False] = False
    ) -> int: ...
    @overload
    def read_into(
        self, address: Address, buffer: Buffer, partial: Literal[True]
    ) -> PartialRead: ...
    def write(self, address: Address, data: Buffer, verify: bool = False) -> int: ...
    @overload
    def get(self, address: Address, type: _Integer, /) -> int: ...
    @overload
    def get(self, address: Address, type: _Float, /) -> float: ...
    @overload
    def get(self, address: Address, type: str, /) -> Any: ...
    def set(
        self,
        address: Address,
        type: str,
        value: SupportsIndex | SupportsFloat,
        /,
    ) -> None: ...
    def _suspend(self, on: bool, /) -> None: ...
    def _change(
        self,
        what: str,
        address: SupportsIndex,
        size: SupportsIndex,
        type: int,
        protection: SupportsIndex,
        /,
    ) -> int: ...
    def _regions(
        self, start: int, stop: int, /
    ) -> list[tuple[int, int, int, int, int, int, int]]: ...
    def _mapped_name(self, address: int, /) -> str | None: ...
    def read_many(
        self, requests: Iterable[Sequence[SupportsIndex]], /
    ) -> list[bytes | None]: ...
    def _walk(
        self, node: int, offset: int, head: int, count: int, width: int, /
    ) -> tuple[bytes, int, int]: ...
    def _enter_cached(self) -> None: ...
    def _exit_cached(self) -> None: ...
    def _modules(self) -> list[tuple[str, int, int, int]]: ...
    def _threads(self) -> list[tuple[int, int]]: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def wait_input_idle(self, timeout: float | None = None) -> None: ...
    def close(self) -> None: ...

def _processes() -> list[tuple[int, str, int, int]]: ...
def _dos_devices() -> list[tuple[str, str]]: ...

# --------------------------------------------------------------- process/job.c

@final
class Job:
    closed: Final[bool]
    active: Final[int]
    @classmethod
    def _create(cls) -> Self: ...
    def start(self, pid: SupportsIndex, /) -> None: ...
    def terminate(self, exit_code: SupportsIndex, /) -> None: ...
    def close(self) -> None: ...

# ------------------------------------------------------------------ scan/scan.c

@disjoint_base
class Scan:
    @classmethod
    def _open(
        cls,
        source: RemoteProcess | Buffer,
        ranges: bytes | None,
        protections: SupportsIndex,
        specs: Sequence[tuple[Any, ...]],
        match: Callable[[int, Any], Any] | None,
        keys: tuple[Any, ...],
        progress: Callable[[int, int], object] | None,
        limit: SupportsIndex,
        threads: int | None,
        /,
    ) -> Self: ...
    scanned: Final[int]
    skipped: Final[int]
    cancelled: Final[bool]
    closed: Final[bool]
    def cancel(self) -> None: ...
    def close(self) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

# ------------------------------------------------------------ scan/candidates.c

@disjoint_base
class CandidateSet:
    @classmethod
    def _create(
        cls,
        process: RemoteProcess,
        ranges: bytes,
        protections: SupportsIndex,
        specs: Sequence[tuple[Any, ...]],
        type: int,
        keep_first: bool,
        undo_bytes: SupportsIndex,
        progress: Callable[[int, int], object] | None,
        threads: int | None,
        /,
    ) -> Self: ...
    @classmethod
    def _empty(
        cls,
        process: RemoteProcess,
        type: int,
        width: int,
        step: SupportsIndex,
        keep_first: bool,
        undo_bytes: SupportsIndex,
        /,
    ) -> Self: ...
    scanned: Final[int]
    skipped: Final[int]
    lost: Final[int]
    nbytes: Final[int]
    closed: Final[bool]
    _version: Final[int]
    _type: Final[int]
    _width: Final[int]
    _step: Final[int]
    _keeps_first: Final[int]
    _process: Final[Any]
    _lost: int
    def _put(
        self, base: SupportsIndex, places: bytes, values: bytes, firsts: bytes | None, /
    ) -> None: ...
    def _rescan(
        self,
        change: int,
        limits: tuple[Any, ...],
        since_first: bool,
        negate: bool,
        progress: Callable[[int, int], object] | None,
        threads: int | None,
        /,
    ) -> Literal[False] | None: ...
    def _undo(self) -> Literal[False] | None: ...
    def _take(
        self, block: int, version: int, firsts: bool, /
    ) -> tuple[int, int, bytes, bytes] | None: ...
    def close(self) -> None: ...
    def __len__(self) -> int: ...

# ----------------------------------------------------------- scan/pointer_scan.c

@disjoint_base
class PointerScan:
    @classmethod
    def _open(
        cls,
        process: RemoteProcess,
        ranges: bytes,
        protections: SupportsIndex,
        targets: bytes,
        bases: bytes,
        width: int,
        address: SupportsIndex,
        depth: int,
        max_offset: SupportsIndex,
        memory: SupportsIndex,
        timeout: float | None,
        match: Callable[[int, tuple[int, ...]], Any],
        progress: Callable[[int, int], object] | None,
        threads: int | None,
        /,
    ) -> Self: ...
    pointers: Final[int]
    scanned: Final[int]
    skipped: Final[int]
    nbytes: Final[int]
    cancelled: Final[bool]
    closed: Final[bool]
    def cancel(self) -> None: ...
    def close(self) -> None: ...
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...

# ------------------------------------------------------------- system/catalog.c

def _list_directory(path: str, step: int = 1, /) -> list[tuple[str, str]]: ...
def _open_object(
    path: str, type: str, access: SupportsIndex, /
) -> tuple[int, int | None]: ...
def _close_handle(handle: SupportsIndex, /) -> None: ...
def _holders(
    handles: Iterable[SupportsIndex], paths: Iterable[str | None], /
) -> list[list[tuple[int, int, int]]]: ...
def _own_handles() -> list[tuple[int, str, str]]: ...
def _thread_start(id: SupportsIndex, /) -> int | None: ...

# ------------------------------------------------------------ channel/channel.c

class EndOfStream(EOFError): ...

@final
class PeekedMessage(Memory):
    def __enter__(self) -> memoryview: ...
    def __exit__(self, *exc: object) -> None: ...

@disjoint_base
class Channel:
    @classmethod
    def _make(
        cls,
        name: str,
        capacity: SupportsIndex = 0,
        max_record: SupportsIndex = 0,
        flags: SupportsIndex = 0,
        security: str | None = None,
        /,
    ) -> Self: ...
    def _claim(self, receive: bool, /) -> None: ...
    def _park(self, receive: bool, length: int, /) -> int | None: ...
    def _unpark(self, receive: bool, handle: int, /) -> None: ...
    def _members(self) -> bytes: ...
    def _recv_many(
        self, limit: SupportsIndex, /, timeout: float | None = None
    ) -> list[bytes]: ...
    def send(self, data: ReadableBuffer, /, timeout: float | None = None) -> None: ...
    def send_many(
        self, messages: Iterable[ReadableBuffer], /, timeout: float | None = None
    ) -> int: ...
    @overload
    def recv(self, timeout: float | None = None, layout: None = None) -> bytes: ...
    @overload
    def recv(self, timeout: float | None = None, *, layout: object) -> Any: ...
    def recv_into(self, buffer: Buffer, /, timeout: float | None = None) -> int: ...
    def peek(self, timeout: float | None = None) -> PeekedMessage: ...
    def close(self) -> None: ...
    name: Final[str | None]
    created: Final[bool]
    closed: Final[bool]
    capacity: Final[int]
    max_record: Final[int]
    _flags: Final[int]
    dropped: Final[int]
    pending: Final[int]

# -------------------------------------------------------------- system/system.c

def _wine_version() -> str | None: ...
def _create_file(path: str, size: int, security: str, /) -> int: ...
def _console_mode(handle: int, /) -> int | None: ...
def _set_console_mode(handle: int, mode: int, /) -> bool: ...
def _set_console_size(handle: int, columns: int, rows: int, /) -> bool: ...

# --------------------------------------------------------------- system/token.c

def _process_image(pid: int, /) -> tuple[str, float]: ...
def _process_token(pid: int, /) -> tuple[bool, int, str]: ...
def _mapping_is_ours(name: str, /) -> bool: ...
def _process_facts(pid: int, /) -> tuple[int | None, int | None, bool | None]: ...
def _set_privilege(name: str, enable: bool, /) -> bool: ...
