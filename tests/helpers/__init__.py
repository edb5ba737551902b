"""What the tests of several subjects share."""

import struct

#: Width of the pointers of this process, and of the numbers that messages carry.
BITS = 8 * struct.calcsize("P")
