class Fifo:
    def __init__(self):
        self.values = []

    def put(self, value):
        self.values.append(value)

    def take(self):
        return self.values.pop(0) if self.values else None

    def __len__(self):
        return len(self.values)
