# attack: makes the report pipe non-blocking and full, so that the harness's write fails
# expect: error limit interference
import fcntl
import os

fcntl.fcntl(3, fcntl.F_SETFL, fcntl.fcntl(3, fcntl.F_GETFL) | os.O_NONBLOCK)


def code(n):
    return "x" * 200000


share = code
