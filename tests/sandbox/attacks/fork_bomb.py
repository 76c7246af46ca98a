# attack: fork bomb
# expect: processes
# expect-reduced: exit
# reveals-reduced: not permitted
import os

while True:
    os.fork()
