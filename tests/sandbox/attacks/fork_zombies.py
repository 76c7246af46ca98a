# attack: leaves its dead unburied
# expect: processes
import os

while True:
    if os.fork() == 0:
        os._exit(0)
