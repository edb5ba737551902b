"""relay_program.py NAME TITLE SIZE: the program whose mapping and window are shared.

Each line of input is [command, *arguments] in JSON, and so is each answer. The window
answers a message by its id and 1000.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import threading
import time
from typing import Any

import winipc

NAME, TITLE, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
got: list[str] = []
going, writing, one_step = threading.Event(), threading.Event(), threading.Lock()


def take(message: winipc.Message) -> int:
    got.append(bytes(message).decode())
    going.wait()
    return message.id + 1000


def keep_writing(mapping: winipc.SharedMapping) -> None:
    while True:
        writing.wait()
        with one_step:
            if writing.is_set():
                data = random.randbytes(random.randrange(1, 300))
                mapping.write(data, random.randrange(SIZE - len(data)))
        time.sleep(0.002)


def answer(command: str, mapping: winipc.SharedMapping) -> Any:
    if command == "write":
        writing.set()
    elif command == "stop":
        with one_step:
            writing.clear()
    elif command == "hang":
        going.clear()
    elif command == "go":
        going.set()
    elif command == "got":
        return got
    elif command == "memory":
        return bytes(mapping).hex()
    return hashlib.md5(mapping).hexdigest()


with (
    winipc.SharedMapping.create(NAME, SIZE) as shared,
    winipc.CopyDataWindow.create(TITLE, handler=take),
    winipc.CopyDataWindow.create(f"{TITLE}.quick", handler=take),
):
    going.set()
    threading.Thread(target=keep_writing, args=[shared], daemon=True).start()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line), shared)), flush=True)
