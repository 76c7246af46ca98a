# attack: handlers at exit that would write and hang
# expect: ok
import atexit, time

atexit.register(time.sleep, 100)


class Clinging:
    def __del__(self):
        time.sleep(100)


keep = Clinging()
result = True
