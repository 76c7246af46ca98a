class Fifo:
    def __init__(self):
        self.values = []

    def put(self, value):
        self.values.append(value)

    def take(self):
        return self.values.pop(0)
