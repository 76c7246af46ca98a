# attack: reserves room without writing
# expect: disk exit
import os

with open("big", "wb") as file:
    while True:
        os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + (1 << 20))
