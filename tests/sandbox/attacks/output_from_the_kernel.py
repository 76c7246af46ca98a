# attack: has the kernel write its output, a gigabyte in one call
# expect: output
import os

zero = os.open("/dev/zero", os.O_RDONLY)
while True:
    os.sendfile(1, zero, None, 1 << 30)
