# attack: looks for open descriptors beyond its own four
# expect: ok
# report: [0, 1, 2, 3]
import os

result = []
for fd in range(20000):
    try:
        os.fstat(fd)
    except OSError:
        continue
    result.append(fd)
