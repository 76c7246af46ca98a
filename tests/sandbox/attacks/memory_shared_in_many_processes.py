# attack: each child holds shared memory of its own, each below its limit
# expect: memory wall
# needs: cgroup
# expect-reduced: exit
# reveals-reduced: not permitted
import mmap, os, time

for _ in range(9):
    if os.fork() == 0:
        block = mmap.mmap(-1, 64 << 20)
        for offset in range(0, len(block), 4096):
            block[offset] = 1
        time.sleep(0.5)
        os._exit(0)
for _ in range(9):
    os.wait()
