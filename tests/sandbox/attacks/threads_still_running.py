# attack: threads that never end, not daemonic
# expect: ok
import threading, time


def spin():
    while True:
        time.sleep(0.001)


for _ in range(3):
    threading.Thread(target=spin).start()
result = True
