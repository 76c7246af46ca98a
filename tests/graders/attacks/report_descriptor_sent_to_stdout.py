# attack: points the report at stdout and stdout at the report
# expect: error interference
import os

spare = os.dup(3)
os.dup2(1, 3)
os.dup2(spare, 1)
print("\0\0\0\x02{}", flush=True)


def code(n):
    return 1


share = code
