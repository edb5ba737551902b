"""The other side of test_mapping.py: obeys one command per line."""

import sys
import time

from winipc import SharedMapping

command, *words = sys.argv[1:]

if command == "create":
    # Make a mapping, fill it, and stay until told to end.
    name, size, text, header = words
    mapping = SharedMapping.create(name, int(size), header=header == "header")
    mapping.write(text.encode())
    print("ready", flush=True)
    sys.stdin.readline()
    mapping.close()
elif command == "handle":
    # Map a handle that the other side put into this process.
    print("ready", flush=True)
    with SharedMapping.from_handle(int(sys.stdin.readline())) as mapping:
        print(mapping.read(int(words[0])).decode(), flush=True)
        mapping.write(b"from the peer")
        print("written", flush=True)
        sys.stdin.readline()
        print(mapping.read(13).decode(), flush=True)
elif command == "hammer":
    # Write for ever, to be killed in the middle.
    with SharedMapping.open(words[0]) as mapping:
        data = bytes(range(256)) * (mapping.size // 256)
        mapping.write(data)
        print("ready", flush=True)
        while True:
            mapping.write(data)
elif command == "unmapped":
    # A name whose creator never gets to its header.
    section = SharedMapping.create(words[0], 4096)
    print("ready", flush=True)
    time.sleep(600)
    section.close()
