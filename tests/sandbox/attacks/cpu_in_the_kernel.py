# attack: burns CPU inside of long system calls
# expect: cpu
import os

zero, null = os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)
while True:
    os.sendfile(null, zero, None, 0x7FFFF000)
    os.getrandom(1 << 25)
