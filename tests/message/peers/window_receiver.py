"""A CopyDataWindow in queue mode: prints what it receives, one line each.

Arguments: title, and what create() takes as NAME=INT.
Commands on standard input: "exit" ends by the normal way with the window open.
"""

import hashlib
import sys
import threading

import winipc


def main(title: str, *options: str) -> None:
    arguments = {}
    for option in options:
        name, _, value = option.partition("=")
        arguments[name] = int(value)
    window = winipc.CopyDataWindow.create(title, **arguments)

    def read() -> None:
        for line in sys.stdin:
            if line.strip() == "close":
                window.close()
                return
        window.close()

    threading.Thread(target=read, daemon=True).start()
    print(f"ready {window.hwnd}")
    for message in window:
        digest = hashlib.sha256(message).hexdigest()
        print(f"{message.id} {len(message)} {digest} {message.pid}")
    print("closed")


main(*sys.argv[1:])
