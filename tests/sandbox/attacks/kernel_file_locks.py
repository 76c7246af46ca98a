# attack: a lock on every other byte of a file, each of them kernel memory
# expect: cpu ok
import fcntl

with open("locked", "wb") as file:
    for offset in range(0, 1 << 21, 2):
        fcntl.lockf(file, fcntl.LOCK_EX, 1, offset)
