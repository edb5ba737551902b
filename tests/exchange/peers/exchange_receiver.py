"""exchange_receiver.py TITLE MAPPING SIZE: print what a Receiver gets, in hexadecimal.

Ends when its standard input ends.
"""

import sys
import threading

import winipc


def main(title: str, mapping: str, size: str) -> None:
    with winipc.Receiver(title, mapping=mapping, mapping_size=int(size)) as receiver:
        threading.Thread(target=close_at_end_of_input, args=[receiver]).start()
        print("ready", flush=True)
        for received in receiver:
            print(received.transport, received.data.hex(), flush=True)


def close_at_end_of_input(receiver: winipc.Receiver) -> None:
    sys.stdin.read()
    receiver.close()


main(*sys.argv[1:])
