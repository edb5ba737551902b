"""A client of the search tool Everything, and a small server in its place.

Everything 1.4 takes queries by WM_COPYDATA, and sends its answer by WM_COPYDATA to the
window that the query names. All numbers have 32 bits and are little-endian. Text is
UTF-16 and ends with a NUL. Offsets are from the start of the answer.

    python everything.py TEXT            ask the running Everything
    python everything.py --serve FOLDER  be a server for the files of a folder
"""

import argparse
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import winipc
from winipc import decoders

WINDOW_CLASS = "EVERYTHING_TASKBAR_NOTIFICATION"
QUERY_W = 2
ALL_RESULTS = 0xFFFFFFFF
FOLDER = 1

_QUERY = struct.Struct("<5I")  # reply window, reply id, flags, offset, most
_LIST = struct.Struct("<7I")  # folders, files, all: found, then here; offset
_ITEM = struct.Struct("<3I")  # flags, offset of the name, offset of the path


@dataclass(frozen=True, slots=True)
class Found:
    """One result."""

    path: str
    name: str
    is_folder: bool


def search(
    text: str,
    *,
    most: int = ALL_RESULTS,
    offset: int = 0,
    flags: int = 0,
    timeout: float = 10.0,
    window_class: str = WINDOW_CLASS,
) -> list[Found]:
    """Ask Everything. Raises `FileNotFoundError` if it does not run."""
    reply_id = 0x57495043

    def query(hwnd: int) -> bytes:
        head = _QUERY.pack(hwnd, reply_id, flags, offset, most)
        return head + text.encode("utf-16-le") + b"\0\0"

    window = winipc.find_window(class_name=window_class)
    if window is None:
        raise FileNotFoundError("Everything does not run")
    answer = winipc.call(window, query, id=QUERY_W, reply_id=reply_id, timeout=timeout)
    return list(read_list(answer))


def read_list(answer: bytes) -> Iterable[Found]:
    """The results in an answer. Each offset is checked before its use."""
    count = _LIST.unpack_from(answer)[5]
    if count > (len(answer) - _LIST.size) // _ITEM.size:
        raise ValueError("the answer is shorter than its items")
    for index in range(count):
        flags, name, path = _ITEM.unpack_from(answer, _LIST.size + index * _ITEM.size)
        if max(name, path) >= len(answer):
            raise ValueError("an item points out of the answer")
        decode = decoders.utf16
        yield Found(decode(answer[path:]), decode(answer[name:]), bool(flags & FOLDER))


def write_list(found: list[Found], total: int, offset: int) -> bytes:
    """An answer with these results: some of `total`, from `offset` on."""
    folders = sum(item.is_folder for item in found)
    head = _LIST.pack(
        *(folders, total - folders, total),
        *(folders, len(found) - folders, len(found), offset),
    )
    items, texts = bytearray(), bytearray()
    base = _LIST.size + len(found) * _ITEM.size
    for item in found:
        name = base + len(texts)
        texts += item.name.encode("utf-16-le") + b"\0\0"
        path = base + len(texts)
        texts += item.path.encode("utf-16-le") + b"\0\0"
        items += _ITEM.pack(FOLDER if item.is_folder else 0, name, path)
    return head + bytes(items + texts)


def serve(
    items: list[Found], window_class: str = WINDOW_CLASS
) -> winipc.CopyDataWindow:
    """Answer queries for names that contain a text, as Everything does."""
    window = winipc.CopyDataWindow.create("", class_name=window_class)

    @window.on(QUERY_W)
    def query(message: winipc.Message) -> int:
        data = bytes(message)
        reply_to, reply_id, _flags, offset, most = _QUERY.unpack_from(data)
        text = decoders.utf16(data[_QUERY.size :]).casefold()
        found = [item for item in items if text in item.name.casefold()]
        answer = write_list(found[offset:][:most], len(found), offset)
        window.reply(1)  # so that the client can take the answer
        winipc.send_copydata(reply_to, answer, id=reply_id, sender=window)
        return 1

    return window


def walk(folder: str) -> list[Found]:
    """All files and folders below a folder."""
    found = []
    for path, folders, files in os.walk(folder):
        found += [Found(path, name, True) for name in folders]
        found += [Found(path, name, False) for name in files]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", help="what to look for, or the FOLDER")
    parser.add_argument("--serve", action="store_true", help="be the server")
    arguments = parser.parse_args()
    if arguments.serve:
        with serve(walk(arguments.text)) as window:
            print("ready", flush=True)
            for _ in window:  # handlers take all messages; Ctrl+C ends the loop
                pass
    else:
        for item in search(arguments.text, most=100):
            print(os.path.join(item.path, item.name))


if __name__ == "__main__":
    main()
