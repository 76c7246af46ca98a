# attack: one line without an end
# expect: output
import sys

while True:
    sys.stdout.write("x" * 1000)
