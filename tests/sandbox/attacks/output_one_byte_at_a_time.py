# attack: output of one byte at a time, each a wake-up of the watcher
# expect: cpu output
import os

while True:
    os.write(1, b"x")
