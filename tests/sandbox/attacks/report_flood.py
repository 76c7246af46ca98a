# attack: floods the report pipe
# expect: output
import os

while True:
    os.write(3, b"x" * 65536)
