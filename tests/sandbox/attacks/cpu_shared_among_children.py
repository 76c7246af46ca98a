# attack: spreads its work over children, each below the CPU limit
# expect: cpu wall ok
# wall: 1.5
# expect-reduced: exit
# reveals-reduced: not permitted
import os, time

children = []
for _ in range(6):
    pid = os.fork()
    if pid == 0:
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
result = True
