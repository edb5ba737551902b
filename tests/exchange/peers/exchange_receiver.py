"""exchange_receiver.py TITLE MAPPING SIZE: print what a Receiver gets, in hexadecimal.

Of more than 64 KiB it prints the SHA-256 digest. It ends when its standard input ends.
"""

import sys
import threading

import winipc


def main(title: str, mapping: str, size: str) -> None:
    with winipc.Receiver(title, mapping=mapping, mapping_size=int(size)) as receiver:
        threading.Thread(target=close_at_end_of_input, args=[receiver]).start()
        print("ready", flush=True)
        for received in receiver:
            data = received.data
            if len(data) > 1 << 16:
                import hashlib

                data = hashlib.sha256(data).digest()
            print(received.transport, data.hex(), flush=True)


def close_at_end_of_input(receiver: winipc.Receiver) -> None:
    sys.stdin.read()
    receiver.close()


main(*sys.argv[1:])
