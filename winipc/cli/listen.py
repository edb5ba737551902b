"""`winipc listen`: open a window and print the messages that it receives."""

from __future__ import annotations

import argparse
from typing import Any

from winipc.cli.options import (
    Commands,
    add_command,
    add_end,
    add_exist_ok,
    add_hex,
    counted,
    number32,
    shown,
)
from winipc.cli.output import note, print_json, print_line
from winipc.message import CopyDataWindow, Message


def add(commands: Commands) -> None:
    parser = add_command(commands, "listen", run, "print messages", __doc__)
    parser.add_argument("title", help="title of the window, by which senders find it")
    parser.add_argument("--class-name", help="name of its window class")
    parser.add_argument(
        "--message",
        action="append",
        default=[],
        metavar="NAME",
        help="also take this registered message, or number; may be repeated",
    )
    add_hex(parser)
    parser.add_argument(
        "--max-message",
        type=number32,
        default=64 << 20,
        help="refuse messages of more bytes (%(default)s)",
    )
    add_exist_ok(parser)
    add_end(parser, "messages", "comes")


def run(arguments: argparse.Namespace) -> int:
    with CopyDataWindow.create(
        arguments.title,
        class_name=arguments.class_name,
        messages=[_message(text) for text in arguments.message],
        max_message=arguments.max_message,
        exist_ok=arguments.exist_ok,
    ) as window:
        note(f"listening as {arguments.title!r}, window {window.hwnd:#x}, Ctrl+C ends")
        for _ in counted(arguments.count):
            try:
                message = window.receive(arguments.timeout)
            except TimeoutError:
                raise TimeoutError(
                    f"no message for {arguments.title!r} in {arguments.timeout} s"
                ) from None
            if arguments.json:
                print_json(_fields(message))
            else:
                print_line(_line(message, arguments.hex))
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


def _line(message: Message, in_hex: bool) -> str:
    if not message.is_copydata:
        return (
            f"message {message.message:#x} wparam {message.wparam:#x} "
            f"lparam {message.lparam:#x}"
        )
    data = bytes(message)
    what = f"pid {message.pid} id {message.id:#x} {len(data)} bytes"
    return f"{what}: {shown(data, in_hex)}"
