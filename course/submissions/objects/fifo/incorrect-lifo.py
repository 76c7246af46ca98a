class Fifo:
    def __init__(self):
        self.values = []

    def put(self, value):
        self.values.append(value)

    def take(self):
        return self.values.pop()

    def __len__(self):
        return len(self.values)
