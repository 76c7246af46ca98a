# attack: output on both streams in turn, so that neither alone is too much
# expect: output
import os

while True:
    os.write(1, b"out" * 400)
    os.write(2, b"err" * 400)
