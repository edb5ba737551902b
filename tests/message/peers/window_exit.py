"""End with windows open, of which one was at work, in a reference cycle."""

import sys

import winipc

queued = winipc.CopyDataWindow.create("")
window = winipc.CopyDataWindow.create("", handler=lambda message: 3 if window else 0)
print("ready", window.hwnd)
sys.stdin.read()
