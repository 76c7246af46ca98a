# attack: leaves a crowd of sleeping children behind
# expect: ok
# expect-reduced: exit
# reveals-reduced: not permitted
import os, time

for _ in range(5):
    if os.fork() == 0:
        time.sleep(1000)
result = os.getpid()
