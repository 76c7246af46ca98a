# attack: a thread that gives the interpreter's lock to nobody
# expect: cpu
import sys, threading

sys.setswitchinterval(1e6)


def spin():
    while True:
        pass


for _ in range(3):
    threading.Thread(target=spin).start()
spin()
