# attack: cycles that come back to life whenever they are collected
# expect: cpu memory
import gc

alive = []


class Phoenix:
    def __init__(self):
        self.me = self

    def __del__(self):
        Phoenix()
        alive.append(self)


gc.set_threshold(1, 1, 1)
while True:
    Phoenix()
