# attack: its children go on printing when it has ended
# expect: ok output
# within: 1
# expect-reduced: exit
# reveals-reduced: not permitted
import os

for _ in range(4):
    if os.fork() == 0:
        while True:
            os.write(1, b"x" * 100)
result = True
