"""lane_sender.py NAME: send lines "TRANSPORT TEXT", print answers.

"dies TEXT" writes the text and asks in the lane as if the receiver looked there.
"""

import sys

import winipc
from winipc.exchange import transport


def main(name: str) -> None:
    transport.LOOK_US = 60_000_000
    with winipc.Sender(name, mapping=name, timeout=60) as sender:
        print("ready", flush=True)
        for line in sys.stdin:
            via, _, text = line.rstrip("\n").partition(" ")
            if via == "dies":
                sender.send(b"before", via="mapping")
                lane = sender._lane(name)
                assert lane._lock.acquire(0)
                lane._memory.set(192, "u64", 1)  # LANE_ASKED
                print("asked", flush=True)
                sys.stdin.readline()
            try:
                answer = str(sender.send(text.encode(), via=via))
            except OSError as error:
                answer = type(error).__name__
            print(answer, flush=True)


main(*sys.argv[1:])
