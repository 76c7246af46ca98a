# attack: comes back from a test twice: as parent and as child, each with a report of its own
# expect: error incorrect interference
import os


def code(n):
    if n == 5:
        os.fork()
    return 1


share = code
