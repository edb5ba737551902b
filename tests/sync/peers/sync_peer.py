"""A second process that does what the test says, line by line.

Each line is a Python statement; the answer is `ok`, or the repr of the value of
an expression, or the name of the exception.
"""

import os
import sys
import threading
import time

import winipc

scope = {"winipc": winipc, "os": os, "threading": threading, "time": time}
print("ready")
for line in sys.stdin:
    try:
        try:
            code = compile(line, "<line>", "eval")
        except SyntaxError:
            exec(line, scope)
            print("ok")
        else:
            print(repr(eval(code, scope)))
    except Exception as error:
        print(type(error).__name__)
        print(repr(error), file=sys.stderr)
os._exit(0)  # whatever it still holds is the test's to look at
