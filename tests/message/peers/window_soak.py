"""One of the senders of the soak test.

Each line is "hwnd seed count": sends as many messages of random sizes. Each
holds the seed, a number and a digest. Prints the numbers that were answered 1
as a bit string in hex, and the sum of all answers.
"""

import random
import struct
import sys
import zlib

import winipc

with winipc.CopyDataWindow.create("", message_only=True) as own:
    print("ready")
    for line in sys.stdin:
        hwnd, seed, count = map(int, line.split())
        rng = random.Random(seed)
        noise = rng.randbytes(65536)
        taken = 0
        for number in range(count):
            size = rng.choice((0, 8, 100, 1000, 4096, 60000))
            start = rng.randrange(65536 - size)
            head = struct.pack("<QQ", seed, number)
            body = noise[start : start + size]
            digest = struct.pack("<I", zlib.crc32(body, zlib.crc32(head)))
            answer = winipc.send_copydata(
                hwnd,
                head + digest + body,
                id=seed,
                sender=own,
                check=False,
                timeout=60,  # ten processes on a busy machine
            )
            taken |= (answer == 1) << number
        print(f"{taken:x}")
