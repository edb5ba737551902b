"""`winipc listen`: a window that prints the messages that others send to it."""

from __future__ import annotations

import argparse
from typing import Any

from winipc.cli.options import Commands, add_json, message_size, number, seconds
from winipc.cli.output import clean, note, print_json, print_line
from winipc.message.message import Message
from winipc.message.window import CopyDataWindow

__all__ = ["add"]


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "listen", help="print messages", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("title", help="title of the window, by which senders find it")
    parser.add_argument("--class-name", help="name of its window class")
    parser.add_argument(
        "--message",
        action="append",
        default=[],
        metavar="NAME",
        help="also take this registered message, or number; may be repeated",
    )
    parser.add_argument(
        "--format",
        choices=("text", "hex", "json"),
        default="text",
        help="how to print the data (%(default)s)",
    )
    parser.add_argument(
        "--max-message",
        type=message_size,
        default=64 << 20,
        help="refuse messages of more bytes (%(default)s)",
    )
    parser.add_argument("--count", type=number, help="end after so many messages")
    parser.add_argument(
        "--timeout", type=seconds, help="fail when nothing comes for so many seconds"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    form = "json" if arguments.json else arguments.format
    with CopyDataWindow.create(
        arguments.title,
        class_name=arguments.class_name,
        messages=[_message(text) for text in arguments.message],
        max_message=arguments.max_message,
    ) as window:
        note(f"listening as {arguments.title!r}, window {window.hwnd:#x}, Ctrl+C ends")
        left = arguments.count
        while left is None or left > 0:
            try:
                message = window.receive(arguments.timeout)
            except TimeoutError:
                raise TimeoutError(
                    f"no message for {arguments.title!r} in {arguments.timeout} s"
                ) from None
            if form == "json":
                print_json(_fields(message))
            else:
                print_line(_line(message, form))
            if left is not None:
                left -= 1
    return 0


def _message(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        return text


def _fields(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "message": message.message,
        "time": message.time,
        "sender": message.sender,
        "pid": message.pid,
    }
    if not message.is_copydata:
        return fields | {"wparam": message.wparam, "lparam": message.lparam}
    data = bytes(message)
    fields |= {"id": message.id, "bytes": len(data), "hex": data.hex()}
    try:
        fields["text"] = data.removesuffix(b"\0").decode()
    except UnicodeDecodeError:
        fields["text"] = None
    return fields


def _line(message: Message, form: str) -> str:
    if not message.is_copydata:
        return (
            f"message {message.message:#x} wparam {message.wparam:#x} "
            f"lparam {message.lparam:#x}"
        )
    data = bytes(message)
    if form == "hex":
        shown = data.hex(" ")
    else:
        shown = clean(data.removesuffix(b"\0").decode("utf-8", "backslashreplace"))
    return f"pid {message.pid} id {message.id:#x} {len(data)} bytes: {shown}"
