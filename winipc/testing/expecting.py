"""`ExpectingWindow`: a window that says how a message differs from the expected one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winipc.base.deadline import Deadline
from winipc.memory.record import Record
from winipc.message import register_message
from winipc.message.differing import Expected, described, differences, short
from winipc.message.message import ID_LIMIT, WM_COPYDATA, Message
from winipc.message.window import CopyDataWindow

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_SHOWN = 10


def _checked(
    data: ReadableBuffer | str | Record | None,
) -> bytes | str | Record | None:
    if data is None or isinstance(data, (str, Record)):
        return data
    try:  # not bytes(data): for an int, that makes zeros
        return bytes(memoryview(data))
    except TypeError:
        raise TypeError(
            "data is bytes, text or a record, as LAYOUT.unpack(LAYOUT.pack(total=7)) "
            f"makes one, not {data!r:.80}"
        ) from None


class ExpectingWindow(CopyDataWindow):
    """A window with `expect`; a failure shows the messages that came instead."""

    __slots__ = ("_seen",)

    _seen: list[str]

    def expect(
        self,
        *,
        id: int | None = None,
        data: ReadableBuffer | str | Record | None = None,
        message: int | str | None = None,
        wparam: int | None = None,
        lparam: int | None = None,
        pid: int | None = None,
        timeout: float | None = 10.0,
        skip: bool = False,
    ) -> Message:
        """Take the next message, check that it is the expected one, and return it.

        Args:
            id: The id of a WM_COPYDATA.
            data: The data: bytes; a str, for text in UTF-8 up to the first NUL; or a
                record of a `winipc.Layout`, for its fields:
                `LAYOUT.unpack(LAYOUT.pack(total=7))`.
            message: Another message, a number or a registered name, that the window
                takes (`subscribe`, or `messages=`). Without it, and without wparam and
                lparam, a WM_COPYDATA is expected.
            wparam, lparam: The parameters of the message.
            pid: The process of the window that the message names as its sender.
            timeout: Seconds in all.
            skip: Ignore other messages until this one comes.

        Raises:
            AssertionError: Something else came, or nothing in time; the error says what
                differs, or what came until then.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        number = register_message(message) if isinstance(message, str) else message
        if number is None and wparam is None and lparam is None:
            number = WM_COPYDATA
        numbers = {
            "message": number,
            "id": None if id is None else id % ID_LIMIT,
            "wparam": wparam,
            "lparam": lparam,
            "pid": pid,
        }
        expected: Expected = (
            {name: number for name, number in numbers.items() if number is not None},
            _checked(data),
        )
        deadline = Deadline(timeout)
        while True:
            try:
                came = self.receive(deadline.left())
            except TimeoutError:
                raise AssertionError(
                    f"not within {timeout} s: {described(expected)}\n{self._history()}"
                ) from None
            found = differences(expected, came)
            if not found:
                self._note(came, "expected")
                return came
            self._note(came, "not expected")
            if not skip:
                lines = "\n  ".join(found)
                raise AssertionError(
                    f"another message than expected\n  {lines}\n{self._history()}"
                )

    def expect_nothing(self, timeout: float = 0.2) -> None:
        """Raise `AssertionError` if a message comes in the next `timeout` seconds."""
        __tracebackhide__ = True  # pytest shows the test's line
        try:
            came = self.receive(timeout)
        except TimeoutError:
            return
        self._note(came, "not expected")
        raise AssertionError(f"a message came\n{self._history()}")

    def _note(self, came: Message, what: str) -> None:
        text = repr(came)
        if came.is_copydata:
            text += f" {short(bytes(came))}"
        if not hasattr(self, "_seen"):
            self._seen = []
        self._seen.append(f"{text} ({what})")

    def _history(self) -> str:
        seen = getattr(self, "_seen", [])
        lines = [f"came to {self.title!r}:"]
        if len(seen) > _SHOWN:
            lines.append(f"({len(seen) - _SHOWN} before)")
        lines += seen[-_SHOWN:] or ["nothing"]
        if self.pending:
            lines.append(f"({self.pending} more waiting)")
        return "\n  ".join(lines)
