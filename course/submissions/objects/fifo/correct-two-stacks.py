class Fifo:
    def __init__(self):
        self.incoming, self.outgoing = [], []

    def put(self, value):
        self.incoming.append(value)

    def take(self):
        if not self.outgoing:
            while self.incoming:
                self.outgoing.append(self.incoming.pop())
        return self.outgoing.pop()

    def __len__(self):
        return len(self.incoming) + len(self.outgoing)
