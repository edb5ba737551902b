"""exchange_block.py: print the address of five bytes, and stay until input ends."""

import sys

import winipc

with winipc.GlobalMemory(b"block") as memory:
    print(memory.address, flush=True)
    sys.stdin.read()
