"""`Sender`: finds a receiver's window and delivers bytes to it."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING

from winipc import _core
from winipc.base.appearing import wait_until_made
from winipc.base.closing import Closing
from winipc.base.deadline import Deadline, timed_out
from winipc.errors import add_hint
from winipc.exchange.transport import (
    BARRIER,
    BUSY,
    DEFAULT_MAPPING,
    DEFAULT_MAPPING_SIZE,
    DEFAULT_TITLE,
    MESSAGE_NAMES,
    NOT_ANSWERED,
    NOT_TAKEN,
    PROOF,
    SECTION_LOCK,
    Lane,
    Transport,
    seen,
)
from winipc.memory.mapping import SharedMapping
from winipc.message.send import register_message, send_copydata, send_message
from winipc.message.target import hwnd_of

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import ReadableBuffer

    from winipc.memory.block import GlobalMemory
    from winipc.section.section import SharedSection

__all__ = ["Sender"]

DEFAULT_TIMEOUT = 5.0

_MAX_LENGTH = 0xFFFF_FFFF
_WIDTH = struct.calcsize("P")
#: Seconds between two questions to a busy receiver: the first and the longest pause.
_SHORTEST, _LONGEST = 0.001, 0.05
#: Up to this many bytes, WM_COPYDATA is faster than the mapping with its lock.
_SMALL = 1 << 12
#: After so many small ones, "auto" looks for a way that is faster.
_OFTEN = 16
#: The values of `via` for which small data goes by WM_COPYDATA.
_COPIED = ("auto", "copydata")


class Sender(Closing):
    """The sending end: finds the receiver's window and delivers bytes to it.

    ::

        with winipc.Sender("my-app.inbox") as sender:
            print(sender.send(b"hello"), sender.send(bytes(2000), via="mapping"))  # 1 1

    A `Receiver` with a handler looks in shared memory for the next delivery, for 0.1 ms
    after each. A sender that finds it there by the mapping sends no message, which is
    some 20 times faster if both have a processor.

    Use a sender in one thread at a time. All senders of a session take turns on the
    mapping and the section: each holds a lock until the receiver has answered. Plain C
    programs do not know the lock.

    Raises:
        FileNotFoundError: No window has this title.

    Win32: FindWindow, SendMessageTimeout, RegisterWindowMessage
    """

    def __init__(
        self,
        title: str = DEFAULT_TITLE,
        *,
        mapping: str = DEFAULT_MAPPING,
        section: SharedSection | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        self.title = title
        self.timeout = timeout
        self._mapping_name = mapping
        self._section = section
        self._hwnd = hwnd_of(title)
        self._stack = contextlib.ExitStack()
        self._mapping: SharedMapping | None = None
        self._lanes: dict[str, Lane] = {}
        self._kept: Lane | None = None  # for small data, by "auto"
        self._small = 0
        self._proven: dict[Transport, bool | None] = {}
        # The receiver may handle a send that timed out later. So its memory is kept
        # until the receiver has answered a later message.
        self._doubtful: list[GlobalMemory] = []

    @classmethod
    def wait_for(
        cls,
        title: str = DEFAULT_TITLE,
        timeout: float | None = None,
        *,
        mapping: str = DEFAULT_MAPPING,
        section: SharedSection | None = None,
    ) -> Self:
        """Return a sender as soon as a window has this title.

        `timeout` is in seconds; None waits forever. The sender's attribute `timeout`
        is another one: how long a send waits.

        Raises:
            TimeoutError: No window had this title in time (winerror 1460).

        Win32: FindWindow
        """
        return wait_until_made(
            lambda: cls(title, mapping=mapping, section=section), title, timeout
        )

    def send(
        self,
        data: ReadableBuffer,
        via: Transport | str = Transport.COPYDATA,
        *,
        id: int = 0,
    ) -> int:
        """Deliver `data` and return the receiver's answer, a positive number.

        `id` is the dwData of WM_COPYDATA; other transports have none.

        `via` is a `Transport`, its name, or "auto", which is no member of `Transport`.
        With "auto", data of more than 4 KiB goes by the mapping, as WM_COPYDATA would
        copy it twice. This needs a mapping with enough room, and a `Receiver` that
        proves that it has the same mapping. Small `bytes` that are sent often go by the
        mapping, too, while the receiver looks there. Other data goes by WM_COPYDATA.

        Raises:
            ConnectionRefusedError: The receiver answered 0.
            TimeoutError: The receiver did not answer in time, or hangs.
            ValueError: The data does not fit in the mapping or the section, or this
                transport does not reach the receiver: it has another mapping or another
                copy of the DLL, or is a 32-bit process while this is a 64-bit one.
            OSError: The receiver's window is gone.
        """
        if type(data) is bytes and len(data) <= _SMALL and via in _COPIED:
            # The frequent case: there is nothing to choose.
            size, transport = len(data), Transport.MAPPING
            answer = None if id or via != "auto" else self._ask_quickly(data)
            if answer is None:
                transport = Transport.COPYDATA
                answer = send_copydata(self._hwnd, data, id=id, timeout=self.timeout)
        else:
            if isinstance(data, str):
                raise TypeError("a message is bytes, not str: text.encode() gives them")
            with memoryview(data) as view:
                size = view.nbytes
                transport = self._choose(size) if via == "auto" else Transport(via)
                if id and transport is not Transport.COPYDATA:
                    raise ValueError(f"{transport} carries no id")
                if size > _MAX_LENGTH:
                    raise OverflowError("a message has at most 4 GiB - 1 bytes")
                answer = self._deliver(transport, view, id)
        if answer <= 0:
            error = ConnectionRefusedError(
                errno.ECONNREFUSED,
                f"the receiver refused {size} bytes via {transport}",
                self.title,
            )
            if transport is not Transport.COPYDATA and not self._proven.get(transport):
                add_hint(error, "its window may take only WM_COPYDATA: via copydata")
            raise error
        return answer

    def _choose(self, size: int) -> Transport:
        if size <= _SMALL:
            return Transport.COPYDATA
        try:
            shared = self._open_mapping(exists=True)
            self._lane(self._mapping_name)
        except OSError:
            return Transport.COPYDATA  # no mapping, or this process may not open it
        fits = size <= len(shared) and self._prove(
            Transport.MAPPING, shared, self._mapping_name
        )
        return Transport.MAPPING if fits else Transport.COPYDATA

    def _open_mapping(self, *, exists: bool = False) -> SharedMapping:
        """Open the receiver's mapping.

        If there is none, create it, for a receiver that opens it later; with `exists`,
        raise FileNotFoundError instead.
        """
        if self._mapping is None:
            name = self._mapping_name
            try:
                mapping = SharedMapping.open(name)
            except FileNotFoundError:
                if exists:
                    raise
                mapping = SharedMapping.create(
                    name, DEFAULT_MAPPING_SIZE, exist_ok=True
                )
            self._mapping = self._stack.enter_context(mapping)
        return self._mapping

    def _deliver(self, transport: Transport, view: memoryview, id: int) -> int:
        if transport is Transport.COPYDATA:
            return send_copydata(self._hwnd, view, id=id, timeout=self.timeout)
        if transport is Transport.PROCESS:
            if _WIDTH == 8 and self._width != 8:
                raise ValueError("process carries nothing from 64 bits to 32 bits")
            return self._send_process(view)
        if transport is Transport.MAPPING:
            name, shared = self._mapping_name, self._open_mapping()
            return self._send_shared(transport, shared, name, view)
        if self._width != _WIDTH:
            raise ValueError("section is not shared between 32 bits and 64 bits")
        if self._section is None:
            from winipc.section.section import SharedSection

            self._section = self._stack.enter_context(SharedSection.load())
        return self._send_shared(transport, self._section, SECTION_LOCK, view)

    def _send_shared(
        self,
        transport: Transport,
        shared: SharedMapping | SharedSection,
        lock_name: str,
        view: memoryview,
    ) -> int:
        if view.nbytes > len(shared):
            raise ValueError(
                f"{view.nbytes} bytes do not fit in the {transport}'s {len(shared)}"
            )
        if self._prove(transport, shared, lock_name) is False:
            raise ValueError(f"the receiver has another {transport} than {shared!r}")
        lane = self._lane(lock_name)
        with lane.turn(self.timeout):
            self._settle(lane)
            try:
                answer = self._ask(lane, shared, view, view.nbytes)
                if answer is None:
                    answer = self._notify(transport, view.nbytes, 0)
            except (TimeoutError, KeyboardInterrupt):
                lane.doubt = True
                raise
            return answer

    def _ask(
        self,
        lane: Lane,
        shared: SharedMapping | SharedSection,
        data: bytes | memoryview,
        size: int,
    ) -> int | None:
        """Write the data, and ask a receiver that looks in the lane; None: none does.

        The caller has its turn, and notes the doubt that a time-out leaves.
        """
        shared.write(data)
        if size < len(shared):
            # A plain C program looks for a NUL at the end of a text, and length 0
            # means text to every receiver.
            shared[size] = 0
        answer = lane.ask(self._hwnd, size)
        if answer == NOT_TAKEN:
            return None
        return self._late_answer(lane) if answer == NOT_ANSWERED else answer

    def _late_answer(self, lane: Lane) -> int:
        """Sleep until the handler, which is at work, has answered in the lane."""
        try:
            self._barrier(lane=lane)
        except OSError as error:
            if lane.answer() == NOT_ANSWERED:
                lane.doubt = True  # it may be at work still
                if not isinstance(error, FileNotFoundError):
                    raise
                text = "the receiver ended before it answered"
                raise ConnectionResetError(errno.ECONNRESET, text, self.title) from None
        return lane.answer()

    def _ask_quickly(self, data: bytes) -> int | None:
        """The answer of a receiver that looks in the lane. None: nothing was sent.

        It waits for no other sender, so a handler may send while one waits for it.
        """
        lane = self._kept or self._keep()
        if lane is None or not lane.is_looked_at(self._hwnd):
            return None
        shared = self._open_mapping()
        if len(data) > len(shared):
            return None
        begun = False
        try:
            with lane.turn(0):
                begun = True
                if not self._settle(lane, wait=False):
                    return None
                try:
                    answer = self._ask(lane, shared, data, len(data))
                except (TimeoutError, KeyboardInterrupt):
                    lane.doubt = True
                    raise
        except TimeoutError:
            if begun:
                raise
            return None
        if answer is not None:
            self._proven[Transport.MAPPING] = True
        return answer

    def _keep(self) -> Lane | None:
        """The lane, as soon as "auto" has sent often; else a try now and again."""
        self._small += 1
        if self._small < _OFTEN or self._small & self._small - 1:
            return None
        with contextlib.suppress(OSError):  # there is none, or it is not for us
            self._open_mapping(exists=True)
            self._kept = self._lane(self._mapping_name)
        return self._kept

    def _prove(
        self, transport: Transport, shared: SharedMapping | SharedSection, lock: str
    ) -> bool | None:
        """Whether the receiver has this memory; None if it does not know PROOF."""
        if transport not in self._proven:
            lane = self._lane(lock)
            with lane.turn(self.timeout):
                self._settle(lane)
                shared.write(os.urandom(min(4, len(shared))))
                number, answer = register_message(MESSAGE_NAMES[transport]), 0
                with contextlib.suppress(PermissionError):  # its filter blocks PROOF
                    answer = send_message(
                        self._hwnd, PROOF, number, timeout=self.timeout
                    )
                same = answer == seen(shared)
                self._proven[transport] = same if answer else None
        return self._proven[transport]

    @cached_property
    def _width(self) -> int:
        """The receiver's pointer size; if it cannot be opened, this process's own."""
        from winipc.process.access import ProcessAccess
        from winipc.process.process import RemoteProcess

        pid, _ = _core._window_process(self._hwnd)
        with (
            contextlib.suppress(OSError),
            RemoteProcess.open(pid, access=ProcessAccess.QUERY) as process,
        ):
            return process.pointer_size
        return _WIDTH

    def _send_process(self, view: memoryview) -> int:
        if self._doubtful:
            self._barrier()
            self._free_doubtful()
        from winipc.memory.block import GlobalMemory, MemoryKind

        # Whole pages: once they are freed, a late read of them fails. The byte after
        # the data is the NUL that a plain C program looks for.
        memory = GlobalMemory.allocate(view.nbytes + 1, kind=MemoryKind.VIRTUAL)
        try:
            memory.write(view)
            answer = self._notify(
                Transport.PROCESS, _pack(memory, view.nbytes), memory.address
            )
        except (TimeoutError, KeyboardInterrupt):
            self._doubtful.append(memory)
            raise
        except BaseException:
            memory.close()
            raise
        memory.close()
        return answer

    def _notify(self, transport: Transport, wparam: int, lparam: int) -> int:
        name = MESSAGE_NAMES[transport]
        return send_message(self._hwnd, name, wparam, lparam, timeout=self.timeout)

    def _settle(self, lane: Lane, *, wait: bool = True) -> bool:
        """Whether the receiver is through with all that was sent by the lane."""
        if lane.doubt:
            lane.withdraw()
            if not self._barrier(wait=wait):
                return False
            lane.doubt = False
        return True

    def _barrier(self, *, wait: bool = True, lane: Lane | None = None) -> bool:
        """Wait until the receiver has handled everything that was sent before.

        And until it has answered in the lane: a receiver that its handler has closed
        does not know the barrier, and the handler may send on.

        False when one of its handlers sends, and this is not to wait for it.
        """
        # Sent messages are handled in order, so the answer to this one means that all
        # earlier ones are done. The exception is a handler that sends: Windows then
        # delivers the next message before it returns. The `Receiver` answers BUSY, and
        # is asked again.
        deadline, pause = Deadline(self.timeout), _SHORTEST

        def busy() -> bool:
            left = deadline.left()
            answer = send_message(self._hwnd, BARRIER, 0, 0, timeout=left)
            unanswered = lane is not None and lane.answer() == NOT_ANSWERED
            return answer == BUSY or unanswered

        while busy():
            if not wait:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)
            if deadline.left() == 0:
                raise timed_out("an earlier delivery is not done yet", self.title)
        return True

    def _free_doubtful(self) -> None:
        while self._doubtful:
            self._doubtful.pop().close()

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = self._stack.enter_context(Lane(name))
        return lane

    def close(self) -> None:
        """Release the mapping and the section; may be called twice.

        This also frees the memory of "process" messages that timed out. A receiver that
        reads such a message later refuses it.
        """
        self._stack.close()
        self._kept, self._small = None, -sys.maxsize  # "auto" keeps to WM_COPYDATA
        self._free_doubtful()

    def __repr__(self) -> str:
        return f"<Sender {self.title!r} hwnd={self._hwnd:#x}>"


def _pack(memory: GlobalMemory, length: int) -> int:
    """The wParam of "Handle": pid and length, or 0 for text."""
    if _WIDTH == 8:
        return os.getpid() | length << 32
    if memory.find(b"\0") < length:
        raise ValueError(
            "a 32-bit process sends only text without NUL by the process transport"
        )
    return os.getpid()
