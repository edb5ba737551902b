"""A CopyDataWindow with a handler that does what the id of a message says.

1: send back to the sender, from the handler, and answer what that answers + 1
2: say "working" and never return
3: reply early, say "working" and never return
"""

import sys
import threading

import winipc


def handler(message: winipc.Message) -> int:
    if message.id == 1:
        depth = bytes(message)[0]
        if depth == 0:
            return 100
        return 1 + winipc.send_copydata(
            message.sender, bytes([depth - 1]), id=1, sender=window
        )
    if message.id == 3:
        window.reply(33)
    print("working")
    threading.Event().wait()
    return 0


window = winipc.CopyDataWindow.create(sys.argv[1], handler=handler)
print("ready", window.hwnd)
sys.stdin.read()
