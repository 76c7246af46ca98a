# attack: files that have no name any more but are open
# expect: disk exit
import os

keep = []
while True:
    file = open("gone", "wb", buffering=0)
    os.unlink("gone")
    file.write(bytes(1 << 20))
    keep.append(file)
