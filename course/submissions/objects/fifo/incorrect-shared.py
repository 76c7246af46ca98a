class Fifo:
    values = []

    def put(self, value):
        self.values.append(value)

    def take(self):
        return self.values.pop(0)

    def __len__(self):
        return len(self.values)
