# attack: endless output on stderr, unbuffered
# expect: output
import os

while True:
    os.write(2, b"x" * 65536)
