"""`winipc send`, `post`, `listen` and `receive`: send and receive window messages."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from winipc.base.text import clean, counted
from winipc.cli.options import (
    Commands,
    add_command,
    add_end,
    number,
    number32,
    positive,
    received,
    seconds,
    title,
)
from winipc.cli.output import note, print_json, print_line, print_result, until_ctrl_c
from winipc.exchange.sender import DEFAULT_TIMEOUT, Sender
from winipc.exchange.transport import (
    DEFAULT_MAPPING,
    DEFAULT_MAPPING_SIZE,
    DEFAULT_MAX_MESSAGE,
    DEFAULT_TITLE,
    Transport,
)
from winipc.message import post_message, register_message, send_message

if TYPE_CHECKING:
    from winipc.message import Message

#: Characters, or bytes in hexadecimal, of a message that are shown; JSON has all.
_SHOWN = 1024


def add(commands: Commands) -> None:
    send = add_command(
        commands,
        "send",
        _send,
        "send bytes to a window",
        "Send text, a file or standard input to a window, such as that of "
        "`winipc receive` or `winipc listen`, and wait for the answer.",
        'send --title my-app "Hello"',
        "send --title my-app --id 7 --file data.bin",
    )
    send.add_argument(
        "text", nargs="?", help="text, sent as UTF-8; - or no text: standard input"
    )
    send.add_argument("--file", help="send the bytes of this file instead")
    send.add_argument(
        "--via",
        choices=[transport.value for transport in Transport],
        default=Transport.COPYDATA.value,
        help="transport (%(default)s)",
    )
    send.add_argument(
        "--id", type=number, default=0, help="dwData of WM_COPYDATA (%(default)s)"
    )
    _add_timeout(send)
    _add_address(send)

    post = add_command(
        commands,
        "post",
        _post,
        "post a message to a window",
        "Post a message that carries two numbers to a window. With --wait, send it and "
        "wait for the answer.",
        "post my-app my-app.changed --wparam 1",
        "post my-app 0x8001 --wait",
    )
    post.add_argument("title", type=title, help="title of the window")
    post.add_argument("message", type=_message, help="registered message, or number")
    # Not positional: before Python 3.13, argparse loses an optional positional argument
    # that follows an option.
    for name in ("--wparam", "--lparam"):
        post.add_argument(name, type=number, default=0, help="a number (0)")
    post.add_argument(
        "--wait", action="store_true", help="send it, and print the answer"
    )
    _add_timeout(post)

    listen = add_command(
        commands,
        "listen",
        _listen,
        "print messages",
        "Open a window and print the messages that it receives.",
        "listen my-app",
        "listen my-app --message my-app.changed --json",
    )
    listen.add_argument(
        "title", type=title, help="title of the window, by which senders find it"
    )
    listen.add_argument("--class-name", help="name of its window class")
    listen.add_argument(
        "--message",
        action="append",
        type=_message,
        default=[],
        metavar="NAME",
        help="also take this registered message, or number; may be repeated",
    )
    _add_receiving(listen, 64 << 20)

    receive = add_command(
        commands,
        "receive",
        _receive,
        "print what is sent, by any transport",
        "Be a receiver for all four transports, and print what senders deliver.",
        "receive --title my-app",
    )
    _add_address(receive)
    receive.add_argument(
        "--mapping-size",
        type=positive,
        default=DEFAULT_MAPPING_SIZE,
        help="bytes of the mapping (%(default)s)",
    )
    _add_receiving(receive, DEFAULT_MAX_MESSAGE)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--title",
        type=title,
        default=DEFAULT_TITLE,
        help="title of the window (%(default)s)",
    )
    parser.add_argument(
        "--mapping", default=DEFAULT_MAPPING, help="name of the mapping (%(default)s)"
    )


def _add_timeout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout", type=seconds, default=DEFAULT_TIMEOUT, help="seconds (%(default)s)"
    )


def _add_receiving(parser: argparse.ArgumentParser, most: int) -> None:
    parser.add_argument(
        "--hex", action="store_true", help="print the bytes in hexadecimal"
    )
    parser.add_argument(
        "--max-message",
        type=number32,
        default=most,
        help="refuse messages of more bytes (%(default)s)",
    )
    parser.add_argument(
        "--exist-ok",
        action="store_true",
        help="also if another window has this title; senders find the newest",
    )
    add_end(parser, "messages", "comes")


def _message(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        if not text:
            raise argparse.ArgumentTypeError("a message has a name") from None
        return text


# -------------------------------------------------------------------- sending


def _send(arguments: argparse.Namespace) -> int:
    data, via = _data(arguments), arguments.via
    if arguments.id and via != Transport.COPYDATA:
        arguments.parser.error("only --via copydata has an --id")
    try:
        sender = Sender(
            arguments.title, mapping=arguments.mapping, timeout=arguments.timeout
        )
    except FileNotFoundError as error:
        if arguments.title == DEFAULT_TITLE:
            error.add_note("winipc receive opens it; --title names another")
        raise
    with sender:
        start = time.perf_counter()
        answer = sender.send(data, via, id=arguments.id)
        taken = time.perf_counter() - start
    print_result(
        arguments.json,
        {"via": via, "bytes": len(data), "answer": answer, "seconds": taken},
        f"{counted(len(data), 'byte')} sent via {via} in {taken * 1000:.1f} ms, "
        f"answer {answer}",
    )
    return 0


def _data(arguments: argparse.Namespace) -> bytes:
    if arguments.file is not None:
        if arguments.text is not None:
            arguments.parser.error("give a text or a file, not both")
        with open(arguments.file, "rb") as file:
            data: bytes = file.read()
        return data
    if arguments.text in (None, "-"):
        return sys.stdin.buffer.read()
    text: str = arguments.text
    return text.encode()


def _post(arguments: argparse.Namespace) -> int:
    words = (arguments.title, arguments.message, arguments.wparam, arguments.lparam)
    if str(arguments.message).startswith("WM_"):
        note(
            f"{arguments.message} is taken for the name of a registered message; those "
            "of Windows have numbers, such as 0x10 for WM_CLOSE"
        )
    if not arguments.wait:
        post_message(*words)
        print_result(arguments.json, {"posted": arguments.message}, "posted")
        return 0
    answer = send_message(*words, timeout=arguments.timeout)
    print_result(
        arguments.json,
        {"sent": arguments.message, "answer": answer},
        f"sent, answer {answer}",
    )
    return 0


# ------------------------------------------------------------------ receiving


def _listen(arguments: argparse.Namespace) -> int:
    from winipc.message import CopyDataWindow

    with (
        CopyDataWindow.create(
            arguments.title,
            class_name=arguments.class_name,
            messages=arguments.message,
            max_message=arguments.max_message,
            exist_ok=arguments.exist_ok,
        ) as window,
        until_ctrl_c() as say,
    ):
        say(f"listening as {arguments.title!r}, window {window.hwnd:#x}")
        given = [one for one in arguments.message if isinstance(one, str)]
        names = {register_message(name): name for name in given}
        for message in received(window.receive, arguments):
            name = names.get(message.message)
            if arguments.json:
                print_json(_fields(message, name))
            else:
                print_line(_line(message, name, arguments.hex))
    return 0


def _fields(message: Message, name: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "message": message.message,
        "time": message.time,
        "sender": message.sender or None,
        "pid": message.pid or None,
    }
    if not message.is_copydata:
        if name is not None:
            fields["name"] = name
        return fields | {"wparam": message.wparam, "lparam": message.lparam}
    data = bytes(message)
    fields |= {"id": message.id, "bytes": len(data), "hex": data.hex()}
    try:
        fields["text"] = data.removesuffix(b"\0").decode()
    except UnicodeDecodeError:
        fields["text"] = None
    return fields


def _line(message: Message, name: str | None, in_hex: bool) -> str:
    if not message.is_copydata:
        what = f"{message.message:#x}" if name is None else clean(name)
        return f"message {what} wparam {message.wparam:#x} lparam {message.lparam:#x}"
    data = bytes(message)
    sender = f"pid {message.pid}" if message.pid else "unknown sender"
    size = counted(len(data), "byte")
    return f"{sender}, id {message.id:#x}, {size}: {_shown(data, in_hex)}"


def _receive(arguments: argparse.Namespace) -> int:
    from winipc.exchange.receiver import Receiver  # `winipc send` starts sooner

    with (
        Receiver(
            arguments.title,
            mapping=arguments.mapping,
            mapping_size=arguments.mapping_size,
            max_message=arguments.max_message,
            exist_ok=arguments.exist_ok,
        ) as receiver,
        until_ctrl_c() as say,
    ):
        say(f"listening as {arguments.title!r}")
        for message in received(receiver.receive, arguments):
            via, data = message.transport.value, message.data
            if arguments.json:
                fields = {"via": via, "bytes": len(data), "pid": message.pid}
                print_json(fields | {"hex": data.hex()})
            else:
                size = counted(len(data), "byte")
                print_line(f"{via} {size}: {_shown(data, arguments.hex)}")
    return 0


def _shown(data: bytes, in_hex: bool) -> str:
    """Data on one line, cut: its text, or its bytes in hexadecimal."""
    if in_hex:
        shown, length = data[:_SHOWN].hex(" "), len(data)
    else:
        text = data.removesuffix(b"\0").decode("utf-8", "backslashreplace")
        shown, length = clean(text[:_SHOWN]), len(text)
    return f"{shown} ... {length - _SHOWN} more" if length > _SHOWN else shown
