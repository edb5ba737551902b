"""exchange_sender.py TITLE MAPPING: send lines "TRANSPORT HEX", print answers."""

import sys

import winipc


def main(title: str, mapping: str) -> None:
    with winipc.Sender(title, mapping=mapping) as sender:
        print("ready", flush=True)
        for line in sys.stdin:
            via, _, data = line.rstrip("\n").partition(" ")
            try:
                answer = str(sender.send(bytes.fromhex(data), via=via))
            except OSError as error:
                answer = type(error).__name__
            print(answer, flush=True)


main(*sys.argv[1:])
