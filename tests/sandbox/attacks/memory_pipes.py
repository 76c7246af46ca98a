# attack: fills as many pipes as it can, in as many processes
# expect: ok memory
# expect-reduced: exit
# reveals-reduced: not permitted
import os

for _ in range(8):
    if os.fork() == 0:
        break
try:
    while True:
        _, write = os.pipe()
        os.set_blocking(write, False)
        while os.write(write, bytes(4096)):
            pass
except BlockingIOError:
    pass
except OSError:
    pass
keep = []
try:
    while True:
        read, write = os.pipe()
        keep.append((read, write))
        os.set_blocking(write, False)
        try:
            while os.write(write, bytes(4096)):
                pass
        except BlockingIOError:
            pass
except OSError as error:
    result = error.errno
if os.getpid() != 1:
    os._exit(0)
