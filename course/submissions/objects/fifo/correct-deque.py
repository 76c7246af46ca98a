from collections import deque


class Fifo:
    def __init__(self):
        self._values = deque()

    def put(self, value):
        self._values.append(value)

    def take(self):
        return self._values.popleft()

    def __len__(self):
        return len(self._values)
