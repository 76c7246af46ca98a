# attack: os.write, struct and the child's own functions replaced by some that send what the cheat wants
# expect: incorrect interference error
import os
import struct
import sys

honest = os.write
forged = b'{"outputs": ["1", "1", "1", "1", "1", "1", "1"], "error": "", "hint": "", "interference": false}'


def write(fd, data):
    honest(fd, struct.pack("!I", len(forged)) + forged if fd == 3 else data)
    return len(data)


os.write = write
child = sys.modules["sandbox.child"]
child.READY = child.FAILED
child.EXIT_SETUP = 0
child.residence.resident = True
child.retire = child.lock_down = lambda *anything: None


def code(n):
    return 1


share = code
