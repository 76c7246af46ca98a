class Fifo:
    def __init__(self):
        self.inside = []

    def put(self, value):
        self.inside.append(value)

    def take(self):
        if not self.inside:
            raise IndexError("nothing inside")
        return self.inside.pop(0)

    def __len__(self):
        return len(self.inside)
