# attack: writes a verdict to every descriptor and ends at once
# expect: exit
import os

for fd in range(64):
    try:
        os.write(fd, b'{"correct": true, "score": 1, "msg": "<p>ok</p>"}')
    except OSError:
        pass
os._exit(0)
