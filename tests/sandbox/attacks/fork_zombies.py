# attack: leaves its dead unburied
# expect: processes
# expect-reduced: exit
# reveals-reduced: not permitted
import os

while True:
    if os.fork() == 0:
        os._exit(0)
