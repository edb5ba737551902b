"""lane_receiver.py NAME LOOK_US: a Receiver whose handler does what the data says.

It prints each text that it handles. Ends when its standard input ends.
"""

import sys
import threading

import winipc
from winipc.exchange import transport

go_on = threading.Event()


def handle(delivery: winipc.Delivery) -> int:
    text = bytes(delivery.data).decode()
    if text == "hang":
        print("hangs", flush=True)
        go_on.wait()
        text = bytes(delivery.data).decode()
    print(delivery.transport, text, flush=True)
    return int(text) if text.isdigit() else len(text) - 1


def main(name: str, look_us: str) -> None:
    transport.LOOK_US = int(look_us)
    with winipc.Receiver(name, mapping=name, handler=handle):
        print("ready", flush=True)
        for _ in sys.stdin:
            go_on.set()
        go_on.set()


main(*sys.argv[1:])
