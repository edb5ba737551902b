"""The other side of a shared section: does what it is told, line by line."""

import sys

from winipc import SharedSection

path, symbol = sys.argv[1:3]
section = SharedSection.load(None if path == "-" else path, symbol)
print("ready", flush=True)
for line in sys.stdin:
    command, *words = line.split()
    if command == "read":
        offset, size = map(int, words)
        print(section.read(size, offset).hex(), flush=True)
    elif command == "write":
        print(section.write(bytes.fromhex(words[1]), int(words[0])), flush=True)
    elif command == "add":  # so many times 1, each interlocked
        with section.atomic(int(words[0])) as number:
            for _ in range(int(words[1])):
                number.add(1)
        print("added", flush=True)
    elif command == "close":
        section.close()
        print("closed", flush=True)
section.close()
