"""Send many messages as fast as it goes: "hwnd count"; prints how many were
answered 1, and the longest time that one took."""

import sys
import time

import winipc

print("ready")
for line in sys.stdin:
    hwnd, count = map(int, line.split())
    print("sending")
    taken, slowest = 0, 0.0
    for number in range(count):
        start = time.perf_counter()
        taken += winipc.send_copydata(hwnd, b"x" * (number % 100), id=number) == 1
        slowest = max(slowest, time.perf_counter() - start)
    print(taken, slowest)
