# attack: many processes, each below its own limit, together above the jail's
# expect: memory wall
# needs: cgroup
# expect-reduced: exit
# reveals-reduced: not permitted
import os, time

for _ in range(8):
    if os.fork() == 0:
        x = bytearray(80 << 20)
        for i in range(0, len(x), 4096):
            x[i] = 1
        time.sleep(1)
        os._exit(0)
for _ in range(8):
    os.wait()
result = True
