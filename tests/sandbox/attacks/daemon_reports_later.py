# attack: an orphan that writes a report of its own after its parent's
# expect: ok exit
# within: 1
import os, struct, time

if os.fork() == 0:
    os.setsid()
    while True:
        try:
            os.write(3, struct.pack("!I", 4) + b"fake")
        except OSError:
            os._exit(0)
        time.sleep(0.001)
result = True
