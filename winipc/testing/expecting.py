"""`ExpectingWindow`: a window that says how a message differs from the expected one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from winipc.base.deadline import Deadline
from winipc.base.text import HEX_WIDTH, hex_rows
from winipc.memory.record import Record
from winipc.message import register_message
from winipc.message.message import ID_LIMIT, WM_COPYDATA, Message
from winipc.message.window import CopyDataWindow

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


_SHOWN = 10


#: What a test compares: attributes of the message and their values, and its data.
_Expected = tuple[dict[str, int], bytes | str | Record | None]


def _differences(expected: _Expected, came: Message) -> list[str]:
    numbers, data = expected
    lines = [
        f"{name}: expected {_shown(name, wanted)}, came {_shown(name, got)}"
        for name, wanted in numbers.items()
        if (got := getattr(came, name)) != wanted
    ]
    if isinstance(data, str):
        try:
            text = came.text()
        except UnicodeDecodeError:
            lines.append(f"data: expected {data!r}, but this is not UTF-8:")
            lines += _dump("came", bytes(came), 0)
        else:
            if text != data:
                lines += [f"data: expected {data!r}", f"          came {text!r}"]
    elif isinstance(data, Record):
        lines += _field_differences(data, bytes(came))
    elif data is not None and data != bytes(came):
        lines += _data_difference(data, bytes(came))
    return lines


def _described(expected: _Expected) -> str:
    numbers, data = expected
    parts = [f"{name}={_shown(name, n)}" for name, n in numbers.items()]
    if data is not None:
        parts.append(f"data={_short(data)}")
    return " ".join(parts) or "any message"


def _shown(name: str, number: int) -> str:
    return str(number) if name == "pid" else f"{number:#x}"


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
        """Take the next message, which has to be this one, and return it.

        Args:
            id: Of a WM_COPYDATA.
            data: Its bytes; a str, for text in UTF-8 up to the first NUL; or a record
                of a `winipc.Layout`, for its fields.
            message: Another message, a number or a registered name, that the
                window was asked to take (`subscribe`, or `messages=`). Without
                it, and without wparam and lparam, a WM_COPYDATA is expected.
            pid: The process of the window that the message names as its sender.
            timeout: Seconds for all of it.
            skip: Pass over other messages until this one comes.

        Raises `AssertionError`, which says what differs, or what came until then.
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
        expected: _Expected = (
            {name: number for name, number in numbers.items() if number is not None},
            data if data is None or isinstance(data, (str, Record)) else bytes(data),
        )
        deadline = Deadline(timeout)
        while True:
            try:
                came = self.receive(deadline.left())
            except TimeoutError:
                raise AssertionError(
                    f"not within {timeout} s: {_described(expected)}\n{self._history()}"
                ) from None
            differences = _differences(expected, came)
            if not differences:
                self._note(came, "expected")
                return came
            self._note(came, "not expected")
            if not skip:
                lines = "\n  ".join(differences)
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
            text += f" {_short(bytes(came))}"
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


def _short(data: bytes | str | Record) -> str:
    if isinstance(data, Record):
        return repr(data)
    return repr(data) if len(data) <= 64 else f"{data[:64]!r}... ({len(data)})"


def _dump(label: str, data: bytes, at: int) -> list[str]:
    """A few rows of a hex view around an offset."""
    begin = max(0, at // HEX_WIDTH - 1) * HEX_WIDTH
    rows = hex_rows(begin, data[begin : begin + 3 * HEX_WIDTH])
    lines = [f"{label:>10} {row.line()}" for row in rows]
    return lines or [f"{label:>10} (nothing)"]


def _field_differences(expected: Record, came: bytes) -> list[str]:
    layout = expected._layout
    if len(came) < layout.size:
        return [
            f"data: {layout.size} bytes of {layout.name} expected, {len(came)} came"
        ]
    got = layout.unpack(came)
    pairs = [(field.name, expected[field.name], got[field.name]) for field in layout]
    return [
        f"data: {name}: expected {wanted!r}, came {found!r}"
        for name, wanted, found in pairs
        if found != wanted
    ]


def _data_difference(expected: bytes, came: bytes) -> list[str]:
    pairs = zip(expected, came, strict=False)
    shorter = min(len(expected), len(came))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
    sizes = f"{len(expected)} bytes expected, {len(came)} came"
    return [
        f"data: {sizes}; they differ from offset {at} on",
        *_dump("expected", expected, at),
        *_dump("came", came, at),
    ]
